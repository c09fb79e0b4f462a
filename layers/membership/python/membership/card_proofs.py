"""The proof of a card: its balances, its lots, its orders and its invoices are what its entries say, to the cent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kernel.tables import rows_of
from membership import lots
from membership.evidence import (
    PAGE,
    UNREADABLE,
    Balances,
    Finding,
    account_of,
    day_in,
    differences,
    entries_of,
    lot_of,
    settled,
    totals,
)
from membership.ledger import Account, Kind, card_subject
from membership.listings import EXPENSES, RECHARGES
from membership.tables import (
    CardTable,
    InvoiceTable,
    LotTable,
    OrderTable,
    finished_lots,
    open_lots,
    owner_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kernel.tables import Item
    from membership.tables import EntryTable

READ = (CardTable, LotTable, OrderTable, InvoiceTable)
# A row is made with its entry, within one request.
_TOGETHER = timedelta(minutes=1)
_MADE = {Kind.RECHARGE: RECHARGES, Kind.SPENDING: EXPENSES}
_REFUNDED = {Kind.RECHARGE_REFUND: RECHARGES, Kind.SPENDING_REFUND: EXPENSES}


@dataclass
class Proven:
    """What was read of a card, and what is wrong with it."""

    findings: list[Finding] = field(default_factory=list)
    entries: int = 0
    orders: int = 0
    lots: int = 0
    accounts: dict[str, int] = field(default_factory=dict)


@dataclass
class _Money:
    """Principal and gift that an order moved, and what of it came back."""

    kind: str
    principal: int
    gift: int
    back: list[tuple[int, int]] = field(default_factory=list)

    @property
    def returned(self) -> tuple[int, int]:
        """What came back in all."""
        return sum(principal for principal, _ in self.back), sum(gift for _, gift in self.back)


@dataclass
class _Lot:
    """What the entries say of a lot: the recharge that made it, and the cash that was paid for it in the end."""

    recharge: EntryTable
    cashed: list[int] = field(default_factory=list)


def prove(merchant_id: int, card_id: int, key: Item, types: Mapping[int, int]) -> Proven:
    """Recompute a card from its entries; `types` are those of the merchant's card products."""
    proven = Proven()

    def look() -> tuple[bool, list[Finding]]:
        nonlocal proven
        before = _card(key)
        if before is None:
            return True, [Finding("card_unreadable", card_subject(card_id))]
        proven = _History(merchant_id, before).proven(types)
        after = _card(key)
        return after is not None and after.entries == before.entries, proven.findings

    proven.findings = settled(card_subject(card_id), look)
    return proven


def _card(key: Item) -> CardTable | None:
    try:
        return next(map(CardTable.of_item, rows_of(CardTable, [key])), None)
    except UNREADABLE:
        return None


