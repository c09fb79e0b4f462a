"""What every operation refuses alike: bodies that are none, fields that lack or are of another kind, other tenants."""

import base64
import json

import pytest

from infra.discovery import declarations
from kernel.auth import Cognito, PartnerKey
from kernel.operations import event_of
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOT_ALLOWED,
    OTHER_IDS,
    PARTNER_KEY,
    UNAUTHORIZED,
    documented,
    furnish,
    refused,
)

TEXT, LIST, OBJECT = "must be a valid string", "must be a valid array", "must be an object"
ANY_TEXT = "text or number, ignored"
ACCOUNT = {"adminId": TEXT, "accountId": TEXT}
CHANNEL = ACCOUNT | dict.fromkeys(
    ("accountName", "accountIcon", "accountWebhookUrl", "accountToken", "accountSecret"), TEXT
)
CHANNEL |= {"accountType": "must be 'line', 'wechat' or 'fb'"}
REQUIRED = {
    "create_account": CHANNEL,
    "delete_scenario": {**ACCOUNT, "scenarioId": TEXT},
    "delete_tag": {**ACCOUNT, "tag": OBJECT},
    "delete_variable": {**ACCOUNT, "accountVariable": LIST},
    "get_account": {"adminId": TEXT},
    "get_chat_history": ACCOUNT,
    "get_chat_history_csv": {**ACCOUNT, "startTime": TEXT, "endTime": TEXT},
    "get_check_test": {**ACCOUNT, "int": ANY_TEXT},
    "get_scenario": ACCOUNT,
    "get_tag": ACCOUNT,
    "get_user_count": ACCOUNT,
    "get_users_list": ACCOUNT,
    "get_variable": ACCOUNT,
    "login": {"adminId": TEXT, "password": TEXT},
    "save_scenario": {**ACCOUNT, "scenario": OBJECT, "nodes": LIST},
    "save_tag": {**ACCOUNT, "tag": OBJECT},
    "save_variable": {**ACCOUNT, "accountVariable": LIST},
    "update_account": CHANNEL,
}
OPTIONAL = {
    "create_account": {"accountClone": TEXT, "appId": TEXT},
    "get_chat_history": {"lastEvaluatedKey": TEXT},
    "get_scenario": {"lastEvaluatedKey": TEXT},
    "get_tag": {"lastEvaluatedKey": TEXT},
    "get_users_list": {"keywords": TEXT},
    "update_account": {"lineLoginChannelId": TEXT, "lineLoginSecret": TEXT, "appId": TEXT},
}
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
    """Return values of another kind than a message asks for."""
    right = {TEXT: str, LIST: list, OBJECT: dict}.get(kind, ())
    return [value for value in WRONG if not isinstance(value, right)]


def flawed(name):
    """Yield bodies that lack a field or hold it in another kind, with the flaw that is named."""
    for field, kind in REQUIRED[name].items():
        yield documented(name, **{field: ...}), f"{field} is required"
        if kind is not ANY_TEXT:
            yield from ((documented(name, **{field: value}), f"{field} {kind}") for value in wrong(kind))
    for field, kind in OPTIONAL.get(name, {}).items():
        # null says that an optional field is absent.
        yield from (
            (documented(name, **{field: value}), f"{field} {kind}") for value in wrong(kind) if value is not None
        )


def credential(operation):
    """Return what a call needs beside its body when no gateway has checked a token."""
    return {"headers": {"X-Partner-Key": PARTNER_KEY}} if isinstance(operation.auth, PartnerKey) else {}


@pytest.fixture
def everywhere(cloud, account, foreign, subtests):
    """Run a check for every operation, and assert that nothing was written by any of them."""
    furnish()

    def run(check, *leaving_out):
        before = cloud.everything()
        for name in REQUIRED:
            if name not in leaving_out:
                with subtests.test(name):
                    check(name, FUNCTIONS[name])
        assert cloud.everything() == before

    return run


def test_the_table_names_every_operation():
    operations = {operation.name for operation in declarations("chatbot").operations}

    assert set(REQUIRED) == operations - {"receive_line_events"}


def test_bodies_that_are_none(cloud, everywhere):
    def check(name, operation):
        for body, message in NO_BODIES.items():
            assert cloud.call(operation, body, **credential(operation)) == refused(message), body
        event = event_of(operation, "", caller="0001") | {"body": None}
        event["headers"] |= credential(operation).get("headers", {})
        assert operation(event, None)["body"] == json.dumps(refused(NO_JSON)[1], separators=(",", ":"))

    everywhere(check)


def test_bodies_that_are_too_large(cloud, everywhere):
    def check(name, operation):
        # Whatever is in it, and before anybody is asked who he is.
        body = " " * (operation.body_limit + 1)
        message = f"The body is larger than {operation.body_limit} bytes"
        assert cloud.call(operation, body, caller="") == refused(message)
        assert cloud.call(operation, body[:-1], **credential(operation)) == refused(NO_JSON)

    everywhere(check)


def test_fields_that_lack_or_are_of_another_kind(cloud, everywhere):
    def check(name, operation):
        for body, message in flawed(name):
            assert cloud.call(operation, body, **credential(operation)) == refused(message), body

    everywhere(check)


def test_channels_that_are_not_the_operators(cloud, foreign, everywhere):
    def check(name, operation):
        for account_id in ODD_IDS:
            answer = cloud.call(operation, documented(name, accountId=account_id), **credential(operation))
            assert answer == refused(f"accountId {NOT_ALLOWED}"), account_id
        for account_id in (foreign.ids["accountId"], "unknown", "a" * 64) if name != "create_account" else ():
            answer = cloud.call(operation, documented(name, accountId=account_id), **credential(operation))
            assert answer == refused("accountId not found"), account_id

    everywhere(check, *(name for name, fields in REQUIRED.items() if "accountId" not in fields))


def test_adminids_that_are_none(cloud, everywhere):
    def check(name, operation):
        for admin_id, message in ODD_ADMIN_IDS.items():
            body = documented(name, adminId=admin_id)
            assert cloud.call(operation, body, **credential(operation)) == refused(f"adminId {message}"), admin_id

    everywhere(check)


def test_callers_who_are_somebody_else(cloud, everywhere):
    def check(name, operation):
        body = documented(name)
        foreign_body = documented(name, **{field: value for field, value in OTHER_IDS.items() if field in body})
        for sent in (foreign_body, {**body, "adminId": "1"}, {**body, "adminId": "0001 "[:4] + "0"}):
            assert cloud.call(operation, sent, **credential(operation)) == UNAUTHORIZED, sent
        # Without a partner's key, nobody; the gateway lets only operators with a token through to the others.
        assert cloud.call(operation, body, caller="") == UNAUTHORIZED
        if isinstance(operation.auth, Cognito):
            assert cloud.call(operation, body, caller="0002") == UNAUTHORIZED
            event = event_of(operation, body, caller="0001")
            event["requestContext"]["authorizer"]["claims"]["token_use"] = "access"
            assert operation(event, None)["statusCode"] == 401

    everywhere(check, "login")


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
