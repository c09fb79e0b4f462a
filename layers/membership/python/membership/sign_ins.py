"""Managers at the door: signing in, looking at oneself, choosing another password."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints

from kernel import clock, rates, sign_in
from kernel.errors import Denied, Unauthorized
from kernel.tables import Change, ConditionFailed, commit, create
from membership.api import Body, Digest, Done, ManagerRequest, View, Whole, iso_utc
from membership.faults import NoSuchUser, Refused, throttled
from membership.managers import SESSION, cognito_password, pool_name, token_digest
from membership.tables import ManagerNameTable, ManagerTable, SessionTable

if TYPE_CHECKING:
    from datetime import datetime

    from membership.managers import Manager

# What may fail from one address, whatever the name: a shop's tills share one.
ADDRESS_FAILURES = 30
ADDRESS_WINDOW = timedelta(minutes=15)
_FROM_ADDRESS = "sign-in-address"
_TOO_MANY = "尝试次数过多，请15分钟后再试"


class SignIn(Body):
    """A manager's name and the MD5 digest of his password."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    password: Digest = Field(repr=False)
    client: Annotated[Whole, Field(description="The kind of client, 1 so far; only kept with the session")]


class ChangePassword(ManagerRequest):
    """The MD5 digests of the present password and of the next."""

    old_password: Digest = Field(repr=False)
    new_password: Digest = Field(repr=False)


class ProfileView(View):
    """A manager's account as he sees it himself; `password` is never told."""

    id: int
    username: str
    password: str | None = None
    active: int
    avatar: str | None
    real_name: str | None
    phone: str | None
    id_number: str | None
    gender: int | None
    email: str | None
    qq: str | None
    wechat: str | None
    created: str | None
    updated: str | None
    create_admin_id: int | None
    update_admin_id: int | None
    create_ip: str | None
    login_count: int
    last_login_time: str | None
    last_login_ip: str | None


class ManagerView(View):
    """A manager's account and what he may see and do."""

    sys_admin: ProfileView
    menus: list[str]
    permissions: list[str]
    permission_list: None = None
    role_id: int | None


def start_session(request: SignIn, address: str) -> str:
    """Check a manager's password and return the token of a new session.

    Raises NoSuchUser, Refused for a wrong password, Denied for a closed account, Throttled after too many failures.
    """
    with throttled(_TOO_MANY):
        # Counted before anything is looked at, so that who guesses names learns nothing more once it is too much.
        rates.count(_FROM_ADDRESS, address, limit=ADDRESS_FAILURES, window=ADDRESS_WINDOW)
    name = ManagerNameTable.find(request.username)
    account = ManagerTable.find(name.manager_id) if name else None
    if account is None:
        raise NoSuchUser
    _check_password(account.id, request.password, "用户名或密码错误")
    rates.take_back(_FROM_ADDRESS, address)
    if account.active != 1:
        raise Denied
    return _new_session(account, request.client, address)


def profile(manager: Manager) -> ManagerView:
    """Return a manager's account; its last login is the one of his newest session (M2.1-3)."""
    account = _account(manager)
    return ManagerView(
        sys_admin=ProfileView(
            id=account.id,
            username=account.username,
            active=account.active,
            avatar=account.avatar,
            real_name=account.real_name,
            phone=account.phone,
            id_number=account.id_number,
            gender=account.gender,
            email=account.email,
            qq=account.qq,
            wechat=account.wechat,
            created=_time(account.created_at),
            updated=_time(account.updated_at),
            create_admin_id=account.create_admin_id,
            update_admin_id=account.update_admin_id,
            create_ip=account.create_ip,
            login_count=account.login_count,
            last_login_time=_time(account.last_login_time),
            last_login_ip=account.last_login_ip,
        ),
        menus=account.menus,
        permissions=account.permissions,
        role_id=account.role_id,
    )


def change_password(manager: Manager, request: ChangePassword) -> Done:
    """Give a manager another password and end all his sessions, this one too."""
    account = _account(manager)
    if request.new_password.lower() == request.old_password.lower():
        raise Refused("新密码不能与原密码相同")
    _check_password(account.id, request.old_password, "原密码错误")
    # Before, so that no session outlives the old password if what follows breaks off; after, for one that it opened
    # in between.
    _end_sessions(account.id)
    sign_in.set_password(pool_name(account.id), cognito_password(request.new_password))
    _end_sessions(account.id)
    return Done("成功")


def _check_password(manager_id: int, digest: str, otherwise: str) -> None:
    try:
        with throttled(_TOO_MANY):
            sign_in.sign_in(pool_name(manager_id), cognito_password(digest))
    except Unauthorized:
        raise Refused(otherwise) from None


def _new_session(account: ManagerTable, client: int, address: str) -> str:
    token, now = str(uuid.uuid4()), clock.now()
    session = SessionTable(
        token_digest=token_digest(token),
        manager_id=account.id,
        generation=account.generation,
        client=client,
        used_at=now,
        expires=now + SESSION,
    )
    noted = [
        ManagerTable.login_count.add(1),
        ManagerTable.last_login_time.set(now),
        ManagerTable.last_login_ip.set(address),
    ]
    # The password was another one's, or the account open, only until now.
    unchanged = (ManagerTable.generation == account.generation) & (ManagerTable.active == 1)
    try:
        commit(create(session), Change(ManagerTable, account.own_key(), noted, unchanged))
    except ConditionFailed:
        raise Refused("账号刚刚被修改，请重新登录") from None
    return token


def _end_sessions(manager_id: int) -> None:
    now = clock.now()
    actions = [
        ManagerTable.generation.add(1),
        # Whoever read the account before must not write the old generation back.
        ManagerTable.version.add(1),
        ManagerTable.updated_at.set(now),
        ManagerTable.update_admin_id.set(manager_id),
    ]
    commit(Change(ManagerTable, ManagerTable.key(manager_id), actions, ManagerTable.id.exists()))


def _account(manager: Manager) -> ManagerTable:
    account = ManagerTable.find(manager.manager_id)
    if account is None:
        raise Unauthorized
    return account


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else iso_utc(moment)
