from datetime import timedelta

import pytest

from functions.membership.refund_recharge import refund_recharge
from kernel import clock
from kernel.tables import Change, commit
from membership.tables import CouponTable, HoldingTable, OrderTable
from tests.conftest import NOW
from tests.shops import ACTIVITY, EVENT_COUPONS, MERCHANT, OTHER_MERCHANT, OWNER, PHONE, STORED_VALUE, furnish, prolongs
from tests.tills import CODE, DONE, Till, open_shop, overtaken

ORDER = 71024012814100


@pytest.fixture
def till(cloud):
    return open_shop(cloud, STORED_VALUE, ACTIVITY)


@pytest.fixture
def owner(cloud, till):
    return Till(cloud, OWNER)


def refund(shop, order_no=ORDER, **more):
    return shop.call(refund_recharge, **{"orderNo": order_no, "code": shop.code(), **more})


def refunded(shop, order_no=ORDER, **more):
    shop.data(refund_recharge, **{"orderNo": order_no, "code": shop.code(), **more})


def refused(shop, order_no=ORDER, **more):
    return shop.refused(refund_recharge, **{"orderNo": order_no, "code": shop.code(), **more})


def redeem(pieces):
    key = HoldingTable.key(7, 2)
    commit(Change(HoldingTable, key, [HoldingTable.quantity.add(-pieces), HoldingTable.redeemed.add(pieces)]))


class TestWhole:
    def test_it_is_answered_and_told_everywhere(self, till):
        till.stored(100, "20.50")

        answer = refund(till)

        assert (answer.status, answer.body) == (200, {**DONE, "msg": "成功"})
        assert till.card(STORED_VALUE, "principal", "gift", "charged", "invoiced", "invoiceable", "entries") == (
            0, 0, 0, 0, 0, 3,
        )  # fmt: skip
        assert till.entries("recharge_refund") == [
            {
                "subject": "card#1", "merchant_day": "12#20240128", "merchant_id": 12, "kind": "recharge_refund",
                "moves": [
                    ["customer_principal", "merchant_cash", 10000], ["customer_gift", "merchant_promotion", 2050],
                    ["invoiceable", "invoice_basis", 10000],
                ],
                "reference": ORDER, "manager_id": 21, "store_id": 3, "user_id": 7, "at": "2024-01-28T06:41:29.006Z",
            }
        ]  # fmt: skip
        assert till.listed("refunds") == [
            {
                "id": 1, "membershipCardId": 3, "title": "外婆味道储值卡", "cardNo": 7924012814100, "userId": 7,
                "nickname": "哈哈", "phone": PHONE, "storeId": 3, "storeName": "外婆味道南屏店", "money": 10000,
                "explain": "充值退款",
            }
        ]  # fmt: skip
        assert till.rows("shifts", "recharged", "recharge_returned", "gift_withdrawn") == [(10000, 10000, 2050)]
        order = OrderTable.find(ORDER)
        assert (order.returned_principal, order.returned_gift) == (10000, 2050)
        assert till.rows("sms-codes") == []
        assert [row["orderNo"] for row in till.listed("recharges")] == [ORDER]

    def test_the_usage_record_is_closed(self, till):
        till.recharged()
        till.recharged()

        refunded(till)

        assert till.lots() == [("finished", 1, 0, 0, 9), ("open", 2, 20000, 20000, 1)]
        assert till.card(ACTIVITY, "principal", "gift", "charged", "invoiceable", "lots_open", "layout") == (
            20000, 20000, 20000, 20000, 1, 0,
        )  # fmt: skip
        assert till.entries("recharge_refund")[0]["moves"] == [
            ["customer_principal:1", "merchant_cash", 20000], ["customer_gift:1", "merchant_promotion", 20000],
            ["invoiceable", "invoice_basis", 20000],
        ]  # fmt: skip
        assert refused(till) == (1, "订单已全部退款")

    def test_what_was_spent_and_returned_may_be_paid_back(self, till):
        till.recharged()
        till.refunded(till.spent(400))

        refunded(till)

        assert till.lots() == [("finished", 1, 0, 0, 9)]

    def test_a_card_without_lots_needs_only_to_hold_enough(self, till):
        till.stored(100, 20)
        till.stored(100, 20)
        till.spent(100, STORED_VALUE)

        refunded(till)

        assert till.balance(STORED_VALUE) == (0, 2000)


