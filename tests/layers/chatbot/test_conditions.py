"""The eight expressions over what is known of a user."""

import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot import times
from chatbot.conditions import (
    SEGMENT_SOURCES,
    SOURCES,
    Subject,
    all_hold,
    compared_variables,
    compiled,
    flaws_of_conditions,
    holds,
    normalised,
)
from kernel.errors import Flaw
from tests.scenarios import BLUE, RED, about_follow_time, about_tag, about_variable

FOLLOWED = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)
EXPRESSIONS = (
    "exactly_match", "fuzzy_match", "has_value", "no_value", "num_range", "num_gt", "num_lt", "date_range",
)  # fmt: skip


def user(value=None, *, follow_time=FOLLOWED):
    """Returns a user whose variable `x` and red tag `x` have this value; None for neither."""
    tags = [] if value is None else [{"name": "x", "color": RED, "value": value}]
    return Subject(tags, lambda name: value or "" if name == "x" else "", follow_time)


def within(start="", end=""):
    return {"range": {"start": start, "end": end}}


# expression, what the user has, value, further members of the condition, outcome
COMPARISONS = [
    ("exactly_match", "gold", "gold", {}, True),
    ("exactly_match", " gold ", "gold  ", {}, True),
    ("exactly_match", "Gold", "gold", {}, False),
    ("exactly_match", "golden", "gold", {}, False),
    ("exactly_match", "3", 3, {}, True),
    ("exactly_match", "ｇｏｌｄ", "gold", {}, False),
    ("exactly_match", "gold", "", {}, False),
    ("exactly_match", None, "", {}, False),
    ("exactly_match", None, "gold", {}, False),
    ("fuzzy_match", "my gold card", "gold", {}, True),
    ("fuzzy_match", "gold", "gold", {}, True),
    ("fuzzy_match", "gold", " old ", {}, True),
    ("fuzzy_match", "GOLD", "gold", {}, False),
    ("fuzzy_match", "gold", "golden", {}, False),
    ("fuzzy_match", None, "", {}, False),
    ("has_value", "gold", "", {}, True),
    ("has_value", "gold", "something else", {}, True),
    ("has_value", "0", "", {}, True),
    ("has_value", None, "", {}, False),
    ("no_value", "gold", "", {}, False),
    ("no_value", "gold", "gold", {}, False),
    ("no_value", None, "", {}, True),
    ("no_value", None, "gold", {}, True),
    ("num_range", "5", "", within("1", "10"), True),
    ("num_range", "1", "", within("1", "10"), True),
    ("num_range", "10", "", within("1", "10"), True),
    ("num_range", "10.0", "", within(1, 10), True),
    ("num_range", "0.99", "", within(1, 10), False),
    ("num_range", "10.01", "", within(1, 10), False),
    ("num_range", "-3", "", within("", "10"), True),
    ("num_range", "11", "", within("", "10"), False),
    ("num_range", "11", "", within("1", ""), True),
    ("num_range", "0", "", within("1", ""), False),
    ("num_range", "0", "", within("", ""), True),
    ("num_range", "0", "", within(0, 0), True),
    ("num_range", "5", "", {}, True),
    ("num_range", "5", "", {"range": None}, True),
    ("num_range", "5", "", within("one", "10"), False),
    ("num_range", "5", "", within("1", "ten"), False),
    ("num_range", "five", "", within("", ""), False),
    ("num_range", None, "", within("", ""), False),
    ("num_gt", "4", "3", {}, True),
    ("num_gt", "3", "3", {}, False),
    ("num_gt", "10", "9", {}, True),
    ("num_gt", "1e3", "999", {}, True),
    ("num_gt", "４", "３", {}, True),
    ("num_gt", " 4 ", " 3.5 ", {}, True),
    ("num_gt", "-3", "-4", {}, True),
    ("num_gt", "4", "", {}, False),
    ("num_gt", "4", "three", {}, False),
    ("num_gt", "four", "3", {}, False),
    ("num_gt", "Infinity", "3", {}, False),
    ("num_gt", "NaN", "3", {}, False),
    ("num_gt", None, "-1", {}, False),
    ("num_lt", "2", "3", {}, True),
    ("num_lt", "3", "3", {}, False),
    ("num_lt", "9", "10", {}, True),
    ("num_lt", "0.1", 0.2, {}, True),
    ("num_lt", "2", "NaN", {}, False),
    ("num_lt", "two", "3", {}, False),
    ("num_lt", None, "3", {}, False),
    ("date_range", "2024-01-28", "", within("2024-01-28", "2024-01-28"), True),
    ("date_range", "2024-01-28 23:59:59.999", "", within("2024-01-28", "2024-01-28"), True),
    ("date_range", "2024-01-29 00:00:00", "", within("2024-01-28", "2024-01-28"), False),
    ("date_range", "2024-01-27 23:59:59.999", "", within("2024-01-28", ""), False),
    ("date_range", "2024-01-28", "", within("", "2024-01-28"), True),
    ("date_range", "2024-01-28", "", within("2024-01-28 00:00:00.001", ""), False),
    ("date_range", "2024-01-28T08:00:00+08:00", "", within("2024-01-28 00:00:00", "2024-01-28 00:00:00"), True),
    ("date_range", "9999-12-31", "", within("2024-01-28", "9999-12-31"), True),
    ("date_range", "2024-01-28", "", within("", ""), True),
    ("date_range", "2024-02-30", "", within("", ""), False),
    ("date_range", "２０２４-01-28", "", within("", ""), False),
    ("date_range", "2024-W04-7", "", within("", ""), False),
    ("date_range", "yesterday", "", within("", ""), False),
    ("date_range", "2024-01-28", "", within("someday", ""), False),
    ("date_range", "2024-01-28", "", within("", "someday"), False),
    ("date_range", None, "", within("", ""), False),
]  # fmt: skip


