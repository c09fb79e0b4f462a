"""The deletion of a channel's users: everything known of them goes, and nothing else."""

import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.backends import get_backend

from chatbot import cors_errors, due, erasures, exports, segments, users, variable_history
from chatbot.erasures import ERASURES
from chatbot.external import CrosError
from chatbot.tables import (
    BroadcastTable,
    ChunkTable,
    ClickTable,
    ConversationTable,
    EntryTable,
    ErasureTable,
    ExportTable,
    FormEntryTable,
    FormTable,
    IconTable,
    LinkTable,
    MemberTable,
    MenuTable,
    NameTable,
    OrderTable,
    PushTable,
    RecipientTable,
    SegmentTable,
    TurnTable,
    UserTable,
    account_key,
)
from functions.chatbot.delete_user_data import delete_user_data
from functions.chatbot.erase_user_data import erase_user_data
from kernel import aws, clock, files, running
from kernel.tables import Change, Put, commit, create, write_all
from tests.functions.chatbot.conftest import made
from tests.functions.chatbot.examples import (
    ACCOUNT_ID,
    ADMIN_ID,
    FUNCTIONS,
    IDS,
    NOW,
    PARTITION,
    UNAUTHORIZED,
    Calls,
    audited,
    furnish,
    ok,
    sample,
)
from tests.functions.chatbot.stored_files import stored_files, uploads

BEFORE = NOW - timedelta(hours=1)
AFTER = NOW + timedelta(seconds=1)
BOOKED = datetime(2024, 2, 1, 9, tzinfo=UTC)
SIBLING = "sibling-of-the-channel"
OLD = ["Uold1", "Uold2", "Uold3"]
# Whatever holds one of these belongs to an erased user.
TRACES = ["Uold", "OLDNAME", "OLDTEXT"]
CONFIGURATION = [
    "accounts", "account-ids", "forms", "icons", "links", "menus", "names", "scenarios", "scenario-versions", "tags",
    "triggers", "variables", "partner-keys",
]  # fmt: skip


def write(*rows):
    write_all(Put(row) for row in rows)


def conversation(user_id, at, account_id=ACCOUNT_ID, status="1"):
    """Return a user's conversation and row of the list, with a reservation."""
    partition = account_key(ADMIN_ID, account_id)
    state = {"variables": {"name": "OLDTEXT"}, "booked": {"node1": "2024-02-01 09:00:00.000"}}
    row = ConversationTable(
        account=partition, user_id=user_id, state=state, status=status, status_at=at, follow_time=at, access_time=at,
        user_name="OLDNAME", user_picture="", version=3, created_at=at,
    )  # fmt: skip
    place = at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    listed = UserTable(
        adm_acc_id=partition, usrid_acstm=f"#{user_id}#{place}", user_id=user_id, user_name="OLDNAME",
        user_picture="", account_type="line", account_status=status, node_id="", tags=[], follow_time=at,
        access_time=at, created_at=at,
    )  # fmt: skip
    return row, listed


def follow(user_id, at, account_id=ACCOUNT_ID, status="1"):
    """Store a user with everything that is known of him by his id."""
    partition = account_key(ADMIN_ID, account_id)
    row, listed = conversation(user_id, at, account_id, status)
    text = [{"type": "text", "text": "OLDTEXT"}]
    what = {"user_id": user_id, "scenario_id": "s", "revision": 1, "booking": "node1"}
    expires = NOW + timedelta(days=30)
    write(
        listed,
        *(
            TurnTable(person=f"{partition}#{user_id}", event_id=f"event{number}", messages=text, replied=0,
                      expires=expires, created_at=at)
            for number in range(2)
        ),
        PushTable(account=partition, user_id=user_id, pushed_at=at),
        EntryTable(account=partition, place=f"{user_id}#s1", user_id=user_id, segment_id="s1", verified=True,
                   created_at=at),
        MemberTable(segment=f"{partition}#s1", user_id=user_id, shown={"userName": "OLDNAME"}, verified=True,
                    created_at=at),
        FormEntryTable(account=partition, place=f"{at.isoformat()}#{user_id}#f1", user_id=user_id, form_id="f1",
                       form_name="form", answers={"name": "OLDTEXT"}, created_at=at),
        OrderTable(account=partition, place=f"{user_id}-order#penglue", order_id="1", source="penglue",
                   user_id=user_id, product_id="p", label="", cv_date="2024-01-02", node_id="", scenario_id="",
                   created_at=at),
        ClickTable(account=partition, click_id=f"{user_id}-click", source="link", user_id=user_id, node_id="",
                   scenario_id="", url="", payload={"text": "OLDTEXT"}, created_at=at, expires=expires),
        *(put.row for put in variable_history.rows(partition, user_id, [("name", "OLDTEXT")], at)),
        due.book("reservation", ADMIN_ID, account_id, BOOKED, f"{user_id}#node1", what).row,
    )  # fmt: skip
    member = Change(
        SegmentTable, SegmentTable.key(partition, "s1"), [SegmentTable.members.set((SegmentTable.members | 0) + 1)]
    )
    counted = [users.counted(partition, user_id, 1)] if status == "1" else []
    commit(Put(row), member, *counted)