class _History:
    """A card and all that its entries say."""

    def __init__(self, merchant_id: int, card: CardTable) -> None:
        self._merchant_id = merchant_id
        self._card = card
        self._subject = card_subject(card.id)
        self._balances = Balances(self._subject)
        self._orders: dict[int, _Money] = {}
        self._returned: dict[int, tuple[int, int]] = {}
        self._refunds: list[EntryTable] = []
        self._lots: dict[int, _Lot] = {}
        self._invoices: dict[int, EntryTable] = {}
        self._result = Proven()

    def proven(self, types: Mapping[int, int]) -> Proven:
        """Go through the entries in their order, then compare what they add up to."""
        for page in entries_of(self._subject):
            rows = []
            for judged in page:
                self._result.findings += judged.findings
                self._result.entries += 1
                if judged.row is not None:
                    rows.append(judged.row)
            for row in rows:
                self._take(row)
            self._check_orders(rows)
        self._balances.end()
        self._result.findings += self._balances.findings
        self._check_refunds()
        self._check_card(types)
        self._check_lots()
        self._check_invoices()
        self._result.orders, self._result.lots = len(self._orders), len(self._lots)
        self._result.accounts = totals(self._balances.of.items())
        return self._result

    def _find(self, what: str, **more: Any) -> None:
        self._result.findings.append(Finding(what, self._subject, **more))

    def _take(self, row: EntryTable) -> None:
        for name, expected in (("merchant_id", self._merchant_id), ("user_id", self._card.user_id)):
            found = getattr(row, name)
            if found != expected:
                self._find(
                    "entry_of_somebody_else", entry_id=row.entry_id, attribute=name, expected=str(expected),
                    found=str(found),
                )  # fmt: skip
        try:
            self._balances.add(row)
            self._note(row)
        except UNREADABLE:
            self._find("entry_out_of_balance", entry_id=row.entry_id, day=day_in(row), attribute="moves")

    def _note(self, row: EntryTable) -> None:
        principal, gift = _money(row)
        if row.kind in _MADE:
            if row.order_no is None or row.order_no in self._orders:
                self._find("order_twice_or_missing", entry_id=row.entry_id, attribute="order_no")
            else:
                self._orders[row.order_no] = _Money(_MADE[Kind(row.kind)], principal, gift)
        if row.kind in _REFUNDED:
            self._refunds.append(row)
        if row.kind == Kind.RECHARGE:
            if principal != sum(amount for _, target, amount in row.moves if target == Account.INVOICEABLE):
                self._find("entry_out_of_balance", entry_id=row.entry_id, attribute="moves")
            for number in {number for number, *_ in _parts(row) if number}:
                self._lots[number] = _Lot(row)
        if row.kind == Kind.CASH_BACK:
            lot = self._lots.get(row.reference)
            if lot is None:
                self._find("refers_to_nothing", entry_id=row.entry_id, attribute="reference", found=str(row.reference))
            else:
                lot.cashed.append(sum(amount for *_, amount in row.moves))
        if row.kind == Kind.INVOICE:
            self._invoices[row.reference] = row

    def _check_orders(self, rows: Iterable[EntryTable]) -> None:
        made = {row.order_no: row for row in rows if row.kind in _MADE and row.order_no is not None}
        found: dict[int, OrderTable] = {}
        for item in rows_of(OrderTable, [OrderTable.key(number) for number in made]):
            try:
                order = OrderTable.of_item(item)
                found[order.order_no] = order
            except UNREADABLE:
                self._result.findings.append(Finding("order_changed", f"order#{item['order_no']['N']}"))
        for number, row in made.items():
            order_found = found.get(number)
            if order_found is None:
                self._result.findings.append(Finding("order_missing", f"order#{number}", row.entry_id))
                continue
            principal, gift = _money(row)
            expected = {
                "kind": _MADE[Kind(row.kind)],
                "merchant_id": row.merchant_id,
                "store_id": row.store_id,
                "owner": self._card.owner,
                "product_id": self._card.product_id,
                "card_id": self._card.id,
                "user_id": row.user_id,
                "principal": principal,
                "gift": gift,
                "parts": _parts(row),
            }
            self._result.findings += [
                one._replace(entry_id=row.entry_id)
                for one in differences("order_changed", f"order#{number}", order_found, expected)
            ]
            if not _together(order_found, row):
                self._result.findings.append(
                    Finding("order_changed", f"order#{number}", row.entry_id, attribute="created_at")
                )
            returned = (order_found.returned_principal, order_found.returned_gift)
            if any(returned):
                self._returned[number] = returned

    def _check_refunds(self) -> None:
        for row in self._refunds:
            order = self._orders.get(row.reference)
            if order is None or order.kind != _REFUNDED[Kind(row.kind)]:
                self._find("refers_to_nothing", entry_id=row.entry_id, attribute="reference", found=str(row.reference))
            else:
                order.back.append(_money(row))
        for number, order in self._orders.items():
            back, noted = order.returned, self._returned.get(number, (0, 0))
            subject = f"order#{number}"
            if back != noted:
                expected, found = (",".join(map(str, both)) for both in (back, noted))
                self._result.findings.append(
                    Finding("order_changed", subject, attribute="returned", expected=expected, found=found)
                )
            if back[0] > order.principal or back[1] > order.gift:
                self._result.findings.append(Finding("returned_more_than_moved", subject))

    def _check_card(self, types: Mapping[int, int]) -> None:
        sum_of = self._balances.sum_of
        expected = {
            "merchant_id": self._merchant_id,
            "owner": owner_key(self._merchant_id, self._card.phone),
            "type": types.get(self._card.product_id),
            "principal": sum_of(Account.CUSTOMER_PRINCIPAL),
            "gift": sum_of(Account.CUSTOMER_GIFT),
            "charged": -sum_of(Account.INVOICE_BASIS),
            "invoiced": sum_of(Account.INVOICED),
            "invoiceable": sum_of(Account.INVOICEABLE),
            "entries": self._result.entries,
        }
        self._result.findings += differences("card_changed", self._subject, self._card, expected)
        if sum_of(Account.INVOICED) > -sum_of(Account.INVOICE_BASIS):
            self._find("invoiced_more_than_recharged")

    def _check_lots(self) -> None:
        opened = finished = 0
        seen: set[int] = set()
        for place in (open_lots(self._card.id), finished_lots(self._card.id)):
            for item in LotTable.every_item(place, limit=PAGE, consistent=True):
                opened += place == open_lots(self._card.id)
                finished += place == finished_lots(self._card.id)
                subject = f"lot#{item['id']['N']}"
                try:
                    lot = LotTable.of_item(item)
                except UNREADABLE:
                    self._result.findings.append(Finding("lot_changed", subject))
                    continue
                if lot.id in seen or lot.id not in self._lots:
                    self._result.findings.append(Finding("lot_of_no_recharge", subject, found=place))
                    continue
                seen.add(lot.id)
                self._result.findings += differences("lot_changed", subject, lot, self._expected(lot))
                if not _together(lot, self._lots[lot.id].recharge):
                    self._result.findings.append(Finding("lot_changed", subject, attribute="created_at"))
        for number in sorted(self._lots.keys() - seen):
            self._result.findings.append(Finding("lot_missing", f"lot#{number}", self._lots[number].recharge.entry_id))
        self._result.findings += differences("card_changed", self._subject, self._card, {"lots_open": opened})

    def _expected(self, lot: LotTable) -> dict[str, Any]:
        """Return what a lot has to hold after all that the entries say of it."""
        known = self._lots[lot.id]
        order = self._orders.get(known.recharge.order_no) or _Money(RECHARGES, *_money(known.recharge))
        principal = self._balances.of.get(f"{Account.CUSTOMER_PRINCIPAL}:{lot.id}", 0)
        gift = self._balances.of.get(f"{Account.CUSTOMER_GIFT}:{lot.id}", 0)
        taken_back = order.returned[0] == order.principal
        brought = order.principal - order.returned[0], order.gift - order.returned[1]
        if taken_back and order.back:
            # What was paid back before the last of it is no longer counted as brought. Entries that were made at the
            # same time do not tell which refund was the last.
            found = (lot.brought_principal, lot.brought_gift)
            last = found if found in order.back else order.back[-1]
            brought = brought[0] + last[0], brought[1] + last[1]
        if known.cashed:
            if known.cashed != [brought[0]]:
                self._find("cashed_back_another_amount", attribute=f"lot#{lot.id}", expected=str(brought[0]))
            status = lots.CASHED_BACK
        else:
            status = lots.TAKEN_BACK if taken_back else lots.status_of(principal, gift, brought[1])
        is_open = status in (lots.UNTOUCHED, lots.TOUCHED)
        return {
            "place": open_lots(self._card.id) if is_open else finished_lots(self._card.id),
            "card_id": self._card.id,
            "merchant_id": self._merchant_id,
            "owner": self._card.owner,
            "product_id": self._card.product_id,
            "order_no": known.recharge.order_no,
            "brought_principal": brought[0],
            "brought_gift": brought[1],
            "principal": principal,
            "gift": gift,
            "status": status,
        }

    def _check_invoices(self) -> None:
        seen = set()
        for item in InvoiceTable.every_item(self._card.id, limit=PAGE, consistent=True):
            subject = f"invoice#{item['id']['N']}"
            entry = self._invoices.get(int(item["id"]["N"]))
            try:
                invoice = InvoiceTable.of_item(item)
            except UNREADABLE:
                self._result.findings.append(Finding("invoice_changed", subject))
                continue
            if entry is None:
                self._result.findings.append(Finding("invoice_of_no_entry", subject))
                continue
            seen.add(invoice.id)
            expected = {"amount": sum(amount for *_, amount in entry.moves), "store_id": entry.store_id}
            self._result.findings += differences("invoice_changed", subject, invoice, expected)
        for number in sorted(self._invoices.keys() - seen):
            self._result.findings.append(Finding("invoice_missing", f"invoice#{number}"))


def _money(row: EntryTable) -> tuple[int, int]:
    """Return the principal and the gift that an entry moves, into the card or out of it."""
    sums = dict.fromkeys((Account.CUSTOMER_PRINCIPAL, Account.CUSTOMER_GIFT), 0)
    for source, target, amount in row.moves:
        for account in sums:
            if account in (account_of(source), account_of(target)):
                sums[account] += amount
    return sums[Account.CUSTOMER_PRINCIPAL], sums[Account.CUSTOMER_GIFT]


def _parts(row: EntryTable) -> list[list[int]]:
    """Return what an entry moves lot by lot, in its order, as an order keeps it."""
    parts: dict[int, list[int]] = {}
    for source, target, amount in row.moves:
        for name in (source, target):
            account = account_of(name)
            if account in (Account.CUSTOMER_PRINCIPAL, Account.CUSTOMER_GIFT):
                part = parts.setdefault(lot_of(name), [lot_of(name), 0, 0])
                part[1 if account == Account.CUSTOMER_PRINCIPAL else 2] += amount
    return list(parts.values())


def _together(row: OrderTable | LotTable, entry: EntryTable) -> bool:
    return row.created_at is not None and abs(row.created_at - entry.at) <= _TOGETHER
