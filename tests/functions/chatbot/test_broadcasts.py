"""Broadcasts through their operations: booked, listed, held, stopped, and what they would cost."""

import json
from collections import Counter
from datetime import timedelta

import pytest

from chatbot import broadcasts
from chatbot.conversation import Vault
from chatbot.tables import (
    BroadcastTable,
    ConversationTable,
    FollowerCountTable,
    IconTable,
    OrderTable,
    PushTable,
    account_key,
)
from functions.chatbot.delete_broadcast import delete_broadcast
from functions.chatbot.estimate_broadcast import estimate_broadcast
from functions.chatbot.get_broadcast_history import get_broadcast_history
from functions.chatbot.get_broadcast_plan import get_broadcast_plan
from functions.chatbot.get_broadcast_progress import get_broadcast_progress
from functions.chatbot.get_broadcast_recipients import get_broadcast_recipients
from functions.chatbot.pause_broadcast import pause_broadcast
from functions.chatbot.resume_broadcast import resume_broadcast
from functions.chatbot.run_broadcast import run_broadcast
from functions.chatbot.schedule_broadcast import schedule_broadcast
from functions.chatbot.send_broadcast_chunk import send_broadcast_chunk
from functions.chatbot.stop_broadcast import stop_broadcast
from kernel import clock, secrets, settings
from kernel.tables import Change, Put, commit, write_all
from local.cros_double import CrosDouble
from local.line_simulator import LineSimulator
from local.wechat_simulator import wechat_simulator
from tests.functions.chatbot.conftest import made
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOT_ALLOWED,
    NOW,
    OTHER_IDS,
    PARTITION,
    UNAUTHORIZED,
    USER_ID,
    Calls,
    audited,
    documented,
    node,
    ok,
    refused,
    sample,
    scenario,
)
from tests.scenarios import RED, about_variable, condition_node, to_node

EXAMPLE = documented("schedule_broadcast")
SCENARIO = EXAMPLE["broadcastScenarioId"]
ALL = {"isSelectAll": True, "broadcastUsers": []}
READ, QUERY, CHANGE, BATCH = (
    "dynamodb GetItem",
    "dynamodb Query",
    "dynamodb TransactWriteItems",
    "dynamodb BatchGetItem",
)
NO_BROADCAST = "is no planned or running broadcast of this channel"


def people(number):
    return [f"U{place:032x}" for place in range(1, number + 1)]


@pytest.fixture
def line(cloud, monkeypatch):
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        settings.settings.cache_clear()
        yield simulator


@pytest.fixture
def ready(cloud, account, line):
    """The documented channel with the documented scenario and user."""
    save(cloud, node("hello"))
    follow(USER_ID)
    return cloud


def save(cloud, *nodes, scenario_id=SCENARIO, **how):
    assert cloud.call(FUNCTIONS["save_scenario"], {**scenario(scenario_id, *nodes), **how}) == ok()


def follow(*user_ids, partition=PARTITION, status="1", **changes):
    at = NOW - timedelta(days=1)
    values = {"state": {}, "user_name": "Rex曾", "user_picture": "", "version": 1, "created_at": at, **changes}
    rows = [
        ConversationTable(
            account=partition, user_id=user_id, status=status, status_at=at, follow_time=at, access_time=at, **values
        )
        for user_id in user_ids
    ]
    write_all(map(Put, rows))
    commit(Put(FollowerCountTable(account=partition, shard=0, followers=len(user_ids))))


def save_segment(cloud, name, **changes):
    body = {
        **IDS, "segmentName": name, "mode": "Conditions", "defaultUsersSegment": False, "cvKey": {"orderId": ""},
        "segmentConditions": [], "segmentUsers": [], **changes,
    }  # fmt: skip
    assert cloud.call(FUNCTIONS["save_user_segment"], body) == ok()


def pick(*user_ids):
    times = {"createTime": "2024-01-28 06:04:25.695", "followTime": "2024-01-28 06:04:25.693"}
    plain = {"userName": "", "userPicture": "", "accountStatus": "1", "accountType": "line", **times}
    return {"mode": "Custom", "segmentUsers": [{**plain, "userId": user_id} for user_id in user_ids]}


def schedule(cloud, **changes):
    """Book a broadcast and return its id."""
    before = {row["broadcast_id"] for row in cloud.rows("broadcasts")}
    assert cloud.call(schedule_broadcast, {**EXAMPLE, **changes}) == ok()
    ((broadcast_id),) = {row["broadcast_id"] for row in cloud.rows("broadcasts")} - before
    return broadcast_id


def start(cloud):
    FUNCTIONS["start_due"](sample("start_due"), None)


