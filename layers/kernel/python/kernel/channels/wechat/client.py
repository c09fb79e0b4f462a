"""Calls to WeChat for an official account: the access token and customer service messages.

WeChat answers everything with HTTP 200 and says in `errcode` what it means. It wants the access token in the address,
so nothing here ever quotes an address, nor what the network says about one.
"""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from kernel import clock, wire
from kernel.channels.faults import OutsideWindow, OverLimit, Refused, TryLater, seconds_of
from kernel.settings import settings

if TYPE_CHECKING:
    from kernel.secrets import Secret

_TIMEOUT = 5.0
_STALE_TOKEN = frozenset({40001, 40014, 42001})
_BUSY = -1
# The day's calls of an interface, and its calls a minute.
_LIMITS = frozenset({45009, 45011})
_WINDOW = 45015
_COUNT = 45047
# stable_token changes five minutes before the end of the old one, which then lives on for as long.
_MARGIN = 300


class OverCount(Refused):
    """The person has had as many messages as WeChat allows after one of his own; he must write first."""


class TokenStore(Protocol):
    """Where the access token of one account is kept for all who call: a new one ends the old, 2000 a day are given."""

    def get(self) -> str | None:
        """Return the token, None when there is none or its time is over."""

    def put(self, token: str, expires_in: int) -> None:
        """Keep a token for so many seconds."""

    def drop(self) -> None:
        """Forget the token, because WeChat no longer takes it."""


class TokenInMemory:
    """A token store of one process, for tests and tools."""

    def __init__(self) -> None:
        self._kept: tuple[str, datetime] | None = None

    def get(self) -> str | None:
        """Return the token, None when there is none or its time is over."""
        if self._kept is None or self._kept[1] <= clock.now():
            return None
        return self._kept[0]

    def put(self, token: str, expires_in: int) -> None:
        """Keep a token for so many seconds."""
        self._kept = (token, clock.now() + timedelta(seconds=expires_in))

    def drop(self) -> None:
        """Forget the token."""
        self._kept = None


class WechatClient:
    """The calls of one official account."""

    def __init__(self, app_id: str, secret: Secret, tokens: TokenStore) -> None:
        self._app_id = app_id
        self._secret = secret
        self._tokens = tokens

    def send(self, open_id: str, message: dict[str, Any]) -> None:
        """Send one custom message (`{"msgtype": …}`, see messages.translated) to a follower.

        WeChat knows no retry key: after TryLater the message may have arrived. Raises OutsideWindow 48 hours after
        the follower's last message, OverCount after five messages, OverLimit, TryLater and Refused.
        """
        token = self._tokens.get() or self._new_token()
        answer = self._send(token, open_id, message)
        if answer["errcode"] in _STALE_TOKEN:
            self._tokens.drop()
            token = self._new_token()
            answer = self._send(token, open_id, message)
        self._check(answer, token)

    def _send(self, token: str, open_id: str, message: dict[str, Any]) -> dict[str, Any]:
        path = f"/cgi-bin/message/custom/send?access_token={quote(token, safe='', errors='replace')}"
        return self._post(path, {"touser": open_id, **message})

    def _new_token(self) -> str:
        wanted = {"grant_type": "client_credential", "appid": self._app_id, "secret": self._secret.reveal()}
        answer = self._post("/cgi-bin/stable_token", wanted)
        self._check(answer)
        token, life = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(life, int):
            raise TryLater("WeChat gave no access token")
        self._tokens.put(token, max(life - _MARGIN, life // 2))
        return token

    def _post(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        # People would see \uXXXX as it stands here.
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
        headers = {"Content-Type": "application/json; charset=utf-8"}
        reply = None
        # An exception raised while handling this one would carry it along, and it may quote the address.
        with contextlib.suppress(wire.Unreachable, ValueError):
            reply = wire.send("POST", settings().wechat_api_endpoint + path, headers, body, timeout=_TIMEOUT)
        if reply is None:
            raise TryLater("WeChat gave no answer")
        wait = seconds_of(reply.headers.get("Retry-After"))
        if reply.status == 429:
            raise OverLimit("WeChat answered 429", wait)
        if reply.status != 200:
            raise TryLater(f"WeChat answered {reply.status}", wait)
        answer = _object(reply.body)
        if answer is None:
            raise TryLater("WeChat answered no JSON object")
        code = answer.get("errcode", 0)
        return {**answer, "errcode": code if isinstance(code, int) else _BUSY}

    def _check(self, answer: dict[str, Any], token: str = "") -> None:
        code = answer["errcode"]
        if code == 0:
            return
        if code == _BUSY:
            raise TryLater("WeChat is busy")
        if code in _LIMITS:
            raise OverLimit(f"WeChat answered {code}")
        words = str(answer.get("errmsg") or "")
        for secret in (token, quote(token, safe="", errors="replace"), self._secret.reveal()):
            words = words.replace(secret, "…") if secret else words
        raise {_WINDOW: OutsideWindow, _COUNT: OverCount}.get(code, Refused)(code, words)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
