"""Every value that the variables of a channel's users ever had."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import Field

from chatbot.api import ListRequest, ListView, View
from chatbot.tables import VariableHistoryTable
from chatbot.users import shown
from kernel import secrets
from kernel.tables import Put

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from kernel.tables import Item

VALUES_A_PAGE = 1000
# Each is a call of KMS.
_SEALED_A_PAGE = 200


class ValueView(View):
    """A value and when it was stored."""

    value: str
    create_time: str = Field(alias="create_time")


class UserHistory(View):
    """The values of a user by variable, the oldest first."""

    userid: str
    variable: dict[str, list[ValueView]]


class HistoryView(ListView):
    """A page of users; one with more values than a page holds goes on at the beginning of the next."""

    data: list[UserHistory]


def rows(
    partition: str, user_id: str, changes: Iterable[tuple[str, Any]], at: datetime, event_id: str = ""
) -> list[Put]:
    """Return the writes that add the values that an event gave to variables, in their order.

    A value is a text, or {"sealed": …}. A repeated event writes the same rows again; `event_id` keeps two events of
    one millisecond apart.
    """
    time = VariableHistoryTable.created_at.serialize(at)
    mark = hashlib.sha256(event_id.encode()).hexdigest()[:8] if event_id else ""
    return [
        Put(
            VariableHistoryTable(
                account=partition,
                place=f"{user_id}#{time}#{mark}{number:04}",
                user_id=user_id,
                variable=name,
                value=value,
                created_at=at,
            )
        )
        for number, (name, value) in enumerate(changes)
    ]


def page(request: ListRequest) -> HistoryView:
    """Return a page of at most 1000 values, 200 of them kept encrypted, in clear; whole users unless one has more."""
    partition = request.partition
    found, last_key = VariableHistoryTable.query_items(
        partition, limit=VALUES_A_PAGE + 1, after=request.start("variable-history")
    )
    kept = _whole_users(found, more=last_key is not None)
    key = None
    if len(kept) < len(found) or last_key is not None:
        key = VariableHistoryTable.key(partition, kept[-1]["place"]["S"])
    users: dict[str, UserHistory] = {}
    for item in kept:
        user_id, name = item["user_id"]["S"], item["variable"]["S"]
        value = plain_value(request.admin_id, request.account_id, user_id, name, json.loads(item["value"]["S"]))
        user = users.setdefault(user_id, UserHistory(userid=user_id, variable={}))
        view = ValueView(value=value, create_time=shown(item["created_at"]["S"]))
        user.variable.setdefault(name, []).append(view)
    return HistoryView(data=list(users.values()), last_evaluated_key=request.next_key("variable-history", key))


def _whole_users(found: list[Item], *, more: bool) -> list[Item]:
    """Return the rows of a page without those of a last user who may have more, unless there is nobody else."""
    kept = found[: _fitting(found)]
    if not kept or (len(kept) == len(found) and not more):
        return kept
    last = kept[-1]["user_id"]["S"]
    if len(kept) < len(found) and found[len(kept)]["user_id"]["S"] != last:
        return kept
    before = [item for item in kept if item["user_id"]["S"] != last]
    return before or kept


def _fitting(found: list[Item]) -> int:
    """Return how many of the rows a page holds."""
    sealed = 0
    for place, item in enumerate(found[:VALUES_A_PAGE]):
        sealed += "sealed" in value if isinstance(value := json.loads(item["value"]["S"]), dict) else 0
        if sealed > _SEALED_A_PAGE:
            return place
    return VALUES_A_PAGE


def plain_value(admin_id: str, account_id: str, user_id: str, name: str, value: Any) -> str:
    """Return a stored value as text; a sealed one is decrypted, which asks KMS once a value and function."""
    if isinstance(value, dict) and "sealed" in value:
        context = {"adminId": admin_id, "accountId": account_id, "userId": user_id, "variable": name}
        return secrets.decrypt(value["sealed"], context).reveal()
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
