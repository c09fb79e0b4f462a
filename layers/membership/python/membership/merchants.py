"""Merchants and their stores as the back office keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kernel.auth import EVERY
from kernel.catalogues import Catalogue, Found, Listing
from kernel.errors import Conflict, Denied, Flaw, Invalid
from kernel.tables import rows_of
from membership import back_office
from membership.api import Id
from membership.back_office import MOST, Fields, Line, Name, Patch, Record, StateName, unchanged
from membership.tables import ManagerTable, MerchantTable, StoreTable

if TYPE_CHECKING:
    from kernel.auth import Caller

MERCHANTS = Catalogue(MerchantTable, "merchant")
STORES = Catalogue(StoreTable, "store", most=MOST)


class MerchantChange(Patch):
    """A merchant's new data; `adminId` is the account that owns its cards, events and coupons."""

    merchant_name: Name = unchanged("name")
    admin_id: Id = unchanged()
    signed_codes_only: bool = unchanged()


class NewMerchant(Fields):
    """A merchant to be made; with `signedCodesOnly` no QR code is taken that is not signed."""

    merchant_name: Name = Field(alias="name")
    signed_codes_only: bool = False


class MerchantView(Record):
    """A merchant."""

    name: str
    admin_id: int | None
    signed_codes_only: bool


class NewStore(Fields):
    """A store to be made; the first account that is made for it operates it."""

    store_name: Name = Field(alias="name")
    address: Line | None = None
    phone: Line | None = None
    area: Line | None = None
    linkman: Line | None = None


class StoreChange(Patch):
    """A store's new data; `adminId` is the account that operates it."""

    store_name: Name = unchanged("name")
    address: Line | None = None
    phone: Line | None = None
    area: Line | None = None
    linkman: Line | None = None
    admin_id: Id = unchanged()


class StoreView(Record):
    """A store."""

    name: str
    address: str | None
    phone: str | None
    area: str | None
    linkman: str | None
    admin_id: int | None
    state: StateName


def merchants_of(caller: Caller, limit: int, cursor: str) -> Listing[MerchantView]:
    """Return the merchants that the caller works for, all of them for the platform's people."""
    if caller.may(EVERY):
        return MERCHANTS.page(MerchantTable.KIND, limit, cursor).listing(_merchant)
    # A person is in a hundred groups at most, so his merchants are always one page.
    ids = [int(tenant) for tenant in caller.tenants if tenant.isascii() and tenant.isdecimal()]
    items = rows_of(MerchantTable, [MerchantTable.key(MerchantTable.KIND, merchant_id) for merchant_id in ids])
    rows = sorted(map(MerchantTable.of_item, items), key=lambda row: row.id)
    return Found(rows, None).listing(_merchant)


def add_merchant(caller: Caller, new: NewMerchant) -> MerchantView:
    """Make a merchant; only the platform's people may."""
    if not caller.may(EVERY):
        raise Denied
    row = MerchantTable(id=MERCHANTS.next_number(), **new.model_dump())
    MERCHANTS.add(MerchantTable.KIND, row, tenant=str(row.id))
    return _merchant(row)


def merchant(merchant_id: int) -> MerchantView:
    """Return a merchant."""
    return _merchant(MERCHANTS.get(MerchantTable.KIND, merchant_id))


def change_merchant(merchant_id: int, change: MerchantChange) -> MerchantView:
    """Change a merchant."""
    row = MERCHANTS.get(MerchantTable.KIND, merchant_id)
    if change.admin_id is not None:
        _check_account(merchant_id, change.admin_id, None)
    return _merchant(MERCHANTS.change(row, change.named(), version=change.version))


def owner_of(merchant_id: int) -> int:
    """Return the account that owns what a merchant offers; without one there is nothing to offer yet."""
    row = MERCHANTS.get(MerchantTable.KIND, merchant_id)
    if row.admin_id is None:
        raise Conflict("The merchant has no account of its own yet; make one without storeId first")
    return row.admin_id


def stores(merchant_id: int, limit: int, cursor: str) -> Listing[StoreView]:
    """Return some of a merchant's stores."""
    return STORES.page(merchant_id, limit, cursor).listing(_store)


def add_store(merchant_id: int, new: NewStore) -> StoreView:
    """Make a store."""
    MERCHANTS.get(MerchantTable.KIND, merchant_id)
    row = StoreTable(merchant_id=merchant_id, id=STORES.next_number(), **new.model_dump())
    STORES.add(merchant_id, row)
    return _store(row)


def store(merchant_id: int, store_id: int) -> StoreView:
    """Return a store."""
    return _store(STORES.get(merchant_id, store_id))


def change_store(merchant_id: int, store_id: int, change: StoreChange) -> StoreView:
    """Change a store."""
    row = STORES.get(merchant_id, store_id)
    if change.admin_id is not None:
        _check_account(merchant_id, change.admin_id, store_id)
    return _store(STORES.change(row, change.named(), version=change.version))


def set_store_state(merchant_id: int, store_id: int, new: back_office.NewState) -> StoreView:
    """Open or close a store; at a closed one no money moves."""
    row = STORES.get(merchant_id, store_id)
    return _store(STORES.change(row, {"active": back_office.flag_of(new.state)}))


def _check_account(merchant_id: int, manager_id: int, store_id: int | None) -> None:
    """Refuse an `adminId` that is no account of this store, or of the whole merchant."""
    account = ManagerTable.find(manager_id)
    if account is None or account.merchant_id != merchant_id or account.store_id != store_id:
        where = "the whole merchant" if store_id is None else "this store"
        raise Invalid([Flaw("adminId", f"is no account of {where}")])


def _merchant(row: MerchantTable) -> MerchantView:
    return MerchantView(
        **back_office.stamps(row),
        name=row.merchant_name,
        admin_id=row.admin_id,
        signed_codes_only=row.signed_codes_only,
    )


def _store(row: StoreTable) -> StoreView:
    return StoreView(
        **back_office.stamps(row),
        name=row.store_name,
        address=row.address,
        phone=row.phone,
        area=row.area,
        linkman=row.linkman,
        admin_id=row.admin_id,
        state=back_office.state_of(row.active),
    )
