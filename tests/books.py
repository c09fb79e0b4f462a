"""What must hold of the stored books of a membership system at any moment, read from the rows alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from kernel.listings import ListedTable
from membership import lots
from membership.api import day_of
from membership.cards import ACTIVITY
from membership.ledger import Kind, card_subject, digest_of, holding_subject
from membership.postings import shift
from membership.tables import (
    CardTable,
    CouponTable,
    CouponUseTable,
    EntryTable,
    HoldingTable,
    InvoiceTable,
    LotTable,
    OrderTable,
    ShiftTable,
    finished_lots,
    open_lots,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel.tables import Table

    Rows = Callable[[type[Table]], list[Any]]

PRINCIPAL, GIFT = "customer_principal", "customer_gift"
# What an entry adds to the day of the manager who made it: of which accounts, and to which count of his.
_ON_SHIFT: dict[Kind, tuple[tuple[str, str], ...]] = {
    Kind.RECHARGE: (("recharged", PRINCIPAL), ("gifted", GIFT)),
    Kind.SPENDING: (("spent", PRINCIPAL), ("spent", GIFT)),
    Kind.SPENDING_REFUND: (("spending_returned", PRINCIPAL), ("spending_returned", GIFT)),
    Kind.RECHARGE_REFUND: (("recharge_returned", PRINCIPAL), ("gift_withdrawn", GIFT)),
    Kind.CASH_BACK: (("cashed_back", "cashed_back"),),
    Kind.INVOICE: (("invoiced", "invoiced"),),
    Kind.COUPON_GIFT: (("coupons_given", "coupon_held"),),
    Kind.COUPON_USE: (("coupons_redeemed", "coupon_redeemed"),),
    Kind.COUPON_WITHDRAWAL: (("coupons_withdrawn", "coupon_held"),),
}
COUNTS = (
    "recharged", "gifted", "spent", "spending_returned", "recharge_returned", "gift_withdrawn", "cashed_back",
    "invoiced", "coupons_given", "coupons_redeemed", "coupons_withdrawn",
)  # fmt: skip


def flaws(rows: Rows) -> list[str]:
    """Return everything in which the books do not agree with themselves."""
    entries: dict[str, list[EntryTable]] = defaultdict(list)
    for entry in rows(EntryTable):
        entries[entry.subject].append(entry)
    every = [entry for of_one in entries.values() for entry in of_one]
    return [
        *_of_entries(every),
        *_of_cards(rows, entries),
        *_of_orders(rows, every),
        *_of_lists(rows, every),
        *_of_shifts(rows, every),
        *_of_coupons(rows, entries),
    ]


def moved(entry: EntryTable) -> Counter[str]:
    """Return what an entry adds to each account; what it takes is negative."""
    found: Counter[str] = Counter()
    for source, target, amount in entry.moves:
        found[source] -= amount
        found[target] += amount
    return found


def _of_kind(accounts: Counter[str], kind: str) -> int:
    """Return what an account holds, together with its parts, one for each lot."""
    return sum(amount for name, amount in accounts.items() if name.partition(":")[0] == kind)


def _of_entries(every: list[EntryTable]) -> Iterator[str]:
    for entry in every:
        if entry.digest != digest_of(entry):
            yield f"entry {entry.entry_id}: its digest is not its own"
        for move in entry.moves:
            if len(move) != 3 or type(move[2]) is not int or move[2] <= 0 or move[0] == move[1]:
                yield f"entry {entry.entry_id}: {move} is no move"


def _of_cards(rows: Rows, entries: dict[str, list[EntryTable]]) -> Iterator[str]:
    held: dict[int, list[LotTable]] = defaultdict(list)
    for lot in rows(LotTable):
        held[lot.card_id].append(lot)
    cards = rows(CardTable)
    numbers = Counter(number for card in cards for number in (("id", card.id), ("no", card.card_no)))
    yield from (f"cards: {number} is given {times} times" for number, times in numbers.items() if times > 1)
    invoices: Counter[int] = Counter()
    for invoice in rows(InvoiceTable):
        invoices[invoice.card_id] += invoice.amount
    for card in cards:
        name = f"card {card.id}"
        accounts: Counter[str] = Counter()
        own = entries.get(card_subject(card.id), [])
        for entry in own:
            accounts.update(moved(entry))
        amounts = {what: getattr(card, what) for what in ("principal", "gift", "charged", "invoiced", "invoiceable")}
        yield from (f"{name}: {what} is {amount}" for what, amount in amounts.items() if amount < 0)
        proven = {
            "principal": _of_kind(accounts, PRINCIPAL),
            "gift": _of_kind(accounts, GIFT),
            "charged": accounts["invoiceable"] + accounts["invoiced"],
            "invoiced": accounts["invoiced"],
            "invoiceable": accounts["invoiceable"],
        }
        if proven != amounts:
            yield f"{name}: holds {amounts}, its entries say {proven}"
        if card.invoiceable != card.charged - card.invoiced:
            yield f"{name}: what is left to invoice does not add up"
        if invoices[card.id] != card.invoiced:
            yield f"{name}: its invoices are over {invoices[card.id]}, it says {card.invoiced}"
        if card.entries != len(own):
            yield f"{name}: has {len(own)} entries, it says {card.entries}"
        yield from _of_lots(card, held[card.id], accounts)


def _of_lots(card: CardTable, held: list[LotTable], accounts: Counter[str]) -> Iterator[str]:
    name = f"card {card.id}"
    if card.type != ACTIVITY:
        yield from (f"{name}: has lot {lot.id}" for lot in held)
        return
    if card.lots_open != sum(1 for lot in held if lot.principal or lot.gift):
        yield f"{name}: says that {card.lots_open} lots hold money"
    if len({lot.id for lot in held}) != len(held):
        yield f"{name}: a lot is there twice"
    for what in ("principal", "gift"):
        together = sum(getattr(lot, what) for lot in held)
        if together != getattr(card, what):
            yield f"{name}: {what} is {getattr(card, what)}, its lots hold {together}"
    for lot in held:
        told = f"{name}, lot {lot.id}"
        if (lot.principal, lot.gift) != (accounts[f"{PRINCIPAL}:{lot.id}"], accounts[f"{GIFT}:{lot.id}"]):
            yield f"{told}: holds {lot.principal} and {lot.gift}, not what its entries say"
        if lot.principal < 0 or lot.gift < 0 or lot.principal > lot.brought_principal or lot.gift > lot.brought_gift:
            yield f"{told}: holds {lot.principal} of {lot.brought_principal} and {lot.gift} of {lot.brought_gift}"
        money = bool(lot.principal or lot.gift)
        if lot.place != (open_lots if money else finished_lots)(card.id):
            yield f"{told}: stands at {lot.place}"
        if money and lot.status != lots.status_of(lot.principal, lot.gift, lot.brought_gift):
            yield f"{told}: has status {lot.status}"
        if not money and lot.status not in (lots.DUE, lots.CASHED_BACK, lots.TAKEN_BACK):
            yield f"{told}: is used up and has status {lot.status}"


def _of_orders(rows: Rows, every: list[EntryTable]) -> Iterator[str]:
    made: dict[int, list[EntryTable]] = defaultdict(list)
    returned: dict[int, Counter[str]] = defaultdict(Counter)
    for entry in every:
        if entry.kind in (Kind.RECHARGE, Kind.SPENDING):
            made[entry.order_no].append(entry)
        if entry.kind in (Kind.RECHARGE_REFUND, Kind.SPENDING_REFUND):
            returned[entry.reference].update(moved(entry))
    orders = {order.order_no: order for order in rows(OrderTable)}
    yield from (f"order {number}: is in an entry and not there" for number in made.keys() - orders.keys())
    yield from (f"order {number}: is refunded and not there" for number in returned.keys() - orders.keys())
    for number, order in orders.items():
        name = f"order {number}"
        sign = 1 if order.kind == "recharges" else -1
        if len(made[number]) != 1:
            yield f"{name}: is recorded {len(made[number])} times"
            continue
        accounts = moved(made[number][0])
        said = (order.principal, order.gift)
        if said != (sign * _of_kind(accounts, PRINCIPAL), sign * _of_kind(accounts, GIFT)):
            yield f"{name}: says {said}, its entry something else"
        if said != (sum(part[1] for part in order.parts), sum(part[2] for part in order.parts)):
            yield f"{name}: says {said}, its parts {order.parts}"
        back = returned[number]
        said = (order.returned_principal, order.returned_gift)
        if said != (-sign * _of_kind(back, PRINCIPAL), -sign * _of_kind(back, GIFT)):
            yield f"{name}: says that {said} came back, its entries {back}"
        if not (0 <= said[0] <= order.principal and 0 <= said[1] <= order.gift):
            yield f"{name}: {said} came back of {order.principal} and {order.gift}"


def _of_lists(rows: Rows, every: list[EntryTable]) -> Iterator[str]:
    """Every recharge, expense, refund and invoice is in its list once, and nothing else is."""
    kinds = Counter(entry.kind for entry in every)
    listed: dict[str, list[ListedTable]] = defaultdict(list)
    for row in rows(ListedTable):
        listed[row.book.partition("#")[0]].append(row)
    by_number = {order.order_no: order for order in rows(OrderTable)}
    for book, kind in (("recharges", Kind.RECHARGE), ("expenses", Kind.SPENDING)):
        numbers = Counter(row.content["orderNo"] for row in listed[book])
        wanted = {number: 1 for number, order in by_number.items() if order.kind == book}
        if numbers != wanted or len(wanted) != kinds[kind]:
            yield f"{book}: the list holds {dict(numbers)}, the orders are {sorted(wanted)}"
        for row in listed[book]:
            order = by_number.get(row.content["orderNo"])
            amounts = row.amounts if book == "recharges" else [row.amounts[0]]
            if order is not None and sum(amounts) != order.principal + order.gift:
                yield f"{book}: {row.content} is listed with {row.amounts}"
    for book, count in (
        ("refunds", kinds[Kind.SPENDING_REFUND] + kinds[Kind.RECHARGE_REFUND]),
        ("invoices", kinds[Kind.INVOICE]),
    ):
        if len(listed[book]) != count:
            yield f"{book}: {len(listed[book])} are listed, {count} in the entries"
    customers = {(card.merchant_id, card.user_id) for card in rows(CardTable)}
    if len(listed["customers"]) != len(customers):
        yield f"customers: {len(listed['customers'])} are listed, {len(customers)} hold cards"


def _of_shifts(rows: Rows, every: list[EntryTable]) -> Iterator[str]:
    proven: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for entry in every:
        on_day = proven[shift(entry.merchant_id, entry.store_id, day_of(entry.at)), entry.manager_id]
        accounts = moved(entry)
        for count, account in _ON_SHIFT.get(Kind(entry.kind), ()):
            on_day[count] += abs(_of_kind(accounts, account))
    kept = {(row.shift, row.manager_id): row for row in rows(ShiftTable)}
    for key in kept.keys() | proven.keys():
        said = {count: getattr(kept[key], count) for count in COUNTS} if key in kept else {}
        wanted = {count: proven[key][count] for count in COUNTS}
        if said != wanted:
            yield f"shift {key}: says {said}, its entries {wanted}"


def _of_coupons(rows: Rows, entries: dict[str, list[EntryTable]]) -> Iterator[str]:
    given: Counter[tuple[int, int]] = Counter()
    holdings = rows(HoldingTable)
    uses = Counter(use.num for use in rows(CouponUseTable))
    for holding in holdings:
        name = f"holding {holding.num}"
        accounts: Counter[str] = Counter()
        own = entries.get(holding_subject(holding.num), [])
        for entry in own:
            accounts.update(moved(entry))
        given[holding.merchant_id, holding.coupon_id] += holding.given - holding.withdrawn
        if holding.quantity != holding.given - holding.redeemed - holding.withdrawn or holding.quantity < 0:
            yield f"{name}: {holding.quantity} left of {holding.given}, {holding.redeemed}, {holding.withdrawn}"
        if (holding.quantity, holding.redeemed) != (accounts["coupon_held"], accounts["coupon_redeemed"]):
            yield f"{name}: says {holding.quantity} and {holding.redeemed}, its entries {dict(accounts)}"
        if holding.redeemed > holding.given:
            yield f"{name}: {holding.redeemed} redeemed of {holding.given}"
        if uses[holding.num] != holding.redeemed:
            yield f"{name}: {uses[holding.num]} redemptions, it says {holding.redeemed}"
        if holding.entries != len(own):
            yield f"{name}: has {len(own)} entries, it says {holding.entries}"
    if len({holding.num for holding in holdings}) != len(holdings):
        yield "holdings: a number is given twice"
    for coupon in rows(CouponTable):
        if coupon.given != given[coupon.merchant_id, coupon.id]:
            yield f"coupon {coupon.id}: says {coupon.given} given, {given[coupon.merchant_id, coupon.id]} are out"
        if coupon.stock is not None and coupon.given > coupon.stock:
            yield f"coupon {coupon.id}: {coupon.given} given of {coupon.stock}"