@pytest.mark.parametrize("about", [about_tag, about_variable])
@pytest.mark.parametrize(("expression", "has", "value", "more", "outcome"), COMPARISONS)
def test_compares_tags_and_variables(about, expression, has, value, more, outcome):
    assert holds(about("x", expression, value, **more), user(has)) is outcome


@pytest.mark.parametrize(
    ("expression", "value", "more", "outcome"),
    [
        ("exactly_match", "2024-01-28 06:04:25.693", {}, True),
        ("exactly_match", "2024-01-28", {}, False),
        ("fuzzy_match", "2024-01-28", {}, True),
        ("fuzzy_match", "2024-01-29", {}, False),
        ("has_value", "", {}, True),
        ("no_value", "", {}, False),
        ("num_range", "", within("", ""), False),
        ("num_gt", "0", {}, False),
        ("num_lt", "9999999999999", {}, False),
        ("date_range", "", within("2024-01-28", "2024-01-28"), True),
        ("date_range", "", within("2024-01-28 06:04:25.693", "2024-01-28 06:04:25.693"), True),
        ("date_range", "", within("2024-01-28 06:04:25.694", ""), False),
        ("date_range", "", within("", "2024-01-28 06:04:25.692"), False),
        ("date_range", "", within("2024-01-29", ""), False),
        ("date_range", "", within("", "2024-01-27"), False),
    ],
)
def test_compares_the_follow_time(expression, value, more, outcome):
    assert holds(about_follow_time(expression, value, **more), user()) is outcome


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("source", ["followtime", "cvkey"])
def test_what_is_not_there_has_no_value(source, expression):
    condition = {**about_follow_time(expression, "1", **within("", "")), "source": source}

    assert holds(condition, user("1", follow_time=None)) is (expression == "no_value")


@pytest.mark.parametrize(
    ("tags", "color", "outcome"),
    [
        ([("x", RED, "1")], RED, True),
        ([("x", BLUE, "1")], RED, False),
        ([("x", BLUE, "0"), ("x", RED, "1")], RED, True),
        ([("x", BLUE, "1")], "", True),
        ([("x", BLUE, "1")], None, True),
        ([("y", RED, "1")], RED, False),
        ([("x", RED, "0"), ("x", BLUE, "1")], "", False),
    ],
)
def test_a_tag_is_known_by_name_and_color(tags, color, outcome):
    subject = Subject([dict(zip(("name", "color", "value"), tag, strict=True)) for tag in tags], lambda _: "", None)

    assert holds(about_tag("x", "exactly_match", "1", color=color), subject) is outcome


def test_the_name_of_a_tag_stands_for_its_missing_value():
    subject = Subject([{"name": "vip", "color": RED, "value": ""}], lambda _: "", None)

    assert holds(about_tag("vip", "has_value"), subject)
    assert not holds(about_tag("vip", "no_value"), subject)
    assert holds(about_tag("vip", "exactly_match", "vip"), subject)


@pytest.mark.parametrize("blank", ["", None])
def test_the_value_may_stand_inside_the_tag(blank):
    condition = about_tag("x", "exactly_match", blank)
    condition["tag"]["value"] = "gold"

    assert holds(condition, user("gold"))
    assert not holds(condition, user("silver"))


def test_the_value_beside_the_tag_wins():
    condition = about_tag("x", "exactly_match", "silver")
    condition["tag"]["value"] = "gold"

    assert holds(condition, user("silver"))


