"""Limits: so often in a window, however many count at once."""

import hashlib
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest

from kernel import aws, clock, rates, wire
from kernel.errors import TooMany
from kernel.tables import Check, ConditionFailed, commit, rows_of
from tests.conftest import NOW

WINDOW = timedelta(minutes=15)
END = NOW.replace(microsecond=0) + WINDOW


def count(times=1, *, who="ann", what="try", limit=3):
    for _ in range(times):
        rates.count(what, who, limit=limit, window=WINDOW)


def rows(cloud):
    return [(row["times"], row["expires"]) for row in cloud.rows("rates")]


def test_as_often_as_allowed_and_not_once_more(cloud):
    count(3)
    before = cloud.rows("rates")

    with pytest.raises(TooMany) as raised:
        count()

    assert raised.value.message == "Too many attempts; try again later"
    assert cloud.rows("rates") == before
    # Who did what cannot be read from the row.
    who = hashlib.sha256(b"try\0ann").hexdigest()
    assert before == [{"who": who, "times": 3, "expires": int((NOW + WINDOW).timestamp())}]


def test_people_and_deeds_count_apart(cloud):
    count(3)

    count(who="bob")
    count(what="send")
    assert sorted(times for times, _ in rows(cloud)) == [1, 1, 3]


def test_the_window_begins_with_the_first_time_and_ends(cloud):
    count()
    with clock.frozen(NOW + WINDOW - timedelta(minutes=1)):
        count(2)
    # The table keeps whole seconds, and removes rows late.
    with clock.frozen(END - timedelta(milliseconds=1)), pytest.raises(TooMany):
        count()
    with clock.frozen(END):
        count()
        assert rows(cloud) == [(1, int((END + WINDOW).timestamp()))]


def test_a_limit_that_was_lowered_holds_at_once(cloud):
    count(3, limit=5)

    with pytest.raises(TooMany):
        count(limit=2)


def test_parallel_times_are_all_counted(cloud, monkeypatch):
    outcomes = []
    ready = threading.Barrier(8)
    one_write, send = threading.Lock(), wire.send

    def alone(*request, **how):
        # DynamoDB checks and writes a row in one step; moto's threads come between.
        with one_write:
            return send(*request, **how)

    monkeypatch.setattr(wire, "send", alone)

    def work():
        ready.wait()
        for _ in range(3):
            try:
                count(limit=10)
                outcomes.append(True)
            except TooMany:
                outcomes.append(False)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [False] * 14 + [True] * 10
    assert rows(cloud) == [(10, int((NOW + WINDOW).timestamp()))]


@contextmanager
def after_a_refused_write(work):
    """Let somebody else work between a write that the table refuses and the next one."""

    def sneak_in(call):
        if call.action == "UpdateItem" and "__type" in call.answer:
            aws.observers.remove(sneak_in)
            work()

    aws.observers.append(sneak_in)
    yield
    assert sneak_in not in aws.observers


def test_the_first_of_a_window_may_be_anothers(cloud):
    count(3)

    with clock.frozen(END), after_a_refused_write(count):
        count()
    assert [times for times, _ in rows(cloud)] == [2]

    with clock.frozen(END + WINDOW), after_a_refused_write(lambda: count(3)), pytest.raises(TooMany):
        count()
    assert [times for times, _ in rows(cloud)] == [3]


@pytest.mark.parametrize("moment", [NOW, END])
def test_a_count_forgotten_meanwhile_locks_nobody(cloud, moment):
    count(3)

    with clock.frozen(moment), after_a_refused_write(lambda: rates.forget("try", "ann")):
        count()

    assert [times for times, _ in rows(cloud)] == [1]


def test_every_time_is_one_write(cloud):
    made = []
    aws.observers.append(made.append)
    try:
        count(3)
    finally:
        aws.observers.remove(made.append)

    assert [call.action for call in made] == ["UpdateItem"] * 3


def test_a_limit_is_told_from_the_row(cloud):
    def reached():
        return rates.reached(rates.RateTable.of_item(*rows_of(rates.RateTable, [rates.row_key("try", "ann")])), limit=3)

    assert not rates.reached(None, limit=3)
    count(2)
    assert not reached()
    count()
    assert reached()
    with clock.frozen(END):
        assert not reached()


def test_taking_back(cloud):
    count(3)

    rates.take_back("try", "ann")

    count()
    with pytest.raises(TooMany):
        count()


def test_taking_back_what_was_never_counted_or_forgotten(cloud):
    rates.take_back("try", "ann")
    assert rows(cloud) == []
    count()
    rates.take_back("try", "ann")
    rates.take_back("try", "ann")
    assert [times for times, _ in rows(cloud)] == [0]


def test_forgetting(cloud):
    count(3)

    rates.forget("try", "ann")

    assert rows(cloud) == []
    count(3)
    rates.forget("try", "nobody")


class TestCleared:
    def test_counts_anew_with_what_it_is_committed_with(self, cloud):
        count(2)

        commit(rates.cleared("try", "ann", limit=3))

        assert rows(cloud) == []

    def test_is_nothing_for_who_never_counted(self, cloud):
        commit(rates.cleared("try", "ann", limit=3))

    def test_fails_for_who_has_reached_the_limit_until_the_window_ends(self, cloud):
        count(3)

        with pytest.raises(ConditionFailed):
            commit(rates.cleared("try", "ann", limit=3))
        assert [times for times, _ in rows(cloud)] == [3]
        with clock.frozen(END):
            commit(rates.cleared("try", "ann", limit=3))
        assert rows(cloud) == []

    def test_takes_what_else_is_written_down_with_it(self, cloud):
        count(3)
        count(who="bob")
        bob = rates.cleared("try", "bob", limit=3)
        still = Check(rates.RateTable, bob.key, rates.RateTable.times.exists())

        with pytest.raises(ConditionFailed) as raised:
            commit(rates.cleared("try", "ann", limit=3), still)

        assert raised.value.index == 0
        assert len(rows(cloud)) == 2
