"""Redeeming one piece of a customer's coupon (6.2): the holding's row decides who is too late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel import clock, ids
from kernel.envelopes import json_text
from kernel.errors import Denied
from kernel.tables import Change, create, fetch
from membership import holdings
from membership.api import Done, Id, OnceRequest, View, id_list
from membership.cards import check_open, check_store, own_store
from membership.coupons import expired
from membership.faults import Refused
from membership.ledger import Account, Kind, Move, entry, holding_subject
from membership.postings import on_shift, post
from membership.tables import CouponTable, CouponUseTable, HoldingTable, RepeatTable, StoreTable

if TYPE_CHECKING:
    from datetime import datetime

    from membership.managers import Manager
    from membership.repeats import Claim


class RedeemCoupon(OnceRequest):
    """The holding of which one piece is redeemed."""

    num: Id


class Redemption(View):
    """One redemption; what is null is null in the contract too."""

    id: None = None
    num: int
    coupon_id: int
    user_id: int
    store_id: int
    detail: str
    admin_id: int
    quantity: int = 1
    created: None = None
    nickname: None = None
    phone: None = None
    store_name: None = None
    title: None = None


def redeem(manager: Manager, request: RedeemCoupon, claim: Claim) -> Done:
    """Take one piece of a holding and keep what the holding was before (M6.2)."""
    store_id = own_store(manager)
    found = holdings.numbered(request.num)
    if found.merchant_id != manager.merchant_id:
        raise Denied
    repeat, store, coupon, holding = fetch(
        (RepeatTable, claim.row_key),
        (StoreTable, StoreTable.key(manager.merchant_id, store_id)),
        (CouponTable, CouponTable.key(manager.merchant_id, found.coupon_id)),
        (HoldingTable, found.own_key()),
    )
    claim.check(repeat)
    check_open(store)
    if coupon is None or holding is None:
        raise holdings.unknown()
    _check(coupon, holding, store_id, claim.now)
    detail = _snapshot(coupon, holding)
    redemption = Redemption(
        num=holding.num,
        coupon_id=coupon.id,
        user_id=holding.user_id,
        store_id=store_id,
        detail=detail,
        admin_id=manager.manager_id,
    )
    use = CouponUseTable(
        num=holding.num,
        use_id=ids.ordered_id(claim.now),
        store_id=store_id,
        manager_id=manager.manager_id,
        detail=detail,
        created_at=claim.now,
    )
    return post(
        claim,
        Done("", redemption.model_dump(by_alias=True)),
        _on_holding(coupon, holding),
        create(use),
        entry(
            manager,
            Kind.COUPON_USE,
            holding_subject(holding.num),
            [Move(Account.COUPON_HELD, Account.COUPON_REDEEMED, 1)],
            at=claim.now,
            user_id=holding.user_id,
            reference=coupon.id,
        ),
        on_shift(manager, claim.now, coupons_redeemed=1),
    )


def _check(coupon: CouponTable, holding: HoldingTable, store_id: int, now: datetime) -> None:
    check_store(coupon.store_ids, store_id)
    if expired(coupon.date, now):
        raise Refused("优惠券已过期")
    if holding.quantity < 1:
        raise Refused("优惠券已用完")
    if coupon.per_person is not None and holding.redeemed >= coupon.per_person:
        raise Refused(f"此优惠券每人限用 {coupon.per_person} 张")


def _on_holding(coupon: CouponTable, holding: HoldingTable) -> Change:
    # The snapshot has to be what this redemption found, so redemptions of one holding follow one another; DynamoDB
    # lets no two transactions at one row anyway. Different customers do not meet.
    as_seen = (HoldingTable.num == holding.num) & (HoldingTable.quantity == holding.quantity)
    as_seen &= HoldingTable.quantity >= 1
    if coupon.per_person is not None:
        as_seen &= HoldingTable.redeemed < coupon.per_person
    actions = [HoldingTable.quantity.add(-1), HoldingTable.redeemed.add(1), HoldingTable.entries.add(1)]
    return Change(HoldingTable, holding.own_key(), actions, as_seen)


def _snapshot(coupon: CouponTable, holding: HoldingTable) -> str:
    """Return the holding as it is before the redemption: compact, in alphabetical order, nulls left out (M6.2-3)."""
    said = {
        "code": "",
        "couponId": coupon.id,
        "created": clock.millis(holding.created_at) if holding.created_at else None,
        "date": clock.millis(coupon.date) if coupon.date else None,
        "logo": coupon.logo,
        "num": holding.num,
        "quantity": holding.quantity,
        "storeIds": id_list(coupon.store_ids),
        "summary": coupon.summary,
        "title": coupon.title,
        "userId": holding.user_id,
    }
    return json_text({name: value for name, value in sorted(said.items()) if value is not None})
