"""Segments of a channel's users: picked by hand, by an order, or by conditions; and whoever came through their links.

A segment's people are its rows of `segment-members` and, unless it is picked by hand, those who are found when it is
read. A save of picked users takes more writes than one transaction: those who are new come first, then the segment with
its name and number, then those who are left out go. What is broken off in between therefore never shows a segment that
was not there, and at worst one with some people of before; saving it again puts that right.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AliasChoices, BeforeValidator, Field, StringConstraints, WithJsonSchema

from chatbot import liff_apps, menu_links, times
from chatbot.api import NULL_IS_BLANK, AccountRequest, Body, ListRequest, ListView, View
from chatbot.audiences import Audience, membership, vaults
from chatbot.conditions import SEGMENT_SOURCES, compiled, flaws_of_conditions, normalised
from chatbot.tables import (
    ConversationTable,
    EntryTable,
    MemberTable,
    NameTable,
    PushTable,
    ScenarioTable,
    SegmentTable,
)
from kernel import audit, clock, ids
from kernel.errors import Flaw, Invalid, NotFound
from kernel.operations import answer_size
from kernel.tables import (
    Change,
    ConditionFailed,
    Delete,
    Page,
    Put,
    Write,
    commit,
    create,
    existing_keys,
    fetch,
    replace,
    rows_of,
    write_all,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from chatbot.conditions import Subject
    from chatbot.tables import AccountTable
    from kernel.tables import Item

USERS_LIMIT = 5000
CONDITIONS_LIMIT = 50
NAME_LENGTH = 200
USERS_A_PAGE = 1000
_ROWS_A_PAGE = 5000
_SEGMENTS_A_PAGE = 100
_CONDITIONS_A_PAGE = 2_000_000
_A_READ = 1000
_ATTEMPTS = 4
# A follow completes as many entries as fit into its transaction.
_ENTRIES_A_FOLLOW = 10
# What a deletion has time for; the rest belongs to nothing any more, is never shown, and goes with a later call.
_REMOVED_A_CALL = 20_000
_REMNANT = "segment-remnant#"

_ID_LENGTH = 64
_PROFILE = (
    ConversationTable.user_id,
    ConversationTable.status,
    ConversationTable.follow_time,
    ConversationTable.user_name,
    ConversationTable.user_picture,
)


def _time(value: Any) -> Any:
    """Take a time in any documented spelling, or '' for none; keep it as the documents write it."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str):
        raise ValueError("must be a valid string")
    return times.shown(times.read(value))


Time = Annotated[str, BeforeValidator(_time)]
OptionalId = Annotated[str, StringConstraints(max_length=_ID_LENGTH), NULL_IS_BLANK]
_CONDITION = {
    "type": "object",
    "required": ["expression", "source"],
    "properties": {
        "expression": {"type": "string"},
        "source": {"enum": list(SEGMENT_SOURCES)},
        "value": {"type": "string"},
        "range": {"type": "object", "properties": {"start": {"type": "string"}, "end": {"type": "string"}}},
        "tag": {"type": "object", "properties": {"name": {"type": "string"}, "color": {"type": "string"}}},
        "uservariable": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}


class ConversionKey(Body):
    """The order by which users are found."""

    order_id: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), NULL_IS_BLANK] = ""


class SegmentUser(Body):
    """A user picked by hand, as he was shown."""

    user_id: Annotated[str, StringConstraints(pattern=r"^[!\"$-~]{1,64}$")]
    user_name: Annotated[str, StringConstraints(max_length=200), NULL_IS_BLANK]
    user_picture: Annotated[str, StringConstraints(max_length=2000), NULL_IS_BLANK]
    account_status: Literal["0", "1"]
    account_type: Literal["line", "wechat", "fb"] = Field(
        validation_alias=AliasChoices("accountType", "accoutType"), serialization_alias="accountType"
    )
    create_time: Time
    follow_time: Time


def _listed(value: Any) -> Any:
    """Read a single object as a list of one, and null as an empty one."""
    return [] if value is None else [value] if isinstance(value, dict) else value


class SegmentRequest(AccountRequest):
    """A segment to save; `segmentId` names the one it replaces, `scenarioId` makes it an entry with a link."""

    segment_id: OptionalId = ""
    segment_name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_LENGTH)]
    mode: Literal["Custom", "CVKey", "Conditions"]
    default_users_segment: Annotated[bool, Field(strict=True)]
    cv_key: ConversionKey
    segment_conditions: Annotated[
        list[Any],
        BeforeValidator(_listed),
        WithJsonSchema({"type": "array", "items": _CONDITION, "maxItems": CONDITIONS_LIMIT}),
    ] = Field(default=[], max_length=CONDITIONS_LIMIT)
    segment_users: Annotated[list[SegmentUser], BeforeValidator(_listed)] = Field(default=[], max_length=USERS_LIMIT)
    scenario_id: OptionalId = ""

    @property
    def picks(self) -> bool:
        """Whether the users are those that were picked."""
        return self.mode == "Custom" and not self.default_users_segment


