"""LINE's webhook: whose it is, and what its events say."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from chatbot.accounts import credentials
from chatbot.events import Event, Said
from chatbot.tables import AccountTable
from kernel import clock
from kernel.channels.line.client import signed_by
from kernel.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.auth import Incoming

# The user list joins its keys with '#'.
_USER_ID = re.compile(r"[!\"$-~]{1,64}")


class LineWebhook(BaseModel):
    """What LINE posts; events may be empty (connection check), and new kinds arrive without notice."""

    destination: str = ""
    events: list[Any]


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


def events(account: AccountTable, webhook: LineWebhook) -> Iterator[Event]:
    """Yield the events that concern a conversation: not those of groups, standby, unsend or unknown kinds."""
    for event in webhook.events:
        if isinstance(event, dict) and (said := understood(event)):
            yield Event.of(account, _event_id(event), said)


def understood(event: dict[str, Any]) -> Said | None:
    """Return what a user did, None for what the bot does not answer."""
    source = event.get("source")
    if not isinstance(source, dict) or source.get("type") != "user" or event.get("mode", "active") != "active":
        return None
    user_id = source.get("userId")
    if not isinstance(user_id, str) or not _USER_ID.fullmatch(user_id):
        return None
    millis = event.get("timestamp")
    at = clock.from_millis(millis) if isinstance(millis, int) and 0 < millis < 1 << 43 else clock.now()
    token = event.get("replyToken")
    said = Said(kind="other", user_id=user_id, at=at, reply_token=token if isinstance(token, str) else "")
    match event.get("type"):
        case "follow" | "unfollow" as kind:
            said.kind = kind
        case "message":
            message = event.get("message")
            if isinstance(message, dict) and message.get("type") == "text" and isinstance(message.get("text"), str):
                said.kind, said.text = "text", message["text"]
        case "postback":
            postback = event.get("postback")
            if not isinstance(postback, dict) or _switches_menu(postback):
                return None
            said.kind, said.text, said.action = "text", _postback_text(postback), str(postback.get("data") or "")
        case _:
            return None
    return said


def _switches_menu(postback: dict[str, Any]) -> bool:
    """Tell whether somebody only changed the tab of a rich menu, which is between him and LINE."""
    params = postback.get("params")
    return isinstance(params, dict) and "newRichMenuAliasId" in params


def _postback_text(postback: dict[str, Any]) -> str:
    """Return what a postback says: the date or time that was picked, else its data."""
    params = postback.get("params")
    picked = params if isinstance(params, dict) else {}
    value = picked.get("datetime") or picked.get("date") or picked.get("time") or postback.get("data") or ""
    return str(value)


def _event_id(event: dict[str, Any]) -> str:
    """Return the event's webhookEventId, which a redelivery repeats; its digest when it has none."""
    given = event.get("webhookEventId")
    if isinstance(given, str) and given:
        return given[:100]
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()
