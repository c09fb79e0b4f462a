"""What the contract of membership cards has refused: each documented cause with its code, and nothing is written."""

from datetime import timedelta

import pytest

from kernel import clock
from kernel.tables import Put, commit
from membership.tables import CouponTable, ManagerTable, StoreTable
from tests.conftest import NOW
from tests.contract.membership import (
    ABSENT,
    CONTRACT,
    DOCUMENTED,
    FOREIGN,
    FOREIGN_PHONE,
    TOKEN,
    call,
    request_of,
    session,
)
from tests.shops import CASHIER, OWNER

if not CONTRACT.is_file():
    pytest.skip(ABSENT, allow_module_level=True)

FAILED, LACKING, LOGIN, DENIED, NO_USER, WRONG_CODE = 1, 4, 1002, 1003, 1005, 1006
WITH_TOKEN = [name for name, one in DOCUMENTED.items() if one["access"] != "public"]
UNKNOWN = 987654
NOBODY = "13999999999"


def parameters(name, *, required=False):
    """Return the documented parameters beside the token; those with a default may be left out."""
    fields = [field for field in DOCUMENTED[name]["request"] if field["name"] != "token"]
    return [field for field in fields if not required or (field["required"] and field["default"] is None)]


def test_no_session_is_told_before_anything_else(shop, subtests):
    for name in WITH_TOKEN:
        with subtests.test(name):
            for token in (..., "", "unknown", "7171d718-0c30-4fd0-9a6b-53a865be71a6"):
                assert shop.refused(name, {"token": token}) == (LOGIN, "需要登录")
                assert shop.refused(name, {**request_of(name), "token": token, "pageNum": "x"})[0] == LOGIN


def test_sessions_end_when_they_are_not_used(shop):
    with clock.frozen(NOW + timedelta(days=7)):
        assert shop.refused("list_stores", {"token": TOKEN}) == (LOGIN, "需要登录")


def test_required_parameters_that_are_missing_or_empty(shop, subtests):
    for name in DOCUMENTED:
        for field in parameters(name, required=True):
            with subtests.test(name, field=field["name"]):
                # A form cannot say null.
                for value in (..., "") if name == "upload_image" else (..., "", None):
                    code, message = shop.refused(name, {**request_of(name), field["name"]: value})
                    assert (code, field["name"] in message) == (LACKING, True), message


def test_parameters_with_a_default_may_be_missing_or_empty(shop, subtests):
    for name in DOCUMENTED:
        needed = [field["name"] for field in parameters(name, required=True)]
        for field in parameters(name):
            if field["name"] in needed or (name, field["name"]) in NEEDED_HERE:
                continue
            with subtests.test(name, field=field["name"]):
                for value in (..., ""):
                    told = shop.ask(name, {**request_of(name), field["name"]: value})
                    assert told.body["errCode"] == 0, told.text


# What the example's activity card needs, though other cards do not.
NEEDED_HERE = {("recharge_card", "eventId")}


def test_an_activity_card_is_not_recharged_without_an_event(shop):
    code, message = shop.refused("recharge_card", {**request_of("recharge_card"), "eventId": ...})

    assert (code, message) == (LACKING, "缺少参数：eventId")


# Values that no parameter of a kind takes.
UNUSABLE = {
    "int": ["abc", "1.5", [], True],
    "long": ["abc", "1.5", {}, True],
    "bigdecimal": ["abc", "1.234", -1, "1e3", [], True],
}
UNUSABLE_TEXTS = {
    "mainland mobile number, 11 digits": ["1380000000", "138000000077", "abc"],
    "MD5, 32 hex digits": ["abc", "Z" * 32, "A" * 33],
    "MD5 of the plain password, 32 hex digits": ["abc", "Z" * 32],
}
OUT_OF_RANGE = {
    ("recharge_card", "recharge"): [0, "0.00", "99999999999"],
    ("recharge_card", "send"): [-0.01],
    ("spend_from_card", "expense"): [0],
    ("add_invoice", "amount"): [0],
    ("give_coupon", "quantity"): [0, -1, 1001],
    ("upload_image", "module"): [2],
    ("scan_qrcode", "qrcode"): ["nonsense", "LYQ3:1", "LYQ2:", "LYQ2:1:0:AAAAAAAAAAAAAAAA"],
}


def test_values_that_cannot_be_used(shop, subtests):
    for name in DOCUMENTED:
        for field in parameters(name):
            values = [
                *UNUSABLE.get(field["type"].lower(), []),
                *UNUSABLE_TEXTS.get(field["format"], []),
                *OUT_OF_RANGE.get((name, field["name"]), []),
            ]
            for value in values:
                if name == "upload_image" and not isinstance(value, str | int):
                    continue
                with subtests.test(name, field=field["name"], value=value):
                    assert shop.refused(name, {**request_of(name), field["name"]: value})[0] == FAILED


