"""Numbers that count up: atomic, never given twice; one that was taken and not used leaves a gap."""

from __future__ import annotations

from typing import ClassVar

from pynamodb.attributes import UnicodeAttribute

from kernel.tables import Change, Table, WholeNumber, changed


class CounterTable(Table):
    """The last number given of each sequence."""

    name: ClassVar[str] = "counters"
    sequence = UnicodeAttribute(hash_key=True)
    last = WholeNumber(default=0)


def take(sequence: str, count: int = 1) -> int:
    """Take the next `count` numbers of a sequence, which starts at 1, and return the first of them."""
    row: CounterTable = changed(Change(CounterTable, CounterTable.key(sequence), [CounterTable.last.add(count)]))
    return row.last - count + 1
