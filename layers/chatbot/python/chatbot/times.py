"""The contract's times: text in UTC without a zone (contract, time_format)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_PATTERN = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,6}))?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)


def shown(moment: datetime) -> str:
    """Return `2024-01-28 06:04:25.693`."""
    return moment.astimezone(UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")


def read(text: str, *, end: bool = False) -> datetime:
    """Return the time that a request gives: blank or T in the middle, no zone is UTC.

    Seconds, fraction and zone may be missing, and so may the hour: a date is its first moment,
    or with `end` its last.
    Raises ValueError for anything else.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a time like 2024-01-28 06:04:25.693")
    day, hour, fraction, zone = match.groups()
    if hour is None:
        hour, fraction = ("23:59:59", "999") if end else ("00:00", None)
    moment = datetime.fromisoformat(f"{day}T{hour}")
    micros = int((fraction or "0").ljust(6, "0")[:6])
    offset = datetime.fromisoformat(f"{day}T{hour}{zone}").tzinfo if zone and zone != "Z" else UTC
    try:
        return moment.replace(microsecond=micros // 1000 * 1000, tzinfo=offset).astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999") from None
