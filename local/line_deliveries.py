"""What the LINE simulator delivered, to whom: kept so that 100,000 people take little room."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Via = Literal["reply", "push", "multicast"]

_PACKED = 16


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that reached one person; `user` is None when its reply token was nobody's."""

    seq: int
    user: str | None
    via: Via
    message_id: str
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Call:
    before: int
    via: Via
    # A multicast's users without their U, 16 bytes each; else one user.
    users: bytes | str | None
    messages: Sequence[tuple[str, Mapping[str, Any]]]

    def __iter__(self) -> Iterator[str | None]:
        if isinstance(self.users, bytes):
            digits = self.users.hex()
            for start in range(0, len(digits), 2 * _PACKED):
                yield f"U{digits[start : start + 2 * _PACKED]}"
        else:
            yield self.users

    def places(self, user: str) -> list[int]:
        """Return at which places of the call a user stands."""
        if not isinstance(self.users, bytes):
            return [0] if self.users == user else []
        try:
            packed = bytes.fromhex(user[1:])
        except ValueError:
            return []
        places, start = [], self.users.find(packed)
        while start >= 0 and len(packed) == _PACKED and user[0] == "U":
            if start % _PACKED == 0:
                places.append(start // _PACKED)
            start = self.users.find(packed, start + 1)
        return places


class Deliveries:
    """All deliveries in order, numbered from `last` + 1."""

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self._calls: list[_Call] = []
        self._ends: list[int] = []

    def add(self, users: Sequence[str | None], via: Via, messages: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Deliver the messages of one call, each with its id, to everybody; a multicast's users are well formed."""
        if not users:
            return
        whom = bytes.fromhex("".join(user[1:] for user in users if user)) if via == "multicast" else users[0]
        self._calls.append(_Call(self.last, via, whom, messages))
        self.last += len(users) * len(messages)
        self._ends.append(self.last)

    def after(self, seq: int, user: str | None = None) -> Iterator[Delivery]:
        """Yield what was delivered after a number, to one user or to everybody."""
        for call in self._since(seq):
            each = [(place, user) for place in call.places(user)] if user is not None else enumerate(call)
            for place, whom in each:
                number = call.before + place * len(call.messages)
                for message_id, message in call.messages:
                    number += 1
                    if number > seq:
                        yield Delivery(number, whom, call.via, message_id, message)

    def times(self, since: int = 0) -> Counter[str]:
        """Return how many calls reached each person after a number."""
        times: Counter[str] = Counter()
        for call in self._since(since):
            times.update(user for user in call if user is not None)
        return times

    def _since(self, seq: int) -> list[_Call]:
        return self._calls[bisect_right(self._ends, seq) :]
