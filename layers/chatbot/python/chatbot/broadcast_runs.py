"""How a broadcast is carried out, so that a crash, a second worker or a repeated message sends nothing twice.

start → freeze (slice by slice: one row a person, chunks of up to 500) → dispatch (chunks to the sending queue) →
each chunk: choose, send, count. Every step first looks how far the broadcast is, and changes it together with what
it made; a repeated step finds its work done and only makes sure that the next one is on its way. What LINE is
asked carries a retry key made of chunk and place (LINE keeps keys for 24 hours); the counters change in the
transaction that ends a chunk, so they always add up.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from chatbot import conversation
from chatbot.accounts import credentials
from chatbot.audiences import Part
from chatbot.broadcast_content import content_of
from chatbot.broadcasts import CHUNKS, Step, addressed, people_key
from chatbot.conversation import NOT_FOLLOWING
from chatbot.delivery import BROADCAST, sendable
from chatbot.events import Event, Said
from chatbot.tables import (
    AccountTable,
    BroadcastTable,
    ChunkTable,
    ConversationTable,
    PushTable,
    RecipientTable,
    account_key,
)
from chatbot.triggers import StoredScenarios
from kernel import clock, ids
from kernel.channels.faults import OverLimit, Refused, TryLater
from kernel.channels.line.client import MESSAGES_A_CALL, LineClient
from kernel.errors import Conflict
from kernel.queues import Message
from kernel.running import current, logger
from kernel.tables import Change, ConditionFailed, Delete, Put, commit, fetch, rows_of, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatbot.engine import Scenario
    from chatbot.messages import Message as LineMessage

# A slice's chunks are written in one transaction of 100.
PEOPLE_A_SLICE = 10_000
PERSONS_A_SLICE = 5_000
# Conditions may choose few of many: so many rows are looked at in a slice, fewer where a decryption each is needed.
ROWS_A_SLICE = 100_000
SLOW_ROWS_A_SLICE = 5_000
# What LINE takes in one multicast; somebody who gets messages of his own takes a call of his own.
PEOPLE_A_CHUNK = 500
PERSONS_A_CHUNK = 100
CHUNKS_A_DISPATCH = 1000
CHUNKS_A_SETTLEMENT = 200
# Chunks that are sent at the same time; one queue group each. Personal ones wait for a call a person.
LANES = 20
PERSONAL_LANES = 80
_WRITERS = 8
# DynamoDB keeps 400 KB an item, and the people picked by hand take up to 200.
_MESSAGES_BYTES = 150_000
_LINE_USER = re.compile(r"U[0-9a-f]{32}", re.ASCII)
# LINE forgets a retry key after 24 hours, and would then send again what it has sent.
_KEY_LIFE = timedelta(hours=23)
# People of a chunk whom the channel does not answer for; more would take the time of the whole attempt.
_PATIENCE = 10

GONE = "the scenario is gone"
NOTHING = "the scenario has nothing to show at this time"
NOBODY = "nobody was in the audience"
STOPPED = "the broadcast was stopped"
MALFORMED = "is no LINE user id"
OVER_QUOTA = "the month's quota is used up"
UNANSWERED = "the channel did not answer"
_REASON = 200


class ChunkMessage(BaseModel):
    """A chunk to send."""

    admin_id: str
    account_id: str
    broadcast_id: str
    number: int


def carry_on(step: Step) -> None:
    """Do one step of a broadcast; raises when it has to come again."""
    partition = account_key(step.admin_id, step.account_id)
    row = BroadcastTable.find(partition, step.broadcast_id)
    if row is None:
        current().facts["ignored"] = "the broadcast is gone"
        return
    match step.step:
        case "start":
            _start(step, row)
        case "freeze":
            _freeze(step, row)
        case "dispatch":
            _dispatch(step, row)
        case "settle":
            _settle(step, row)


def _next(step: Step, name: str, at: int) -> None:
    step.model_copy(update={"step": name, "at": at}).send()


def _start(step: Step, row: BroadcastTable) -> None:
    """Fix what is sent, and begin to freeze the audience."""
    if row.state == "pending":
        account = AccountTable.find(step.admin_id, step.account_id)
        library = StoredScenarios(row.account)
        scenario = library.scenario(row.scenario_id)
        changes = [
            BroadcastTable.state.set("freezing"),
            BroadcastTable.started_at.set(clock.now()),
            BroadcastTable.updated_at.set(clock.now()),
        ]
        if scenario is None or account is None:
            changes.append(BroadcastTable.reason.set(GONE))
        else:
            content = content_of(scenario, library, clock.now(), lambda *shown: _with_sender(row.account, *shown))
            messages = sendable(account, content.messages)
            way = content.way if account.account_type == "line" and _fits(messages) else "personal"
            changes += [
                BroadcastTable.revision.set(scenario.version),
                BroadcastTable.way.set(way),
                BroadcastTable.messages.set([] if way == "personal" else messages),
            ]
            if way == "common" and not messages:
                changes.append(BroadcastTable.reason.set(NOTHING))
        try:
            commit(Change(BroadcastTable, row.own_key(), changes, BroadcastTable.state == "pending"))
        except ConditionFailed:
            current().facts["ignored"] = "started already"
    _next(step, "freeze", 0)


def _fits(messages: list[LineMessage]) -> bool:
    """Tell whether the messages fit into the broadcast's row; otherwise each person's turn brings them anew."""
    return len(BroadcastTable.messages.serialize(messages)) < _MESSAGES_BYTES


def _with_sender(partition: str, message: LineMessage, node: dict[str, Any], scenario: Scenario) -> LineMessage:
    from chatbot import icons

    sender = icons.sender(partition, scenario.icon_id) if scenario.icon_id else None
    return {**message, "sender": sender} if sender else message


def _freeze(step: Step, row: BroadcastTable) -> None:
    """Write down the next people of the audience, in the order of their ids; the last slice opens the sending."""
    if row.complete:
        _next(step, "dispatch", 0)
        return
    if row.state != "freezing":
        current().facts["ignored"] = row.state
        return
    if step.at == int(row.slices or 0):
        row = _frozen(row, _slice(step, row))
    _next(step, "dispatch" if row.complete else "freeze", 0 if row.complete else int(row.slices or 0))


def _slice(step: Step, row: BroadcastTable) -> Part:
    account = AccountTable.find(step.admin_id, step.account_id)
    if account is None:
        return Part([], None, 0)
    audience = addressed(account, row)
    length = PERSONS_A_SLICE if row.way == "personal" else PEOPLE_A_SLICE
    rows = SLOW_ROWS_A_SLICE if audience.slow else ROWS_A_SLICE
    return audience.part(row.cursor, people=length, rows=rows)


def _frozen(row: BroadcastTable, part: Part) -> BroadcastTable:
    """Store a slice of the audience and return the broadcast as it is then."""
    key = people_key(row)
    people, complete = part.people, part.after is None
    last = row.cursor if part.after is None else part.after
    length = PERSONS_A_CHUNK if row.way == "personal" else PEOPLE_A_CHUNK
    first = int(row.chunks)
    parts = [people[start : start + length] for start in range(0, len(people), length)]
    _forget_broken_off(key, row.cursor, "" if complete else last, {person.user_id for person in people})
    write_all(
        (
            Put(RecipientTable(broadcast=key, user_id=person.user_id, chunk=first + place))
            for place, part in enumerate(parts)
            for person in part
        ),
        at_once=_WRITERS,
    )
    chunks = [
        ChunkTable(
            broadcast=key, number=first + place, users=[person.user_id for person in part], state="pending",
            success=0, failed=0, skipped=0,
        )
        for place, part in enumerate(parts)
    ]  # fmt: skip
    changes = [
        BroadcastTable.cursor.set(last),
        BroadcastTable.slices.set(int(row.slices or 0) + 1),
        BroadcastTable.chunks.set(first + len(parts)),
        BroadcastTable.frozen.set(BroadcastTable.frozen + len(people)),
        BroadcastTable.complete.set(complete),
        BroadcastTable.updated_at.set(clock.now()),
    ]
    if complete:
        changes.append(BroadcastTable.state.set("sending"))
        if int(row.frozen) + len(people) == 0 and not row.reason:
            changes.append(BroadcastTable.reason.set(NOBODY))
    unmoved = BroadcastTable.slices == row.slices if row.slices else BroadcastTable.chunks == first
    unchanged = (BroadcastTable.state == "freezing") & unmoved & (BroadcastTable.complete == row.complete)
    try:
        commit(Change(BroadcastTable, row.own_key(), changes, unchanged), *map(Put, chunks))
    except ConditionFailed:
        # Paused or stopped meanwhile, or frozen by somebody else: the next step sees.
        current().facts["frozen"] = "not by this step"
    found = BroadcastTable.find(row.account, row.broadcast_id)
    return found if found is not None else row


def _forget_broken_off(key: str, cursor: str, last: str, kept: set[str]) -> None:
    """Remove the people whom an attempt that broke off had written and who are not in the audience any more."""
    person = RecipientTable.user_id
    # '!' is the first character that an id may begin with.
    between = person.between(f"{cursor}!", last) if last else person > cursor if cursor else None
    items = RecipientTable.every_item(key, between, fields=[person], limit=1000, consistent=True)
    write_all(
        Delete(RecipientTable, RecipientTable.key(key, item["user_id"]["S"]))
        for item in items
        if item["user_id"]["S"] not in kept
    )


def _dispatch(step: Step, row: BroadcastTable) -> None:
    """Put the chunks that are not done on the sending queue, so many a step."""
    if row.state != "sending" or not row.complete:
        current().facts["ignored"] = row.state
        return
    if int(row.frozen) == 0:
        finish(row)
        return
    end = min(step.at + CHUNKS_A_DISPATCH, int(row.chunks))
    CHUNKS.send(_chunk_messages(step, row, _open_chunks(row, step.at, end)))
    if end < int(row.chunks):
        _next(step, "dispatch", end)
    else:
        # What was done before a pause may have been the rest.
        finish(row)


def _open_chunks(row: BroadcastTable, start: int, end: int) -> Iterable[int]:
    fields = [ChunkTable.number, ChunkTable.state]
    between = ChunkTable.number.between(start, end - 1)
    for item in ChunkTable.every_item(people_key(row), between, fields=fields, limit=1000, consistent=True):
        if item["state"]["S"] != "done":
            yield int(item["number"]["N"])


def _chunk_messages(step: Step, row: BroadcastTable, numbers: Iterable[int]) -> Iterable[Message]:
    for number in numbers:
        message = ChunkMessage(
            admin_id=step.admin_id, account_id=step.account_id, broadcast_id=row.broadcast_id, number=number
        )
        group = f"{row.broadcast_id}#{number % (PERSONAL_LANES if row.way == 'personal' else LANES)}"
        yield Message(message.model_dump(), group=group, dedup=f"{row.broadcast_id}#{number}#{step.round}")


def _settle(step: Step, row: BroadcastTable) -> None:
    """Skip everybody whom a stopped broadcast has not reached; chunks that are being sent go on to their end."""
    if row.state != "stopped":
        current().facts["ignored"] = row.state
        return
    end = min(step.at + CHUNKS_A_SETTLEMENT, int(row.chunks))
    if end > step.at:
        begun = []
        for number in list(_open_chunks(row, step.at, end)):
            chunk = ChunkTable.find(people_key(row), number)
            if chunk is not None and chunk.state == "pending":
                count(row, chunk, skipped=len(chunk.users), reason=STOPPED)
            elif chunk is not None and chunk.state == "sending":
                begun.append(number)
        # Their messages may be lost, or have been given up.
        CHUNKS.send(_chunk_messages(step, row, begun))
    if end < int(row.chunks):
        _next(step, "settle", end)
        return
    if not row.complete:
        _forget_broken_off(people_key(row), row.cursor, "", set())
    finish(row)


def send_chunk(message: ChunkMessage) -> None:
    """Send to the people of one chunk and count them; raises when it has to be tried again."""
    partition = account_key(message.admin_id, message.account_id)
    key = f"{partition}#{message.broadcast_id}"
    account, row, chunk = fetch(
        (AccountTable, AccountTable.key(message.admin_id, message.account_id)),
        (BroadcastTable, BroadcastTable.key(partition, message.broadcast_id)),
        (ChunkTable, ChunkTable.key(key, message.number)),
    )
    if row is None or chunk is None:
        current().facts["ignored"] = "gone"
        return
    if chunk.state == "pending" and row.state == "paused":
        # A paused broadcast hands its chunks out again when it goes on.
        current().facts["ignored"] = "paused"
        return
    if chunk.state == "done":
        current().facts["ignored"] = "done"
    elif chunk.state == "pending" and row.state == "stopped":
        count(row, chunk, skipped=len(chunk.users), reason=STOPPED)
    elif row.reason or account is None:
        everybody = everybody_of(chunk)
        outcomes = dict.fromkeys(everybody, ("failed", row.reason or GONE))
        count(row, chunk, failed=len(everybody), outcomes=outcomes)
    else:
        _Sending(account, row, chunk).done()
    finish(row)


def everybody_of(chunk: ChunkTable) -> list[str]:
    """Return the ids of a chunk's people, however far it is."""
    return list(chunk.users["all"] if isinstance(chunk.users, dict) else chunk.users)


