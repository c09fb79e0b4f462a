"""Reservations: scenarios that a node books for later, kept for each user whatever becomes of node and scenario."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from kernel.settings import settings

if TYPE_CHECKING:
    from collections.abc import Mapping


def sending_time(reached: datetime, minutes: int, window: Mapping[str, str]) -> datetime:
    """Return when a booked scenario is sent: so many minutes on, or then at the next beginning of its window.

    The window is a part of the day in the deployment's time zone (TIME_ZONE), from `start` to before `end`; one that
    ends before it starts goes over midnight. An end left open is midnight; equal ends are the whole day.
    """
    at = reached + timedelta(minutes=minutes)
    start, end = _minute(window.get("start") or "00:00"), _minute(window.get("end") or "00:00")
    local = at.astimezone(_zone())
    minute = local.hour * 60 + local.minute
    inside = start <= minute < end if start < end else minute >= start or minute < end
    if start == end or inside:
        return at
    day = local.replace(hour=start // 60, minute=start % 60, second=0, microsecond=0)
    return (day if minute < start else day + timedelta(days=1)).astimezone(at.tzinfo)


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _zone() -> timezone:
    text = settings().time_zone
    sign = -1 if text.startswith("-") else 1
    hours, _, minutes = text.lstrip("+-").partition(":")
    return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes or 0)))