def carry_on(cloud):
    """Let the workers handle what is queued until there is nothing left."""
    for _ in range(20):
        records = {worker: cloud.queued(worker.queue) for worker in (run_broadcast, send_broadcast_chunk)}
        if not any(records.values()):
            return
        for worker, queued in records.items():
            for record in queued:
                assert worker({"Records": [record]}, None) == {"batchItemFailures": []}


def carry_out(cloud, **changes):
    broadcast_id = schedule(cloud, **changes)
    start(cloud)
    carry_on(cloud)
    return broadcast_id


def result(cloud, operation, **body):
    answer = cloud.call(operation, {**IDS, **body})
    assert answer.status == 200, answer.body
    return answer.body["Result"]


def progress(cloud, broadcast_id):
    return result(cloud, get_broadcast_progress, broadcastId=broadcast_id)


def state(broadcast_id):
    row = BroadcastTable.find(PARTITION, broadcast_id)
    return row and row.state


class TestScheduling:
    def test_takes_the_documented_request(self, ready):
        with Calls() as calls:
            answer = schedule_broadcast(sample("schedule_broadcast"), None)

        assert json.loads(answer["body"]) == ok()[1]
        assert calls == [READ, BATCH, CHANGE]
        (row,) = ready.rows("broadcasts")
        (due,) = ready.rows("due")
        assert (row["broadcast_id"][14], row["state"], row["broadcast_time"]) == (
            "1",
            "pending",
            "2024-01-23T03:25:00.000Z",
        )
        assert json.loads(due["what"]) == {"broadcast_id": row["broadcast_id"]}
        assert [(entry["actor"], entry["subject"]) for entry in audited(ready, f"broadcast {row['broadcast_id']}")] == [
            ("0001", f"broadcast {row['broadcast_id']}")
        ]

    def test_asks_for_segments_once_whatever_their_number(self, ready):
        for name in ("a", "b", "c"):
            save_segment(ready, name, **pick(USER_ID))

        with Calls() as calls:
            schedule(ready, segmentNames=["a", "b", "c", "a"])

        assert calls == [READ, BATCH, BATCH, BATCH, CHANGE]
        (row,) = result(ready, get_broadcast_plan)["data"]
        assert row["segmentNames"] == ["a", "b", "c"]

    @pytest.mark.parametrize("users", [[], None, ...])
    def test_everybody_needs_no_users(self, ready, users):
        body = {**EXAMPLE, "isSelectAll": True, "broadcastUsers": users, "segmentNames": users}

        assert ready.call(schedule_broadcast, {name: value for name, value in body.items() if value is not ...}) == ok()

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ("2024-01-29 06:40:00", "2024-01-29 06:40:00"),
            ("2024-01-29T06:40", "2024-01-29 06:40:00"),
            ("2024-01-29 06:40:00.999", "2024-01-29 06:40:00"),
            ("2024-01-29T14:40:00+08:00", "2024-01-29 06:40:00"),
            ("2024-01-29", "2024-01-29 00:00:00"),
        ],
    )
    def test_takes_times_in_the_documents_spellings(self, ready, given, shown):
        schedule(ready, broadcastTime=given)

        assert result(ready, get_broadcast_plan)["data"][0]["broadcastTime"] == shown

    def test_refuses_what_it_cannot_book(self, ready, foreign, refuses):
        audience = "broadcastUsers or segmentNames is required unless isSelectAll is true"
        wrong = {
            "broadcastScenarioId is no scenario of this channel": {"broadcastScenarioId": "unknown"},
            audience: {"broadcastUsers": [], "segmentNames": []},
            "broadcastStatus must be 'pending'": {"broadcastStatus": "done"},
            "broadcastTime must be a time like 2024-01-28 06:04:25.693": {"broadcastTime": "soon"},
            "broadcastTime must be a valid string": {"broadcastTime": 5},
            "isSelectAll must be a valid boolean": {"isSelectAll": "true"},
            "segmentNames[0] 'nobody' is not a segment of this channel": {"segmentNames": ["nobody"]},
            "accountId not found": OTHER_IDS | {"adminId": "0001"},
            "broadcastName must have at least 1 character": {"broadcastName": ""},
            f"broadcastUsers[0].userId {NOT_ALLOWED}": {"broadcastUsers": [{"userId": "U#1"}]},
        }
        found = {}
        before = ready.everything()
        for message, change in wrong.items():
            found[message] = ready.call(schedule_broadcast, {**EXAMPLE, **change}).body["ErrorMessage"]
        assert found == {message: message for message in wrong}
        assert ready.everything() == before
        missing = ("broadcastName", "broadcastScenarioId", "broadcastScenarioName", "broadcastStatus", "broadcastTime")
        cases = [
            ({k: v for k, v in EXAMPLE.items() if k != name}, f"{name} is required")
            for name in (*missing, "isSelectAll")
        ]
        refuses(schedule_broadcast, cases)
        many = {**EXAMPLE, "broadcastUsers": [{"userId": user} for user in people(5001)]}
        refuses(schedule_broadcast, [(many, "broadcastUsers must have at most 5000 items")])

    def test_names_all_flaws_at_once(self, ready, refuses):
        body = {**EXAMPLE, "broadcastScenarioId": "unknown", "broadcastUsers": []}
        message = (
            "broadcastUsers or segmentNames is required unless isSelectAll is true; "
            "broadcastScenarioId is no scenario of this channel"
        )

        refuses(schedule_broadcast, [(body, message)])

    def test_a_repeated_user_counts_once(self, ready):
        schedule(ready, broadcastUsers=[{"userId": USER_ID}, {"userId": USER_ID}])

        assert result(ready, get_broadcast_plan)["data"][0]["broadcastUsersCount"] == 1


