"""Membership cards against their contract: every documented operation with its route, request, answer and formats."""

import json
import re
import subprocess
import sys

import pytest

from infra import openapi
from infra.discovery import declarations
from kernel import clock
from tests.conftest import NOW
from tests.contract.membership import (
    ABSENT,
    ADAPTED,
    CONTRACT,
    DOCUMENT,
    DOCUMENTED,
    ROOT,
    TOKEN,
    Amount,
    example_of,
    flaws,
    functions,
    request_of,
)

if not CONTRACT.is_file():
    pytest.skip(ABSENT, allow_module_level=True)

EVENTS = ROOT / "events" / "membership"
PAGED = {"3.1", "4.1", "4.2", "4.3", "4.4", "8.4"}
TIME = 1706424089006


@pytest.mark.parametrize(
    ("value", "field", "found"),
    [
        (1, {"type": "integer"}, []),
        (1, {"type": "string"}, ["v is no string: 1"]),
        (True, {"type": "integer"}, ["v is no integer: True"]),
        (None, {"type": "string", "nullable": False}, ["v is null"]),
        (None, {"type": "string", "nullable": True}, []),
        (Amount("1.50"), {"type": "money"}, []),
        (Amount("1.5"), {"type": "money"}, ["v has not two decimals: 1.5"]),
        (1, {"type": "money"}, ["v is no money: 1"]),
        (Amount("1.50"), {"type": "string"}, ["v is no string: '1.50'"]),
        ("2020-02-13 13:38:53", {"type": "string", "format": "local"}, []),
        ("2020-02-13 13:38:53", {"type": "string", "format": "iso_utc"},
         ["v is not written as iso_utc: '2020-02-13 13:38:53'"]),
        (12, {"type": "integer", "enum": "card_type"}, ["v is not in its enumeration: 12"]),
        ({"b": 1}, {"type": "object", "fields": [{"name": "a", "type": "string"}]},
         ["v.b is not documented", "v.a is missing"]),
        ([1, "a"], {"type": "array", "items": {"type": "string"}}, ["v[0] is no string: 1"]),
        ({"kind": 3}, {"type": "one_of", "variants": {"x": {"when": "kind = 2"}}}, ["v is none of the variants"]),
    ],
)  # fmt: skip
def test_differences_are_found(value, field, found):
    assert list(flaws(value, field, "v")) == found


def test_the_contract_is_whole():
    assert len(DOCUMENTED) == DOCUMENT["api"]["operations_count"] == 27


@pytest.mark.parametrize("name", DOCUMENTED)
def test_has_the_documented_route_and_access(name):
    documented = DOCUMENTED[name]
    operation = functions()[name]

    assert (operation.verb, operation.path) == (documented["method"], documented["path"])
    assert operation.auth.name == ("public" if documented["access"] == "public" else "token")


@pytest.mark.parametrize("way", ["json", "form", "multipart", "query"])
def test_answers_the_documented_requests_in_the_documented_shape(shop, subtests, way):
    for name in DOCUMENTED:
        with subtests.test(name):
            # A picture comes in a form with parts only.
            check(name, shop.ask(name, request_of(name), way="multipart" if name == "upload_image" else way))


def check(name, told):
    """Assert that an answer is what the document shows."""
    documented = DOCUMENTED[name]
    example, wanted = documented["response_example"], documented["response"].get("data")
    assert (told.status, told.content_type) == (200, "application/json; charset=utf-8")
    assert told.body["errCode"] == 0, told.text
    # The members are those of the example, msg in writes only, pages beside the data.
    assert told.body.keys() == example.keys()
    assert (told.body["result"], told.body["time"]) == (0, TIME)
    assert told.body.get("msg") == example.get("msg")
    assert (documented["id"] in PAGED) is ("total" in told.body)
    if wanted is None:
        assert "data" not in told.body
        return
    assert list(flaws(told.body["data"], wanted, "data")) == []
    # The check understands what the document itself shows, but for the quirks of its figures.
    shown = json.loads(json.dumps(example["data"]), parse_float=lambda text: Amount(f"{float(text):.2f}"))
    assert [flaw for flaw in flaws(shown, wanted, "data") if "is no money" not in flaw] == []
    assert list(empty(told.body["data"], wanted, "data")) == []