class SegmentId(AccountRequest):
    """A segment by id."""

    segment_id: Annotated[str, StringConstraints(min_length=1, max_length=_ID_LENGTH)]


class MemberView(View):
    """Somebody in a segment."""

    user_id: str
    user_name: str
    user_picture: str
    account_type: str
    account_status: str
    follow_time: str
    create_time: str


class ConversionKeyView(View):
    """The order by which users are found."""

    order_id: str | None


class SegmentView(View):
    """A segment, or the part of it that stands on this page."""

    id: str
    name: str
    conditions: list[dict[str, Any]]
    follow_time: None = None
    users: list[MemberView]
    users_count: int
    mode: str
    cv_key: ConversionKeyView
    liffurl: str
    scenario_id: str | None
    default_users_segment: bool
    create_time: str
    update_time: str


class SegmentList(ListView):
    """A page of segments."""

    data: list[SegmentView]


def save(request: SegmentRequest) -> None:
    """Create a segment or replace one whole, after checking everything; all flaws at once."""
    partition = request.partition
    segment_id = request.segment_id or ids.uuid1()
    for attempt in range(1, _ATTEMPTS + 1):
        row = _checked(request, segment_id)
        if request.scenario_id:
            liff_apps.give(request.account)
        try:
            _store(request, row or SegmentTable(account=partition, segment_id=segment_id, segment_name=""))
            return
        except ConditionFailed:
            # Somebody took the name, or came through the link, at the same moment.
            if row is None:
                while _remove_page(partition, segment_id, _A_READ).last_key is not None:
                    pass
            if attempt == _ATTEMPTS:
                raise


def _checked(request: SegmentRequest, segment_id: str) -> SegmentTable | None:
    """Refuse what cannot be saved; return the segment as it is, None for a new one."""
    partition = request.partition
    row, name = fetch(
        (SegmentTable, SegmentTable.key(partition, segment_id)),
        (NameTable, NameTable.key(partition, name_place(request.segment_name))),
    )
    if request.segment_id and row is None:
        raise NotFound("segmentId not found")
    flaws = _flaws(request)
    if name is not None and name.owner != segment_id:
        flaws.append(Flaw("segmentName", "already exists"))
    scenario = request.scenario_id
    if scenario and not existing_keys(ScenarioTable, [ScenarioTable.key(partition, scenario)]):
        flaws.append(Flaw("scenarioId", "is not a scenario of this channel"))
    if flaws:
        raise Invalid(flaws)
    found: SegmentTable | None = row
    return found


def _flaws(request: SegmentRequest) -> list[Flaw]:
    flaws = flaws_of_conditions(request.segment_conditions, "segmentConditions", sources=SEGMENT_SOURCES)
    if request.mode == "CVKey" and not request.cv_key.order_id:
        flaws.append(Flaw("cvKey.orderId", "is required for mode CVKey"))
    if request.picks and not request.segment_users:
        flaws.append(Flaw("segmentUsers", "is required for mode Custom"))
    if request.mode == "Conditions" and not request.default_users_segment and not request.segment_conditions:
        flaws.append(Flaw("segmentConditions", "is required for mode Conditions"))
    return flaws


def name_place(name: str) -> str:
    """Return where a segment's name stands among the names of a channel."""
    return f"segment#{name}"


def _store(request: SegmentRequest, row: SegmentTable) -> None:
    """Write a segment with its members, in the order that the module's words give."""
    new = row.version is None
    picked = {user.user_id: user for user in request.segment_users} if request.picks else {}
    known: dict[str, Item] = {}
    # Who came through the link of a segment that finds its people stays when its rules change.
    members_change = request.picks or (not new and _picks(row))
    if members_change and not new:
        known = {item["user_id"]["S"]: item for item in _members(row)}
    before = None if new else _state(row, known)
    old_name = row.segment_name
    row.segment_name = request.segment_name
    row.mode = request.mode
    row.conditions = [normalised(condition) for condition in request.segment_conditions]
    row.order_id = request.cv_key.order_id
    row.is_default = request.default_users_segment
    row.scenario_id = request.scenario_id
    row.members = len(picked) if members_change else (row.members or 0)
    writes: list[Write] = [replace(row)]
    if old_name != row.segment_name:
        name = NameTable(account=row.account, place=name_place(row.segment_name), owner=row.segment_id)
        writes.append(create(name))
        if old_name:
            writes.append(_unnamed(row, old_name))
    writes.append(audit.entry(f"segment {row.segment_id}", before=before, after=_state(row, picked)))
    writes.append(_menus_follow(row.account))
    write_all(_picked_rows(row, picked, known))
    commit(*writes)
    place = membership(row.account, row.segment_id)
    write_all(Delete(MemberTable, MemberTable.key(place, user_id)) for user_id in known if user_id not in picked)
    take_remnants(row.account, _A_READ)


