"""Stores as managers see them: their list (3.1), and where a card or a coupon is valid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.tables import fetch
from membership import catalogue
from membership.api import PageRequest, View, iso_utc
from membership.tables import MerchantTable, StoreTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from membership.api import Paged
    from membership.managers import Manager


class ListedStore(View):
    """A store in the list of those an account may see."""

    id: int
    merchant_id: int
    name: str
    address: str | None
    phone: str | None
    area: str | None
    linkman: str | None
    admin_id: int | None
    merchant_name: str
    password: None = None
    created: str
    updated: str | None


class ValidStore(View):
    """A store at which something is valid (storeVos)."""

    id: int
    name: str
    address: str | None
    area: str | None
    phone: str | None
    linkman: str | None


def listed(manager: Manager, request: PageRequest) -> Paged[list[ListedStore]]:
    """Return a page of the stores that the account may see: all of the merchant, or its own (M3.1-1)."""
    merchant, stores = _seen_by(manager)
    start = (request.number - 1) * request.size
    views = [_view(store, merchant) for store in stores[start : start + request.size]]
    return request.page(views, len(stores))


def _seen_by(manager: Manager) -> tuple[MerchantTable | None, list[StoreTable]]:
    if manager.store_id is None:
        merchant = MerchantTable.find(MerchantTable.KIND, manager.merchant_id)
        return merchant, list(catalogue.every(StoreTable, manager.merchant_id).values())
    merchant, store = fetch(
        (MerchantTable, MerchantTable.key(MerchantTable.KIND, manager.merchant_id)),
        (StoreTable, StoreTable.key(manager.merchant_id, manager.store_id)),
    )
    return merchant, [] if store is None else [store]


def _view(store: StoreTable, merchant: MerchantTable | None) -> ListedStore:
    return ListedStore(
        id=store.id,
        merchant_id=store.merchant_id,
        name=store.store_name,
        address=store.address,
        phone=store.phone,
        area=store.area,
        linkman=store.linkman,
        admin_id=store.admin_id,
        merchant_name="" if merchant is None else merchant.merchant_name,
        created=iso_utc(store.created_at),
        updated=iso_utc(store.updated_at) if store.updated_at else None,
    )


def named(store_ids: Iterable[int], stores: Mapping[int, StoreTable]) -> list[StoreTable]:
    """Return the stores that ids name, in the order of the ids."""
    return [stores[store_id] for store_id in store_ids if store_id in stores]


def valid_at(store_ids: Iterable[int], stores: Mapping[int, StoreTable]) -> list[ValidStore]:
    """Return the stores at which something is valid, every one in the order of its ids."""
    return [
        ValidStore(
            id=store.id,
            name=store.store_name,
            address=store.address,
            area=store.area,
            phone=store.phone,
            linkman=store.linkman,
        )
        for store in named(store_ids, stores)
    ]


def seen_from(manager: Manager, store_ids: list[int]) -> bool:
    """Tell whether what is valid at these stores concerns the account: its own store, or any of its merchant."""
    return bool(store_ids) if manager.store_id is None else manager.store_id in store_ids
