"""Which rich menu each user of a LINE channel sees, brought to LINE: one default, and a link for those who differ.

A run walks everybody who may get a menu of his own, and everybody who has one, in the order of their ids and a few
thousand a message. What LINE was told is noted, so that a run says only what changed, and a repeated one nothing.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from chatbot import due
from chatbot.audiences import Audience, vaults
from chatbot.tables import ConversationTable, MenuLinkTable, MenuTable, SegmentTable, account_key
from kernel import clock, ids
from kernel.channels.faults import Refused
from kernel.queues import Message, Queue
from kernel.running import current, logger
from kernel.tables import Delete, Put, commit, rows_of, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from chatbot.audiences import Revealing
    from chatbot.tables import AccountTable
    from kernel.channels.line.rich_menus import RichMenus

EVERYBODY = "richAllUser"
MENUS = Queue("menus", visibility=360, batch=1)
PEOPLE_A_MESSAGE = 5000
PEOPLE_A_CALL = 500
# Of those read, conditions may choose few; so many rows are read in some ten seconds.
_ROWS_A_MESSAGE = 50_000
_LEAST_ROWS = 1000
# What LINE shows to somebody is not known, because he left and may come back.
_UNKNOWN = ""
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
# In UTC: three in the morning where most of the users are.
_NIGHT = 19
# One malformed id and LINE refuses a whole call; operators pick users by hand.
_USER = re.compile(r"U[0-9a-f]{32}", re.ASCII)


class Menu(NamedTuple):
    """What decides who sees a menu; `start` None is since ever, and a menu that is not `timed` has no end."""

    menu_id: str
    segments: frozenset[str]
    timed: bool
    start: datetime | None
    end: datetime | None
    created_at: datetime

    @property
    def for_everybody(self) -> bool:
        """Whether all users see it, not only those of its segments."""
        return EVERYBODY in self.segments

    def applies(self, now: datetime) -> bool:
        """Tell whether now is in its window, from its start to before its end."""
        if not self.timed:
            return True
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)


class MenuRun(BaseModel):
    """A run over a channel's users, or what is left of it behind the user `cursor`; its messages share `run`."""

    admin_id: str
    account_id: str
    run: str
    cursor: str = ""


def best(menus: Iterable[Menu], now: datetime) -> Menu | None:
    """Return which of the menus made for a user he sees (contract, saveMenu rules).

    One inside its window beats others, then one for a segment beats one for everybody, then the newest.
    """
    applying = (menu for menu in menus if menu.applies(now))
    return max(applying, key=_rank, default=None)


def _rank(menu: Menu) -> tuple[bool, bool, datetime, str]:
    return menu.timed, not menu.for_everybody, menu.created_at, menu.menu_id


def wake(admin_id: str, account_id: str, reason: str) -> None:
    """Have the channel's menus brought to LINE; equal reasons within a minute are one.

    A reason names one change (`saved …`, the place of a due entry). For changes that come in swarms there is `soon`:
    of two equal reasons the second would be lost although the run for the first is over.
    """
    minute = clock.now().replace(second=0, microsecond=0)
    run = MenuRun(admin_id=admin_id, account_id=account_id, run=ids.ordered_id())
    _send(run, f"{reason} {minute:%Y-%m-%dT%H:%M}")


def soon(admin_id: str, account_id: str) -> Put:
    """Return the write that has the menus brought to LINE at the end of this minute, once for all who ask until then.

    To be committed together with what changes a segment.
    """
    at = clock.now().replace(second=0, microsecond=0) + _MINUTE
    return due.book("menus", admin_id, account_id, at, "segments", {})


def _tomorrow(run: MenuRun) -> Put:
    """Return the write that books the next night's run: whom conditions choose changes without a word."""
    at = (clock.now() + _DAY).replace(hour=_NIGHT, minute=0, second=0, microsecond=0)
    return due.book("menus", run.admin_id, run.account_id, at, "nightly", {})


def _send(run: MenuRun, dedup: str) -> None:
    partition = account_key(run.admin_id, run.account_id)
    MENUS.send(
        [
            Message(
                body=run.model_dump(),
                group=hashlib.sha256(partition.encode()).hexdigest(),
                dedup=hashlib.sha256(f"{partition}{dedup}".encode()).hexdigest(),
            )
        ]
    )


def apply(run: MenuRun, account: AccountTable, line: RichMenus) -> bool:
    """Show their menus to the next people of a run and queue the rest of it; True when there is no rest."""
    partition = account_key(run.admin_id, run.account_id)
    now = clock.now()
    menus = _menus(partition)
    usual = best((menu for menu in menus if menu.for_everybody), now)
    if not run.cursor:
        _show_by_default(line, usual, menus)
    rivals = [menu for menu in menus if menu.applies(now) and (usual is None or _rank(menu) > _rank(usual))]
    people, cursor = _people(partition, rivals, vaults(account), run.cursor)
    _show(partition, line, people, now)
    if cursor is None:
        if any(not menu.for_everybody and (not menu.timed or menu.end is None or menu.end > now) for menu in menus):
            commit(_tomorrow(run))
        return True
    _send(run.model_copy(update={"cursor": cursor}), f"{run.run}{cursor}")
    return False


def _menus(partition: str) -> list[Menu]:
    items = MenuTable.every_item(
        partition,
        fields=[
            MenuTable.menu_id,
            MenuTable.segments,
            MenuTable.timed,
            MenuTable.start_time,
            MenuTable.end_time,
            MenuTable.created_at,
        ],
        consistent=True,
    )
    return [
        Menu(row.menu_id, frozenset(row.segments), row.timed, row.start_time, row.end_time, row.created_at)
        for row in map(MenuTable.of_item, items)
    ]


