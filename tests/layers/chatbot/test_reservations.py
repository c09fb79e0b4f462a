"""When a booked scenario is sent."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from chatbot.reservations import sending_time
from kernel import settings

REACHED = datetime(2024, 1, 28, 6, 41, 29, 6000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def deployment(environment):
    """The deployment's time zone is the default one, +08:00: it is 14:41 there."""


def local(text):
    """Returns a time of the day 2024-01-28 at +08:00, or of another day when the text says so."""
    day, _, hour = text.rpartition(" ")
    return datetime.fromisoformat(f"{day or '2024-01-28'}T{hour}+08:00")


@pytest.mark.parametrize(
    ("minutes", "start", "end", "sent"),
    [
        (0, "", "", "14:41:29.006"),
        (30, "", "", "15:11:29.006"),
        (0, "09:00", "18:00", "14:41:29.006"),
        (30, "15:00", "16:00", "15:11:29.006"),
        (30, "15:30", "16:00", "15:30:00"),
        # The window's end does not belong to it.
        (0, "09:00", "14:41", "2024-01-29 09:00:00"),
        (0, "14:41", "14:42", "14:41:29.006"),
        (240, "09:00", "18:00", "2024-01-29 09:00:00"),
        # Past midnight it is another day there, though not yet in UTC.
        (600, "09:00", "18:00", "2024-01-29 09:00:00"),
        (600, "00:00", "01:00", "2024-01-29 00:41:29.006"),
        (0, "22:00", "06:00", "22:00:00"),
        (480, "22:00", "06:00", "22:41:29.006"),
        (720, "22:00", "06:00", "2024-01-29 02:41:29.006"),
        (1080, "22:00", "06:00", "2024-01-29 22:00:00"),
        (0, "", "06:00", "2024-01-29 00:00:00"),
        (0, "18:00", "", "18:00:00"),
        (0, "14:00", "", "14:41:29.006"),
        (0, "09:00", "09:00", "14:41:29.006"),
        (1440 * 366, "09:00", "10:00", "2025-01-29 09:00:00"),
    ],
)
def test_a_window_is_waited_for(minutes, start, end, sent):
    assert sending_time(REACHED, minutes, {"start": start, "end": end}) == local(sent)


@pytest.mark.parametrize(
    ("zone", "hour"), [("+08:00", 1), ("+00:00", 9), ("-05:00", 14), ("+05:30", 3), ("+09", 0), ("-09:30", 18)]
)
def test_a_window_is_one_of_the_deployments_zone(monkeypatch, zone, hour):
    monkeypatch.setenv("TIME_ZONE", zone)
    settings.settings.cache_clear()
    sent = sending_time(REACHED, 1440, {"start": "09:00", "end": "09:01"})

    assert sent.astimezone(UTC).hour == hour
    assert timedelta() <= sent - REACHED - timedelta(days=1) < timedelta(days=1)


minutes_of_day = st.builds(lambda hour, minute: f"{hour:02}:{minute:02}", st.integers(0, 23), st.integers(0, 59))


@limits(deadline=None, derandomize=True, max_examples=300)
@given(minutes=st.integers(0, 5000), start=minutes_of_day, end=minutes_of_day)
def test_it_is_the_first_moment_in_the_window(minutes, start, end):
    sent = sending_time(REACHED, minutes, {"start": start, "end": end})
    due = REACHED + timedelta(minutes=minutes)

    def inside(moment):
        clock = (moment + timedelta(hours=8)).strftime("%H:%M")
        return start == end or (start <= clock < end if start < end else clock >= start or clock < end)

    assert inside(sent)
    assert timedelta() <= sent - due < timedelta(days=1)
    if sent != due:
        assert not inside(due)
        assert not inside(sent - timedelta(seconds=1))
