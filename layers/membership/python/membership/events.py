"""Recharge promotions: which may be chosen for a card (3.4), and what one gives (3.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from membership import catalogue
from membership.api import Id, ManagerRequest, View, iso_utc, local
from membership.cards import ACTIVITY
from membership.money import Money
from membership.tables import CouponTable, EventTable, ProductTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from membership.managers import Manager

# What an event gives, and on which cards it may be chosen (contract, enums).
GIFT, COUPONS, GIFT_AND_COUPONS = 1, 2, 5
ANY_CARD, ACTIVITY_CARDS = 1, 10


class CardEvents(ManagerRequest):
    """The card whose events are asked for."""

    card_id: Id


class EventId(ManagerRequest):
    """The event that is asked for."""

    event_id: Id


class ChoosableEvent(View):
    """An event in the list of those that may be chosen."""

    id: int
    title: str
    summary: str | None
    recharge_money: Money
    send_money: Money
    target_id: int | None
    admin_id: int
    type: int
    status: int
    created: str
    target_name: str | None


class EventDetail(View):
    """An event with the coupon that it gives; `scale` has no meaning in the contract."""

    id: int
    title: str
    coupon_title: str | None
    summary: str | None
    recharge_money: Money
    send_money: Money
    target_id: int | None
    admin_id: int
    type: int
    status: int
    updated: str | None
    created: str
    scale: None = None
    quantity: int | None


def of_card(manager: Manager, request: CardEvents) -> list[ChoosableEvent]:
    """Return the events that may be chosen for a card (M3.4)."""
    product = ProductTable.find(manager.merchant_id, request.card_id)
    if product is None:
        raise catalogue.absent(ProductTable, request.card_id, "会员卡不存在")
    events = catalogue.some(EventTable, manager.merchant_id, product.event_ids)
    chosen = for_product(product, events)
    return views(chosen, catalogue.some(CouponTable, manager.merchant_id, map(coupon_of, chosen)))


def for_product(product: ProductTable, events: Mapping[int, EventTable]) -> list[EventTable]:
    """Return the events that fit a card, in the order in which they are linked to it."""
    linked = (events[event_id] for event_id in product.event_ids if event_id in events)
    return [event for event in linked if fits(event, product.type)]


def fits(event: EventTable, card_type: int) -> bool:
    """Tell whether an event may be chosen for a kind of card (M3.4-3)."""
    return event.status == ANY_CARD or (event.status == ACTIVITY_CARDS and card_type == ACTIVITY)


def coupon_of(event: EventTable) -> int | None:
    """Return the coupon that an event gives, None when it gives none (M3.4-1)."""
    return event.target_id if event.type in (COUPONS, GIFT_AND_COUPONS) else None


def views(events: Iterable[EventTable], coupons: Mapping[int, CouponTable]) -> list[ChoosableEvent]:
    """Return events as lists show them."""
    return [
        ChoosableEvent(
            id=event.id,
            title=event.title,
            summary=event.summary,
            recharge_money=event.recharge,
            send_money=event.gift,
            target_id=coupon_of(event),
            admin_id=event.admin_id,
            type=event.type,
            status=event.status,
            created=iso_utc(event.created_at),
            target_name=_title(coupons.get(coupon_of(event) or 0)),
        )
        for event in events
    ]


def detail(manager: Manager, request: EventId) -> EventDetail:
    """Return an event with its coupon (M3.10)."""
    event = EventTable.find(manager.merchant_id, request.event_id)
    if event is None:
        raise catalogue.absent(EventTable, request.event_id, "活动不存在")
    target_id = coupon_of(event)
    coupon = None if target_id is None else CouponTable.find(manager.merchant_id, target_id)
    return EventDetail(
        id=event.id,
        title=event.title,
        coupon_title=_title(coupon),
        summary=event.summary,
        recharge_money=event.recharge,
        send_money=event.gift,
        target_id=target_id,
        admin_id=event.admin_id,
        type=event.type,
        status=event.status,
        updated=local(event.updated_at) if event.updated_at else None,
        created=local(event.created_at),
        quantity=None if target_id is None else event.quantity,
    )


def _title(coupon: CouponTable | None) -> str | None:
    return None if coupon is None else coupon.title
