"""What managers see of customers' cards: all cards of one customer (4.5), one card for the invoice screen (8.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import Denied
from kernel.tables import fetch
from membership import catalogue, lookups, lots
from membership.api import Id, ManagerRequest, View, id_list, iso_utc, local
from membership.cards import ACTIVITY, NO_CARD, no_product
from membership.faults import NoSuchUser, Refused
from membership.money import Money
from membership.tables import CardTable, CustomerTable, LotTable, ProductTable, finished_lots, open_lots, owner_key

if TYPE_CHECKING:
    from membership.managers import Manager

# The finished usage records of a card that are shown: the latest of them.
MOST_FINISHED = 1000
_AT_ONCE = 500


class OfCustomer(ManagerRequest):
    """The customer whose cards are meant."""

    user_id: Id


class OfCard(OfCustomer):
    """The card of the customer that is meant."""

    card_id: Id


class UsageView(View):
    """What is left of one event recharge of an activity card."""

    store_member_event_id: int
    capital_balance: Money
    send_balance: Money
    status: int


class UserCardView(View):
    """A card of a customer with its balance; `capital`, `send` and `event_cards` only for activity cards."""

    user_id: int
    phone: str
    nickname: str | None
    avatar: str | None
    card_id: int
    title: str
    card_no: int
    balance: Money
    type: int
    capital: Money | None
    send: Money | None
    created: str
    event_cards: list[UsageView] | None


class CardDetailView(View):
    """A card of a customer on the invoice screen; `balance` is what invoices can still be written for."""

    id: int
    membership_card_id: int
    user_id: int
    qrcode_type: int | None = None
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
    capital: Money | None = None
    send: Money | None = None
    code: str | None = None
    avatar: str | None
    nickname: str | None
    store_name: str | None


def cards_of(manager: Manager, user_id: int) -> list[UserCardView]:
    """Return all cards that a customer holds with the manager's merchant, by the id of the card product (M4.5)."""
    customer = customer_of(manager, user_id)
    items = CardTable.every_item(owner_key(manager.merchant_id, customer.phone), limit=_AT_ONCE, consistent=True)
    cards = list(map(CardTable.of_item, items))
    products = catalogue.some(ProductTable, manager.merchant_id, [card.product_id for card in cards])
    return [_card(customer, card, products[card.product_id]) for card in cards]


def card_detail(manager: Manager, request: OfCard) -> CardDetailView:
    """Return one card of a customer as the invoice screen shows it (M8.3)."""
    customer, card, product = card_of(manager, request)
    return CardDetailView(
        id=card.id,
        membership_card_id=card.product_id,
        user_id=customer.user_id,
        phone=customer.phone,
        balance=invoiceable(card),
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
        avatar=customer.avatar,
        nickname=customer.nickname,
        store_name=card.store_name,
    )


def invoiceable(card: CardTable) -> int:
    """Return what invoices can still be written for: the `amount` of 8.1 and the `balance` of 8.3 (M8.3-2)."""
    return card.invoiceable


def customer_of(manager: Manager, user_id: int) -> CustomerTable:
    """Return the customer with this id; raises NoSuchUser, or Denied for another merchant's (X2)."""
    found = lookups.customer(user_id)
    if found is None:
        raise NoSuchUser
    if found.merchant_id != manager.merchant_id:
        raise Denied
    return found


def card_of(manager: Manager, request: OfCard) -> tuple[CustomerTable, CardTable, ProductTable]:
    """Return the customer's card with what is read of it; refuses a customer or a card that is not there."""
    customer = customer_of(manager, request.user_id)
    card, product = fetch(
        (CardTable, CardTable.key(owner_key(manager.merchant_id, customer.phone), request.card_id)),
        (ProductTable, ProductTable.key(manager.merchant_id, request.card_id)),
    )
    if product is None:
        raise no_product(request.card_id)
    if card is None:
        raise Refused(NO_CARD)
    return customer, card, product


def _card(customer: CustomerTable, card: CardTable, product: ProductTable) -> UserCardView:
    activity = card.type == ACTIVITY
    return UserCardView(
        user_id=customer.user_id,
        phone=customer.phone,
        nickname=customer.nickname,
        avatar=customer.avatar,
        card_id=card.product_id,
        title=product.title,
        card_no=card.card_no,
        balance=card.principal + card.gift,
        type=card.type,
        capital=card.principal if activity else None,
        send=card.gift if activity else None,
        created=iso_utc(card.created_at),
        event_cards=_usage(card) if activity else None,
    )


def _usage(card: CardTable) -> list[UsageView]:
    """Return the usage records of an activity card, oldest first; those of refunded recharges are hidden (M3.9-3)."""
    held = [LotTable.of_item(item) for item in LotTable.every_item(open_lots(card.id), limit=_AT_ONCE, consistent=True)]
    done = LotTable.query(finished_lots(card.id), limit=MOST_FINISHED, newest_first=True, consistent=True).rows
    # One that was used up between the two reads stands in both; the later read is right.
    found = {lot.id: lot for lot in (*held, *done)}
    return [
        UsageView(store_member_event_id=lot.id, capital_balance=lot.principal, send_balance=lot.gift, status=lot.status)
        for _, lot in sorted(found.items())
        if lot.status != lots.TAKEN_BACK
    ]
