"""What a merchant offers, as the back office keeps it: membership cards, recharge events and coupons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from kernel.catalogues import Catalogue
from kernel.errors import Flaw, Invalid
from membership import catalogue, merchants
from membership import events as recharge_events
from membership.api import Id, Whole, id_list, local
from membership.back_office import (
    MOST,
    Ids,
    Line,
    Moment,
    Name,
    NewState,
    Patch,
    Prose,
    Record,
    StateName,
    flag_of,
    stamps,
    state_of,
    unchanged,
)
from membership.coupons import MOST_PIECES
from membership.money import Amount, Money, PositiveAmount
from membership.tables import CouponTable, EventTable, ProductTable, StoreTable

if TYPE_CHECKING:
    from collections.abc import Container

    from kernel.catalogues import Listing

PRODUCTS = Catalogue(ProductTable, "card", most=MOST)
EVENTS = Catalogue(EventTable, "event", most=MOST)
COUPONS = Catalogue(CouponTable, "coupon", most=MOST)

Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")]
Detail = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
StoreIds = Annotated[list[Id], Field(min_length=1, max_length=MOST)]
Pieces = Annotated[Whole, Field(ge=1, le=MOST_PIECES)]
Stock = Annotated[Whole, Field(ge=0, le=10**9)]


class ProductChange(Patch):
    """A card's new data; its kind stays, because customers hold cards of it."""

    title: Name = unchanged()
    colour: Colour | None = None
    logo: Line | None = None
    store_ids: StoreIds = unchanged()
    event_ids: Ids = unchanged()
    summary: Prose | None = None
    detail: Detail | None = None


class NewProduct(ProductChange):
    """A card to be offered: 1 the platform's, 10 with stored value, 11 an activity card."""

    title: Name
    type: Literal[1, 10, 11]
    store_ids: StoreIds
    event_ids: Ids = Field(default_factory=list)


class ProductView(Record):
    """A card as it is offered."""

    title: str
    colour: str | None
    logo: str | None
    store_ids: list[int]
    event_ids: list[int]
    admin_id: int
    type: int
    summary: str | None
    detail: str | None
    state: StateName


class EventChange(Patch):
    """An event's new data; by its type it gives 1 money, 2 coupons, 5 both: pieces (`quantity`) of `targetId`."""

    title: Name = unchanged()
    summary: Prose | None = None
    recharge: PositiveAmount = unchanged("rechargeMoney")
    gift: Amount = unchanged("sendMoney")
    target_id: Id | None = None
    quantity: Pieces | None = None
    type: Literal[1, 2, 5] = unchanged()
    status: Literal[1, 10] = unchanged()


class NewEvent(EventChange):
    """An event to be offered, with status 1 on all cards and with status 10 on activity cards only."""

    title: Name
    recharge: PositiveAmount = Field(alias="rechargeMoney")
    gift: Amount = Field(alias="sendMoney", default=0)
    type: Literal[1, 2, 5]
    status: Literal[1, 10] = 1


class EventView(Record):
    """A recharge event."""

    title: str
    summary: str | None
    recharge_money: Money
    send_money: Money
    target_id: int | None
    quantity: int | None
    admin_id: int
    type: int
    status: int


class CouponChange(Patch):
    """A coupon's new data; `stock` is how many pieces may be given in all, `perPerson` how many one may redeem."""

    title: Name = unchanged()
    summary: Prose | None = None
    logo: Line | None = None
    store_ids: StoreIds = unchanged()
    date: Moment | None = None
    stock: Stock | None = None
    per_person: Pieces | None = None


class NewCoupon(CouponChange):
    """A coupon to be offered, valid until `date`."""

    title: Name
    store_ids: StoreIds


class CouponView(Record):
    """A coupon."""

    title: str
    summary: str | None
    logo: str | None
    store_ids: list[int]
    admin_id: int
    type: int
    state: StateName
    date: str | None
    stock: int | None
    given: int
    per_person: int | None


def products(merchant_id: int, limit: int, cursor: str) -> Listing[ProductView]:
    """Return some of a merchant's cards."""
    return PRODUCTS.page(merchant_id, limit, cursor).listing(_product)


def product(merchant_id: int, product_id: int) -> ProductView:
    """Return a card."""
    return _product(PRODUCTS.get(merchant_id, product_id))


def add_product(merchant_id: int, new: NewProduct) -> ProductView:
    """Offer a card."""
    admin_id = merchants.owner_of(merchant_id)
    _check_places(merchant_id, new)
    row = ProductTable(merchant_id=merchant_id, id=PRODUCTS.next_number(), admin_id=admin_id, **_attributes(new))
    PRODUCTS.add(merchant_id, row)
    return _product(row)


def change_product(merchant_id: int, product_id: int, change: ProductChange) -> ProductView:
    """Change a card."""
    row = PRODUCTS.get(merchant_id, product_id)
    _check_places(merchant_id, change)
    return _product(PRODUCTS.change(row, change.named(), version=change.version))


def set_product_state(merchant_id: int, product_id: int, new: NewState) -> ProductView:
    """Offer a card or do so no longer; those that customers hold stay good."""
    row = PRODUCTS.get(merchant_id, product_id)
    return _product(PRODUCTS.change(row, {"active": flag_of(new.state)}))


def events(merchant_id: int, limit: int, cursor: str) -> Listing[EventView]:
    """Return some of a merchant's recharge events."""
    return EVENTS.page(merchant_id, limit, cursor).listing(_event)


