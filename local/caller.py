"""Calls a deployed API as a customer would: over HTTP, with a sign-in."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from local.steps import Problem

# A function's first call starts its process; on a busy machine that takes a while.
_SECONDS = 60.0


class Answer(NamedTuple):
    """What an API answered."""

    status: int
    content_type: str
    text: str

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.text)


class Caller:
    """Somebody who calls the chatbot's API; after `sign_in` every call carries his id_token."""

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self.id_token = ""
        self.admin_id = ""

    def sign_in(self, admin_id: str, password: str) -> None:
        """Get an id_token for an operator; his adminId goes into every later body."""
        result = self.result("login", adminId=admin_id, password=password)
        self.id_token, self.admin_id = result["id_token"], admin_id

    def call(self, operation: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Post a body to an operation and return whatever it answers."""
        address = urlsplit(f"{self.base}/{operation}")
        sent = {"Content-Type": "application/json"}
        if self.id_token:
            sent["Authorization"] = f"Bearer {self.id_token}"
        connection = http.client.HTTPConnection(address.netloc, timeout=_SECONDS)
        try:
            content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
            path = f"{address.path}?{address.query}" if address.query else address.path
            connection.request("POST", path, content, {**sent, **(headers or {})})
            reply = connection.getresponse()
            return Answer(reply.status, reply.getheader("Content-Type", ""), reply.read().decode())
        except (OSError, http.client.HTTPException) as problem:
            raise Problem(f"{operation}: no answer from {self.base}: is the stack up? (make up)") from problem
        finally:
            connection.close()

    def result(self, operation: str, **fields: Any) -> Any:
        """Call an operation that has to succeed and return its Result."""
        answer = self.call(operation, {"adminId": self.admin_id, **fields})
        if answer.status != 200:
            raise Problem(f"{operation} answered {answer.status}: {answer.text[:500]}")
        return answer.json["Result"]
