import pytest

from functions.membership.reset_pay_password import reset_pay_password
from functions.membership.search_customers import search_customers
from functions.membership.update_card import update_card
from functions.membership.update_customer import update_customer
from kernel import clock
from kernel.tables import Put, commit
from membership import pay_passwords
from membership.faults import Refused
from membership.tables import CardTable, HoldingTable
from tests.shops import MERCHANT, OTHER_MERCHANT, PASSWORD, PHONE, customer, furnish, office, office_refused

NOW = "2024-01-28T06:41:29.006+0000"
WHERE = {"merchant": "12"}
SUMMARY = {
    "id": 8, "cardId": 3, "cardNo": 7919121420122, "title": "外婆味道储值卡", "type": 10, "balance": 123.45,
    "principal": 100.0, "gift": 23.45, "charged": 200.0, "invoiceable": 150.0, "grade": "白银", "summaryGrade": None,
    "storeId": 3, "storeName": "外婆味道南屏店", "created": NOW,
}  # fmt: skip
COUPON = {"num": 5, "couponId": 2, "title": "50 元优惠券", "quantity": 3, "redeemed": 1}
PERSON = {
    "userId": 7, "phone": PHONE, "nickname": "哈哈", "avatar": None, "created": None, "cards": [SUMMARY],
    "coupons": [COUPON],
}  # fmt: skip


def card(number=8, merchant_id=MERCHANT, product_id=3):
    row = CardTable(
        owner=f"{merchant_id}#{PHONE}", product_id=product_id, id=number, card_no=7919121420122, user_id=7, phone=PHONE,
        merchant_id=merchant_id, type=10, password_hash=pay_passwords.hashed("0" * 32), principal=10000, gift=2345,
        charged=20000, invoiced=5000, invoiceable=15000, grade="白银", store_id=3, store_name="外婆味道南屏店",
        created_at=clock.now(),
    )  # fmt: skip
    commit(Put(row))


@pytest.fixture
def shop(cloud):
    furnish()
    furnish(OTHER_MERCHANT)
    customer()
    customer(1007, merchant_id=OTHER_MERCHANT)
    card()
    card(1008, OTHER_MERCHANT, 1003)
    held = {"num": 5, "merchant_id": MERCHANT, "quantity": 3, "given": 4, "redeemed": 1, "entries": 2}
    commit(Put(HoldingTable(user_id=7, coupon_id=2, **held)))
    return cloud


def test_a_customer_is_found_by_his_phone(shop):
    assert office(shop, search_customers, {"phone": PHONE}, path=WHERE) == {"items": [PERSON], "cursor": None}


def test_a_customer_has_more_than_a_page_of_cards_and_coupons(shop):
    for number in range(100, 250):
        card(number, product_id=number)
        held = {"num": number, "merchant_id": MERCHANT, "quantity": 1, "given": 1, "entries": 1}
        commit(Put(HoldingTable(user_id=7, coupon_id=number, **held)))

    (found,) = office(shop, search_customers, {"phone": PHONE}, path=WHERE)["items"]

    assert [one["id"] for one in found["cards"]] == [8, *range(100, 250)]
    assert [one["num"] for one in found["coupons"]] == [5, *range(100, 250)]


@pytest.mark.parametrize("phone", ["13800000008", "13900000007"])
def test_nobody_is_found(shop, phone):
    assert office(shop, search_customers, {"phone": phone}, path=WHERE) == {"items": [], "cursor": None}


def test_a_part_of_a_phone_number_finds_nothing(shop):
    assert office_refused(shop, search_customers, {"phone": "138"}, path=WHERE)[0] == 400


def test_a_customer_is_changed(shop):
    where = {**WHERE, "customer": "7"}

    changed = office(shop, update_customer, {"nickname": "路遥😴😴", "avatar": "https://x.cn/a.jpg"}, path=where)

    assert changed == {**PERSON, "nickname": "路遥😴😴", "avatar": "https://x.cn/a.jpg"}
    assert office(shop, update_customer, {"avatar": None}, path=where) == {**PERSON, "nickname": "路遥😴😴"}
    assert [entry["subject"] for entry in shop.rows("audit")] == ["customers/7"] * 2


def test_a_card_gets_a_grade(shop):
    where = {**WHERE, "card": "8"}

    changed = office(shop, update_card, {"grade": None, "summaryGrade": "九折"}, path=where)

    assert changed == {**SUMMARY, "grade": None, "summaryGrade": "九折"}
    assert [entry["subject"] for entry in shop.rows("audit")] == ["cards/8"]
    before = shop.everything()
    assert office(shop, update_card, {"summaryGrade": "九折"}, path=where) == changed
    assert shop.everything() == before


@pytest.mark.parametrize(("body", "digest"), [({}, PASSWORD), ({"digest": "A" * 32}, "a" * 32)])
def test_a_pay_password_is_reset(shop, body, digest):
    (locked,) = CardTable.query(8, index=type(CardTable.by_id)).rows
    with pytest.raises(Refused):
        pay_passwords.check(locked, pay_passwords.Presented("1" * 32), None)

    assert office(shop, reset_pay_password, body, path={**WHERE, "card": "8"}) == SUMMARY

    assert shop.rows("rates") == []
    kept = next(row for row in shop.rows("cards") if row["id"] == 8)["password_hash"]
    assert pay_passwords.fits(kept, digest)
    (entry,) = shop.rows("audit")
    assert (entry["subject"], entry["actor"]) == ("cards/8/password", "0001")


@pytest.mark.parametrize(
    ("operation", "body", "variable", "numbers", "thing"),
    [
        (update_customer, {"nickname": "x"}, "customer", ("1007", "99"), "customer"),
        (update_card, {"grade": "x"}, "card", ("1008", "99"), "card of a customer"),
        (reset_pay_password, {}, "card", ("1008", "99"), "card of a customer"),
    ],
)
def test_another_merchants_are_not_there(shop, operation, body, variable, numbers, thing):
    for number in numbers:
        refusal = office_refused(shop, operation, body, path={**WHERE, variable: number})
        assert refusal == (404, 404, f"There is no such {thing}")
