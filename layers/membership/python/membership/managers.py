"""Managers and their sessions: who sends a request, for which merchant and store, and what he may do."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from kernel import clock
from kernel.bodies import spread_fields
from kernel.errors import Denied, Unauthorized
from kernel.tables import Change, ConditionFailed, commit
from membership.tables import ManagerTable, SessionTable

if TYPE_CHECKING:
    from kernel.auth import Incoming

SESSION = timedelta(days=7)
# A session's last use is written down no more often than this.
_NOTED = timedelta(hours=1)
# So begin the managers' names in the user pool, which holds the back office's people too.
_IN_POOL = "manager-"
# What every account may do: look at itself and change its password.
OWN = frozenset({"manage/user/info", "manage/user/password"})


class Manager(NamedTuple):
    """The account that signed in; `store_id` is None for one of the whole merchant."""

    id: str
    manager_id: int
    merchant_id: int
    store_id: int | None
    repeat_key: str

    @property
    def tenant(self) -> str:
        """The merchant, as the audit trail keeps it."""
        return str(self.merchant_id)


def identify(incoming: Incoming) -> Manager:
    """Return the manager of the request's token; raises Unauthorized, or Denied when this path is not his."""
    token = _token(incoming)
    session = SessionTable.find(token_digest(token)) if token else None
    now = clock.now()
    if session is None or session.expires <= now:
        raise Unauthorized
    row = ManagerTable.find(session.manager_id)
    if row is None or row.active != 1 or row.generation != session.generation:
        raise Unauthorized
    if not allows(row.permissions, incoming.route.removeprefix("/web/")):
        raise Denied
    if now - session.used_at >= _NOTED:
        _prolong(session.token_digest)
    return Manager(
        str(row.id),
        row.id,
        row.merchant_id,
        row.store_id,
        incoming.headers.get("idempotency-key", "").strip(),
    )


def token_digest(token: str) -> str:
    """Return what is kept of a token; it is a long random text, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def allows(permissions: list[str], path: str) -> bool:
    """Tell whether permissions cover a path; the number after a colon is the right's own and says nothing here."""
    return path in OWN or path in {permission.partition(":")[0] for permission in permissions}


def pool_name(manager_id: int) -> str:
    """Return a manager's name in the user pool."""
    return f"{_IN_POOL}{manager_id}"


def named_in_pool(username: str) -> bool:
    """Tell whether a name of the user pool is, or looks like, a manager's."""
    return username.strip().casefold().startswith(_IN_POOL)


def cognito_password(digest: str) -> str:
    """Return a manager's password in the user pool, made of the MD5 digest that the contract sends for one."""
    # The pool asks for capitals, small letters, digits and signs, which the hexadecimal digits alone are not.
    return f"Lyq-1-{digest.lower()}"


def _token(incoming: Incoming) -> str:
    said = spread_fields(incoming, ("token",)).get("token") or incoming.headers.get("token")
    if said:
        return str(said)
    scheme, _, token = incoming.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _prolong(digest: str) -> None:
    now = clock.now()
    actions = [SessionTable.used_at.set(now), SessionTable.expires.set(now + SESSION)]
    try:
        commit(Change(SessionTable, SessionTable.key(digest), actions, SessionTable.token_digest.exists()))
    except ConditionFailed:
        # It was ended meanwhile.
        raise Unauthorized from None
