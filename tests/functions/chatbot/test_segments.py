from datetime import UTC, datetime, timedelta

import pytest

from chatbot import segments
from chatbot.audiences import membership
from chatbot.conditions import EXPRESSIONS, SEGMENT_SOURCES, Subject
from chatbot.conversation import Vault
from chatbot.tables import (
    ConversationTable,
    FollowerCountTable,
    MemberTable,
    NameTable,
    OrderTable,
    PushTable,
    ScenarioTable,
    SegmentTable,
)
from functions.chatbot.delete_user_segment import delete_user_segment
from functions.chatbot.get_user_segment import get_user_segment
from functions.chatbot.save_user_segment import save_user_segment
from kernel import aws, clock, running
from kernel.audit import digest
from kernel.errors import Invalid
from kernel.settings import settings
from kernel.tables import Put, commit, replace, write_all
from local.line_simulator import LineSimulator
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOT_ALLOWED,
    NOW,
    PARTITION,
    SHOWN_NOW,
    USER_ID,
    Calls,
    audited,
    documented,
    ok,
    refused,
)
from tests.scenarios import RED, about_follow_time, about_tag, about_variable

EXAMPLE = documented("save_user_segment")
(PICKED,) = EXAMPLE["segmentUsers"]
FOLLOWED = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)
# What getUserSegment shows of a segment that has nothing but its name.
PLAIN = {
    "conditions": [],
    "followTime": None,
    "users": [],
    "usersCount": 0,
    "mode": "Custom",
    "cvKey": {"orderId": None},
    "liffurl": "",
    "scenarioId": None,
    "defaultUsersSegment": False,
    "createTime": SHOWN_NOW,
    "updateTime": SHOWN_NOW,
}
SHOWN = {
    "userName": "Rex曾",
    "userPicture": "https://profile.example.com/0hFAKEPICTUREID",
    "accountType": "line",
    "accountStatus": "1",
    "followTime": "2024-01-28 06:04:25.693",
    "createTime": "",
}
LINE_LOGIN = {"lineLoginChannelId": "1656000000", "lineLoginSecret": "fake-login-secret"}
NAMES = [f"U{number}" for number in range(9)]


def body(name="name", **changes):
    return {**EXAMPLE, "segmentName": name, **changes}


def save(cloud, name="name", **changes):
    assert cloud.call(save_user_segment, body(name, **changes)) == ok()
    return segment_id(name)


def asking(*conditions, **changes):
    return {"mode": "Conditions", "segmentConditions": list(conditions), "segmentUsers": [], **changes}


def picked(*user_ids, **changes):
    return {"segmentUsers": [{**PICKED, "userId": user_id, **changes} for user_id in user_ids]}


def segment_id(name):
    return NameTable.find(PARTITION, f"segment#{name}").owner


def result(cloud, key=None, ids=IDS):
    answer = cloud.call(get_user_segment, {**ids, "lastEvaluatedKey": key}, caller=ids["adminId"])
    assert answer.status == 200, answer
    return answer.body["Result"]


def listed(cloud, **how):
    (segment,) = result(cloud, **how)["data"]
    return segment


def users_of(cloud, name):
    (found,) = [segment for segment in result(cloud)["data"] if segment["name"] == name]
    assert found["usersCount"] == len(found["users"])
    return [user["userId"] for user in found["users"]]


def knows(*user_ids, status="1", **more):
    """Let the users be known to the channel."""
    values = {
        "state": {"tags": [], "variables": {}},
        "status": status,
        "status_at": FOLLOWED,
        "follow_time": FOLLOWED,
        "access_time": FOLLOWED,
        "user_name": SHOWN["userName"],
        "user_picture": SHOWN["userPicture"],
        **more,
    }
    write_all(Put(ConversationTable(account=PARTITION, user_id=user_id, **values)) for user_id in user_ids)


def state(tags=(), **variables):
    return {"tags": [{"name": name, "color": RED, "value": ""} for name in tags], "variables": variables}


def add_scenario(scenario_id="scenario"):
    commit(
        replace(
            ScenarioTable(
                account=PARTITION, scenario_id=scenario_id, scenario_name="", icon_url_id="", trigger="", keywords=[],
                nodes=[],
            )
        )
    )  # fmt: skip


