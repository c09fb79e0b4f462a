"""Doing a money operation once, however often it is asked for: with an Idempotency-Key, or within three seconds."""

from __future__ import annotations

import hashlib
import hmac
import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel import clock
from kernel.envelopes import json_text
from kernel.errors import Fault
from kernel.running import current
from kernel.secrets import signing_key
from kernel.tables import Put
from membership.api import Done, OnceRequest
from membership.faults import Refused, Throttled
from membership.tables import RepeatTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from kernel.tables import Item
    from membership.managers import Manager

# How long an Idempotency-Key is remembered, and how long the same request counts as the same without one.
REMEMBERED = timedelta(days=7)
MOMENT = timedelta(seconds=3)
LONGEST_KEY = 255
_ATTEMPTS = 10
# Seconds after which nothing is tried anew: the function has ten, and one try may wait two for its turn.
_PATIENCE = 6.0


class Repeated(Exception):
    """The operation was done already; `answer` is what it answered then."""

    def __init__(self, answer: Done) -> None:
        super().__init__()
        self.answer = answer


class Contended(Exception):
    """Somebody else changed the same card at the same time: look again, and do it again."""


class Claim(NamedTuple):
    """One request as it is told from others; whoever writes the claim's row first has done it.

    `now` is the moment of everything that it writes, so that all of it stands on the same day.
    """

    key: str
    fingerprint: str
    window: timedelta
    now: datetime

    @property
    def row_key(self) -> Item:
        """The key of the row that tells whether it was done."""
        return RepeatTable.key(self.key)

    def check(self, row: RepeatTable | None) -> None:
        """Raise Repeated when the row says that it was done, Refused when the key belongs to another request."""
        if row is None or row.at <= self.now - self.window:
            return
        if row.fingerprint != self.fingerprint:
            raise Refused("Idempotency-Key 已用于另一个请求")
        raise Repeated(Done(row.answer["msg"], row.answer.get("data")))

    def put(self, answer: Done) -> Put:
        """Return the write that claims it, to be committed with the operation; it fails for all but the first."""
        row = RepeatTable(
            claim=self.key,
            fingerprint=self.fingerprint,
            answer={"msg": answer.msg} | ({} if answer.data is None else {"data": answer.data}),
            at=self.now,
            # A day longer than it counts, for clocks that differ.
            expires=self.now + self.window + timedelta(days=1),
        )
        return Put(row, RepeatTable.claim.does_not_exist() | (RepeatTable.at <= self.now - self.window))


def once(manager: Manager, request: OnceRequest, work: Callable[[Claim], Done]) -> Done:
    """Return what `work` answers, or what it answered the first time; it is called again when it was `Contended`."""
    claim = _claim(manager, request)
    until = time.monotonic() + _PATIENCE
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return work(claim)
        except Repeated as repeated:
            return repeated.answer
        except Fault:
            # The same request may have been sent twice, and the refusal be about what the other one has done since.
            answer = _answered(claim)
            if answer is None:
                raise
            return answer
        except Contended:
            pause = random.uniform(0, 0.02 * 2 ** min(attempt, 6))  # noqa: S311  jitter, not a secret
            if attempt == _ATTEMPTS or time.monotonic() + pause > until:
                break
            time.sleep(pause)
            claim = claim._replace(now=clock.now())
    raise Throttled("卡片正忙，请稍后再试")


def _answered(claim: Claim) -> Done | None:
    try:
        claim.check(RepeatTable.find(claim.key))
    except Repeated as repeated:
        return repeated.answer
    return None


def _claim(manager: Manager, request: OnceRequest) -> Claim:
    if len(manager.repeat_key) > LONGEST_KEY:
        raise Refused(f"Idempotency-Key 不能超过 {LONGEST_KEY} 个字符")
    said: dict[str, Any] = request.model_dump(mode="json", exclude={"token"})
    text = json_text({"operation": current().operation, "request": dict(sorted(said.items()))})
    fingerprint = _keyed(text) if "password" in said else hashlib.sha256(text.encode()).hexdigest()
    if manager.repeat_key:
        return Claim(f"{manager.manager_id}#key#{manager.repeat_key}", fingerprint, REMEMBERED, clock.now())
    return Claim(f"{manager.manager_id}#same#{fingerprint}", fingerprint, MOMENT, clock.now())


def _keyed(text: str) -> str:
    # Whoever reads the table could try all passwords of six digits against a plain digest.
    return hmac.digest(signing_key(), text.encode(), "sha256").hex()
