"""What has to happen at a time, kept so that a job finds what is due with a few queries, whatever the number.

Each kind has lanes; a lane is ordered by time. Whoever books writes the row in the transaction of what it belongs to.
The job hands each due entry over and removes it then; after a crash in between the same entry is handed over
again, so what it leads to must bear a repetition.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal

from chatbot.tables import DueTable
from kernel import clock
from kernel.tables import Delete, Item, Put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

Kind = Literal["broadcast", "menus", "reservation"]
# A lane takes 1000 writes a second.
LANES = {"broadcast": 2, "menus": 2, "reservation": 8}
_A_READ = 200


def book(kind: Kind, admin_id: str, account_id: str, at: datetime, name: str, what: dict[str, Any]) -> Put:
    """Return the write that books `name` (unique for kind, channel and time); `what` is handed over when it is due."""
    row = DueTable(
        lane=_lane(kind, admin_id, account_id, name),
        place=_place(admin_id, account_id, at, name),
        admin_id=admin_id,
        account_id=account_id,
        at=at,
        what=what,
    )
    return Put(row)


def cancel(kind: Kind, admin_id: str, account_id: str, at: datetime, name: str) -> Delete:
    """Return the write that takes a booking back; one that is not there is fine."""
    return Delete(DueTable, key(kind, admin_id, account_id, at, name))


def key(kind: Kind, admin_id: str, account_id: str, at: datetime, name: str) -> Item:
    """Return the key of a booking."""
    return DueTable.key(_lane(kind, admin_id, account_id, name), _place(admin_id, account_id, at, name))


def entries(kind: Kind) -> Iterator[DueTable]:
    """Yield what is due now, the oldest of each lane first; the caller removes what it handed over."""
    now = DueTable.at.serialize(clock.now())
    for lane in range(LANES[kind]):
        # '~' sorts behind whatever follows the time.
        condition = DueTable.place <= f"{now}~"
        for item in DueTable.every_item(f"{kind}#{lane}", condition, limit=_A_READ, consistent=True):
            yield DueTable.of_item(item)


def _lane(kind: Kind, admin_id: str, account_id: str, name: str) -> str:
    digest = hashlib.sha256(f"{admin_id}#{account_id}#{name}".encode()).digest()
    return f"{kind}#{digest[0] % LANES[kind]}"


def _place(admin_id: str, account_id: str, at: datetime, name: str) -> str:
    return f"{DueTable.at.serialize(at)}#{admin_id}#{account_id}#{name}"