@pytest.fixture
def line(monkeypatch, cloud):
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        settings.cache_clear()
        yield simulator


def has_line_login(cloud):
    """Give the channel LINE Login."""
    assert cloud.call(FUNCTIONS["update_account"], documented("update_account", **LINE_LOGIN)) == ok()


def test_saves_lists_and_deletes_the_documented_segment(cloud, account):
    assert cloud.call(save_user_segment, EXAMPLE) == ok()
    found = listed(cloud)
    assert found == {**PLAIN, "id": found["id"], "name": "segmentName", "users": [PICKED], "usersCount": 1}
    assert cloud.call(delete_user_segment, documented("delete_user_segment", segmentId=found["id"])) == ok()
    assert cloud.call(get_user_segment, documented("get_user_segment")) == ok({"data": []})
    assert {name: cloud.rows(name) for name in ("segments", "segment-members", "names")} == {
        "segments": [], "segment-members": [], "names": [],
    }  # fmt: skip


def test_lists_the_documented_answer(cloud, account):
    knows(USER_ID)
    shown = {**PICKED, "userId": USER_ID, "userName": "of before", "createTime": ""}
    identifier = save(cloud, "SG00009", segmentUsers=[shown])

    assert cloud.call(get_user_segment, documented("get_user_segment")) == ok(
        {
            "data": [
                {**PLAIN, "id": identifier, "name": "SG00009", "users": [{"userId": USER_ID, **SHOWN}], "usersCount": 1}
            ]
        }
    )


def test_members_are_shown_as_the_user_list_knows_them(cloud, account):
    knows("U1", status="0")
    knows("U2", user_name="", user_picture="")
    save(cloud, **picked("U3", "U2", "U1"))

    given = {name: PICKED[name] for name in ("userName", "userPicture", "createTime")}
    assert listed(cloud)["users"] == [
        {**SHOWN, "userId": "U1", "accountStatus": "0", "createTime": PICKED["createTime"]},
        {**SHOWN, "userId": "U2", **given},
        {**PICKED, "userId": "U3"},
    ]


def test_takes_every_documented_spelling(cloud, account):
    user = {name: value for name, value in PICKED.items() if name != "accountType"}
    user |= {"accoutType": "fb", "createTime": None, "followTime": "2023-05-25T01:18:53Z", "userPicture": None}
    save(cloud, segmentUsers=user, segmentConditions=None, scenarioId=None, segmentId="", cvKey={"orderId": None})

    shown = {**PICKED, "accountType": "fb", "createTime": "", "followTime": "2023-05-25 01:18:53.000"}
    assert listed(cloud)["users"] == [{**shown, "userPicture": ""}]


def test_a_user_given_twice_is_one_member(cloud, account):
    save(cloud, segmentUsers=[PICKED, {**PICKED, "userName": "later"}])

    assert listed(cloud)["users"] == [{**PICKED, "userName": "later"}]
    assert SegmentTable.find(PARTITION, segment_id("name")).members == 1


def test_conditions_are_kept_and_found_out_when_the_list_is_read(cloud, account):
    knows("U1", state=state(["vip"], age="31"))
    knows("U2", state=state(["vip"], age="30"))
    knows("U3", state=state(age="31"))
    knows("U4", state=state(["vip"], age="31"), status="0")
    conditions = [
        {"source": "tag", "tag": {"name": "vip", "color": RED}, "expression": "has_value", "cors": {}, "else": 1},
        {"source": "uservariable", "uservariable": "age", "expression": "num_range", "range": {"start": 31}},
    ]
    save(cloud, **asking(*conditions))

    assert listed(cloud) == {
        **PLAIN,
        "id": segment_id("name"),
        "name": "name",
        "mode": "Conditions",
        "conditions": [
            {"expression": "has_value", "source": "tag", "value": "", "tag": {"name": "vip", "color": RED}},
            {
                "expression": "num_range",
                "source": "uservariable",
                "value": "",
                "range": {"start": "31"},
                "uservariable": {"name": "age"},
            },
        ],
        "users": [{"userId": "U1", **SHOWN}],
        "usersCount": 1,
    }
    knows("U2", state=state(["vip"], age="40"))
    assert users_of(cloud, "name") == ["U1", "U2"]


