"""Audiences: the people of a channel that something is meant for, one after the other in the order of their ids.

Everything an audience is made of comes sorted from its table and is merged, so nobody comes twice, nothing is held in
memory, and the walk goes on behind any user id. The whole channel is read only when everyone or conditions ask for it.
"""

from __future__ import annotations

import base64
import heapq
import json
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from chatbot import users
from chatbot.conditions import Subject, compared_variables, compiled
from chatbot.tables import ConversationTable, MemberTable, OrderTable, PushTable
from kernel.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from chatbot.tables import AccountTable, SegmentTable
    from kernel.tables import Item, Table

# DynamoDB ends a page at 1 MB, and one of these at as many rows.
_A_READ = 1000
_A_LOOK_UP = 100
# A decryption takes as long as reading so many rows.
_SLOWER = 20
# What is known of somebody, added up over the tables he comes from.
_NAMED, _LISTED, _FOLLOWS, _CHOSEN = 1, 2, 4, 8

Mark = tuple[str, int]


class Person(NamedTuple):
    """Somebody of an audience; only who was named may be there without following."""

    user_id: str
    follows: bool


class Part(NamedTuple):
    """A part of an audience: where the next one begins, None behind the last, and the rows read for it."""

    people: list[Person]
    after: str | None
    rows: int


@dataclass(frozen=True)
class Size:
    """How many people; `exact` is False for an estimate."""

    count: int
    exact: bool


class Revealing(Protocol):
    """Reads a user's encrypted variables."""

    def reveal(self, name: str, sealed: str) -> str:
        """Return the text again."""


def vaults(account: AccountTable) -> Callable[[str], Revealing]:
    """Return what opens the variables of a channel's users, by user id."""

    def vault(user_id: str) -> Revealing:
        from chatbot.conversation import Vault  # brings the whole conversation along, and few conditions ask for it

        return Vault(account.admin_id, account.account_id, user_id)

    return vault


def membership(partition: str, segment_id: str) -> str:
    """Return `#adminId#accountId#segmentId`, the partition of a segment's members."""
    return f"{partition}#{segment_id}"


