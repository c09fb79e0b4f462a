"""Calls to Messenger's Send API: messages and profiles; the signature of its webhooks.

Branches on error codes, which come with several HTTP statuses; their list is at
https://developers.facebook.com/docs/messenger-platform/error-codes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kernel import wire
from kernel.channels.faults import OutsideWindow, OverLimit, Profile, Refused, TryLater, seconds_of
from kernel.settings import settings

if TYPE_CHECKING:
    from kernel.secrets import Secret

VERSION = "v23.0"
_TIMEOUT = 8.0
_PROFILE_TIMEOUT = 2.0
# Calls of the app, of the user, of the page, custom limits, and Messenger's own (Graph API, Rate limiting).
_LIMIT_CODES = frozenset({4, 17, 32, 613, 80006})
_PASSING_CODES = frozenset({1, 2, 1200})
# Code 10 alone is a missing permission.
_WINDOW_SUBCODES = frozenset({2018065, 2018278})
_PERMISSION = 10
_TOKEN = 190
_NO_TOKEN = 401


def signed_by(secret: Secret, body: bytes, given: str) -> bool:
    """Tell in constant time whether a webhook's `X-Hub-Signature-256` was made with the app secret from its raw body.

    With an empty secret anybody could sign, so nothing is.
    """
    key = secret.reveal().encode()
    right = "sha256=" + hmac.digest(key, body, hashlib.sha256).hex()
    return bool(key) and hmac.compare_digest(right.encode(), given.encode(errors="replace"))


class MessengerClient:
    """The calls of one page."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def send(self, user_id: str, message: dict[str, Any], *, messaging_type: str = "RESPONSE") -> str:
        """Send one message object to a page-scoped user id and return its message id, "" when none is told.

        Messenger knows no retry key: after TryLater the message may have arrived. Raises OutsideWindow 24 hours after
        the user's last message, OverLimit, TryLater and Refused.
        """
        payload = {"recipient": {"id": user_id}, "messaging_type": messaging_type, "message": message}
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
        headers = {**self._headers(), "Content-Type": "application/json"}
        url = f"{settings().messenger_api_endpoint}/{VERSION}/me/messages"
        try:
            reply = wire.send("POST", url, headers, body, timeout=_TIMEOUT)
        except wire.Unreachable as problem:
            raise TryLater(str(problem)) from problem
        except ValueError:
            raise Refused(_NO_TOKEN, "no header can carry this access token") from None
        answer = _object(reply.body)
        if reply.status == 200 and "error" not in answer:
            return str(answer.get("message_id") or "")
        raise self._fault(reply, answer)

    def profile(self, psid: str) -> Profile | None:
        """Return a user's name and picture, None when Messenger does not tell."""
        place = f"{settings().messenger_api_endpoint}/{VERSION}/{quote(psid, safe='')}"
        try:
            reply = wire.send("GET", f"{place}?fields=name,profile_pic", self._headers(), timeout=_PROFILE_TIMEOUT)
        except (wire.Unreachable, ValueError):
            return None
        answer = _object(reply.body)
        if reply.status != 200 or "error" in answer:
            return None
        return Profile(str(answer.get("name") or ""), str(answer.get("profile_pic") or ""))

    def _headers(self) -> dict[str, str]:
        # In the address, which Graph takes too, the token would end up in logs.
        return {"Authorization": f"Bearer {self._token.reveal()}"}

    def _fault(self, reply: wire.Reply, answer: dict[str, Any]) -> Exception:
        error = answer.get("error")
        error = error if isinstance(error, dict) else {}
        code, subcode = error.get("code"), error.get("error_subcode")
        wait = seconds_of(reply.headers.get("Retry-After"))
        name = f"Messenger answered {reply.status}, code {code}, subcode {subcode}"
        if code in _LIMIT_CODES or reply.status == 429:
            return OverLimit(name, wait)
        if code in _PASSING_CODES or reply.status >= 500 or error.get("is_transient") is True:
            return TryLater(name, wait)
        # Messenger quotes a token that it cannot read.
        words = "" if code == _TOKEN else str(error.get("message") or "").replace(self._token.reveal() or "\0", "…")
        kind = OutsideWindow if code == _PERMISSION and subcode in _WINDOW_SUBCODES else Refused
        return kind(reply.status, f"code {code}, subcode {subcode}: {words}")


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