def test_bodies_that_are_not_understood_are_a_matter_of_http(shop, subtests):
    for name in WITH_TOKEN:
        with subtests.test(name):
            for text in ("{", "[]", '"token"'):
                told = call(name, {}, text=text)
                assert (told.status, told.body["errCode"], told.body["result"]) == (400, 400, 1)


# Ids of another merchant, and what they are there.
FOREIGN_REQUESTS = {
    "open_card": {"membershipCardId": FOREIGN["card"]},
    "list_card_events": {"cardId": FOREIGN["card"]},
    "recharge_card": {"cardId": FOREIGN["card"]},
    "spend_from_card": {"cardId": FOREIGN["card"]},
    "refund_expense": {"orderNo": FOREIGN["expense"]},
    "refund_recharge": {"orderNo": FOREIGN["recharge"]},
    "get_event_detail": {"eventId": FOREIGN["event"]},
    "get_user_cards": {"userId": FOREIGN["user"]},
    "confirm_cash_back": {"storeMemberEventId": FOREIGN["lot"]},
    "scan_qrcode": {"qrcode": f"LYQ2:{FOREIGN['num']}"},
    "redeem_coupon": {"num": FOREIGN["num"]},
    "give_coupon": {"couponId": FOREIGN["coupon"]},
    "list_card_invoices": {"userId": FOREIGN["user"]},
    "add_invoice": {"userId": FOREIGN["user"]},
    "get_user_card_detail": {"userId": FOREIGN["user"]},
}
MORE_FOREIGN_REQUESTS = [
    ("recharge_card", {"eventId": FOREIGN["event"]}),
    ("list_card_invoices", {"cardId": FOREIGN["card"]}),
    ("add_invoice", {"cardId": FOREIGN["card"]}),
    ("get_user_card_detail", {"cardId": FOREIGN["card"]}),
]


def test_what_another_merchant_has_is_denied(shop, subtests):
    for name, changes in [*FOREIGN_REQUESTS.items(), *MORE_FOREIGN_REQUESTS]:
        with subtests.test(name, **changes):
            assert shop.refused(name, {**request_of(name), **changes}) == (DENIED, "没有权限")


def test_another_merchants_records_are_absent_from_lists(shop, subtests):
    for name in ("list_recharges", "list_expenses", "list_refunds", "search_users", "search_invoices"):
        with subtests.test(name):
            assert shop.ask(name, {"token": TOKEN, "phone": FOREIGN_PHONE}).body["total"] == 0


# What is addressed and not there.
ABSENT_REQUESTS = {
    "login": {"username": "nobody"},
    "open_card": {"membershipCardId": UNKNOWN},
    "list_card_events": {"cardId": UNKNOWN},
    "recharge_card": {"cardId": UNKNOWN},
    "spend_from_card": {"cardId": UNKNOWN},
    "refund_expense": {"orderNo": UNKNOWN},
    "refund_recharge": {"orderNo": UNKNOWN},
    "get_event_detail": {"eventId": UNKNOWN},
    "get_user_cards": {"userId": UNKNOWN},
    "confirm_cash_back": {"storeMemberEventId": UNKNOWN},
    "scan_qrcode": {"qrcode": f"LYQ1:{UNKNOWN}"},
    "redeem_coupon": {"num": UNKNOWN},
    "give_coupon": {"couponId": UNKNOWN},
    "list_card_invoices": {"userId": UNKNOWN},
    "add_invoice": {"userId": UNKNOWN},
    "get_user_card_detail": {"userId": UNKNOWN},
}


def test_what_is_not_there(shop, subtests):
    for name, changes in ABSENT_REQUESTS.items():
        with subtests.test(name, **changes):
            wanted = NO_USER if {"userId", "username"} & changes.keys() else FAILED
            assert shop.refused(name, {**request_of(name), **changes})[0] == wanted


def test_customers_and_cards_that_are_not_there(shop, subtests):
    for name in ("recharge_card", "spend_from_card", "give_coupon"):
        with subtests.test(name):
            # The other merchant's customer is nobody's here.
            for phone in (NOBODY, FOREIGN_PHONE):
                assert shop.refused(name, {**request_of(name), "phone": phone}) == (NO_USER, "用户不存在")
    for name in ("list_card_invoices", "add_invoice", "get_user_card_detail"):
        with subtests.test(name):
            assert shop.refused(name, {**request_of(name), "cardId": UNKNOWN})[0] == FAILED


def test_accounts_without_the_permission(shop, subtests):
    for name in WITH_TOKEN:
        with subtests.test(name):
            shop.first(name)
            row = ManagerTable.find(CASHIER)
            path = DOCUMENTED[name]["doc_path"]
            row.permissions = [right for right in row.permissions if right.partition(":")[0] != path]
            commit(Put(row))
            told = call(name, request_of(name))
            # One may look at oneself without a right.
            assert told.body["errCode"] == (0 if name == "get_manager_info" else DENIED)


