"""AWS as canned bytes behind the kernel's one door, in this process: no server, so nothing but the client is measured.

Queries get pages, one after the other; rows that are put and changed are kept, so that work can go on from them.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from email.message import Message as Headers
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from benchmarks.canned import ACCOUNT
from kernel import wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel.tables import Table

_PAGE = re.compile(rb'"ExclusiveStartKey":\{"page":\{"N":"(\d+)"')
_SETS = re.compile(r"(#\d+) = (:\d+)")


class Transport:
    """Answers instead of AWS: Queries with `rounds` times the same `pages`, S3 by throwing bytes away."""

    def __init__(self, pages: Sequence[bytes] = (), rounds: int = 1) -> None:
        self.calls: Counter[str] = Counter()
        self.stored = 0
        self.queued: list[str] = []
        self._pages = pages
        self._last = len(pages) * rounds - 1
        self._rows: dict[str, dict[str, Any]] = {}
        self._numbers = count(1)

    def keep(self, row: Table) -> None:
        """Let a row be there."""
        self._rows[row.physical_name()] = row.item()

    def __enter__(self) -> Self:
        self._send = wire.send
        wire.send = cast("Any", self._answered)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        wire.send = self._send

    def _answered(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float = 5.0
    ) -> wire.Reply:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        self.calls[action or f"s3 {method}"] += 1
        given = Headers()
        if not action:
            self.stored += len(body)
            given["etag"] = f'"{next(self._numbers)}"'
            return _reply(b"<UploadId>upload</UploadId>", given)
        if action == "Query":
            return _reply(self._page(body), given)
        return _reply(json.dumps(self._other(action, json.loads(body))).encode(), given)

    def _page(self, body: bytes) -> bytes:
        if not self._pages:
            return b'{"Items":[],"Count":0}'
        found = _PAGE.search(body)
        number = int(found[1]) if found else 0
        parts = [b'{"Items":', self._pages[number % len(self._pages)]]
        if number < self._last:
            parts.append(b',"LastEvaluatedKey":{"page":{"N":"%d"}}' % (number + 1))
        return b"".join([*parts, b"}"])

    def _other(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        match action:
            case "GetItem":
                account = request["TableName"].endswith("accounts")
                return {"Item": ACCOUNT if account else self._rows[request["TableName"]]}
            case "PutItem":
                self._rows[request["TableName"]] = request["Item"]
            case "UpdateItem":
                for name, value in _SETS.findall(request["UpdateExpression"]):
                    attribute = request["ExpressionAttributeNames"][name]
                    self._rows[request["TableName"]][attribute] = request["ExpressionAttributeValues"][value]
            case "GetQueueUrl":
                return {"QueueUrl": "memory:///queue"}
            case "SendMessageBatch":
                self.queued += [entry["MessageBody"] for entry in request["Entries"]]
            case "GetSecretValue":
                return {"SecretString": "s" * 64}
            case "Decrypt":
                return {"Plaintext": base64.b64encode(b"\0{}").decode()}
        return {}


def _reply(body: bytes, headers: Headers) -> wire.Reply:
    return wire.Reply(200, cast("Any", headers), body)