class TestPlan:
    def test_answers_the_documented_shape(self, ready):
        save_segment(ready, "forreal", **pick(USER_ID))
        broadcast_id = schedule(
            ready,
            broadcastName="PM00001",
            broadcastUsers=[],
            segmentNames=["forreal"],
            broadcastTime="2024-01-29 06:40:00",
        )

        assert ready.call(get_broadcast_plan, IDS) == ok(
            {
                "data": [
                    {
                        "broadcastId": broadcast_id,
                        "broadcastName": "PM00001",
                        "broadcastScenarioId": SCENARIO,
                        "broadcastScenarioName": "01_營業稅申報",
                        "segmentNames": ["forreal"],
                        "broadcastUsersCount": 1,
                        "broadcastStatus": "pending",
                        "broadcastTime": "2024-01-29 06:40:00",
                        "createTime": "2024-01-28 06:41:29.006",
                        "updateTime": "2024-01-28 06:41:29.006",
                        "failed": None,
                        "success": None,
                    }
                ]
            }
        )

    def test_takes_the_documented_request(self, ready):
        schedule(ready)

        with Calls() as calls:
            answer = get_broadcast_plan(sample("get_broadcast_plan"), None)

        assert len(json.loads(answer["body"])["Result"]["data"]) == 1
        assert calls == [READ, QUERY]

    def test_counts_everybody_with_one_more_request(self, ready):
        schedule(ready, **ALL)
        follow(*people(7))

        with Calls() as calls:
            (row,) = result(ready, get_broadcast_plan)["data"]

        assert row["broadcastUsersCount"] == 7
        assert calls == [READ, QUERY, QUERY]

    def test_counts_members_and_picked_together(self, ready):
        follow(*people(5))
        save_segment(ready, "three", **pick(*people(3)))
        whom = {"segmentNames": ["three"], "broadcastUsers": [{"userId": user} for user in people(5)[2:4]]}
        schedule(ready, **whom)

        assert result(ready, get_broadcast_plan)["data"][0]["broadcastUsersCount"] == 4
        assert result(ready, estimate_broadcast, **{**documented("estimate_broadcast"), **whom})["audience"] == 4

    def test_counts_by_every_source_of_conditions(self, ready, line):
        asking = [
            {"source": "serverpushtime", "expression": "date_range", "range": {"start": "2024-01-28", "end": ""}},
            about_variable("phone", "fuzzy_match", "0912"),
        ]
        sealed = Vault(*IDS.values(), USER_ID).seal("phone", "0912345678")
        follow(USER_ID, state={"variables": {"phone": {"sealed": sealed}}})
        commit(Put(PushTable(account=PARTITION, user_id=USER_ID, pushed_at=NOW)))
        commit(Put(OrderTable(
            account=PARTITION, place="o1#chichatcat", order_id="o1", source="chichatcat", user_id=USER_ID,
            product_id="", label="", cv_date="", node_id="", scenario_id="",
        )))  # fmt: skip
        save_segment(ready, "asked", segmentConditions=asking)
        save_segment(ready, "bought", mode="CVKey", cvKey={"orderId": "o1"})
        save_segment(ready, "picked", **pick(USER_ID))
        for names in (["asked"], ["bought"], ["picked"]):
            body = {"broadcastUsers": [], "segmentNames": names}
            assert result(ready, estimate_broadcast, **{**documented("estimate_broadcast"), **body})["audience"] == 1
            # Each function opens what is sealed for itself.
            secrets._decrypt.cache_clear()
            carry_out(ready, **body)
            schedule(ready, **body, broadcastTime="2024-01-29")
        secrets._decrypt.cache_clear()

        assert [row["broadcastUsersCount"] for row in result(ready, get_broadcast_plan)["data"]] == [1, 1, 1]
        assert line.deliveries() == {USER_ID: 3}

    def test_is_ordered_by_time_and_paged(self, ready):
        for hour in reversed(range(23)):
            schedule(ready, broadcastName=str(hour), broadcastTime=f"2024-01-29 {hour:02}:00:00")

        first = result(ready, get_broadcast_plan)
        second = result(ready, get_broadcast_plan, lastEvaluatedKey=first["lastEvaluatedKey"])

        names = [row["broadcastName"] for row in first["data"] + second["data"]]
        assert names == [str(hour) for hour in range(23)]
        assert (len(first["data"]), "lastEvaluatedKey" in second) == (20, False)

    def test_keys_of_another_list_are_refused(self, ready, refuses):
        for hour in range(21):
            schedule(ready, broadcastTime=f"2024-01-29 {hour:02}:00:00")
        key = result(ready, get_broadcast_plan)["lastEvaluatedKey"]

        refuses(
            get_broadcast_history, [({**IDS, "lastEvaluatedKey": key}, "lastEvaluatedKey is not a key of this list")]
        )

    def test_a_running_one_is_pending_with_its_numbers(self, ready):
        schedule(ready, **ALL)
        start(ready)
        ready.work(run_broadcast)

        (row,) = result(ready, get_broadcast_plan)["data"]
        assert (row["broadcastStatus"], row["success"], row["failed"], row["broadcastUsersCount"]) == (
            "pending",
            0,
            0,
            1,
        )

    def test_others_see_nothing(self, ready, foreign):
        schedule(ready)

        assert ready.call(get_broadcast_plan, OTHER_IDS, caller="0002") == ok({"data": []})