class TestPart:
    def test_the_gift_goes_in_proportion(self, till):
        till.stored(100, 50)
        seen = []
        for money in ("0.01", "0.02", "49.97", "50"):
            refunded(till, money=money)
            seen.append(till.card(STORED_VALUE, "principal", "gift", "charged", "invoiceable"))

        assert seen == [
            (9999, 5000, 9999, 9999), (9997, 4999, 9997, 9997), (5000, 2500, 5000, 5000), (0, 0, 0, 0),
        ]  # fmt: skip
        assert [row["money"] for row in till.listed("refunds")] == [1, 2, 4997, 5000]
        assert refused(till) == (1, "订单已全部退款")

    def test_the_rest_of_a_usage_record_is_untouched(self, till):
        till.recharged()

        refunded(till, money=50)

        assert till.lots() == [("open", 1, 15000, 15000, 1)]
        assert till.rows("lots", "brought_principal", "brought_gift") == [(15000, 15000)]
        till.spent(300)
        till.cashed_back(1)
        assert till.entries("cash_back")[0]["moves"] == [["merchant_cash", "cashed_back", 15000]]

    def test_no_more_than_is_left(self, till):
        till.stored()
        refunded(till, money=40)

        assert refused(till, money="60.01") == (1, "订单还可退款 60.00 元")


class TestWhatWasSpent:
    def test_a_card_that_holds_too_little(self, till):
        till.stored(100, 20)
        till.spent(30, STORED_VALUE)
        assert refused(till) == (
            1, "余额不足，不能退款：应退本金 100.00 元、赠送 20.00 元，现有本金 70.00 元、赠送 20.00 元",
        )  # fmt: skip

        till.spent("70.01", STORED_VALUE)
        till.stored(100, 0)
        assert refused(till) == (
            1, "余额不足，不能退款：应退本金 100.00 元、赠送 20.00 元，现有本金 100.00 元、赠送 19.99 元",
        )  # fmt: skip
        refunded(till, money=50)

    def test_a_usage_record_that_was_spent_from(self, till):
        till.recharged()
        till.recharged()
        till.spent(50)

        assert refused(till) == (
            1,
            "此充值已使用，不能退款：应有本金 200.00 元、赠送 200.00 元，现有本金 150.00 元、赠送 200.00 元",
        )
        assert refused(till, money=10)[0] == 1

    def test_a_usage_record_that_is_used_up(self, till):
        till.recharged()
        till.spent(400)
        assert refused(till) == (
            1, "此充值已使用，不能退款：应有本金 200.00 元、赠送 200.00 元，现有本金 0.00 元、赠送 0.00 元",
        )  # fmt: skip

        till.cashed_back(1)
        assert refused(till) == (1, "此充值已返现，不能退款")

    def test_what_was_invoiced(self, till):
        till.stored(100)
        till.invoiced(STORED_VALUE, "40.5")

        assert refused(till) == (1, "应退 100.00 元，未开发票的充值只有 59.50 元，不能退款")
        refunded(till, money="59.5")
        assert till.card(STORED_VALUE, "charged", "invoiced", "invoiceable") == (4050, 4050, 0)


class TestCoupons:
    @pytest.mark.parametrize("product", [STORED_VALUE, ACTIVITY])
    def test_they_are_withdrawn_with_all_of_the_money(self, till, product):
        till.recharged(100, 0, EVENT_COUPONS, product)
        till.recharged(100, 0, EVENT_COUPONS, product)

        refunded(till, money=100)

        assert till.rows("holdings", "quantity", "given", "withdrawn", "entries") == [(2, 4, 2, 3)]
        assert CouponTable.find(MERCHANT, 2).given == 2
        assert [(row["subject"], row["moves"], row["reference"]) for row in till.entries("coupon_withdrawal")] == [
            ("holding#1", [["coupon_held", "coupon_stock", 2]], 2)
        ]
        assert till.rows("shifts", "coupons_given", "coupons_withdrawn") == [(4, 2)]

    @pytest.mark.parametrize("product", [STORED_VALUE, ACTIVITY])
    def test_what_gave_them_is_paid_back_whole_or_not_at_all(self, till, product):
        till.recharged(100, 0, EVENT_COUPONS, product)

        for money in ("0.01", "99.99"):
            assert refused(till, money=money) == (1, "送券的充值只能整单退款")
        assert refused(till, money="100.01") == (1, "订单还可退款 100.00 元")

    def test_used_ones_cannot_be_withdrawn(self, till):
        till.recharged(100, 0, EVENT_COUPONS, STORED_VALUE)
        redeem(1)

        assert refused(till) == (1, "应收回优惠券 2 张，用户只剩 1 张，不能退款")
        assert refused(till, money=99) == (1, "送券的充值只能整单退款")

    def test_used_meanwhile_they_cannot_either(self, till):
        till.recharged(100, 0, EVENT_COUPONS, STORED_VALUE)
        with overtaken("UpdateItem", lambda: redeem(2)):
            answer = refund(till)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, "应收回优惠券 2 张，用户只剩 0 张，不能退款")
        assert till.balance(STORED_VALUE) == (10000, 0)


