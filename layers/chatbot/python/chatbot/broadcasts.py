"""Broadcasts: booked, listed, stopped; how one is carried out is told in broadcast_runs.py."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from chatbot import due, segments, times
from chatbot.api import NULL_IS_BLANK, AccountRequest, Body, ListRequest, ListView, View
from chatbot.audiences import Audience, vaults
from chatbot.tables import (
    BroadcastsByTime,
    BroadcastTable,
    ChunkTable,
    ConversationTable,
    RecipientTable,
    ScenarioTable,
)
from kernel import audit, clock, ids
from kernel.errors import Conflict, Flaw, Invalid, NotFound
from kernel.queues import Message, Queue
from kernel.tables import Change, ConditionFailed, Delete, Put, commit, create, existing_keys, plain, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatbot.audiences import Size
    from chatbot.tables import AccountTable

# Freezes audiences, hands out chunks, ends what is over.
BROADCASTS = Queue("broadcasts", attempts=20, batch=1)
# Sends. A platform's bad hours are outlasted: 30 attempts are more than four.
CHUNKS = Queue("broadcast-chunks", attempts=30, visibility=300, batch=1)

USERS_LIMIT = 5000
PLAN_PAGE = 20
HISTORY_PAGE = 10
USERS_SHOWN = 100
RECIPIENTS_PAGE = 100
_DELETED_A_CALL = 25
# Users looked at to say how many a planned broadcast will reach; more are estimated from these.
COUNTED = 5000
_PLANNED_COUNTED = 1000

State = Literal["pending", "freezing", "sending", "paused", "stopped", "done"]
BroadcastId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Text = Annotated[str, StringConstraints(max_length=200)]
_ABSENT_IS_EMPTY = BeforeValidator(lambda value: value or [])


class PickedUser(Body):
    """Somebody picked by hand; only the id counts."""

    account_type: Annotated[Text, NULL_IS_BLANK] = ""
    user_id: Annotated[str, StringConstraints(pattern=r"^[!\"$-~]{1,64}$")]
    user_name: Annotated[Text, NULL_IS_BLANK] = ""


class AudienceRequest(AccountRequest):
    """Whom to send to: everybody, the members of segments, people picked by hand; nobody twice."""

    broadcast_users: Annotated[list[PickedUser], _ABSENT_IS_EMPTY] = Field([], max_length=USERS_LIMIT)
    is_select_all: Annotated[bool, Field(strict=True)]
    segment_names: Annotated[list[Text], _ABSENT_IS_EMPTY] = Field([], max_length=50)

    def flaws(self) -> list[Flaw]:
        """Return what is wrong with the choice of people."""
        if self.is_select_all or self.broadcast_users or self.segment_names:
            return []
        return [Flaw("broadcastUsers", "or segmentNames is required unless isSelectAll is true")]


def _time(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be a valid string")
    return times.read(value)


class BroadcastRequest(AudienceRequest):
    """A broadcast to book; a time in the past means at once."""

    broadcast_name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    broadcast_scenario_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    broadcast_scenario_name: Text
    broadcast_status: Literal["pending"]
    broadcast_time: Annotated[datetime, BeforeValidator(_time)]


class BroadcastIds(AccountRequest):
    """Broadcasts to delete."""

    broadcast_ids: Annotated[list[BroadcastId], Field(min_length=1, max_length=_DELETED_A_CALL)]


class BroadcastChoice(AccountRequest):
    """One broadcast."""

    broadcast_id: BroadcastId


class RecipientsRequest(ListRequest):
    """A broadcast whose people are listed."""

    broadcast_id: BroadcastId


class _Listed(View):
    broadcast_id: str
    broadcast_name: str
    broadcast_scenario_id: str
    broadcast_scenario_name: str
    segment_names: list[str]
    broadcast_status: Literal["pending", "done"]
    broadcast_time: str
    create_time: str
    update_time: str


class PlannedView(_Listed):
    """A broadcast that is not over; success and failed are null until it sends."""

    broadcast_users_count: int
    failed: int | None
    success: int | None


class ReceiverView(View):
    """Somebody to whom it was addressed; getBroadcastRecipients tells what became of each."""

    user_id: str
    user_name: str
    account_type: str


class PastView(_Listed):
    """A broadcast that is over, with its first 100 receivers; getBroadcastRecipients lists all."""

    broadcast_users: list[ReceiverView]
    failed: int
    success: int


class Plan(ListView):
    """A page of broadcasts that are not over, the next first."""

    data: list[PlannedView]


class History(ListView):
    """A page of broadcasts that are over, the latest first."""

    data: list[PastView]


class Progress(View):
    """How far a broadcast is: frozen = success + failed + skipped + remaining; `reason` when it could send nothing."""

    broadcast_id: str
    state: State
    reason: str
    frozen: int
    success: int
    failed: int
    skipped: int
    remaining: int
    start_time: str | None
    end_time: str | None


class RecipientView(View):
    """A person of a broadcast: open, success, failed or skipped, the last two with the reason."""

    user_id: str
    outcome: Literal["open", "success", "failed", "skipped"]
    reason: str


class RecipientList(ListView):
    """A page of a broadcast's people, in the order of their ids."""

    data: list[RecipientView]