def test_every_source_finds_its_users(cloud, account):
    sealed = Vault(*IDS.values(), "U2").seal("phone", "0912345678")
    knows("U1", follow_time=FOLLOWED + timedelta(days=3), orders=["A1"])
    knows("U2", state=state(["vip"], phone={"sealed": sealed}))
    commit(Put(PushTable(account=PARTITION, user_id="U2", pushed_at=FOLLOWED)))
    date = {"range": {"start": "2024-01-28", "end": "2024-01-28"}}
    save(cloud, "tag", **asking(about_tag("vip", "exactly_match", "vip")))
    save(cloud, "uservariable", **asking(about_variable("phone", "fuzzy_match", "0912")))
    save(cloud, "followtime", **asking(about_follow_time("date_range", **date)))
    save(cloud, "cvkey", **asking({"source": "cvkey", "expression": "has_value"}))
    save(cloud, "serverpushtime", **asking({"source": "serverpushtime", "expression": "date_range", **date}))
    save(cloud, "cors", **asking({"source": "cors", "expression": "has_value"}))

    wanted = {"tag": ["U2"], "uservariable": ["U2"], "followtime": ["U2"], "cvkey": ["U1"], "serverpushtime": ["U2"]}
    assert {name: users_of(cloud, name) for name in (*wanted, "cors")} == {**wanted, "cors": []}


def test_an_order_finds_who_made_it(cloud, account):
    knows("U1", "U2")
    knows("U3", status="0")
    for user_id, order_id, source in (("U1", "A1", "a"), ("U2", "A12", "a"), ("U2", "A1#2", "a"), ("U3", "A1", "b")):
        row = OrderTable(
            account=PARTITION, place=f"{order_id}#{source}", order_id=order_id, source=source, user_id=user_id,
            product_id="", label="", cv_date="", node_id="", scenario_id="",
        )  # fmt: skip
        commit(Put(row))
    save(cloud, mode="CVKey", cvKey={"orderId": " A1 "}, segmentUsers=[])

    assert listed(cloud) == {
        **PLAIN,
        "id": segment_id("name"),
        "name": "name",
        "mode": "CVKey",
        "cvKey": {"orderId": "A1"},
        "users": [{"userId": "U1", **SHOWN}],
        "usersCount": 1,
    }


def test_the_default_segment_is_every_follower(cloud, account):
    knows("U1", "U3")
    knows("U2", status="0")
    changes = {"defaultUsersSegment": True, "segmentUsers": [PICKED]}
    save(cloud, "custom", **changes)
    save(cloud, "conditions", **changes, mode="Conditions")

    for name in ("custom", "conditions"):
        assert users_of(cloud, name) == ["U1", "U3"]
    assert [segment["defaultUsersSegment"] for segment in result(cloud)["data"]] == [True, True]
    assert cloud.rows("segment-members") == []


def test_replaces_a_segment_with_its_name_and_members(cloud, account):
    identifier = save(cloud, "before", **picked("U1", "U2"))
    with clock.frozen(NOW + timedelta(minutes=1)):
        save(cloud, "after", segmentId=identifier, **picked("U3", "U2", userName="new"))

    times = {"createTime": SHOWN_NOW, "updateTime": "2024-01-28 06:42:29.006"}
    users = [{**PICKED, "userId": user_id, "userName": "new"} for user_id in ("U2", "U3")]
    assert listed(cloud) == {**PLAIN, "id": identifier, "name": "after", "users": users, "usersCount": 2, **times}
    assert [row["place"] for row in cloud.rows("names")] == ["segment#after"]
    # The name is free again.
    assert save(cloud, "before") != identifier


def test_a_replaced_segment_keeps_what_it_knows_of_its_members(cloud, account):
    identifier = save(cloud, **picked("U1", "U2"))
    place = membership(PARTITION, identifier)
    commit(*segments.joined(PARTITION, identifier, "U3", verified=True))
    with clock.frozen(NOW + timedelta(minutes=1)):
        save(cloud, segmentId=identifier, **picked("U1", "U3", "U4"))

    rows = {row.user_id: row for row in MemberTable.query(place).rows}
    minute = timedelta(minutes=1)
    assert {name: (row.verified, row.created_at - NOW) for name, row in rows.items()} == {
        "U1": (False, timedelta(0)),
        "U3": (True, timedelta(0)),
        "U4": (False, minute),
    }
    assert SegmentTable.find(PARTITION, identifier).members == 3


