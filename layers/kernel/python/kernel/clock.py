"""The time, in UTC; tests freeze it here."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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


def millis(moment: datetime) -> int:
    """Return the milliseconds of a time since the epoch."""
    # In whole numbers: the float of `timestamp()` is a millisecond short for one time in 170.
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_millis(number: int) -> datetime:
    """Return the time so many milliseconds after the epoch, in UTC."""
    return datetime.fromtimestamp(number // 1000, UTC).replace(microsecond=number % 1000 * 1000)
