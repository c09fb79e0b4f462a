"""What every operation refuses alike: bodies that are none, fields that lack or are of another kind, other tenants."""

import base64
import json
from typing import Any, NamedTuple

import pytest

from chatbot.api import ListRequest
from infra.discovery import declarations
from kernel.auth import Cognito, PartnerKey, Public
from kernel.operations import event_of
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOT_ALLOWED,
    NOW,
    OTHER_IDS,
    PARTNER_KEY,
    UNAUTHORIZED,
    add_partner_key,
    documented,
    furnish,
    inhabit,
    refused,
)


class Kind(NamedTuple):
    """What a field may be, and what is said of anything else."""

    message: str
    right: Any


TEXT, LIST, OBJECT = (
    Kind("must be a valid string", str),
    Kind("must be a valid array", list),
    Kind("must be an object", dict),
)
SWITCH = Kind("must be a valid boolean", bool)
# Texts that are numbers are taken, and other ones and fractions told of with more words.
NUMBER = Kind("must be a valid integer", (int, float, str))
ONE_OR_MORE = LIST._replace(right=(list, str))
ANYTHING = Kind("", object)


def one_of(values: str) -> Kind:
    """Return the kind that is one of these texts, as refusals name them."""
    return Kind(f"must be {values}", ())


ACCOUNT = {"adminId": TEXT, "accountId": TEXT}
CHANNEL = ACCOUNT | dict.fromkeys(
    ("accountName", "accountIcon", "accountWebhookUrl", "accountToken", "accountSecret"), TEXT
)
CHANNEL |= {"accountType": one_of("'line', 'wechat' or 'fb'")}
SCENARIO = {**ACCOUNT, "scenarioId": TEXT}
BROADCAST = {**ACCOUNT, "broadcastId": TEXT}
PEOPLE = {**ACCOUNT, "broadcastScenarioId": TEXT, "isSelectAll": SWITCH}
REQUIRED = {
    "create_account": CHANNEL,
    "create_partner_key": {"adminId": TEXT, "name": TEXT},
    "delete_broadcast": {**ACCOUNT, "broadcastIds": LIST},
    "delete_form": {**ACCOUNT, "formId": ONE_OR_MORE},
    "delete_icon_url": {**ACCOUNT, "accountIconUrl": LIST},
    "delete_menu": {**ACCOUNT, "richmenuId": TEXT},
    "delete_scenario": SCENARIO,
    "delete_tag": {**ACCOUNT, "tag": OBJECT},
    "delete_user_data": ACCOUNT,
    "delete_user_segment": {**ACCOUNT, "segmentId": TEXT},
    "delete_variable": {**ACCOUNT, "accountVariable": LIST},
    "diff_scenario_versions": {**SCENARIO, "version": NUMBER, "otherVersion": NUMBER},
    "estimate_broadcast": PEOPLE,
    "export_bot": ACCOUNT,
    "get_account": {"adminId": TEXT},
    "get_broadcast_history": ACCOUNT,
    "get_broadcast_plan": ACCOUNT,
    "get_broadcast_progress": BROADCAST,
    "get_broadcast_recipients": BROADCAST,
    "get_chat_history": ACCOUNT,
    "get_chat_history_csv": {**ACCOUNT, "startTime": TEXT, "endTime": TEXT},
    "get_check_test": {**ACCOUNT, "int": ANYTHING},
    "get_clicks": ACCOUNT,
    "get_cors_error": ACCOUNT,
    "get_form": ACCOUNT,
    "get_icon_url": ACCOUNT,
    "get_menu": ACCOUNT,
    "get_partner_keys": {"adminId": TEXT},
    "get_report_csv": ACCOUNT,
    "get_scenario": ACCOUNT,
    "get_scenario_versions": SCENARIO,
    "get_tag": ACCOUNT,
    "get_user_count": ACCOUNT,
    "get_user_form": ACCOUNT,
    "get_user_history_csv": ACCOUNT,
    "get_user_segment": ACCOUNT,
    "get_user_variable_csv": ACCOUNT,
    "get_user_variable_history": ACCOUNT,
    "get_users_list": ACCOUNT,
    "get_variable": ACCOUNT,
    "img_mapfile": {**ACCOUNT, "category": one_of("'ImageMap'"), "img": TEXT},
    "import_bot": {**ACCOUNT, "bot": OBJECT},
    "login": {"adminId": TEXT, "password": TEXT},
    "pause_broadcast": BROADCAST,
    "preview_scenario": ACCOUNT,
    "push_line_messages": {**ACCOUNT, "luid": TEXT, "messages": LIST},
    "resume_broadcast": BROADCAST,
    "revoke_partner_key": {"adminId": TEXT, "id": TEXT},
    "roll_back_scenario": {**SCENARIO, "version": NUMBER},
    "save_form": {**ACCOUNT, "name": TEXT, "fields": LIST},
    "save_icon_url": {**ACCOUNT, "accountIconUrl": LIST},
    "save_menu": {
        **ACCOUNT,
        "area_opt": OBJECT,
        "chat_bar_text": TEXT,
        "image_height": NUMBER,
        "image_width": NUMBER,
        "image_type": one_of("'image/png' or 'image/jpeg'"),
        "layout": one_of("'A', 'B' or 'C'"),
        "name": TEXT,
        "user_segment": Kind(LIST.message, (list, str, type(None))),
        "image_b64": TEXT,
    },
    "save_scenario": {**ACCOUNT, "scenario": OBJECT, "nodes": LIST},
    "save_tag": {**ACCOUNT, "tag": OBJECT},
    "save_user_segment": {
        **ACCOUNT,
        "cvKey": OBJECT,
        "defaultUsersSegment": SWITCH,
        "mode": one_of("'Custom', 'CVKey' or 'Conditions'"),
        "segmentName": TEXT,
    },
    "save_variable": {**ACCOUNT, "accountVariable": LIST},
    "schedule_broadcast": {
        **PEOPLE,
        "broadcastName": TEXT,
        "broadcastScenarioName": TEXT,
        "broadcastStatus": one_of("'pending'"),
        "broadcastTime": TEXT,
    },
    "stop_broadcast": BROADCAST,
    "update_account": CHANNEL,
    "update_account_external_api_config": {**ACCOUNT, "setting": OBJECT},
}
OPTIONAL = {
    "create_account": {"accountClone": TEXT, "appId": TEXT},
    "create_partner_key": {"expiresInDays": Kind(NUMBER.message, int)},
    "estimate_broadcast": {"broadcastUsers": LIST, "segmentNames": LIST},
    "get_users_list": {"keywords": TEXT},
    "preview_scenario": {"scenarioId": TEXT},
    "save_menu": {"start_time": TEXT, "end_time": TEXT, "tab_menu": LIST},
    "save_user_segment": {"segmentUsers": Kind(LIST.message, (list, dict)), "scenarioId": TEXT, "segmentId": TEXT},
    "schedule_broadcast": {"broadcastUsers": LIST, "segmentNames": LIST},
    "update_account": {"lineLoginChannelId": TEXT, "lineLoginSecret": TEXT, "appId": TEXT},
    **{
        name: {"lastEvaluatedKey": TEXT}
        for name, function in FUNCTIONS.items()
        if issubclass(getattr(function, "body", None) or object, ListRequest)
    },
}
# They say the same to everybody, see test_retired.py.
RETIRED = {"rich_message_api", "save_scenario_api", "schedule_users_import"}
FORM = "application/x-www-form-urlencoded"
NO_JSON, NO_OBJECT = "The body is not valid JSON", "The body must be a JSON object"
NO_BODIES = {
    "": NO_JSON,
    "{": NO_JSON,
    '{"adminId": "0001",}': NO_JSON,
    '{"adminId": NaN}': NO_JSON,
    '{"adminId": -Infinity}': NO_JSON,
    '{"adminId": "\\ud800"}': NO_JSON,
    "[" * 1000 + "]" * 1000: NO_JSON,
    "adminId=0001": NO_JSON,
    "[]": NO_OBJECT,
    "null": NO_OBJECT,
    '"text"': NO_OBJECT,
    "1": NO_OBJECT,
}
ODD_IDS = ["", " ", "#", "a#b", "a b", "測試", "a/b", "a.b", "a\n", "a" * 65]
ODD_ADMIN_IDS = {
    "": "must have at least 1 character",
    "a" * 129: "must have at most 128 characters",
    "00#01": NOT_ALLOWED,
    " 0001": NOT_ALLOWED,
    "0001\n": NOT_ALLOWED,
}
WRONG = [1, 1.5, True, None, "text", ["text"], {"a": "b"}]


