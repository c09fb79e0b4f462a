"""Limits on how often somebody may do something, kept in a table so that all functions count together."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from pynamodb.attributes import TTLAttribute, UnicodeAttribute

from kernel import clock
from kernel.errors import TooMany
from kernel.tables import Change, ConditionFailed, Delete, Item, Table, WholeNumber, commit

if TYPE_CHECKING:
    from datetime import timedelta


class RateTable(Table):
    """How often somebody did something since his window began; who it was cannot be read from the row."""

    name: ClassVar[str] = "rates"
    who = UnicodeAttribute(hash_key=True)
    times = WholeNumber()
    expires = TTLAttribute()


def count(what: str, who: str, *, limit: int, window: timedelta) -> None:
    """Count one more time that `who` does `what`; raises TooMany when he did `limit` times within the window.

    Counted before it is done, so that what is done at the same time is counted all the same.
    """
    key = row_key(what, who)
    now = clock.now()
    times, expires = RateTable.times, RateTable.expires
    once_more = Change(
        RateTable,
        key,
        [times.set((times | 0) + 1), expires.set(expires | (now + window))],
        times.does_not_exist() | ((times < limit) & (expires > now)),
    )
    # DynamoDB removes expired rows late, so the time is compared here.
    anew = Change(RateTable, key, [times.set(1), expires.set(now + window)], times.does_not_exist() | (expires <= now))
    # The row may be removed or begun anew between two writes; only who is refused all of them has reached the limit.
    for write in (once_more, anew, once_more):
        with suppress(ConditionFailed):
            commit(write)
            return
    raise TooMany("Too many attempts; try again later")


def reached(row: RateTable | None, *, limit: int) -> bool:
    """Tell from the row of `row_key` whether the limit is reached; what is written next decides it."""
    return row is not None and row.times >= limit and row.expires > clock.now()


def cleared(what: str, who: str, *, limit: int) -> Delete:
    """Return the write that counts anew from nothing; it fails for who has reached the limit."""
    times, expires = RateTable.times, RateTable.expires
    return Delete(RateTable, row_key(what, who), times.does_not_exist() | (times < limit) | (expires <= clock.now()))


def take_back(what: str, who: str) -> None:
    """Count one time less: it was not done after all."""
    # Nothing is left to take back when the count was forgotten meanwhile.
    with suppress(ConditionFailed):
        commit(Change(RateTable, row_key(what, who), [RateTable.times.set(RateTable.times - 1)], RateTable.times > 0))


def forget(what: str, who: str) -> None:
    """Count anew from nothing."""
    commit(Delete(RateTable, row_key(what, who)))


def row_key(what: str, who: str) -> Item:
    """Return the key of the row that counts, to be read together with others."""
    return RateTable.key(hashlib.sha256(f"{what}\0{who}".encode()).hexdigest())
