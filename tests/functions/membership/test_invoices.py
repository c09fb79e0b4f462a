"""Invoices: writing one down (8.2), those of a card (8.1), the card on the invoice screen (8.3)."""

from datetime import timedelta

import pytest

from functions.membership.add_invoice import add_invoice
from functions.membership.get_user_card_detail import get_user_card_detail
from functions.membership.list_card_invoices import list_card_invoices
from kernel import clock
from kernel.tables import Put, commit
from membership.tables import CustomerTable, ProductTable
from tests.conftest import NOW
from tests.shops import (
    ACTIVITY,
    MERCHANT,
    OTHER_MERCHANT,
    OWNER,
    PHONE,
    STORE,
    STORED_VALUE,
    Shop,
    calls_made,
    customer,
    furnish,
    prolongs,
)
from tests.tills import DONE, Till, open_shop, overtaken

PICTURE = "/item/191220/bb4d7cbb-7658-4088-87dd-ac0add78af63.jpg"
CARD = {"userId": 7, "cardId": STORED_VALUE}
INVOICE = {**CARD, "amount": 90.00, "image": PICTURE}


@pytest.fixture
def till(cloud):
    till = open_shop(cloud, STORED_VALUE, ACTIVITY)
    till.stored(100, 20)
    return till


class TestAdd:
    def test_it_is_answered_and_told_everywhere(self, till):
        answer = till.call(add_invoice, **INVOICE)

        assert (answer.status, answer.body) == (200, {**DONE, "msg": "添加成功"})
        assert till.card(STORED_VALUE, "principal", "gift", "charged", "invoiced", "invoiceable", "entries") == (
            10000, 2000, 10000, 9000, 1000, 3,
        )  # fmt: skip
        assert till.rows("invoices") == [
            {
                "card_id": 1, "id": 1, "amount": 9000, "summary": "", "image": PICTURE, "store_id": 3,
                "store_name": "外婆味道南屏店", "created_at": "2024-01-28T06:41:29.006Z",
            }
        ]  # fmt: skip
        assert till.entries("invoice") == [
            {
                "subject": "card#1", "merchant_day": "12#20240128", "merchant_id": 12, "kind": "invoice",
                "moves": [["invoiceable", "invoiced", 9000]], "reference": 1, "manager_id": 21, "store_id": 3,
                "user_id": 7, "at": "2024-01-28T06:41:29.006Z",
            }
        ]  # fmt: skip
        assert till.listed("invoices") == [
            {
                "id": 1, "membershipCardId": 3, "title": "外婆味道储值卡", "cardNo": 7924012814100, "userId": 7,
                "nickname": "哈哈", "phone": PHONE, "storeId": 3, "storeName": "外婆味道南屏店", "amount": 9000,
                "summary": "", "image": PICTURE,
            }
        ]  # fmt: skip
        assert till.rows("shifts", "invoiced") == [(9000,)]

    def test_it_is_written_with_a_note_and_by_a_merchants_account(self, cloud, till):
        Shop(cloud, OWNER).data(add_invoice, **INVOICE, summary="餐饮")

        assert till.rows("invoices", "summary", "store_id", "store_name") == [("餐饮", None, None)]
        assert [(row["summary"], row["storeId"]) for row in till.listed("invoices")] == [("餐饮", None)]

    def test_for_no_more_than_was_paid_in(self, till):
        till.data(add_invoice, **{**INVOICE, "amount": "99.99"})
        assert till.refused(add_invoice, **INVOICE) == (1, "可开票金额只剩 0.01 元")
        till.data(add_invoice, **{**INVOICE, "amount": "0.01"})

        assert till.refused(add_invoice, **{**INVOICE, "amount": "0.01"}) == (1, "可开票金额只剩 0.00 元")

    def test_which_card(self, cloud, till):
        assert till.refused(add_invoice, **{**INVOICE, "userId": 8}) == (1005, "用户不存在")
        assert till.refused(add_invoice, **{**INVOICE, "cardId": 99}) == (1, "会员卡不存在")
        furnish(OTHER_MERCHANT)
        assert till.refused(add_invoice, **{**INVOICE, "cardId": 1003}) == (1003, "没有权限")
        assert Shop(cloud, 1021).refused(add_invoice, **INVOICE) == (1003, "没有权限")
        commit(Put(ProductTable(merchant_id=MERCHANT, id=5, title="卡", admin_id=OWNER, type=10, store_ids=[STORE])))
        assert till.refused(add_invoice, **{**INVOICE, "cardId": 5}) == (1, "该用户没有此会员卡")

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"image": ""}, (4, "缺少参数：image")),
            ({"amount": None}, (4, "缺少参数：amount")),
            ({"amount": 0}, (1, "参数错误：amount must be greater than 0")),
            ({"summary": "x" * 501}, (1, "参数错误：summary must have at most 500 characters")),
            ({"token": "x"}, (1002, "需要登录")),
        ],
    )
    def test_what_is_said(self, till, fields, refusal):
        assert till.refused(add_invoice, **{**INVOICE, **fields}) == refusal

    def test_it_is_done_once(self, till):
        first = till.call(add_invoice, key="one", **INVOICE)

        assert till.call(add_invoice, key="one", **INVOICE).body == first.body
        assert till.refused(add_invoice, key="one", **{**INVOICE, "amount": 1}) == (
            1, "Idempotency-Key 已用于另一个请求",
        )  # fmt: skip
        assert till.card(STORED_VALUE, "invoiced") == (9000,)

    def test_without_a_key_it_is_a_second_one_after_three_seconds(self, till):
        for seconds in (0, 2, 3):
            with clock.frozen(NOW + timedelta(seconds=seconds)):
                assert till.call(add_invoice, key="", **{**INVOICE, "amount": 10}).body["errCode"] == 0

        assert till.card(STORED_VALUE, "invoiced", "invoiceable") == (2000, 8000)

    def test_two_at_once_stay_within_what_was_paid_in(self, cloud, till):
        other = Till(cloud, OWNER)
        with overtaken("UpdateItem", lambda: other.invoiced(STORED_VALUE, 60)):
            answer = till.call(add_invoice, **{**INVOICE, "amount": 60})
        assert (answer.body["errCode"], answer.body["msg"]) == (1, "可开票金额只剩 40.00 元")

        with calls_made() as calls, overtaken("UpdateItem", lambda: other.invoiced(STORED_VALUE, 10)):
            till.data(add_invoice, **{**INVOICE, "amount": 30})
        assert calls.count("TransactWriteItems") == 2
        assert till.card(STORED_VALUE, "invoiced", "invoiceable") == (10000, 0)


