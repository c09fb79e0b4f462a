from datetime import timedelta

import pytest

from functions.membership.recharge_card import recharge_card
from kernel import clock
from kernel.tables import Change, Put, commit
from membership import lots
from membership.tables import CardTable, CouponTable, EventTable, ProductTable, owner_key
from tests.conftest import NOW
from tests.shops import (
    ACTIVITY,
    EVENT_200,
    EVENT_COUPONS,
    IMAGE,
    MERCHANT,
    OTHER_MERCHANT,
    OWNER,
    PHONE,
    STORED_VALUE,
    Shop,
    calls_made,
    furnish,
    prolongs,
)
from tests.tills import DONE, open_shop, overtaken

STORED = {"phone": PHONE, "cardId": STORED_VALUE, "recharge": 100, "send": "20.50", "image": IMAGE}
ACTIVE = {"phone": PHONE, "cardId": ACTIVITY, "recharge": 200, "send": 200, "eventId": EVENT_200, "image": IMAGE}
WITH_COUPONS = {"phone": PHONE, "recharge": "100.00", "send": 0, "eventId": EVENT_COUPONS, "image": IMAGE}


@pytest.fixture
def till(cloud):
    return open_shop(cloud, STORED_VALUE, ACTIVITY)


def change(table, row_id, **facts):
    row = table.find(MERCHANT, row_id)
    for name, value in facts.items():
        setattr(row, name, value)
    commit(Put(row))


class TestWhatIsWritten:
    def test_a_recharge_with_a_gift(self, till):
        answer = till.call(recharge_card, **STORED)

        assert (answer.status, answer.body) == (200, {**DONE, "msg": "充值成功"})
        assert till.card(STORED_VALUE, "principal", "gift", "charged", "invoiced", "invoiceable", "entries") == (
            10000, 2050, 10000, 0, 10000, 2,
        )  # fmt: skip
        assert till.entries("recharge") == [
            {
                "subject": "card#1", "merchant_day": "12#20240128", "merchant_id": 12, "kind": "recharge",
                "moves": [
                    ["merchant_cash", "customer_principal", 10000], ["merchant_promotion", "customer_gift", 2050],
                    ["invoice_basis", "invoiceable", 10000],
                ],
                "order_no": 71024012814100, "manager_id": 21, "store_id": 3, "user_id": 7,
                "at": "2024-01-28T06:41:29.006Z",
            }
        ]  # fmt: skip
        assert till.listed("recharges") == [
            {
                "id": 1, "membershipCardId": 3, "title": "外婆味道储值卡", "cardNo": 7924012814100, "userId": 7,
                "nickname": "哈哈", "phone": PHONE, "storeId": 3, "storeName": "外婆味道南屏店", "memberEventId": None,
                "eventName": None, "rechargeMoney": 10000, "sendMoney": 2050, "type": 2, "explain": "余额充值",
                "orderNo": 71024012814100, "image": IMAGE,
            }
        ]  # fmt: skip
        assert till.rows("orders", "order_no", "kind", "principal", "gift", "coupon_id") == [
            (71024012814100, "recharges", 10000, 2050, None)
        ]
        assert till.rows("shifts", "recharged", "gifted", "operations") == [(10000, 2050, 3)]
        assert till.lots() == []

    def test_one_of_an_activity_card_is_a_usage_record(self, till):
        with calls_made() as calls:
            till.data(recharge_card, **ACTIVE)

        assert calls.count("TransactWriteItems") == 1
        assert till.card(ACTIVITY, "principal", "gift", "charged", "invoiceable", "lots_open") == (
            20000, 20000, 20000, 20000, 1,
        )  # fmt: skip
        assert till.rows("lots") == [
            {
                "place": "2#open", "id": 1, "card_id": 2, "merchant_id": 12, "owner": "12#13800000007", "product_id": 4,
                "event_id": 9, "order_no": 71024012814100, "brought_principal": 20000, "brought_gift": 20000,
                "principal": 20000, "gift": 20000, "status": 1, "created_at": "2024-01-28T06:41:29.006Z",
            }
        ]  # fmt: skip
        assert till.entries("recharge")[0]["moves"] == [
            ["merchant_cash", "customer_principal:1", 20000], ["merchant_promotion", "customer_gift:1", 20000],
            ["invoice_basis", "invoiceable", 20000],
        ]  # fmt: skip
        assert [(row["memberEventId"], row["eventName"]) for row in till.listed("recharges")] == [
            (9, "充200 送200 返200")
        ]

    @pytest.mark.parametrize("product", [STORED_VALUE, ACTIVITY])
    def test_coupons_of_the_event_are_given(self, till, product):
        for _ in range(2):
            till.data(recharge_card, cardId=product, **WITH_COUPONS)

        assert till.balance(product) == (20000, 0)
        assert till.rows("holdings", "user_id", "coupon_id", "num", "quantity", "given", "entries") == [
            (7, 2, 1, 4, 4, 2)
        ]
        assert CouponTable.find(MERCHANT, 2).given == 4
        assert [(entry["subject"], entry["moves"]) for entry in till.entries("coupon_gift")] == [
            ("holding#1", [["coupon_stock", "coupon_held", 2]])
        ] * 2
        assert till.rows("orders", "coupon_id", "coupon_pieces") == [(2, 2)] * 2
        assert till.rows("shifts", "coupons_given") == [(4,)]

    def test_a_form_is_taken_as_well(self, cloud, till):
        form = {name: str(value) for name, value in ACTIVE.items()} | {"token": till.token}

        assert cloud.call(recharge_card, form=form, caller="").body == {**DONE, "msg": "充值成功"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"eventId": None}, (4, "缺少参数：eventId")),
            ({"eventId": 99}, (1, "活动不存在")),
            ({"eventId": 1009}, (1003, "没有权限")),
            ({"recharge": "200.01"}, (1, "充值金额与赠送金额必须与活动一致")),
            ({"send": 0}, (1, "充值金额与赠送金额必须与活动一致")),
        ],
    )
    def test_the_event_of_an_activity_card(self, till, fields, refusal):
        furnish(OTHER_MERCHANT)

        assert till.refused(recharge_card, **{**ACTIVE, **fields}) == refusal

    def test_an_event_that_is_not_for_this_card(self, till):
        other = (1, "此会员卡不能参加该活动")

        assert till.refused(recharge_card, **{**ACTIVE, "cardId": STORED_VALUE}) == other
        change(ProductTable, STORED_VALUE, event_ids=[EVENT_200])
        assert till.refused(recharge_card, **{**ACTIVE, "cardId": STORED_VALUE}) == other
        change(EventTable, EVENT_200, status=3)
        assert till.refused(recharge_card, **ACTIVE) == other

    @pytest.mark.parametrize(
        ("facts", "message"),
        [({"status": 2}, "优惠券已停用或已过期"), ({"date": NOW - timedelta(days=1)}, "优惠券已停用或已过期"),
         ({"stock": 1}, "优惠券数量不足")],
    )  # fmt: skip
    def test_coupons_that_cannot_be_given(self, till, facts, message):
        change(CouponTable, 2, **facts)

        assert till.refused(recharge_card, cardId=ACTIVITY, **WITH_COUPONS) == (1, message)

    def test_more_open_lots_than_a_payment_can_read(self, till):
        key = CardTable.key(owner_key(MERCHANT, PHONE), ACTIVITY)
        commit(Change(CardTable, key, [CardTable.lots_open.set(lots.MOST_OPEN - 1)]))
        full = (1, "卡内未用完的充值记录已达 500 条，请先消费再充值")
        with overtaken("UpdateItem", till.recharged):
            answer = till.call(recharge_card, **ACTIVE)

        assert (answer.body["errCode"], answer.body["msg"]) == full
        assert till.refused(recharge_card, **ACTIVE) == full
        assert till.card(ACTIVITY, "lots_open") == (500,)
        till.spent(400)
        till.recharged()

    def test_who_and_where(self, cloud, till):
        assert till.refused(recharge_card, **{**STORED, "phone": "13800000008"}) == (1005, "用户不存在")
        assert till.refused(recharge_card, **{**STORED, "cardId": 99}) == (1, "会员卡不存在")
        assert Shop(cloud, 23).refused(recharge_card, **STORED) == (1, "此门店不可使用")
        assert Shop(cloud, OWNER).refused(recharge_card, **STORED) == (1, "商户账号没有门店，不能在此操作")

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"image": ""}, (4, "缺少参数：image")),
            ({"recharge": 0}, (1, "参数错误：recharge must be greater than 0")),
            ({"send": -1}, (1, "参数错误：send must be greater than or equal to 0")),
            ({"recharge": "1e3"}, (1, "参数错误：recharge must be an amount in yuan with at most two decimals")),
            ({"recharge": True}, (1, "参数错误：recharge is no amount")),
            ({"token": None}, (1002, "需要登录")),
        ],
    )
    def test_what_is_said(self, till, fields, refusal):
        assert till.refused(recharge_card, **{**STORED, **fields}) == refusal