def wrong(kind):
    """Return values of another kind; True is a number to Python only."""
    return [value for value in WRONG if not isinstance(value, kind.right) or (value is True and kind.right is int)]


def flawed(name):
    """Yield bodies that lack a field or hold it in another kind, with the flaw that is named."""
    for field, kind in REQUIRED[name].items():
        yield documented(name, **{field: ...}), f"{field} is required"
        yield from ((documented(name, **{field: value}), f"{field} {kind.message}") for value in wrong(kind))
    for field, kind in OPTIONAL.get(name, {}).items():
        # null says that an optional field is absent.
        yield from (
            (documented(name, **{field: value}), f"{field} {kind.message}")
            for value in wrong(kind)
            if value is not None
        )


def told(name, message, code=400):
    """Return the whole refusal, which one operation writes without Result."""
    status, body, kind = refused(message, code)
    if name == "update_account_external_api_config":
        del body["Result"]
    return (status, body, kind)


def credential(operation):
    """Return what a call needs beside its body when no gateway has checked a token."""
    return {"headers": {"X-Partner-Key": PARTNER_KEY}} if isinstance(operation.auth, PartnerKey) else {}


@pytest.fixture
def everywhere(cloud, account, foreign, subtests):
    """Run a check for every operation, and assert that nothing was written by any of them."""
    furnish()
    inhabit()

    def run(check, *leaving_out):
        before = cloud.everything()
        for name in REQUIRED:
            if name not in leaving_out:
                with subtests.test(name):
                    check(name, FUNCTIONS[name])
        assert cloud.everything() == before

    return run


