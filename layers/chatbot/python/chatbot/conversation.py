"""One event of a user, from the queue to the messages he gets.

Order of things, so that a crash at any point loses nothing: decide, store the turn together with the new state,
send, note that it was sent. A repeated event finds its turn: sent ones are ignored, unsent ones are sent again.
"""

from __future__ import annotations

import unicodedata
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from chatbot import due, users
from chatbot.delivery import choices, deliver, profile, sendable
from chatbot.engine import Conversation, Outcome, Turn
from chatbot.events import Event, Said, enqueue
from chatbot.outside import Outside
from chatbot.reservations import sending_time
from chatbot.tables import (
    AccountTable,
    ChannelTokenTable,
    ConversationTable,
    CorsErrorTable,
    DueTable,
    EntryTable,
    FollowerCountTable,
    FormEntryTable,
    FormTable,
    IconTable,
    MemberTable,
    NameTable,
    PushTable,
    ScenarioTable,
    ScenarioVersionTable,
    SegmentTable,
    TriggerTable,
    TurnTable,
    UserTable,
    VariableHistoryTable,
    account_key,
)
from chatbot.times import shown
from chatbot.triggers import StoredScenarios
from kernel import clock, secrets
from kernel.channels.faults import TryLater
from kernel.running import current, logger
from kernel.tables import Change, Delete, Put, Write, commit, create, fetch, replace, write_all

if TYPE_CHECKING:
    from chatbot.engine import Scenario
    from chatbot.messages import Message

# What every function needs that lets a conversation go on.
READ = (
    AccountTable, ConversationTable, TurnTable, ScenarioTable, ScenarioVersionTable, TriggerTable, SegmentTable,
    MemberTable, EntryTable, NameTable, PushTable, FormTable, IconTable, ChannelTokenTable,
)  # fmt: skip
WRITTEN = (
    ConversationTable, TurnTable, UserTable, FollowerCountTable, MemberTable, SegmentTable, EntryTable, PushTable,
    VariableHistoryTable, FormEntryTable, CorsErrorTable, DueTable, ChannelTokenTable,
)  # fmt: skip

# How long LINE redelivers is not disclosed; a reply token never outlives 20 minutes.
TURN_LIFE = timedelta(days=7)
# DynamoDB keeps 400 KB an item.
_TURN_BYTES = 350_000
# A transaction takes 100 writes; each booking may be two, and ten segments that somebody enters three each.
_WRITES_AT_ONCE = 100
_BOOKINGS_A_TURN = 25
_ERRORS_A_TURN = 10
NOT_FOLLOWING = "does not follow"
_PROFILE_PAUSE = timedelta(minutes=10)
_PROFILE_LIFE = timedelta(days=7)


class Vault:
    """Seals variables with the channel's, the user's and the variable's name as context."""

    def __init__(self, admin_id: str, account_id: str, user_id: str) -> None:
        self._context = {"adminId": admin_id, "accountId": account_id, "userId": user_id}

    def seal(self, name: str, text: str) -> str:
        """Return the text encrypted."""
        return secrets.encrypt(text, {**self._context, "variable": name})

    def reveal(self, name: str, sealed: str) -> str:
        """Return the text again."""
        return secrets.decrypt(sealed, {**self._context, "variable": name}).reveal()


def answer(event: Event) -> TurnTable | None:
    """Handle one event and return its turn, None when there is nobody to answer; raises when it has to come again."""
    found = decided(event)
    if found is None:
        return None
    if found.turn.delivered_at is None:
        deliver(found.account, found.turn, event.said)
    return found.turn


def record(event: Event) -> None:
    """Keep what a broadcast's nodes record and ask of a user; its messages are sent to many at once."""
    decided(event, silent=True)


class Decided(NamedTuple):
    """The turn of an event; `repeated` when it was made before."""

    account: AccountTable
    turn: TurnTable
    repeated: bool


def decided(event: Event, *, silent: bool = False, hasty: bool = False) -> Decided | None:
    """Decide and store what an event leads to; return the turn, which may have been delivered before.

    With `hasty` a turn that takes long raises TryLater before anything is stored.
    """
    said = event.said
    partition = account_key(event.admin_id, event.account_id)
    account, row, turn = fetch(
        (AccountTable, AccountTable.key(event.admin_id, event.account_id)),
        (ConversationTable, ConversationTable.key(partition, said.user_id)),
        (TurnTable, TurnTable.key(f"{partition}#{said.user_id}", event.event_id)),
    )
    if account is None:
        current().facts["ignored"] = "the channel is gone"
    elif account.erased_at is not None and said.at <= account.erased_at:
        current().facts["ignored"] = "erased"
    elif turn is None and said.kind == "start" and row is None:
        current().facts["ignored"] = "the user is gone"
    else:
        repeated = turn is not None
        if turn is None:
            turn = _Decision(account, row, event, silent=silent, hasty=hasty).made()
        elif turn.delivered_at is not None:
            current().facts["ignored"] = "repeated"
        return Decided(account, turn, repeated)
    return None


