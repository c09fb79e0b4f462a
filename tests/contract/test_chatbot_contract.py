"""The chatbot against its contract: every documented operation with its route, caller, request, answer and enums."""

import json
import subprocess
import sys

import pytest

from infra import openapi
from infra.discovery import declarations
from tests.contract.chatbot import (
    ABSENT,
    ADAPTED,
    CONTRACT,
    DOCUMENT,
    DOCUMENTED,
    ROOT,
    TOKENS,
    example_of,
    flaws,
    operation_of,
    request_of,
)
from tests.functions.chatbot.examples import EVENTS, FUNCTIONS, IDS, refused

if not CONTRACT.is_file():
    pytest.skip(ABSENT, allow_module_level=True)

# What is ours; each is told of in docs/decisions/0008-beyond-the-contract.md.
OURS = {
    "GET /c/{token}",
    "GET /exports/{ticket}",
    "POST /createPartnerKey",
    "POST /diffScenarioVersions",
    "POST /estimateBroadcast",
    "POST /exportBot",
    "POST /getBroadcastProgress",
    "POST /getBroadcastRecipients",
    "POST /getClicks",
    "POST /getPartnerKeys",
    "POST /getScenarioVersions",
    "POST /importBot",
    "POST /pauseBroadcast",
    "POST /previewScenario",
    "POST /resumeBroadcast",
    "POST /revokePartnerKey",
    "POST /rollBackScenario",
    "POST /stopBroadcast",
}
# Where links lead that documented answers hold: imgMapfile's (key_formats.image_link) and getUserSegment's liffurl.
LINKED = {
    "GET /images/{category}/{admin_id}/{account_id}/{picture}",
    "GET /images/{category}/{admin_id}/{account_id}/{picture}/{width}",
    "GET /liff/{admin_id}/{account_id}",
}
# Its body is XML, of which a document made of the declarations knows no members.
GAPS = {"chatbot: api/wechat: request does not know xml"}
ACCESS = {"public": "public", "cognito": "cognito", "token": "token", "signature": "signature"}
# Empty, though the contract lets it be the envelope: docs/decisions/0002-line-webhook-answer.md
LINE_WEBHOOK = "api/LineMessage/send"
CHECKS = {
    "GET /api/facebook": ("verify_messenger_webhook", "hub.challenge"),
    "GET /api/wechat": ("verify_wechat_server", "echostr"),
}


@pytest.mark.parametrize(
    ("value", "field", "found"),
    [
        ("a", {"type": "string", "enum": ["a"]}, []),
        ("b", {"type": "string", "enum": ["a"]}, ["v is not in its enumeration: 'b'"]),
        ("red", {"type": "string", "enum_ref": "tag_color"}, ["v is not in its enumeration: 'red'"]),
        ("E9999", {"type": "string", "enum_ref": "cors_error_code"}, []),
        ("2024-01-28T06:04:25Z", {"type": "string", "format": "YYYY-MM-DD HH:MM:SS.ZZZ"},
         ["v is not written as YYYY-MM-DD HH:MM:SS.ZZZ: '2024-01-28T06:04:25Z'"]),
        (1, {"type": "string"}, ["v is no string: 1"]),
        (True, {"type": "integer"}, ["v is no integer: True"]),
        (None, {"type": "string"}, ["v is no string: None"]),
        (None, {"type": "object", "nullable": True}, []),
        ({}, {"type": "null"}, ["v is no null: {}"]),
        ({"b": 1}, {"type": "object", "fields": [{"name": "a", "type": "string"}]},
         ["v.b is not documented", "v.a is missing"]),
        ([1, "a"], {"type": "array", "items": {"type": "string"}}, ["v[0] is no string: 1"]),
        ({"x": 1}, {"type": "object", "additional_properties": {"value": {"type": "string"}}}, ["v.x is no string: 1"]),
        ([{"type": "text", "subtitle": ""}], {"type": "array", "items_ref": "saveScenario.request.nodes"},
         ["v[0].nodeId is missing", "v[0].title is missing"]),
    ],
)  # fmt: skip
def test_differences_are_found(value, field, found):
    assert set(found) <= set(flaws(value, field, "v"))
    assert bool(found) is bool(list(flaws(value, field, "v")))


def test_the_contract_is_whole():
    assert len(DOCUMENTED) == DOCUMENT["operation_count"] == 54


@pytest.mark.parametrize("name", DOCUMENTED)
def test_has_the_documented_route_and_access(name):
    documented = DOCUMENTED[name]
    operation = operation_of(name)

    assert [f"{operation.verb} {path}" for path in operation.paths] == [
        documented["path"],
        *documented.get("path_aliases", []),
    ]
    # Among the partner's operations those that carry a token are opened by it alone (contract, partner_access).
    partner = "token" if "token" in documented.get("access_also", []) else "partner_key"
    assert operation.auth.name == ACCESS.get(documented["access"], partner)


