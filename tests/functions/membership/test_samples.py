"""Every sample event gets its answer, with exactly the calls to AWS that are written here.

The signing key, which a process reads once, is there. One call more or less changes what an operation costs, so
somebody has to want it. The back office's samples are those of `test_admin_samples` and `test_admin_imports`.
"""

import json

import pytest

from infra.discovery import ROOT, declarations
from kernel import aws, files
from kernel.settings import settings
from local.sms_simulator import sms_simulator
from membership import pictures
from tests.contract.membership import Shop, at
from tests.functions.membership.test_admin_samples import OURS as OFFICE

EVENTS = ROOT / "events" / "membership"
HERE = ROOT / "tests" / "functions" / "membership"
FUNCTIONS = {function.name: function for function in declarations("membership").functions}
READ, SEVERAL, QUERY, UPDATE, DELETE = "GetItem", "BatchGetItem", "Query", "UpdateItem", "DeleteItem"
COMMIT, CHECK_PASSWORD = "TransactWriteItems", "AdminInitiateAuth"
STORE, FETCH, PUT, SECRET = "PutObject", "GetObject", "PutItem", "GetSecretValue"
# Who sends it: his session and his account.
WHO = [READ, READ]
# A password that is tried: the try is counted, and forgotten when it was right.
TRIED = [UPDATE, CHECK_PASSWORD, DELETE]
CALLS = {
    "add_invoice": [*WHO, QUERY, SEVERAL, UPDATE, COMMIT],
    "change_password": [*WHO, READ, *TRIED, UPDATE, "AdminSetUserPassword", UPDATE],
    "confirm_cash_back": [*WHO, QUERY, SEVERAL, COMMIT],
    "explain_card": [QUERY, READ, QUERY, QUERY, READ],
    "get_event_detail": [*WHO, READ, READ],
    "get_manager_info": [*WHO, READ],
    "get_user_card_detail": [*WHO, QUERY, SEVERAL],
    "get_user_cards": [*WHO, QUERY, QUERY, SEVERAL, QUERY, QUERY],
    "give_coupon": [*WHO, SEVERAL, READ, UPDATE, COMMIT],
    "list_card_events": [*WHO, READ, SEVERAL, SEVERAL],
    "list_card_invoices": [*WHO, QUERY, SEVERAL, QUERY],
    "list_expenses": [*WHO, READ, QUERY],
    "list_giftable_coupons": [*WHO, QUERY, SEVERAL],
    "list_openable_cards": [*WHO, QUERY, SEVERAL, SEVERAL, SEVERAL],
    "list_recharges": [*WHO, READ, QUERY],
    "list_refunds": [*WHO, READ, QUERY],
    "list_stores": [*WHO, SEVERAL],
    "login": [UPDATE, READ, READ, *TRIED, UPDATE, COMMIT],
    "open_card": [*WHO, SEVERAL, UPDATE, UPDATE, COMMIT],
    "recharge_card": [*WHO, SEVERAL, UPDATE, UPDATE, UPDATE, COMMIT],
    "redeem_coupon": [*WHO, QUERY, SEVERAL, COMMIT],
    "refund_expense": [*WHO, SEVERAL, READ, SEVERAL, UPDATE, COMMIT],
    "refund_recharge": [*WHO, SEVERAL, READ, SEVERAL, UPDATE, COMMIT],
    "scan_qrcode": [*WHO, QUERY, SEVERAL, SEVERAL],
    "search_invoices": [*WHO, READ, QUERY],
    "search_users": [*WHO, READ, QUERY, SEVERAL],
    "send_sms_code": [*WHO, READ, UPDATE, UPDATE, UPDATE, SECRET, PUT],
    "show_card_code": [QUERY],
    "show_coupon_code": [QUERY],
    "show_item": [FETCH],
    "spend_from_card": [*WHO, SEVERAL, QUERY, UPDATE, UPDATE, COMMIT],
    "upload_image": [UPDATE, UPDATE, STORE],
}


def sample(name):
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def shop(cloud, monkeypatch):
    with sms_simulator(keys={"id": "secret"}) as double:
        monkeypatch.setenv("SMS_API_ENDPOINT", double.url)
        settings.cache_clear()
        yield Shop(cloud, monkeypatch)


@pytest.fixture
def calls():
    made = []
    aws.observers.append(made.append)
    yield made
    aws.observers.remove(made.append)


@pytest.mark.parametrize("name", CALLS)
def test_is_answered(shop, calls, name):
    operation, event = FUNCTIONS[name], sample(name)
    if name == "show_item":
        files.put(pictures.ITEMS, event["path"].removeprefix("/item/"), b"picture", "image/jpeg")
    shop.first(name)
    calls.clear()

    answer = operation(event, None)

    assert [call.action for call in calls] == CALLS[name]
    assert answer["statusCode"] == 200, answer["body"]
    if answer["headers"]["Content-Type"].startswith("application/json"):
        assert json.loads(answer["body"])["errCode"] == 0, answer["body"]
    assert (event["httpMethod"], event["resource"]) == (operation.verb, operation.path)


@pytest.mark.parametrize("name", ["pack_list", "prove_merchant"])
def test_a_message_is_worked_on(shop, name):
    # The night of the sample; five years later there were as many days to seal.
    with at("2019-12-20T19:00:05"):
        assert FUNCTIONS[name](sample(name), None) == {"batchItemFailures": []}


@pytest.mark.parametrize("name", ["request_packing", "prove_books"])
def test_a_schedule_is_kept(shop, name):
    with at("2019-12-20T19:00:00"):
        assert FUNCTIONS[name](sample(name), None) is None


def test_every_function_has_a_sample_and_every_sample_a_test():
    kept = {path.stem for path in EVENTS.iterdir()}
    others = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py") if path.name != __file__)

    assert kept == set(FUNCTIONS)
    assert {name for name in kept - set(CALLS) if name not in OFFICE and f'"{name}"' not in others} == set()