class TestHistory:
    def test_answers_the_documented_shape(self, ready):
        with clock.frozen(NOW + timedelta(minutes=4, seconds=29, milliseconds=70)):
            broadcast_id = schedule(ready, broadcastName="PM00002", broadcastTime="2024-01-28 06:45:00")
        with clock.frozen(NOW + timedelta(minutes=8, seconds=40, milliseconds=714)):
            start(ready)
            carry_on(ready)

        assert ready.call(get_broadcast_history, IDS) == ok(
            {
                "data": [
                    {
                        "broadcastId": broadcast_id,
                        "broadcastName": "PM00002",
                        "broadcastScenarioId": SCENARIO,
                        "broadcastScenarioName": "01_營業稅申報",
                        "segmentNames": [],
                        "broadcastUsers": [{"userId": USER_ID, "userName": "Rex曾", "accountType": "line"}],
                        "broadcastStatus": "done",
                        "broadcastTime": "2024-01-28 06:45:00",
                        "createTime": "2024-01-28 06:45:58.076",
                        "updateTime": "2024-01-28 06:50:09.720",
                        "failed": 0,
                        "success": 1,
                    }
                ]
            }
        )
        assert ready.call(get_broadcast_plan, IDS) == ok({"data": []})

    def test_takes_the_documented_request(self, ready):
        carry_out(ready)

        with Calls() as calls:
            answer = get_broadcast_history(sample("get_broadcast_history"), None)

        assert len(json.loads(answer["body"])["Result"]["data"]) == 1
        assert calls == [READ, QUERY, QUERY, BATCH]

    def test_shows_who_was_not_reached_as_failed_with_the_first_hundred(self, ready):
        follow(*people(120))
        carry_out(ready, broadcastUsers=[{"userId": user} for user in (*people(120), "U" + "e" * 32, "Rex")])

        (row,) = result(ready, get_broadcast_history)["data"]
        assert (row["success"], row["failed"], len(row["broadcastUsers"])) == (120, 2, 100)

    def test_is_ordered_by_time_and_paged(self, ready):
        for hour in range(12):
            carry_out(ready, broadcastName=str(hour), broadcastTime=f"2024-01-27 {hour:02}:00:00")

        first = result(ready, get_broadcast_history)
        second = result(ready, get_broadcast_history, lastEvaluatedKey=first["lastEvaluatedKey"])

        names = [row["broadcastName"] for row in first["data"] + second["data"]]
        assert names == [str(hour) for hour in reversed(range(12))]
        assert (len(first["data"]), "lastEvaluatedKey" in second) == (10, False)