def test_who_came_through_the_link_stays_when_conditions_change(cloud, account):
    knows("U1", "U2", "U3", state=state(["vip"]))
    knows("U4", "U5")
    identifier = save(cloud, **asking(about_tag("vip", "has_value")))
    commit(*segments.joined(PARTITION, identifier, "U4", verified=True))
    save(cloud, segmentId=identifier, **asking(about_tag("new", "has_value")))

    assert users_of(cloud, "name") == ["U4"]
    # Picked by hand, it is what was picked.
    save(cloud, segmentId=identifier, **picked("U5"))
    assert users_of(cloud, "name") == ["U5"]
    save(cloud, segmentId=identifier, **asking(about_tag("vip", "has_value")))
    assert users_of(cloud, "name") == ["U1", "U2", "U3"]
    assert cloud.rows("segment-members") == []


def test_leaves_audit_rows(cloud, account):
    identifier = save(cloud, **picked("U1"))
    with clock.frozen(NOW + timedelta(minutes=1)):
        save(cloud, "other", segmentId=identifier, **picked("U2"))
    with clock.frozen(NOW + timedelta(minutes=2)):
        assert cloud.call(delete_user_segment, {**IDS, "segmentId": identifier}) == ok()

    rest = {"mode": "Custom", "conditions": [], "order_id": "", "is_default": False, "scenario_id": ""}
    first = digest({**rest, "segment_name": "name", "users": ["U1"]})
    second = digest({**rest, "segment_name": "other", "users": ["U2"]})
    last = digest({**rest, "segment_name": "other", "users": []})
    known = {"tenant": "0001", "actor": "0001", "subject": f"segment {identifier}"}
    assert audited(cloud, known["subject"]) == [
        {**known, "operation": "save_user_segment", "after": first, "created_at": "2024-01-28T06:41:29.006Z"},
        {
            **known,
            "operation": "save_user_segment",
            "before": first,
            "after": second,
            "created_at": "2024-01-28T06:42:29.006Z",
        },
        {**known, "operation": "delete_user_segment", "before": last, "created_at": "2024-01-28T06:43:29.006Z"},
    ]


USER_FIELDS = ("accountStatus", "accountType", "createTime", "followTime", "userId", "userName", "userPicture")
NO_MODE = "mode must be 'Custom', 'CVKey' or 'Conditions'"