def test_a_blank_variable_is_none():
    assert holds(about_variable("x", "no_value"), user("  \u3000"))


def test_all_conditions_of_a_branch_must_hold_and_none_never_do():
    yes, no = about_variable("x", "has_value"), about_variable("x", "no_value")

    assert all_hold([yes, yes], user("1"))
    assert not all_hold([yes, no], user("1"))
    assert not all_hold([], user("1"))


_ANY = st.none() | st.text(max_size=12) | st.integers() | st.floats() | st.sampled_from(["1", "2024-01-28", "NaN", "٣"])


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    about=st.sampled_from([about_tag, about_variable, lambda _, *args, **more: about_follow_time(*args, **more)]),
    expression=st.sampled_from(EXPRESSIONS),
    has=st.none() | st.text(max_size=12) | st.sampled_from(["1", "2024-01-28", "0001-01-01 00:00:00+09:00"]),
    value=_ANY,
    start=_ANY,
    end=_ANY,
)
def test_always_answers(about, expression, has, value, start, end):
    condition = about("x", expression, value, range={"start": start, "end": end})

    assert holds(condition, user(has)) in (True, False)


def about(source, expression, value="", **more):
    return {"source": source, "expression": expression, "value": value, **more}


@pytest.mark.parametrize(
    ("orders", "expression", "value", "more", "outcome"),
    [
        (["A1", "B2"], "exactly_match", "B2", {}, True),
        (["A1", " B2 "], "exactly_match", " B2", {}, True),
        (["A1", "B2"], "exactly_match", "B", {}, False),
        (["A1", "B2"], "fuzzy_match", "B", {}, True),
        (["1", "20"], "num_gt", "10", {}, True),
        (["1", "20"], "num_lt", "1", {}, False),
        (["7", "x"], "num_range", "", within(5, 8), True),
        (["2024-01-28"], "date_range", "", within("2024-01-28", ""), True),
        (["A1"], "has_value", "", {}, True),
        (["A1"], "no_value", "", {}, False),
        ([], "has_value", "", {}, False),
        ([], "no_value", "", {}, True),
        ([], "fuzzy_match", "", {}, False),
    ],
)
def test_any_order_is_enough(orders, expression, value, more, outcome):
    subject = Subject([], lambda _: "", None, orders)

    assert holds(about("cvkey", expression, value, **more), subject) is outcome


@pytest.mark.parametrize(
    ("expression", "value", "more", "outcome"),
    [
        ("date_range", "", within("2024-01-28", "2024-01-28"), True),
        ("date_range", "", within("2024-01-29", ""), False),
        ("date_range", "", within("", "2024-01-28 06:04:25.692"), False),
        ("has_value", "", {}, True),
        ("no_value", "", {}, False),
        ("fuzzy_match", "06:04", {}, True),
    ],
)
def test_compares_the_last_push_like_the_follow_time(expression, value, more, outcome):
    condition = about("serverpushtime", expression, value, **more)
    pushed, never = (Subject([], lambda _: "", None, (), lambda moment=moment: moment) for moment in (FOLLOWED, None))

    assert holds(condition, pushed) is outcome
    assert holds(condition, never) is (expression == "no_value")