class Step(BaseModel):
    """What the control worker does next with a broadcast; `at` is how far the step before came."""

    admin_id: str
    account_id: str
    broadcast_id: str
    step: Literal["start", "freeze", "dispatch", "settle"]
    at: int = 0
    round: str = ""

    def send(self) -> None:
        """Put the step on the queue, once for the same state of the broadcast."""
        name = f"{self.account_id}#{self.broadcast_id}"
        dedup = f"{self.broadcast_id}#{self.step}#{self.at}#{self.round}"
        BROADCASTS.send([Message(self.model_dump(), group=name, dedup=dedup)])

    def booked(self) -> Put:
        """Return the write that sends the step in a minute, should its sender break off before he does."""
        what = self.model_dump(exclude={"admin_id", "account_id"})
        name = f"{self.broadcast_id}#{self.step}#{self.round}"
        return due.book("broadcast", self.admin_id, self.account_id, clock.now(), name, what)


def schedule(request: BroadcastRequest) -> None:
    """Book a broadcast; its audience is resolved when it starts."""
    flaws = request.flaws()
    partition = request.partition
    if not existing_keys(ScenarioTable, [ScenarioTable.key(partition, request.broadcast_scenario_id)]):
        flaws.append(Flaw("broadcastScenarioId", "is no scenario of this channel"))
    if flaws:
        raise Invalid(flaws)
    chosen = segments.named(partition, request.segment_names) if request.segment_names else []
    # A repeated id counts once; the last name of it holds.
    users = {user.user_id: user.user_name for user in request.broadcast_users}
    row = BroadcastTable(
        account=partition,
        broadcast_id=ids.uuid1(),
        listed=f"{partition}#plan",
        broadcast_name=request.broadcast_name,
        scenario_id=request.broadcast_scenario_id,
        scenario_name=request.broadcast_scenario_name,
        broadcast_time=request.broadcast_time,
        select_all=request.is_select_all,
        segment_names=[segment.segment_name for segment in chosen],
        segment_ids=[segment.segment_id for segment in chosen],
        users=[] if request.is_select_all else sorted(users),
        state="pending",
        cursor="",
        slices=0,
        chunks=0,
        complete=False,
        revision=0,
        way="",
        messages=[],
        reason="",
        frozen=0,
        success=0,
        failed=0,
        skipped=0,
    )
    what = {"broadcast_id": row.broadcast_id}
    booked = due.book("broadcast", request.admin_id, request.account_id, request.broadcast_time, row.broadcast_id, what)
    entry = audit.entry(f"broadcast {row.broadcast_id}", before=None, after=_state(row))
    commit(create(row), booked, entry)


def _state(row: BroadcastTable) -> dict[str, Any]:
    names = ("broadcast_name", "scenario_id", "broadcast_time", "select_all", "segment_names", "users", "state")
    return {name: getattr(row, name) for name in names}


def addressed(account: AccountTable, row: BroadcastTable) -> Audience:
    """Return the audience of a broadcast as it is now; segments that are gone reach nobody."""
    everyone = row.select_all
    chosen = segments.with_ids(row.account, row.segment_ids) if row.segment_ids and not everyone else []
    user_ids = [] if everyone else row.users
    return Audience(row.account, everyone=everyone, segments=chosen, user_ids=user_ids, vault=vaults(account))


def find(partition: str, broadcast_id: str) -> BroadcastTable:
    """Return a broadcast of the channel."""
    row = BroadcastTable.find(partition, broadcast_id)
    if row is None:
        raise NotFound("broadcastId not found")
    return row


