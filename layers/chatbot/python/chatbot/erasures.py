"""The erasing of all users of a channel, with everything that was known of them when it was asked for.

A user goes with his conversation, his row in the list, his turns, values, reservations and count, all of them, also
those that were added after the request while he had not been reached yet. What else is older than the request goes
by its own time. Who follows later is a new user and stays.

The work is done page by page; after each the row of the erasure tells where to go on. A page that is done twice finds
nothing the second time, and rounds follow each other until one has found nothing, because a turn that began before the
request may end behind the place that was passed already.

The menus that users have at LINE are taken from them by the worker of menus, whom the end of the erasure calls: only he
may forget who has one.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from chatbot import cors_errors, due, exports, times, users
from chatbot.tables import (
    AccountTable,
    BroadcastTable,
    ChunkTable,
    ClickTable,
    ConversationTable,
    CorsErrorTable,
    DueTable,
    EntryTable,
    ErasureTable,
    ExportTable,
    FollowerCountTable,
    FormEntryTable,
    MemberTable,
    NameTable,
    OrderTable,
    PushTable,
    RecipientTable,
    SegmentTable,
    TurnTable,
    UserTable,
    VariableHistoryTable,
)
from kernel import audit, clock
from kernel.errors import Conflict
from kernel.queues import Message, Queue
from kernel.running import current
from kernel.tables import Change, ConditionFailed, Delete, Put, commit, create, existing_keys, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pynamodb.attributes import Attribute

    from chatbot.api import AccountRequest
    from kernel.tables import Item, Table

ERASURES = Queue("erasures", visibility=330, batch=1)
_PAGES_A_MESSAGE = 150
# Each with two deletions, and eight shards of the count: a transaction takes a hundred writes.
_PEOPLE_A_PAGE = 40
_ROWS_A_PAGE = 90
_CHUNKS_A_PAGE = 20
_ATTEMPTS = 5
# A broadcast under way needs its audience; what is not over after a day is stopped or stuck.
_LONGEST_BROADCAST = timedelta(days=1)
_BROADCAST_PAUSE = 300
_ERASED = "erased"
_ENDING = "ending"

# Rows that go by their own time, each with the attribute that holds it.
_DATED: tuple[tuple[type[Table], Attribute[datetime]], ...] = (
    (UserTable, UserTable.created_at),
    (VariableHistoryTable, VariableHistoryTable.created_at),
    (FormEntryTable, FormEntryTable.created_at),
    (EntryTable, EntryTable.created_at),
    (PushTable, PushTable.pushed_at),
    (OrderTable, OrderTable.created_at),
    (ClickTable, ClickTable.created_at),
)
WRITTEN: tuple[type[Table], ...] = (
    *(ErasureTable, ConversationTable, TurnTable, SegmentTable, MemberTable, NameTable, CorsErrorTable),
    *(BroadcastTable, RecipientTable, ChunkTable, ExportTable, FollowerCountTable, DueTable),
    *(table for table, _ in _DATED),
)
READ = tuple(table for table in WRITTEN if table not in (FollowerCountTable, DueTable))


class ErasureStep(BaseModel):
    """Go on with the erasure of a channel from its step."""

    admin_id: str
    account_id: str
    account: str
    step: int


class BroadcastUnderWay(RuntimeError):
    """Everything is erased but the audience of a broadcast that is being sent; the message comes again."""

    wait = _BROADCAST_PAUSE


class _Task(NamedTuple):
    """The erasure of one channel: what is older than `limit` goes."""

    admin_id: str
    account_id: str
    partition: str
    limit: datetime


class _Page(NamedTuple):
    """How many rows a page took away, and where the next one begins, None behind the last."""

    erased: int
    after: Any


def ask(request: AccountRequest) -> None:
    """Note that the users of a channel are to be erased, and let the worker begin; asked again, it begins anew."""
    account = request.account
    partition = request.partition
    row = ErasureTable.find(partition)
    moment = clock.now()
    # The version moves on, so that whoever read the channel before does not write the old time back.
    version = (AccountTable.version | 0) + 1
    marked = Change(
        AccountTable,
        account.own_key(),
        [AccountTable.erased_at.set(moment), AccountTable.version.set(version)],
        AccountTable.account_id.exists(),
    )
    entry = audit.entry(f"users of {account.account_id}", before=row and _facts(row), after={"state": "erasing"})
    actor = current().actor
    if row is None:
        row = ErasureTable(
            account=partition, state="erasing", step=0, erased=_start({}), actor=actor, created_at=moment
        )
        commit(marked, create(row), entry)
    else:
        actions = [
            ErasureTable.state.set("erasing"),
            ErasureTable.step.set(row.step + 1),
            ErasureTable.erased.set(_start({})),
            ErasureTable.actor.set(actor),
            ErasureTable.created_at.set(moment),
        ]
        commit(marked, Change(ErasureTable, row.own_key(), actions, ErasureTable.step == row.step), entry)
        row.step += 1
    _send(ErasureStep(admin_id=account.admin_id, account_id=account.account_id, account=partition, step=row.step))


def proceed(message: ErasureStep) -> None:
    """Erase some pages further; a message that comes again finds its step done and sees to the next one only."""
    row = ErasureTable.find(message.account)
    if row is None or row.state != "erasing":
        return
    if row.step == message.step:
        try:
            _erase(message, row)
        except _Outrun:
            # Asked for anew, or somebody else is at it and may die before he sends the next message.
            row = ErasureTable.find(message.account)
    if row is not None and row.state == "erasing":
        _send(message.model_copy(update={"step": int(row.step)}))


class _Outrun(Exception):
    """The row was saved by somebody else."""


def _erase(message: ErasureStep, row: ErasureTable) -> None:
    assert row.created_at is not None
    task = _Task(message.admin_id, message.account_id, message.account, row.created_at)
    for _ in range(_PAGES_A_MESSAGE):
        progress = row.erased
        name, stage = _STAGES[progress["stage"]]
        erased, after = stage(task, progress["after"])
        counts = {**progress["counts"], name: progress["counts"].get(name, 0) + erased}
        # Exports are made anew all the time, and show nothing that was not found elsewhere.
        found = progress["found"] or (erased > 0 and name != ExportTable.name)
        if after is not None or progress["stage"] + 1 < len(_STAGES):
            moved = {"stage": progress["stage"] + (after is None), "after": after, "found": found, "counts": counts}
            if erased or after is not None:
                _save(row, moved)
            else:
                # Looking again costs no more than writing it down.
                row.erased = moved
            continue
        if found:
            _save(row, _start(counts))
            continue
        if _under_way(task):
            _save(row, _start(counts))
            raise BroadcastUnderWay
        _complete(message, row, {name: number for name, number in counts.items() if number})
        return
    # A new step, or its message would be the one that is handled here.
    _save(row, row.erased)


def _start(counts: dict[str, int]) -> dict[str, Any]:
    return {"stage": 0, "after": None, "found": False, "counts": counts}


def _save(row: ErasureTable, progress: dict[str, Any]) -> None:
    actions = [ErasureTable.erased.set(progress), ErasureTable.updated_at.set(clock.now())]
    _commit_step(row, [*actions, ErasureTable.step.set(row.step + 1)])
    row.erased, row.step = progress, row.step + 1


def _complete(message: ErasureStep, row: ErasureTable, counts: dict[str, int]) -> None:
    actions = [
        ErasureTable.state.set("done"),
        ErasureTable.erased.set(counts),
        ErasureTable.updated_at.set(clock.now()),
    ]
    entry = audit.entry(
        f"users of {message.account_id}",
        before={"state": "erasing"},
        after={"state": "done", "erased": counts},
        tenant=message.admin_id,
        actor=row.actor,
    )
    _commit_step(row, actions, entry, _menus_leave(message))
    row.state = "done"
    current().facts["erased"] = counts


def _menus_leave(message: ErasureStep) -> Put:
    """Return the write that has the menus taken at LINE from those who are not known any more."""
    # Menus bring the audiences with them, which asking for an erasure does not need.
    from chatbot import menu_links

    return menu_links.soon(message.admin_id, message.account_id)


def _commit_step(row: ErasureTable, actions: list[Any], *more: Any) -> None:
    condition = (ErasureTable.state == "erasing") & (ErasureTable.step == row.step)
    try:
        commit(Change(ErasureTable, row.own_key(), actions, condition), *more)
    except ConditionFailed:
        raise _Outrun from None


def _facts(row: ErasureTable) -> dict[str, Any]:
    return {"state": row.state, "erased": row.erased}


def _send(step: ErasureStep) -> None:
    # SQS takes no more than 128 characters for either.
    group = hashlib.sha256(step.account.encode()).hexdigest()
    ERASURES.send([Message(step.model_dump(mode="json"), group, f"{group}#{step.step}")])


def _people(task: _Task, after: Any) -> _Page:
    """Erase users with all that hangs on them; a page in which one of them just did something is done again."""
    for _ in range(_ATTEMPTS):
        items, last_key = ConversationTable.query_items(
            task.partition, after=after, limit=_PEOPLE_A_PAGE, consistent=True
        )
        rows = [ConversationTable.of_item(item) for item in items]
        gone = [row for row in rows if row.created_at is None or row.created_at <= task.limit]
        if not gone:
            return _Page(0, last_key)
        write_all(delete for row in gone for delete in _belongings(task, row))
        writes: list[Any] = []
        for row in gone:
            seen = ConversationTable.version
            same = seen.does_not_exist() if row.version is None else seen == row.version
            place = f"#{row.user_id}#{times.shown(row.follow_time)}"
            writes.append(Delete(ConversationTable, row.own_key(), same))
            writes.append(Delete(UserTable, UserTable.key(task.partition, place)))
        followers = [row.user_id for row in gone if row.status == "1"]
        try:
            commit(*writes, *users.counted_off(task.partition, followers))
            return _Page(len(gone), last_key)
        except ConditionFailed:
            continue
    raise Conflict("the users of a page are busy")


def _belongings(task: _Task, row: ConversationTable) -> Iterable[Delete]:
    """Yield what is found through the user only, or whatever its time: turns, values, bookings."""
    person = f"{task.partition}#{row.user_id}"
    for item in TurnTable.every_item(person, fields=[TurnTable.event_id], consistent=True):
        yield Delete(TurnTable, TurnTable.key(person, item["event_id"]["S"]))
    his = VariableHistoryTable.place.startswith(f"{row.user_id}#")
    fields = [VariableHistoryTable.place]
    for item in VariableHistoryTable.every_item(task.partition, his, fields=fields, consistent=True):
        yield Delete(VariableHistoryTable, VariableHistoryTable.key(task.partition, item["place"]["S"]))
    for name, at in row.state.get("booked", {}).items():
        moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
        yield due.cancel("reservation", task.admin_id, task.account_id, moment, f"{row.user_id}#{name}")


def _dated(table: type[Table], moment: Attribute[datetime]) -> Callable[[_Task, Any], _Page]:
    """Return the stage that erases the rows of a table that are older than the request."""

    def stage(task: _Task, after: Any) -> _Page:
        keys, last_key = _keys(table, task.partition, after, moment)
        limit = moment.serialize(task.limit)
        old = [key for key, item in keys if item.get(moment.attr_name, {"S": ""})["S"] <= limit]
        _delete_old(table, old, moment, task.limit)
        return _Page(len(old), last_key)

    return stage


def _keys(
    table: type[Table], partition: str, after: Any, *fields: Attribute[Any]
) -> tuple[list[tuple[Item, Item]], Item | None]:
    """Return a page of rows with their keys."""
    first, second = table.keys()
    names = [first] if second is None else [first, second]
    page = table.query_items(partition, fields=[*names, *fields], after=after, limit=_ROWS_A_PAGE, consistent=True)
    return [({key.attr_name: item[key.attr_name] for key in names}, item) for item in page.rows], page.last_key


def _delete_old(
    table: type[Table], keys: Sequence[Item], moment: Attribute[datetime], limit: datetime, *more: Change
) -> None:
    """Delete rows that are still as old as they were read; `more` is changed with them, all or nothing."""
    if not keys:
        return
    condition = moment.does_not_exist() | (moment <= limit)
    try:
        commit(*(Delete(table, key, condition) for key in keys), *more)
    except ConditionFailed:
        if more:
            raise
        for key in keys:
            try:
                commit(Delete(table, key, condition))
            except ConditionFailed:
                continue


class _Place(NamedTuple):
    """A place in rows that hang on rows of the channel, as JSON: the one before, and where in the one's own rows."""

    parent: Item | None = None
    child: Any = None