class TestProgress:
    def test_is_told_by_the_counters(self, ready):
        broadcast_id = schedule(ready, **ALL)
        booked = progress(ready, broadcast_id)
        start(ready)
        ready.work(run_broadcast)
        started = progress(ready, broadcast_id)
        with clock.frozen(NOW + timedelta(minutes=1)):
            carry_on(ready)
            body = json.loads(sample("get_broadcast_progress")["body"])
            with Calls() as calls:
                done = ready.call(get_broadcast_progress, {**body, "broadcastId": broadcast_id})

        none = {"broadcastId": broadcast_id, "frozen": 0, "success": 0, "failed": 0, "skipped": 0, "remaining": 0}
        none["reason"] = ""
        assert booked == {**none, "state": "pending", "startTime": None, "endTime": None}
        begun = {"startTime": "2024-01-28 06:41:29.006", "endTime": None}
        assert started == {**none, **begun, "state": "freezing"}
        ended = {**begun, "endTime": "2024-01-28 06:42:29.006"}
        assert done == ok({**none, **ended, "state": "done", "frozen": 1, "success": 1})
        assert calls == [READ, READ]

    def test_of_unknown_and_foreign_ones_is_refused(self, ready, foreign, refuses):
        broadcast_id = schedule(ready)
        for operation in (
            get_broadcast_progress, get_broadcast_recipients, pause_broadcast, resume_broadcast, stop_broadcast,
        ):  # fmt: skip
            refuses(operation, [({**IDS, "broadcastId": "unknown"}, "broadcastId not found")])
            refuses(operation, [({**OTHER_IDS, "broadcastId": broadcast_id}, "broadcastId not found")], caller="0002")
            refuses(operation, [(IDS, "broadcastId is required")])
            assert ready.call(operation, sample_body(operation), caller="0002") == UNAUTHORIZED


def sample_body(operation):
    return json.loads(sample(operation.name)["body"])


class TestRecipients:
    def test_are_listed_with_what_became_of_each(self, ready):
        unknown = "U" + "f" * 32
        users = [{"userId": user} for user in (USER_ID, "Rex", unknown)]
        broadcast_id = schedule(ready, broadcastUsers=users)
        start(ready)
        while not (chunks := ready.queued(send_broadcast_chunk.queue)):
            ready.work(run_broadcast)
        body = {**sample_body(get_broadcast_recipients), "broadcastId": broadcast_id}
        with Calls() as calls:
            frozen = ready.call(get_broadcast_recipients, body)
        send_broadcast_chunk({"Records": chunks}, None)

        open_ones = [{"userId": user, "outcome": "open", "reason": ""} for user in ("Rex", USER_ID, unknown)]
        assert frozen == ok({"data": open_ones})
        assert ready.call(get_broadcast_recipients, body) == ok(
            {
                "data": [
                    {"userId": "Rex", "outcome": "failed", "reason": "is no LINE user id"},
                    {"userId": USER_ID, "outcome": "success", "reason": ""},
                    {"userId": unknown, "outcome": "skipped", "reason": "does not follow"},
                ]
            }
        )
        assert calls == [READ, READ, QUERY, BATCH]

    def test_are_paged(self, ready):
        follow(*people(150))
        broadcast_id = carry_out(ready, **ALL)

        first = result(ready, get_broadcast_recipients, broadcastId=broadcast_id)
        key = first["lastEvaluatedKey"]
        second = result(ready, get_broadcast_recipients, broadcastId=broadcast_id, lastEvaluatedKey=key)

        listed = [person["userId"] for person in first["data"] + second["data"]]
        assert listed == [*people(150), USER_ID]
        assert len(first["data"]) == 100


