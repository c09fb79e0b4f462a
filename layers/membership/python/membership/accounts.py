"""Managers' accounts as the back office keeps them: who may sign in at the tills, and what each may do there.

An account is two things: a row here and a user in the pool, under the account's number. The row comes first and takes
the user name; until the user is there it is `pending`, and whoever repeats the request goes on where it broke off.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from kernel import sign_in
from kernel.catalogues import Catalogue
from kernel.errors import Conflict, Flaw, Invalid
from kernel.sign_in import UserExists
from kernel.tables import Change, commit, create
from membership import managers, merchants
from membership.api import Digest, Id, Phone, Whole, iso_utc
from membership.back_office import (
    MOST,
    Fields,
    Line,
    NewState,
    Patch,
    Record,
    flag_of,
    masked,
    stamps,
    unchanged,
)
from membership.catalogue import ACTIVE
from membership.tables import ManagerNameTable, ManagerTable, MerchantTable, StoreTable

if TYPE_CHECKING:
    from kernel.catalogues import Listing

ACCOUNTS = Catalogue(ManagerTable, "account", most=MOST, index=type(ManagerTable.by_merchant))
PENDING = 2
# What an account that stands at a till may do there, what else one may that answers for a store, and the rest.
_TILL = (
    "manage/v3/userCard/add",
    "manage/v3/userCard/charge",
    "manage/v3/userCard/expense",
    "manage/v3/coupon/use",
)
_LOOKING = (
    "manage/v3/store/list",
    "manage/v3/card/store_card",
    "manage/v3/cardEvent/all_event",
    "manage/v3/cardEvent/detail",
    "manage/v3/turnover/record_list",
    "manage/v3/turnover/expense_list",
    "manage/v3/userCard/user_card",
    "manage/v3/userCard/user_card_detail",
    "manage/v3/card/card_detail",
    "manage/v3/invoice/list",
    "manage/v3/coupon/xcx_list",
    "manage/tool/scan",
)
_ANSWERING = (
    "manage/ask/code",
    "manage/v3/turnover/refund",
    "manage/v3/turnover/refund_charge",
    "manage/v3/turnover/refund_list",
    "manage/v3/userCard/card_status",
    "manage/v3/coupon/forUser",
    "manage/v3/invoice/add",
    "manage/v3/invoice/all_list",
    "manage/v3/closing/list",
)
_CLOSING = "manage/v3/closing/add"
RIGHTS = (*_TILL, *_LOOKING, *_ANSWERING, _CLOSING)
# The account of a whole merchant stands at no till.
ROLES = {"cashier": (*_TILL, *_LOOKING, _CLOSING), "store": RIGHTS, "merchant": (*_LOOKING, *_ANSWERING)}

Role = Literal["cashier", "store", "merchant"]
Username = Annotated[str, StringConstraints(pattern=r"^[^\s\x00-\x1f\x7f]{1,64}$")]
Plain = Annotated[str, StringConstraints(min_length=6, max_length=100)]


def _whole(right: str) -> str:
    # It would look like less than the whole path, which is what it opens.
    if right.partition(":")[0] in RIGHTS and right not in RIGHTS:
        raise ValueError("takes no number: the right is for the whole path")
    return right


# A path of the contract; the number after a colon is the right's own.
Right = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*(:[0-9]{1,16})?$", max_length=200),
    AfterValidator(_whole),
]
Rights = Annotated[list[Right], Field(max_length=MOST)]
Menus = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=100)]], Field(max_length=MOST)]
Gender = Annotated[Whole, Field(ge=1, le=3)]


class Password(Fields):
    """A password, in plain text or as the MD5 digest that managers' clients send for it."""

    password: Plain | None = Field(default=None, repr=False)
    digest: Digest | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _one(self) -> Password:
        if (self.password is None) == (self.digest is None):
            raise ValueError("needs either password or digest")
        return self

    def md5(self) -> str:
        """Return the digest."""
        if self.digest is not None:
            return self.digest
        return hashlib.md5((self.password or "").encode(), usedforsecurity=False).hexdigest()


