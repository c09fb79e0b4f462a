"""The time, to the millisecond, in UTC, and held still for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import clock

NOW = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)


def test_now_is_in_utc_to_the_millisecond():
    moment = clock.now()

    assert moment.tzinfo is UTC
    assert moment.microsecond % 1000 == 0


def test_frozen_time_stands_still_and_is_cut_to_the_millisecond():
    with clock.frozen(NOW.replace(microsecond=693999)):
        assert [clock.now(), clock.now()] == [NOW, NOW]


def test_frozen_time_is_given_in_any_zone_and_read_in_utc():
    with clock.frozen(NOW.astimezone(timezone(timedelta(hours=8)))):
        assert clock.now() == NOW
        assert clock.now().tzinfo is UTC


def test_the_innermost_time_counts_and_ends_with_its_block():
    later = NOW + timedelta(days=1)

    with clock.frozen(NOW):
        with clock.frozen(later):
            assert clock.now() == later
        assert clock.now() == NOW

    assert clock._frozen == []


def fail_at(moment: datetime) -> None:
    with clock.frozen(moment):
        raise KeyError


def test_the_time_goes_on_after_a_failure():
    with pytest.raises(KeyError):
        fail_at(NOW)

    assert clock._frozen == []


@pytest.mark.parametrize(
    ("millis", "moment"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        (1706421865693, NOW),
    ],
)
def test_a_time_and_its_milliseconds(millis, moment):
    assert clock.from_millis(millis) == moment
    assert clock.millis(moment) == millis


@settings(deadline=None)
@given(st.integers(0, 253_402_300_799_999))
def test_no_millisecond_is_lost(millis):
    moment = clock.from_millis(millis)

    assert clock.millis(moment) == millis
    assert clock.millis(moment.astimezone(timezone(timedelta(hours=-8)))) == millis
    assert moment.tzinfo is UTC
