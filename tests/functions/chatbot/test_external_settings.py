"""The connection to the external service, and what it complained of."""

import json
from datetime import timedelta

import pytest

from chatbot import cors_errors, cros_settings
from chatbot.external import CrosError
from chatbot.tables import AccountTable
from functions.chatbot.get_cors_error import get_cors_error
from functions.chatbot.update_account_external_api_config import update_account_external_api_config
from kernel import aws
from kernel.tables import Change, commit
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    JSON,
    NOW,
    OTHER_IDS,
    PARTITION,
    Calls,
    audited,
    documented,
    ok,
    refused,
    sample,
)

EXAMPLE = documented("update_account_external_api_config")
DONE = (200, {"ErrorCode": 200, "ErrorMessage": "ok"}, JSON)
SAVED = {"endpoint": "endPoint", "key": "key", "clientid": "clientId", "params": {"value": "employee_count"}}


def of(**cros):
    return {**EXAMPLE, "setting": {"cros": {**EXAMPLE["setting"]["cros"], **cros}}}


def update(cloud, setting):
    return cloud.call(update_account_external_api_config, {**IDS, "setting": setting})


def shown(cloud):
    return cloud.call(FUNCTIONS["get_account"], {"adminId": "0001"}).body["Result"]["accounts"][0]["setting"]


def bare(message, code=400):
    """Return the whole answer of a refusal without Result."""
    return (code, {"ErrorCode": code, "ErrorMessage": message}, JSON)


def test_saves_the_documented_setting(cloud, account):
    with Calls() as calls:
        answer = update_account_external_api_config(sample("update_account_external_api_config"), None)

    assert (answer["statusCode"], json.loads(answer["body"])) == DONE[:2]
    assert calls == ["dynamodb GetItem", "kms Encrypt", "dynamodb TransactWriteItems"]
    assert shown(cloud) == {"cros": SAVED}
    assert cros_settings.of(AccountTable.find(*IDS.values())) == {"cros": SAVED}


def test_takes_every_spelling(cloud, account):
    values = {"key": "k", "params": {}}
    for cros, endpoint, client in (("cros", "endpoint", "clientid"), ("cors", "endPoint", "clientId")):
        assert update(cloud, {cros: {endpoint: endpoint, client: client, **values}}) == DONE
        assert shown(cloud) == {"cros": {"endpoint": endpoint, "clientid": client, **values}}
    for params in (None, ...):
        body = {name: value for name, value in {**SAVED, "params": params}.items() if value is not ...}
        assert update(cloud, {"cros": body, "unknown": 1}) == DONE
        assert shown(cloud) == {"cros": {**SAVED, "params": {}}}


def test_replaces_the_connection_as_a_whole_and_leaves_the_rest(cloud, account):
    key = AccountTable.key(*IDS.values())
    commit(Change(AccountTable, key, [AccountTable.setting.set({"other": 1, "cros": {**SAVED, "more": 1}})]))
    # A key that was written before keys were sealed is shown as it is.
    assert shown(cloud) == {"other": 1, "cros": {**SAVED, "more": 1}}

    assert update(cloud, {"cros": {**SAVED, "key": "second", "params": {"a": "b"}}}) == DONE

    assert shown(cloud) == {"other": 1, "cros": {**SAVED, "key": "second", "params": {"a": "b"}}}


def test_the_key_is_kept_encrypted_and_for_this_channel_only(cloud, account, foreign):
    secret = "a-key-that-nobody-may-see"
    assert update(cloud, of(key=secret)["setting"]) == DONE

    assert secret not in json.dumps(cloud.everything(), default=str)
    stored = AccountTable.find(*IDS.values()).setting
    moved = AccountTable.key(*OTHER_IDS.values())
    commit(Change(AccountTable, moved, [AccountTable.setting.set(stored)]))
    assert cloud.call(FUNCTIONS["get_account"], {"adminId": "0002"}, caller="0002") == refused("Internal error", 500)


def test_leaves_audit_rows(cloud, account):
    assert update(cloud, EXAMPLE["setting"]) == DONE

    (entry,) = audited(cloud, f"setting {IDS['accountId']}")
    digests = (entry.pop("before"), entry.pop("after"))
    assert len({*digests, None}) == 3
    assert entry == {
        "tenant": "0001",
        "actor": "0001",
        "subject": f"setting {IDS['accountId']}",
        "operation": "update_account_external_api_config",
        "created_at": "2024-01-28T06:41:29.006Z",
    }