def _nested(parents: type[Table], work: Callable[[_Task, Item, Any], _Page]) -> Callable[[_Task, Any], _Page]:
    """Return the stage that does `work` on each row of the channel, page by page of what hangs on it."""

    def stage(task: _Task, after: Any) -> _Page:
        place = _Place(*after) if after else _Place()
        page = parents.query_items(task.partition, after=place.parent, limit=1, consistent=True)
        if not page.rows:
            return _Page(0, None)
        erased, child = work(task, page.rows[0], place.child)
        if child is not None:
            return _Page(erased, _Place(place.parent, child))
        return _Page(erased, page.last_key and _Place(page.last_key))

    return stage


def _members(task: _Task, segment: Item, after: Any) -> _Page:
    """Take users out of a segment, and off its count in the same transaction."""
    segment_id = segment["segment_id"]["S"]
    moment = MemberTable.created_at
    for _ in range(_ATTEMPTS):
        keys, last_key = _keys(MemberTable, f"{task.partition}#{segment_id}", after, moment)
        limit = moment.serialize(task.limit)
        old = [key for key, item in keys if item.get(moment.attr_name, {"S": ""})["S"] <= limit]
        if not old:
            return _Page(0, last_key)
        fewer = [
            SegmentTable.members.set(SegmentTable.members - len(old)),
            SegmentTable.version.set((SegmentTable.version | 0) + 1),
        ]
        there = SegmentTable.segment_id.exists()
        change = Change(SegmentTable, SegmentTable.key(task.partition, segment_id), fewer, there)
        still = MemberTable.user_id.exists() & (moment.does_not_exist() | (moment <= task.limit))
        try:
            commit(*(Delete(MemberTable, key, still) for key in old), change)
            return _Page(len(old), last_key)
        except ConditionFailed as problem:
            if problem.index == len(old):
                # The segment is deleted, and its members hang on nothing.
                write_all(Delete(MemberTable, key) for key in old)
                return _Page(len(old), last_key)
    raise Conflict("the members of a segment are busy")


