"""The contract's times: UTC without a zone."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot import times

MOMENT = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-28 06:04:25.693", MOMENT),
        ("2024-01-28T06:04:25.693", MOMENT),
        ("2024-01-28T06:04:25.693Z", MOMENT),
        ("2024-01-28 14:04:25.693+08:00", MOMENT),
        ("2024-01-27 22:04:25.693-08:00", MOMENT),
        ("  2024-01-28 06:04:25.693\n", MOMENT),
        ("2024-01-28 06:04:25", MOMENT.replace(microsecond=0)),
        ("2024-01-28 06:04:25.6", MOMENT.replace(microsecond=600_000)),
        ("2024-01-28 06:04:25.6939", MOMENT),
        ("2024-01-28 06:04:25.69312", MOMENT),
        ("2024-01-28 14:04:25.693+0800", MOMENT),
        ("2024-01-28 06:04", MOMENT.replace(second=0, microsecond=0)),
        ("2024-01-28", datetime(2024, 1, 28, tzinfo=UTC)),
        ("2024-02-29 00:00:00", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0001-01-01 00:00:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31 23:59:59.999", datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
    ],
)
def test_reads(text, moment):
    assert times.read(text) == moment
    assert times.read(text).tzinfo is UTC


def test_a_date_as_an_end_is_its_last_moment():
    assert times.read("2024-01-28", end=True) == datetime(2024, 1, 28, 23, 59, 59, 999_000, tzinfo=UTC)
    assert times.read("2024-01-28 06:04:25.693", end=True) == MOMENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-1-28 06:04:25",
        "2024-02-30 00:00:00",
        "2023-02-29 00:00:00",
        "2024-01-28 24:00:01",
        "2024-01-28 06:60:00",
        "2024-01-28 06:04:25.",
        "2024-01-28 06:04:25.6931234",
        "2024-01-28 06",
        "2024-01",
        "2024-01-28+08:00",
        "2024-01-28 06:04:25 +08:00",
        "2024-01-28 06:04:25+24:00",
        "2024-01-28 06:04:25+08:00x",
        "0001-01-01 00:00:00+08:00",
        "9999-12-31 23:59:59-08:00",
        "２０２４-01-28 06:04:25",
    ],
)
def test_refuses_with_value_error(text):
    with pytest.raises(ValueError, match=r"must be|Invalid|day|month|hour|minute|offset|range"):
        times.read(text)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (MOMENT, "2024-01-28 06:04:25.693"),
        (MOMENT.astimezone(timezone(timedelta(hours=8))), "2024-01-28 06:04:25.693"),
        (MOMENT.replace(microsecond=693_999), "2024-01-28 06:04:25.693"),
        (MOMENT.replace(microsecond=7_000), "2024-01-28 06:04:25.007"),
        (MOMENT.replace(microsecond=0), "2024-01-28 06:04:25.000"),
    ],
)
def test_shows(moment, text):
    assert times.shown(moment) == text


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))
def test_reads_what_it_shows(moment):
    assert times.read(times.shown(moment)) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,4})?(Z|[+-]\d\d:\d\d)?", fullmatch=True))
def test_never_raises_anything_but_value_error(text):
    try:
        assert times.read(text).tzinfo is UTC
    except ValueError:
        return