def _show_by_default(line: RichMenus, usual: Menu | None, menus: Sequence[Menu]) -> None:
    """Set LINE's default; one that was not made here is left alone when there is none to replace it."""
    shown = line.default()
    if usual is not None and usual.menu_id != shown:
        with _unless_refused(usual.menu_id):
            line.set_default(usual.menu_id)
    elif usual is None and any(menu.menu_id == shown for menu in menus):
        line.clear_default()


@dataclass
class _Person:
    """A user, and the menus made for segments he is in; `has` is what he was given: None nothing, else a menu.

    Nobody looked yet whether he `follows` when he is in no segment.
    """

    user_id: str
    menus: list[Menu] = field(default_factory=list)
    follows: bool | None = None
    has: str | None = None


def _people(
    partition: str, menus: Sequence[Menu], vault: Callable[[str], Revealing], after: str
) -> tuple[list[_Person], str | None]:
    """Return those behind `after` who are in a segment of the menus, or have a menu, and where the next ones begin.

    Every source is read for a while. What all of them were read to is the end of this part, so nobody is missing whom
    another source would have named.
    """
    by_segment: dict[str, list[Menu]] = {}
    for menu in menus:
        for segment_id in menu.segments:
            by_segment.setdefault(segment_id, []).append(menu)
    # A segment may be gone, or never have been there: nobody is in it.
    keys = [SegmentTable.key(partition, segment_id) for segment_id in by_segment]
    segments = [SegmentTable.of_item(item) for item in rows_of(SegmentTable, keys)]
    found: dict[str, _Person] = {}
    ends = []
    for segment in segments:
        audience = Audience(partition, everyone=False, segments=[segment], user_ids=(), vault=vault)
        part = audience.part(after, people=PEOPLE_A_MESSAGE, rows=max(_ROWS_A_MESSAGE // len(segments), _LEAST_ROWS))
        ends.append(part.after)
        for user_id, follows in part.people:
            person = found.setdefault(user_id, _Person(user_id))
            person.menus += by_segment[segment.segment_id]
            person.follows = follows
    condition = MenuLinkTable.user_id > after if after else None
    rows, last_key = MenuLinkTable.query(partition, condition, limit=PEOPLE_A_MESSAGE, consistent=True)
    ends.append(rows[-1].user_id if last_key else None)
    for row in rows:
        found.setdefault(row.user_id, _Person(row.user_id)).has = row.menu_id
    end = min((end for end in ends if end is not None), default=None)
    return [person for person in found.values() if end is None or person.user_id <= end], end


def _show(partition: str, line: RichMenus, people: Sequence[_Person], now: datetime) -> None:
    """Link and unlink those people at LINE who see something else than they should, and note what they see now.

    Who does not follow cannot be told anything: LINE answers 200 and does nothing. What he has is then unknown, so
    that he gets his menu when he is back. Who is not known at all was erased: he is unlinked, and nothing is noted.
    """
    statuses = _statuses(
        partition,
        [
            person.user_id
            for person in people
            if not person.follows and (person.follows is None or person.has is not None)
        ],
    )
    links: dict[str, list[str]] = {}
    unlinked: list[str] = []
    left: list[str] = []
    for person in people:
        follows = statuses.get(person.user_id) == "1" if person.follows is None else person.follows
        if not follows:
            if person.has is not None and person.user_id not in statuses:
                unlinked.append(person.user_id)
            elif person.has:
                left.append(person.user_id)
            continue
        menu = best(person.menus, now)
        if menu is None and person.has is not None:
            unlinked.append(person.user_id)
        elif menu is not None and menu.menu_id != person.has and _USER.fullmatch(person.user_id):
            links.setdefault(menu.menu_id, []).append(person.user_id)
    for part in _calls(unlinked):
        line.unlink(part)
        write_all(Delete(MenuLinkTable, MenuLinkTable.key(partition, user_id)) for user_id in part)
    for menu_id, user_ids in links.items():
        for part in _calls(user_ids):
            with _unless_refused(menu_id):
                line.link(menu_id, part)
                write_all(_notes(partition, part, menu_id))
    write_all(_notes(partition, left, _UNKNOWN))
    current().facts.update(people=len(people), unlinked=len(unlinked), linked=sum(map(len, links.values())))


def _statuses(partition: str, user_ids: Sequence[str]) -> dict[str, str]:
    """Return who of the users is known, each with '1' when he follows."""
    keys = [ConversationTable.key(partition, user_id) for user_id in user_ids]
    found = map(
        ConversationTable.of_item,
        rows_of(ConversationTable, keys, [ConversationTable.user_id, ConversationTable.status]),
    )
    return {row.user_id: row.status for row in found}


def _calls(user_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(user_ids), PEOPLE_A_CALL):
        yield user_ids[start : start + PEOPLE_A_CALL]


def _notes(partition: str, user_ids: Sequence[str], menu_id: str) -> Iterator[Put]:
    for user_id in user_ids:
        yield Put(MenuLinkTable(account=partition, user_id=user_id, menu_id=menu_id))


@contextmanager
def _unless_refused(menu_id: str) -> Iterator[None]:
    """Go on without a menu that LINE does not take, such as one that somebody deleted in LINE's own manager."""
    try:
        yield
    except Refused as problem:
        if problem.status in (401, 403):
            # The token is the operator's to mend, and nothing is wrong with the menu.
            raise
        logger().error("LINE does not show a menu", menu=menu_id, status=problem.status)
