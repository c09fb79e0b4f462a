"""Keys that an operator gives to partners: each opens his own tenant, until it expires or is revoked."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints
from pynamodb.attributes import UnicodeAttribute

from chatbot import times
from chatbot.api import AdminRequest, View
from kernel import audit, clock
from kernel.auth import PartnerKeyTable
from kernel.errors import Invalid, NotFound
from kernel.tables import Delete, Table, UtcTime, commit, create

KEYS_LIMIT = 20
_PREFIX = "cpk_"
_RANDOM_BYTES = 32
_ID_LENGTH = 16


class PartnerKeyNameTable(Table):
    """The keys of an operator by id, because the keys themselves are found by their digest only."""

    name: ClassVar[str] = "partner-key-names"
    tenant = UnicodeAttribute(hash_key=True)
    key_id = UnicodeAttribute(range_key=True)
    key_name = UnicodeAttribute()
    key_digest = UnicodeAttribute()
    expires_at = UtcTime(null=True)
    created_at = UtcTime(null=True)


class NewPartnerKey(AdminRequest):
    """A key to make; without `expiresInDays` it is good until it is revoked."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    expires_in_days: Annotated[int, Field(strict=True, ge=1, le=3650)] | None = None


class PartnerKeyId(AdminRequest):
    """A key by id."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class NewKeyView(View):
    """A key that was made; the key itself is shown here and never again."""

    id: str
    key: str = Field(repr=False)
    expires_at: str | None


class KeyView(View):
    """A key as it is listed; `tenants` are the operators for whom it is good."""

    id: str
    name: str
    created_at: str
    expires_at: str | None
    tenants: list[str]


class KeyList(View):
    """All keys of an operator; there are at most 20."""

    data: list[KeyView]


def make(request: NewPartnerKey) -> NewKeyView:
    """Make a key for the operator's own channels."""
    if len(_of_operator(request.admin_id)) >= KEYS_LIMIT:
        raise Invalid(f"An operator has at most {KEYS_LIMIT} partner keys; revoke one first")
    key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    days = request.expires_in_days
    row = PartnerKeyNameTable(
        tenant=request.admin_id,
        key_name=request.name,
        key_digest=PartnerKeyTable.digest(key),
        expires_at=None if days is None else clock.now() + timedelta(days=days),
    )
    row.key_id = row.key_digest[:_ID_LENGTH]
    opens = PartnerKeyTable(
        key_digest=row.key_digest, partner=row.key_name, tenants={row.tenant}, expires_at=row.expires_at
    )
    entry = audit.entry(f"partner key {row.key_id}", before=None, after=_state(row))
    commit(create(opens), create(row), entry)
    return NewKeyView(id=row.key_id, key=key, expires_at=_shown(row.expires_at))


def listed(request: AdminRequest) -> KeyList:
    """Return all keys of an operator, expired ones too, the oldest first."""
    rows = sorted(_of_operator(request.admin_id), key=lambda row: (row.created_at, row.key_id))
    return KeyList(
        data=[
            KeyView(
                id=row.key_id,
                name=row.key_name,
                created_at=times.shown(row.created_at),
                expires_at=_shown(row.expires_at),
                tenants=[row.tenant],
            )
            for row in rows
        ]
    )


def revoke(request: PartnerKeyId) -> None:
    """Make a key useless from now on."""
    row = PartnerKeyNameTable.find(request.admin_id, request.id)
    if row is None:
        raise NotFound("id is not a partner key of this operator")
    commit(
        Delete(PartnerKeyNameTable, row.own_key(), PartnerKeyNameTable.key_id.exists()),
        Delete(PartnerKeyTable, PartnerKeyTable.key(row.key_digest)),
        audit.entry(f"partner key {row.key_id}", before=_state(row), after=None),
    )


def _of_operator(admin_id: str) -> list[PartnerKeyNameTable]:
    return PartnerKeyNameTable.query(admin_id, consistent=True).rows


def _state(row: PartnerKeyNameTable) -> dict[str, Any]:
    return {"name": row.key_name, "digest": row.key_digest, "expires_at": _shown(row.expires_at)}


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else times.shown(moment)
