"""Every sample event gets its documented answer, with exactly the calls to AWS that are written here.

One call more or less changes what an operation costs, so somebody has to want it.
"""

import json

import jwt
import pytest

from tests.functions.chatbot.examples import (
    EVENTS,
    FUNCTIONS,
    IDS,
    JSON,
    OK,
    SHOWN_NOW,
    USER_ID,
    Calls,
    add_operator,
    furnish,
    listed_account,
    sample,
)

READ, QUERY, CHANGE = "dynamodb GetItem", "dynamodb Query", "dynamodb TransactWriteItems"
ENCRYPT, DECRYPT = "kms Encrypt", "kms Decrypt"

USER = {
    "userId": USER_ID,
    "userName": "Rex曾",
    "userPicture": "https://profile.example.com/0hFAKEPICTUREID",
    "accountType": "line",
    "accountStatus": "0",
}
TIMES = {"followTime": "2024-01-28 06:04:25.693", "createTime": "2024-01-28 06:04:25.695"}
RECORD = {**USER, "nodeId": "", "tags": [], **TIMES, "accessTime": "2024-01-28 06:05:33.830"}
OTHER_USER = {"userId": "U09f0f4c0bdadde26ada531cfc7decb3d", "accountStatus": "1"}
HEADER = "userid,username,userpicture,accounttype,accountstatus,nodeid,tags,followtime,accesstime,createtime\n"


def scenario(scenario_id):
    head = {"scenarioId": scenario_id, "scenarioName": "C00010", "iconUrlId": "", "trigger": "", "keywords": []}
    times = {"createTime": "2024-01-27 06:41:29.006", "updateTime": SHOWN_NOW}
    return {"id": scenario_id, "scenario": head, "nodes": [], **times}


SAMPLES = {
    "create_account": (None, [READ, QUERY, ENCRYPT, CHANGE]),
    "delete_scenario": (None, [READ, READ, CHANGE]),
    "delete_tag": (None, [READ, READ, CHANGE]),
    "delete_variable": (None, [READ, READ, CHANGE]),
    "get_account": ({"accounts": [listed_account(IDS)]}, [QUERY, DECRYPT]),
    "get_chat_history": ({"data": [RECORD, {**RECORD, **OTHER_USER}]}, [READ, QUERY]),
    "get_check_test": ({"result": "Check Test OK"}, [READ]),
    "get_scenario": (
        {"data": [scenario("0b55ee90-bb79-11ee-b1cb-3289ab88e76e"), scenario("22b0cc7e-26a3-11ee-90ac-a698574f3611")]},
        [READ, QUERY],
    ),
    "get_tag": ({"data": [{"name": "tag name", "color": "red-filter", "values": []}]}, [READ, QUERY]),
    "get_user_count": ({"data": 1}, [READ, QUERY]),
    "get_users_list": (
        {"data": [{**USER, **OTHER_USER, **TIMES}, {**USER, **TIMES}], "count": 1, "lastEvaluatedKey": None},
        [READ, QUERY, QUERY],
    ),
    "get_variable": ({"data": ["employee_count", "var2"]}, [READ, READ]),
    "save_scenario": (None, [READ, READ, CHANGE]),
    "save_tag": (None, [READ, READ, CHANGE]),
    "save_variable": (None, [READ, READ]),
    "update_account": (None, [READ, ENCRYPT, CHANGE]),
}
OWN_TESTS = {"answer_line_event", "get_chat_history_csv", "login", "receive_line_events"}


def test_every_function_has_a_sample_and_every_sample_a_test():
    files = {path.stem for path in EVENTS.glob("*.json")}

    assert files == set(FUNCTIONS)
    assert files == {*SAMPLES, *OWN_TESTS}


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


def test_what_reads_is_answered(account, subtests):
    furnish()

    for name in SAMPLES:
        if name.startswith("get_"):
            with subtests.test(name):
                check(name)


@pytest.mark.parametrize("name", [name for name in SAMPLES if not name.startswith("get_")])
def test_what_changes_is_answered(account, name):
    furnish()

    check(name)


def test_login_is_answered(cloud):
    add_operator(cloud, "account id", "password")

    with Calls() as calls:
        answer = FUNCTIONS["login"](sample("login"), None)

    body = json.loads(answer["body"])
    tokens = {name: body["Result"][name] for name in ("id_token", "refresh_token", "access_token")}
    assert body == {**OK, "Result": {**tokens, "expires_in": 3600, "token_type": "Bearer"}}
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert claims["cognito:username"] == "account id"
    # The attempt is counted before it is made, and forgotten when it was right.
    assert calls == ["dynamodb UpdateItem", "cognito-idp AdminInitiateAuth", "dynamodb DeleteItem"]


def test_csv_is_answered(account):
    furnish()

    with Calls() as calls:
        answer = FUNCTIONS["get_chat_history_csv"](sample("get_chat_history_csv"), None)

    assert answer == {
        "statusCode": 200,
        "headers": {"Content-Type": "text/csv; charset=utf-8", "Cache-Control": "no-store"},
        "body": HEADER,
    }
    # The partner's key, the channel, the records.
    assert calls == [READ, READ, QUERY]


def test_the_webhook_is_answered(account):
    with Calls() as calls:
        answer = FUNCTIONS["receive_line_events"](sample("receive_line_events"), None)

    assert answer == {
        "statusCode": 200,
        "headers": {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"},
        "body": "",
    }
    # Secret and queue are kept in memory after the first call.
    assert calls == [READ, DECRYPT, "sqs GetQueueUrl", "sqs SendMessageBatch"]
    with Calls() as calls:
        FUNCTIONS["receive_line_events"](sample("receive_line_events"), None)
    assert calls == [READ, "sqs SendMessageBatch"]
