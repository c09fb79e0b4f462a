"""The eight expressions over what is known of a user."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.conditions import Subject, all_hold, holds
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
