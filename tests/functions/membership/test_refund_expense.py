from datetime import timedelta

import pytest

from functions.membership.refund_expense import refund_expense
from kernel import clock
from kernel.tables import Put, commit
from membership.tables import OrderTable, StoreTable
from tests.conftest import NOW
from tests.shops import ACTIVITY, MERCHANT, OTHER_MERCHANT, OWNER, PHONE, STORE, STORED_VALUE, furnish, prolongs
from tests.tills import CODE, DONE, Till, open_shop, overtaken, transactions

ORDER = 71124012814101


@pytest.fixture
def till(cloud):
    return open_shop(cloud, STORED_VALUE, ACTIVITY)


@pytest.fixture
def owner(cloud, till):
    return Till(cloud, OWNER)


def refund(shop, order_no, **more):
    return shop.call(refund_expense, **{"orderNo": order_no, "code": shop.code(), **more})


def refused(shop, order_no, **more):
    return shop.refused(refund_expense, **{"orderNo": order_no, "code": shop.code(), **more})


class TestWhole:
    def test_it_is_answered_and_told_everywhere(self, till):
        till.stored(100, "20.50")
        till.spent("110.25", STORED_VALUE)

        answer = refund(till, ORDER)

        assert (answer.status, answer.body) == (200, {**DONE, "msg": "成功"})
        assert till.card(STORED_VALUE, "principal", "gift", "charged", "invoiceable", "entries", "layout") == (
            10000, 2050, 10000, 10000, 4, 1,
        )  # fmt: skip
        assert till.entries("spending_refund") == [
            {
                "subject": "card#1", "merchant_day": "12#20240128", "merchant_id": 12, "kind": "spending_refund",
                "moves": [["merchant_sales", "customer_principal", 10000], ["merchant_sales", "customer_gift", 1025]],
                "reference": ORDER, "manager_id": 21, "store_id": 3, "user_id": 7, "at": "2024-01-28T06:41:29.006Z",
            }
        ]  # fmt: skip
        assert till.listed("refunds") == [
            {
                "id": 1, "membershipCardId": 3, "title": "外婆味道储值卡", "cardNo": 7924012814100, "userId": 7,
                "nickname": "哈哈", "phone": PHONE, "storeId": 3, "storeName": "外婆味道南屏店", "money": 11025,
                "explain": "消费回退",
            }
        ]  # fmt: skip
        assert till.rows("shifts", "spent", "spending_returned") == [(11025, 11025)]
        order = OrderTable.find(ORDER)
        assert (order.returned_principal, order.returned_gift) == (10000, 1025)
        # The code is used up, the payment stays listed.
        assert till.rows("sms-codes") == []
        assert [row["orderNo"] for row in till.listed("expenses")] == [ORDER]

    def test_the_reason_may_be_told(self, till):
        till.stored()
        till.spent(1, STORED_VALUE)
        refund(till, str(ORDER), explain="菜品有误")

        assert [row["explain"] for row in till.listed("refunds")] == ["菜品有误"]

    def test_the_same_lots_get_back_what_they_gave(self, till):
        till.recharged()
        till.recharged()
        before = till.lots()
        order_no = till.spent(650)
        assert till.lots() == [("finished", 1, 0, 0, 3), ("open", 2, 0, 15000, 2)]

        refund(till, order_no)

        assert till.lots() == before
        assert till.card(ACTIVITY, "principal", "gift", "lots_open", "layout") == (40000, 40000, 2, 1)
        assert till.entries("spending_refund")[0]["moves"] == [
            ["merchant_sales", "customer_principal:2", 20000], ["merchant_sales", "customer_gift:2", 5000],
            ["merchant_sales", "customer_principal:1", 20000], ["merchant_sales", "customer_gift:1", 20000],
        ]  # fmt: skip

    def test_a_lot_that_is_used_up_is_open_again_as_far_as_it_goes(self, till):
        till.recharged()
        till.spent(250)
        last = till.spent(150)

        refund(till, last)

        assert till.lots() == [("open", 1, 0, 15000, 2)]

    def test_it_is_spent_in_order_again(self, till):
        till.recharged()
        till.recharged()
        refund(till, till.spent(300))
        till.spent(250)

        assert till.lots() == [("open", 1, 0, 20000, 1), ("open", 2, 15000, 20000, 1)]