@pytest.mark.parametrize("source", ["cros", "cors"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_retired_sources_never_hold(source, expression):
    assert not holds(about(source, expression, "1", **within("", "")), user("1"))


def test_a_time_belongs_to_its_whole_millisecond():
    subject = user(follow_time=FOLLOWED + timedelta(microseconds=999))

    assert holds(about_follow_time("date_range", "", **within("", "2024-01-28 06:04:25.693")), subject)


def test_asks_for_what_is_dear_only_when_the_rest_holds():
    asked = []
    subject = Subject([], lambda name: asked.append(name) or "x", FOLLOWED, (), lambda: asked.append("push"))
    push, variable = about("serverpushtime", "has_value"), about_variable("x", "has_value")

    assert not all_hold([push, variable, about_tag("y", "has_value")], subject)
    assert asked == []
    assert not all_hold([push, variable], subject)
    assert asked == ["x", "push"]


def test_names_the_variables_whose_values_matter():
    conditions = [about_variable("a", "has_value"), about_variable("b", "no_value"), about_variable("c", "num_gt", 1)]

    assert compared_variables([*conditions, about_tag("d", "exactly_match", "1")]) == {"c"}


# The rules again, as plainly as they can be said: every value is read for every question.


def number(text):
    try:
        found = Decimal(unicodedata.normalize("NFKC", text).strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def moment(text, *, end=False):
    try:
        return times.read(text, end=end)
    except ValueError:
        return None


def operands(condition, subject):
    """Returns the texts to look at, of which one has to fit."""
    match condition["source"]:
        case "tag":
            wanted = condition["tag"]
            for tag in subject.tags:
                if tag["name"] == wanted["name"] and wanted["color"] in ("", tag["color"]):
                    return [(tag["value"] or tag["name"]).strip()]
            return []
        case "uservariable":
            text = subject.variable(condition["uservariable"]["name"]).strip()
            return [text] if text else []
        case "cvkey":
            return [order.strip() for order in subject.orders]
        case "followtime" | "serverpushtime" as source:
            at = subject.follow_time if source == "followtime" else subject.pushed_at()
            return [times.shown(at)] if at else []


def between(operand, read, limits):
    start, end = limits["start"].strip(), limits["end"].strip()
    found = read(operand)
    low = read(start) if start else found
    high = (moment(end, end=True) if read is moment else read(end)) if end else found
    return None not in (found, low, high) and low <= found <= high


def fits(expression, operand, value, limits):
    mine, other = number(operand), number(value)
    match expression:
        case "exactly_match":
            return operand == value.strip()
        case "fuzzy_match":
            return value.strip() in operand
        case "num_gt":
            return None not in (mine, other) and mine > other
        case "num_lt":
            return None not in (mine, other) and mine < other
        case "num_range":
            return between(operand, number, limits)
        case "date_range":
            return between(operand, moment, limits)


def holds_plainly(condition, subject):
    if condition["source"] in ("cros", "cors"):
        return False
    found = operands(condition, subject)
    if condition["expression"] in ("has_value", "no_value"):
        return bool(found) is (condition["expression"] == "has_value")
    return any(fits(condition["expression"], one, condition["value"], condition["range"]) for one in found)


_TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "ab", "A", " a ", "0", "1", "1.0", "1e1", "10", "９", "٣", "-1", "NaN", "1_0", "\u3000", "2024-W01-1",
         "2024-01-28", "2024-02-30", "2024-01-28 06:04", "2024-01-28T06:04:25.693Z", "2024-01-29", "2024-01-28+08:00"]
    ),
    st.text(max_size=4),
    st.integers(-12, 12).map(str),
    st.decimals(-12, 12, places=1).map(str),
    st.datetimes(datetime(2024, 1, 27), datetime(2024, 1, 30)).map(lambda at: str(at.date())),
)  # fmt: skip
_TAGS = st.fixed_dictionaries({"name": st.sampled_from("ab"), "color": st.sampled_from([RED, BLUE]), "value": _TEXTS})
_TIMES = st.none() | st.datetimes(datetime(2024, 1, 27), datetime(2024, 1, 30), timezones=st.just(UTC))
_SUBJECTS = st.builds(
    lambda tags, variables, follow_time, orders, pushed: Subject(
        tags, lambda name: variables.get(name, ""), follow_time, orders, lambda: pushed
    ),
    st.lists(_TAGS, max_size=3),
    st.dictionaries(st.sampled_from("ab"), _TEXTS, max_size=2),
    _TIMES,
    st.lists(_TEXTS, max_size=3),
    _TIMES,
)
_CONDITIONS = st.fixed_dictionaries(
    {
        "source": st.sampled_from(SEGMENT_SOURCES),
        "expression": st.sampled_from(EXPRESSIONS),
        "value": _TEXTS,
        "tag": st.fixed_dictionaries({"name": st.sampled_from("ab"), "color": st.sampled_from([RED, BLUE, ""])}),
        "uservariable": st.fixed_dictionaries({"name": st.sampled_from("ab")}),
        "range": st.fixed_dictionaries({"start": _TEXTS, "end": _TEXTS}),
    }
)


@settings(deadline=None, derandomize=True, max_examples=800)
@given(conditions=st.lists(_CONDITIONS, max_size=3), subjects=st.lists(_SUBJECTS, min_size=1, max_size=3))
def test_says_what_the_plain_rules_say(conditions, subjects):
    test = compiled(conditions)

    for subject in subjects:
        plainly = bool(conditions) and all(holds_plainly(condition, subject) for condition in conditions)
        assert test(subject) is plainly


@settings(deadline=None, derandomize=True, max_examples=300)
@given(condition=_CONDITIONS, subject=_SUBJECTS)
def test_what_is_saved_means_the_same(condition, subject):
    if not flaws_of_conditions([condition], "c", sources=SEGMENT_SOURCES):
        assert holds(normalised(condition), subject) is holds(condition, subject)


