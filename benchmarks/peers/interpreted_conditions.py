"""Conditions looked up anew for every record: what compiling them is measured against."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from chatbot import times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.people import Follower


def all_hold(conditions: Sequence[dict[str, Any]], person: Follower) -> bool:
    """Tell whether every condition holds for somebody."""
    return all(_holds(condition, person) for condition in conditions)


def _holds(condition: dict[str, Any], person: Follower) -> bool:
    expression = condition["expression"]
    limits = condition.get("range") or {}
    if condition["source"] == "followtime":
        low, high = times.read(limits["start"]), times.read(limits["end"], end=True)
        return low <= person.follow_time <= high
    text = _text(condition, person)
    if expression in ("has_value", "no_value"):
        return (text is not None) == bool(expression == "has_value")
    if text is None:
        return False
    value = str(condition["value"]).strip()
    match expression:
        case "exactly_match":
            return text == value
        case "fuzzy_match":
            return value in text
        case "num_gt":
            number, limit = _number(text), _number(value)
            return number is not None and limit is not None and number > limit
        case "num_range":
            number, start, end = _number(text), _number(limits["start"]), _number(limits["end"])
            return number is not None and start is not None and end is not None and start <= number <= end
    raise ValueError(expression)


def _text(condition: dict[str, Any], person: Follower) -> str | None:
    if condition["source"] == "uservariable":
        return person.variables.get(condition["uservariable"]["name"], "").strip() or None
    wanted = condition["tag"]
    for tag in person.tags:
        if tag["name"] == wanted["name"] and (not wanted["color"] or tag["color"] == wanted["color"]):
            return (tag["value"] or tag["name"]).strip()
    return None


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
