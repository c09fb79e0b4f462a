"""Money operations as the contract tells them, in memory and without any table: what each is answered, what it leaves.

Written from the contract and not from the code that is tried with it, so that both being wrong in one way is unlikely.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel.listings import ListedTable
from membership.tables import (
    CardTable,
    CustomerTable,
    HoldingTable,
    InvoiceTable,
    LotTable,
    OrderTable,
    ShiftTable,
)
from tests.books import COUNTS
from tests.shops import ACTIVITY, EVENT_200, EVENT_COUPONS, MERCHANT, STORED_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tests.bank import Bank

OK, REFUSED, MISSING, NO_USER, WRONG_CODE = 0, 1, 4, 1005, 1006
STORES = {21: 3, 31: 3, 22: 4, 23: 5, 19: None}
# Events: what is paid in, what is given, which coupon and how many of it, whether only activity cards take it.
EVENTS = {EVENT_200: (20000, 20000, None, 0, True), EVENT_COUPONS: (10000, 0, 2, 2, False)}
CARD_STORES, COUPON_STORES = (3, 4), {1: (5, 4, 3), 2: (4, 3)}
REMEMBERED, MOMENT = timedelta(days=7), timedelta(seconds=3)


class Ask(NamedTuple):
    """A request of a manager: how he spells it, what it means, and his Idempotency-Key if he sends one."""

    operation: str
    manager: int
    fields: dict[str, Any]
    meaning: tuple[Any, ...]
    key: str = ""
    # Recharges are told apart by their pictures; other requests by what they are.
    tag: str = ""

    @property
    def fingerprint(self) -> tuple[Any, ...]:
        """What makes it the same request."""
        return (self.operation, *self.meaning)


class Refusal(Exception):
    """The operation is refused with a code of the contract."""

    def __init__(self, code: int = REFUSED) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Lot:
    """A usage record of an activity card."""

    id: int
    event: int
    brought: list[int]
    held: list[int]
    closed: int = 0

    @property
    def status(self) -> int:
        """Its status in the contract; 9 is ours, of a recharge that was refunded."""
        if self.closed:
            return self.closed
        if not any(self.held):
            return 3
        return 1 if self.held[1] == self.brought[1] else 2


@dataclass
class Card:
    """A customer's card; one without lots holds its money itself."""

    activity: bool
    held: list[int] = field(default_factory=lambda: [0, 0])
    charged: int = 0
    invoices: list[int] = field(default_factory=list)
    lots: list[Lot] = field(default_factory=list)

    @property
    def invoiceable(self) -> int:
        """What an invoice may still be written for."""
        return self.charged - sum(self.invoices)


@dataclass
class Order:
    """A recharge or a payment; parts are [lot, principal, gift] in the order in which they were taken."""

    kind: str
    who: tuple[str, int]
    store: int
    parts: list[list[int]]
    returned: list[int] = field(default_factory=lambda: [0, 0])
    coupon: tuple[int, int] | None = None

    @property
    def moved(self) -> list[int]:
        """Principal and gift."""
        return [sum(part[1] for part in self.parts), sum(part[2] for part in self.parts)]

    @property
    def over(self) -> bool:
        """Whether nothing of it is left to give back."""
        return self.moved == self.returned

    def view(self) -> tuple[Any, ...]:
        """Return it as `stored` shows it."""
        parts = tuple(map(tuple, self.parts))
        return (self.kind, *self.who, self.store, parts, tuple(self.returned), self.coupon)


@dataclass
class Holding:
    """A customer's pieces of a coupon."""

    given: int = 0
    redeemed: int = 0
    withdrawn: int = 0

    @property
    def left(self) -> int:
        """What can be redeemed."""
        return self.given - self.redeemed - self.withdrawn