class TestRefusals:
    def test_the_code_comes_first(self, till):
        till.stored()
        till.code()
        answer = till.call(refund_recharge, orderNo=ORDER, code="654321")

        assert (answer.status, answer.body["errCode"], answer.body["msg"]) == (200, 1006, "短信验证码错误")
        assert till.balance(STORED_VALUE) == (10000, 0)

    def test_which_order(self, cloud, till):
        till.stored()
        expense = till.spent(1, STORED_VALUE)
        furnish(OTHER_MERCHANT)

        assert refused(till, 1) == (1, "订单不存在")
        assert refused(till, expense) == (1, "此订单不是充值订单")
        assert refused(Till(cloud, 1021)) == (1003, "没有权限")
        assert refused(till, token="x") == (1002, "需要登录")
        assert refused(till, orderNo=None) == (4, "缺少参数：orderNo")

    def test_a_merchants_account_may(self, till, owner):
        till.stored()
        refunded(owner)

        assert [row["storeName"] for row in till.listed("refunds")] == [None]
        assert ("12#0#20240128", 10000) in till.rows("shifts", "shift", "recharge_returned")

    def test_a_store_pays_back_its_own_orders_alone(self, cloud, till):
        till.stored()
        other = Till(cloud, 22)
        there = other.stored(50)

        assert refused(other) == refused(till, there) == (1, "只能退本店的订单")
        refunded(other, there)
        assert till.balance(STORED_VALUE) == (10000, 0)


class TestRepetition:
    def test_it_is_done_once(self, till):
        till.stored()
        first = refund(till, key="one", money=10)

        assert till.call(refund_recharge, key="one", orderNo=ORDER, code=CODE, money=10).body == first.body
        assert till.balance(STORED_VALUE) == (9000, 0)

    def test_without_a_key_it_is_a_second_one_after_three_seconds(self, till):
        till.stored()
        for seconds, left in ((0, 9000), (2, 9000), (3, 8000)):
            with clock.frozen(NOW + timedelta(seconds=seconds)):
                assert refund(till, money=10, key="").body["errCode"] == 0
            assert till.balance(STORED_VALUE) == (left, 0)


class TestAtTheSameTime:
    def test_a_payment_leaves_too_little(self, till):
        till.stored(100, 20)
        with overtaken("UpdateItem", lambda: till.spent(10, STORED_VALUE)):
            answer = refund(till)

        assert answer.body["msg"].startswith("余额不足，不能退款")
        assert till.balance(STORED_VALUE) == (9000, 2000)

    def test_a_payment_from_the_usage_record(self, till):
        till.recharged()
        with overtaken("UpdateItem", lambda: till.spent(10)):
            answer = refund(till)

        assert answer.body["msg"].startswith("此充值已使用，不能退款")
        assert till.lots() == [("open", 1, 19000, 20000, 1)]

    def test_a_recharge_does_not_wait(self, till):
        till.recharged()
        with overtaken("UpdateItem", till.recharged):
            refunded(till)

        assert till.card(ACTIVITY, "principal", "gift", "charged", "lots_open") == (20000, 20000, 20000, 1)

    def test_two_of_one_order_pay_it_back_once(self, till, owner):
        till.stored()
        till.stored()
        with overtaken("UpdateItem", lambda: refunded(owner)):
            answer = refund(till)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, "订单已全部退款")
        assert till.balance(STORED_VALUE) == (10000, 0)

    def test_two_parts_of_one_order_are_both_paid_back(self, till, owner):
        till.recharged()
        with overtaken("UpdateItem", lambda: refunded(owner, money=150)):
            refunded(till, money=50)

        assert till.lots() == [("finished", 1, 0, 0, 9)]
        assert till.card(ACTIVITY, "principal", "gift", "charged", "lots_open") == (0, 0, 0, 0)

    def test_an_invoice_is_written_or_the_money_paid_back_but_not_both(self, till):
        till.stored()
        with overtaken("UpdateItem", lambda: till.invoiced(STORED_VALUE, 1)):
            answer = refund(till)

        assert answer.body["msg"] == "应退 100.00 元，未开发票的充值只有 99.00 元，不能退款"
        assert till.card(STORED_VALUE, "charged", "invoiced", "invoiceable") == (10000, 100, 9900)


def test_sessions_are_prolonged(till):
    prolongs(till, refund_recharge)
