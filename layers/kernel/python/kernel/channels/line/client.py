"""Calls to LINE's Messaging API: replies, pushes, multicasts, the quota, profiles."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from kernel import clock, wire
from kernel.channels.faults import OverLimit, Profile, Refused, TryLater
from kernel.channels.line.calls import TIMEOUT, call, check, check_number, json_body, told, wait_of
from kernel.settings import settings

if TYPE_CHECKING:
    from kernel.secrets import Secret

__all__ = ["LineClient", "OverLimit", "Profile", "Quota", "Refused", "TryLater", "signature", "signed_by"]

MESSAGES_A_CALL = 5
_PROFILE_TIMEOUT = 2.0
_REPLY_ATTEMPTS = 3
# A minute from receipt (reference, Send reply message), less what clocks may differ.
_TOKEN_LIFE = timedelta(seconds=50)


class Quota(NamedTuple):
    """How many messages the channel may send this month, None for as many as it likes, and how many it sent."""

    limit: int | None
    used: int


def signature(secret: Secret, body: bytes) -> str:
    """Return the signature that LINE sends with a webhook (Messaging API reference, Signature validation)."""
    return b64encode(hmac.digest(secret.reveal().encode(), body, hashlib.sha256)).decode()


def signed_by(secret: Secret, body: bytes, given: str) -> bool:
    """Tell in constant time whether a webhook body carries the channel's signature."""
    return hmac.compare_digest(signature(secret, body).encode(), given.encode())


class LineClient:
    """The calls of one channel."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def reply(self, reply_token: str, messages: list[dict[str, Any]], at: datetime) -> bool:
        """Send up to five messages with the reply token of an event; False when the token is used or too old.

        Replies know no retry key. After a lost answer the same reply is tried again, and a refused token was used by
        the lost call if that was made within the token's minute; else it was too old, and the caller pushes. When LINE
        refuses to tell (429, 401 and the like) the lost call counts as sent: a push could only repeat it.
        """
        maybe_sent = False
        body = json_body({"replyToken": reply_token, "messages": messages})
        for attempt in range(1, _REPLY_ATTEMPTS + 1):
            alive = clock.now() < at + _TOKEN_LIFE
            wait = None
            try:
                reply = self._post("/v2/bot/message/reply", body)
            except wire.Unreachable as problem:
                maybe_sent = maybe_sent or (problem.sent and alive)
                continue
            maybe_sent = maybe_sent or (reply.repeated and alive)
            if reply.status == 200:
                return True
            if reply.status == 400:
                return maybe_sent
            if reply.status >= 500:
                maybe_sent = maybe_sent or alive
                wait = wait_of(reply)
            elif not maybe_sent:
                _check(reply)
            elif attempt == _REPLY_ATTEMPTS:
                return True
        raise TryLater("LINE does not take the reply", wait)

    def push(self, user_id: str, messages: list[dict[str, Any]], retry_key: str) -> None:
        """Send up to five messages to a user; the same retry key within 24 hours sends them once."""
        self._send("/v2/bot/message/push", {"to": user_id, "messages": messages}, retry_key)

    def multicast(self, user_ids: list[str], messages: list[dict[str, Any]], retry_key: str) -> None:
        """Send up to five messages to up to 500 users; the same call with the same retry key sends them once.

        One malformed id refuses the whole call; users who block the channel are passed over.
        """
        check_number(user_ids)
        self._send("/v2/bot/message/multicast", {"to": user_ids, "messages": messages}, retry_key)

    def quota(self) -> Quota:
        """Return this month's quota and what is used of it; TryLater when LINE does not tell."""
        target = self._get("/v2/bot/message/quota")
        limit = None if target.get("type") == "none" else target.get("value")
        used = self._get("/v2/bot/message/quota/consumption").get("totalUsage")
        if not isinstance(used, int) or not (isinstance(limit, int) or target.get("type") == "none"):
            raise TryLater("LINE's answer names no quota")
        return Quota(limit, used)

    def profile(self, user_id: str) -> Profile | None:
        """Return a friend's name and picture, None when LINE does not tell (not a friend, blocked, no answer)."""
        url = f"{settings().line_api_endpoint}/v2/bot/profile/{quote(user_id, safe='')}"
        try:
            reply = wire.send("GET", url, self._headers(), timeout=_PROFILE_TIMEOUT)
        except wire.Unreachable:
            return None
        if reply.status != 200:
            return None
        try:
            answer = json.loads(reply.body)
        except ValueError:
            # A name is not worth failing the event for.
            return None
        return Profile(str(answer.get("displayName") or ""), str(answer.get("pictureUrl") or ""))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.reveal()}"}

    def _get(self, path: str) -> dict[str, Any]:
        reply = call("GET", settings().line_api_endpoint + path, self._headers())
        _check(reply)
        return told(reply)

    def _send(self, path: str, payload: dict[str, Any], retry_key: str) -> None:
        try:
            reply = self._post(path, json_body(payload), retry_key=retry_key)
        except wire.Unreachable as problem:
            raise TryLater(str(problem)) from problem
        # 409: an earlier call with this key was accepted.
        if reply.status != 409:
            _check(reply)

    def _post(self, path: str, body: bytes, *, retry_key: str | None = None) -> wire.Reply:
        headers = {**self._headers(), "Content-Type": "application/json"}
        if retry_key:
            headers["X-Line-Retry-Key"] = retry_key
        return wire.send("POST", settings().line_api_endpoint + path, headers, body, timeout=TIMEOUT)


def _check(reply: wire.Reply) -> None:
    # A token that LINE does not know is mended by the operator; until then nothing is wrong here.
    if reply.status in (401, 403):
        raise TryLater(f"LINE answered {reply.status}")
    check(reply)
