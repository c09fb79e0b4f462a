"""The audit trail: who changed what, and the digests of before and after."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar

from pynamodb.attributes import UnicodeAttribute

from kernel import clock, ids
from kernel.running import current
from kernel.tables import Put, Table, UtcTime, create


class AuditTable(Table):
    """One row a change; rows are only ever added."""

    name: ClassVar[str] = "audit"
    tenant = UnicodeAttribute(hash_key=True)
    entry_id = UnicodeAttribute(range_key=True)
    actor = UnicodeAttribute()
    operation = UnicodeAttribute()
    subject = UnicodeAttribute()
    before = UnicodeAttribute(null=True)
    after = UnicodeAttribute(null=True)
    created_at = UtcTime()


def digest(state: Any) -> str | None:
    """Return the SHA-256 of a JSON state, None for none: shows that something changed without showing what."""
    if state is None:
        return None
    text = json.dumps(state, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def entry(subject: str, *, before: Any, after: Any, tenant: str = "", actor: str = "") -> Put:
    """Return the write that records a change of `subject` by the running operation; commit it with the change.

    A worker has no caller, so it says whose the change is (`tenant`) and who asked for it (`actor`).
    """
    running = current()
    moment = clock.now()
    row = AuditTable(
        tenant=tenant or running.tenant,
        entry_id=ids.ordered_id(moment),
        actor=actor or running.actor,
        operation=running.operation,
        subject=subject,
        before=digest(before),
        after=digest(after),
    )
    return create(row)