def broadcast(broadcast_id, user_ids, account_id=ACCOUNT_ID, **changes):
    partition = account_key(ADMIN_ID, account_id)
    values = {
        "listed": f"{partition}#history", "broadcast_name": "name", "scenario_id": "s", "scenario_name": "s",
        "broadcast_time": BEFORE, "select_all": False, "segment_names": [],
        "segment_ids": [], "users": user_ids, "state": "done",
        "cursor": "Uold3", "chunks": 1, "complete": True, "revision": 1, "way": "", "messages": [], "reason": "",
        "frozen": len(user_ids), "success": len(user_ids), "failed": 0, "skipped": 0, "started_at": BEFORE,
        "finished_at": BEFORE, "created_at": BEFORE, **changes,
    }  # fmt: skip
    row = BroadcastTable(account=partition, broadcast_id=broadcast_id, **values)
    if values["started_at"] is None:
        return [row]
    key = f"{partition}#{broadcast_id}"
    chunk = ChunkTable(broadcast=key, number=0, users=user_ids, state="done", success=len(user_ids), failed=0,
                       skipped=0)  # fmt: skip
    return [row, chunk, *(RecipientTable(broadcast=key, user_id=user_id, chunk=0) for user_id in user_ids)]


def sent(user_ids, account_id=ACCOUNT_ID):
    """Store a broadcast that is over and one that is planned."""
    planned = {"cursor": "", "started_at": None, "finished_at": None, "state": "pending"}
    write(*broadcast("b1", user_ids, account_id), *broadcast("b2", [*user_ids, "Unew"], account_id, **planned))


def exported(account_id=ACCOUNT_ID, name="1"):
    """Store an export that is ready, with a version before it, and one that is being written."""
    partition = account_key(ADMIN_ID, account_id)
    values = {"account": partition, "kind": "getReportCsv", "step": 1, "expires": NOW + timedelta(days=8)}
    for text in ("OLDTEXT before", "OLDTEXT"):
        version = files.put(exports.FILES, f"ready{account_id}{name}.csv", text.encode(), "text/csv")
    upload = files.start_upload(exports.FILES, f"writing{account_id}{name}.csv", "text/csv")
    upload = files.add_part(exports.FILES, upload, b"OLDTEXT")
    saved = {"order": {}, "key": {"user_id": {"S": "Uold1"}}, "upload": [upload.upload_id, upload.parts], "rows": 1}
    write(
        ExportTable(export_id=f"ready{name}", path=f"ready{account_id}{name}.csv", state="ready", file_version=version,
                    progress={"rows": 1}, **values),
        ExportTable(export_id=f"writing{name}", path=f"writing{account_id}{name}.csv", state="writing",
                    file_version="", progress=saved, **values),
    )  # fmt: skip


def complain(account_id, at, text):
    """Store what the external service complained of."""
    error = CrosError(msg=f"{text} is no name", code="1")
    write_all(cors_errors.noted(account_key(ADMIN_ID, account_id), [error], at))