class TestRepetition:
    def test_it_is_done_once(self, till):
        first = till.call(recharge_card, key="one", **ACTIVE)

        assert till.call(recharge_card, key="one", **ACTIVE).body == first.body
        assert till.refused(recharge_card, key="one", **STORED) == (1, "Idempotency-Key 已用于另一个请求")
        assert till.balance() == (20000, 20000)

    def test_without_a_key_it_is_a_second_order_after_three_seconds(self, till):
        for seconds in (0, 2, 3):
            with clock.frozen(NOW + timedelta(seconds=seconds)):
                assert till.call(recharge_card, key="", **STORED).body["errCode"] == 0

        assert till.balance(STORED_VALUE) == (20000, 4100)

    def test_an_operations_key_is_no_other_ones(self, cloud, till):
        till.call(recharge_card, key="one", **STORED)
        other = Shop(cloud, 22)
        other.data(recharge_card, key="one", **STORED)

        assert till.balance(STORED_VALUE) == (20000, 4100)


class TestAtTheSameTime:
    def test_recharges_do_not_wait_for_each_other(self, till):
        with calls_made() as calls, overtaken("UpdateItem", till.recharged):
            till.data(recharge_card, **ACTIVE)

        assert calls.count("TransactWriteItems") == 2
        assert till.card(ACTIVITY, "principal", "gift", "lots_open", "entries") == (40000, 40000, 2, 3)

    def test_first_coupons_of_one_customer_meet_in_one_holding(self, till):
        with overtaken("UpdateItem", lambda: till.recharged(100, 0, EVENT_COUPONS)):
            till.data(recharge_card, cardId=STORED_VALUE, **WITH_COUPONS)

        assert till.rows("holdings", "quantity") == [(4,)]
        assert till.balance(STORED_VALUE) == till.balance(ACTIVITY) == (10000, 0)


def test_sessions_are_prolonged(till):
    prolongs(till, recharge_card)
