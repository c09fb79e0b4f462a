"""The time, in UTC; tests freeze it here."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_frozen: list[datetime] = []


def now() -> datetime:
    """Return the current time in UTC, to the millisecond, as the stores and the contracts hold it."""
    moment = _frozen[-1] if _frozen else datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@contextmanager
def frozen(moment: datetime) -> Iterator[None]:
    """Hold the time at `moment` inside the block."""
    _frozen.append(moment.astimezone(UTC))
    try:
        yield
    finally:
        _frozen.pop()


def from_millis(millis: int) -> datetime:
    """Return the time `millis` milliseconds after the epoch, in UTC."""
    return datetime.fromtimestamp(millis // 1000, UTC).replace(microsecond=millis % 1000 * 1000)