def set_up(account_id=ACCOUNT_ID):
    """Store what belongs to the channel itself."""
    partition = account_key(ADMIN_ID, account_id)
    write(
        SegmentTable(account=partition, segment_id="s1", segment_name="s", mode="Custom", conditions=[], order_id="",
                     is_default=False, scenario_id="", members=0, version=1),
        FormTable(account=partition, form_id="f1", form_name="form", fields=["name"]),
        MenuTable(account=partition, menu_id="richmenu-1", menu_name="m", definition={}, segments=[], timed=False,
                  picture="", image_type="A"),
        IconTable(account=partition, icon_id="i", icon_name="i", url="https://icons.example.com/i"),
        LinkTable(account=partition, digest="d", url="https://shop.example.com"),
    )  # fmt: skip


def readable(value: Any) -> Any:
    """Return a stored value with what is compressed in it unpacked."""
    ((kind, content),) = value.items()
    return zlib.decompress(content).decode() if kind == "B" else content


def texts(cloud, partition=PARTITION):
    """Return every row of the channel and every version of its files as text."""
    account_id = partition.rpartition("#")[2]
    found = []
    # Read where moto keeps them: a hundred times all tables take long over HTTP.
    for _, _, backend in get_backend("dynamodb").iter_backends():
        for table in backend.tables.values():
            for item in table.all_items():
                row = {name: readable(value) for name, value in item.to_json()["Attributes"].items()}
                text = json.dumps(row, ensure_ascii=False, sort_keys=True)
                if account_id in text:
                    found.append(f"{table.name.removeprefix('citypass-test-chatbot-')}: {text}")
    return sorted(found + [f"{file.key}: {file.body!r}" for file in stored_files(cloud) if account_id in file.key])


def traces(cloud):
    """Return what is left of the erased users anywhere in the channel."""
    return [text for text in texts(cloud) if any(trace in text for trace in TRACES)]


def finish(cloud):
    """Let the worker work until nothing is queued; every message comes twice."""
    while records := cloud.queued(ERASURES):
        for record in records:
            for _ in range(2):
                assert erase_user_data({"Records": [record]}, None) == {"batchItemFailures": []}


def ask(cloud, ids=IDS):
    assert cloud.call(delete_user_data, ids) == ok()


@pytest.fixture
def channel(cloud, account):
    """The channel with three users, one of whom left, and its sibling with the same users."""
    made(cloud, {"adminId": ADMIN_ID, "accountId": SIBLING})
    for account_id in (ACCOUNT_ID, SIBLING):
        set_up(account_id)
        populate(account_id)
    furnish()
    cleared = UserTable.query(PARTITION, consistent=True).rows
    write_all(erasures.Delete(UserTable, row.own_key()) for row in cleared if not row.user_id.startswith("Uold"))
    followers = [f for f in cloud.rows("follower-counts") if f["account"] == PARTITION and f["shard"] == 0]
    assert followers
    return account


def populate(account_id=ACCOUNT_ID, name="1"):
    for user_id in OLD:
        follow(user_id, BEFORE, account_id, status="0" if user_id == "Uold3" else "1")
    sent(OLD, account_id)
    exported(account_id, name)
    complain(account_id, BEFORE, "OLDTEXT")


def test_asking_is_answered_at_once(cloud, account):
    with Calls() as calls:
        answer = delete_user_data(sample("delete_user_data"), None)

    assert json.loads(answer["body"]) == {"ErrorCode": 200, "ErrorMessage": "ok", "Result": None}
    assert calls == [
        "dynamodb GetItem",
        "dynamodb GetItem",
        "dynamodb TransactWriteItems",
        "sqs GetQueueUrl",
        "sqs SendMessageBatch",
    ]
    (row,) = [row for row in cloud.rows("accounts") if row["account_id"] == ACCOUNT_ID]
    assert row["erased_at"] == "2024-01-28T06:41:29.006Z"


def test_an_empty_channel_is_emptied(cloud, account):
    ask(cloud)
    finish(cloud)

    (row,) = cloud.rows("erasures")
    assert (row["state"], json.loads(row["erased"]), row["actor"]) == ("done", {}, ADMIN_ID)
    entries = audited(cloud, f"users of {ACCOUNT_ID}")
    assert sorted((entry["tenant"], entry["actor"], entry["operation"]) for entry in entries) == [
        (ADMIN_ID, ADMIN_ID, "delete_user_data"),
        (ADMIN_ID, ADMIN_ID, "erase_user_data"),
    ]