def test_refuses(cloud, account, foreign, refuses):
    identifier = save(cloud, "taken")
    without = [
        ({name: value for name, value in EXAMPLE.items() if name != field}, f"{field} is required")
        for field in ("adminId", "accountId", "cvKey", "defaultUsersSegment", "mode", "segmentName")
    ]
    of_users = [
        ({name: value for name, value in PICKED.items() if name != field}, f"segmentUsers[0].{field} is required")
        for field in USER_FIELDS
    ]
    of_users += [
        ({**PICKED, "userId": "a#b"}, f"segmentUsers[0].userId {NOT_ALLOWED}"),
        ({**PICKED, "accountStatus": "2"}, "segmentUsers[0].accountStatus must be '0' or '1'"),
        ({**PICKED, "accountType": "sms"}, "segmentUsers[0].accountType must be 'line', 'wechat' or 'fb'"),
        ({**PICKED, "followTime": "today"}, "segmentUsers[0].followTime must be a time like 2024-01-28 06:04:25.693"),
        ({**PICKED, "followTime": 1}, "segmentUsers[0].followTime must be a valid string"),
    ]
    cases = [
        *without,
        *((body(segmentUsers=[user]), message) for user, message in of_users),
        (body(mode="custom"), NO_MODE),
        (body(mode=""), NO_MODE),
        (body(defaultUsersSegment="true"), "defaultUsersSegment must be a valid boolean"),
        (body(segmentName=" "), "segmentName must have at least 1 character"),
        (body(segmentName="n" * 201), "segmentName must have at most 200 characters"),
        (body(segmentName="taken"), "segmentName already exists"),
        (body(segmentName=" taken "), "segmentName already exists"),
        (body(segmentUsers=[]), "segmentUsers is required for mode Custom"),
        (body(segmentUsers=None), "segmentUsers is required for mode Custom"),
        (body(segmentUsers=[PICKED] * 5001), "segmentUsers must have at most 5000 items"),
        (body(mode="CVKey"), "cvKey.orderId is required for mode CVKey"),
        (body(mode="CVKey", cvKey={"orderId": " "}), "cvKey.orderId is required for mode CVKey"),
        (body(cvKey=[]), "cvKey must be an object"),
        (body(mode="Conditions"), "segmentConditions is required for mode Conditions"),
        (body(segmentConditions="all"), "segmentConditions must be a valid array"),
        (body(segmentId="unknown"), "segmentId not found"),
        (body(scenarioId="unknown"), "scenarioId is not a scenario of this channel"),
        (body(**asking(about_variable("a", "num_range"))),
         "segmentConditions[0].range needs start or end for expression num_range"),
        (body(**asking({"source": "group", "expression": "is"})),
         f"segmentConditions[0].source must be one of {', '.join(SEGMENT_SOURCES)}; "
         f"segmentConditions[0].expression must be one of {', '.join(EXPRESSIONS)}"),
        # Conditions are judged whatever the mode, and everything at once.
        (body("taken", segmentUsers=[], segmentConditions=[1], scenarioId="unknown"),
         "segmentConditions[0] must be an object; segmentUsers is required for mode Custom; "
         "segmentName already exists; scenarioId is not a scenario of this channel"),
    ]  # fmt: skip
    refuses(save_user_segment, cases)
    refuses(
        delete_user_segment,
        [
            ({**IDS, "segmentId": "unknown"}, "segmentId not found"),
            ({**IDS, "segmentId": ""}, "segmentId must have at least 1 character"),
            (IDS, "segmentId is required"),
        ],
    )
    others = {**foreign.ids, "segmentId": identifier}
    refuses(delete_user_segment, [(others, "segmentId not found")], caller="0002")
    refuses(save_user_segment, [({**EXAMPLE, **others}, "segmentId not found")], caller="0002")


def test_channels_have_their_own_names(cloud, account, foreign):
    save(cloud, "name")

    assert cloud.call(save_user_segment, {**body("name"), **foreign.ids}, caller="0002") == ok()
    assert listed(cloud)["name"] == listed(cloud, ids=foreign.ids)["name"] == "name"


def pages(cloud):
    found, key = [], None
    while True:
        page = result(cloud, key)
        found.append([(one["name"], [user["userId"] for user in one["users"]]) for one in page["data"]])
        key = page.get("lastEvaluatedKey")
        if key is None:
            return found


@pytest.fixture
def ordered_ids(monkeypatch):
    """Number the segments in the order of their making."""
    made = iter(range(100))
    monkeypatch.setattr(segments.ids, "uuid1", lambda: f"s{next(made):02}")


def test_a_segment_that_does_not_fit_goes_on(cloud, account, ordered_ids, monkeypatch):
    monkeypatch.setattr(segments, "USERS_A_PAGE", 3)
    knows("U1", "U3", "U5", "U7", state=state(["vip"]))
    save(cloud, "a", **picked(*NAMES[:4]))
    save(cloud, "b", **picked(*NAMES[:2]))
    save(cloud, "c", **asking(about_tag("vip", "has_value")))
    save(cloud, "d", **asking(about_tag("none", "has_value")))

    assert pages(cloud) == [
        [("a", ["U0", "U1", "U2"])],
        [("a", ["U3"]), ("b", ["U0", "U1"])],
        [("c", ["U1", "U3", "U5"])],
        [("c", ["U7"]), ("d", [])],
    ]


def test_a_page_reads_a_bounded_number_of_rows(cloud, account, ordered_ids, monkeypatch):
    monkeypatch.setattr(segments, "_ROWS_A_PAGE", 4)
    knows(*NAMES)
    knows("U1", "U8", state=state(["vip"]))
    save(cloud, "a", **asking(about_tag("vip", "has_value")))
    save(cloud, "b", **picked("U0"))

    found = pages(cloud)
    assert [name for page in found for name, _ in page] == ["a", "a", "a", "b"]
    assert [user for page in found for name, users in page if name == "a" for user in users] == ["U1", "U8"]