class _Decision:
    """The decision on one event: runs the turn and stores it with everything it changes, all or nothing."""

    def __init__(
        self, account: AccountTable, row: ConversationTable | None, event: Event, *, silent: bool, hasty: bool
    ) -> None:
        self._account = account
        self._silent = silent
        self._hasty = hasty
        self._event = event
        self._said = event.said
        self._partition = account_key(account.admin_id, account.account_id)
        self._known = row is not None
        self._row = row if row is not None else _new_row(self._partition, event.said)
        self._state = Conversation(**self._row.state) if self._known else Conversation()
        self._library = StoredScenarios(self._partition)
        self._writes: list[Write] = []
        self._gone: list[Delete] = []
        self._joined: set[str] = set()
        self._senders: dict[str, dict[str, Any] | None] = {}

    def made(self) -> TurnTable:
        """Run the turn, store what it changes and return it."""
        said, row = self._said, self._row
        old_key = UserTable.key(self._partition, _user_place(row)) if self._known else None
        difference = _follow_status(row, said)
        self._refresh_profile()
        outside = Outside(self._account, said.user_id, self._event.event_id, self._open_variables, hasty=self._hasty)
        turn = Turn(
            self._state,
            self._library,
            Vault(self._account.admin_id, self._account.account_id, said.user_id),
            clock.now(),
            follow_time=row.follow_time,
            orders=row.orders or [],
            outside=outside,
            dress=self._dressed,
        )
        outcome = self._run(turn)
        _report(outcome)
        self._record(outcome, outside)
        if outcome.messages:
            self._state.choices = choices(self._account, outcome.messages)
        row.state = asdict(self._state)
        if said.kind != "start":
            row.access_time = max(row.access_time, said.at)
        messages = [] if self._silent else _stored(sendable(self._account, outcome.messages))
        stored = TurnTable(
            person=f"{self._partition}#{said.user_id}",
            event_id=self._event.event_id,
            messages=messages,
            replied=0,
            refused=outcome.facts.get("not sent"),
            expires=clock.now() + TURN_LIFE,
            delivered_at=None if messages else clock.now(),
        )
        writes = [create(stored), replace(row), *_user_writes(self._account, row, self._state, old_key)]
        if difference:
            writes.append(users.counted(self._partition, said.user_id, difference))
        writes += self._writes
        write_all(write for write in writes[_WRITES_AT_ONCE:] if isinstance(write, Put))
        commit(*writes[:_WRITES_AT_ONCE])
        # Taken back only now: until the state is stored, the earlier booking is the one that counts.
        write_all(self._gone)
        if said.kind == "follow" and row.status == "1":
            self._join_late()
        return stored

    def _open_variables(self) -> list[str]:
        """Return the names of the variables that are not encrypted: only those go to the URLs of conditions."""
        return [name for name, value in self._state.variables.items() if isinstance(value, str)]

    def _refresh_profile(self) -> None:
        """Ask the channel for name and picture: of new followers, of the unnamed now and then, of all once a week."""
        row, said = self._row, self._said
        if said.kind in ("unfollow", "start"):
            return
        unnamed = not row.user_name and said.at > row.access_time + _PROFILE_PAUSE
        stale = row.profile_at is None or said.at > row.profile_at + _PROFILE_LIFE
        if said.kind == "follow" or not self._known or unnamed or (row.user_name and stale):
            found = profile(self._account, said.user_id)
            row.profile_at = said.at
            if found is not None:
                row.user_name, row.user_picture = found

    def _run(self, turn: Turn) -> Outcome:
        said, row = self._said, self._row
        match said.kind:
            case "follow" if row.status != "1" or said.at < row.status_at:
                # It came late: since then the user has left again, or is greeted already.
                return Outcome([], {})
            case "follow":
                self._join_segments()
                self._unpark()
                return turn.follow()
            case "unfollow" if row.status == "1":
                # It came late: since then the user has followed again, and his flow goes on.
                return Outcome([], {})
            case "unfollow":
                return turn.unfollow()
            case "text":
                return turn.say(self._chosen(said.text), said.action)
            case "start":
                return self._started(turn)
        return turn.show()

    def _chosen(self, text: str) -> str:
        """Return what a number stands for that was shown in the place of a button, else the text."""
        typed = unicodedata.normalize("NFKC", text).strip()
        number = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 3 else 0
        return self._state.choices[number - 1] if 0 < number <= len(self._state.choices) else text

    def _started(self, turn: Turn) -> Outcome:
        """Send a scenario that was booked, or that stands behind a segment's link."""
        said = self._said
        if said.booking:
            if self._state.booked.get(said.booking) != shown(said.at):
                return Outcome([], {"ignored": "booked anew or sent"})
            del self._state.booked[said.booking]
        if self._row.status != "1":
            if said.waits:
                self._state.parked.append({"scenario_id": said.scenario_id, "revision": said.revision})
            return Outcome([], {"not sent": NOT_FOLLOWING})
        if said.revision:
            scenario = self._library.saved(said.scenario_id, said.revision)
        else:
            scenario = self._library.scenario(said.scenario_id)
        if scenario is None:
            return Outcome([], {"ignored": "the scenario is gone"})
        self._writes.append(Put(PushTable(account=self._partition, user_id=said.user_id, pushed_at=clock.now())))
        return turn.start(scenario)

    def _join_segments(self) -> None:
        """Let a new follower into the segments through whose links he came, and send their scenarios next."""
        from chatbot import segments

        for entry in segments.entries_of(self._partition, self._said.user_id):
            self._joined.add(entry.segment_id)
            self._add(segments.completed(entry))
            self._start_segment(entry.segment_id)

    def _add(self, writes: list[Write]) -> None:
        """Add writes but for rows that are put already: every segment has the menus follow, in one and the same row."""
        put = [write.row.own_key() for write in self._writes if isinstance(write, Put)]
        self._writes += [write for write in writes if not isinstance(write, Put) or write.row.own_key() not in put]

    def _join_late(self) -> None:
        """Let him into those segments too for whose links he was registered while this turn was decided."""
        from chatbot import segments

        for entry in segments.entries_of(self._partition, self._said.user_id):
            if entry.segment_id not in self._joined:
                commit(*segments.completed(entry))
                self._start_segment(entry.segment_id)

    def _start_segment(self, segment_id: str) -> None:
        from chatbot import segments

        if scenario_id := segments.scenario_of(self._partition, segment_id):
            self._start_next([self._start_event(scenario_id, 0, f"{self._event.event_id}#{segment_id}")])

    def _unpark(self) -> None:
        """Send what came due while the user did not follow."""
        parked, self._state.parked = self._state.parked, []
        self._start_next(
            [
                self._start_event(one["scenario_id"], one["revision"], f"{self._event.event_id}#parked{place}")
                for place, one in enumerate(parked)
            ]
        )

    def _start_next(self, events: list[Event]) -> None:
        """Send what comes behind this event; who does not take it from the queue leaves it to the worker."""
        if events and self._hasty:
            raise TryLater("what follows stands behind this event in the queue")
        enqueue(events)

    def _start_event(self, scenario_id: str, revision: int, event_id: str) -> Event:
        # Sent before this turn is stored: the queue hands it out only when this event is done with.
        user_id, at = self._said.user_id, self._said.at
        said = Said(kind="start", user_id=user_id, at=at, scenario_id=scenario_id, revision=revision, waits=True)
        return Event.of(self._account, event_id, said)

    def _dressed(self, message: Message, node: dict[str, Any], scenario: Scenario) -> Message:
        """Return the message with its sender's icon and with links that tell who followed them."""
        if sender := self._sender(scenario.icon_id):
            message = {**message, "sender": sender}
        if any((node.get("nodeConst") or {}).values()):
            from chatbot import links

            return links.decorated(
                message,
                node,
                admin_id=self._account.admin_id,
                account_id=self._account.account_id,
                user_id=self._said.user_id,
                scenario_id=scenario.id,
            )
        return message

    def _sender(self, icon_id: str) -> dict[str, Any] | None:
        if icon_id and icon_id not in self._senders:
            from chatbot import icons

            self._senders[icon_id] = icons.sender(self._partition, icon_id)
        return self._senders.get(icon_id)

    def _record(self, outcome: Outcome, outside: Outside) -> None:
        """Add the writes of what the turn leaves behind: values, forms, bookings, errors of the external service."""
        said = self._said
        for number, booking in enumerate(outcome.bookings):
            at = sending_time(clock.now(), booking.minutes, booking.window)
            writes = self._book(booking.name, booking.scenario_id, at)
            if number < _BOOKINGS_A_TURN:
                self._writes += writes
            else:
                # Ahead of the transaction, which takes no more: without the state that names it, a booking is nothing.
                write_all(write for write in writes if isinstance(write, Put))
                self._gone += [write for write in writes if isinstance(write, Delete)]
        if outside.errors:
            from chatbot import cors_errors

            self._writes += cors_errors.noted(self._partition, outside.errors[:_ERRORS_A_TURN], clock.now())
        # Values and forms come last: what a transaction does not take of them may be written more than once.
        if outcome.changes:
            from chatbot import variable_history

            self._writes += variable_history.rows(
                self._partition, said.user_id, outcome.changes, said.at, self._event.event_id
            )
        if outcome.forms:
            from chatbot import forms

            for form in forms.named(self._partition, outcome.forms).values():
                if all(self._state.variables.get(name) for name in form.fields):
                    self._writes.append(
                        forms.entry(self._partition, said.user_id, form, self._state.variables, said.at)
                    )

    def _book(self, name: str, scenario_id: str, at: datetime) -> list[Put | Delete]:
        """Note a booking in the state and return its writes; an earlier one of the same name is taken back."""
        scenario = self._library.scenario(scenario_id)
        if scenario is None:
            current().facts["not booked"] = scenario_id
            return []
        writes: list[Put | Delete] = []
        admin_id, account_id, user_id = self._account.admin_id, self._account.account_id, self._said.user_id
        place = f"{user_id}#{name}"
        before = self._state.booked.get(name)
        if before is not None and before != shown(at):
            old = datetime.fromisoformat(before).replace(tzinfo=UTC)
            writes.append(due.cancel("reservation", admin_id, account_id, old, place))
        what = {"user_id": user_id, "scenario_id": scenario_id, "revision": scenario.version, "booking": name}
        writes.append(due.book("reservation", admin_id, account_id, at, place, what))
        self._state.booked[name] = shown(at)
        return writes


