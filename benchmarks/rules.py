"""Typical rules of segments, each said four times: as conditions, as a loop by hand, and in SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.people import Follower

Condition = dict[str, Any]


class Rule(NamedTuple):
    """A rule and its other wordings; `by_hand` returns the ids of those it chooses, `sql` is what follows WHERE."""

    title: str
    conditions: list[Condition]
    by_hand: Callable[[Iterable[Follower]], list[str]]
    sql: str


def _tag(expression: str, name: str, value: str = "", color: str = "") -> Condition:
    return {"source": "tag", "expression": expression, "value": value, "tag": {"name": name, "color": color}}


def _variable(expression: str, name: str, value: str = "", **more: Any) -> Condition:
    named = {"uservariable": {"name": name}}
    return {"source": "uservariable", "expression": expression, "value": value, **named, **more}


def _followed(start: str, end: str) -> Condition:
    return {"source": "followtime", "expression": "date_range", "value": "", "range": {"start": start, "end": end}}


def _tag_value(person: Follower, name: str, color: str = "") -> str | None:
    for tag in person.tags:
        if tag["name"] == name and (not color or tag["color"] == color):
            return (tag["value"] or tag["name"]).strip()
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _gold_and_grown(people: Iterable[Follower]) -> list[str]:
    chosen = []
    for person in people:
        if _tag_value(person, "level") == "gold":
            age = _number(person.variables.get("age", ""))
            if age is not None and age > 30:
                chosen.append(person.user_id)
    return chosen


def _in_taipei_since(people: Iterable[Follower]) -> list[str]:
    start, end = datetime(2024, 6, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    return [
        person.user_id
        for person in people
        if start <= person.follow_time < end and "Taipei" in person.variables.get("city", "")
    ]


def _five(people: Iterable[Follower]) -> list[str]:
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    chosen = []
    for person in people:
        if not start <= person.follow_time < end or _tag_value(person, "store") is None:
            continue
        if _tag_value(person, "coupon", "red-filter") is not None:
            continue
        variables = person.variables
        points = _number(variables.get("points", ""))
        if variables.get("gender", "").strip() == "f" and points is not None and 100 <= points <= 4000:
            chosen.append(person.user_id)
    return chosen


_LEVEL = "list_filter(tags, lambda t: t.name = 'level')[1]"
_STORE = "list_filter(tags, lambda t: t.name = 'store')"
_COUPON = "list_filter(tags, lambda t: t.name = 'coupon' AND t.color = 'red-filter')"

RULES = (
    Rule(
        "a tag and a number",
        [_tag("exactly_match", "level", "gold"), _variable("num_gt", "age", "30")],
        _gold_and_grown,
        f"trim(coalesce(nullif({_LEVEL}.value, ''), {_LEVEL}.name)) = 'gold'"
        " AND try_cast(variables.age AS DECIMAL(18, 3)) > 30",
    ),
    Rule(
        "a text and a date range",
        [_variable("fuzzy_match", "city", "Taipei"), _followed("2024-06-01", "2025-12-31")],
        _in_taipei_since,
        "contains(variables.city, 'Taipei')"
        " AND follow_time >= TIMESTAMP '2024-06-01' AND follow_time < TIMESTAMP '2026-01-01'",
    ),
    Rule(
        "five conditions",
        [
            _tag("has_value", "store"),
            _tag("no_value", "coupon", color="red-filter"),
            _variable("exactly_match", "gender", "f"),
            _variable("num_range", "points", range={"start": "100", "end": "4000"}),
            _followed("2024-01-01", "2026-06-30"),
        ],
        _five,
        f"len({_STORE}) > 0 AND len({_COUPON}) = 0 AND trim(variables.gender) = 'f'"
        " AND try_cast(variables.points AS DECIMAL(18, 3)) BETWEEN 100 AND 4000"
        " AND follow_time >= TIMESTAMP '2024-01-01' AND follow_time < TIMESTAMP '2026-07-01'",
    ),
)
