"""Faults: a code, a status, a sentence."""

from __future__ import annotations

import pytest

from kernel.errors import (
    REQUIRED,
    Conflict,
    Denied,
    Fault,
    Flaw,
    Invalid,
    NotFound,
    TooLarge,
    TooMany,
    Unauthorized,
    Unreadable,
)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (Fault, 500, "fault"),
        (Invalid, 400, "invalid"),
        (Unreadable, 400, "unreadable"),
        (Unauthorized, 401, "unauthorized"),
        (Denied, 403, "denied"),
        (NotFound, 404, "not_found"),
        (Conflict, 409, "conflict"),
        (TooLarge, 413, "too_large"),
        (TooMany, 429, "too_many"),
    ],
)
def test_a_fault_has_a_status_a_code_and_a_message(kind, status, code):
    fault = kind("What happened")

    assert (fault.status, fault.code, fault.message, str(fault)) == (status, code, "What happened", "What happened")
    assert isinstance(fault, Fault)


def test_who_is_not_known_is_not_told_why():
    assert Unauthorized().message == "Unauthorized"
    assert Denied().message == "Permission denied"


@pytest.mark.parametrize(
    ("flaw", "text"),
    [
        (Flaw("nodes[3].title", "is required"), "nodes[3].title is required"),
        (Flaw("", "The body is not valid JSON"), "The body is not valid JSON"),
    ],
)
def test_a_flaw_says_where_and_what(flaw, text):
    assert str(flaw) == text


def test_one_sentence_is_one_flaw():
    fault = Invalid("All wrong")

    assert (fault.flaws, fault.message) == ([Flaw("", "All wrong")], "All wrong")


def test_flaws_are_told_all_at_once():
    fault = Invalid(flaw for flaw in [Flaw("a", "is bad"), Flaw("", "All bad"), Flaw("b[0]", "is worse")])

    assert fault.flaws == [Flaw("a", "is bad"), Flaw("", "All bad"), Flaw("b[0]", "is worse")]
    assert fault.message == "a is bad; All bad; b[0] is worse"


@pytest.mark.parametrize(("count", "more"), [(1, ""), (100, ""), (101, "; and 1 more"), (1100, "; and 1000 more")])
def test_a_hundred_flaws_are_told_and_all_are_kept(count, more):
    flaws = [Flaw(f"items[{place}]", "is bad") for place in range(count)]

    fault = Invalid(flaws)

    assert fault.flaws == flaws
    assert fault.message == "; ".join(f"items[{place}] is bad" for place in range(min(count, 100))) + more


def test_no_flaw_is_no_sentence():
    assert (Invalid([]).flaws, Invalid([]).message) == ([], "")


@pytest.mark.parametrize(
    ("flaws", "lacks"),
    [
        ([Flaw("a", REQUIRED)], True),
        ([Flaw("a", "is bad"), Flaw("b", REQUIRED)], True),
        ([Flaw("a", "is bad")], False),
        ("All wrong", False),
        ([], False),
    ],
)
def test_what_is_missing_is_told_apart_from_what_is_wrong(flaws, lacks):
    assert Invalid(flaws).lacks_something is lacks


def test_what_cannot_be_read_is_invalid_too():
    assert isinstance(Unreadable("The body is not UTF-8 text"), Invalid)