class TestList:
    def test_the_newest_come_first_with_what_is_left(self, till):
        till.data(add_invoice, **{**INVOICE, "amount": 10})
        with clock.frozen(NOW + timedelta(minutes=1)):
            till.data(add_invoice, **{**INVOICE, "amount": "80.5", "summary": "餐饮"})

        answer = till.call(list_card_invoices, **CARD)

        assert (answer.status, answer.body) == (200, {**DONE, "data": {
            "totalCharge": 100.0, "totalInvoice": 90.5, "amount": 9.5,
            "invoiceVos": [
                {"id": 2, "amount": 80.5, "summary": "餐饮", "storeId": 3, "storeName": "外婆味道南屏店",
                 "created": "2024-01-28 14:42:29", "image": PICTURE},
                {"id": 1, "amount": 10.0, "summary": "", "storeId": 3, "storeName": "外婆味道南屏店",
                 "created": "2024-01-28 14:41:29", "image": PICTURE},
            ],
        }})  # fmt: skip

    def test_what_was_paid_back_leaves_the_total(self, till):
        till.paid_back(till.stored(50, 0))
        till.spent(90, STORED_VALUE)

        assert till.data(list_card_invoices, **CARD) == {
            "totalCharge": 100.0, "totalInvoice": 0.0, "amount": 100.0, "invoiceVos": [],
        }  # fmt: skip

    def test_amounts_have_two_decimals(self, till):
        text = list_card_invoices(
            {"headers": {"token": till.token}, "body": '{"userId":7,"cardId":3}', "requestContext": {}}, None
        )["body"]

        assert '{"totalCharge":100.00,"totalInvoice":0.00,"amount":100.00,"invoiceVos":[]}' in text

    def test_all_stores_of_the_merchant_see_it(self, cloud, till):
        seen = [Shop(cloud, manager).data(list_card_invoices, **CARD)["totalCharge"] for manager in (22, 23, OWNER)]

        assert seen == [100.0] * 3


class TestDetail:
    def test_the_card_with_what_can_be_invoiced(self, till):
        row = CustomerTable.find(MERCHANT, PHONE)
        row.nickname, row.avatar = "路遥😴😴", "https://wx.qlogo.cn/order/comment/20190923/1569232138231132-600-600.jpg"
        commit(Put(row))
        till.recharged()
        till.invoiced(ACTIVITY, "0.5")

        answer = till.call(get_user_card_detail, userId="7", cardId=str(ACTIVITY))

        assert (answer.status, answer.body) == (200, {**DONE, "data": {
            "id": 2, "membershipCardId": 4, "userId": 7, "qrcodeType": None, "phone": PHONE, "balance": 199.5,
            "created": "2024-01-28 14:41:29", "cardNo": 7924012814101, "title": "外婆味道活动卡",
            "summary": "<p>活动卡活动卡</p>", "colour": "#E43B19",
            "logo": "/item/191213/747d5de2-5415-4c70-812f-e1a87ff27184.jpeg", "type": 11, "storeIds": "3,4",
            "grade": None, "summaryGrade": None, "capital": None, "send": None, "code": None,
            "avatar": "https://wx.qlogo.cn/order/comment/20190923/1569232138231132-600-600.jpg",
            "nickname": "路遥😴😴", "storeName": "外婆味道南屏店",
        }})  # fmt: skip


@pytest.mark.parametrize("operation", [list_card_invoices, get_user_card_detail], ids=lambda operation: operation.name)
def test_cards_that_are_not_there(cloud, till, operation):
    customer(8, "13800000008")
    furnish(OTHER_MERCHANT)

    assert till.refused(operation, userId=8, cardId=STORED_VALUE) == (1, "该用户没有此会员卡")
    assert till.refused(operation, userId=7, cardId=99) == (1, "会员卡不存在")
    assert till.refused(operation, userId=7, cardId=1003) == (1003, "没有权限")
    assert till.refused(operation, userId=9, cardId=STORED_VALUE) == (1005, "用户不存在")
    assert Shop(cloud, 1021).refused(operation, **CARD) == (1003, "没有权限")
    assert till.refused(operation, userId="", cardId=STORED_VALUE) == (4, "缺少参数：userId")
    assert till.refused(operation, **CARD, token="x") == (1002, "需要登录")


def test_sessions_are_prolonged(till):
    prolongs(till, add_invoice, list_card_invoices, get_user_card_detail)