def event(merchant_id: int, event_id: int) -> EventView:
    """Return a recharge event."""
    return _event(EVENTS.get(merchant_id, event_id))


def add_event(merchant_id: int, new: NewEvent) -> EventView:
    """Offer a recharge event, which may be chosen as soon as it stands on a card."""
    admin_id = merchants.owner_of(merchant_id)
    _check_event(merchant_id, new.type, new.gift, new.target_id, new.quantity)
    row = EventTable(merchant_id=merchant_id, id=EVENTS.next_number(), admin_id=admin_id, **_attributes(new))
    EVENTS.add(merchant_id, row)
    return _event(row)


def change_event(merchant_id: int, event_id: int, change: EventChange) -> EventView:
    """Change a recharge event; what was recharged under it before stays as it was."""
    row = EVENTS.get(merchant_id, event_id)
    named = change.named()
    kind, gift, target_id, quantity = (
        named.get(name, getattr(row, name)) for name in ("type", "gift", "target_id", "quantity")
    )
    _check_event(merchant_id, kind, gift, target_id, quantity)
    return _event(EVENTS.change(row, named, version=change.version))


def _check_event(merchant_id: int, kind: int, gift: int, target_id: int | None, quantity: int | None) -> None:
    """Refuse an event that gives something else than its kind says (contract, enums; M3.10-2)."""
    gives_money, gives_coupons = kind != recharge_events.COUPONS, kind != recharge_events.GIFT
    flaws = []
    if gives_money != (gift > 0):
        flaws.append(Flaw("sendMoney", f"must be {'more than 0' if gives_money else '0'} for type {kind}"))
    for field, value in (("targetId", target_id), ("quantity", quantity)):
        if gives_coupons != (value is not None):
            flaws.append(Flaw(field, f"{'is required' if gives_coupons else 'must be left out'} for type {kind}"))
    if flaws:
        raise Invalid(flaws)
    if target_id is not None:
        _refuse_strangers("targetId", [target_id], catalogue.some(CouponTable, merchant_id, [target_id]))


def coupons(merchant_id: int, limit: int, cursor: str) -> Listing[CouponView]:
    """Return some of a merchant's coupons."""
    return COUPONS.page(merchant_id, limit, cursor).listing(_coupon)


def coupon(merchant_id: int, coupon_id: int) -> CouponView:
    """Return a coupon."""
    return _coupon(COUPONS.get(merchant_id, coupon_id))


def add_coupon(merchant_id: int, new: NewCoupon) -> CouponView:
    """Offer a coupon."""
    admin_id = merchants.owner_of(merchant_id)
    _check_places(merchant_id, new)
    row = CouponTable(merchant_id=merchant_id, id=COUPONS.next_number(), admin_id=admin_id, **_attributes(new))
    COUPONS.add(merchant_id, row)
    return _coupon(row)


def change_coupon(merchant_id: int, coupon_id: int, change: CouponChange) -> CouponView:
    """Change a coupon, also for the pieces that customers hold."""
    row = COUPONS.get(merchant_id, coupon_id)
    _check_places(merchant_id, change)
    return _coupon(COUPONS.change(row, change.named(), version=change.version))


def set_coupon_state(merchant_id: int, coupon_id: int, new: NewState) -> CouponView:
    """Offer a coupon or do so no longer."""
    row = COUPONS.get(merchant_id, coupon_id)
    return _coupon(COUPONS.change(row, {"status": flag_of(new.state)}))


def _attributes(new: Patch) -> dict[str, Any]:
    return new.model_dump(exclude={"version"})


def _check_places(merchant_id: int, said: ProductChange | CouponChange) -> None:
    if said.store_ids:
        _refuse_strangers("storeIds", said.store_ids, catalogue.some(StoreTable, merchant_id, said.store_ids))
    if isinstance(said, ProductChange) and said.event_ids:
        _refuse_strangers("eventIds", said.event_ids, catalogue.some(EventTable, merchant_id, said.event_ids))


def _refuse_strangers(field: str, wanted: list[int], known: Container[int]) -> None:
    """Refuse ids that name nothing of the merchant."""
    if strangers := [number for number in wanted if number not in known]:
        raise Invalid([Flaw(field, f"names what the merchant has not: {id_list(strangers)}")])


def _product(row: ProductTable) -> ProductView:
    return ProductView(
        **stamps(row),
        title=row.title,
        colour=row.colour,
        logo=row.logo,
        store_ids=row.store_ids,
        event_ids=row.event_ids,
        admin_id=row.admin_id,
        type=row.type,
        summary=row.summary,
        detail=row.detail,
        state=state_of(row.active),
    )


def _event(row: EventTable) -> EventView:
    return EventView(
        **stamps(row),
        title=row.title,
        summary=row.summary,
        recharge_money=row.recharge,
        send_money=row.gift,
        target_id=row.target_id,
        quantity=row.quantity,
        admin_id=row.admin_id,
        type=row.type,
        status=row.status,
    )


def _coupon(row: CouponTable) -> CouponView:
    return CouponView(
        **stamps(row),
        title=row.title,
        summary=row.summary,
        logo=row.logo,
        store_ids=row.store_ids,
        admin_id=row.admin_id,
        type=row.type,
        state=state_of(row.status),
        date=None if row.date is None else local(row.date),
        stock=row.stock,
        given=row.given,
        per_person=row.per_person,
    )
