"""Calls to LINE's Messaging API: replies, pushes, profiles.

Branches on status codes only; LINE says that the words of its messages may change (partner development guidelines).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from kernel import clock, wire
from kernel.settings import settings

if TYPE_CHECKING:
    from kernel.secrets import Secret

MESSAGES_A_CALL = 5
_TIMEOUT = 4.0
_PROFILE_TIMEOUT = 2.0
_REPLY_ATTEMPTS = 3
# A minute from receipt (reference, Send reply message), less what clocks may differ.
_TOKEN_LIFE = timedelta(seconds=50)


class TryLater(Exception):
    """LINE asks to come back: an error of its own or no answer; nothing is known to be wrong."""


class OverLimit(TryLater):
    """A rate limit, which passes soon, or the month's quota, which does not; LINE's status tells no difference."""


class Refused(Exception):
    """LINE will not take this call however often it is made; `status` says why."""

    def __init__(self, status: int, answer: str) -> None:
        super().__init__(f"LINE answered {status}: {answer}")
        self.status = status


class Profile(NamedTuple):
    """What a user shows of himself."""

    name: str
    picture: str


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

        Replies know no retry key. After a lost answer the same reply is tried again: a token that is refused within
        its minute was used by the lost call; later nobody can tell, and the caller pushes.
        """
        maybe_sent = False
        for _ in range(_REPLY_ATTEMPTS):
            try:
                reply = self._post("/v2/bot/message/reply", {"replyToken": reply_token, "messages": messages})
            except wire.Unreachable as problem:
                maybe_sent = maybe_sent or problem.sent
                continue
            if reply.status == 200:
                return True
            if reply.status == 400:
                return (maybe_sent or reply.repeated) and clock.now() < at + _TOKEN_LIFE
            if reply.status < 500:
                self._check(reply)
            maybe_sent = True
        raise TryLater("LINE does not take the reply")

    def push(self, user_id: str, messages: list[dict[str, Any]], retry_key: str) -> None:
        """Send up to five messages to a user; the same retry key within 24 hours sends them once."""
        try:
            reply = self._post("/v2/bot/message/push", {"to": user_id, "messages": messages}, retry_key=retry_key)
        except wire.Unreachable as problem:
            raise TryLater(str(problem)) from problem
        if reply.status == 409:
            return
        self._check(reply)

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

    def _post(self, path: str, payload: dict[str, Any], *, retry_key: str | None = None) -> wire.Reply:
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
        headers = {**self._headers(), "Content-Type": "application/json"}
        if retry_key:
            headers["X-Line-Retry-Key"] = retry_key
        return wire.send("POST", settings().line_api_endpoint + path, headers, body, timeout=_TIMEOUT)

    @staticmethod
    def _check(reply: wire.Reply) -> None:
        if reply.status == 200:
            return
        if reply.status == 429:
            raise OverLimit("LINE answered 429")
        # A token that LINE does not know (401, 403) is mended by the operator; until then nothing is wrong here.
        if reply.status >= 500 or reply.status in (401, 403):
            raise TryLater(f"LINE answered {reply.status}")
        raise Refused(reply.status, reply.body.decode(errors="replace")[:500])
