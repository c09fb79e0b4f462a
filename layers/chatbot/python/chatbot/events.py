"""What users did, on its way from the channels to the worker: the same for every channel, in order for each user."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from chatbot.tables import account_key
from kernel.queues import Message, Queue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatbot.tables import AccountTable

EVENTS = Queue("events")

Kind = Literal["follow", "unfollow", "text", "other", "start"]


class Said(BaseModel):
    """What of an event concerns the conversation: its kind, the text of a message, and what was tapped.

    `action` is what a tapped button stands for: the text it sent, or its payload, while `text` may be the date that
    was picked with it. `start` is no word of the user: the scenario is sent to him, because he came through a
    segment's link (`revision` 0: as it is now), because it was booked (`booking` names what booked it) or broadcast.
    `waits` tells that it is kept for a user who does not follow now.
    """

    kind: Kind
    user_id: str
    at: datetime
    text: str = ""
    action: str = ""
    reply_token: str = ""
    scenario_id: str = ""
    revision: int = 0
    booking: str = ""
    waits: bool = False


class Event(BaseModel):
    """One event of a channel on the queue; a repetition has the same `event_id`."""

    admin_id: str
    account_id: str
    event_id: str
    said: Said

    @classmethod
    def of(cls, account: AccountTable, event_id: str, said: Said) -> Event:
        """Return the event of a channel."""
        return cls(admin_id=account.admin_id, account_id=account.account_id, event_id=event_id, said=said)


def enqueue(events: Iterable[Event]) -> None:
    """Put events on the queue: in order for each user, a repetition of the last minutes only once."""
    EVENTS.send(map(_message, events))


def _message(event: Event) -> Message:
    partition = account_key(event.admin_id, event.account_id)
    return Message(
        body=event.model_dump(mode="json", exclude_defaults=True),
        group=hashlib.sha256(f"{partition}{event.said.user_id}".encode()).hexdigest(),
        dedup=hashlib.sha256(f"{partition}{event.event_id}".encode()).hexdigest(),
    )
