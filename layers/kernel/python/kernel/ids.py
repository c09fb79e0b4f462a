"""Identifiers that the platform makes."""

from __future__ import annotations

import hashlib
import os
import secrets
from datetime import datetime

from kernel import clock

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_GREGORIAN_TO_UNIX_100NS = 0x01B21DD213814000


def ordered_id(moment: datetime | None = None) -> str:
    """Return a new id whose text order is its time order: 10 characters of time, 16 of chance (ULID layout)."""
    number = clock.millis(moment or clock.now()) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def uuid1(moment: datetime | None = None) -> str:
    """Return a version-1 UUID of the time; node and sequence are random, so no machine address leaks."""
    ticks = clock.millis(moment or clock.now()) * 10_000 + secrets.randbelow(10_000)
    ticks += _GREGORIAN_TO_UNIX_100NS
    sequence = secrets.randbits(14)
    # RFC 4122 section 4.5: a random node carries the multicast bit, so it is never a real address.
    node = secrets.randbits(48) | 1 << 40
    return (
        f"{ticks & 0xFFFFFFFF:08x}-{ticks >> 32 & 0xFFFF:04x}-1{ticks >> 48 & 0xFFF:03x}"
        f"-{0x80 | sequence >> 8:02x}{sequence & 0xFF:02x}-{node:012x}"
    )


def derived_uuid(text: str) -> str:
    """Return the UUID that always belongs to this text, as retry keys need it (version 8, RFC 9562)."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76
    number = number & ~(0x3 << 62) | 2 << 62
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