class _Sending:
    """One chunk on its way."""

    def __init__(self, account: AccountTable, row: BroadcastTable, chunk: ChunkTable) -> None:
        self._account = account
        self._row = row
        self._chunk = chunk
        self._outcomes: dict[str, tuple[str, str]] = {}
        self._refused: dict[str, str] = {}
        self._reached: set[str] = set()

    def done(self) -> None:
        """Send to everybody in the chunk who still follows, once, and count."""
        everybody = everybody_of(self._chunk)
        chosen = self._chosen(everybody)
        try:
            if self._row.way == "personal":
                self._send_to_each(chosen)
            else:
                if self._row.way == "recorded":
                    self._record(chosen)
                self._send_to_all(chosen)
        except (TryLater, Conflict) as problem:
            if not self._given_up(problem, [user_id for user_id in chosen if user_id not in self._reached]):
                raise
        sent = [user_id for user_id in everybody if user_id not in self._outcomes]
        moment = clock.now()
        write_all(
            (Put(PushTable(account=self._row.account, user_id=user_id, pushed_at=moment)) for user_id in sent),
            at_once=_WRITERS,
        )
        kinds = [outcome for outcome, _ in self._outcomes.values()]
        failed, skipped = kinds.count("failed"), kinds.count("skipped")
        count(self._row, self._chunk, success=len(sent), failed=failed, skipped=skipped, outcomes=self._outcomes)

    def _chosen(self, everybody: list[str]) -> list[str]:
        """Return whom to send to; fixed at the first attempt, because a repeated call must be the same call."""
        if self._chunk.state == "sending":
            fixed = self._chunk.users
            self._refused = fixed["refused"]
            self._outcomes = {user_id: (outcome, reason) for user_id, (outcome, reason) in fixed["not"].items()}
            chosen = [user_id for user_id in everybody if user_id not in self._outcomes]
            if clock.now() < datetime.fromisoformat(fixed["since"]) + _KEY_LIFE:
                return chosen
            self._outcomes |= dict.fromkeys(chosen, ("failed", UNANSWERED))
            return []
        keys = [ConversationTable.key(self._row.account, user_id) for user_id in everybody]
        fields = [ConversationTable.user_id, ConversationTable.status]
        followers = {
            item["user_id"]["S"] for item in rows_of(ConversationTable, keys, fields) if item["status"]["S"] == "1"
        }
        for user_id in everybody:
            if self._account.account_type == "line" and not _LINE_USER.fullmatch(user_id):
                self._outcomes[user_id] = ("failed", MALFORMED)
            elif user_id not in followers:
                self._outcomes[user_id] = ("skipped", NOT_FOLLOWING)
        fixed = {"all": everybody, "not": dict(self._outcomes), "since": clock.now().isoformat(), "refused": {}}
        changes = [ChunkTable.state.set("sending"), ChunkTable.users.set(fixed)]
        commit(Change(ChunkTable, self._chunk.own_key(), changes, ChunkTable.state == "pending"))
        self._chunk.state, self._chunk.users = "sending", fixed
        return [user_id for user_id in everybody if user_id not in self._outcomes]

    def _given_up(self, problem: TryLater | Conflict, unreached: list[str]) -> bool:
        """Tell whether trying again is of no use: the month's quota is gone, or the last attempt but one is over."""
        reason = ""
        needed = 1 if self._row.way == "personal" else len(unreached)
        if isinstance(problem, OverLimit) and self._account.account_type == "line" and self._quota_lacks(needed):
            reason = OVER_QUOTA
        elif current().attempt >= CHUNKS.attempts - 1:
            reason = UNANSWERED
        if not reason:
            return False
        logger().error("a chunk of a broadcast is given up", broadcast=self._row.broadcast_id, reason=reason)
        for user_id in unreached:
            self._outcomes.setdefault(user_id, ("failed", reason))
        return True

    def _quota_lacks(self, needed: int) -> bool:
        # LINE's status says the same of a rate limit, which passes, and of the month's limit, which does not.
        try:
            quota = self._line().quota()
        except (TryLater, Refused):
            return False
        return quota.limit is not None and quota.limit - quota.used < needed

    def _line(self) -> LineClient:
        return LineClient(credentials(self._account)["accountToken"])

    def _event(self, user_id: str) -> Event:
        said = Said(
            kind="start",
            user_id=user_id,
            at=self._row.started_at,
            scenario_id=self._row.scenario_id,
            revision=int(self._row.revision),
        )
        return Event.of(self._account, f"{BROADCAST}{self._row.broadcast_id}", said)

    def _send_to_each(self, chosen: list[str]) -> None:
        """Let everybody's conversation go its own way; each turn is stored and sent once, as any other."""
        trouble: TryLater | Conflict | None = None
        unanswered = 0
        for user_id in chosen:
            try:
                turn = conversation.answer(self._event(user_id))
            except (TryLater, Conflict) as problem:
                # One whom it cannot reach now, or who is writing himself, does not hold up the others.
                trouble = problem
                unanswered += isinstance(problem, TryLater)
                if unanswered == _PATIENCE:
                    break
                continue
            self._reached.add(user_id)
            if turn is None or turn.refused == NOT_FOLLOWING:
                self._outcomes[user_id] = ("skipped", NOT_FOLLOWING)
            elif turn.refused:
                self._outcomes[user_id] = ("failed", turn.refused)
        if trouble is not None:
            raise trouble

    def _record(self, chosen: list[str]) -> None:
        """Keep what the scenario's nodes record and ask of everybody, before the messages can be answered."""
        for user_id in chosen:
            conversation.record(self._event(user_id))

    def _send_to_all(self, chosen: list[str]) -> None:
        messages = self._row.messages
        if not messages or not chosen:
            return
        client = self._line()
        for start in range(0, len(messages), MESSAGES_A_CALL):
            part = messages[start : start + MESSAGES_A_CALL]
            last = start + MESSAGES_A_CALL >= len(messages)
            self._multicast(client, [one for one in chosen if one not in self._outcomes], part, str(start), last=last)

    def _multicast(
        self, client: LineClient, user_ids: list[str], messages: list[LineMessage], name: str, *, last: bool
    ) -> None:
        """Send one call; when LINE refuses it, halve it until the ones it refuses stand alone.

        What was refused is noted first, so that a later attempt halves it again instead of calling anew.
        """
        if not user_ids:
            return
        if name not in self._refused:
            retry_key = ids.derived_uuid(f"{self._chunk.broadcast}#{self._chunk.number}#{name}")
            try:
                client.multicast(user_ids, messages, retry_key)
            except Refused as problem:
                self._note_refused(name, str(problem)[:_REASON])
            else:
                self._reached.update(user_ids if last else ())
                return
        if len(user_ids) == 1:
            self._outcomes[user_ids[0]] = ("failed", self._refused[name])
            return
        middle = len(user_ids) // 2
        self._multicast(client, user_ids[:middle], messages, f"{name}<", last=last)
        self._multicast(client, user_ids[middle:], messages, f"{name}>", last=last)

    def _note_refused(self, name: str, reason: str) -> None:
        self._refused[name] = reason
        users = {**self._chunk.users, "refused": self._refused}
        commit(Change(ChunkTable, self._chunk.own_key(), [ChunkTable.users.set(users)], ChunkTable.state == "sending"))


