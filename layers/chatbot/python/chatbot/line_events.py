"""LINE's webhook: whose it is, and its events on their way to the worker, in order for each user."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel

from chatbot.accounts import credentials
from chatbot.tables import AccountTable, account_key
from kernel.auth import Incoming
from kernel.channels.line.client import signed_by
from kernel.errors import Unauthorized
from kernel.queues import Message, Queue

LINE_EVENTS = Queue("line-events")


class LineWebhook(BaseModel):
    """What LINE posts; events may be empty (connection check), and new kinds arrive without notice."""

    destination: str = ""
    events: list[Any]


class LineEvent(BaseModel):
    """One event of a channel on the queue."""

    admin_id: str
    account_id: str
    event: dict[str, Any]


def signing_account(incoming: Incoming) -> AccountTable:
    """Return the LINE channel that the query names and whose secret signed the body."""
    admin_id, account_id = incoming.query.get("adminid", ""), incoming.query.get("accountid", "")
    given = incoming.headers.get("x-line-signature", "")
    if not 0 < len(admin_id) <= 128 or not 0 < len(account_id) <= 64 or not given:
        raise Unauthorized
    account = AccountTable.find(admin_id, account_id)
    if account is None or account.account_type != "line":
        raise Unauthorized
    secret = credentials(account)["accountSecret"]
    # A channel may be saved without secret, but nobody can prove anything with an empty one.
    if not secret.reveal() or not signed_by(secret, incoming.body, given):
        raise Unauthorized
    return account


def enqueue(account: AccountTable, webhook: LineWebhook) -> None:
    """Put every event on the queue: in order for each user, a redelivery of the last minutes only once."""
    partition = account_key(account.admin_id, account.account_id)
    LINE_EVENTS.send(
        Message(
            body={"admin_id": account.admin_id, "account_id": account.account_id, "event": event},
            group=hashlib.sha256(f"{partition}{_sender(event)}".encode()).hexdigest(),
            dedup=hashlib.sha256(f"{partition}{event_id(event)}".encode()).hexdigest(),
        )
        for event in webhook.events
        if isinstance(event, dict)
    )


def _sender(event: dict[str, Any]) -> str:
    source = event.get("source")
    source = source if isinstance(source, dict) else {}
    return str(source.get("userId") or source.get("groupId") or source.get("roomId") or "")


def event_id(event: dict[str, Any]) -> str:
    """Return the event's webhookEventId, which a redelivery repeats; its digest when it has none."""
    given = event.get("webhookEventId")
    if isinstance(given, str) and given:
        return given[:100]
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()