def test_everything_of_the_users_goes_and_nothing_else(cloud, channel):
    assert len(traces(cloud)) > 30
    configuration = {name: cloud.rows(name) for name in CONFIGURATION if name != "accounts"}
    sibling = texts(cloud, account_key(ADMIN_ID, SIBLING))

    ask(cloud)
    finish(cloud)

    assert traces(cloud) == []
    assert uploads(cloud) == [f"exports/chatbot/writing{SIBLING}1.csv"]
    assert {name: cloud.rows(name) for name in CONFIGURATION if name != "accounts"} == configuration
    assert texts(cloud, account_key(ADMIN_ID, SIBLING)) == sibling
    (row,) = cloud.rows("erasures")
    three = ["people", "form-entries", "segment-entries", "pushes", "orders", "clicks", "segment-members"]
    counts = {**dict.fromkeys(three, 3), "cors-errors": 1, "broadcasts": 6, "exports": 2}
    assert (row["state"], json.loads(row["erased"])) == ("done", counts)
    # What was counted stays counted.
    (over,) = [row for row in BroadcastTable.query(PARTITION).rows if row.broadcast_id == "b1"]
    assert (over.success, over.frozen, over.users) == (3, 3, [])
    (chunk,) = ChunkTable.query(f"{PARTITION}#b1").rows
    assert (chunk.success, chunk.users) == (3, [])
    (segment,) = SegmentTable.query(PARTITION).rows
    assert segment.members == 0


def test_who_follows_after_the_request_stays(cloud, channel):
    ask(cloud)
    follow("Unew", AFTER)
    before = [text for text in texts(cloud) if "Unew" in text and not text.startswith("broadcasts:")]
    count = users.followers(PARTITION)

    finish(cloud)

    assert traces(cloud) != []
    after = [text for text in texts(cloud) if "Unew" in text and not text.startswith("broadcasts:")]
    assert after == before
    assert len(after) == 12
    # Two of the old ones followed.
    assert users.followers(PARTITION) == count - 2
    (planned,) = [row for row in BroadcastTable.query(PARTITION).rows if row.broadcast_id == "b2"]
    assert planned.users == ["Unew"]
    (segment,) = SegmentTable.query(PARTITION).rows
    assert segment.members == 1


class Died(BaseException):
    """The function's process ends."""


class Dying:
    """Ends the process after so many calls of the functions; tells whether it came to that."""

    def __init__(self, number):
        self.left = number

    def __call__(self, call):
        if running._current is None:
            return
        self.left -= 1
        if self.left == 0:
            raise Died

    def __enter__(self):
        aws.observers.append(self)
        return self

    def __exit__(self, *problem):
        aws.observers.remove(self)


def ask_until_answered(cloud):
    while True:
        try:
            ask(cloud)
            return
        except Died:
            continue


def finish_dying(cloud):
    """As `finish`, but a message whose handling died comes a third time."""
    while records := cloud.queued(ERASURES):
        for record in records:
            for _ in range(2):
                while True:
                    try:
                        assert erase_user_data({"Records": [record]}, None) == {"batchItemFailures": []}
                        break
                    except Died:
                        continue


def test_a_crash_between_two_calls_loses_nothing_and_takes_nothing_twice(cloud, channel, monkeypatch):
    monkeypatch.setattr(erasures, "_PAGES_A_MESSAGE", 12)
    monkeypatch.setattr(erasures, "_PEOPLE_A_PAGE", 2)
    follow("Unew", AFTER)
    kept = {name: cloud.rows(name) for name in CONFIGURATION if name != "accounts"}
    ask(cloud)
    finish(cloud)
    count = users.followers(PARTITION)
    new = texts_of_the_new(cloud)

    # Every third call: the steps repeat, and a run each takes its time.
    number = -2
    while True:
        number += 3
        populate(name=str(number))
        with Dying(number) as dying:
            ask_until_answered(cloud)
            finish_dying(cloud)
        left = texts(cloud)
        assert [text for text in left if any(trace in text for trace in TRACES) and "Unew" not in text] == [], number
        assert [text for text in left if "Unew" in text and not text.startswith("broadcasts:")] == new, number
        assert users.followers(PARTITION) == count, number
        (segment,) = SegmentTable.query(PARTITION).rows
        assert segment.members == 1, number
        assert ErasureTable.find(PARTITION).state == "done", number
        if dying.left > 0:
            break

    assert number > 60
    assert {name: cloud.rows(name) for name in CONFIGURATION if name != "accounts"} == kept