def test_a_page_holds_a_bounded_number_of_segments(cloud, account, ordered_ids, monkeypatch):
    monkeypatch.setattr(segments, "_SEGMENTS_A_PAGE", 2)
    for name in "abcde":
        save(cloud, name)
    assert [[name for name, _ in page] for page in pages(cloud)] == [["a", "b"], ["c", "d"], ["e"]]

    monkeypatch.setattr(segments, "_CONDITIONS_A_PAGE", 3)
    assert [[name for name, _ in page] for page in pages(cloud)] == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_a_page_goes_on_behind_a_segment_that_was_deleted(cloud, account, ordered_ids, monkeypatch):
    monkeypatch.setattr(segments, "USERS_A_PAGE", 2)
    for name in "ab":
        save(cloud, name, **picked("U1", "U2", "U3"))
    key = result(cloud)["lastEvaluatedKey"]
    assert cloud.call(delete_user_segment, {**IDS, "segmentId": segment_id("a")}) == ok()

    assert [user["userId"] for user in listed(cloud, key=key)["users"]] == ["U1", "U2"]
    assert cloud.call(get_user_segment, {**IDS, "lastEvaluatedKey": f"A{key[1:]}"}) == refused(
        "lastEvaluatedKey is not a key of this list"
    )


@pytest.mark.parametrize("number", [3, 90])
def test_requests_do_not_grow_with_the_channel(cloud, account, number):
    knows(*(f"U{place:03}" for place in range(number)))
    save(cloud, **asking(about_tag("vip", "has_value")))
    save(cloud, "other", **picked("U001"))

    with Calls() as calls:
        result(cloud)
    # The channel; the segments, the channel's users, the members; names and pictures.
    assert sorted(calls) == sorted(["dynamodb GetItem", *["dynamodb Query"] * 3, "dynamodb BatchGetItem"])


def test_a_large_segment_is_written_in_batches(cloud, account):
    with Calls() as calls:
        identifier = save_many(cloud, 60)
    assert calls == [
        "dynamodb GetItem",
        "dynamodb BatchGetItem",
        *["dynamodb BatchWriteItem"] * 3,
        "dynamodb TransactWriteItems",
        # What deleted segments left.
        "dynamodb Query",
    ]
    assert SegmentTable.find(PARTITION, identifier).members == 60
    with Calls() as calls:
        assert cloud.call(delete_user_segment, {**IDS, "segmentId": identifier}) == ok()
    assert calls.count("dynamodb BatchWriteItem") == 3
    assert cloud.rows("segment-members") == []


def test_a_deletion_that_is_broken_off_is_ended_by_the_next_call(cloud, account):
    identifier = save_many(cloud, 3)
    with Interrupting("TransactWriteItems", crash):
        assert cloud.call(delete_user_segment, {**IDS, "segmentId": identifier}).status == 500
    assert [row["place"] for row in cloud.rows("names")] == [f"segment-remnant#{identifier}"]
    assert (cloud.rows("segments"), len(cloud.rows("segment-members"))) == ([], 3)

    save(cloud, "other", **picked("U1"))
    assert [row["user_id"] for row in cloud.rows("segment-members")] == ["U1"]
    assert [row["place"] for row in cloud.rows("names")] == ["segment#other"]


def test_a_deletion_that_has_no_time_for_all_is_ended_by_the_next_ones(cloud, account, monkeypatch):
    first, second = save(cloud, **picked("U1", "U2", "U3")), save(cloud, "other", **picked("U4"))
    monkeypatch.setattr(segments, "_A_READ", 2)
    monkeypatch.setattr(segments, "_REMOVED_A_CALL", 2)
    assert cloud.call(delete_user_segment, {**IDS, "segmentId": first}) == ok()
    assert [row["user_id"] for row in cloud.rows("segment-members") if row["segment"].endswith(first)] == ["U3"]

    monkeypatch.setattr(segments, "_REMOVED_A_CALL", 8)
    assert cloud.call(delete_user_segment, {**IDS, "segmentId": second}) == ok()
    assert cloud.rows("segment-members") == cloud.rows("names") == []