class TestChanges:
    """What may be done in which state: the new state, or the refusal."""

    def in_state(self, cloud, name):
        """Return a broadcast in a state."""
        broadcast_id = schedule(cloud, **ALL)
        if name == "pending":
            return broadcast_id
        start(cloud)
        cloud.work(run_broadcast)
        if name in ("sending", "paused", "stopped"):
            cloud.work(run_broadcast)
        if name == "paused":
            result(cloud, pause_broadcast, broadcastId=broadcast_id)
        if name == "stopped":
            result(cloud, stop_broadcast, broadcastId=broadcast_id)
        if name == "done":
            carry_on(cloud)
        assert state(broadcast_id) == name
        return broadcast_id

    @pytest.mark.parametrize("name", ["pending", "freezing", "sending", "paused", "stopped", "done"])
    @pytest.mark.parametrize(
        ("operation", "moves", "to"),
        [
            (pause_broadcast, {"freezing": "paused", "sending": "paused"}, "paused"),
            (resume_broadcast, {"paused": "sending"}, "sending"),
            (stop_broadcast, dict.fromkeys(("freezing", "sending", "paused", "stopped"), "stopped"), "stopped"),
        ],
    )
    def test_follow_the_states(self, ready, refuses, name, operation, moves, to):
        broadcast_id = self.in_state(ready, name)
        body = {**sample_body(operation), "broadcastId": broadcast_id}
        if name not in moves:
            # What resuming aims at depends on how far it came.
            aim = "freezing" if operation is resume_broadcast and name in ("pending", "freezing") else to
            refuses(operation, [(body, f"a broadcast that is {name} cannot become {aim}")])
            return

        assert ready.call(operation, body) == ok()
        assert state(broadcast_id) == moves[name]
        assert len(audited(ready, f"broadcast {broadcast_id}")) == (3 if name in ("paused", "stopped") else 2)
        if operation is pause_broadcast:
            carry_on(ready)
            assert state(broadcast_id) == "paused"
            result(ready, resume_broadcast, broadcastId=broadcast_id)
        carry_on(ready)
        assert state(broadcast_id) == "done"
        numbers = {"skipped": 1} if operation is stop_broadcast and name != "freezing" else {"success": 1}
        if operation is stop_broadcast and name == "freezing":
            numbers = {"frozen": 0}
        found = progress(ready, broadcast_id)
        assert {key: found[key] for key in numbers} == numbers

    @pytest.mark.parametrize("name", ["freezing", "sending", "paused"])
    def test_deleting_a_running_one_stops_it(self, ready, line, name):
        broadcast_id = self.in_state(ready, name)

        assert ready.call(delete_broadcast, {**IDS, "broadcastIds": [broadcast_id, broadcast_id]}) == ok()
        assert state(broadcast_id) == "stopped"
        carry_on(ready)

        assert state(broadcast_id) == "done"
        assert line.sent == []

    def test_deleting_a_planned_one_leaves_nothing(self, ready, line):
        broadcast_id = schedule(ready)
        before = ready.rows("audit")

        assert ready.call(delete_broadcast, {**sample_body(delete_broadcast), "broadcastIds": [broadcast_id]}) == ok()

        assert (ready.rows("broadcasts"), ready.rows("due")) == ([], [])
        assert len(ready.rows("audit")) == len(before) + 1
        start(ready)
        carry_on(ready)
        assert line.sent == []

    def test_a_wrong_id_deletes_none(self, ready, refuses):
        good, done = schedule(ready, broadcastTime="2024-01-29"), carry_out(ready)
        stopped = self.in_state(ready, "stopped")

        wrong = "; ".join(f"broadcastIds[{place}] {NO_BROADCAST}" for place in (1, 3))
        cases = [
            (["2d76f8ac-b9c6-11ee-8b58-d6a4610da5ec"], f"broadcastIds[0] {NO_BROADCAST}"),
            ([good, done, stopped, "unknown"], wrong),
            ([], "broadcastIds must have at least 1 item"),
            ([good] * 26, "broadcastIds must have at most 25 items"),
        ]
        refuses(delete_broadcast, [({**IDS, "broadcastIds": given}, message) for given, message in cases])
        refuses(delete_broadcast, [(IDS, "broadcastIds is required")])
        assert state(good) == "pending"

    def test_one_that_starts_meanwhile_is_not_half_deleted(self, ready, monkeypatch):
        broadcast_id = schedule(ready)
        row = BroadcastTable.find(PARTITION, broadcast_id)
        commit(Change(BroadcastTable, row.own_key(), [BroadcastTable.state.set("freezing")]))
        monkeypatch.setattr(BroadcastTable, "find", lambda *key: row)
        before = ready.everything()

        answer = ready.call(delete_broadcast, {**IDS, "broadcastIds": [broadcast_id]})

        assert answer == refused("a broadcast went on meanwhile; try again")
        assert ready.everything() == before


