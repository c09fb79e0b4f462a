"""What is due: found when its time has come, once removed never again."""

from datetime import timedelta

import pytest

from chatbot import due
from kernel import aws, clock
from kernel.tables import Delete, commit, write_all
from tests.scenarios import NOW


@pytest.fixture(autouse=True)
def tables(cloud):
    """Bookings are rows."""


def book(name, seconds=0, kind="reservation", admin_id="0001", account_id="channel"):
    at = NOW + timedelta(seconds=seconds)
    commit(due.book(kind, admin_id, account_id, at, name, {"name": name}))


def names(kind="reservation"):
    return sorted(entry.what["name"] for entry in due.entries(kind))


def test_what_has_come_is_due_and_what_is_to_come_is_not():
    for name, seconds in (("past", -3600), ("now", 0), ("soon", 0.001), ("later", 3600)):
        book(name, seconds)

    assert names() == ["now", "past"]
    with clock.frozen(NOW + timedelta(hours=1)):
        assert names() == ["later", "now", "past", "soon"]


def test_an_entry_tells_whose_it_is():
    book("a")

    (entry,) = due.entries("reservation")
    assert (entry.admin_id, entry.account_id, entry.at, entry.what) == ("0001", "channel", NOW, {"name": "a"})
    assert entry.own_key() == due.key("reservation", "0001", "channel", NOW, "a")


def test_kinds_channels_and_times_are_apart():
    book("a", kind="broadcast")
    for channel in ("one", "two"):
        for seconds in (0, -1):
            book("a", seconds, account_id=channel)

    assert names("broadcast") == ["a"]
    assert names("menus") == []
    assert names() == ["a"] * 4


def test_booking_twice_is_one():
    book("a")
    book("a")

    assert names() == ["a"]


def test_what_was_taken_back_is_not_due():
    book("a")
    book("b")
    commit(due.cancel("reservation", "0001", "channel", NOW, "a"))
    # One that is not there is fine.
    commit(due.cancel("reservation", "0001", "channel", NOW, "a"))

    assert names() == ["b"]


def test_many_are_spread_and_all_found_the_oldest_of_a_lane_first(cloud):
    at = {f"{number:03}": NOW - timedelta(seconds=number) for number in range(300)}
    write_all(due.book("reservation", "0001", "channel", when, name, {"name": name}) for name, when in at.items())
    lanes = {row["lane"] for row in cloud.rows("due")}
    assert lanes == {f"reservation#{number}" for number in range(due.LANES["reservation"])}

    calls = []
    aws.observers.append(calls.append)
    found = list(due.entries("reservation"))
    aws.observers.remove(calls.append)

    assert sorted(entry.what["name"] for entry in found) == sorted(at)
    for lane in lanes:
        mine = [entry.at for entry in found if entry.lane == lane]
        assert mine == sorted(mine)
    assert len(calls) == due.LANES["reservation"]
    write_all(Delete(type(entry), entry.own_key()) for entry in found)
    assert names() == []
