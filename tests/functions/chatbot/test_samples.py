"""Every sample event gets its documented answer, with exactly the calls to AWS that are written here.

One call more or less changes what an operation costs, so somebody has to want it. What a sample's own module asserts,
calls and all, is not repeated here.
"""

import ast
import json
import re
from pathlib import Path

import jwt
import pytest

from chatbot import due, orders
from chatbot.broadcasts import BROADCASTS
from chatbot.events import EVENTS as EVENTS_QUEUE
from chatbot.menu_links import MENUS
from chatbot.partner_keys import PartnerKeyNameTable
from chatbot.tables import (
    ClickTable,
    CorsErrorTable,
    FormEntryTable,
    FormTable,
    IconTable,
    ScenarioTable,
    TagTable,
    VariableHistoryTable,
)
from functions.chatbot.start_due import start_due
from kernel import secrets
from kernel.auth import PartnerKeyTable
from kernel.settings import settings
from kernel.tables import Put, commit, write_all
from local.line_simulator import LineSimulator
from tests.functions.chatbot.examples import (
    BROADCAST_ID,
    BROADCAST_SCENARIO,
    EVENTS,
    FUNCTIONS,
    IDS,
    JSON,
    NOW,
    OK,
    PARTITION,
    SHOWN_NOW,
    USER_ID,
    Calls,
    add_operator,
    broadcast_row,
    documented,
    furnish,
    inhabit,
    listed_account,
    refused,
    sample,
    user_row,
)

READ, QUERY, CHANGE = "dynamodb GetItem", "dynamodb Query", "dynamodb TransactWriteItems"
SEVERAL, PUT, UPDATE, DELETE = (f"dynamodb {verb}" for verb in ("BatchGetItem", "PutItem", "UpdateItem", "DeleteItem"))
WRITE_ALL = "dynamodb BatchWriteItem"
ENCRYPT, DECRYPT = "kms Encrypt", "kms Decrypt"
STORE, FETCH = "s3 PutObject", "s3 GetObject"
SEND = ["sqs GetQueueUrl", "sqs SendMessageBatch"]
SIGN = "secretsmanager GetSecretValue"

FOLLOWED = "2024-01-28 06:04:25.693"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
FILE = rf"{UUID}/0001_{IDS['accountId']}_20240128064129"
NAMED = {"userId": USER_ID, "userName": "Rex曾", "accountType": "line"}
USER = {**NAMED, "userPicture": "https://profile.example.com/0hFAKEPICTUREID", "accountStatus": "0"}
TIMES = {"followTime": FOLLOWED, "createTime": "2024-01-28 06:04:25.695"}
RECORD = {**USER, "nodeId": "", "tags": [], **TIMES, "accessTime": "2024-01-28 06:05:33.830"}
OTHER_USER = {"userId": "U09f0f4c0bdadde26ada531cfc7decb3d", "accountStatus": "1"}
HEADER = "userid,username,userpicture,accounttype,accountstatus,nodeid,tags,followtime,accesstime,createtime\n"
FORM_ID = documented("delete_form")["formId"]
FORM = {"name": "testname", "fields": [{"var_name": "employee_count"}, {"var_name": "apply_count"}]}
# The broadcast of the samples that are about one that runs.
RUNNING = documented("pause_broadcast")["broadcastId"]


class Text:
    """A text that is another one each time, known by its pattern only."""

    def __init__(self, pattern):
        self.pattern = pattern

    def __eq__(self, other):
        return isinstance(other, str) and re.fullmatch(self.pattern, other) is not None

    def __repr__(self):
        return self.pattern


def link(path):
    """Return a signed link to a file."""
    return {"download_url": Text(rf"http://\S+/files/exports/chatbot/{path}\?X-Amz-Algorithm=\S+")}


def scenario(scenario_id):
    head = {"scenarioId": scenario_id, "scenarioName": "C00010", "iconUrlId": "", "trigger": "", "keywords": []}
    times = {"createTime": "2024-01-27 06:41:29.006", "updateTime": SHOWN_NOW}
    return {"id": scenario_id, "scenario": head, "nodes": [], **times}