def empty(value, field, path):
    """Yield the lists whose rows nobody has seen."""
    if isinstance(value, list):
        if not value:
            yield path
        for number, item in enumerate(value):
            yield from empty(item, field["items"], f"{path}[{number}]")
    if isinstance(value, dict):
        for inner in field.get("fields", []):
            yield from empty(value[inner["name"]], inner, f"{path}.{inner['name']}")


def test_every_other_documented_example_is_answered_in_its_shape(shop, subtests):
    more = [(name, one) for name, documented in DOCUMENTED.items() for one in documented.get("more_examples", [])]

    assert more
    for name, one in more:
        with subtests.test(name, request=one["request"]):
            told = shop.ask(name, one["request"])
            assert told.body["errCode"] == 0
            assert list(flaws(told.body["data"], DOCUMENTED[name]["response"]["data"], "data")) == []


def test_the_token_is_found_wherever_it_stands(shop):
    for headers in ({"token": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}):
        assert shop.ask("list_stores", {}, headers=headers).body["errCode"] == 0
    # The body wins over the query.
    assert shop.ask("list_stores", {"token": "unknown"}, headers={"token": TOKEN}).body["errCode"] == 1002


def test_pages_are_told_beside_the_data(shop, subtests):
    paged = [name for name, documented in DOCUMENTED.items() if documented["id"] in PAGED]

    for name in paged:
        request = {"token": TOKEN}
        whole = shop.ask(name, request).body
        assert (whole["pageNum"], whole["pageSize"]) == (1, 14)
        assert whole["total"] >= 1, name
        for number, size, shown in ((0, 0, (1, 1)), (2, 101, (2, 100)), (-3, -1, (1, 1)), (9, 3, (9, 3))):
            with subtests.test(name, number=number, size=size):
                told = shop.ask(name, {**request, "pageNum": number, "pageSize": size}).body
                assert (told["pageNum"], told["pageSize"]) == shown
                assert told["total"] == whole["total"]
                assert told["pages"] == -(-whole["total"] // shown[1])
                rows = told["data"] if isinstance(told["data"], list) else told["data"][ROWS[name]]
                assert len(rows) == max(0, min(shown[1], whole["total"] - (shown[0] - 1) * shown[1]))


ROWS = {"list_recharges": "chargeReVo", "list_expenses": "expenseReVo"}


def test_only_what_is_listed_goes_beyond_the_contract():
    routes = {f"{one.verb} {path}" for one in declarations("membership").operations for path in one.paths}
    documented = {f"{one['method']} {one['path']}" for one in DOCUMENTED.values()}

    assert documented <= routes
    beyond = {route for route in routes - documented if not route.partition(" ")[2].startswith("/admin/")}
    assert beyond == OURS


# What is ours beside the back office: the pictures that answers link to, another password, the close of a day.
OURS = {
    "GET /item/{date}/{file}",
    "POST /web/manage/user/password",
    "POST /web/manage/v3/closing/add",
    "POST /web/manage/v3/closing/list",
}


def test_every_adaptation_has_its_reason():
    assert set(ADAPTED) <= set(DOCUMENTED)
    assert all(reason for reason, _ in ADAPTED.values())


def test_samples_hold_the_documented_requests(subtests):
    for name in DOCUMENTED:
        if name == "upload_image":
            continue
        with subtests.test(name):
            event = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
            assert json.loads(event["body"]) == example_of(name)


def test_the_openapi_document_knows_every_request(tmp_path):
    openapi.write(tmp_path)

    tool = ROOT.parent / "shared" / "tools" / "contract_coverage.py"
    done = subprocess.run(
        [sys.executable, str(tool), str(tmp_path), "membership"], capture_output=True, text=True, check=False
    )
    counted, *gaps = done.stdout.splitlines()

    assert counted.startswith(f"membership: {len(DOCUMENTED)} documented operations, ")
    assert [gap for gap in gaps if gap] == []


def test_amounts_have_two_decimals_and_times_are_milliseconds(shop):
    told = shop.ask("get_user_cards", {"token": TOKEN, "userId": 7})

    amounts = re.findall(r'"(?:balance|capital|send|capitalBalance|sendBalance)": ?([^,}\]]+)', told.text)
    assert amounts
    assert all(re.fullmatch(r"-?\d+\.\d\d|null", amount) for amount in amounts)
    assert re.search(r'"time": ?\d{13}\b', told.text)
    assert clock.now() == NOW