def _remnants(task: _Task, after: Any) -> _Page:
    """Remove the members of segments that are deleted; each page is the first one, as those before it are gone."""
    # Segments bring conditions and orders with them, which asking for an erasure does not need.
    from chatbot import segments

    removed = segments.take_remnants(task.partition, _ROWS_A_PAGE)
    return _Page(0, None) if removed is None else _Page(removed, {})


def _cors_errors(task: _Task, after: Any) -> _Page:
    """Erase what the external service complained of, which may quote users; the rows' end tells their beginning."""
    end = CorsErrorTable.expires
    keys, last_key = _keys(CorsErrorTable, task.partition, after, end)
    limit = (task.limit + cors_errors.LIFE).timestamp()
    old = [key for key, item in keys if int(item[end.attr_name]["N"]) <= limit]
    write_all(Delete(CorsErrorTable, key) for key in old)
    return _Page(len(old), last_key)


def _by_user(table: type[Table]) -> Callable[[_Task, Any], _Page]:
    """Return the stage that erases the rows of users who are not known any more; the rows' key is the user's id."""

    def stage(task: _Task, after: Any) -> _Page:
        keys, last_key = _keys(table, task.partition, after)
        unknown = _unknown(task.partition, [key["user_id"]["S"] for key, _ in keys])
        write_all(Delete(table, table.key(task.partition, user_id)) for user_id in unknown)
        return _Page(len(unknown), last_key)

    return stage


