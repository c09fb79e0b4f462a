"""Coupons and who is given them: those that can be chosen for a gift (7.2), giving pieces of one (7.1, events)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field

from kernel import clock
from kernel.tables import Change, create, fetch
from membership import catalogue, events, numbers, stores
from membership.api import SHANGHAI, Done, Id, OnceRequest, Phone, View, Whole, id_list, local
from membership.cards import check_open, check_store, own_store_key
from membership.faults import NoSuchUser, Refused
from membership.ledger import Account, Kind, Move, entry, holding_subject
from membership.postings import on_shift, post
from membership.stores import ValidStore
from membership.tables import CouponTable, CustomerTable, HoldingTable, RepeatTable, StoreTable

if TYPE_CHECKING:
    from datetime import datetime

    from kernel.tables import Write
    from membership.managers import Manager
    from membership.repeats import Claim
    from membership.tables import EventTable

MOST_PIECES = 1000
_UNKNOWN = "优惠券不存在"
_TOO_FEW = "优惠券数量不足"


class GiveCoupon(OnceRequest):
    """Who is given how many pieces of which coupon."""

    phone: Phone
    coupon_id: Id
    quantity: Annotated[Whole, Field(ge=1, le=MOST_PIECES)]


class GiftableCoupon(View):
    """A coupon that can be chosen for a gift."""

    id: int
    title: str
    summary: str | None
    logo: str | None
    store_ids: str
    admin_id: int
    type: int
    status: int
    date: str | None
    updated: str | None
    created: str
    store_vos: list[ValidStore]


class CouponGift(NamedTuple):
    """Pieces of a coupon that are given together with something else, and the writes that give them."""

    coupon_id: int
    pieces: int
    steps: list[Write]

    @property
    def on_shift(self) -> dict[str, int]:
        """What it adds to the manager's day."""
        return {"coupons_given": self.pieces}


def giftable_coupons(manager: Manager) -> list[GiftableCoupon]:
    """Return the coupons that can be given now and are valid at a store of the account, newest first (M7.2)."""
    now = clock.now()
    found = [
        coupon
        for coupon in catalogue.every(CouponTable, manager.merchant_id, newest_first=True).values()
        if _given_now(coupon, now) and _left(coupon) and stores.seen_from(manager, coupon.store_ids)
    ]
    places = catalogue.some(StoreTable, manager.merchant_id, (place for coupon in found for place in coupon.store_ids))
    return [
        GiftableCoupon(
            id=coupon.id,
            title=coupon.title,
            summary=coupon.summary,
            logo=coupon.logo,
            store_ids=id_list(coupon.store_ids),
            admin_id=coupon.admin_id,
            type=coupon.type,
            status=coupon.status,
            date=local(coupon.date) if coupon.date else None,
            updated=local(coupon.updated_at) if coupon.updated_at else None,
            created=local(coupon.created_at),
            store_vos=stores.valid_at(coupon.store_ids, places),
        )
        for coupon in found
    ]


def give_coupon(manager: Manager, request: GiveCoupon, claim: Claim) -> Done:
    """Give a customer pieces of a coupon (M7.1)."""
    merchant_id = manager.merchant_id
    repeat, store, customer, coupon = fetch(
        (RepeatTable, claim.row_key),
        (StoreTable, own_store_key(manager)),
        (CustomerTable, CustomerTable.key(merchant_id, request.phone)),
        (CouponTable, CouponTable.key(merchant_id, request.coupon_id)),
    )
    claim.check(repeat)
    if manager.store_id is not None:
        check_open(store)
    if customer is None:
        raise NoSuchUser
    coupon = _giftable(coupon, request.coupon_id, claim.now)
    if manager.store_id is not None:
        check_store(coupon.store_ids, manager.store_id)
    holding = HoldingTable.find(customer.user_id, coupon.id)
    gift = _given(manager, coupon, holding, customer.user_id, request.quantity, claim.now)
    return post(claim, Done("赠送成功"), *gift.steps, on_shift(manager, claim.now, **gift.on_shift))


def of_event(manager: Manager, event: EventTable, user_id: int, now: datetime) -> CouponGift | None:
    """Return the coupons that an event gives to a customer, None when it gives none (M3.5-7)."""
    coupon_id = events.coupon_of(event)
    if coupon_id is None or not event.quantity:
        return None
    coupon, holding = fetch(
        (CouponTable, CouponTable.key(manager.merchant_id, coupon_id)),
        (HoldingTable, HoldingTable.key(user_id, coupon_id)),
    )
    return _given(manager, _giftable(coupon, coupon_id, now), holding, user_id, event.quantity, now)


def _giftable(coupon: CouponTable | None, coupon_id: int, now: datetime) -> CouponTable:
    """Return a coupon that may be given now; unknown, inactive and expired ones are refused (M7.1-3)."""
    if coupon is None:
        raise catalogue.absent(CouponTable, coupon_id, _UNKNOWN)
    if not _given_now(coupon, now):
        raise Refused("优惠券已停用或已过期")
    return coupon


def _given_now(coupon: CouponTable, now: datetime) -> bool:
    return coupon.status == catalogue.ACTIVE and not expired(coupon.date, now)


def _left(coupon: CouponTable) -> bool:
    return coupon.stock is None or coupon.given < coupon.stock


def expired(date: datetime | None, now: datetime) -> bool:
    """Tell whether a coupon's last day is over; a date at midnight counts through that day in Shanghai (M6.2-6)."""
    if date is None:
        return False
    last = date.astimezone(SHANGHAI)
    if (last.hour, last.minute, last.second) == (0, 0, 0):
        return now.astimezone(SHANGHAI).date() > last.date()
    return now > last


def _given(
    manager: Manager, coupon: CouponTable, holding: HoldingTable | None, user_id: int, pieces: int, now: datetime
) -> CouponGift:
    """Return the writes that give pieces to a customer: to the same `num` when he holds some (M7.1-2)."""
    # The back office may close the coupon or change its stock meanwhile, which is then looked at anew.
    as_seen = CouponTable.status == catalogue.ACTIVE
    if coupon.stock is None:
        as_seen &= CouponTable.stock.does_not_exist()
    elif coupon.given + pieces > coupon.stock:
        raise Refused(_TOO_FEW)
    else:
        as_seen &= (CouponTable.stock == coupon.stock) & (CouponTable.given <= coupon.stock - pieces)
    key = CouponTable.key(manager.merchant_id, coupon.id)
    steps: list[Write] = [Change(CouponTable, key, [CouponTable.given.add(pieces)], as_seen)]
    if holding is None:
        num = numbers.next_id("holdings")
        row = HoldingTable(
            user_id=user_id,
            coupon_id=coupon.id,
            num=num,
            merchant_id=manager.merchant_id,
            quantity=pieces,
            given=pieces,
            entries=1,
            created_at=now,
        )
        steps.append(create(row))
    else:
        num = holding.num
        actions = [HoldingTable.quantity.add(pieces), HoldingTable.given.add(pieces), HoldingTable.entries.add(1)]
        steps.append(Change(HoldingTable, holding.own_key(), actions, HoldingTable.num == num))
    moves = [Move(Account.COUPON_STOCK, Account.COUPON_HELD, pieces)]
    subject = holding_subject(num)
    steps.append(entry(manager, Kind.COUPON_GIFT, subject, moves, at=now, user_id=user_id, reference=coupon.id))
    return CouponGift(coupon.id, pieces, steps)
