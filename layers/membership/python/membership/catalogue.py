"""What a merchant has a few hundred of at most: stores, cards, events, coupons; read as a whole or by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from kernel.errors import Denied
from kernel.tables import rows_of
from membership.faults import Missing
from membership.tables import CouponTable, EventTable, ProductTable, StoreTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.errors import Fault

Row = TypeVar("Row", StoreTable, ProductTable, EventTable, CouponTable)
# What may be used: `active` of stores and cards, `status` of coupons.
ACTIVE = 1
_AT_ONCE = 1000


def every(table: type[Row], merchant_id: int, *, newest_first: bool = False) -> dict[int, Row]:
    """Return all of a merchant's by their ids, in the order of the ids."""
    rows = table.every_item(merchant_id, limit=_AT_ONCE, newest_first=newest_first)
    return {row.id: row for row in map(table.of_item, rows)}


def some(table: type[Row], merchant_id: int, ids: Iterable[int | None]) -> dict[int, Row]:
    """Return those of a merchant's that the ids name, in no order."""
    keys = [table.key(merchant_id, row_id) for row_id in dict.fromkeys(ids) if row_id is not None]
    return {row.id: row for row in map(table.of_item, rows_of(table, keys))}


def absent(table: type[ProductTable] | type[EventTable] | type[CouponTable], row_id: int, message: str) -> Fault:
    """Return what to answer about an id that a merchant has not: another merchant's is denied (X2)."""
    elsewhere = table.query_items(row_id, index=type(table.by_id), limit=1).rows
    return Denied() if elsewhere else Missing(message)