class TestPart:
    def test_principal_and_gift_come_back_in_proportion(self, till):
        till.stored(100, 50)
        till.spent(150, STORED_VALUE)
        seen = []
        for money in ("0.01", "0.01", "74.98", "75"):
            refund(till, ORDER, money=money)
            seen.append(till.balance(STORED_VALUE))

        assert seen == [(1, 0), (1, 1), (5000, 2500), (10000, 5000)]
        assert refused(till, ORDER) == (1, "订单已全部回退")
        assert [row["money"] for row in till.listed("refunds")] == [1, 1, 7498, 7500]

    def test_what_was_taken_last_comes_back_first(self, till):
        till.recharged()
        till.recharged()
        order_no = till.spent(800)
        seen = []
        for _ in range(3):
            refund(till, order_no, money=200)
            seen.append(till.lots())

        assert seen == [
            [("finished", 1, 0, 0, 3), ("open", 2, 10000, 10000, 2)],
            [("finished", 1, 0, 0, 3), ("open", 2, 20000, 20000, 1)],
            [("open", 1, 10000, 10000, 2), ("open", 2, 20000, 20000, 1)],
        ]

    def test_without_an_amount_the_rest_comes_back(self, till):
        till.stored()
        till.spent(100, STORED_VALUE)
        refund(till, ORDER, money="99.99")
        refund(till, ORDER)

        assert [row["money"] for row in till.listed("refunds")] == [9999, 1]
        assert till.balance(STORED_VALUE) == (10000, 0)

    def test_no_more_than_is_left(self, till):
        till.stored()
        till.spent(50, STORED_VALUE)
        refund(till, ORDER, money=20)

        assert refused(till, ORDER, money="30.01") == (1, "订单还可回退 30.00 元")


class TestRefusals:
    def test_the_code_comes_first(self, till):
        till.code()
        for order_no in (ORDER, 1):
            answer = till.call(refund_expense, orderNo=order_no, code="654321")
            assert (answer.status, answer.body["errCode"], answer.body["msg"]) == (200, 1006, "短信验证码错误")
        assert till.rows("sms-codes", "wrong_tries") == [(2,)]

    def test_a_code_is_used_up_by_a_refund_and_by_nothing_else(self, till):
        till.stored()
        till.spent(50, STORED_VALUE)
        till.code()
        for order_no, message in ((1, "订单不存在"), (71024012814100, "此订单不是消费订单")):
            assert till.refused(refund_expense, orderNo=order_no, code=CODE) == (1, message)
        till.data(refund_expense, orderNo=ORDER, code=CODE, money=20)

        assert till.refused(refund_expense, orderNo=ORDER, code=CODE, money=30) == (1006, "短信验证码错误")

    def test_without_a_code_sent(self, till):
        assert till.refused(refund_expense, orderNo=ORDER, code=CODE) == (1006, "短信验证码错误")

    def test_a_lot_that_was_cashed_back(self, till):
        till.recharged()
        order_no = till.spent(400)
        till.cashed_back(1)

        assert refused(till, order_no) == (1, "此消费用过的充值已返现，不能回退")

    def test_another_merchants_order(self, cloud, till):
        till.stored()
        till.spent(50, STORED_VALUE)
        furnish(OTHER_MERCHANT)

        assert refused(Till(cloud, 1021), ORDER) == (1003, "没有权限")
        assert refused(Till(cloud, 1021), 71024012814100) == (1003, "没有权限")

    def test_a_store_that_is_closed(self, till):
        till.stored()
        till.spent(50, STORED_VALUE)
        store = StoreTable.find(MERCHANT, STORE)
        store.active = 0
        commit(Put(store))

        assert refused(till, ORDER) == (1, "门店不存在或已停用")

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"orderNo": ""}, (4, "缺少参数：orderNo")),
            ({"code": None}, (4, "缺少参数：code")),
            ({"money": 0}, (1, "参数错误：money must be greater than 0")),
            ({"token": "x"}, (1002, "需要登录")),
        ],
    )
    def test_what_is_said(self, till, fields, refusal):
        assert refused(till, ORDER, **fields) == refusal


class TestWhoRefunds:
    def test_a_merchants_account_does_it_at_no_store(self, till, owner):
        till.stored()
        till.spent(50, STORED_VALUE)

        refund(owner, ORDER)

        row = till.listed("refunds")[0]
        assert (row["storeId"], row["storeName"]) == (None, None)
        assert sorted(till.rows("shifts", "shift", "manager_id", "spending_returned")) == [
            ("12#0#20240128", 19, 5000), ("12#3#20240128", 21, None),
        ]  # fmt: skip
        assert "store_id" not in till.entries("spending_refund")[0]

    def test_a_store_refunds_its_own_orders_alone(self, cloud, till):
        till.stored()
        till.spent(50, STORED_VALUE)
        other = Till(cloud, 22)
        there = other.spent(30, STORED_VALUE)

        assert refused(other, ORDER) == refused(till, there) == (1, "只能退本店的订单")
        refund(other, there)
        assert [row["storeName"] for row in till.listed("refunds")] == ["外婆味道吾悦店"]