def broadcast(broadcast_id, status, **more):
    return {
        "broadcastId": broadcast_id,
        "broadcastName": "PM00001",
        "broadcastScenarioId": BROADCAST_SCENARIO,
        "broadcastScenarioName": "01_營業稅申報",
        "segmentNames": ["forreal"],
        "broadcastStatus": status,
        "broadcastTime": "2024-01-29 06:40:00",
        "createTime": SHOWN_NOW,
        "updateTime": SHOWN_NOW,
        **more,
    }


def menu():
    fields = documented("save_menu")
    names = ("layout", "chat_bar_text", "area_opt", "image_width", "image_height", "tab_menu", "open_menu")
    return {
        "id": documented("delete_menu")["richmenuId"],
        "name": "選單",
        "user_segment": ["richAllUser"],
        **{name: fields[name] for name in names},
        "createTime": SHOWN_NOW,
        "start_time": "2024-03-20T15:35:00.000Z",
        "end_time": "2024-03-30T15:35:00.000Z",
        "use_datetime_trigger": True,
    }


SEGMENT = {
    "id": documented("delete_user_segment")["segmentId"],
    "name": "SG00009",
    "conditions": [],
    "followTime": None,
    "users": [{**USER, "accountStatus": "1", "followTime": FOLLOWED, "createTime": ""}],
    "usersCount": 1,
    "mode": "Custom",
    "cvKey": {"orderId": None},
    "liffurl": "",
    "scenarioId": BROADCAST_SCENARIO,
    "defaultUsersSegment": False,
    "createTime": SHOWN_NOW,
    "updateTime": SHOWN_NOW,
}
PROGRESS = {
    "broadcastId": RUNNING,
    "state": "sending",
    **dict.fromkeys(("frozen", "success", "failed", "skipped", "remaining"), 0),
    "reason": "",
    "startTime": None,
    "endTime": None,
}
ICON = documented("delete_icon_url")["accountIconUrl"][0] | documented("save_icon_url")["accountIconUrl"][0]
# What is read, and what changes something: the Result and the calls.
READS = {
    "export_bot": (
        link(rf"exportBot/{FILE}\.json"),
        [READ, QUERY, QUERY, READ, QUERY, QUERY, QUERY, QUERY, FETCH, STORE, FETCH],
    ),
    "get_account": ({"accounts": [listed_account(IDS)]}, [QUERY, DECRYPT]),
    "get_broadcast_history": (
        {"data": [broadcast(
            "e47f4370-bda8-11ee-90d4-dea4f76151b9", "done", broadcastUsers=[NAMED], failed=0, success=1,
        )]},
        [READ, QUERY, QUERY, SEVERAL],
    ),
    "get_broadcast_plan": (
        {"data": [
            broadcast(BROADCAST_ID, "pending", broadcastUsersCount=1, failed=None, success=None),
            broadcast(RUNNING, "pending", broadcastUsersCount=0, failed=0, success=0),
        ]},
        [READ, QUERY],
    ),
    "get_broadcast_progress": (PROGRESS, [READ, READ]),
    "get_broadcast_recipients": ({"data": []}, [READ, READ, QUERY]),
    "get_chat_history": ({"data": [RECORD, {**RECORD, **OTHER_USER}]}, [READ, QUERY]),
    "get_check_test": ({"result": "Check Test OK"}, [READ]),
    "get_clicks": ({"data": []}, [READ, QUERY]),
    "get_cors_error": (
        {"data": [{"msg": "'account_id' in request parameter is empty.", "code": "E0001"}]}, [READ, QUERY],
    ),
    "get_form": ({"data": [{"id": FORM_ID, **FORM}]}, [READ, QUERY]),
    "get_icon_url": ({"data": [ICON]}, [READ, QUERY]),
    "get_menu": ({"data": [menu()]}, [READ, QUERY]),
    "get_partner_keys": (
        {"data": [{"id": "8a9bcf1e51e812d0", "name": "shop", "createdAt": SHOWN_NOW, "expiresAt": None,
                   "tenants": ["0001"]}]},
        [QUERY],
    ),
    "get_report_csv": (
        link(rf"getReportCsv/{FILE}\.csv"), [READ, READ, READ, PUT, QUERY, QUERY, STORE, UPDATE, FETCH],
    ),
    "get_scenario": (
        {"data": [scenario(documented("delete_scenario")["scenarioId"]), scenario(BROADCAST_SCENARIO)]},
        [READ, QUERY],
    ),
    "get_tag": ({"data": [{"name": "tag name", "color": "red-filter", "values": []}]}, [READ, QUERY]),
    "get_user_count": ({"data": 1}, [READ, QUERY]),
    "get_user_form": (
        {"data": [{"userId": USER_ID, "formId": FORM_ID, "formName": "testname",
                   "formData": {"employee_count": "", "apply_count": "2"}, "createTime": FOLLOWED}]},
        [READ, QUERY],
    ),
    "get_user_history_csv": (
        link(rf"getUserHistoryCsv/{FILE}\.csv"), [READ, READ, PUT, QUERY, SEVERAL, STORE, UPDATE, FETCH],
    ),
    "get_user_segment": ({"data": [SEGMENT]}, [READ, QUERY, QUERY, SEVERAL]),
    "get_user_variable_history": (
        {"data": [{"userid": USER_ID, "variable": {"apply_count": [{"value": "2", "create_time": FOLLOWED}]}}]},
        [READ, QUERY],
    ),
    "get_users_list": (
        {"data": [{**USER, **OTHER_USER, **TIMES}, {**USER, **TIMES}], "count": 1, "lastEvaluatedKey": None},
        [READ, QUERY, QUERY],
    ),
    "get_variable": ({"data": ["employee_count", "apply_count", "var2"]}, [READ, READ]),
}  # fmt: skip
CHANGES = {
    "create_account": (None, [READ, QUERY, ENCRYPT, CHANGE]),
    "create_partner_key": (
        {"id": Text(r"[0-9a-f]{16}"), "key": Text(r"cpk_[\w-]{43}"), "expiresAt": "2025-01-27 06:41:29.006"},
        [QUERY, CHANGE],
    ),
    "delete_broadcast": (None, [READ, READ, CHANGE]),
    "delete_form": (None, [READ, SEVERAL, CHANGE]),
    "delete_icon_url": (None, [READ, SEVERAL, CHANGE]),
    "delete_menu": (None, [READ, READ, QUERY, CHANGE, *SEND, DELETE]),
    "delete_scenario": (None, [READ, READ, CHANGE]),
    "delete_tag": (None, [READ, READ, CHANGE]),
    # Behind the change the members go page by page, and so does what an earlier deletion left.
    "delete_user_segment": (None, [READ, READ, CHANGE, QUERY, READ, QUERY, WRITE_ALL, DELETE, QUERY]),
    "delete_variable": (None, [READ, READ, CHANGE]),
    "img_mapfile": (
        {"link": Text(rf"https://chat\.example\.com/images/ImageMap/0001/{IDS['accountId']}/{UUID}")},
        [READ, *[STORE] * 5, PUT],
    ),
    "pause_broadcast": (None, [READ, READ, CHANGE]),
    "resume_broadcast": (None, [READ, READ, CHANGE, *SEND]),
    "revoke_partner_key": (None, [READ, CHANGE]),
    "save_form": ({"data": {"id": Text(UUID), **FORM}}, [READ, READ, CHANGE]),
    "save_icon_url": (None, [READ, CHANGE]),
    "save_menu": (None, [READ, QUERY, CHANGE, DECRYPT, STORE, CHANGE, *SEND, DELETE]),
    "save_scenario": (None, [READ, READ, QUERY, CHANGE]),
    "save_tag": (None, [READ, READ, CHANGE]),
    "save_user_segment": (None, [READ, SEVERAL, WRITE_ALL, CHANGE, QUERY]),
    "save_variable": (None, [READ, READ]),
    "stop_broadcast": (None, [READ, READ, CHANGE, *SEND]),
    "update_account": (None, [READ, ENCRYPT, CHANGE]),
}
SAMPLES = READS | CHANGES
RETIRED = {"rich_message_api", "save_scenario_api", "schedule_users_import"}
PICTURES = {"show_picture": "1040", "show_whole_picture": "1040"}
# A partner's samples hold made-up tokens; with a token of ours they are answered with these calls.
TOKENS = {
    "receive_chichatcat_order": [SIGN, READ, CHANGE],
    "receive_penglue_order": [SIGN, READ, CHANGE],
    "receive_user_click": [SIGN, SEVERAL, PUT],
}
# Each has a test of its own below.
OWN_TESTS = {
    "get_chat_history_csv",
    "get_user_variable_csv",
    "login",
    "receive_line_events",
    "start_due",
    "apply_menus",
}