def test_a_segment_that_is_there_again_keeps_its_members(cloud, account):
    identifier = save(cloud, **picked("U1"))
    commit(Put(NameTable(account=PARTITION, place=f"segment-remnant#{identifier}", owner=identifier)))
    save(cloud, "other", **picked("U4"))
    assert users_of(cloud, "name") == ["U1"]
    assert len(cloud.rows("names")) == 2


def save_many(cloud, number):
    users = picked(*(f"U{place:03}" for place in range(number)))
    assert cloud.call(save_user_segment, body(**users)) == ok()
    return segment_id("name")


class Interrupting:
    """Does something once, right after the operation's call of this action."""

    def __init__(self, action, what):
        self._action = action
        self._what = what

    def __enter__(self):
        aws.observers.append(self._observe)

    def __exit__(self, *problem):
        if self._observe in aws.observers:
            aws.observers.remove(self._observe)

    def _observe(self, call):
        if running._current is not None and call.action == self._action:
            aws.observers.remove(self._observe)
            self._what()


def crash():
    raise RuntimeError("the function ended")


def test_a_save_that_is_broken_off_shows_nothing_new(cloud, account):
    with Interrupting("BatchWriteItem", crash):
        assert cloud.call(save_user_segment, EXAMPLE).status == 500
    assert result(cloud) == {"data": []}
    assert cloud.call(save_user_segment, EXAMPLE) == ok()
    assert listed(cloud)["usersCount"] == 1


@pytest.mark.parametrize("action", ["BatchWriteItem", "TransactWriteItems"])
def test_a_replacement_that_is_broken_off_has_nobody_too_few_and_is_put_right(cloud, account, action):
    identifier = save(cloud, **picked("U1", "U2"))
    wanted = body(segmentId=identifier, **picked("U2", "U3"))
    with Interrupting(action, crash):
        assert cloud.call(save_user_segment, wanted).status == 500
    assert users_of(cloud, "name") == ["U1", "U2", "U3"]

    assert cloud.call(save_user_segment, wanted) == ok()
    assert users_of(cloud, "name") == ["U2", "U3"]
    assert SegmentTable.find(PARTITION, identifier).members == 2


def test_a_name_taken_at_the_same_moment_is_refused_and_leaves_nothing(cloud, account):
    def take():
        commit(Put(NameTable(account=PARTITION, place="segment#name", owner="other")))

    with Interrupting("BatchWriteItem", take):
        assert cloud.call(save_user_segment, body()) == refused("segmentName already exists")
    assert cloud.rows("segments") == cloud.rows("segment-members") == []


def test_who_comes_through_the_link_during_a_save_is_counted_right(cloud, account):
    identifier = save(cloud, **picked("U1"))

    def join():
        commit(*segments.joined(PARTITION, identifier, "U9", verified=True))

    with Interrupting("BatchWriteItem", join):
        save(cloud, segmentId=identifier, **picked("U1", "U2"))
    assert users_of(cloud, "name") == ["U1", "U2"]
    assert SegmentTable.find(PARTITION, identifier).members == 2
    with Interrupting("GetItem", join):
        assert cloud.call(delete_user_segment, {**IDS, "segmentId": identifier}) == ok()
    assert cloud.rows("segment-members") == cloud.rows("segments") == cloud.rows("names") == []


def test_a_segment_with_a_scenario_gets_a_link(cloud, account, line):
    has_line_login(cloud)
    add_scenario()
    first, second = save(cloud, "a", scenarioId="scenario"), save(cloud, "b", scenarioId="scenario")
    save(cloud, "c")

    ((channel, (app,)),) = line.liff_apps.items()
    assert channel == LINE_LOGIN["lineLoginChannelId"]
    assert app["view"]["url"] == f"https://chat.example.com/liff/0001/{IDS['accountId']}"
    shown = {one["name"]: (one["scenarioId"], one["liffurl"]) for one in result(cloud)["data"]}
    link = f"https://liff.line.me/{app['liffId']}?segment="
    assert shown == {"a": ("scenario", link + first), "b": ("scenario", link + second), "c": (None, "")}
    (entry,) = [one for one in audited(cloud, f"account {IDS['accountId']}") if one["operation"] == "save_user_segment"]
    assert entry["after"] == digest({"liff_id": app["liffId"]})
    # Without scenario it is no entry any more.
    save(cloud, "a", segmentId=first)
    assert {one["name"]: one["liffurl"] for one in result(cloud)["data"]} == {"a": "", "b": link + second, "c": ""}


