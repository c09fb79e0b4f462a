"""Texts cut to what a channel takes."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from kernel.channels.pieces import clipped, octets, split, utf16
from tests.layers.kernel.line_messages import FAMILY, texts

SIZES = [utf16, octets, len]
LIMITS = st.integers(40, 200)


@pytest.mark.parametrize("size", SIZES)
@given(text=texts, limit=LIMITS)
def test_parts_are_short_enough_and_together_the_whole(size, text, limit):
    parts = split(text, limit, size)

    assert "".join(parts) == text
    assert all(part and size(part) <= limit for part in parts)


@pytest.mark.parametrize("size", SIZES)
@given(text=texts, limit=LIMITS)
def test_no_cut_is_inside_a_character(size, text, limit):
    whole = regex.findall(r"\X", text)
    # A heap of accents longer than a message is cut anywhere.
    if any(size(character) > limit // 2 for character in whole):
        return

    parts = split(text, limit, size)

    assert [character for part in parts for character in regex.findall(r"\X", part)] == whole


@pytest.mark.parametrize("size", SIZES)
@given(text=texts, limit=LIMITS)
def test_what_is_clipped_says_so(size, text, limit):
    short = clipped(text, limit, size)

    assert size(short) <= limit
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("12345678", ["12345678"]),
        ("123456789", ["12345678", "9"]),
        ("12345\n789", ["12345\n", "789"]),
        ("12345 78\n9", ["12345 ", "78\n9"]),
        ("1 23456789", ["1 234567", "89"]),
        ("1234567🍎", ["1234567", "🍎"]),
        ("1234567e\u0301", ["1234567", "e\u0301"]),
        ("12345🇹🇼🇯🇵", ["12345", "🇹🇼🇯🇵"]),
        ("\u0301" * 9, ["\u0301" * 8, "\u0301"]),
    ],
)
def test_cuts(text, parts):
    assert split(text, 8, utf16) == parts


@pytest.mark.parametrize(
    ("text", "short"),
    [("12345678", "12345678"), ("123456789", "1234567…"), ("123456 89", "123456…"), (f"123{FAMILY}", "123…")],
)
def test_clips(text, short):
    assert clipped(text, 8, utf16) == short