class TestEstimate:
    def estimate(self, cloud, **changes):
        return result(cloud, estimate_broadcast, **{**documented("estimate_broadcast"), **changes})

    def test_takes_the_request_of_the_sample(self, ready, line):
        line.set_quota(1000, used=400)
        with Calls() as calls:
            answer = estimate_broadcast(sample("estimate_broadcast"), None)

        assert json.loads(answer["body"])["Result"] == {
            "audience": 1,
            "exact": True,
            "way": "common",
            "messagesPerPerson": 1,
            "countedPerPerson": 1,
            "quotaNeeded": 1,
            "quotaLimit": 1000,
            "quotaUsed": 400,
            "quotaLeft": 600,
            "fits": True,
        }
        # Channel, scenario, who follows of those picked, token.
        assert calls == [READ, READ, BATCH, "kms Decrypt"]

    def test_counts_calls_of_five_messages(self, ready, line):
        line.set_quota(9)
        nodes = [node(str(place), place, nextNode=str(place + 1) if place < 6 else "") for place in range(1, 7)]
        save(ready, *nodes)
        follow(*people(5))

        found = self.estimate(ready, **ALL)

        assert (found["messagesPerPerson"], found["countedPerPerson"], found["quotaNeeded"]) == (6, 2, 10)
        assert (found["quotaLeft"], found["fits"]) == (9, False)

    def test_says_when_it_guesses(self, ready, monkeypatch):
        monkeypatch.setattr(broadcasts, "COUNTED", 20)
        follow(*people(100))
        tagged = {"source": "tag", "tag": {"name": "vip", "color": RED}, "expression": "no_value"}
        save_segment(ready, "plain", segmentConditions=[tagged])

        found = self.estimate(ready, broadcastUsers=[], segmentNames=["plain"])

        assert (found["audience"], found["exact"]) == (100, False)

    def test_a_silent_quota_is_null(self, ready, line):
        line.fail("/v2/bot/message/quota*", 500, times=1)

        found = self.estimate(ready)

        quota = ("quotaLimit", "quotaUsed", "quotaLeft", "fits")
        assert [found[name] for name in quota] == [None] * 4
        assert found["quotaNeeded"] == 1

    def test_no_limit_is_null_and_use_is_told(self, ready):
        found = self.estimate(ready)

        assert [found[name] for name in ("quotaLimit", "quotaUsed", "quotaLeft", "fits")] == [None, 0, None, None]

    @pytest.mark.parametrize(
        ("nodes", "way"),
        [
            ([node("a", template={"type": "text", "text": "{{x}}您好"})], "personal"),
            ([condition_node("a", next="b"), node("b", 2)], "personal"),
            ([node("a", nodeTag=[{"name": "t", "color": RED}])], "recorded"),
            ([node("a", nodeConst={"trackClicks": True})], "personal"),
            ([node("a")], "common"),
        ],
    )
    def test_tells_the_way(self, ready, nodes, way):
        save(ready, *nodes)

        assert self.estimate(ready)["way"] == way

    def test_other_channels_have_no_quota(self, cloud, foreign, account):
        ids = {"adminId": "0001", "accountId": "messenger"}
        url = "https://chat.example.com/api/facebook?adminid=0001&accountid=messenger"
        made(cloud, ids, accountType="fb", accountWebhookUrl=url)
        save(cloud, node("hello"), **ids)

        found = self.estimate(cloud, **ids)

        assert (found["way"], found["quotaUsed"]) == ("personal", None)

    def test_refuses_what_cannot_be_booked_either(self, ready, refuses):
        body = sample_body(estimate_broadcast)
        refuses(
            estimate_broadcast,
            [
                ({**body, "broadcastScenarioId": "unknown"}, "broadcastScenarioId is no scenario of this channel"),
                ({**body, "segmentNames": ["x"]}, "segmentNames[0] 'x' is not a segment of this channel"),
                (
                    {**body, "broadcastUsers": []},
                    "broadcastUsers or segmentNames is required unless isSelectAll is true",
                ),
            ],
        )