def _picks(row: SegmentTable) -> bool:
    return bool(row.mode == "Custom" and not row.is_default)


def _unnamed(row: SegmentTable, name: str) -> Delete:
    return Delete(NameTable, NameTable.key(row.account, name_place(name)), NameTable.owner == row.segment_id)


def _state(row: SegmentTable, members: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit trail digests."""
    names = ("segment_name", "mode", "conditions", "order_id", "is_default", "scenario_id")
    return {**{name: getattr(row, name) for name in names}, "users": sorted(members)}


def _picked_rows(row: SegmentTable, picked: dict[str, SegmentUser], known: dict[str, Item]) -> Iterator[Put]:
    """Yield the members to write: those who are new, and those who are shown otherwise than before."""
    place = membership(row.account, row.segment_id)
    for user_id, user in picked.items():
        shown = user.model_dump(by_alias=True, exclude={"user_id"})
        before = MemberTable.of_item(known[user_id]) if user_id in known else None
        if before is None or before.shown != shown:
            member = MemberTable(segment=place, user_id=user_id, shown=shown, verified=False, created_at=clock.now())
            if before is not None:
                member.verified, member.created_at = before.verified, before.created_at
            yield Put(member)


def _members(row: SegmentTable) -> Iterator[Item]:
    return MemberTable.every_item(membership(row.account, row.segment_id), limit=_A_READ, consistent=True)


def delete(request: SegmentId) -> None:
    """Delete a segment with its members; the users themselves stay.

    What there is no time for, a later call or the erasure of the users finds by the row that says so.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _take_away(request)
            break
        except ConditionFailed:
            # Somebody came through the link at the same moment.
            if attempt == _ATTEMPTS:
                raise
    for _ in range(_REMOVED_A_CALL // _A_READ):
        if take_remnants(request.partition, _A_READ) is None:
            return


def _take_away(request: SegmentId) -> None:
    row = SegmentTable.find(request.partition, request.segment_id)
    if row is None:
        raise NotFound("segmentId not found")
    commit(
        Delete(SegmentTable, row.own_key(), SegmentTable.version == row.version),
        _unnamed(row, row.segment_name),
        Put(NameTable(account=row.account, place=_REMNANT + row.segment_id, owner=row.segment_id)),
        audit.entry(f"segment {row.segment_id}", before=_state(row, {}), after=None),
        _menus_follow(row.account),
    )


def take_remnants(partition: str, rows: int) -> int | None:
    """Remove up to so many members of a segment that was deleted; return their number, None when none is left."""
    begins = NameTable.place.startswith(_REMNANT)
    remnant = next(iter(NameTable.query(partition, begins, limit=1, consistent=True).rows), None)
    if remnant is None:
        return None
    page: Page[Item] = Page([], None)
    # A segment that was put in again under its id keeps its members.
    if SegmentTable.find(partition, remnant.owner) is None:
        page = _remove_page(partition, remnant.owner, rows)
    if page.last_key is None:
        commit(Delete(NameTable, remnant.own_key()))
    return len(page.rows)


def _remove_page(partition: str, segment_id: str, rows: int) -> Page[Item]:
    """Remove the first members of a segment and return them; always the first, because those before them are gone."""
    fields = (MemberTable.segment, MemberTable.user_id)
    page = MemberTable.query_items(membership(partition, segment_id), fields=fields, limit=rows, consistent=True)
    write_all(Delete(MemberTable, key) for key in page.rows)
    return page


class _Found(NamedTuple):
    """A segment's people on this page; `shown` is what was saved of those who were picked."""

    segment: SegmentTable
    shown: dict[str, dict[str, str]]


def page(request: ListRequest) -> SegmentList:
    """Return segments with their people, by id: at most 100 with 1000 people, found among at most 5000 rows.

    A segment whose people do not fit goes on, under the same id, on the next page.
    """
    partition = request.partition
    key = request.start("segments") or {}
    first, after = (key[name]["S"] if name in key else "" for name in ("segment_id", "user_id"))
    found: list[_Found] = []
    people, rows, size = USERS_A_PAGE, _ROWS_A_PAGE, 0
    ahead: Item | None = None
    condition = SegmentTable.segment_id >= first if first else None
    for item in SegmentTable.every_item(partition, condition, limit=_SEGMENTS_A_PAGE, consistent=True):
        segment = SegmentTable.of_item(item)
        begin = after if segment.segment_id == first else ""
        size += answer_size(json.dumps(segment.conditions, ensure_ascii=False))
        if people <= 0 or rows <= 0 or len(found) == _SEGMENTS_A_PAGE or (found and size > _CONDITIONS_A_PAGE):
            ahead = _page_key(segment, begin)
            break
        shown, last, read = _part(request.account, segment, begin, people, rows)
        found.append(_Found(segment, shown))
        people -= len(shown)
        rows -= read
        if last is not None:
            ahead = _page_key(segment, last)
            break
    return SegmentList(data=_views(request.account, found), last_evaluated_key=request.next_key("segments", ahead))


def _page_key(segment: SegmentTable, after: str) -> Item:
    return {"segment_id": {"S": segment.segment_id}, "user_id": {"S": after}}


def _part(
    account: AccountTable, segment: SegmentTable, after: str, people: int, rows: int
) -> tuple[dict[str, dict[str, str]], str | None, int]:
    """Return people of a segment with what was saved of them, the last one looked at, and the rows read."""
    if _picks(segment):
        place = membership(segment.account, segment.segment_id)
        condition = MemberTable.user_id > after if after else None
        limit = min(people, rows)
        # One more than fits tells whether there is one.
        found, last_key = MemberTable.query(place, condition, limit=limit + 1, consistent=True)
        last = last_key["user_id"]["S"] if last_key else None
        if len(found) > limit:
            found = found[:limit]
            last = found[-1].user_id
        return {member.user_id: member.shown for member in found}, last, len(found)
    audience = Audience(segment.account, everyone=False, segments=[segment], user_ids=(), vault=vaults(account))
    part = audience.part(after, people=people, rows=rows)
    return {person.user_id: {} for person in part.people}, part.after, part.rows


def _views(account: AccountTable, found: list[_Found]) -> list[SegmentView]:
    user_ids = sorted({user_id for one in found for user_id in one.shown})
    keys = [ConversationTable.key(found[0].segment.account, user_id) for user_id in user_ids]
    profiles = {item["user_id"]["S"]: item for item in rows_of(ConversationTable, keys, _PROFILE)}
    return [
        _view(account, segment, [_member(account, user_id, shown[user_id], profiles.get(user_id)) for user_id in shown])
        for segment, shown in found
    ]


def _member(account: AccountTable, user_id: str, shown: dict[str, str], profile: Item | None) -> MemberView:
    """Return a member: name, picture and state from the user list, the rest as it was saved."""
    if profile is None:
        return MemberView(
            user_id=user_id,
            user_name=shown.get("userName", ""),
            user_picture=shown.get("userPicture", ""),
            account_type=shown.get("accountType", account.account_type),
            account_status=shown.get("accountStatus", "0"),
            follow_time=shown.get("followTime", ""),
            create_time=shown.get("createTime", ""),
        )
    return MemberView(
        user_id=user_id,
        user_name=profile["user_name"]["S"] or shown.get("userName", ""),
        user_picture=profile["user_picture"]["S"] or shown.get("userPicture", ""),
        account_type=account.account_type,
        account_status=profile["status"]["S"],
        follow_time=times.shown(ConversationTable.follow_time.deserialize(profile["follow_time"]["S"])),
        create_time=shown.get("createTime", ""),
    )


def _view(account: AccountTable, segment: SegmentTable, members: list[MemberView]) -> SegmentView:
    return SegmentView(
        id=segment.segment_id,
        name=segment.segment_name,
        conditions=segment.conditions,
        users=members,
        users_count=len(members),
        mode=segment.mode,
        cv_key=ConversionKeyView(order_id=segment.order_id or None),
        liffurl=liff_apps.url(account, segment),
        scenario_id=segment.scenario_id or None,
        default_users_segment=segment.is_default,
        create_time=times.shown(segment.created_at),
        update_time=times.shown(segment.updated_at),
    )


def named(partition: str, names: Sequence[str]) -> list[SegmentTable]:
    """Return the segments with these names, in their order; refuses with every name that is not one's."""
    wanted = [name.strip() for name in names]
    keys = [
        NameTable.key(partition, name_place(name)) for name in dict.fromkeys(wanted) if 0 < len(name) <= NAME_LENGTH
    ]
    owners = {item["place"]["S"]: item["owner"]["S"] for item in rows_of(NameTable, keys)}
    found = {segment.segment_id: segment for segment in with_ids(partition, list(owners.values()))}
    segments = [found.get(owners.get(name_place(name), "")) for name in wanted]
    flaws = [
        Flaw(f"segmentNames[{place}]", f"'{name}' is not a segment of this channel")
        for place, (name, segment) in enumerate(zip(names, segments, strict=True))
        if segment is None
    ]
    if flaws:
        raise Invalid(flaws)
    return list({segment.segment_id: segment for segment in segments if segment is not None}.values())


def with_ids(partition: str, segment_ids: Sequence[str]) -> list[SegmentTable]:
    """Return those segments of the ids that exist, in no order."""
    keys = [SegmentTable.key(partition, segment_id) for segment_id in dict.fromkeys(segment_ids)]
    return [SegmentTable.of_item(item) for item in rows_of(SegmentTable, keys)]


def holds(partition: str, value: str, subject: Subject, user_id: str) -> bool:
    """Tell whether a follower is in the segment with this id or, when there is none, this name."""
    segment = _segment(partition, value.strip())
    if segment is None:
        return False
    if segment.is_default:
        return True
    if segment.mode == "CVKey" and segment.order_id in subject.orders:
        return True
    if segment.mode == "Conditions":
        asked = subject._replace(pushed_at=lambda: pushed_at(partition, user_id))
        if compiled(segment.conditions)(asked):
            return True
    if segment.mode != "Custom" and not segment.members:
        return False
    return MemberTable.find(membership(partition, segment.segment_id), user_id) is not None


def _segment(partition: str, value: str) -> SegmentTable | None:
    if not 0 < len(value) <= NAME_LENGTH:
        return None
    wanted: list[tuple[Any, Item]] = [(NameTable, NameTable.key(partition, name_place(value)))]
    if len(value) <= _ID_LENGTH:
        wanted.append((SegmentTable, SegmentTable.key(partition, value)))
    name, *segments = fetch(*wanted)
    if segments and segments[0] is not None:
        found: SegmentTable = segments[0]
        return found
    return None if name is None else SegmentTable.find(partition, name.owner)


def pushed_at(partition: str, user_id: str) -> datetime | None:
    """Return when a user was last written to without having asked, None for never."""
    row = PushTable.find(partition, user_id)
    return None if row is None else row.pushed_at


def scenario_of(partition: str, segment_id: str) -> str:
    """Return the scenario that those who enter a segment get, '' when there is none."""
    row = SegmentTable.find(partition, segment_id)
    return "" if row is None else row.scenario_id


def entries_of(partition: str, user_id: str) -> list[EntryTable]:
    """Return the segments through whose links somebody came who did not follow yet."""
    condition = EntryTable.place.startswith(f"{user_id}#")
    return EntryTable.query(partition, condition, limit=_ENTRIES_A_FOLLOW, consistent=True).rows


def completed(entry: EntryTable) -> list[Write]:
    """Return the writes that make a waiting entry a member, or only end it when the segment is gone or has him."""
    segment, member = fetch(
        (SegmentTable, SegmentTable.key(entry.account, entry.segment_id)),
        (MemberTable, MemberTable.key(membership(entry.account, entry.segment_id), entry.user_id)),
    )
    done = Delete(EntryTable, entry.own_key())
    if segment is None:
        return [done]
    if member is not None:
        if not entry.verified or member.verified:
            return [done]
        there = MemberTable.user_id.exists()
        return [Change(MemberTable, member.own_key(), [MemberTable.verified.set(True)], there), done]
    return [*joined(entry.account, entry.segment_id, entry.user_id, verified=entry.verified), done]


def joined(partition: str, segment_id: str, user_id: str, *, verified: bool) -> list[Write]:
    """Return the writes that add a user to a segment; refused when he is in it (the first) or it is gone."""
    place = membership(partition, segment_id)
    member = MemberTable(segment=place, user_id=user_id, shown={}, verified=verified)
    # The version too: a save that replaces the members at the same moment has to see this one.
    actions = [
        SegmentTable.members.set(SegmentTable.members + 1),
        SegmentTable.version.set(SegmentTable.version + 1),
    ]
    key = SegmentTable.key(partition, segment_id)
    counted = Change(SegmentTable, key, actions, SegmentTable.segment_id.exists())
    return [create(member), counted, _menus_follow(partition)]


def _menus_follow(partition: str) -> Put:
    """Return the write that has rich menus follow a change of who is in a segment."""
    _, admin_id, account_id = partition.split("#")
    return menu_links.soon(admin_id, account_id)