class AccountChange(Patch):
    """An account's new data; `role` stands for the rights that such an account usually has."""

    role: Role = unchanged()
    permissions: Rights = unchanged()
    menus: Menus = unchanged()
    real_name: Line | None = None
    phone: Phone | None = None
    id_number: Line | None = None
    gender: Gender | None = None
    email: Line | None = None
    qq: Line | None = None
    wechat: Line | None = None
    avatar: Line | None = None
    role_id: Id | None = None

    @model_validator(mode="after")
    def _rights_once(self) -> AccountChange:
        if {"role", "permissions"} <= self.model_fields_set:
            raise ValueError("takes either role or permissions")
        return self

    def attributes(self) -> dict[str, Any]:
        """Return what is named, with the rights that a role stands for."""
        named = self.model_dump(exclude_unset=True, include=set(AccountChange.model_fields) - {"version", "role"})
        return named | ({"permissions": list(ROLES[self.role])} if "role" in self.model_fields_set else {})


class NewAccount(AccountChange, Password):
    """An account to be made, for one store or, without `storeId`, for the whole merchant."""

    username: Username
    store_id: Id | None = None

    @model_validator(mode="after")
    def _has_rights(self) -> NewAccount:
        if not {"role", "permissions"} & self.model_fields_set:
            raise ValueError("needs either role or permissions")
        # Who forgets the store would let a cashier see the whole merchant.
        if self.role is not None and (self.role == "merchant") != (self.store_id is None):
            raise ValueError("needs a storeId with the roles cashier and store, and none with merchant")
        return self


class AccountView(Record):
    """An account; lists show the last digits of personal data only."""

    username: str
    store_id: int | None
    state: Literal["active", "disabled", "pending"]
    permissions: list[str]
    menus: list[str]
    real_name: str | None
    phone: str | None
    id_number: str | None
    gender: int | None
    email: str | None
    qq: str | None
    wechat: str | None
    avatar: str | None
    role_id: int | None
    login_count: int
    last_login_time: str | None


def listed(merchant_id: int, limit: int, cursor: str) -> Listing[AccountView]:
    """Return some of a merchant's accounts."""
    return ACCOUNTS.page(merchant_id, limit, cursor).listing(_masked)


def account(merchant_id: int, manager_id: int) -> AccountView:
    """Return an account with everything that is known of its owner."""
    return _view(_found(merchant_id, manager_id))


def add(merchant_id: int, new: NewAccount) -> AccountView:
    """Make an account; the first of a store operates it, the first of a merchant owns what it offers."""
    row = _begun(merchant_id, new) or _new(merchant_id, new)
    _enroll(row, new.md5())
    return _view(_opened(row))


def change(merchant_id: int, manager_id: int, new: AccountChange) -> AccountView:
    """Change an account; other rights end its sessions."""
    row = _found(merchant_id, manager_id)
    named = new.attributes()
    if "permissions" in named and named["permissions"] != row.permissions:
        named["generation"] = row.generation + 1
    return _view(ACCOUNTS.change(row, named, version=new.version))


def set_state(merchant_id: int, manager_id: int, new: NewState) -> AccountView:
    """Open or close an account; closing ends its sessions."""
    row = _found(merchant_id, manager_id)
    if row.active == PENDING:
        raise Conflict("The account has no password yet; set one, which opens it")
    flag = flag_of(new.state)
    if flag == row.active:
        return _view(row)
    return _view(ACCOUNTS.change(row, {"active": flag, "generation": row.generation + 1}))