class TestWorkers:
    def test_take_the_samples(self, ready, line):
        row = BroadcastTable.find(PARTITION, schedule(ready))
        row.broadcast_id = sample_body(pause_broadcast)["broadcastId"]
        commit(Put(row))

        assert run_broadcast(sample("run_broadcast"), None) == {"batchItemFailures": []}
        while state(row.broadcast_id) != "sending":
            ready.work(run_broadcast)
        ready.work(run_broadcast)
        (queued,) = ready.queued(send_broadcast_chunk.queue)
        (record,) = sample("send_broadcast_chunk")["Records"]
        names = ("MessageGroupId", "MessageDeduplicationId")
        assert queued["body"] == record["body"]
        assert {name: queued["attributes"][name] for name in names} == {
            name: record["attributes"][name] for name in names
        }
        assert send_broadcast_chunk(sample("send_broadcast_chunk"), None) == {"batchItemFailures": []}
        assert line.deliveries() == {USER_ID: 1}

    def test_of_what_is_gone_do_nothing(self, ready, line):
        assert run_broadcast(sample("run_broadcast"), None) == {"batchItemFailures": []}
        assert send_broadcast_chunk(sample("send_broadcast_chunk"), None) == {"batchItemFailures": []}
        assert line.calls == []

    def test_the_sample_of_the_job_is_what_the_job_sends(self, ready):
        schedule(ready)
        start(ready)

        (queued,) = ready.queued(run_broadcast.queue)
        message = json.loads(queued["body"])
        (record,) = sample("run_broadcast")["Records"]
        assert message == {**json.loads(record["body"]), "broadcast_id": message["broadcast_id"]}

    @pytest.mark.parametrize(("number", "batches"), [(500, 20), (20, 1)])
    def test_a_chunk_costs_few_requests(self, ready, line, number, batches):
        follow(*people(number))
        schedule(ready, broadcastUsers=[{"userId": user} for user in people(number)])
        start(ready)
        while not (chunks := ready.queued(send_broadcast_chunk.queue)):
            ready.work(run_broadcast)

        with Calls() as calls:
            assert send_broadcast_chunk({"Records": chunks}, None) == {"batchItemFailures": []}

        wanted = {
            # What it is about; who follows, a hundred a request.
            BATCH: 1 + -(-number // 100),
            # When they were pushed to, 25 a request.
            "dynamodb BatchWriteItem": batches,
            # It is on its way; it was the last.
            "dynamodb UpdateItem": 2,
            CHANGE: 1,
            READ: 1,
            "kms Decrypt": 1,
        }
        assert Counter(calls) == wanted
        assert len(line.calls) == 1

    def test_use_all_that_a_flow_may_need(self, cloud, account, monkeypatch):
        ids = {"adminId": "0001", "accountId": "wechat"}
        partition = account_key(*ids.values())
        with wechat_simulator(secrets={"wx1": "wechat-secret"}) as wechat, CrosDouble() as cros:
            monkeypatch.setenv("WECHAT_API_ENDPOINT", wechat.url)
            monkeypatch.setenv("OUTBOUND_EXCEPTIONS", f"127.0.0.1:{cros.port}")
            settings.settings.cache_clear()
            url = "https://chat.example.com/api/wechat?adminid=0001&accountid=wechat"
            made(cloud, ids, accountType="wechat", appId="wx1", accountSecret="wechat-secret", accountWebhookUrl=url)
            self.furnish(cloud, ids, partition, cros)
            wechat.heard("openid")

            carry_out(cloud, **ids, broadcastUsers=[{"userId": "openid"}])

            assert [one.user for one in wechat.sent] == ["openid"] * 2
        assert len(cloud.rows("form-entries")) == len(cloud.rows("cors-errors")) == 1
        assert "reservation" in {row["lane"].partition("#")[0] for row in cloud.rows("due")}

    def furnish(self, cloud, ids, partition, cros):
        """A flow with a segment, a form, a booking, an icon, a tracked link, and a service that complains."""
        follow("openid", partition=partition, state={"variables": {"x": "five"}})
        connection = {"endpoint": cros.url, "key": "fake-cros-key", "clientid": "client", "params": {"n": "x"}}
        body = {**ids, "setting": {"cros": connection}}
        assert cloud.call(FUNCTIONS["update_account_external_api_config"], body).status == 200
        cros.fail(500)
        assert cloud.call(FUNCTIONS["save_variable"], {**ids, "accountVariable": ["x"]}) == ok()
        form = result(cloud, FUNCTIONS["save_form"], **ids, name="form", fields=[{"var_name": "x"}])["data"]["id"]
        pushed = {"source": "serverpushtime", "expression": "no_value"}
        save_segment(cloud, "members", **{**pick("another"), **ids})
        save_segment(cloud, "asked", **ids, segmentConditions=[pushed])
        commit(Put(IconTable(account=partition, icon_id="icon", icon_name="i", url="https://img.example.com/i.png")))
        save(cloud, node("later"), scenario_id="later", **ids)
        options = [
            {**to_node("later"), "value": "members"},
            {**to_node("first"), "value": "asked"},
        ]
        link = {"type": "uri", "label": "x", "uri": "https://shop.example.com/"}
        body = {"type": "box", "layout": "vertical", "contents": [{"type": "text", "text": "x", "action": link}]}
        flex = {"type": "bubble", "body": body}
        call = {"cros": {"enable": True, "responseSetting": {}, "others": {"orderIdReplace": False}}}
        booking = {"scenario_id": "later", "reservationtime": 30, "window": {"start": "", "end": ""}}
        nodes = [
            condition_node("choose", *options, kind="bysegment"),
            node("later", 4),
            node("first", 2, varForms=[form], reservations_config=[booking], externalApi=call, nextNode="second"),
            node("second", 3, type="flex", template=flex, nodeConst={"trackClicks": True}),
        ]
        head = {**scenario(SCENARIO, *nodes)["scenario"], "iconUrlId": "icon"}
        assert cloud.call(FUNCTIONS["save_scenario"], {**ids, "scenario": head, "nodes": nodes}) == ok()

    def test_say_who_speaks(self, ready, line):
        commit(Put(IconTable(account=PARTITION, icon_id="icon", icon_name="i", url="https://img.example.com/i.png")))
        head = {**scenario(SCENARIO)["scenario"], "iconUrlId": "icon"}
        assert ready.call(FUNCTIONS["save_scenario"], {**IDS, "scenario": head, "nodes": [node("hello")]}) == ok()

        carry_out(ready)

        (delivery,) = line.sent
        assert delivery.message["sender"] == {"name": "i", "iconUrl": "https://img.example.com/i.png"}
