"""Customers' coupons by the number on them (`num`)."""

from __future__ import annotations

from membership.faults import Missing
from membership.tables import HoldingTable


def numbered(num: int) -> HoldingTable:
    """Return whose and what a holding is; how much is left must be read from its own row."""
    rows = HoldingTable.query(num, index=type(HoldingTable.by_number), limit=1).rows
    if not rows:
        raise unknown()
    return rows[0]


def unknown() -> Missing:
    """Return what to answer about a number that no holding has."""
    return Missing("优惠券不存在")