def test_a_channel_without_line_login_has_no_links(cloud, account):
    add_scenario()
    save(cloud, scenarioId="scenario")

    assert (listed(cloud)["scenarioId"], listed(cloud)["liffurl"]) == ("scenario", "")


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (500, "cannot be set now: LINE does not answer; try again later"),
        (429, "cannot be set now: LINE does not answer; try again later"),
        (
            400,
            "cannot be set: LINE refuses to make the channel's LIFF app (400); check the LINE Login channel",
        ),
    ],
)
def test_nothing_is_saved_when_line_makes_no_app(cloud, account, line, refuses, outcome, message):
    has_line_login(cloud)
    add_scenario()
    line.fail("/liff/v1/apps", outcome)

    refuses(save_user_segment, [(body(scenarioId="scenario"), f"scenarioId {message}")])
    assert line.liff_apps == {}


def test_finds_segments_by_name(cloud, account):
    ids = [save(cloud, name) for name in ("a", "b", "c#")]

    with Calls() as calls, running.Running("test"):
        found = segments.named(PARTITION, ["c#", " a ", "c#"])
    assert [segment.segment_id for segment in found] == [ids[2], ids[0]]
    assert len(calls) == 2
    assert segments.named(PARTITION, []) == []
    with pytest.raises(Invalid) as refusal:
        segments.named(PARTITION, ["a", "x", "", "n" * 5000])
    assert [flaw.path for flaw in refusal.value.flaws] == ["segmentNames[1]", "segmentNames[2]", "segmentNames[3]"]
    assert str(refusal.value).startswith("segmentNames[1] 'x' is not a segment of this channel; ")


def test_tells_whether_a_user_is_in_a_segment(cloud, account):
    commit(Put(PushTable(account=PARTITION, user_id="U1", pushed_at=FOLLOWED)))
    pushed = {"source": "serverpushtime", "expression": "date_range", "range": {"start": "2024-01-28", "end": ""}}
    picking = save(cloud, "picked", **picked("U1"))
    save(cloud, "order", mode="CVKey", cvKey={"orderId": "A1"})
    save(cloud, "vip", **asking(about_tag("vip", "has_value")))
    save(cloud, "pushed", **asking(pushed))
    save(cloud, "default", defaultUsersSegment=True)
    entered = save(cloud, "entered", **asking(about_tag("none", "has_value")))
    commit(*segments.joined(PARTITION, entered, "U2", verified=True))
    subject = Subject(state(["vip"])["tags"], lambda _: "", FOLLOWED, ["A1"])
    nobody = Subject([], lambda _: "", FOLLOWED)

    def asked(subject, user_id):
        values = (picking, "picked", "order", "vip", "pushed", "default", "entered", "unknown", "", " vip ", "n" * 300)
        return [value for value in values if segments.holds(PARTITION, value, subject, user_id)]

    assert asked(subject, "U1") == [picking, "picked", "order", "vip", "pushed", "default", " vip "]
    assert asked(nobody, "U2") == ["default", "entered"]
    assert asked(nobody, "U1") == [picking, "picked", "pushed", "default"]
    assert segments.pushed_at(PARTITION, "U1") == FOLLOWED
    assert segments.pushed_at(PARTITION, "U2") is None


def test_an_id_goes_before_a_name(cloud, account):
    one = save(cloud, "one", **picked("U1"))
    save(cloud, one, **picked("U2"))

    subject = Subject([], lambda _: "", None)
    assert segments.holds(PARTITION, one, subject, "U1")
    assert not segments.holds(PARTITION, one, subject, "U2")


def test_the_counter_of_followers_is_left_alone(cloud, account):
    commit(Put(FollowerCountTable(account=PARTITION, shard=0, followers=7)))
    save(cloud, **picked("U1"))

    assert [row["followers"] for row in cloud.rows("follower-counts")] == [7]
