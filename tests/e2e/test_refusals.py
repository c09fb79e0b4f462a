import http.client
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.caller import Caller
from local.line_webhook import follow_event, signature, text_event, webhook_body

UNAUTHORIZED = {"ErrorCode": 401, "ErrorMessage": "Unauthorized", "Result": None}


def envelope(code: int, message: str) -> dict[str, Any]:
    return {"ErrorCode": code, "ErrorMessage": message, "Result": None}


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_no_valid_token_is_401(stack: Any, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    answer = Caller(stack.base).call("getAccount", {"adminId": "0001"}, headers)

    assert (answer.status, answer.content_type, answer.json) == (401, "application/json; charset=utf-8", UNAUTHORIZED)


def test_an_unknown_route_answers_in_the_envelope(stack: Any) -> None:
    answer = Caller(stack.base).call("noSuchOperation", {})

    assert (answer.status, answer.json) == (400, envelope(400, "No such operation"))


def test_another_verb_answers_in_the_envelope(stack: Any) -> None:
    address = urlsplit(f"{stack.base}/getAccount")
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    connection.request("GET", address.path)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()

    assert (reply.status, text) == (400, '{"ErrorCode":400,"ErrorMessage":"No such operation","Result":null}')


def test_a_foreign_tenant_is_401(stack: Any) -> None:
    answer = stack.operator().call("getAccount", {"adminId": "0002"})

    assert (answer.status, answer.json) == (401, UNAUTHORIZED)


def test_a_foreign_channel_is_not_found(stack: Any) -> None:
    foreign = stack.tenants["chatbotOther"].accountId

    answer = stack.operator().call("getScenario", {"adminId": "0001", "accountId": foreign})

    assert (answer.status, answer.json) == (400, envelope(400, "accountId not found"))


def test_a_partner_key_opens_its_own_tenant_only(stack: Any) -> None:
    period = {"startTime": "2020-01-01 00:00:00", "endTime": "2030-01-01 00:00:00"}
    key = {"X-Partner-Key": stack.tenants["chatbot"].partnerKey}
    own, other = stack.tenants["chatbot"], stack.tenants["chatbotOther"]

    allowed = Caller(stack.base).call(
        "getChatHistoryCsv", {"adminId": own.adminId, "accountId": own.accountId, **period}, key
    )
    refused = Caller(stack.base).call(
        "getChatHistoryCsv", {"adminId": other.adminId, "accountId": other.accountId, **period}, key
    )

    assert (allowed.status, allowed.content_type) == (200, "text/csv; charset=utf-8")
    assert (refused.status, refused.json) == (401, UNAUTHORIZED)


def test_a_wrong_signature_is_401_and_nothing_happens(channel: Any) -> None:
    body = webhook_body([follow_event("U" + "1" * 32)])

    answer = Caller(channel.stack.base).call(
        channel.webhook_operation, body, {"x-line-signature": signature("wrong", body)}
    )

    assert (answer.status, answer.json) == (401, UNAUTHORIZED)
    assert channel.result("getUsersList") == {"data": [], "count": 0, "lastEvaluatedKey": None}


def test_a_webhook_without_signature_is_401(channel: Any) -> None:
    answer = Caller(channel.stack.base).call(channel.webhook_operation, webhook_body([]))

    assert (answer.status, answer.json) == (401, UNAUTHORIZED)


def test_another_channels_secret_does_not_sign(channel: Any) -> None:
    body = webhook_body([text_event("U" + "1" * 32, "hello")])
    secret = channel.stack.tenants["chatbot"].accountSecret

    answer = Caller(channel.stack.base).call(
        channel.webhook_operation, body, {"x-line-signature": signature(secret, body)}
    )

    assert (answer.status, answer.json) == (401, UNAUTHORIZED)


def test_a_flawed_scenario_names_every_flaw(channel: Any) -> None:
    scenario = {"scenarioId": "", "scenarioName": 1, "trigger": "sometimes"}
    node = {"nodeId": "n", "type": "text", "title": "t", "level": "1", "sort": 1, "template": {"type": "text"}}

    answer = channel.operator.call(
        "saveScenario",
        {
            "adminId": "0001",
            "accountId": channel.account_id,
            "scenario": scenario,
            "nodes": [node, {**node, "nextNode": "x"}],
        },
    )

    flaws = answer.json["ErrorMessage"].split("; ")
    assert answer.status == 400
    assert sorted(flaw.partition(" ")[0] for flaw in flaws) == [
        "nodes[0].template.text",
        "nodes[1].nextNode",
        "nodes[1].nodeId",
        "nodes[1].template.text",
        "scenario.scenarioName",
        "scenario.trigger",
    ]
    assert channel.result("getScenario") == {"data": []}
