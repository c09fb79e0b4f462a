"""Customers and their cards as the back office corrects them; money is none of its business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel import audit
from kernel.catalogues import Listing
from kernel.errors import NotFound
from kernel.tables import Change, commit
from membership import catalogue, lookups, pay_passwords
from membership.api import Digest, Phone, View, iso_utc
from membership.back_office import Fields, Line, Name
from membership.money import Money
from membership.tables import CardTable, CouponTable, CustomerTable, HoldingTable, ProductTable, owner_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.tables import Table


class PhoneSearch(Fields):
    """The customer with this phone number."""

    phone: Phone


class CustomerChange(Fields):
    """A customer's new data; null empties."""

    nickname: Name | None = None
    avatar: Line | None = None


class CardChange(Fields):
    """The grade of a customer's card and what it means; null empties."""

    grade: Line | None = None
    summary_grade: Line | None = None


class PayPassword(Fields):
    """The MD5 digest of a card's new pay password; without it the last six digits of the phone number are it."""

    digest: Digest | None = None


class CardSummary(View):
    """A customer's card; `cardId` is the card that the merchant offers."""

    id: int
    card_id: int
    card_no: int
    title: str | None
    type: int
    balance: Money
    principal: Money
    gift: Money
    charged: Money
    invoiceable: Money
    grade: str | None
    summary_grade: str | None
    store_id: int | None
    store_name: str | None
    created: str | None


class HeldCoupon(View):
    """A customer's pieces of a coupon; `num` is what the till redeems."""

    num: int
    coupon_id: int
    title: str | None
    quantity: int
    redeemed: int


class CustomerView(View):
    """A customer with his cards and coupons."""

    user_id: int
    phone: str
    nickname: str | None
    avatar: str | None
    created: str | None
    cards: list[CardSummary]
    coupons: list[HeldCoupon]


def search(merchant_id: int, wanted: PhoneSearch) -> Listing[CustomerView]:
    """Return the customer with a phone number, if there is one."""
    row = CustomerTable.find(merchant_id, wanted.phone)
    return Listing[CustomerView](items=[] if row is None else [_customer(row)], cursor=None)


def change_customer(merchant_id: int, user_id: int, change: CustomerChange) -> CustomerView:
    """Change a customer's name or picture; records of before keep what they showed."""
    row = lookups.customer(user_id)
    if row is None or row.merchant_id != merchant_id:
        raise NotFound("There is no such customer")
    _set(row, f"customers/{user_id}", change.model_dump(exclude_unset=True))
    return _customer(row)


def change_card(merchant_id: int, card_id: int, change: CardChange) -> CardSummary:
    """Change the grade of a customer's card."""
    row = _card(merchant_id, card_id)
    _set(row, f"cards/{card_id}", change.model_dump(exclude_unset=True))
    return _summaries(merchant_id, [row])[0]


def reset_pay_password(merchant_id: int, card_id: int, new: PayPassword) -> CardSummary:
    """Give a card another pay password, or the one of a new card."""
    row = _card(merchant_id, card_id)
    digest = new.digest or pay_passwords.default_digest(row.phone)
    _set(row, f"cards/{card_id}/password", {"password_hash": pay_passwords.hashed(digest)})
    pay_passwords.unlock(row)
    return _summaries(merchant_id, [row])[0]


def _card(merchant_id: int, card_id: int) -> CardTable:
    row = lookups.card(card_id)
    if row is None or row.merchant_id != merchant_id:
        raise NotFound("There is no such card of a customer")
    return row


def _set(row: CustomerTable | CardTable, subject: str, named: dict[str, Any]) -> None:
    """Set attributes of a row and nothing else of it, with an audit entry."""
    changed = {field: value for field, value in named.items() if getattr(row, field) != value}
    if not changed:
        return
    table: type[Table] = type(row)
    attributes = table.get_attributes()
    before = {field: getattr(row, field) for field in changed}
    actions = [
        attributes[field].remove() if value is None else attributes[field].set(value)
        for field, value in changed.items()
    ]
    first, _ = table.keys()
    entry = audit.entry(subject, before=before, after=changed)
    commit(Change(table, row.own_key(), actions, first.exists()), entry)
    for field, value in changed.items():
        setattr(row, field, value)


def _customer(row: CustomerTable) -> CustomerView:
    cards = map(CardTable.of_item, CardTable.every_item(owner_key(row.merchant_id, row.phone), consistent=True))
    return CustomerView(
        user_id=row.user_id,
        phone=row.phone,
        nickname=row.nickname,
        avatar=row.avatar,
        created=iso_utc(row.created_at) if row.created_at else None,
        cards=_summaries(row.merchant_id, cards),
        coupons=_held(row),
    )


def _held(row: CustomerTable) -> list[HeldCoupon]:
    held = [HoldingTable.of_item(item) for item in HoldingTable.every_item(row.user_id, consistent=True)]
    coupons = catalogue.some(CouponTable, row.merchant_id, [holding.coupon_id for holding in held])
    return [
        HeldCoupon(
            num=holding.num,
            coupon_id=holding.coupon_id,
            title=coupons[holding.coupon_id].title if holding.coupon_id in coupons else None,
            quantity=holding.quantity,
            redeemed=holding.redeemed,
        )
        for holding in held
    ]


def _summaries(merchant_id: int, cards: Iterable[CardTable]) -> list[CardSummary]:
    rows = list(cards)
    products = catalogue.some(ProductTable, merchant_id, [card.product_id for card in rows])
    return [
        CardSummary(
            id=card.id,
            card_id=card.product_id,
            card_no=card.card_no,
            title=products[card.product_id].title if card.product_id in products else None,
            type=card.type,
            balance=card.principal + card.gift,
            principal=card.principal,
            gift=card.gift,
            charged=card.charged,
            invoiceable=card.invoiceable,
            grade=card.grade,
            summary_grade=card.summary_grade,
            store_id=card.store_id,
            store_name=card.store_name,
            created=iso_utc(card.created_at) if card.created_at else None,
        )
        for card in rows
    ]
