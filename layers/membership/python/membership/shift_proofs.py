"""The proof of the shifts of a day: what each manager did at each store is what his entries add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.tables import rows_of
from membership import catalogue
from membership.evidence import UNREADABLE, Finding, account_of
from membership.ledger import Account, Kind
from membership.postings import shift
from membership.tables import ShiftTable, StoreTable

if TYPE_CHECKING:
    from membership.tables import EntryTable

_A = Account
# What a move from one account to another adds to in a shift.
_COUNTED: dict[tuple[str, str, str], str] = {
    (Kind.RECHARGE, _A.MERCHANT_CASH, _A.CUSTOMER_PRINCIPAL): "recharged",
    (Kind.RECHARGE, _A.MERCHANT_PROMOTION, _A.CUSTOMER_GIFT): "gifted",
    (Kind.SPENDING, _A.CUSTOMER_PRINCIPAL, _A.MERCHANT_SALES): "spent",
    (Kind.SPENDING, _A.CUSTOMER_GIFT, _A.MERCHANT_SALES): "spent",
    (Kind.SPENDING_REFUND, _A.MERCHANT_SALES, _A.CUSTOMER_PRINCIPAL): "spending_returned",
    (Kind.SPENDING_REFUND, _A.MERCHANT_SALES, _A.CUSTOMER_GIFT): "spending_returned",
    (Kind.RECHARGE_REFUND, _A.CUSTOMER_PRINCIPAL, _A.MERCHANT_CASH): "recharge_returned",
    (Kind.RECHARGE_REFUND, _A.CUSTOMER_GIFT, _A.MERCHANT_PROMOTION): "gift_withdrawn",
    (Kind.CASH_BACK, _A.MERCHANT_CASH, _A.CASHED_BACK): "cashed_back",
    (Kind.INVOICE, _A.INVOICEABLE, _A.INVOICED): "invoiced",
    (Kind.COUPON_GIFT, _A.COUPON_STOCK, _A.COUPON_HELD): "coupons_given",
    (Kind.COUPON_USE, _A.COUPON_HELD, _A.COUPON_REDEEMED): "coupons_redeemed",
    (Kind.COUPON_WITHDRAWAL, _A.COUPON_HELD, _A.COUPON_STOCK): "coupons_withdrawn",
}
COUNTERS = tuple(dict.fromkeys(_COUNTED.values()))
# These may be part of another operation: coupons come and go with a recharge, too. An import has no shift at all.
_BESIDE = frozenset({Kind.COUPON_GIFT, Kind.COUPON_WITHDRAWAL})
_NO_SHIFT = frozenset({Kind.CARRY_OVER})


class Shifts:
    """What the entries of one day say of each shift."""

    def __init__(self, merchant_id: int, day: str) -> None:
        self._merchant_id = merchant_id
        self._day = day
        self._sums: dict[tuple[int, int], dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def stamp(self) -> list[tuple[str, int, int]]:
        """Return what changes whenever somebody does something: the operations of the shifts that have entries."""
        rows = self._rows(everywhere=False)
        return sorted((row.shift, row.manager_id, row.operations) for row in rows)

    def add(self, row: EntryTable) -> None:
        """Count an entry."""
        if row.kind in _NO_SHIFT:
            return
        sums = self._sums.setdefault((row.store_id or 0, row.manager_id), {})
        sums["fewest"] = sums.get("fewest", 0) + (row.kind not in _BESIDE)
        sums["most"] = sums.get("most", 0) + 1
        for source, target, amount in row.moves:
            name = _COUNTED.get((row.kind, account_of(source), account_of(target)))
            if name:
                sums[name] = sums.get(name, 0) + amount

    def findings(self, *, everywhere: bool) -> list[Finding]:
        """Return where the counters of the shifts differ.

        With `everywhere` the shifts of all stores are looked at, else those that have entries.
        """
        stored = {(_store(row), row.manager_id): row for row in self._rows(everywhere=everywhere)}
        found = []
        for store_id, manager_id in sorted(self._sums.keys() | stored.keys()):
            sums = self._sums.get((store_id, manager_id), {})
            row = stored.get((store_id, manager_id))
            subject = f"shift#{store_id}#{manager_id}"
            if row is None:
                found.append(Finding("shift_missing", subject, day=self._day))
                continue
            expected = {name: sums.get(name, 0) for name in COUNTERS} | {"merchant_id": self._merchant_id}
            found += [
                Finding("shift_changed", subject, None, self._day, name, str(value), str(getattr(row, name)))
                for name, value in expected.items()
                if getattr(row, name) != value
            ]
            fewest, most = sums.get("fewest", 0), sums.get("most", 0)
            if not fewest <= row.operations <= most:
                between = f"{fewest} to {most}"
                found.append(
                    Finding("shift_changed", subject, None, self._day, "operations", between, str(row.operations))
                )
        return found

    def _rows(self, *, everywhere: bool) -> list[ShiftTable]:
        keys = [ShiftTable.key(self._shift(store_id), manager_id) for store_id, manager_id in self._sums]
        items = rows_of(ShiftTable, keys)
        if everywhere:
            # 0 is where the merchant's own accounts work.
            for store_id in (0, *catalogue.every(StoreTable, self._merchant_id)):
                items += ShiftTable.every_item(self._shift(store_id), consistent=True)
        rows = []
        for item in items:
            try:
                rows.append(ShiftTable.of_item(item))
            except UNREADABLE:
                # Reported as missing, because nothing of it can be compared.
                continue
        return rows

    def _shift(self, store_id: int) -> str:
        return shift(self._merchant_id, store_id, self._day)


def _store(row: ShiftTable) -> int:
    _, store_id, _ = row.shift.split("#")
    return int(store_id)
