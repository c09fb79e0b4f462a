"""What a scanned code leads to: a customer's card or his coupon, only to look at (6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import Denied
from kernel.tables import fetch
from membership import catalogue, codes, holdings, stores
from membership.api import ManagerRequest, Text, View, id_list, local
from membership.cards import ACTIVITY
from membership.faults import Missing, Refused
from membership.money import Money
from membership.tables import (
    CardTable,
    CouponTable,
    CustomerTable,
    HoldingTable,
    MerchantTable,
    ProductTable,
    StoreTable,
)

if TYPE_CHECKING:
    from membership.codes import Code
    from membership.managers import Manager


class ScanCode(ManagerRequest):
    """The text that was read from a code."""

    qrcode: Text


class CardScan(View):
    """A customer's card; `code` has no meaning in the contract."""

    id: int
    membership_card_id: int
    user_id: int
    qrcode_type: int = codes.CARD
    phone: str
    balance: Money
    created: str
    card_no: int
    title: str
    summary: str | None
    colour: str | None
    logo: str | None
    type: int
    store_ids: str
    grade: str | None
    summary_grade: str | None
    capital: Money
    send: Money
    code: None = None
    avatar: str | None
    nickname: str | None


class CouponScan(View):
    """A customer's coupon; `code` and `status` have no meaning in the contract."""

    num: int
    qrcode_type: int = codes.COUPON
    coupon_id: int
    user_id: int
    quantity: int
    code: str = ""
    created: str
    title: str
    summary: str | None
    logo: str | None
    store_ids: str
    date: str | None
    store_name: str
    status: None = None


def resolve(manager: Manager, request: ScanCode) -> CardScan | CouponScan:
    """Return what a code is about (M6.1)."""
    code = codes.read(request.qrcode)
    return _card(manager, code) if code.kind == codes.CARD else _coupon(manager, code)


def _card(manager: Manager, code: Code) -> CardScan:
    rows = CardTable.query(code.number, index=type(CardTable.by_number), limit=1).rows
    if not rows:
        raise Missing("会员卡不存在")
    found = rows[0]
    if found.merchant_id != manager.merchant_id:
        raise Denied
    merchant, card, product, customer = fetch(
        (MerchantTable, MerchantTable.key(MerchantTable.KIND, manager.merchant_id)),
        (CardTable, found.own_key()),
        (ProductTable, ProductTable.key(manager.merchant_id, found.product_id)),
        (CustomerTable, CustomerTable.key(manager.merchant_id, found.phone)),
    )
    _accept(code, merchant)
    if card is None or product is None:
        raise Missing("会员卡不存在")
    lots = card.type == ACTIVITY
    return CardScan(
        id=card.id,
        membership_card_id=card.product_id,
        user_id=card.user_id,
        phone=card.phone,
        balance=card.principal + card.gift,
        created=local(card.created_at),
        card_no=card.card_no,
        title=product.title,
        summary=product.summary,
        colour=product.colour,
        logo=product.logo,
        type=card.type,
        store_ids=id_list(product.store_ids),
        grade=card.grade,
        summary_grade=card.summary_grade,
        capital=card.principal if lots else 0,
        send=card.gift if lots else 0,
        avatar=None if customer is None else customer.avatar,
        nickname=None if customer is None else customer.nickname,
    )


def _coupon(manager: Manager, code: Code) -> CouponScan:
    found = holdings.numbered(code.number)
    if found.merchant_id != manager.merchant_id:
        raise Denied
    merchant, holding, coupon = fetch(
        (MerchantTable, MerchantTable.key(MerchantTable.KIND, manager.merchant_id)),
        (HoldingTable, found.own_key()),
        (CouponTable, CouponTable.key(manager.merchant_id, found.coupon_id)),
    )
    _accept(code, merchant)
    if holding is None or coupon is None:
        raise holdings.unknown()
    places = catalogue.some(StoreTable, manager.merchant_id, coupon.store_ids)
    return CouponScan(
        num=holding.num,
        coupon_id=coupon.id,
        user_id=holding.user_id,
        quantity=holding.quantity,
        created=local(holding.created_at),
        title=coupon.title,
        summary=coupon.summary,
        logo=coupon.logo,
        store_ids=id_list(coupon.store_ids),
        date=local(coupon.date) if coupon.date else None,
        store_name="".join(f"{store.store_name}/" for store in stores.named(coupon.store_ids, places)),
    )


def _accept(code: Code, merchant: MerchantTable | None) -> None:
    if not code.signed and merchant is not None and merchant.signed_codes_only:
        raise Refused("此商户只接受签名二维码，请出示最新的二维码")