@pytest.mark.parametrize(
    "condition",
    [
        about_tag("vip", "has_value"),
        about_tag("vip", "exactly_match", "gold", color=""),
        about("tag", "exactly_match", tag={"name": "vip", "color": RED, "value": "gold"}),
        about_variable("age", "num_gt", 3),
        about_variable("age", "num_lt", "３.５"),
        about("uservariable", "no_value", None, uservariable="age", tag="", range=None),
        about_variable("age", "num_range", range={"start": 0, "end": ""}),
        about_follow_time("date_range", range={"start": "2024-01-28", "end": "2024-01-28"}),
        about("serverpushtime", "date_range", range={"start": "", "end": "2024-01-28T06:04:25Z"}),
        about("cvkey", "fuzzy_match", "A"),
        {"source": "cros", "expression": "num_gt"},
        {"source": "cors", "expression": "has_value", "value": "", "cors": {"any": "thing"}},
    ],
)
def test_takes_what_can_be_read(condition):
    assert flaws_of_conditions([condition], "c", sources=SEGMENT_SOURCES) == []


NO_NAME = ("uservariable.name", "is required for source uservariable")
NO_NUMBER = "must be a number"
NO_DATE = ("range.start", "must be a date or a time like 2024-01-28 06:04:25.693")
BACKWARDS = ("range.start", "is after range.end")
WHERE = "must be one of tag, uservariable, followtime, cvkey"
HOW = f"must be one of {', '.join(EXPRESSIONS)}"
FAULTY = [
    ("x", [("", "must be an object")]),
    ({}, [("source", "is required"), ("expression", "is required")]),
    (about("serverpushtime", "like"), [("source", WHERE), ("expression", HOW)]),
    (about(["tag"], 1), [("source", WHERE), ("expression", HOW)]),
    (about_tag("", "has_value"), [("tag.name", "is required for source tag")]),
    (about("tag", "has_value"), [("tag.name", "is required for source tag")]),
    (about("tag", "has_value", tag="vip"), [("tag", "must be an object")]),
    (about_tag("vip", "has_value", color="red"), [("tag.color", "is no colour of a tag")]),
    (about_tag(["vip"], "has_value"), [("tag.name", "must be a string")]),
    (about("uservariable", "has_value"), [NO_NAME]),
    (about("uservariable", "has_value", uservariable=" "), [NO_NAME]),
    (about("uservariable", "has_value", uservariable=["a"]), [("uservariable", "must be a string")]),
    (about_variable("n" * 101, "has_value"), [("uservariable.name", "must have at most 100 characters")]),
    (about_variable("a", "exactly_match", " "), [("value", "is required for expression exactly_match")]),
    (about_variable("a", "fuzzy_match", None), [("value", "is required for expression fuzzy_match")]),
    (about_variable("a", "exactly_match", True), [("value", "must be a string")]),
    (about_variable("a", "exactly_match", "v" * 1001), [("value", "must have at most 1000 characters")]),
    (about_variable("a", "num_gt", "three"), [("value", "must be a number")]),
    (about_variable("a", "num_lt", "NaN"), [("value", "must be a number")]),
    (about_variable("a", "num_lt"), [("value", "is required for expression num_lt")]),
    (about_variable("a", "num_range"), [("range", "needs start or end for expression num_range")]),
    (about_variable("a", "date_range", range=None), [("range", "needs start or end for expression date_range")]),
    (about_variable("a", "num_range", range=[1]), [("range", "must be an object")]),
    (about_variable("a", "num_range", **within("one", "1e")), [("range.start", NO_NUMBER), ("range.end", NO_NUMBER)]),
    (about_variable("a", "num_range", **within(2, 1)), [BACKWARDS]),
    (about_follow_time("date_range", **within("2024-02-30", "")), [NO_DATE]),
    (about_follow_time("date_range", **within("2024-01-29", "2024-01-28")), [BACKWARDS]),
    (about_follow_time("num_gt", "1"), [("expression", "compares numbers, and followtime is a time")]),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "found"), FAULTY)
def test_names_what_is_wrong_with_a_condition(condition, found):
    good = about_tag("vip", "has_value")
    flaws = flaws_of_conditions([good, condition], "c", sources=SOURCES)

    assert flaws == [Flaw(f"c[1].{path}" if path else "c[1]", message) for path, message in found]


def test_keeps_what_counts_as_texts():
    given = about("uservariable", "num_range", None, uservariable="age", range={"start": 1, "x": 2}, tag="", cors={})

    assert normalised(given) == {
        "expression": "num_range",
        "source": "uservariable",
        "value": "",
        "uservariable": {"name": "age"},
        "range": {"start": "1"},
    }
    assert normalised({"source": "cors", "expression": "has_value"}) == about("cros", "has_value")
