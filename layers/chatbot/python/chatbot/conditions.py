"""Whether conditions hold for a user: their sources and eight expressions (contract, enums.expression).

Conditions are read once, into functions that then look at as many users as there are: a segment asks a whole channel.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from chatbot import times
from chatbot.tags import COLORS
from kernel.errors import Flaw

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    Test = Callable[["Subject"], bool]

EXPRESSIONS = (
    "exactly_match", "fuzzy_match", "has_value", "no_value", "num_range", "num_gt", "num_lt", "date_range",
)  # fmt: skip
SOURCES = ("tag", "uservariable", "followtime", "cvkey")
# What segments look at besides; cros and cors are retired and hold for nobody.
SEGMENT_SOURCES = (*SOURCES, "serverpushtime", "cros", "cors")

_TIMES = ("followtime", "serverpushtime")
_RETIRED = ("cros", "cors")
_PRESENCE = ("has_value", "no_value")
_RANGES = ("num_range", "date_range")
# Reading the time of a push may take a request and a variable a decryption, so they are looked at last.
_COSTS = {"uservariable": 1, "serverpushtime": 2}
_VALUE_LENGTH = 1000
_NAME_LENGTH = 100
_OBJECTS = {"tag": ("name", "color", "value"), "range": ("start", "end"), "uservariable": ("name",)}


def _never_pushed() -> datetime | None:
    return None


class Subject(NamedTuple):
    """What conditions look at: the user's tags, variables, follow time, orders, and when he was last pushed to."""

    tags: Sequence[Mapping[str, str]]
    variable: Callable[[str], str]
    follow_time: datetime | None
    orders: Sequence[str] = ()
    pushed_at: Callable[[], datetime | None] = _never_pushed


def compiled(conditions: Sequence[Mapping[str, Any]]) -> Test:
    """Return what tells of a user whether every condition holds; no conditions hold for nobody.

    Text comparison minds case and ignores blanks at both ends; range ends are inclusive and may be empty;
    num_gt and num_lt are strict; what is no number or date never matches.
    """
    if not conditions:
        return _never
    tests = [_test(condition) for condition in sorted(conditions, key=lambda one: _COSTS.get(one["source"], 0))]
    if len(tests) == 1:
        return tests[0]
    first, *others = tests

    def every(subject: Subject) -> bool:
        if not first(subject):
            return False
        for test in others:  # noqa: SIM110  a generator costs as much as a test
            if not test(subject):
                return False
        return True

    return every


def all_hold(conditions: Sequence[Mapping[str, Any]], subject: Subject) -> bool:
    """Tell whether every condition holds; a branch without conditions never does."""
    return compiled(conditions)(subject)


def holds(condition: Mapping[str, Any], subject: Subject) -> bool:
    """Tell whether one condition holds."""
    return _test(condition)(subject)