class TestRepetition:
    def test_it_is_done_once_though_its_code_is_used_up(self, till):
        till.stored()
        till.spent(50, STORED_VALUE)
        code = till.code()
        first = till.call(refund_expense, key="one", orderNo=ORDER, code=code, money=20)

        assert till.call(refund_expense, key="one", orderNo=ORDER, code=code, money=20).body == first.body
        assert till.refused(refund_expense, key="one", orderNo=ORDER, code=code, money=21) == (
            1, "Idempotency-Key 已用于另一个请求",
        )  # fmt: skip
        assert till.balance(STORED_VALUE) == (7000, 0)

    def test_without_a_key_it_is_a_second_one_after_three_seconds(self, till):
        till.stored()
        till.spent(50, STORED_VALUE)
        for seconds, left in ((0, 7000), (2, 7000), (3, 9000)):
            with clock.frozen(NOW + timedelta(seconds=seconds)):
                assert refund(till, ORDER, money=20, key="").body["errCode"] == 0
            assert till.balance(STORED_VALUE) == (left, 0)

    @pytest.mark.parametrize("moment", ["BatchGetItem", "UpdateItem"])
    def test_sent_twice_at_once_it_is_done_once_and_both_are_told(self, till, moment):
        till.recharged()
        request = {"key": "one", "orderNo": till.spent(400), "code": till.code()}
        with overtaken(moment, lambda: till.data(refund_expense, **request)):
            answer = till.call(refund_expense, **request)

        assert answer.body == {**DONE, "msg": "成功"}
        assert till.rows("shifts", "spending_returned") == [(40000,)]


class TestAtTheSameTime:
    def test_two_refunds_of_one_order_return_it_once(self, till, owner):
        till.stored()
        till.spent(50, STORED_VALUE)
        with overtaken("UpdateItem", lambda: owner.refunded(ORDER)):
            answer = refund(till, ORDER)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, "订单已全部回退")
        assert till.balance(STORED_VALUE) == (10000, 0)

    def test_two_parts_of_one_order_are_both_returned(self, till, owner):
        till.recharged()
        order_no = till.spent(400)
        with overtaken("UpdateItem", lambda: owner.refunded(order_no, money=100)):
            refund(till, order_no, money=50)

        assert till.lots() == [("open", 1, 7500, 7500, 2)]
        assert till.balance() == (7500, 7500)

    def test_two_refunds_with_one_code_are_one(self, till):
        till.stored()
        first, second = till.spent(50, STORED_VALUE), till.spent(30, STORED_VALUE)
        till.code()
        with overtaken("UpdateItem", lambda: till.data(refund_expense, orderNo=second, code=CODE)):
            answer = till.call(refund_expense, orderNo=first, code=CODE)

        assert answer.body["errCode"] == 1006
        assert till.balance(STORED_VALUE) == (5000, 0)

    def test_two_orders_of_one_lot(self, till, owner):
        till.recharged()
        first, second = till.spent(250), till.spent(150)
        with overtaken("UpdateItem", lambda: owner.refunded(second)):
            refund(till, first)

        assert till.lots() == [("open", 1, 20000, 20000, 1)]
        assert till.card(ACTIVITY, "principal", "gift", "lots_open") == (20000, 20000, 1)

    def test_a_payment_that_uses_the_lot_up(self, till):
        till.recharged()
        first = till.spent(250)
        with overtaken("UpdateItem", lambda: till.spent(150)):
            refund(till, first)

        assert till.lots() == [("open", 1, 20000, 5000, 2)]
        assert till.card(ACTIVITY, "principal", "gift", "lots_open") == (20000, 5000, 1)

    def test_a_payment_from_another_lot_does_not_wait(self, till):
        till.recharged()
        till.recharged()
        first = till.spent(400)
        with transactions() as sizes, overtaken("UpdateItem", lambda: till.spent(100)):
            refund(till, first, money=200)

        assert len(sizes) == 2
        assert till.lots() == [("open", 1, 0, 10000, 2), ("open", 2, 20000, 20000, 1)]

    def test_cash_back_is_paid_or_the_payment_undone_but_not_both(self, till):
        till.recharged()
        order_no = till.spent(400)
        with overtaken("UpdateItem", lambda: till.cashed_back(1)):
            answer = refund(till, order_no)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, "此消费用过的充值已返现，不能回退")
        assert till.lots() == [("finished", 1, 0, 0, 5)]
        assert till.rows("shifts", "cashed_back", "spending_returned") == [(20000, None)]


def test_sessions_are_prolonged(till):
    prolongs(till, refund_expense)
