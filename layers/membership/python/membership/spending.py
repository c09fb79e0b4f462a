"""Paying from a card (3.6): who pays more at once than the others leave him is refused by the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.tables import Change, Delete, Put, create
from membership import listings, lots, numbers, pay_passwords
from membership.api import Digest, Done, Id, OnceRequest, Phone
from membership.cards import ACTIVITY, Till, at_till
from membership.faults import Refused
from membership.ledger import Account, Kind, Part, card_subject, entry, out_of_card
from membership.money import PositiveAmount
from membership.postings import Step, alone, on_shift, post
from membership.tables import CardTable, LotTable, OrderTable, finished_lots, open_lots, owner_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pynamodb.expressions.condition import Condition

    from membership.managers import Manager
    from membership.pay_passwords import Presented
    from membership.repeats import Claim

_EXPLAIN = "线下消费"


class Spend(OnceRequest):
    """What a customer pays, with the password of his card."""

    phone: Phone
    card_id: Id
    expense: PositiveAmount
    password: Digest


def spend(manager: Manager, request: Spend, password: Presented, claim: Claim) -> Done:
    """Take a payment from a card; its lots are used in the documented order (M3.6, X7)."""
    wrong = pay_passwords.wrong_tries(owner_key(manager.merchant_id, request.phone), request.card_id)
    till = at_till(manager, claim, request.phone, request.card_id, wrong)
    proven = pay_passwords.check(till.card, password, *till.beside)
    held = held_lots(till.card)
    parts = lots.take([Part(lot.id, lot.principal, lot.gift) for lot in held], request.expense)
    if parts is None or len(parts) > lots.MOST_TOUCHED:
        # Whoever guesses many passwords at the same time must not learn from the balance which of them was right.
        alone(proven)
        raise Refused("余额不足" if parts is None else "此次消费涉及的充值记录过多，请分次支付")
    on_lots, used_up = _on_lots(held, parts)
    now = claim.now
    number = numbers.next_id("expenses")
    order_no = numbers.order_no(numbers.EXPENSE, now)
    return post(
        claim,
        Done("成功"),
        proven,
        _on_card(till.card, parts, used_up),
        entry(
            manager,
            Kind.SPENDING,
            card_subject(till.card.id),
            out_of_card(parts, Account.MERCHANT_SALES, Account.MERCHANT_SALES),
            at=now,
            user_id=till.card.user_id,
            order_no=order_no,
        ),
        create(_order(manager, till, parts, order_no, now)),
        _record(manager, till, request, number, order_no, now),
        on_shift(manager, now, spent=request.expense),
        *on_lots,
    )


def held_lots(card: CardTable) -> list[LotTable]:
    """Return the lots of a card that hold money, oldest first; a card without lots is one lot itself."""
    if card.type != ACTIVITY:
        return [LotTable(id=0, principal=card.principal, gift=card.gift)]
    return list(map(LotTable.of_item, LotTable.every_item(open_lots(card.id), limit=lots.MOST_OPEN, consistent=True)))


def _on_card(card: CardTable, parts: Sequence[Part], used_up: int) -> Step:
    principal, gift = sum(part.principal for part in parts), sum(part.gift for part in parts)
    # Payments at the same time do not get in each other's way as long as each finds what it planned to take.
    enough = (CardTable.principal >= principal) & (CardTable.gift >= gift) & (CardTable.layout == card.layout)
    if gift:
        # No gift is touched before all principal is gone.
        enough &= CardTable.principal == principal
    actions = [
        CardTable.principal.add(-principal),
        CardTable.gift.add(-gift),
        CardTable.entries.add(1),
        CardTable.lots_open.add(-used_up),
    ]
    return Step(Change(CardTable, card.own_key(), actions, enough))


def _on_lots(held: Sequence[LotTable], parts: Sequence[Part]) -> tuple[list[Step], int]:
    """Return the writes to the lots that are taken from, and how many of them are used up."""
    steps: list[Step] = []
    used_up = 0
    rows = {lot.id: lot for lot in held}
    for part in parts:
        if not part.lot_id:
            continue
        lot = rows[part.lot_id]
        left = (lot.principal - part.principal, lot.gift - part.gift)
        same = (LotTable.principal == lot.principal) & (LotTable.gift == lot.gift)
        if any(left):
            status = lots.status_of(*left, lot.brought_gift)
            actions = [
                LotTable.principal.add(-part.principal),
                LotTable.gift.add(-part.gift),
                LotTable.status.set(status),
            ]
            steps.append(Step(Change(LotTable, lot.own_key(), actions, same)))
        else:
            steps += map(Step, finished(lot, same, lots.DUE))
            used_up += 1
    return steps, used_up


def finished(lot: LotTable, seen: Condition, status: int) -> list[Delete | Put]:
    """Return the writes that move a lot, emptied, from the open ones to the finished ones."""
    row = LotTable.of_item(lot.item())
    row.place = finished_lots(lot.card_id)
    row.principal, row.gift, row.status = 0, 0, status
    return [Delete(LotTable, lot.own_key(), seen), create(row)]


def _order(manager: Manager, till: Till, parts: Sequence[Part], order_no: int, now: datetime) -> OrderTable:
    return OrderTable(
        order_no=order_no,
        kind=listings.EXPENSES,
        merchant_id=manager.merchant_id,
        store_id=till.store.id,
        store_name=till.store.store_name,
        owner=till.card.owner,
        product_id=till.card.product_id,
        card_id=till.card.id,
        user_id=till.card.user_id,
        principal=sum(part.principal for part in parts),
        gift=sum(part.gift for part in parts),
        parts=[list(part) for part in parts],
        created_at=now,
    )


def _record(manager: Manager, till: Till, request: Spend, number: int, order_no: int, now: datetime) -> Put:
    content = {
        "expenseMoney": request.expense,
        "type": listings.IN_STORE,
        "explain": _EXPLAIN,
        "orderNo": order_no,
    }
    return listings.record(manager, listings.EXPENSES, number, now, till, content, request.expense)