def compared_variables(conditions: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the variables whose values matter; of the others only whether there is one."""
    return {
        _variable_name(condition)
        for condition in conditions
        if condition["source"] == "uservariable" and condition["expression"] not in _PRESENCE
    }


def _never(_: Subject) -> bool:
    return False


def _test(condition: Mapping[str, Any]) -> Test:
    source = condition["source"]
    if source in _RETIRED:
        return _never
    if source == "cvkey":
        return _orders_test(condition)
    if source in _TIMES:
        return _time_test(condition, _follow_time if source == "followtime" else _push_time)
    if source == "tag":
        return _text_test(condition, _tag_reader(condition.get("tag") or {}))
    if source == "uservariable":
        name = _variable_name(condition)
        return _text_test(condition, lambda subject: subject.variable(name).strip() or None)
    return _text_test(condition, lambda _: None)


def _text_test(condition: Mapping[str, Any], read: Callable[[Subject], str | None]) -> Test:
    expression = condition["expression"]
    if expression == "has_value":
        return lambda subject: read(subject) is not None
    if expression == "no_value":
        return lambda subject: read(subject) is None
    matches = _matcher(condition)

    def test(subject: Subject) -> bool:
        text = read(subject)
        return text is not None and matches(text)

    return test


def _orders_test(condition: Mapping[str, Any]) -> Test:
    expression = condition["expression"]
    if expression == "has_value":
        return lambda subject: bool(subject.orders)
    if expression == "no_value":
        return lambda subject: not subject.orders
    matches = _matcher(condition)
    return lambda subject: any(matches(order.strip()) for order in subject.orders)


def _follow_time(subject: Subject) -> datetime | None:
    return subject.follow_time


def _push_time(subject: Subject) -> datetime | None:
    return subject.pushed_at()


def _time_test(condition: Mapping[str, Any], read: Callable[[Subject], datetime | None]) -> Test:
    if condition["expression"] != "date_range":
        return _text_test(condition, lambda subject: times.shown(moment) if (moment := read(subject)) else None)
    within = _within(_dates(condition))

    def test(subject: Subject) -> bool:
        moment = read(subject)
        return moment is not None and within(moment)

    return test


def _tag_reader(wanted: Mapping[str, Any]) -> Callable[[Subject], str | None]:
    name, color = wanted.get("name"), wanted.get("color") or ""

    def read(subject: Subject) -> str | None:
        for tag in subject.tags:
            if tag["name"] == name and (not color or tag["color"] == color):
                # A tag without value is there all the same; its name stands for it.
                return (tag.get("value") or tag["name"]).strip()
        return None

    return read


def _matcher(condition: Mapping[str, Any]) -> Callable[[str], bool]:
    """Return what compares a text that is there."""
    value = str(_value(condition)).strip()
    match condition["expression"]:
        case "exactly_match":
            return value.__eq__
        case "fuzzy_match":
            return lambda text: value in text
        case "num_gt" | "num_lt" as expression:
            return _beyond(_number(value), upwards=expression == "num_gt")
        case "num_range":
            within = _within(_numbers(condition))
            return lambda text: (number := _number(text)) is not None and within(number)
        case "date_range":
            within = _within(_dates(condition))
            return lambda text: (moment := _moment(text)) is not None and within(moment)
    raise ValueError(f"unknown expression {condition['expression']}")


def _beyond(limit: Decimal | None, *, upwards: bool) -> Callable[[str], bool]:
    if limit is None:
        return lambda _: False
    if upwards:
        return lambda text: (number := _number(text)) is not None and number > limit
    return lambda text: (number := _number(text)) is not None and number < limit


def _within(limits: tuple[Any, Any] | None) -> Callable[[Any], bool]:
    """Return what tells whether something lies between two ends, None for an open one; no limits hold nothing."""
    if limits is None:
        return lambda _: False
    low, high = limits
    if low is None:
        return (lambda _: True) if high is None else (lambda thing: bool(thing <= high))
    if high is None:
        return lambda thing: bool(low <= thing)
    return lambda thing: bool(low <= thing <= high)


def _numbers(condition: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None] | None:
    """Return the ends of a range of numbers, None for the whole when one cannot be read."""
    start, end = _ends(condition)
    low, high = _number(start), _number(end)
    return None if (start and low is None) or (end and high is None) else (low, high)


def _dates(condition: Mapping[str, Any]) -> tuple[datetime | None, datetime | None] | None:
    """Return the ends of a range of times, None for the whole when one cannot be read."""
    start, end = _ends(condition)
    low, high = _moment(start), _moment(end, end=True)
    if (start and low is None) or (end and high is None):
        return None
    # Times count in milliseconds, so all of the last one belongs to the range.
    return low, None if high is None else high + timedelta(microseconds=999)


def _ends(condition: Mapping[str, Any]) -> tuple[str, str]:
    limits = condition.get("range") or {}
    start, end = (str(limits[side]).strip() if limits.get(side) is not None else "" for side in ("start", "end"))
    return start, end


def _value(condition: Mapping[str, Any]) -> Any:
    """Return the value to compare with; the documents' lost indentation may have put it inside tag."""
    value = condition.get("value")
    tag = condition.get("tag")
    if value in (None, "") and isinstance(tag, dict):
        value = tag.get("value")
    return "" if value is None else value


def _variable_name(condition: Mapping[str, Any]) -> str:
    name = (condition.get("uservariable") or {}).get("name", "")
    return str(name)


def _number(text: str) -> Decimal | None:
    """Read a number exactly, in any width of digits."""
    try:
        number = Decimal(text if text.isascii() else unicodedata.normalize("NFKC", text).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _moment(text: str, *, end: bool = False) -> datetime | None:
    """Read a date or a time; a date alone means its first moment, as the end of a range its last."""
    try:
        if len(text) == 10 and text[4] == text[7] == "-" and not end:
            # A date like most, read eight times as fast.
            return datetime.fromisoformat(f"{text}T00:00+00:00")
        return times.read(text, end=end)
    except ValueError:
        return None


def normalised(condition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a condition without flaws as it is kept: what counts of it, all texts, `uservariable` as an object."""
    source = condition["source"]
    kept: dict[str, Any] = {
        "expression": condition["expression"],
        "source": "cros" if source == "cors" else source,
        "value": _written(condition.get("value")),
    }
    for name, members in _OBJECTS.items():
        given = condition.get(name)
        if given:
            inner = given if isinstance(given, dict) else {"name": given}
            kept[name] = {member: _written(inner[member]) for member in members if member in inner}
    return kept


def _written(value: Any) -> str:
    return "" if value is None else str(value)


def flaws_of_conditions(conditions: Sequence[Any], path: str, *, sources: Collection[str]) -> list[Flaw]:
    """Return what is wrong with conditions that are to be saved: types, and what each expression and source needs."""
    flaws: list[Flaw] = []
    for place, condition in enumerate(conditions):
        where = f"{path}[{place}]"
        if not isinstance(condition, dict):
            flaws.append(Flaw(where, "must be an object"))
            continue
        found = [*_choice_flaws(condition, sources), *_type_flaws(condition)]
        if not found and condition["source"] not in _RETIRED:
            found = [*_source_flaws(condition), *_expression_flaws(condition)]
        flaws += [Flaw(f"{where}.{flaw.path}", flaw.message) for flaw in found]
    return flaws


def _choice_flaws(condition: Mapping[str, Any], sources: Collection[str]) -> list[Flaw]:
    flaws = []
    for name, choices in (("source", sources), ("expression", EXPRESSIONS)):
        given = condition.get(name)
        if given is None:
            flaws.append(Flaw(name, "is required"))
        elif not isinstance(given, str) or given not in choices:
            flaws.append(Flaw(name, f"must be one of {', '.join(choices)}"))
    return flaws


def _type_flaws(condition: Mapping[str, Any]) -> list[Flaw]:
    """Judge the members that are there; editors send those that do not matter empty, as null, '' or {}."""
    flaws = _text_flaws(condition, "value", _VALUE_LENGTH)
    for name, members in _OBJECTS.items():
        given = condition.get(name)
        if isinstance(given, dict):
            inner = [flaw for member in members for flaw in _text_flaws(given, member, _NAME_LENGTH)]
            flaws += [Flaw(f"{name}.{flaw.path}", flaw.message) for flaw in inner]
        elif name == "uservariable":
            flaws += _text_flaws(condition, name, _NAME_LENGTH)
        elif given not in (None, ""):
            flaws.append(Flaw(name, "must be an object"))
    return flaws


def _text_flaws(holder: Mapping[str, Any], name: str, length: int) -> list[Flaw]:
    given = holder.get(name)
    if given is None or (isinstance(given, int | float) and not isinstance(given, bool)):
        return []
    if not isinstance(given, str):
        return [Flaw(name, "must be a string")]
    return [Flaw(name, f"must have at most {length} characters")] if len(given) > length else []


def _source_flaws(condition: Mapping[str, Any]) -> list[Flaw]:
    if condition["source"] == "tag":
        tag = condition.get("tag") or {}
        flaws = [] if _written(tag.get("name")).strip() else [Flaw("tag.name", "is required for source tag")]
        # Without colour a tag of any colour is meant.
        if _written(tag.get("color")) not in ("", *COLORS):
            flaws.append(Flaw("tag.color", "is no colour of a tag"))
        return flaws
    if condition["source"] == "uservariable":
        variable = condition.get("uservariable") or {}
        name = variable.get("name") if isinstance(variable, dict) else variable
        if not _written(name).strip():
            return [Flaw("uservariable.name", "is required for source uservariable")]
    if condition["source"] in _TIMES and condition["expression"].startswith("num_"):
        return [Flaw("expression", f"compares numbers, and {condition['source']} is a time")]
    return []


def _expression_flaws(condition: Mapping[str, Any]) -> list[Flaw]:
    expression = condition["expression"]
    if expression in _PRESENCE:
        return []
    if expression in _RANGES:
        return _range_flaws(condition)
    value = str(_value(condition)).strip()
    if not value:
        return [Flaw("value", f"is required for expression {expression}")]
    if expression in ("num_gt", "num_lt") and _number(value) is None:
        return [Flaw("value", "must be a number")]
    return []


def _range_flaws(condition: Mapping[str, Any]) -> list[Flaw]:
    expression = condition["expression"]
    start, end = _ends(condition)
    if not start and not end:
        return [Flaw("range", f"needs start or end for expression {expression}")]
    low: Any
    high: Any
    if expression == "num_range":
        low, high, kind = _number(start), _number(end), "a number"
    else:
        low, high, kind = _moment(start), _moment(end, end=True), "a date or a time like 2024-01-28 06:04:25.693"
    read = (("start", start, low), ("end", end, high))
    flaws = [Flaw(f"range.{side}", f"must be {kind}") for side, text, thing in read if text and thing is None]
    if low is not None and high is not None and low > high:
        flaws.append(Flaw("range.start", "is after range.end"))
    return flaws
