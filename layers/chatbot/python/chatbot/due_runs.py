"""What is due is handed to those who do it: broadcasts and menus to their queues, reservations to the conversation."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from chatbot import due, menu_links
from chatbot.broadcasts import Step
from chatbot.events import Event, Said, enqueue
from chatbot.times import shown
from kernel.tables import Delete, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chatbot.tables import DueTable

# What a run does not get to is done by the next one, a minute later.
_A_RUN = 20_000
_AT_ONCE = 100


def hand_over() -> int:
    """Hand over what is due now and return how much it was; a crash in between hands some of it over again."""
    hands: Sequence[tuple[due.Kind, Callable[[list[DueTable]], None]]] = (
        ("broadcast", _start_broadcasts),
        ("menus", _switch_menus),
        ("reservation", _send_reservations),
    )
    total = 0
    for kind, hand in hands:
        entries = islice(due.entries(kind), _A_RUN)
        while batch := list(islice(entries, _AT_ONCE)):
            hand(batch)
            write_all(Delete(type(entry), entry.own_key()) for entry in batch)
            total += len(batch)
    return total


def _start_broadcasts(entries: list[DueTable]) -> None:
    for entry in entries:
        Step(admin_id=entry.admin_id, account_id=entry.account_id, **{"step": "start", **entry.what}).send()


def _switch_menus(entries: list[DueTable]) -> None:
    for entry in entries:
        menu_links.wake(entry.admin_id, entry.account_id, shown(entry.at))


def _send_reservations(entries: list[DueTable]) -> None:
    enqueue(map(_reservation, entries))


def _reservation(entry: DueTable) -> Event:
    what = entry.what
    said = Said(
        kind="start",
        user_id=what["user_id"],
        at=entry.at,
        scenario_id=what["scenario_id"],
        revision=what["revision"],
        booking=what["booking"],
        waits=True,
    )
    event_id = f"reservation#{what['user_id']}#{what['booking']}#{shown(entry.at)}"
    return Event(admin_id=entry.admin_id, account_id=entry.account_id, event_id=event_id, said=said)
