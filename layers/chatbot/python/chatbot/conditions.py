"""Whether a condition holds for a user: four sources, eight expressions (contract, enums.expression)."""

from __future__ import annotations

import unicodedata
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from chatbot import times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime


class Subject(NamedTuple):
    """What conditions look at: the user's tags, variables and follow time."""

    tags: Sequence[Mapping[str, str]]
    variable: Callable[[str], str]
    follow_time: datetime | None


def all_hold(conditions: Sequence[Mapping[str, Any]], subject: Subject) -> bool:
    """Tell whether every condition holds; a branch without conditions never does."""
    return bool(conditions) and all(holds(condition, subject) for condition in conditions)


def holds(condition: Mapping[str, Any], subject: Subject) -> bool:
    """Tell whether one condition holds.

    Text comparison minds case and ignores blanks at both ends; range ends are inclusive and may be empty;
    num_gt and num_lt are strict; what is no number or date never matches.
    """
    expression = condition["expression"]
    operand = _operand(condition, subject)
    if expression == "has_value":
        return operand is not None
    if expression == "no_value":
        return operand is None
    if operand is None:
        return False
    value = str(_value(condition)).strip()
    limits = condition.get("range") or {}
    match expression:
        case "exactly_match":
            return operand == value
        case "fuzzy_match":
            return value in operand
        case "num_gt":
            return _compares(operand, value, lambda a, b: a > b)
        case "num_lt":
            return _compares(operand, value, lambda a, b: a < b)
        case "num_range":
            return _within(_number(operand), _number, limits)
        case "date_range":
            return _within(_moment(operand), _moment, limits)
    raise ValueError(f"unknown expression {expression}")


def _value(condition: Mapping[str, Any]) -> Any:
    """Return the value to compare with; the documents' lost indentation may have put it inside tag."""
    value = condition.get("value")
    tag = condition.get("tag")
    if value in (None, "") and isinstance(tag, dict):
        value = tag.get("value")
    return "" if value is None else value


def _operand(condition: Mapping[str, Any], subject: Subject) -> str | None:
    """Return what the condition looks at as text, None when it is not there or empty."""
    match condition["source"]:
        case "tag":
            wanted = condition.get("tag") or {}
            for tag in subject.tags:
                if tag["name"] == wanted.get("name") and wanted.get("color") in (None, "", tag["color"]):
                    # A tag without value is there all the same; its name stands for it.
                    return (tag.get("value") or tag["name"]).strip()
            return None
        case "uservariable":
            return subject.variable((condition.get("uservariable") or {}).get("name", "")).strip() or None
        case "followtime":
            return times.shown(subject.follow_time) if subject.follow_time else None
    return None


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(unicodedata.normalize("NFKC", text).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _moment(text: str, *, end: bool = False) -> datetime | None:
    """Read a date or a time; a date alone means its first moment, as the end of a range its last."""
    try:
        return times.read(text, end=end)
    except ValueError:
        return None


def _compares(operand: str, value: str, compare: Callable[[Decimal, Decimal], bool]) -> bool:
    left, right = _number(operand), _number(value)
    return left is not None and right is not None and compare(left, right)


def _within(operand: Any, read: Callable[..., Any], limits: Mapping[str, Any]) -> bool:
    if operand is None:
        return False
    start, end = (str(limits[side]).strip() if limits.get(side) is not None else "" for side in ("start", "end"))
    low = read(start) if start else operand
    high = (read(end, end=True) if read is _moment else read(end)) if end else operand
    return low is not None and high is not None and bool(low <= operand <= high)
