"""Membership cards as a merchant offers them: those that can be opened (3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from membership import catalogue, events, stores
from membership.api import PageRequest, View, Whole, id_list, iso_utc
from membership.events import ChoosableEvent
from membership.stores import ValidStore
from membership.tables import CouponTable, EventTable, ProductTable, StoreTable

if TYPE_CHECKING:
    from membership.api import Paged
    from membership.managers import Manager

WHOLE_LIST = 1


class ListOpenableCards(PageRequest):
    """Cards that can be opened; `type` 1 asks for all of them at once, anything else for a page."""

    type: Whole = WHOLE_LIST


class OpenableCard(View):
    """A card that can be opened, with its stores and events; `eventVos` says what `eventIds` never does."""

    id: int
    card_no: None = None
    title: str
    colour: str | None
    logo: str | None
    store_ids: str
    event_ids: None = None
    admin_id: int
    type: int
    created: str
    summary: str | None
    detail: str | None
    store_vos: list[ValidStore]
    event_vos: list[ChoosableEvent]


def openable(manager: Manager, request: ListOpenableCards) -> list[OpenableCard] | Paged[list[OpenableCard]]:
    """Return the cards that the account can open (M3.2)."""
    found = [
        product
        for product in catalogue.every(ProductTable, manager.merchant_id).values()
        if product.active == catalogue.ACTIVE and stores.seen_from(manager, product.store_ids)
    ]
    if request.type == WHOLE_LIST:
        return _views(manager, found)
    start = (request.number - 1) * request.size
    return request.page(_views(manager, found[start : start + request.size]), len(found))


def _views(manager: Manager, products: list[ProductTable]) -> list[OpenableCard]:
    merchant_id = manager.merchant_id
    places = catalogue.some(StoreTable, merchant_id, (place for product in products for place in product.store_ids))
    linked = catalogue.some(EventTable, merchant_id, (event for product in products for event in product.event_ids))
    coupons = catalogue.some(CouponTable, merchant_id, map(events.coupon_of, linked.values()))
    return [
        OpenableCard(
            id=product.id,
            title=product.title,
            colour=product.colour,
            logo=product.logo,
            store_ids=id_list(product.store_ids),
            admin_id=product.admin_id,
            type=product.type,
            created=iso_utc(product.created_at),
            summary=product.summary,
            detail=product.detail,
            store_vos=stores.valid_at(product.store_ids, places),
            event_vos=events.views(events.for_product(product, linked), coupons),
        )
        for product in products
    ]