def set_password(merchant_id: int, manager_id: int, new: Password) -> AccountView:
    """Give an account another password, which ends its sessions."""
    row = _found(merchant_id, manager_id)
    # Its sessions end before, so that none outlives the old password if what follows breaks off; and after, for one
    # that the old password opened in between.
    ACCOUNTS.change(row, {"generation": row.generation + 1})
    _enroll(row, new.md5())
    # Wrong tries of the old one count no longer.
    sign_in.forget_failures(managers.pool_name(row.id))
    return _view(_opened(row))


def _found(merchant_id: int, manager_id: int) -> ManagerTable:
    row = ManagerTable.find(manager_id)
    if row is None or row.merchant_id != merchant_id:
        raise ACCOUNTS.missing()
    return row


def _begun(merchant_id: int, new: NewAccount) -> ManagerTable | None:
    """Return the row that the same request left when it broke off, None when the user name is free."""
    name = ManagerNameTable.find(new.username)
    if name is None:
        return None
    row = ManagerTable.find(name.manager_id)
    same = row is not None and (row.merchant_id, row.store_id) == (merchant_id, new.store_id)
    if row is None or row.active != PENDING or not same:
        raise Conflict("The user name is taken")
    return ACCOUNTS.change(row, new.attributes())


def _new(merchant_id: int, new: NewAccount) -> ManagerTable:
    merchant = merchants.MERCHANTS.get(MerchantTable.KIND, merchant_id)
    row = ManagerTable(
        id=ACCOUNTS.next_number(),
        merchant_id=merchant_id,
        store_id=new.store_id,
        username=new.username,
        active=PENDING,
        **new.attributes(),
    )
    also: list[Any] = [create(ManagerNameTable(username=new.username, manager_id=row.id))]
    if new.store_id is None:
        if merchant.admin_id is None:
            unowned = MerchantTable.admin_id.does_not_exist()
            also.append(Change(MerchantTable, merchant.own_key(), [MerchantTable.admin_id.set(row.id)], unowned))
    else:
        store = StoreTable.find(merchant_id, new.store_id)
        if store is None:
            raise Invalid([Flaw("storeId", "names no store of the merchant")])
        if store.admin_id is None:
            unowned = StoreTable.admin_id.does_not_exist()
            also.append(Change(StoreTable, store.own_key(), [StoreTable.admin_id.set(row.id)], unowned))
    ACCOUNTS.add(merchant_id, row, *also)
    return row


def _enroll(row: ManagerTable, digest: str) -> None:
    """Make the user in the pool, or give the one that is there the password; the name is this account's alone."""
    name, password = managers.pool_name(row.id), managers.cognito_password(digest)
    try:
        sign_in.add_user(name, password)
    except UserExists:
        sign_in.set_password(name, password)


def _opened(row: ManagerTable) -> ManagerTable:
    """Open an account that has a password now, and end what sessions it has."""
    actions: list[Any] = [ManagerTable.generation.add(1)]
    if row.active == PENDING:
        actions.append(ManagerTable.active.set(ACTIVE))
    commit(Change(ManagerTable, row.own_key(), actions))
    row.generation += 1
    row.active = ACTIVE if row.active == PENDING else row.active
    return row


def _view(row: ManagerTable) -> AccountView:
    states: dict[int, Any] = {ACTIVE: "active", PENDING: "pending"}
    return AccountView(
        **stamps(row),
        username=row.username,
        store_id=row.store_id,
        state=states.get(row.active, "disabled"),
        permissions=row.permissions,
        menus=row.menus,
        real_name=row.real_name,
        phone=row.phone,
        id_number=row.id_number,
        gender=row.gender,
        email=row.email,
        qq=row.qq,
        wechat=row.wechat,
        avatar=row.avatar,
        role_id=row.role_id,
        login_count=row.login_count,
        last_login_time=None if row.last_login_time is None else iso_utc(row.last_login_time),
    )


def _masked(row: ManagerTable) -> AccountView:
    view = _view(row)
    view.phone, view.id_number = masked(view.phone, 3), masked(view.id_number)
    return view
