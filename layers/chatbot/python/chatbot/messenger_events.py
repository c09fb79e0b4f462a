"""Messenger's webhook: whose it is, and what its events say."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from chatbot.accounts import credentials
from chatbot.events import Event, Said
from chatbot.tables import AccountTable
from kernel import clock
from kernel.channels.messenger.client import signed_by
from kernel.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.auth import Incoming

SIGNATURE = "x-hub-signature-256"


class MessengerWebhook(BaseModel):
    """What Messenger posts: events of a page, several at a time."""

    object: str
    entry: list[Any]


def signing_account(incoming: Incoming) -> AccountTable:
    """Return the Messenger channel that the query names and whose app secret signed the body."""
    account = _named(incoming)
    given = incoming.headers.get(SIGNATURE, "")
    if not given or not signed_by(credentials(account)["accountSecret"], incoming.body, given):
        raise Unauthorized
    return account


def verifying_account(incoming: Incoming) -> AccountTable:
    """Return the Messenger channel whose verify token, its accountId, the subscription check brings."""
    account = _named(incoming)
    given = incoming.query.get("hub.verify_token", "")
    if incoming.query.get("hub.mode") != "subscribe" or not hmac.compare_digest(
        given.encode(), account.account_id.encode()
    ):
        raise Unauthorized
    return account


def _named(incoming: Incoming) -> AccountTable:
    admin_id, account_id = incoming.query.get("adminid", ""), incoming.query.get("accountid", "")
    if not 0 < len(admin_id) <= 128 or not 0 < len(account_id) <= 64:
        raise Unauthorized
    account = AccountTable.find(admin_id, account_id)
    if account is None or account.account_type != "fb":
        raise Unauthorized
    return account


def events(account: AccountTable, webhook: MessengerWebhook) -> Iterator[Event]:
    """Yield the events that concern a conversation; the page's own echoes, receipts and the like do not."""
    for entry in webhook.entry if webhook.object == "page" else ():
        messaging = entry.get("messaging") if isinstance(entry, dict) else None
        for event in messaging if isinstance(messaging, list) else ():
            if isinstance(event, dict) and (said := understood(event)):
                yield Event.of(account, _event_id(event), said)


def understood(event: dict[str, Any]) -> Said | None:
    """Return what a user did, None for what the bot does not answer."""
    sender = event.get("sender")
    user_id = sender.get("id") if isinstance(sender, dict) else None
    if not isinstance(user_id, str) or not user_id.isalnum() or not user_id.isascii() or len(user_id) > 64:
        return None
    millis = event.get("timestamp")
    at = clock.from_millis(millis) if isinstance(millis, int) and 0 < millis < 1 << 43 else clock.now()
    said = Said(kind="other", user_id=user_id, at=at)
    message, postback = event.get("message"), event.get("postback")
    if isinstance(message, dict) and not message.get("is_echo"):
        quick = message.get("quick_reply")
        payload = quick.get("payload") if isinstance(quick, dict) else None
        if isinstance(message.get("text"), str):
            said.kind, said.text = "text", payload if isinstance(payload, str) and payload else message["text"]
        return said
    if isinstance(postback, dict):
        said.kind, said.text = "text", str(postback.get("payload") or postback.get("title") or "")
        # What the button "Get started" sends is up to the page; it is the first that a user ever does.
        if said.text == "GET_STARTED":
            said.kind = "follow"
        return said
    return None


def _event_id(event: dict[str, Any]) -> str:
    """Return the message's mid, which a redelivery repeats; the event's digest when it has none."""
    for name in ("message", "postback"):
        part = event.get(name)
        mid = part.get("mid") if isinstance(part, dict) else None
        if isinstance(mid, str) and mid:
            return hashlib.sha256(mid.encode()).hexdigest()
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()