def test_wrong_codes(shop, subtests):
    for name in ("refund_expense", "refund_recharge"):
        for changes in ({"code": "654321"}, {"code": "x"}, {"code": "654321", "orderNo": UNKNOWN}):
            with subtests.test(name, **changes):
                assert shop.refused(name, {**request_of(name), **changes}) == (WRONG_CODE, "短信验证码错误")
        with subtests.test(name, code="used"):
            shop.first(name)
            assert call(name, request_of(name)).body["errCode"] == 0
            assert call(name, request_of(name), headers={"Idempotency-Key": "x"}).body["errCode"] == WRONG_CODE
        with subtests.test(name, code="expired"), clock.frozen(NOW + timedelta(minutes=5)):
            assert shop.refused(name, request_of(name))[0] == WRONG_CODE


# Rules of the business that a change of the documented request breaks.
RULES = [
    ("M3.4-4", "list_card_events", {"cardId": UNKNOWN}),
    ("M3.5-1", "recharge_card", {"recharge": 199.99}),
    ("M3.5-1", "recharge_card", {"send": 200.01}),
    ("M3.5-4", "recharge_card", {"cardId": 3}),
    ("M3.6-2", "spend_from_card", {"expense": 601.00}),
    ("M3.6-2", "spend_from_card", {"password": "0" * 32}),
    ("M3.7-3", "refund_expense", {"orderNo": 71019122016110}),
    ("M3.9-2", "refund_recharge", {"orderNo": 71119122016113}),
    ("M3.9-3", "refund_recharge", {"orderNo": 71019122016109}),
    ("M4.6-4", "confirm_cash_back", {"storeMemberEventId": 9}),
    ("M8.2-2", "add_invoice", {"amount": 100.01}),
    ("M8.1-3", "list_card_invoices", {"cardId": UNKNOWN}),
]


@pytest.mark.parametrize(("rule", "name", "changes"), RULES)
def test_rules_of_the_business(shop, rule, name, changes):
    if rule == "M4.6-4":
        # Used up there; here it still holds money.
        shop.first("spend_from_card")
        told = call(name, {**request_of(name), **changes})
        assert told.body["errCode"] == FAILED
        return
    assert shop.refused(name, {**request_of(name), **changes})[0] == FAILED


def test_what_is_done_once_is_not_done_again(shop, subtests):
    for name in ("open_card", "refund_expense", "refund_recharge", "confirm_cash_back"):
        with subtests.test(name):
            shop.first(name)
            assert call(name, request_of(name), headers={"Idempotency-Key": "1"}).body["errCode"] == 0
            shop.code()
            told = call(name, request_of(name), headers={"Idempotency-Key": "2"})
            assert told.body["errCode"] == FAILED


def test_stores_where_something_is_not_valid(shop, subtests):
    """Store 5 is none of the cards' and none of coupon 2's (X3)."""
    for name in ("open_card", "recharge_card", "spend_from_card", "redeem_coupon"):
        with subtests.test(name):
            shop.first(name)
            session(23)
            if name == "redeem_coupon":
                coupon = CouponTable.find(12, 1)
                coupon.store_ids = [4, 3]
                commit(Put(coupon))
            assert call(name, request_of(name)).body["errCode"] == FAILED


def test_an_account_of_the_whole_merchant_stands_at_no_till(shop, subtests):
    for name in ("open_card", "recharge_card", "spend_from_card", "redeem_coupon"):
        with subtests.test(name):
            shop.first(name)
            session(OWNER)
            assert call(name, request_of(name)).body["errCode"] == FAILED


def test_stores_that_are_closed(shop, subtests):
    for name in ("open_card", "recharge_card", "spend_from_card", "redeem_coupon"):
        with subtests.test(name):
            shop.first(name)
            store = StoreTable.find(12, 3)
            store.active = 0
            commit(Put(store))
            assert call(name, request_of(name)).body["errCode"] == FAILED


def test_coupons_that_are_over(shop, subtests):
    for changes in ({"status": 0}, {"date": NOW - timedelta(days=2)}):
        with subtests.test(**{name: str(value) for name, value in changes.items()}):
            shop.first("give_coupon")
            for coupon_id in (1, 2):
                coupon = CouponTable.find(12, coupon_id)
                for name, value in changes.items():
                    setattr(coupon, name, value)
                commit(Put(coupon))
            assert call("give_coupon", request_of("give_coupon")).body["errCode"] == FAILED
            # What a customer has is his until its last day.
            wanted = FAILED if "date" in changes else 0
            assert call("redeem_coupon", request_of("redeem_coupon")).body["errCode"] == wanted


def test_signing_in(shop):
    example = request_of("login")

    assert shop.refused("login", {**example, "password": "0" * 32})[0] == FAILED
    assert shop.ask("login", {**example, "password": example["password"].lower()}).body["errCode"] == 0
    shop.first("login")
    account = ManagerTable.find(2)
    account.active = 0
    commit(Put(account))
    assert call("login", example).body["errCode"] == DENIED


def test_files_that_are_no_pictures(shop):
    for data in (b"GIF89a", b"<svg/>", b"", b"\xff\xd8\xff"):
        assert shop.refused("upload_image", {"module": 1, "file": data})[0] in (FAILED, LACKING)