def delete(request: BroadcastIds) -> None:
    """Delete planned broadcasts and stop running ones, all of them or none."""
    partition = request.partition
    wanted = list(dict.fromkeys(request.broadcast_ids))
    rows = {broadcast_id: BroadcastTable.find(partition, broadcast_id) for broadcast_id in wanted}
    flaws = [
        Flaw(f"broadcastIds[{place}]", "is no planned or running broadcast of this channel")
        for place, broadcast_id in enumerate(request.broadcast_ids)
        if (row := rows[broadcast_id]) is None or row.state == "done"
    ]
    if flaws:
        raise Invalid(flaws)
    writes: list[Any] = []
    steps = []
    for row in filter(None, rows.values()):
        subject = f"broadcast {row.broadcast_id}"
        if row.state == "pending":
            at = row.broadcast_time
            writes += [
                Delete(BroadcastTable, row.own_key(), BroadcastTable.state == "pending"),
                due.cancel("broadcast", request.admin_id, request.account_id, at, row.broadcast_id),
                audit.entry(subject, before=_state(row), after=None),
            ]
        else:
            step = _step(request, row, "settle")
            steps.append(step)
            entry = audit.entry(subject, before=row.state, after="stopped")
            writes += [_moved(row, "stopped"), step.booked(), entry]
    try:
        commit(*writes)
    except ConditionFailed:
        raise Conflict("a broadcast went on meanwhile; try again") from None
    for step in steps:
        step.send()


def pause(request: BroadcastChoice) -> None:
    """Hold a running broadcast: what is being sent at this moment is finished, nothing more is begun."""
    _change(request, find(request.partition, request.broadcast_id), "paused", ("freezing", "sending"))


def resume(request: BroadcastChoice) -> None:
    """Go on with a paused broadcast where it was held."""
    row = find(request.partition, request.broadcast_id)
    if row.complete:
        _change(request, row, "sending", ("paused",), _step(request, row, "dispatch"))
    else:
        _change(request, row, "freezing", ("paused",), _step(request, row, "freeze", int(row.slices or 0)))


def stop(request: BroadcastChoice) -> None:
    """End a running or paused broadcast: everybody it did not reach yet is skipped; may be said again."""
    row = find(request.partition, request.broadcast_id)
    running: tuple[State, ...] = ("freezing", "sending", "paused", "stopped")
    _change(request, row, "stopped", running, _step(request, row, "settle"))


def _change(
    request: BroadcastChoice, row: BroadcastTable, to: State, allowed: Sequence[State], step: Step | None = None
) -> None:
    if row.state not in allowed:
        raise Conflict(f"a broadcast that is {row.state} cannot become {to}")
    entry = audit.entry(f"broadcast {row.broadcast_id}", before=row.state, after=to)
    try:
        commit(_moved(row, to), entry, *([step.booked()] if step else []))
    except ConditionFailed:
        raise Conflict("the broadcast went on meanwhile; try again") from None
    if step:
        step.send()


def _moved(row: BroadcastTable, to: State) -> Change:
    changes = [BroadcastTable.state.set(to), BroadcastTable.updated_at.set(clock.now())]
    unchanged = (BroadcastTable.state == row.state) & (BroadcastTable.complete == row.complete)
    return Change(BroadcastTable, row.own_key(), changes, unchanged)


def _step(
    request: AccountRequest, row: BroadcastTable, step: Literal["freeze", "dispatch", "settle"], at: int = 0
) -> Step:
    return Step(
        admin_id=request.admin_id,
        account_id=request.account_id,
        broadcast_id=row.broadcast_id,
        step=step,
        at=at,
        round=ids.ordered_id(),
    )


def progress(request: BroadcastChoice) -> Progress:
    """Return how far a broadcast is, from its counters: one request whatever its size."""
    row = find(request.partition, request.broadcast_id)
    frozen, success, failed, skipped = (int(n) for n in (row.frozen, row.success, row.failed, row.skipped))
    return Progress(
        broadcast_id=row.broadcast_id,
        state=row.state,
        reason=row.reason,
        frozen=frozen,
        success=success,
        failed=failed,
        skipped=skipped,
        remaining=frozen - success - failed - skipped,
        start_time=times.shown(row.started_at) if row.started_at else None,
        end_time=times.shown(row.finished_at) if row.finished_at else None,
    )


def plan(request: ListRequest) -> Plan:
    """Return a page of at most 20 broadcasts that are not over; people are counted now, from samples when many."""
    rows, last_key = _page(request, "plan", PLAN_PAGE, newest_first=False)
    counts: dict[str, int] = {}
    views = []
    for row in rows:
        running = row.state != "pending"
        views.append(
            PlannedView(
                **_listed(row, "pending"),
                broadcast_users_count=int(row.frozen) if row.complete else _count(request.account, row, counts),
                failed=int(row.failed) if running else None,
                success=int(row.success) if running else None,
            )
        )
    return Plan(data=views, last_evaluated_key=request.next_key("broadcast plan", last_key))