def test_the_table_names_every_operation():
    """Those of the channels and of tokens have another way in, and tell in their own tests what they refuse."""
    operations = declarations("chatbot").operations
    with_fields = [operation for operation in operations if operation.body is not None]

    of_operators = {one.name for one in with_fields if isinstance(one.auth, Cognito | PartnerKey | Public)}
    assert set(REQUIRED) == of_operators - RETIRED
    assert set(OPTIONAL) <= set(REQUIRED)


def test_bodies_that_are_none(cloud, everywhere):
    def check(name, operation):
        for body, message in NO_BODIES.items():
            assert cloud.call(operation, body, **credential(operation)) == told(name, message), body
        event = event_of(operation, "", caller="0001") | {"body": None}
        event["headers"] |= credential(operation).get("headers", {})
        assert json.loads(operation(event, None)["body"]) == told(name, NO_JSON)[1]

    everywhere(check)


def test_bodies_that_are_too_large(cloud, everywhere):
    def check(name, operation):
        # Whatever is in it, and before anybody is asked who he is.
        body = " " * (operation.body_limit + 1)
        message = f"The body is larger than {operation.body_limit} bytes"
        assert cloud.call(operation, body, caller="") == told(name, message)
        assert cloud.call(operation, body[:-1], **credential(operation)) == told(name, NO_JSON)

    everywhere(check)


def test_fields_that_lack_or_are_of_another_kind(cloud, everywhere):
    def check(name, operation):
        for body, message in flawed(name):
            assert cloud.call(operation, body, **credential(operation)) == told(name, message), body

    everywhere(check)


def test_channels_that_are_not_the_operators(cloud, foreign, everywhere):
    def check(name, operation):
        for account_id in ODD_IDS:
            answer = cloud.call(operation, documented(name, accountId=account_id), **credential(operation))
            assert answer == told(name, f"accountId {NOT_ALLOWED}"), account_id
        for account_id in (foreign.ids["accountId"], "unknown", "a" * 64) if name != "create_account" else ():
            answer = cloud.call(operation, documented(name, accountId=account_id), **credential(operation))
            assert answer == told(name, "accountId not found"), account_id

    everywhere(check, *(name for name, fields in REQUIRED.items() if "accountId" not in fields))


