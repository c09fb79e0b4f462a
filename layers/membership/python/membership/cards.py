"""Customers' cards: what a money operation needs to know at the till, and opening a card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field, model_validator

from kernel.tables import create, fetch
from membership import catalogue, listings, numbers, pay_passwords
from membership.api import Digest, Done, Id, OnceRequest, Phone
from membership.faults import NoSuchUser, Refused
from membership.ledger import Kind, card_subject, entry
from membership.postings import Step, on_shift, post
from membership.tables import CardTable, CustomerTable, ProductTable, RepeatTable, StoreTable, owner_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.errors import Fault
    from kernel.tables import Item, Table
    from membership.managers import Manager
    from membership.repeats import Claim

STORED_VALUE = 10
ACTIVITY = 11
NO_CARD = "该用户没有此会员卡"
_ALREADY = "该用户已有此会员卡"


class OpenCard(OnceRequest):
    """A card to be opened; `cardId` is taken for `membershipCardId` where that is not given."""

    phone: Phone
    membership_card_id: Id
    password: Digest | None = None
    # Left out where requests are compared: whoever says it says the same card.
    card_id: Annotated[Id | None, Field(exclude=True)] = None

    @model_validator(mode="before")
    @classmethod
    def _by_either_name(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("membershipCardId") in (None, ""):
            return given | {"membershipCardId": given.get("cardId")}
        return given


class Till(NamedTuple):
    """What stands behind a money operation: the manager's store, the customer, his card and what card it is.

    `beside` are the rows that were asked for with them.
    """

    store: StoreTable
    customer: CustomerTable
    card: CardTable
    product: ProductTable
    beside: Sequence[Any]


class Case(NamedTuple):
    """What stands behind an operation that an account of the whole merchant may do as well, which has no store."""

    store: StoreTable | None
    customer: CustomerTable
    card: CardTable
    product: ProductTable


def at_till(manager: Manager, claim: Claim, phone: str, product_id: int, *more: tuple[type[Table], Item]) -> Till:
    """Read everything and some more in one request; refuses what the contract refuses, and repetitions."""
    store, customer, card, product, beside = read_till(manager, claim, phone, product_id, *more)
    if customer is None:
        raise NoSuchUser
    if card is None:
        raise Refused(NO_CARD)
    return Till(store, customer, card, product, beside)


def read_till(
    manager: Manager, claim: Claim, phone: str, product_id: int, *more: tuple[type[Table], Item]
) -> tuple[StoreTable, CustomerTable | None, CardTable | None, ProductTable, Sequence[Any]]:
    """Read the manager's store, the customer, his card, the card product and more; refuses a repetition."""
    merchant_id = manager.merchant_id
    repeat, store, product, customer, card, *beside = fetch(
        (RepeatTable, claim.row_key),
        (StoreTable, StoreTable.key(merchant_id, own_store(manager))),
        (ProductTable, ProductTable.key(merchant_id, product_id)),
        (CustomerTable, CustomerTable.key(merchant_id, phone)),
        (CardTable, CardTable.key(owner_key(merchant_id, phone), product_id)),
        *more,
    )
    claim.check(repeat)
    check_open(store)
    if product is None:
        raise no_product(product_id)
    check_store(product.store_ids, store.id)
    return store, customer, card, product, beside


def own_store(manager: Manager) -> int:
    """Return the manager's store; an account of the whole merchant stands at no till."""
    if manager.store_id is None:
        raise Refused("商户账号没有门店，不能在此操作")
    return manager.store_id


def own_store_key(manager: Manager) -> Item:
    """Return the key of the manager's store; nothing is found under that of an account of the whole merchant."""
    return StoreTable.key(manager.merchant_id, manager.store_id or 0)


def no_product(product_id: int) -> Fault:
    """Return what to answer about a card product that the merchant has not."""
    return catalogue.absent(ProductTable, product_id, "会员卡不存在")


def as_case(
    manager: Manager,
    store: StoreTable | None,
    customer: CustomerTable | None,
    card: CardTable | None,
    product: ProductTable | None,
) -> Case:
    """Return what was read for an operation on a card; refuses what is not there, and a store that is closed."""
    if manager.store_id is not None:
        check_open(store)
    if customer is None:
        raise NoSuchUser
    if card is None or product is None:
        raise Refused(NO_CARD)
    return Case(store, customer, card, product)


def check_open(store: StoreTable | None) -> None:
    """Refuse a store that is not there, or that has been closed."""
    if store is None or store.active != catalogue.ACTIVE:
        raise Refused("门店不存在或已停用")


def check_store(store_ids: list[int], store_id: int) -> None:
    """Refuse what is not valid at this store (X3)."""
    if store_id not in store_ids:
        raise Refused("此门店不可使用")


def open_card(manager: Manager, request: OpenCard, claim: Claim) -> Done:
    """Open a card for the customer with this phone number, who is made when he is not known yet (M3.3)."""
    store, customer, card, product, _ = read_till(manager, claim, request.phone, request.membership_card_id)
    if card is not None:
        raise Refused(_ALREADY)
    if product.active != catalogue.ACTIVE:
        raise Refused("会员卡已停用")
    now = claim.now
    made = customer is None
    if customer is None:
        customer = CustomerTable(
            merchant_id=manager.merchant_id, phone=request.phone, user_id=numbers.next_id("users"), created_at=now
        )
    card = CardTable(
        owner=owner_key(manager.merchant_id, request.phone),
        product_id=product.id,
        id=numbers.next_id("cards"),
        card_no=numbers.card_no(now),
        merchant_id=manager.merchant_id,
        user_id=customer.user_id,
        phone=request.phone,
        type=product.type,
        password_hash=pay_passwords.hashed(request.password or pay_passwords.default_digest(request.phone)),
        store_id=store.id,
        store_name=store.store_name,
        entries=1,
        created_at=now,
    )
    first = made or not customer.listed
    steps = [Step(create(card), Refused(_ALREADY))]
    if first:
        steps += [Step(write) for write in listings.customer_listed(customer, now, made=made)]
    opening = entry(manager, Kind.OPENING, card_subject(card.id), [], at=now, user_id=card.user_id)
    return post(claim, Done("开卡成功"), *steps, opening, on_shift(manager, now))
