"""Texts cut to what a channel takes, never inside what a person sees as one character."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ZERO_WIDTH_JOINER = "\u200d"
_CUT = "…"


def utf16(text: str) -> int:
    """Return the length in UTF-16 units, as clients written in JavaScript count: 🍎 is 2."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def octets(text: str) -> int:
    """Return the length in bytes of UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


def split(text: str, limit: int, size: Callable[[str], int]) -> list[str]:
    """Return the text in parts of at most `limit` (at least 4), cut after a line or a word where one ends in time."""
    parts = []
    while text:
        end = _end(text, limit, size)
        if end < len(text):
            gaps = (_after_gap(text, gap, end) for gap in ("\n", " "))
            end = next((place for place in gaps if place), _seam(text, end))
        parts.append(text[:end])
        text = text[end:]
    return parts


def clipped(text: str, limit: int, size: Callable[[str], int]) -> str:
    """Return the text, its end replaced by `…` where it is longer than `limit`."""
    if size(text) <= limit:
        return text
    end = _end(text, limit - size(_CUT), size)
    return text[: _seam(text, end)].rstrip() + _CUT


def _end(text: str, limit: int, size: Callable[[str], int]) -> int:
    total = 0
    for place, character in enumerate(text):
        total += size(character)
        if total > limit:
            return place
    return len(text)


def _after_gap(text: str, gap: str, end: int) -> int:
    place = text.rfind(gap, end // 2, end) + 1
    return place if place and not _joined(text, place) else 0


def _seam(text: str, end: int) -> int:
    place = end
    while place and _joined(text, place):
        place -= 1
    # One character longer than a whole message is nothing that anybody wrote; it is cut anywhere.
    return place or end


def _joined(text: str, place: int) -> bool:
    """Tell whether the code points around a place are one character (Unicode Annex 29, without the rarest rules)."""
    before, after = text[place - 1], text[place]
    if _regional(before) and _regional(after):
        # Flags are pairs: a seam goes only where an even number stands before it.
        start = place
        while start and _regional(text[start - 1]):
            start -= 1
        return (place - start) % 2 == 1
    return (
        before == _ZERO_WIDTH_JOINER
        or after == _ZERO_WIDTH_JOINER
        or (before, after) == ("\r", "\n")
        or unicodedata.category(after) in ("Mn", "Me", "Mc")
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= after <= "\U000e007f"  # the letters of regional flags
    )


def _regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