class Audience:
    """The followers of a channel who are in any of the segments, or all of them, and whoever is named besides."""

    def __init__(
        self,
        partition: str,
        *,
        everyone: bool,
        segments: Sequence[SegmentTable],
        user_ids: Sequence[str],
        vault: Callable[[str], Revealing],
    ) -> None:
        """Make an audience; `user_ids` are in it in any case, `vault` opens the variables of a user by his id."""
        self._partition = partition
        self._everyone = everyone or any(segment.is_default for segment in segments)
        self._named = sorted(set(user_ids))
        self._vault = vault
        self._segments = [] if self._everyone else list(segments)
        asking = [segment.conditions for segment in self._segments if segment.mode == "Conditions"]
        conditions = [condition for one in asking for condition in one]
        self._tests = [compiled(one) for one in asking]
        self._sources = {condition["source"] for condition in conditions}
        self._compared = compared_variables(conditions)
        self._walks = self._everyone or bool(asking)
        # People come through links into segments of every mode.
        self._listing = [segment for segment in self._segments if segment.mode == "Custom" or segment.members]
        self._rows = 0

    @property
    def slow(self) -> bool:
        """Whether judging somebody may take the decryption of a variable, which is a call."""
        return bool(self._compared)

    def people(self, after: str = "") -> Iterator[Person]:
        """Yield everybody behind a user id, '' for all."""
        for user_id, marks in self._looked_at(after, _A_READ):
            if _belongs(marks):
                yield Person(user_id, bool(marks & _FOLLOWS))

    def part(self, after: str = "", *, people: int, rows: int) -> Part:
        """Return the next people: at most so many, and from about so many rows read, so there may be none yet."""
        self._rows = 0
        found: list[Person] = []
        ahead = self._looked_at(after, min(_A_READ, rows))
        for user_id, marks in ahead:
            if _belongs(marks):
                found.append(Person(user_id, bool(marks & _FOLLOWS)))
            if len(found) >= people or self._rows >= rows:
                last = next(ahead, None) is None
                return Part(found, None if last else user_id, self._rows)
        return Part(found, None, self._rows)

    def size(self, limit_rows: int = 10_000) -> Size:
        """Return how many people there are: exact while no more than `limit_rows` rows have to be read for it.

        Beyond that the share of those read stands for the rest. Everyone is counted by the channel's counter; so is
        one segment of picked users, whose counter holds those who left, too.
        """
        if self._everyone:
            return Size(users.followers(self._partition) + len(self._named) - len(self._following(self._named)), True)
        if not self._named and len(self._segments) == 1 and self._segments[0].mode == "Custom":
            members = int(self._segments[0].members)
            return Size(members, members == 0)
        if self.slow:
            limit_rows = max(limit_rows // _SLOWER, 1)
        self._rows = 0
        followed = chosen = count = 0
        for seen, (_, marks) in enumerate(self._looked_at("", min(_A_READ, limit_rows)), 1):
            followed += bool(marks & _FOLLOWS)
            chosen += bool(marks & _FOLLOWS and marks & (_LISTED | _CHOSEN))
            count += _belongs(marks)
            # Those who are looked up together were read together, too.
            if self._rows >= limit_rows and (self._walks or seen % _A_LOOK_UP == 0):
                return Size(max(count, self._estimate(followed, chosen)), False)
        return Size(count, True)

    def _estimate(self, followed: int, chosen: int) -> int:
        if self._walks:
            return len(self._named) + round(chosen / max(followed, 1) * users.followers(self._partition))
        listed = sum(int(segment.members) for segment in self._listing)
        return len(self._named) + round(chosen / self._rows * listed)

    def _looked_at(self, after: str, a_read: int) -> Iterator[Mark]:
        """Yield whoever may belong to the audience, once, with all that is known of him."""
        streams = [self._names(after)]
        streams += [self._members(segment, after, a_read) for segment in self._listing]
        streams += [self._buyers(segment, after, a_read) for segment in self._segments if segment.mode == "CVKey"]
        if self._walks:
            return _gathered(heapq.merge(self._walk(after, a_read), *streams))
        return self._with_status(_gathered(heapq.merge(*streams)))

    def _names(self, after: str) -> Iterator[Mark]:
        for user_id in self._named[bisect_right(self._named, after) :]:
            yield user_id, _NAMED

    def _members(self, segment: SegmentTable, after: str, a_read: int) -> Iterator[Mark]:
        fields = (MemberTable.user_id,)
        place = membership(self._partition, segment.segment_id)
        # Consistent, because a segment that was just saved may be sent to at once.
        for item in self._read(
            MemberTable, place, MemberTable.user_id, after, fields=fields, limit=a_read, consistent=True
        ):
            yield item["user_id"]["S"], _LISTED

    def _buyers(self, segment: SegmentTable, after: str, a_read: int) -> Iterator[Mark]:
        """Yield the users with an order of this number: one for each partner, so few that they are sorted here."""
        found = OrderTable.every_item(
            self._partition,
            OrderTable.place.startswith(f"{segment.order_id}#"),
            fields=(OrderTable.user_id, OrderTable.order_id),
            limit=a_read,
        )
        buyers = set()
        for item in found:
            self._rows += 1
            if item["order_id"]["S"] == segment.order_id:
                buyers.add(item["user_id"]["S"])
        for user_id in sorted(buyers):
            if user_id > after:
                yield user_id, _LISTED

    def _walk(self, after: str, a_read: int) -> Iterator[Mark]:
        """Yield every user of the channel, with whether he follows and whether conditions choose him."""
        fields: list[Any] = [ConversationTable.user_id, ConversationTable.status]
        if self._sources & {"tag", "uservariable"}:
            fields.append(ConversationTable.state)
        if "cvkey" in self._sources:
            fields.append(ConversationTable.orders)
        if "followtime" in self._sources:
            fields.append(ConversationTable.follow_time)
        pushes = _Pushes(self._read(PushTable, self._partition, PushTable.user_id, after, limit=a_read))
        place = ConversationTable.user_id
        for item in self._read(ConversationTable, self._partition, place, after, fields=fields, limit=a_read):
            user_id = item["user_id"]["S"]
            if item["status"]["S"] != "1":
                yield user_id, 0
            elif self._everyone or self._chooses(item, user_id, pushes):
                yield user_id, _FOLLOWS | _CHOSEN
            else:
                yield user_id, _FOLLOWS

    def _chooses(self, item: Item, user_id: str, pushes: _Pushes) -> bool:
        state: dict[str, Any] = {}
        if "state" in item:
            state = ConversationTable.state.deserialize(base64.b64decode(item["state"]["B"]))
        variables = state.get("variables") or {}

        def variable(name: str) -> str:
            value = variables.get(name, "")
            if not isinstance(value, dict):
                return str(value)
            # Decrypting costs a request, and that there is a value shows without.
            return self._vault(user_id).reveal(name, value["sealed"]) if name in self._compared else "sealed"

        orders = item.get("orders", {}).get("S")
        subject = Subject(
            state.get("tags") or (),
            variable,
            datetime.fromisoformat(item["follow_time"]["S"]) if "follow_time" in item else None,
            json.loads(orders) if orders else (),
            lambda: pushes.at(user_id),
        )
        return any(test(subject) for test in self._tests)

    def _with_status(self, marks: Iterator[Mark]) -> Iterator[Mark]:
        """Look up who follows, a hundred at a time."""
        while batch := list(islice(marks, _A_LOOK_UP)):
            following = self._following([user_id for user_id, _ in batch])
            for user_id, known in batch:
                yield user_id, known | _FOLLOWS if user_id in following else known

    def _following(self, user_ids: Iterable[str]) -> set[str]:
        keys = [ConversationTable.key(self._partition, user_id) for user_id in user_ids]
        found = rows_of(ConversationTable, keys, (ConversationTable.user_id, ConversationTable.status))
        return {item["user_id"]["S"] for item in found if item["status"]["S"] == "1"}

    def _read(self, table: type[Table], hash_key: str, place: Any, after: str, **how: Any) -> Iterator[Item]:
        """Yield raw rows in the order of the user ids, which are their range key, and count them."""
        for item in table.every_item(hash_key, place > after if after else None, **how):
            self._rows += 1
            yield item


class _Pushes:
    """When users were last pushed to; asked for in the order of their ids, and read only as far as that."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self._ahead: Item | None = None

    def at(self, user_id: str) -> datetime | None:
        """Return the time of the user's last push, None when there was none."""
        for item in chain([self._ahead] if self._ahead else [], self._items):
            self._ahead = item
            if item["user_id"]["S"] >= user_id:
                break
        if self._ahead is None or self._ahead["user_id"]["S"] != user_id:
            return None
        return datetime.fromisoformat(self._ahead["pushed_at"]["S"])


def _gathered(marks: Iterator[Mark]) -> Iterator[Mark]:
    """Put together what is said of the same user."""
    current, known = "", 0
    for user_id, mark in marks:
        if user_id != current:
            if current:
                yield current, known
            current, known = user_id, 0
        known |= mark
    if current:
        yield current, known


def _belongs(marks: int) -> bool:
    return bool(marks & _NAMED or (marks & _FOLLOWS and marks & (_LISTED | _CHOSEN)))
