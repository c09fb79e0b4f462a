"""Recharging a card, with or without an event (3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import REQUIRED, Flaw, Invalid
from kernel.tables import Change, Put, Write, create
from membership import catalogue, coupons, events, listings, lots, numbers
from membership.api import Done, Id, OnceRequest, Phone, Text
from membership.cards import ACTIVITY, NO_CARD, Till, at_till
from membership.faults import Refused
from membership.ledger import Account, Kind, Move, Part, card_subject, entry, into_card
from membership.money import Amount, PositiveAmount
from membership.postings import Step, on_shift, post
from membership.tables import CardTable, EventTable, LotTable, OrderTable, open_lots

if TYPE_CHECKING:
    from datetime import datetime

    from membership.managers import Manager
    from membership.repeats import Claim

_EXPLAIN = "余额充值"


class Recharge(OnceRequest):
    """What a customer pays in and is given; `image` is the picture that proves it."""

    phone: Phone
    card_id: Id
    recharge: PositiveAmount
    send: Amount
    event_id: Id | None = None
    image: Text


def recharge(manager: Manager, request: Recharge, claim: Claim) -> Done:
    """Credit a card with a recharge and its gift, and give the coupons of the event (M3.5)."""
    chosen = [] if request.event_id is None else [(EventTable, EventTable.key(manager.merchant_id, request.event_id))]
    till = at_till(manager, claim, request.phone, request.card_id, *chosen)
    event = _event(till, request)
    now = claim.now
    activity = till.card.type == ACTIVITY
    number = numbers.next_id("recharges")
    order_no = numbers.order_no(numbers.RECHARGE, now)
    part = Part(numbers.next_id("lots") if activity else 0, request.recharge, request.send)
    gift = None if event is None else coupons.of_event(manager, event, till.customer.user_id, now)
    return post(
        claim,
        Done("充值成功"),
        _on_card(till, part),
        entry(
            manager,
            Kind.RECHARGE,
            card_subject(till.card.id),
            [
                *into_card([part], Account.MERCHANT_CASH, Account.MERCHANT_PROMOTION),
                Move(Account.INVOICE_BASIS, Account.INVOICEABLE, part.principal),
            ],
            at=now,
            user_id=till.card.user_id,
            order_no=order_no,
        ),
        create(_order(manager, till, part, order_no, gift, now)),
        _record(manager, till, request, event, number, order_no, now),
        on_shift(manager, now, recharged=part.principal, gifted=part.gift, **(gift.on_shift if gift else {})),
        *([_lot(till, part, event, order_no, now)] if activity and event is not None else []),
        *(gift.steps if gift else []),
    )


def _event(till: Till, request: Recharge) -> EventTable | None:
    """Return the chosen event; the amounts must be its own, and the card must be one that it is for (M3.5-1 to 4)."""
    if request.event_id is None:
        if till.card.type == ACTIVITY:
            raise Invalid([Flaw("eventId", REQUIRED)])
        return None
    event: EventTable | None = till.beside[0]
    if event is None:
        raise catalogue.absent(EventTable, request.event_id, "活动不存在")
    if request.event_id not in till.product.event_ids or not events.fits(event, till.card.type):
        raise Refused("此会员卡不能参加该活动")
    if (request.recharge, request.send) != (event.recharge, event.gift):
        raise Refused("充值金额与赠送金额必须与活动一致")
    return event


def _on_card(till: Till, part: Part) -> Step:
    actions = [
        CardTable.principal.add(part.principal),
        CardTable.gift.add(part.gift),
        CardTable.charged.add(part.principal),
        CardTable.invoiceable.add(part.principal),
        CardTable.entries.add(1),
    ]
    key, same = till.card.own_key(), CardTable.id == till.card.id
    if not part.lot_id:
        return Step(Change(CardTable, key, actions, same), Refused(NO_CARD))
    actions.append(CardTable.lots_open.add(1))
    return Step(
        Change(CardTable, key, actions, same & (CardTable.lots_open < lots.MOST_OPEN)),
        Refused(f"卡内未用完的充值记录已达 {lots.MOST_OPEN} 条，请先消费再充值"),
    )


def _lot(till: Till, part: Part, event: EventTable, order_no: int, now: datetime) -> Write:
    row = LotTable(
        place=open_lots(till.card.id),
        id=part.lot_id,
        card_id=till.card.id,
        merchant_id=till.card.merchant_id,
        owner=till.card.owner,
        product_id=till.card.product_id,
        event_id=event.id,
        order_no=order_no,
        brought_principal=part.principal,
        brought_gift=part.gift,
        principal=part.principal,
        gift=part.gift,
        status=lots.UNTOUCHED,
        created_at=now,
    )
    return create(row)


def _order(
    manager: Manager, till: Till, part: Part, order_no: int, gift: coupons.CouponGift | None, now: datetime
) -> OrderTable:
    return OrderTable(
        order_no=order_no,
        kind=listings.RECHARGES,
        merchant_id=manager.merchant_id,
        store_id=till.store.id,
        store_name=till.store.store_name,
        owner=till.card.owner,
        product_id=till.card.product_id,
        card_id=till.card.id,
        user_id=till.card.user_id,
        principal=part.principal,
        gift=part.gift,
        parts=[list(part)],
        coupon_id=gift.coupon_id if gift else None,
        coupon_pieces=gift.pieces if gift else None,
        created_at=now,
    )


def _record(
    manager: Manager,
    till: Till,
    request: Recharge,
    event: EventTable | None,
    number: int,
    order_no: int,
    now: datetime,
) -> Put:
    content = {
        "memberEventId": request.event_id,
        "eventName": None if event is None else event.title,
        "rechargeMoney": request.recharge,
        "sendMoney": request.send,
        "type": listings.IN_STORE,
        "explain": _EXPLAIN,
        "orderNo": order_no,
        "image": request.image,
    }
    return listings.record(manager, listings.RECHARGES, number, now, till, content, request.recharge, request.send)