def _count(account: AccountTable, row: BroadcastTable, counts: dict[str, int]) -> int:
    if row.users and not row.segment_ids:
        return len(row.users)
    addresses = repr((row.select_all, row.segment_ids, row.users))
    if addresses not in counts:
        counts[addresses] = addressed(account, row).size(_PLANNED_COUNTED).count
    return counts[addresses]


def size(request: AudienceRequest) -> Size:
    """Return how many people a choice reaches now; beyond 5000 looked at it is an estimate."""
    if flaws := request.flaws():
        raise Invalid(flaws)
    everyone = request.is_select_all
    chosen = segments.named(request.partition, request.segment_names) if request.segment_names else []
    people = Audience(
        request.partition,
        everyone=everyone,
        segments=[] if everyone else chosen,
        user_ids=[] if everyone else [user.user_id for user in request.broadcast_users],
        vault=vaults(request.account),
    )
    return people.size(COUNTED)


def history(request: ListRequest) -> History:
    """Return a page of at most 10 broadcasts that are over, the latest first, each with its first 100 receivers."""
    rows, last_key = _page(request, "history", HISTORY_PAGE, newest_first=True)
    views = [
        PastView(
            **_listed(row, "done"),
            broadcast_users=_receivers(row, request.account.account_type),
            failed=int(row.failed) + int(row.skipped),
            success=int(row.success),
        )
        for row in rows
    ]
    return History(data=views, last_evaluated_key=request.next_key("broadcast history", last_key))


def _page(request: ListRequest, name: str, limit: int, *, newest_first: bool) -> tuple[list[BroadcastTable], Any]:
    page = BroadcastTable.query(
        f"{request.partition}#{name}",
        index=BroadcastsByTime,
        limit=limit,
        after=request.start(f"broadcast {name}"),
        newest_first=newest_first,
    )
    return page.rows, page.last_key


def _listed(row: BroadcastTable, status: str) -> dict[str, Any]:
    return {
        "broadcast_id": row.broadcast_id,
        "broadcast_name": row.broadcast_name,
        "broadcast_scenario_id": row.scenario_id,
        "broadcast_scenario_name": row.scenario_name,
        "segment_names": row.segment_names,
        "broadcast_status": status,
        "broadcast_time": times.shown(row.broadcast_time).partition(".")[0],
        "create_time": times.shown(row.created_at),
        "update_time": times.shown(row.updated_at),
    }


def _receivers(row: BroadcastTable, account_type: str) -> list[ReceiverView]:
    found = RecipientTable.query_items(
        people_key(row), fields=[RecipientTable.user_id], limit=USERS_SHOWN, consistent=True
    ).rows
    user_ids = [item["user_id"]["S"] for item in found]
    fields = [ConversationTable.user_id, ConversationTable.user_name]
    keys = [ConversationTable.key(row.account, user_id) for user_id in user_ids]
    names = {item["user_id"]["S"]: item["user_name"]["S"] for item in rows_of(ConversationTable, keys, fields)}
    return [
        ReceiverView(user_id=user_id, user_name=names.get(user_id, ""), account_type=account_type)
        for user_id in user_ids
    ]


def people_key(row: BroadcastTable) -> str:
    """Return the key under which a broadcast's people and chunks are stored."""
    return f"{row.account}#{row.broadcast_id}"


def recipients(request: RecipientsRequest) -> RecipientList:
    """Return a page of at most 100 people of a broadcast with what became of each."""
    row = find(request.partition, request.broadcast_id)
    name = f"recipients {row.broadcast_id}"
    items, last_key = RecipientTable.query_items(
        people_key(row), limit=RECIPIENTS_PAGE, after=request.start(name), consistent=True
    )
    people = [plain(item) for item in items]
    numbers = sorted({int(person["chunk"]) for person in people})
    keys = [ChunkTable.key(people_key(row), number) for number in numbers]
    fields: list[Any] = [ChunkTable.number, ChunkTable.state, ChunkTable.reason]
    chunks = {int(item["number"]["N"]): plain(item) for item in rows_of(ChunkTable, keys, fields)}
    views = [_recipient(person, chunks.get(int(person["chunk"]), {})) for person in people]
    return RecipientList(data=views, last_evaluated_key=request.next_key(name, last_key))


def _recipient(person: dict[str, Any], chunk: dict[str, Any]) -> RecipientView:
    outcome, reason = person.get("outcome"), person.get("reason") or ""
    if chunk.get("state") != "done":
        outcome, reason = "open", ""
    elif chunk.get("reason"):
        outcome, reason = "skipped", chunk["reason"]
    return RecipientView(user_id=person["user_id"], outcome=outcome or "success", reason=reason)