def _new_row(partition: str, said: Said) -> ConversationTable:
    return ConversationTable(
        account=partition,
        user_id=said.user_id,
        status="",
        status_at=datetime.fromtimestamp(0, UTC),
        follow_time=said.at,
        access_time=said.at,
        user_name="",
        user_picture="",
    )


def _follow_status(row: ConversationTable, said: Said) -> int:
    """Update whether the user follows, by the latest event that says so; return how the count changes.

    Redelivered events may arrive late, so an event older than the last word changes nothing.
    """
    if said.at < row.status_at or said.kind == "start":
        return 0
    before = row.status
    if said.kind == "unfollow":
        row.status = "0"
    elif said.kind == "follow":
        row.status = "1"
        row.follow_time = said.at
    elif before == "":
        # Somebody who was a friend before the channel came here.
        row.status = "1"
    else:
        return 0
    row.status_at = said.at
    return int(row.status == "1") - int(before == "1")


def _report(outcome: Outcome) -> None:
    current().facts.update(outcome.facts)
    if "cut" in outcome.facts:
        logger().warning("turn cut at its limit of nodes", place=outcome.facts["cut"])


def _stored(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages that fit into the turn's row; only bulky Flex messages by the dozen do not."""
    while len(TurnTable.messages.serialize(messages)) > _TURN_BYTES:
        messages = messages[:-1]
        current().facts["too large"] = True
    return messages


def _user_place(row: ConversationTable) -> str:
    return f"#{row.user_id}#{shown(row.follow_time)}"


def _user_writes(
    account: AccountTable, row: ConversationTable, state: Conversation, old_key: dict[str, Any] | None
) -> list[Write]:
    """Return the writes of the user list; its key holds the follow time, so a new follow moves the row."""
    key = UserTable.key(row.account, _user_place(row))
    tags = [{"name": tag["name"], "color": tag["color"]} for tag in state.tags]
    if key == old_key:
        changes = [
            UserTable.user_name.set(row.user_name),
            UserTable.user_picture.set(row.user_picture),
            UserTable.account_status.set(row.status),
            UserTable.node_id.set(state.node_id),
            UserTable.tags.set(tags),
            UserTable.access_time.set(row.access_time),
        ]
        return [Change(UserTable, key, changes)]
    user = UserTable(
        adm_acc_id=row.account,
        usrid_acstm=_user_place(row),
        user_id=row.user_id,
        user_name=row.user_name,
        user_picture=row.user_picture,
        account_type=account.account_type,
        account_status=row.status,
        node_id=state.node_id,
        tags=tags,
        follow_time=row.follow_time,
        access_time=row.access_time,
        created_at=row.created_at or clock.now(),
    )
    gone: list[Write] = [Delete(UserTable, old_key)] if old_key else []
    return [Put(user), *gone]