@dataclass
class Model:
    """All there is; `orders` whose number is not known yet stand under negative ones."""

    stock: dict[int, int | None]
    per_person: dict[int, int | None]
    customers: set[str] = field(default_factory=set)
    cards: dict[tuple[str, int], Card] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    holdings: dict[tuple[str, int], Holding] = field(default_factory=dict)
    shifts: dict[tuple[str, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    claims: dict[Any, tuple[Any, datetime]] = field(default_factory=dict)
    codes: dict[int, datetime] = field(default_factory=dict)
    # Wrong passwords: how many, and until when they count.
    tries: dict[tuple[str, int], tuple[int, datetime]] = field(default_factory=dict)

    def copy(self) -> Model:
        """Return another one that is the same."""
        return copy.deepcopy(self)

    # `made` is what the tables chose: the number of a recharge's lot. None when they recorded nothing.
    def answer(self, ask: Ask, now: datetime, made: int | None = None) -> tuple[int, bool]:
        """Do what is asked; return the code of the answer, and whether it is the answer to an earlier request."""
        claim: Any = (ask.manager, ask.key) if ask.key else (ask.manager, ask.fingerprint)
        known = self.claims.get(claim)
        if known and now - known[1] < (REMEMBERED if ask.key else MOMENT):
            return (OK, True) if known[0] == ask.fingerprint else (REFUSED, True)
        before = self.copy()
        try:
            counts = self._work(ask, now, made)
        except Refusal as refusal:
            before.tries = self.tries
            self.__dict__.update(before.__dict__)
            return refusal.code, False
        day = (now + timedelta(hours=8)).strftime("%Y%m%d")
        self.shifts[f"{MERCHANT}#{STORES[ask.manager] or 0}#{day}", ask.manager].update({**counts, "operations": 1})
        self.claims[claim] = (ask.fingerprint, now)
        return OK, False

    def _work(self, ask: Ask, now: datetime, made: int | None) -> dict[str, int]:
        work: Callable[..., dict[str, int]] = getattr(self, f"_{ask.operation}")
        return work(ask.manager, now, *ask.meaning, **({"made": made} if ask.operation == "recharge_card" else {}))

    def _till(self, manager: int, phone: str, product: int) -> Card:
        if STORES[manager] not in CARD_STORES:
            raise Refusal
        if phone not in self.customers:
            raise Refusal(NO_USER)
        if (phone, product) not in self.cards:
            raise Refusal
        return self.cards[phone, product]

    def _open_card(self, manager: int, now: datetime, phone: str, product: int) -> dict[str, int]:
        if STORES[manager] not in CARD_STORES or (phone, product) in self.cards:
            raise Refusal
        self.customers.add(phone)
        self.cards[phone, product] = Card(product == ACTIVITY)
        return {}

    def _recharge_card(
        self, manager: int, now: datetime, phone: str, product: int, paid: int, given: int, event: int | None,
        tag: str, *, made: int | None,
    ) -> dict[str, int]:  # fmt: skip
        card = self._till(manager, phone, product)
        if event is None and card.activity:
            raise Refusal(MISSING)
        coupon, pieces = None, 0
        if event is not None:
            wanted_paid, wanted_given, coupon, pieces, only_activity = EVENTS[event]
            linked = event == EVENT_COUPONS or product == ACTIVITY
            if not linked or (only_activity and not card.activity) or (paid, given) != (wanted_paid, wanted_given):
                raise Refusal
        if coupon:
            self._give(phone, coupon, pieces)
        card.held[0] += paid
        card.held[1] += given
        card.charged += paid
        lot = 0
        if card.activity:
            lot = made or 0
            card.lots.append(Lot(lot, event or 0, [paid, given], [paid, given]))
            card.lots.sort(key=lambda one: one.id)
        gift = (coupon, pieces) if coupon else None
        self._order(Order("recharges", (phone, product), STORES[manager] or 0, [[lot, paid, given]], coupon=gift))
        return {"recharged": paid, "gifted": given, "coupons_given": pieces}

    def _order(self, order: Order) -> None:
        self.orders[min([0, *self.orders]) - 1] = order

    def _spend_from_card(self, manager: int, now: datetime, phone: str, product: int, cents: int) -> dict[str, int]:
        card = self._till(manager, phone, product)
        if self._locked(phone, product, now):
            raise Refusal
        self.tries.pop((phone, product), None)
        if sum(card.held) < cents:
            raise Refusal
        sources = card.lots if card.activity else [Lot(0, 0, [], card.held[:])]
        taken = {lot.id: [lot.id, 0, 0] for lot in sources}
        left = cents
        # All principal goes before any gift, the oldest first in both.
        for kind in (0, 1):
            for lot in sources:
                amount = 0 if lot.closed else min(left, lot.held[kind])
                lot.held[kind] -= amount
                card.held[kind] -= amount
                taken[lot.id][kind + 1] += amount
                left -= amount
        parts = [part for part in taken.values() if part[1] or part[2]]
        self._order(Order("expenses", (phone, product), STORES[manager] or 0, parts))
        return {"spent": cents}

    def _locked(self, phone: str, product: int, now: datetime) -> bool:
        times, until = self.tries.get((phone, product), (0, now))
        return times >= 5 and until > now

    def guess(self, phone: str, product: int, now: datetime) -> None:
        """Count a wrong password."""
        times, until = self.tries.get((phone, product), (0, now))
        if until <= now:
            times, until = 0, now + timedelta(minutes=15)
        self.tries[phone, product] = (min(times + 1, 5), until)

    def _use_code(self, manager: int, now: datetime, code: str) -> None:
        if code != "123456" or manager not in self.codes or self.codes[manager] <= now:
            raise Refusal(WRONG_CODE)
        del self.codes[manager]

    def _own_order(self, manager: int, number: int, kind: str) -> Order:
        order = self.orders.get(number)
        if order is None or order.kind != kind or STORES[manager] not in (None, order.store):
            raise Refusal
        return order

    def _refund_expense(self, manager: int, now: datetime, number: int, cents: int | None, code: str) -> dict[str, int]:
        self._use_code(manager, now, code)
        order = self._own_order(manager, number, "expenses")
        left = sum(order.moved) - sum(order.returned)
        cents = left if cents is None else cents
        if not left or cents > left:
            raise Refusal
        back = sum(order.returned) + cents
        upto = floor(Fraction(back * order.moved[0], sum(order.moved)) + Fraction(1, 2))
        rest = [moved - returned for moved, returned in zip(order.moved, order.returned, strict=True)]
        principal = min(max(upto - order.returned[0], cents - rest[1], 0), cents)
        self._bring_back(self.cards[order.who], order, [principal, cents - principal])
        return {"spending_returned": cents}

    def _bring_back(self, card: Card, order: Order, amounts: list[int]) -> None:
        """Give back what was taken last first, to where it came from."""
        lots = {lot.id: lot for lot in card.lots}
        for kind in (0, 1):
            skipped, left = order.returned[kind], amounts[kind]
            for part in reversed(order.parts):
                already = min(skipped, part[kind + 1])
                skipped -= already
                amount = min(left, part[kind + 1] - already)
                left -= amount
                if amount and part[0]:
                    if lots[part[0]].closed:
                        raise Refusal
                    lots[part[0]].held[kind] += amount
            card.held[kind] += amounts[kind]
            order.returned[kind] += amounts[kind]

    def _refund_recharge(
        self, manager: int, now: datetime, number: int, cents: int | None, code: str
    ) -> dict[str, int]:
        self._use_code(manager, now, code)
        order = self._own_order(manager, number, "recharges")
        card = self.cards[order.who]
        rest = [moved - returned for moved, returned in zip(order.moved, order.returned, strict=True)]
        principal = rest[0] if cents is None else cents
        if not rest[0] or principal > rest[0]:
            raise Refusal
        # Half a cent of the gift stays with the customer.
        upto = ceil(Fraction((order.returned[0] + principal) * order.moved[1], order.moved[0]) - Fraction(1, 2))
        gift = upto - order.returned[1]
        whole = principal == rest[0]
        if order.coupon and not whole:
            # Coupons cannot be taken back in part.
            raise Refusal
        lot = next((lot for lot in card.lots if lot.id == order.parts[0][0]), None)
        if lot is None:
            if card.held[0] < principal or card.held[1] < gift:
                raise Refusal
        else:
            if lot.closed or lot.held != rest:
                raise Refusal
            lot.held = [lot.held[0] - principal, lot.held[1] - gift]
            if whole:
                lot.closed = 9
            else:
                lot.brought = lot.held[:]
        if card.invoiceable < principal:
            raise Refusal
        coupon, pieces = order.coupon or (0, 0)
        if pieces:
            holding = self.holdings[order.who[0], coupon]
            if holding.left < pieces:
                raise Refusal
            holding.withdrawn += pieces
        card.held = [card.held[0] - principal, card.held[1] - gift]
        card.charged -= principal
        order.returned = [order.returned[0] + principal, order.returned[1] + gift]
        return {"recharge_returned": principal, "gift_withdrawn": gift, "coupons_withdrawn": pieces}

    def _confirm_cash_back(self, manager: int, now: datetime, number: int) -> dict[str, int]:
        lot = next((lot for card in self.cards.values() for lot in card.lots if lot.id == number), None)
        if lot is None or lot.status != 3 or STORES[manager] not in (None, *CARD_STORES):
            raise Refusal
        lot.closed = 5
        return {"cashed_back": lot.brought[0]}

    def _add_invoice(
        self, manager: int, now: datetime, phone: str, product: int, cents: int, tag: str
    ) -> dict[str, int]:
        card = self.cards.get((phone, product))
        if card is None or cents > card.invoiceable:
            raise Refusal
        card.invoices.append(cents)
        return {"invoiced": cents}

    def left(self, coupon: int) -> int:
        """Return how many pieces of a coupon may still be given."""
        out = sum(one.given - one.withdrawn for (_, of), one in self.holdings.items() if of == coupon)
        return (self.stock[coupon] or 0) - out

    def _give(self, phone: str, coupon: int, pieces: int) -> None:
        held = self.holdings.setdefault((phone, coupon), Holding())
        if self.stock[coupon] is not None and pieces > self.left(coupon):
            raise Refusal
        held.given += pieces

    def _give_coupon(self, manager: int, now: datetime, phone: str, coupon: int, pieces: int) -> dict[str, int]:
        if phone not in self.customers:
            raise Refusal(NO_USER)
        store = STORES[manager]
        # A store gives what can be used there; the whole merchant gives anything.
        if store is not None and store not in COUPON_STORES[coupon]:
            raise Refusal
        self._give(phone, coupon, pieces)
        return {"coupons_given": pieces}

    def _redeem_coupon(self, manager: int, now: datetime, phone: str, coupon: int) -> dict[str, int]:
        holding = self.holdings[phone, coupon]
        if STORES[manager] not in COUPON_STORES[coupon] or not holding.left:
            raise Refusal
        limit = self.per_person[coupon]
        if limit is not None and holding.redeemed >= limit:
            raise Refusal
        holding.redeemed += 1
        return {"coupons_redeemed": 1}

    def view(self) -> dict[str, Any]:
        """Return everything in the form in which `stored` reads it from the tables; orders go without numbers."""
        return {
            "customers": self.customers,
            "cards": {
                who: (
                    *card.held, card.charged, sum(card.invoices), card.invoiceable, sorted(card.invoices),
                    [(lot.id, lot.event, *lot.brought, *lot.held, lot.status) for lot in card.lots],
                )
                for who, card in self.cards.items()
            },
            "orders": {number: order.view() for number, order in self.orders.items() if number > 0},
            "new orders": Counter(order.view() for number, order in self.orders.items() if number < 0),
            "holdings": {
                who: (held.left, held.given, held.redeemed, held.withdrawn)
                for who, held in self.holdings.items()
                if held.given
            },
            "shifts": {
                key: tuple(counts[name] for name in (*COUNTS, "operations")) for key, counts in self.shifts.items()
            },
        }  # fmt: skip

    def number(self, bank: Bank) -> None:
        """Give the orders that are new the numbers that the tables have for them."""
        new = {number: order for number, order in self.orders.items() if number < 0}
        for row in bank.rows(OrderTable):
            if row.order_no in self.orders:
                continue
            shown = order_view(row)
            place = next(number for number, order in new.items() if order.view() == shown)
            self.orders[row.order_no] = new.pop(place)
            del self.orders[place]


def order_view(row: OrderTable) -> tuple[Any, ...]:
    """Return a stored order as the model shows its own."""
    phone = row.owner.partition("#")[2]
    coupon = None if row.coupon_id is None else (row.coupon_id, row.coupon_pieces)
    back = (row.returned_principal, row.returned_gift)
    return (row.kind, phone, row.product_id, row.store_id, tuple(map(tuple, row.parts)), back, coupon)


def stored(bank: Bank, known: set[int]) -> dict[str, Any]:
    """Return what the tables hold; orders that are not `known` yet go without their numbers."""
    lots: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for lot in sorted(bank.rows(LotTable), key=lambda one: one.id):
        shown = (lot.brought_principal, lot.brought_gift, lot.principal, lot.gift, lot.status)
        lots[lot.card_id].append((lot.id, lot.event_id, *shown))
    invoices: dict[int, list[int]] = defaultdict(list)
    for invoice in bank.rows(InvoiceTable):
        invoices[invoice.card_id].append(invoice.amount)
    customers = bank.rows(CustomerTable)
    phones = {row.user_id: row.phone for row in customers}
    orders = {row.order_no: order_view(row) for row in bank.rows(OrderTable)}
    return {
        "customers": set(phones.values()),
        "cards": {
            (card.phone, card.product_id): (
                card.principal, card.gift, card.charged, card.invoiced, card.invoiceable, sorted(invoices[card.id]),
                lots[card.id],
            )
            for card in bank.rows(CardTable)
        },
        "orders": {number: view for number, view in orders.items() if number in known},
        "new orders": Counter(view for number, view in orders.items() if number not in known),
        "holdings": {
            (phones[row.user_id], row.coupon_id): (row.quantity, row.given, row.redeemed, row.withdrawn)
            for row in bank.rows(HoldingTable)
        },
        "shifts": {
            (row.shift, row.manager_id): tuple(getattr(row, name) for name in (*COUNTS, "operations"))
            for row in bank.rows(ShiftTable)
        },
    }  # fmt: skip


def lot_of(bank: Bank, tag: str, known: set[int]) -> int | None:
    """Return the lot of the recharge with this picture that is not known yet, None when there is none."""
    for row in bank.rows(ListedTable):
        if row.book.startswith("recharges#") and row.content["image"] == tag and row.content["orderNo"] not in known:
            order = OrderTable.find(row.content["orderNo"])
            return None if order is None else order.parts[0][0]
    return None


CARD_PRODUCTS = (STORED_VALUE, ACTIVITY)
