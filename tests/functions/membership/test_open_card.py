import hashlib

import pytest

from functions.membership.open_card import open_card
from kernel.tables import Put, commit
from membership import pay_passwords
from membership.tables import CardTable, ProductTable, owner_key
from tests.shops import (
    ACTIVITY,
    MERCHANT,
    OTHER_MERCHANT,
    OWNER,
    PHONE,
    STORED_VALUE,
    Shop,
    customer,
    furnish,
    prolongs,
)
from tests.tills import DONE, open_shop, overtaken

PASSWORD = "E10ADC3949BA59ABBE56E057F20F883E"


@pytest.fixture
def till(cloud):
    return open_shop(cloud)


def opened(shop, product=ACTIVITY, **more):
    return shop.call(open_card, phone=PHONE, membershipCardId=product, **more)


def kept_password(product=ACTIVITY):
    return CardTable.find(owner_key(MERCHANT, PHONE), product).password_hash


def test_a_card_is_opened_with_the_password_that_was_chosen(till):
    answer = opened(till, password=PASSWORD)

    assert (answer.status, answer.body) == (200, {**DONE, "msg": "开卡成功"})
    assert till.card(ACTIVITY) == {
        "owner": "12#13800000007", "product_id": 4, "id": 1, "card_no": 7924012814100, "merchant_id": 12, "user_id": 7,
        "phone": PHONE, "type": 11, "password_hash": kept_password(), "principal": 0, "gift": 0, "charged": 0,
        "invoiced": 0, "invoiceable": 0, "entries": 1, "layout": 0, "lots_open": 0, "store_id": 3,
        "store_name": "外婆味道南屏店", "created_at": "2024-01-28T06:41:29.006Z",
    }  # fmt: skip
    assert till.entries("opening") == [
        {
            "subject": "card#1", "merchant_day": "12#20240128", "merchant_id": 12, "kind": "opening", "moves": [],
            "manager_id": 21, "store_id": 3, "user_id": 7, "at": "2024-01-28T06:41:29.006Z",
        }
    ]  # fmt: skip
    assert till.rows("shifts", "shift", "manager_id", "operations") == [("12#3#20240128", 21, 1)]
    assert pay_passwords.fits(kept_password(), PASSWORD.lower())
    assert PASSWORD.lower() not in str(till.cloud.everything()).lower()


@pytest.mark.parametrize("more", [{}, {"password": ""}, {"password": None}])
def test_without_a_password_the_phones_last_six_digits_are_it(till, more):
    opened(till, **more)

    assert pay_passwords.fits(kept_password(), "27701BD8DD141B953B94A5C9A44697C0")
    assert not pay_passwords.fits(kept_password(), hashlib.md5(b"000008").hexdigest())


def test_what_is_kept_tells_no_password(till):
    first = opened(till, key="one", password=PASSWORD)
    fingerprints = till.rows("repeats", "fingerprint")

    assert opened(till, key="one", password=PASSWORD).body == first.body
    assert till.refused(open_card, key="one", phone=PHONE, membershipCardId=ACTIVITY, password="0" * 32) == (
        1, "Idempotency-Key 已用于另一个请求",
    )  # fmt: skip
    assert opened(till, key="one", password=PASSWORD.lower()).body == first.body
    said = f'{{"membershipCardId":4,"password":"{PASSWORD.lower()}","phone":"{PHONE}"}}'
    plain = hashlib.sha256(f'{{"operation":"open_card","request":{said}}}'.encode()).hexdigest()
    assert fingerprints != [(plain,)]


def test_the_other_name_of_the_card_is_taken_where_the_first_is_missing(till):
    till.data(open_card, phone=PHONE, cardId=STORED_VALUE)
    till.data(open_card, phone=PHONE, membershipCardId=ACTIVITY, cardId=STORED_VALUE)

    assert sorted(till.rows("cards", "product_id")) == [(3,), (4,)]


def test_by_either_name_it_is_the_same_request(till):
    first = till.call(open_card, key="one", phone=PHONE, membershipCardId=ACTIVITY)

    assert till.call(open_card, key="one", phone=PHONE, cardId=ACTIVITY).body == first.body
    assert till.call(open_card, key="one", phone=PHONE, membershipCardId=ACTIVITY, cardId=STORED_VALUE).body == (
        first.body
    )
    assert till.rows("cards", "product_id") == [(4,)]