def test_refuses(cloud, account, foreign):
    before = cloud.everything()
    cros = "setting.cros"
    cases = [
        ({**EXAMPLE, "setting": ...}, "setting is required"),
        ({**EXAMPLE, "setting": "text"}, "setting must be an object"),
        ({**EXAMPLE, "setting": {}}, f"{cros} is required"),
        ({**EXAMPLE, "setting": {"cros": None}}, f"{cros} must be an object"),
        (
            {**EXAMPLE, "setting": {"cros": {}}},
            f"{cros}.endpoint is required; {cros}.key is required; {cros}.clientid is required",
        ),
        (of(endPoint=" "), f"{cros}.endPoint must have at least 1 character"),
        (of(key=""), f"{cros}.key must have at least 1 character"),
        (of(key=["secret"]), f"{cros}.key must be a valid string"),
        (of(clientId=2015), f"{cros}.clientId must be a valid string"),
        (of(params=[]), f"{cros}.params must be an object"),
        (of(params={"a": 1}), f"{cros}.params.a must be a valid string"),
        (of(params={"a": ""}), f"{cros}.params.a must have at least 1 character"),
        (
            of(params={str(n): "a" for n in range(51)}),
            f"{cros}.params must have at most 50 items",
        ),
        ({**EXAMPLE, "accountId": foreign.ids["accountId"]}, "accountId not found"),
        ("{", "The body is not valid JSON"),
    ]
    for body, message in cases:
        if isinstance(body, dict):
            body = {name: value for name, value in body.items() if value is not ...}
        assert cloud.call(update_account_external_api_config, body) == bare(message), body
    for caller in ("", "0002"):
        assert cloud.call(update_account_external_api_config, EXAMPLE, caller=caller) == bare("Unauthorized", 401)
    assert cloud.everything() == before


def test_a_crash_has_no_result_either(cloud, account, monkeypatch):
    monkeypatch.setattr(cros_settings, "save", lambda request: 1 / 0)

    assert cloud.call(update_account_external_api_config, EXAMPLE) == bare("Internal error", 500)


def test_a_change_in_between_is_not_lost(cloud, account):
    def meanwhile(call):
        if call.action == "Encrypt":
            aws.observers.remove(meanwhile)
            key = AccountTable.key(*IDS.values())
            commit(Change(AccountTable, key, [AccountTable.version.set(2), AccountTable.account_name.set("Other")]))

    aws.observers.append(meanwhile)

    answer = cloud.call(update_account_external_api_config, EXAMPLE)

    assert answer == bare("changed by somebody else meanwhile, or already there")
    assert shown(cloud) == {}


# What the service complained of


def note(*errors, at=NOW, partition=PARTITION):
    commit(*cors_errors.noted(partition, [CrosError(*error) for error in errors], at))


def test_lists_the_documented_error(cloud, account):
    assert cloud.call(get_cors_error, IDS) == ok({"data": []})

    note(("'account_id' in request parameter is empty.", "E0001"))

    listed = [{"msg": "'account_id' in request parameter is empty.", "code": "E0001"}]
    assert cloud.call(get_cors_error, IDS) == ok({"data": listed})
    (row,) = cloud.rows("cors-errors")
    assert int(row["expires"]) == int((NOW + timedelta(days=30)).timestamp())


def test_the_latest_error_comes_first(cloud, account, foreign, monkeypatch):
    monkeypatch.setattr(cors_errors, "_PAGE", 2)
    note(("1", ""), ("2", "a"))
    note(("4", "c"), at=NOW + timedelta(milliseconds=2))
    note(("3", "b"), at=NOW + timedelta(milliseconds=1))
    note(("x", ""), partition="#0002#" + foreign.ids["accountId"])
    assert cors_errors.noted(PARTITION, [], NOW) == []

    pages, key = [], None
    while key != "":
        result = cloud.call(get_cors_error, {**IDS, "lastEvaluatedKey": key}).body["Result"]
        key = result.pop("lastEvaluatedKey", "")
        pages.append(["".join(error.values()) for error in result["data"]])
    assert [error for page in pages for error in page] == ["4c", "3b", "2a", "1"]
    assert [len(page) for page in pages][:2] == [2, 2]
    no_key = refused("lastEvaluatedKey is not a key of this list")
    assert cloud.call(get_cors_error, {**IDS, "lastEvaluatedKey": "x"}) == no_key


@pytest.mark.parametrize("code", ["", "E0001"])
def test_an_error_is_kept_as_it_came(cloud, account, code):
    note(("訊息 \n", code))

    assert cloud.call(get_cors_error, IDS) == ok({"data": [{"msg": "訊息 \n", "code": code}]})
