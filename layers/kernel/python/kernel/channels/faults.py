"""What a channel can answer to a call other than yes, the same for every channel, and what it tells of a person."""

from __future__ import annotations

from typing import NamedTuple

# Longer answers are somebody's error page.
_ANSWER_SHOWN = 500


class TryLater(Exception):
    """The channel asks to come back: an error of its own or no answer; nothing is known to be wrong.

    `wait` is what it asked for with Retry-After, in seconds; None when it named no time.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class OverLimit(TryLater):
    """A limit of calls or messages that passes with time."""


class Refused(Exception):
    """The channel will not take this call however often it is made.

    `status` says why: the HTTP status, or the channel's own code where it answers everything with 200. `answer` holds
    no credentials, because it goes into logs.
    """

    def __init__(self, status: int, answer: str) -> None:
        super().__init__(f"the channel answered {status}: {answer[:_ANSWER_SHOWN]}")
        self.status = status


class OutsideWindow(Refused):
    """The person said nothing for so long that the channel takes no message until he does."""


class Profile(NamedTuple):
    """What a user shows of himself."""

    name: str
    picture: str


def seconds_of(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header, None without one or when it names a date (RFC 9110, 10.2.3)."""
    given = (retry_after or "").strip()
    return float(given) if given.isascii() and given.isdecimal() and len(given) <= 9 else None
