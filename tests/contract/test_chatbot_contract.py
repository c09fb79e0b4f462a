"""The chatbot against its contract: each operation that exists has the documented route, request, answer and enums."""

import base64
import hmac
import json
import re
from pathlib import Path

import pytest
import yaml

from infra.discovery import camel_case, declarations
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    PARTNER_KEY,
    account_fields,
    add_operator,
    furnish,
    node,
    ok,
    refused,
    scenario,
)

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT.parent / "shared" / "contracts" / "chatbot.yaml"
if not CONTRACT.is_file():
    pytest.skip("the contracts are not beside this checkout (../shared/contracts)", allow_module_level=True)

DOCUMENT = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
DOCUMENTED = {operation["path"]: operation for operation in DOCUMENT["operations"]}
OPERATIONS = {f"{operation.verb} {operation.path}": operation for operation in declarations("chatbot").operations}
ACCESS = {"public": "public", "cognito": "cognito", "partner": "partner_key", "signature": "signature"}
# Required by the document's marks, not by the contract's decisions (quirks), or not worth losing LINE's events for.
OPTIONAL = {("createAccount", "accountClone"), ("api/LineMessage/send", "destination")}
WEBHOOK = "POST /api/LineMessage/send"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
FORMATS = {
    "YYYY-MM-DD HH:MM:SS.ZZZ": TIME,
    "URI": r"https?://\S+",
    "UUID": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "#{adminId}#{accountId}": r"#[^#]+#[0-9A-Za-z_-]+",
    "#{userId}#{YYYY-MM-DD HH:MM:SS.ZZZ}": rf"#[^#]+#{TIME}",
}
TYPES = {"string": str, "integer": int, "number": int, "boolean": bool, "array": list, "object": dict}


def allowed(field):
    """Return the values that a field may have, None for any."""
    if "enum" in field:
        return set(field["enum"])
    if "enum_ref" not in field:
        return None
    enum = DOCUMENT["enums"][field["enum_ref"]]
    return {*enum["values"], *enum.get("also_seen", {})}


def flaws(value, field, path):
    """Yield where a value differs from its documented field: keys, types, formats and enums, all the way down."""
    if value is None and (field.get("nullable") or field["type"] == "null"):
        return
    wanted = TYPES.get(field["type"])
    if wanted is None or not isinstance(value, wanted) or isinstance(value, bool) is not (wanted is bool):
        yield f"{path} is no {field['type']}: {value!r}"
        return
    enum = allowed(field)
    if enum is not None and value not in enum:
        yield f"{path} is not in its enumeration: {value!r}"
    if (pattern := FORMATS.get(field.get("format"))) and not re.fullmatch(pattern, value):
        yield f"{path} is not written as {field['format']}: {value!r}"
    if isinstance(value, dict) and "fields" in field:
        known = {inner["name"]: inner for inner in field["fields"]}
        yield from (f"{path}.{name} is not documented" for name in value.keys() - known.keys())
        # A channel without external settings has `setting: {}` (getAccount, rules).
        missing = known.keys() - value.keys() if value or field.get("name") != "setting" else ()
        yield from (f"{path}.{name} is missing" for name in missing)
        for name in value.keys() & known.keys():
            yield from flaws(value[name], known[name], f"{path}.{name}")
    if isinstance(value, list) and "items" in field:
        for place, inner in enumerate(value):
            yield from flaws(inner, field["items"], f"{path}[{place}]")


@pytest.mark.parametrize(
    ("value", "field", "found"),
    [
        ("a", {"type": "string", "enum": ["a"]}, []),
        ("b", {"type": "string", "enum": ["a"]}, ["v is not in its enumeration: 'b'"]),
        ("red", {"type": "string", "enum_ref": "tag_color"}, ["v is not in its enumeration: 'red'"]),
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
    ],
)  # fmt: skip
def test_differences_are_found(value, field, found):
    assert list(flaws(value, field, "v")) == found