def _unknown(partition: str, user_ids: list[str]) -> list[str]:
    keys = [ConversationTable.key(partition, user_id) for user_id in user_ids]
    known = {key["user_id"]["S"] for key in existing_keys(ConversationTable, keys)}
    return [user_id for user_id in user_ids if user_id not in known]


def _broadcasts(task: _Task, broadcast: Item, after: Any) -> _Page:
    """Forget whom a broadcast was sent to, keeping its counts; a planned one forgets who is not known any more.

    One that began after the request may have frozen users who were not erased yet, so its audience goes as well.
    """
    row = BroadcastTable.of_item(broadcast)
    if _sending(row):
        return _Page(0, None)
    if row.started_at is None:
        unknown = set(_unknown(task.partition, row.users))
        return _Page(_reduce(row, [user_id for user_id in row.users if user_id not in unknown]), None)
    if row.finished_at is None and (after is None or _ENDING in after):
        return _end(task, row, after[_ENDING] if after else {})
    key = f"{task.partition}#{row.broadcast_id}"
    people = RecipientTable.query_items(key, fields=[RecipientTable.user_id], limit=_ROWS_A_PAGE, consistent=True)
    if people.rows:
        write_all(Delete(RecipientTable, RecipientTable.key(key, item["user_id"]["S"])) for item in people.rows)
        return _Page(len(people.rows), {})
    chunks = ChunkTable.query(key, after=after or None, limit=_CHUNKS_A_PAGE, consistent=True)
    full = [chunk for chunk in chunks.rows if chunk.users]
    for chunk in full:
        commit(Change(ChunkTable, chunk.own_key(), [ChunkTable.users.set([])], ChunkTable.number.exists()))
    if chunks.last_key is not None:
        return _Page(len(full), chunks.last_key)
    return _Page(len(full) + _reduce(row, []), None)