def sent_by_tests():
    """Return the samples that the tests of the functions send: `sample("name")` or `documented("name")`."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if path.name != Path(__file__).name and isinstance(node, ast.Call) and node.args:
                named = getattr(node.func, "id", "") in ("sample", "documented")
                found |= {node.args[0].value} if named and isinstance(node.args[0], ast.Constant) else set()
    return found


def test_every_function_has_a_sample_and_every_sample_a_test():
    files = {path.stem for path in EVENTS.glob("*.json")}

    assert files == set(FUNCTIONS)
    assert files - set(SAMPLES) - RETIRED - set(PICTURES) - set(TOKENS) - OWN_TESTS - sent_by_tests() == set()


@pytest.fixture
def channel(cloud, account, monkeypatch):
    """The documented channel with everything its samples are about; LINE is a simulator."""
    with LineSimulator() as line:
        monkeypatch.setenv("LINE_API_ENDPOINT", line.url)
        monkeypatch.setenv("LINE_DATA_API_ENDPOINT", line.url)
        settings.cache_clear()
        furnish()
        inhabit()
        running = broadcast_row(RUNNING, "plan", state="sending", complete=True, frozen=0)
        key = PartnerKeyNameTable(
            tenant="0001", key_id="8a9bcf1e51e812d0", key_name="shop", key_digest=PartnerKeyTable.digest("x"),
            created_at=NOW,
        )  # fmt: skip
        commit(Put(running), Put(key))
        yield line


def check(name):
    """Assert that a sample is answered as written above, with the calls written there."""
    result, wanted = SAMPLES[name]

    with Calls() as calls:
        answer = FUNCTIONS[name](sample(name), None)

    assert {**answer, "body": json.loads(answer["body"])} == {
        "statusCode": 200,
        "headers": {"Content-Type": JSON, "Cache-Control": "no-store"},
        "body": {**OK, "Result": result},
    }
    assert calls == wanted


@pytest.mark.parametrize("name", READS)
def test_what_reads_is_answered(channel, name):
    check(name)


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_is_answered(channel, name):
    if name == "resume_broadcast":
        commit(Put(broadcast_row(RUNNING, "plan", state="paused", complete=True)))

    check(name)


def answered(name, status=200, kind=JSON):
    """Send a sample; return the body and the calls."""
    with Calls() as calls:
        answer = FUNCTIONS[name](sample(name), None)

    body = answer.pop("body")
    assert answer == {"statusCode": status, "headers": {"Content-Type": kind, "Cache-Control": "no-store"}}
    return body, calls


def test_login_is_answered(cloud):
    add_operator(cloud, "account id", "password")

    body, calls = answered("login")

    result = json.loads(body)["Result"]
    tokens = {name: result[name] for name in ("id_token", "refresh_token", "access_token")}
    assert json.loads(body) == {**OK, "Result": {**tokens, "expires_in": 3600, "token_type": "Bearer"}}
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert claims["cognito:username"] == "account id"
    # The attempt is counted before it is made, and forgotten when it was right.
    assert calls == [UPDATE, "cognito-idp AdminInitiateAuth", DELETE]


def test_csv_is_answered(channel):
    assert answered("get_chat_history_csv", kind="text/csv; charset=utf-8") == (
        HEADER,
        # The partner's key, the channel, the records.
        [READ, READ, QUERY],
    )
    names = "username,luid,employee_count,apply_count,var2\n"
    people = f"Rex曾,U09f0f4c0bdadde26ada531cfc7decb3d,,,\nRex曾,{USER_ID},,2,\n"
    assert answered("get_user_variable_csv", kind="text/csv; charset=utf-8") == (
        names + people,
        # The key, the channel, its variables, the users, and what is remembered of them.
        [READ, READ, READ, QUERY, QUERY],
    )


def test_the_webhook_is_answered(account):
    # Secret and queue are kept in memory after the first call.
    for wanted in ([READ, DECRYPT, *SEND], [READ, SEND[-1]]):
        assert answered("receive_line_events", kind="text/plain; charset=utf-8") == ("", wanted)


@pytest.mark.parametrize("name", sorted(RETIRED))
def test_what_is_retired_asks_nobody(channel, name):
    body, calls = answered(name, 400)

    assert (json.loads(body), calls) == (refused("operation retired")[1], [])


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_shown(cloud, name):
    at = sample(name)["pathParameters"]
    place = "/".join(at[part] for part in ("category", "admin_id", "account_id", "picture"))
    cloud.client("s3").put_object(
        Bucket="files", Key=f"images/chatbot/{place}/{PICTURES[name]}", Body=b"a", ContentType="image/png"
    )

    with Calls() as calls:
        answer = FUNCTIONS[name](sample(name), None)

    forever = "public, max-age=31536000, immutable"
    assert answer == {
        "statusCode": 200,
        "headers": {"Content-Type": "image/png", "Cache-Control": forever},
        "body": "YQ==",
        "isBase64Encoded": True,
    }
    assert calls == [FETCH]


@pytest.mark.parametrize("name", TOKENS)
def test_what_carries_a_token_is_taken(channel, name):
    event = sample(name)
    event["body"] = json.dumps(documented(name, token=orders.token(*IDS.values(), USER_ID, "node", "scenario")))
    secrets.signing_key.cache_clear()

    with Calls() as calls:
        answer = FUNCTIONS[name](event, None)

    assert (answer["statusCode"], answer["body"], calls) == (200, "{}", TOKENS[name])


def test_a_minute_in_which_nothing_is_due(cloud):
    with Calls() as calls:
        start_due(sample("start_due"), None)

    # One for each lane: two of broadcasts, two of menus, eight of reservations.
    assert calls == [QUERY] * 12


def test_what_is_due_is_handed_over_once(cloud):
    def booked(kind, what):
        commit(due.book(kind, *IDS.values(), NOW, "name", what))

    booked("broadcast", {"broadcast_id": RUNNING})
    booked("menus", {})
    booked("reservation", {"user_id": USER_ID, "scenario_id": "s", "revision": 1, "booking": "n"})

    with Calls() as calls:
        for _ in range(2):
            start_due(sample("start_due"), None)

    assert cloud.rows("due") == []
    assert [len(cloud.queued(queue)) for queue in (BROADCASTS, MENUS, EVENTS_QUEUE)] == [1, 1, 1]
    # Each kind is sent and taken from its lane; the second run finds the lanes empty.
    assert sorted(calls) == sorted([QUERY] * 24 + [*SEND, WRITE_ALL] * 3)


def test_menus_are_brought_to_line(channel):
    with Calls() as calls:
        answer = FUNCTIONS["apply_menus"](sample("apply_menus"), None)

    assert answer == {"batchItemFailures": []}
    # The channel and its token; the menus, who has one of his own, and what is left to be removed.
    assert calls == [READ, DECRYPT, QUERY, QUERY, QUERY, QUERY]


def more(number):
    """Yield rows beside those of the samples, in every table that is listed."""
    for place in range(number):
        name = f"{place:04}"
        common = {"account": PARTITION, "created_at": NOW}
        yield ClickTable(**common, click_id=name, source="link", user_id="", node_id="", scenario_id="", url="",
                         payload={}, expires=NOW)  # fmt: skip
        yield CorsErrorTable(account=PARTITION, error_id=name, msg=name, code="", expires=NOW)
        yield FormTable(**common, form_id=name, form_name=name, fields=[])
        yield FormEntryTable(**common, place=name, user_id="u", form_id=name, form_name=name, answers={})
        yield IconTable(**common, icon_id=name, icon_name=name, url="https://img.example.com/a.png")
        yield ScenarioTable(**common, scenario_id=name, scenario_name=name, icon_url_id="", trigger="", keywords=[],
                            nodes=[], updated_at=NOW)  # fmt: skip
        yield TagTable(**common, colour_and_name=name, tag_name=name, color="bg-info", values=[])
        yield VariableHistoryTable(**common, place=f"u#{name}", user_id="u", variable=name, value=name)
        yield broadcast_row(name, "plan")
        yield user_row(f"u{name}")


# Files of everything, and a page of at most ten with two requests for the people of each.
GROWING = {"export_bot", "get_broadcast_history", "get_report_csv", "get_user_history_csv"}


def test_lists_ask_as_often_however_much_there_is(channel, subtests):
    write_all(Put(row) for row in more(150))

    for name in sorted(set(READS) - GROWING):
        with subtests.test(name), Calls() as calls:
            assert FUNCTIONS[name](sample(name), None)["statusCode"] == 200
            assert [call for call in calls if call != SIGN] == READS[name][1]