def texts_of_the_new(cloud):
    return [text for text in texts(cloud) if "Unew" in text and not text.startswith("broadcasts:")]


def test_a_user_who_acts_meanwhile_goes_with_what_he_did(cloud, channel):
    ask(cloud)
    (record,) = cloud.queued(ERASURES)
    key = ConversationTable.key(PARTITION, "Uold1")
    acted = [False]

    def act(call):
        # He writes between the reading of his page and its deletion.
        if call.action == "BatchWriteItem" and not acted[0]:
            acted[0] = True
            turn = TurnTable(person=f"{PARTITION}#Uold1", event_id="late", messages=[], replied=0, expires=AFTER)
            commit(create(turn), Change(ConversationTable, key, [ConversationTable.version.set(4)]))

    aws.observers.append(act)
    try:
        assert erase_user_data({"Records": [record]}, None) == {"batchItemFailures": []}
    finally:
        aws.observers.remove(act)
    finish(cloud)

    assert acted == [True]
    assert traces(cloud) == []


def test_a_turn_that_ends_behind_the_passed_place_is_found_by_the_next_round(cloud, channel):
    ask(cloud)
    (record,) = cloud.queued(ERASURES)
    late = [False]

    def end(call):
        if call.action == "Query" and call.payload["TableName"].endswith("-form-entries") and not late[0]:
            late[0] = True
            row, listed = conversation("Uold9", BEFORE)
            commit(Put(row), Put(listed), users.counted(PARTITION, "Uold9", 1))

    count = users.followers(PARTITION)
    aws.observers.append(end)
    try:
        erase_user_data({"Records": [record]}, None)
    finally:
        aws.observers.remove(end)
    finish(cloud)

    assert late == [True]
    assert traces(cloud) == []
    assert users.followers(PARTITION) == count - 2


def test_asked_again_it_begins_anew(cloud, channel):
    ask(cloud)
    with clock.frozen(AFTER):
        follow("Uold4", AFTER)
        ask(cloud)
    finish(cloud)

    assert traces(cloud) == []
    (row,) = cloud.rows("erasures")
    assert (row["state"], row["created_at"]) == ("done", "2024-01-28T06:41:30.006Z")


def test_a_broadcast_under_way_keeps_its_audience_until_it_is_over(cloud, channel):
    write(*broadcast("b3", OLD, state="sending", finished_at=None, started_at=NOW))
    ask(cloud)
    waited = 0
    for record in cloud.queued(ERASURES):
        waited += len(erase_user_data({"Records": [record]}, None)["batchItemFailures"])

    assert waited == 1
    assert {text.partition(":")[0] for text in traces(cloud)} == {"broadcasts", "broadcast-chunks", "recipients"}
    write(*broadcast("b3", OLD, started_at=NOW, finished_at=NOW))
    # The message that waited comes again.
    assert erase_user_data({"Records": [record]}, None) == {"batchItemFailures": []}
    finish(cloud)
    assert traces(cloud) == []


LATE = NOW - timedelta(days=1, seconds=1)