def _end(task: _Task, row: BroadcastTable, done: dict[str, Any]) -> _Page:
    """Stop a broadcast that nobody will go on with, and skip whom it has not reached, so that its counts add up."""
    # It brings the conversation and the channels with it, which few erasures need.
    from chatbot import broadcast_runs

    if row.state != "stopped":
        stopped = [BroadcastTable.state.set("stopped"), BroadcastTable.updated_at.set(clock.now())]
        same = (BroadcastTable.state == row.state) & (BroadcastTable.complete == row.complete)
        entry = audit.entry(f"broadcast {row.broadcast_id}", before=row.state, after="stopped", tenant=task.admin_id)
        try:
            commit(Change(BroadcastTable, row.own_key(), stopped, same), entry)
        except ConditionFailed:
            # It went on meanwhile; the next round looks again.
            return _Page(1, None)
        row.state = "stopped"
    chunks = ChunkTable.query(
        f"{row.account}#{row.broadcast_id}", after=done.get("after"), limit=_CHUNKS_A_PAGE, consistent=True
    )
    left = [chunk for chunk in chunks.rows if chunk.state != "done"]
    for chunk in left:
        broadcast_runs.count(row, chunk, skipped=len(broadcast_runs.everybody_of(chunk)), reason=_ERASED)
    found = bool(left) or done.get("found", False)
    if chunks.last_key is not None:
        return _Page(0, {_ENDING: {"after": chunks.last_key, "found": found}})
    broadcast_runs.finish(row)
    ended = BroadcastTable.find(row.account, row.broadcast_id)
    if found and ended is not None and ended.finished_at is None:
        # Somebody was sending a chunk just then; the next round looks again.
        return _Page(1, None)
    return _Page(0, {})


def _reduce(row: BroadcastTable, left: list[str]) -> int:
    """Leave only these users in a broadcast that nobody is working on; return the rows changed."""
    if row.users == left and not row.cursor:
        return 0
    changes = [BroadcastTable.users.set(left), BroadcastTable.cursor.set("")]
    condition = (BroadcastTable.users == row.users) & (BroadcastTable.state == row.state)
    try:
        commit(Change(BroadcastTable, row.own_key(), changes, condition))
    except ConditionFailed:
        # It just began, or is gone; the next round looks again.
        return 1
    return 1


def _sending(row: BroadcastTable) -> bool:
    if row.started_at is None or row.finished_at is not None:
        return False
    return row.started_at > clock.now() - _LONGEST_BROADCAST


def _under_way(task: _Task) -> bool:
    """Tell whether a broadcast is being sent."""
    fields = [BroadcastTable.broadcast_id, BroadcastTable.started_at, BroadcastTable.finished_at]
    items = BroadcastTable.every_item(task.partition, fields=fields, consistent=True)
    return any(_sending(BroadcastTable.of_item(item)) for item in items)


def _exports(task: _Task, after: Any) -> _Page:
    """Remove every export that there is: one made meanwhile may hold users who were not erased yet."""
    page = ExportTable.query(task.partition, after=after, limit=_CHUNKS_A_PAGE, consistent=True)
    for row in page.rows:
        exports.erase(row)
    return _Page(len(page.rows), page.last_key)


# The exports come last, when nothing is left that a new one could show.
_STAGES: tuple[tuple[str, Callable[[_Task, Any], _Page]], ...] = (
    ("people", _people),
    *((table.name, _dated(table, moment)) for table, moment in _DATED),
    (MemberTable.name, _nested(SegmentTable, _members)),
    (MemberTable.name, _remnants),
    (CorsErrorTable.name, _cors_errors),
    (PushTable.name, _by_user(PushTable)),
    (BroadcastTable.name, _nested(BroadcastTable, _broadcasts)),
    (ExportTable.name, _exports),
)
