"""The seven checks of a user's reply (contract, enums.validation_type)."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CHECKS = ("Eng", "Num", "Len", "RegExp", "Phone", "Post", "City")
PATTERN_LIMIT = 500
REPETITIONS_LIMIT = 100_000
# An operator's pattern meets the public's text: a pattern that backtracks for ever must not hold the worker.
PATTERN_SECONDS = 0.2
_CITIES = frozenset(
    {
        "臺北市",
        "新北市",
        "桃園市",
        "臺中市",
        "臺南市",
        "高雄市",
        "基隆市",
        "新竹市",
        "嘉義市",
        "新竹縣",
        "苗栗縣",
        "彰化縣",
        "南投縣",
        "雲林縣",
        "嘉義縣",
        "屏東縣",
        "宜蘭縣",
        "花蓮縣",
        "臺東縣",
        "澎湖縣",
        "金門縣",
        "連江縣",
    }
)


def passes(reply: str, checks: Iterable[tuple[str, str]], compare: str) -> bool:
    """Tell whether a reply passes all checks, given as (type, value); `compare` belongs to Len."""
    return all(_passes(reply.strip(), kind, value, compare) for kind, value in checks)


def _passes(reply: str, kind: str, value: str, compare: str) -> bool:
    plain = unicodedata.normalize("NFKC", reply)
    match kind:
        case "Eng":
            return re.fullmatch(r"[A-Za-z]+( +[A-Za-z]+)*", plain) is not None
        case "Num":
            return re.fullmatch(r"[+-]?\d+(\.\d+)?", plain, re.ASCII) is not None
        case "Len":
            length = len(reply)
            wanted = int(value)
            return {"lessThan": length < wanted, "moreThan": length > wanted, "equal": length == wanted}[compare]
        case "RegExp":
            return _matches(value, reply)
        case "Phone":
            digits = sum(character.isdigit() for character in plain)
            return re.fullmatch(r"\+?[\d -]+", plain, re.ASCII) is not None and 6 <= digits <= 20
        case "Post":
            return re.fullmatch(r"\d{3}|\d{5,6}", plain, re.ASCII) is not None
        case "City":
            return reply.replace("台", "臺") in _CITIES
    raise ValueError(f"unknown check {kind}")


def _matches(pattern: str, reply: str) -> bool:
    import regex  # 30 ms of import that only flows with such a check need

    try:
        return regex.search(pattern, reply, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        return False


def flaws_of_check(kind: str, value: str, compare: str) -> list[tuple[str, str]]:
    """Return what is wrong with a check that is about to be saved, as (value or selectCompare, what is wrong)."""
    flaws = []
    if kind == "Len":
        if not re.fullmatch(r"\d{1,5}", value, re.ASCII):
            flaws.append(("value", "must be a whole number of at most 5 digits for a Len check"))
        if not compare:
            flaws.append(("selectCompare", "must be lessThan, moreThan or equal for a Len check"))
    if kind == "RegExp" and (flaw := _pattern_flaw(value)):
        flaws.append(("value", flaw))
    return flaws


def _pattern_flaw(pattern: str) -> str | None:
    import regex

    if not pattern or len(pattern) > PATTERN_LIMIT:
        return f"must be a pattern of at most {PATTERN_LIMIT} characters for a RegExp check"
    # A pattern that calls itself takes memory without end.
    if re.search(r"\(\?(R|[+-]?\d|&|P>)", pattern):
        return "must not call itself"
    # `regex` writes out what must be there n times, one repetition inside the other.
    if math.prod(int(times) or 1 for times in re.findall(r"\{(\d+)", pattern)) > REPETITIONS_LIMIT:
        return f"must not repeat more than {REPETITIONS_LIMIT} times, all repetitions multiplied"
    try:
        regex.compile(pattern)
    except (regex.error, ValueError) as problem:
        return f"is no pattern: {problem}"
    return None