def test_only_what_is_listed_goes_beyond_the_contract():
    routes = {
        f"{operation.verb} {path}" for operation in declarations("chatbot").operations for path in operation.paths
    }
    documented = {
        route.partition(" (")[0]
        for one in DOCUMENTED.values()
        for route in (one["path"], *one.get("path_aliases", []), *one.get("extra_methods", []))
    }

    assert documented <= routes
    assert routes - documented == OURS | LINKED
    told = (ROOT / "docs" / "decisions" / "0008-beyond-the-contract.md").read_text(encoding="utf-8")
    paths = [route.partition(" ")[2] for route in OURS]
    assert [path for path in paths if (path if "{" in path else path[1:]) not in told] == []


def turn(name):
    """Return an operation's place in the order that the document gives: save, get, delete (call_order)."""
    return 1 if name.startswith("get") else 2 if name.startswith("delete") else 0


def test_answers_the_documented_requests_in_the_documented_shape(ask, subtests):
    for name in sorted(DOCUMENTED, key=turn):
        with subtests.test(name):
            check(name, ask(name))


def check(name, answer):
    """Assert that an answer is what the document shows."""
    documented = DOCUMENTED[name]
    response = documented["response"]
    if documented["status"] == "retired":
        assert answer.body == documented["proposed_response_example"]
        assert answer.status == answer.body["ErrorCode"]
        return
    assert answer.status == 200
    if name == LINE_WEBHOOK:
        assert answer.body == ""
        return
    match response["body"]:
        case "csv":
            assert answer.content_type == response["content_type"]
            columns = answer.body.splitlines()[0].split(",")
            # The variables follow, in the order of getVariable (getUserVariableCsv, quirks).
            more = ["employee_count", "apply_count", "var2"] if name == "getUserVariableCsv" else []
            assert columns == [*response["columns"], *more]
        case "raw_json":
            assert answer.body == {}
        case "text":
            assert answer.body == documented["response_example"]
        case "envelope_without_result":
            assert answer.body == documented["response_example"]
        case "envelope":
            assert {**answer.body, "Result": None} == DOCUMENT["envelope"]["success"]
            assert list(flaws(answer.body["Result"], response["Result"], "Result")) == []
            # The check understands what the document itself shows.
            assert list(flaws(documented["response_example"]["Result"], response["Result"], "Result")) == []
            lists = [value for value in (answer.body["Result"] or {}).values() if isinstance(value, list)]
            assert all(lists), "nothing was there whose shape could be wrong"


def test_the_checks_of_the_channels_are_answered(ask):
    routes = {route.partition(" (")[0] for one in DOCUMENTED.values() for route in one.get("extra_methods", [])}

    assert routes == set(CHECKS)
    for route, (name, asked) in CHECKS.items():
        event = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
        answer = FUNCTIONS[name](event, None)
        assert f"{FUNCTIONS[name].verb} {FUNCTIONS[name].path}" == route
        assert (answer["statusCode"], answer["body"]) == (200, event["queryStringParameters"][asked])


def test_saved_nodes_come_back_as_they_were(ask):
    example = example_of("saveScenario")
    ask("saveScenario")

    (found,) = [
        one for one in ask("getScenario").body["Result"]["data"] if one["id"] == example["scenario"]["scenarioId"]
    ]

    assert (found["scenario"], found["nodes"]) == (example["scenario"], example["nodes"])


def test_the_documented_key_of_another_channel_is_refused(ask):
    assert ask("getUsersList", example_of("getUsersList")) == refused(
        "lastEvaluatedKey.adm_acc_id is of another channel"
    )


def test_made_up_tokens_open_nothing(cloud, ask, subtests):
    before = cloud.everything()

    for name in TOKENS:
        with subtests.test(name):
            assert ask(name, example_of(name)).status == 401

    assert cloud.everything() == before


def test_samples_hold_the_documented_requests(subtests):
    for name in DOCUMENTED:
        function = operation_of(name).name
        with subtests.test(name):
            body = json.loads((EVENTS / f"{function}.json").read_text(encoding="utf-8"))["body"]
            example = example_of(name) if name in TOKENS else request_of(name)
            assert (body if isinstance(example, str) else json.loads(body)) == example


def test_every_adaptation_has_its_reason():
    assert set(ADAPTED) <= set(DOCUMENTED)
    assert all(reason for reason, _ in ADAPTED.values())


def test_the_openapi_document_knows_every_request(tmp_path):
    openapi.write(tmp_path)

    tool = ROOT.parent / "shared" / "tools" / "contract_coverage.py"
    done = subprocess.run(
        [sys.executable, str(tool), str(tmp_path), "chatbot"], capture_output=True, text=True, check=False
    )
    counted, *gaps = done.stdout.splitlines()

    assert counted.startswith(f"chatbot: {len(DOCUMENTED)} documented operations, ")
    assert {gap for gap in gaps if gap} - GAPS == set()


def test_retired_operations_tell_everybody_the_same(ask):
    for name, documented in DOCUMENTED.items():
        if documented["status"] == "retired":
            assert [ask(name, body) for body in (IDS, {}, [], "{")] == [refused("operation retired")] * 4
