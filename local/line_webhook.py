"""Builds webhook calls and signs them as LINE does (shapes: LINE's webhook.yml)."""

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import urlsplit

BOT_USER_ID = "U00000000000000000000000000000b07"

Event = dict[str, Any]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Common(TypedDict, total=False):
    """What every event takes: properties to set, and where its time and randomness come from."""

    webhook_event_id: str
    reply_token: str
    timestamp: int
    mode: Literal["active", "standby"]
    is_redelivery: bool
    clock: Callable[[], float]
    random_bytes: Callable[[int], bytes]


def text_event(
    user_id: str,
    text: str,
    *,
    message_id: str | None = None,
    quote_token: str | None = None,
    **common: Unpack[Common],
) -> Event:
    """Return the event of a text that a person sent (ref#wh-text)."""
    random_bytes = common.get("random_bytes", secrets.token_bytes)
    message = {
        "type": "text",
        "id": message_id or str(int.from_bytes(random_bytes(7), "big")),
        "quoteToken": quote_token or random_bytes(16).hex(),
        "text": text,
    }
    return _answerable("message", user_id, {"message": message}, common)


def postback_event(
    user_id: str, data: str, *, params: Mapping[str, str] | None = None, **common: Unpack[Common]
) -> Event:
    """Return the event of a tapped postback action (ref#postback-event)."""
    postback: Event = {"data": data}
    if params is not None:
        postback["params"] = dict(params)
    return _answerable("postback", user_id, {"postback": postback}, common)


def follow_event(user_id: str, *, is_unblocked: bool = False, **common: Unpack[Common]) -> Event:
    """Return the event of a person adding or unblocking the account (ref#follow-event)."""
    return _answerable("follow", user_id, {"follow": {"isUnblocked": is_unblocked}}, common)


def unfollow_event(user_id: str, **common: Unpack[Common]) -> Event:
    """Return the event of a person blocking the account; it can't be replied to (ref#unfollow-event)."""
    return _event("unfollow", user_id, {}, common)


def unsend_event(user_id: str, message_id: str, **common: Unpack[Common]) -> Event:
    """Return the event of a person taking a message back; it can't be replied to (ref#unsend-event)."""
    return _event("unsend", user_id, {"unsend": {"messageId": message_id}}, common)


def webhook_body(events: Iterable[Event], destination: str = BOT_USER_ID) -> bytes:
    """Return the body that carries the events to the bot with the user ID `destination`."""
    body = {"destination": destination, "events": list(events)}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def signature(secret: str, body: bytes) -> str:
    """Return the `x-line-signature` of a raw body (docs/messaging-api/verify-webhook-signature)."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def deliver(
    url: str, secret: str, events: Iterable[Event], *, destination: str = BOT_USER_ID, timeout: float = 30.0
) -> int:
    """Post the events to a webhook address and return the status it answered."""
    body = webhook_body(events, destination)
    address = urlsplit(url)
    secure = address.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(address.netloc, timeout=timeout)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "LineBotWebhook/2.0",
        "x-line-signature": signature(secret, body),
    }
    try:
        connection.request("POST", f"{address.path or '/'}?{address.query}".rstrip("?"), body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _event(kind: str, user_id: str, content: Event, common: Common) -> Event:
    timestamp = common.get("timestamp")
    if timestamp is None:
        timestamp = int(common.get("clock", time.time)() * 1000)
    random_bytes = common.get("random_bytes", secrets.token_bytes)
    return {
        "type": kind,
        "mode": common.get("mode", "active"),
        "timestamp": timestamp,
        "source": {"type": "user", "userId": user_id},
        "webhookEventId": common.get("webhook_event_id") or _ulid(timestamp, random_bytes(10)),
        "deliveryContext": {"isRedelivery": common.get("is_redelivery", False)},
        **content,
    }


def _answerable(kind: str, user_id: str, content: Event, common: Common) -> Event:
    event = _event(kind, user_id, content, common)
    # A channel in standby gets no reply token (ref#common-properties).
    if event["mode"] == "active":
        random_bytes = common.get("random_bytes", secrets.token_bytes)
        event["replyToken"] = common.get("reply_token") or random_bytes(16).hex()
    return event


def _ulid(milliseconds: int, randomness: bytes) -> str:
    number = milliseconds << 80 | int.from_bytes(randomness, "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