def test_an_unknown_phone_makes_a_customer_who_is_listed_once(till):
    for product in (STORED_VALUE, ACTIVITY):
        till.data(open_card, phone="13800000008", membershipCardId=product)

    assert sorted(till.rows("customers", "phone", "user_id", "nickname", "listed"), key=str) == [
        (PHONE, 7, "哈哈", False), ("13800000008", 1, None, True),
    ]  # fmt: skip
    assert till.rows("listed", "book", "phone") == [("customers#merchant#12", "13800000008")]
    assert [row["userId"] for row in till.listed("customers")] == [1]
    assert sorted(till.rows("cards", "card_no", "user_id")) == [(7924012814100, 1), (7924012814101, 1)]


def test_a_customer_without_cards_is_listed_with_his_first(till):
    opened(till)

    assert till.rows("customers", "user_id", "nickname", "listed") == [(7, "哈哈", True)]
    assert [row["userId"] for row in till.listed("customers")] == [7]


def test_a_customer_has_one_card_of_a_kind(till):
    opened(till)

    assert till.refused(open_card, phone=PHONE, membershipCardId=ACTIVITY) == (1, "该用户已有此会员卡")


def test_another_merchants_customers_are_others(cloud, till):
    furnish(OTHER_MERCHANT)
    customer(8, merchant_id=OTHER_MERCHANT)
    opened(till)

    Shop(cloud, 1021).data(open_card, phone=PHONE, membershipCardId=1000 + ACTIVITY)

    assert sorted(till.rows("cards", "merchant_id", "user_id", "store_id")) == [(12, 7, 3), (13, 8, 1003)]
    assert till.refused(open_card, phone=PHONE, membershipCardId=1000 + ACTIVITY) == (1003, "没有权限")


def test_cards_that_cannot_be_opened(cloud, till):
    product = ProductTable.find(MERCHANT, ACTIVITY)
    product.active = 0
    commit(Put(product))

    assert till.refused(open_card, phone=PHONE, membershipCardId=ACTIVITY) == (1, "会员卡已停用")
    assert till.refused(open_card, phone=PHONE, membershipCardId=99) == (1, "会员卡不存在")
    assert Shop(cloud, 23).refused(open_card, phone=PHONE, membershipCardId=STORED_VALUE) == (1, "此门店不可使用")
    assert Shop(cloud, OWNER).refused(open_card, phone=PHONE, membershipCardId=STORED_VALUE) == (
        1, "商户账号没有门店，不能在此操作",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"phone": ""}, (4, "缺少参数：phone")),
        ({"membershipCardId": ""}, (4, "缺少参数：membershipCardId")),
        ({"phone": "23800000007"}, (1, "参数错误：phone has characters or a form that is not allowed here")),
        ({"password": "123456"}, (1, "参数错误：password has characters or a form that is not allowed here")),
        ({"token": ""}, (1002, "需要登录")),
    ],
)
def test_what_is_said(till, fields, refusal):
    assert till.refused(open_card, **{"phone": PHONE, "membershipCardId": ACTIVITY, **fields}) == refusal


class TestAtTheSameTime:
    def test_two_of_one_kind_are_one(self, till):
        with overtaken("UpdateItem", lambda: opened(till)):
            answer = opened(till)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, "该用户已有此会员卡")
        assert len(till.rows("cards")) == len(till.entries("opening")) == 1

    def test_a_new_customers_first_two_make_him_once(self, till):
        new = {"phone": "13800000008"}
        with overtaken("UpdateItem", lambda: till.data(open_card, membershipCardId=STORED_VALUE, **new)):
            till.data(open_card, membershipCardId=ACTIVITY, **new)

        made = [row["user_id"] for row in till.rows("customers") if row["phone"] == "13800000008"]
        assert len(made) == 1
        assert till.rows("cards", "user_id") == [(made[0],)] * 2
        assert [row["userId"] for row in till.listed("customers")] == [made[0]]

    def test_a_known_customers_first_two_list_him_once(self, till):
        with overtaken("UpdateItem", lambda: opened(till, STORED_VALUE)):
            opened(till, ACTIVITY)

        assert [row["userId"] for row in till.listed("customers")] == [7]


def test_sessions_are_prolonged(till):
    prolongs(till, open_card)
