"""One call to LINE, and the faults that its answers mean.

Branches on status codes only; LINE says that the words of its messages may change (partner development guidelines).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kernel import wire
from kernel.channels.faults import OverLimit, Refused, TryLater, seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT = 4.0
PEOPLE_A_CALL = 500


def call(
    method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float = TIMEOUT
) -> wire.Reply:
    """Make one call and return what LINE answered; TryLater when it did not."""
    try:
        return wire.send(method, url, headers, body, timeout=timeout)
    except wire.Unreachable as problem:
        raise TryLater(str(problem)) from problem


def json_body(payload: object) -> bytes:
    """Return the payload as the shortest JSON, in UTF-8."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()


def check_number(user_ids: Sequence[str]) -> None:
    """Raise ValueError unless one call takes so many users: 1 to 500."""
    if not 1 <= len(user_ids) <= PEOPLE_A_CALL:
        raise ValueError(f"a call takes 1 to {PEOPLE_A_CALL} users, not {len(user_ids)}")


def check(reply: wire.Reply) -> None:
    """Raise what an answer means: OverLimit for 429, TryLater for 5xx, Refused for the rest that is no success."""
    if reply.status < 300:
        return
    if reply.status == 429:
        raise OverLimit("LINE answered 429", wait_of(reply))
    if reply.status >= 500:
        raise TryLater(f"LINE answered {reply.status}", wait_of(reply))
    raise Refused(reply.status, reply.body.decode(errors="replace"))


def told(reply: wire.Reply) -> dict[str, Any]:
    """Return the JSON object of a successful answer; TryLater when it is none, as LINE's own answers always are."""
    check(reply)
    try:
        answer = json.loads(reply.body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise TryLater("LINE's answer is no JSON object")
    return answer


def wait_of(reply: wire.Reply) -> float | None:
    """Return the seconds that LINE asked to wait, None when it asked for none."""
    return seconds_of(reply.headers.get("Retry-After"))