def test_adminids_that_are_none(cloud, everywhere):
    def check(name, operation):
        for admin_id, message in ODD_ADMIN_IDS.items():
            body = documented(name, adminId=admin_id)
            assert cloud.call(operation, body, **credential(operation)) == told(name, f"adminId {message}"), admin_id

    everywhere(check)


def test_callers_who_are_somebody_else(cloud, everywhere):
    def check(name, operation):
        unauthorized = told(name, "Unauthorized", 401)
        body = documented(name)
        foreign_body = documented(name, **{field: value for field, value in OTHER_IDS.items() if field in body})
        for sent in (foreign_body, {**body, "adminId": "1"}, {**body, "adminId": "0001 "[:4] + "0"}):
            assert cloud.call(operation, sent, **credential(operation)) == unauthorized, sent
        # Without a partner's key, nobody; the gateway lets only operators with a token through to the others.
        assert cloud.call(operation, body, caller="") == unauthorized
        if isinstance(operation.auth, Cognito):
            assert cloud.call(operation, body, caller="0002") == unauthorized
            event = event_of(operation, body, caller="0001")
            event["requestContext"]["authorizer"]["claims"]["token_use"] = "access"
            assert operation(event, None)["statusCode"] == 401

    everywhere(check, "login")


PARTNERS = {name for name, function in FUNCTIONS.items() if isinstance(getattr(function, "auth", None), PartnerKey)}


def test_partner_keys_that_open_nothing(cloud, everywhere):
    add_partner_key("expired", IDS["adminId"], expires_at=NOW)
    add_partner_key("other", OTHER_IDS["adminId"])

    def check(name, operation):
        for key in ("", "unknown", "expired", "other", PARTNER_KEY.upper(), f"{PARTNER_KEY} "):
            for caller in ("", "0001"):
                answer = cloud.call(operation, documented(name), caller=caller, headers={"X-Partner-Key": key})
                assert answer == UNAUTHORIZED, key
        for token in ("", "Bearer", "Bearer x", "Bearer a.b.c", f"Bearer {PARTNER_KEY}", "Basic MDAwMTp4"):
            answer = cloud.call(operation, documented(name), caller="0001", headers={"Authorization": token})
            assert answer == UNAUTHORIZED, token

    everywhere(check, *(set(REQUIRED) - PARTNERS))


def test_unknown_fields_are_ignored(cloud, everywhere):
    unknown = {"unknown": {"a": [1, None]}, "AdminId": 5, "admin_id": [], "": "", "__proto__": {}, "全": 1.5}

    def check(name, operation):
        for field in REQUIRED[name]:
            body = {**documented(name, **{field: ...}), **unknown}
            assert cloud.call(operation, body, **credential(operation)) == told(name, f"{field} is required"), field

    everywhere(check)


ENCODED = {"get_account", "get_chat_history", "get_check_test", "get_scenario", "get_tag", "get_user_count"}
ENCODED |= {"get_users_list", "get_variable"}


def test_bodies_in_other_encodings(cloud, everywhere):
    def check(name, operation):
        body = documented(name, lastEvaluatedKey=...)
        answer = cloud.call(operation, body)
        assert answer.status == 200

        event = event_of(operation, base64.b64encode(json.dumps(body).encode()).decode(), caller="0001")
        event["isBase64Encoded"] = True
        assert json.loads(operation(event, None)["body"]) == answer.body
        # What is no UTF-8 is no JSON either.
        event["body"] = base64.b64encode(b'{"adminId": "\xff"}').decode()
        assert json.loads(operation(event, None)["body"]) == refused(NO_JSON)[1]

        assert cloud.call(operation, form=body) == answer
        event = event_of(operation, base64.b64encode(b"adminId=\xff").decode(), caller="0001")
        event |= {
            "isBase64Encoded": True,
            "headers": {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        }
        assert json.loads(operation(event, None)["body"]) == refused("The body is not UTF-8 text")[1]

    everywhere(check, *(set(REQUIRED) - ENCODED))


def test_forms_hold_neither_objects_nor_lists(refuses, account):
    tag, names = {**IDS, "tag": "name"}, {**IDS, "accountVariable": "name"}

    refuses(FUNCTIONS["save_tag"], [(tag, "tag must be an object")], as_form=True)
    refuses(FUNCTIONS["save_variable"], [(names, "accountVariable must be a valid list")], as_form=True)