def count(
    row: BroadcastTable,
    chunk: ChunkTable,
    *,
    success: int = 0,
    failed: int = 0,
    skipped: int = 0,
    outcomes: dict[str, tuple[str, str]] | None = None,
    reason: str = "",
) -> None:
    """End a chunk and add it to the broadcast's counters, in one transaction, once."""
    key = people_key(row)
    write_all(
        Put(RecipientTable(broadcast=key, user_id=user_id, chunk=chunk.number, outcome=outcome, reason=why))
        for user_id, (outcome, why) in (outcomes or {}).items()
    )
    ended = [
        ChunkTable.state.set("done"),
        ChunkTable.success.set(success),
        ChunkTable.failed.set(failed),
        ChunkTable.skipped.set(skipped),
    ]
    if reason:
        ended.append(ChunkTable.reason.set(reason))
    totals = [
        BroadcastTable.success.set(BroadcastTable.success + success),
        BroadcastTable.failed.set(BroadcastTable.failed + failed),
        BroadcastTable.skipped.set(BroadcastTable.skipped + skipped),
        BroadcastTable.updated_at.set(clock.now()),
    ]
    try:
        commit(
            Change(ChunkTable, chunk.own_key(), ended, ChunkTable.state == chunk.state),
            Change(BroadcastTable, row.own_key(), totals),
        )
    except ConditionFailed:
        current().facts["counted"] = "by somebody else"


def finish(row: BroadcastTable) -> None:
    """End the broadcast when everybody is counted."""
    now = BroadcastTable.find(row.account, row.broadcast_id)
    if now is None or now.state not in ("sending", "stopped"):
        return
    if now.state == "sending" and not now.complete:
        return
    if int(now.frozen) != int(now.success) + int(now.failed) + int(now.skipped):
        return
    moment = clock.now()
    over = [
        BroadcastTable.state.set("done"),
        BroadcastTable.listed.set(f"{row.account}#history"),
        BroadcastTable.finished_at.set(moment),
        BroadcastTable.updated_at.set(moment),
        BroadcastTable.messages.set([]),
    ]
    try:
        commit(Change(BroadcastTable, row.own_key(), over, BroadcastTable.state == now.state))
    except ConditionFailed:
        current().facts["finished"] = "by somebody else"
