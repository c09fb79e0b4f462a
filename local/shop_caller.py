"""Calls the membership API as its users do: managers at the till with their tokens, the back office with id_tokens."""

from __future__ import annotations

import hashlib
import http.client
import json
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from local.steps import Problem

_SECONDS = 60.0


class Answer(NamedTuple):
    """What the API answered: HTTP status, the envelope, and the bytes it came as."""

    status: int
    body: Any
    raw: bytes


class Till:
    """A manager at the till; after `sign_in` every call carries his token."""

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self.token = ""

    def sign_in(self, username: str, password: str) -> None:
        """Get a token for an account."""
        self.token = self.data("manage/user/login", username=username, password=md5(password), client=1)

    def call(self, path: str, *, key: str | None = None, **fields: Any) -> Answer:
        """Post to a path below /web and return whatever it answers; each call has a key of its own unless given one."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        body = {"token": self.token, **fields} if self.token else fields
        return request("POST", f"{self.base}/web/{path}", body, headers)

    def data(self, path: str, **fields: Any) -> Any:
        """Call a path that has to succeed and return its data."""
        return self.whole(path, **fields).get("data")

    def whole(self, path: str, **fields: Any) -> dict[str, Any]:
        """Call a path that has to succeed and return the envelope."""
        answer = self.call(path, **fields)
        if answer.status != 200 or answer.body["errCode"] != 0:
            raise Problem(f"{path} answered {answer.status}: {answer.raw[:500].decode()}")
        envelope: dict[str, Any] = answer.body
        return envelope


class Office:
    """An operator of the back office; after `sign_in` every call carries his id_token."""

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self._headers: dict[str, str] = {}

    def sign_in(self, username: str, password: str) -> None:
        """Get an id_token."""
        tokens = self.data("POST", "login", username=username, password=password)
        self._headers = {"Authorization": f"Bearer {tokens['idToken']}"}

    def call(self, verb: str, path: str, query: Mapping[str, Any] | None = None, **fields: Any) -> Answer:
        """Call a path below /admin and return whatever it answers."""
        address = f"{self.base}/admin/{path}" + (f"?{urlencode(query)}" if query else "")
        return request(verb, address, None if verb == "GET" else fields, self._headers)

    def data(self, verb: str, path: str, query: Mapping[str, Any] | None = None, **fields: Any) -> Any:
        """Call a path that has to succeed and return its data."""
        answer = self.call(verb, path, query, **fields)
        if answer.status != 200:
            raise Problem(f"{verb} /admin/{path} answered {answer.status}: {answer.raw[:500].decode()}")
        return answer.body["data"]


def request(verb: str, address: str, body: Any, headers: Mapping[str, str]) -> Answer:
    """Send JSON, or bytes as they are, and return the answer."""
    place = urlsplit(address)
    content = body if isinstance(body, bytes) or body is None else json.dumps(body, ensure_ascii=False).encode()
    connection = http.client.HTTPConnection(place.netloc, timeout=_SECONDS)
    try:
        path = f"{place.path}?{place.query}" if place.query else place.path
        connection.request(verb, path, content, {"Content-Type": "application/json", **headers})
        reply = connection.getresponse()
        raw = reply.read()
        is_json = reply.getheader("Content-Type", "").startswith("application/json")
        return Answer(reply.status, json.loads(raw) if is_json else None, raw)
    except (OSError, http.client.HTTPException) as problem:
        raise Problem(f"{verb} {place.path}: no answer: is the stack up? (make up)") from problem
    finally:
        connection.close()


def md5(text: str) -> str:
    """Return the digest that the contract sends instead of a password."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
