"""Every sample event of the back office is answered as its operation promises."""

import json

import pytest

from infra.discovery import ROOT, declarations
from kernel import clock, files, numbering, sign_in
from kernel.imports import FILES, ImportTable
from kernel.tables import Put, commit
from membership.tables import CardTable
from tests.shops import PHONE, customer, furnish

EVENTS = ROOT / "events" / "membership"
WORKERS = {worker.name: worker for worker in declarations("membership").workers}
OPERATIONS = {operation.name: operation for operation in declarations("membership").operations}
THINGS = ("account", "store", "product", "event", "coupon")
OURS = [
    *("admin_login", "list_merchants", "create_merchant", "get_merchant", "update_merchant"),
    *(f"list_merchant_{thing}s" for thing in THINGS),
    *(f"{verb}_{thing}" for verb in ("create", "get", "update") for thing in THINGS),
    *(f"set_{thing}_state" for thing in THINGS if thing != "event"),
    *("set_account_password", "search_customers", "update_customer", "update_card", "reset_pay_password"),
    *("create_import", "get_import", "set_import_state"),
]


def sample(name):
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


def begun(state="waiting"):
    row = ImportTable(tenant="12", id=1, kind="customers", state=state, step=1)
    row.created_at = row.updated_at = clock.now()
    commit(Put(row))
    files.put(FILES, row.path, f"phone\n{PHONE}\n13800000008\n".encode(), "text/csv")


@pytest.fixture
def shop(cloud):
    furnish()
    customer()
    sign_in.add_user("boss", "Right-1-password")
    card = CardTable(
        owner=f"12#{PHONE}", product_id=3, id=8, card_no=7919121420122, user_id=7, phone=PHONE, merchant_id=12, type=10,
        password_hash="none",
    )  # fmt: skip
    commit(Put(card))
    begun()
    for sequence in ("coupons", "imports"):
        numbering.take(sequence, 10)
    return cloud


@pytest.mark.parametrize("name", OURS)
def test_is_answered(shop, name):
    operation, event = OPERATIONS[name], sample(name)

    answer = operation(event, None)

    assert answer["statusCode"] == 200, answer["body"]
    body = json.loads(answer["body"])
    assert (body["errCode"], body["result"]) == (0, 0)
    assert (event["httpMethod"], event["resource"]) == (operation.verb, operation.path)


def test_a_message_is_worked_on(shop):
    begun("checking")

    assert WORKERS["run_import"](sample("run_import"), None) == {"batchItemFailures": []}
    (row,) = shop.rows("imports")
    assert (row["state"], row["good"], row["existing"]) == ("checked", 1, 1)