@pytest.mark.parametrize("state", ["paused", "freezing", "sending", "stopped"])
def test_a_broadcast_that_nobody_goes_on_with_is_ended_before_its_people_go(cloud, channel, monkeypatch, state):
    monkeypatch.setattr(erasures, "_CHUNKS_A_PAGE", 1)
    row, first, *people = broadcast(
        "b3", OLD, state=state, finished_at=None, started_at=LATE, chunks=3, frozen=7, success=2, failed=1,
        listed=f"{PARTITION}#plan",
    )  # fmt: skip
    begun = {"all": ["Uold4", "Uold5"], "not": {}, "since": LATE.isoformat(), "refused": {}}
    values = {"broadcast": first.broadcast, "success": 0, "failed": 0, "skipped": 0}
    write(
        *(row, *people),
        ChunkTable(number=0, users=OLD, state="done", **{**values, "success": 2, "failed": 1}),
        ChunkTable(number=1, users=begun, state="sending", **values),
        ChunkTable(number=2, users=["Uold6", "Uold7"], state="pending", **values),
    )

    ask(cloud)
    finish(cloud)

    assert traces(cloud) == []
    over = BroadcastTable.find(PARTITION, "b3")
    assert (over.state, over.listed, over.finished_at) == ("done", f"{PARTITION}#history", NOW)
    assert (over.frozen, over.success, over.failed, over.skipped) == (7, 2, 1, 4)
    chunks = ChunkTable.query(first.broadcast).rows
    assert [(chunk.state, chunk.skipped, chunk.reason, chunk.users) for chunk in chunks] == [
        ("done", 0, None, []),
        ("done", 2, "erased", []),
        ("done", 2, "erased", []),
    ]
    stopped = [entry["operation"] for entry in audited(cloud, "broadcast b3")]
    assert stopped == ([] if state == "stopped" else ["erase_user_data"])
    assert ErasureTable.find(PARTITION).state == "done"


def test_a_chunk_that_is_sent_at_that_moment_is_waited_for(cloud, channel):
    row, chunk, *people = broadcast("b3", OLD, state="paused", finished_at=None, started_at=LATE, success=0)
    chunk.state, chunk.success = "pending", 0
    write(row, chunk, *people)
    ask(cloud)
    (record,) = cloud.queued(ERASURES)
    begun = {"all": OLD, "not": {}, "since": NOW.isoformat(), "refused": {}}
    seen = []

    def begin(call):
        # He saw it running, and notes whom he sends to behind the look at his chunk.
        if call.action == "Query" and call.payload["TableName"].endswith("-broadcast-chunks") and not seen:
            seen.append(BroadcastTable.find(PARTITION, "b3").state)
            if seen == ["stopped"]:
                commit(Change(ChunkTable, chunk.own_key(), [
                    ChunkTable.state.set("sending"), ChunkTable.users.set(begun),
                ]))  # fmt: skip
            else:
                seen.clear()

    aws.observers.append(begin)
    try:
        erase_user_data({"Records": [record]}, None)
    finally:
        aws.observers.remove(begin)
    finish(cloud)

    assert seen == ["stopped"]
    assert traces(cloud) == []
    over = BroadcastTable.find(PARTITION, "b3")
    assert (over.state, over.frozen, over.skipped) == ("done", 3, 3)


def test_what_the_external_service_says_afterwards_stays(cloud, channel):
    complain(ACCOUNT_ID, AFTER, "a new one")
    ask(cloud)
    finish(cloud)

    assert [row["msg"] for row in cloud.rows("cors-errors") if row["account"] == PARTITION] == ["a new one is no name"]


def test_members_of_segments_that_are_gone_go(cloud, channel, monkeypatch):
    monkeypatch.setattr(erasures, "_ROWS_A_PAGE", 2)
    monkeypatch.setattr(segments, "_A_READ", 1)
    monkeypatch.setattr(segments, "_REMOVED_A_CALL", 0)
    write(NameTable(account=PARTITION, place="segment#s", owner="s1"))
    assert cloud.call(FUNCTIONS["delete_user_segment"], {**IDS, "segmentId": "s1"}) == ok()
    assert len([row for row in cloud.rows("segment-members") if row["segment"] == f"{PARTITION}#s1"]) == 3

    ask(cloud)
    finish(cloud)

    assert traces(cloud) == []
    assert [row for row in cloud.rows("names") if row["place"].startswith("segment")] == []


def test_refuses(cloud, account, foreign, refuses):
    refuses(delete_user_data, [({}, "adminId is required; accountId is required")])
    refuses(delete_user_data, [({**IDS, "accountId": foreign.ids["accountId"]}, "accountId not found")])
    assert cloud.call(delete_user_data, foreign.ids) == UNAUTHORIZED
    assert cloud.queued(ERASURES) == []


def test_the_sample_message_without_a_request_is_harmless(cloud):
    assert erase_user_data(sample("erase_user_data"), None) == {"batchItemFailures": []}