@pytest.fixture
def ask(cloud):
    """Call an operation on a channel that has everything the documented requests talk about."""
    assert cloud.call(FUNCTIONS["create_account"], account_fields(IDS)) == ok()
    furnish()
    head = {"trigger": "keyword", "keywords": ["keyword2"]}
    saved = scenario("21626a18-bd9c-11ee-9576-5e3d17951793", node("n"), **head)
    assert cloud.call(FUNCTIONS["save_scenario"], saved) == ok()

    def call(path, body):
        operation = OPERATIONS[path]
        how = {}
        if operation.auth.name == "partner_key":
            how = {"caller": "", "headers": {"X-Partner-Key": PARTNER_KEY}}
        if operation.auth.name == "signature":
            signature = hmac.digest(b"fake-channel-secret", json.dumps(body, ensure_ascii=False).encode(), "sha256")
            how = {"caller": "", "headers": {"X-Line-Signature": base64.b64encode(signature).decode()}}
            how["query"] = {"adminid": IDS["adminId"], "accountid": IDS["accountId"]}
        return cloud.call(operation, body, **how)

    return call


def changed(path, example):
    """Return the example as it can be answered."""
    if path == "POST /getUsersList":
        # The document's key is of another channel than its accountId, so it is refused (quirks); see below.
        key = {**example["lastEvaluatedKey"], "adm_acc_id": {"S": f"#{IDS['adminId']}#{IDS['accountId']}"}}
        return {**example, "lastEvaluatedKey": key}
    return example


def turn(path):
    """Return an operation's place in the order that the document gives: save, get, delete (call_order)."""
    name = DOCUMENTED[path]["name"]
    return 1 if name.startswith("get") else 2 if name.startswith("delete") else 0


@pytest.mark.parametrize("path", OPERATIONS)
def test_has_the_documented_route_and_access(path):
    documented = DOCUMENTED[path]
    operation = OPERATIONS[path]

    assert documented["status"] == "active"
    assert ACCESS[documented["access"]] == operation.auth.name
    if documented["documentation"] == "full":
        assert documented["name"] == camel_case(operation.name)


def test_answers_the_documented_requests_in_the_documented_shape(cloud, ask, subtests):
    add_operator(cloud, DOCUMENTED["POST /login"]["request_example"]["adminId"], "password")

    for path in sorted(OPERATIONS, key=turn):
        documented = DOCUMENTED[path]
        response = documented["response"]
        with subtests.test(path):
            answer = ask(path, changed(path, documented["request_example"]))

            assert answer.status == 200
            if path == WEBHOOK:
                # Empty, though the contract lets it be the envelope: docs/decisions/0002-line-webhook-answer.md
                assert answer.body == ""
                continue
            if response["body"] == "csv":
                assert answer.content_type == response["content_type"]
                assert answer.body.splitlines()[0].split(",") == response["columns"]
                continue
            assert {**answer.body, "Result": None} == DOCUMENT["envelope"]["success"]
            assert list(flaws(answer.body["Result"], response["Result"], "Result")) == []
            # The check understands what the document itself shows.
            assert list(flaws(documented["response_example"]["Result"], response["Result"], "Result")) == []
            lists = [value for value in (answer.body["Result"] or {}).values() if isinstance(value, list)]
            assert all(lists), "nothing was there whose shape could be wrong"


def test_refuses_requests_that_lack_a_documented_field(cloud, ask, subtests):
    before = cloud.everything()

    for path in OPERATIONS:
        documented = DOCUMENTED[path]
        example = changed(path, documented["request_example"])
        fields = [field["name"] for field in documented["request"]["fields"] if field["required"]]
        with subtests.test(path):
            for name in fields:
                if (documented["name"], name) not in OPTIONAL:
                    body = {field: value for field, value in example.items() if field != name}
                    assert ask(path, body) == refused(f"{name} is required"), name

    assert cloud.everything() == before


def test_the_documented_key_of_another_channel_is_refused(ask):
    path = "POST /getUsersList"

    answer = ask(path, DOCUMENTED[path]["request_example"])

    assert answer == refused("lastEvaluatedKey.adm_acc_id is of another channel")


def test_samples_hold_the_documented_requests():
    events = ROOT / "events" / "chatbot"
    for path, operation in OPERATIONS.items():
        body = json.loads(json.loads((events / f"{operation.name}.json").read_text(encoding="utf-8"))["body"])
        assert body == changed(path, DOCUMENTED[path]["request_example"]), path
