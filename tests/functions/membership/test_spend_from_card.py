from datetime import timedelta

import pytest

from functions.membership.spend_from_card import spend_from_card
from kernel import clock
from kernel.numbering import CounterTable
from kernel.tables import Put, commit
from membership import lots, pay_passwords
from membership.tables import ProductTable, StoreTable
from tests.conftest import NOW
from tests.shops import (
    ACTIVITY,
    EVENT_COUPONS,
    MERCHANT,
    OTHER_MERCHANT,
    OWNER,
    PASSWORD,
    PHONE,
    STORE,
    STORED_VALUE,
    Shop,
    calls_made,
    furnish,
    prolongs,
)
from tests.tills import DONE, Till, open_shop, overtaken, transactions

WRONG = "0" * 32
LATER = "密码错误次数过多，请稍后再试"


@pytest.fixture
def till(cloud):
    return open_shop(cloud, STORED_VALUE, ACTIVITY)


def paid(shop, expense, product=ACTIVITY, **more):
    return shop.call(
        spend_from_card, **{"phone": PHONE, "cardId": product, "expense": expense, "password": PASSWORD, **more}
    )


def refused(shop, expense, product=ACTIVITY, **more):
    fields = {"phone": PHONE, "cardId": product, "expense": expense, "password": PASSWORD, **more}
    return shop.refused(spend_from_card, **fields)


class TestWhatIsWritten:
    def test_a_payment_is_answered_and_told_everywhere(self, cloud, till):
        till.stored(100, "20.50")

        answer = paid(till, "110.25", STORED_VALUE, password=PASSWORD.lower())

        assert (answer.status, answer.body) == (200, {**DONE, "msg": "成功"})
        assert till.card(STORED_VALUE, "principal", "gift", "charged", "invoiceable", "entries", "layout") == (
            0, 1025, 10000, 10000, 3, 0,
        )  # fmt: skip
        assert till.entries("spending") == [{
            "subject": "card#1", "merchant_day": "12#20240128", "merchant_id": 12, "kind": "spending",
            "moves": [["customer_principal", "merchant_sales", 10000], ["customer_gift", "merchant_sales", 1025]],
            "order_no": 71124012814101, "manager_id": 21, "store_id": 3, "user_id": 7, "at": "2024-01-28T06:41:29.006Z",
        }]  # fmt: skip
        assert till.listed("expenses") == [
            {
                "id": 1, "membershipCardId": 3, "title": "外婆味道储值卡", "cardNo": 7924012814100, "userId": 7,
                "nickname": "哈哈", "phone": PHONE, "storeId": 3, "storeName": "外婆味道南屏店", "expenseMoney": 11025,
                "type": 2, "explain": "线下消费", "orderNo": 71124012814101,
            }
        ]  # fmt: skip
        assert till.rows("shifts", "shift", "manager_id", "merchant_id", "spent", "operations") == [
            ("12#3#20240128", 21, 12, 11025, 4)
        ]
        order = next(row for row in till.rows("orders") if row["order_no"] == 71124012814101)
        assert {name: value for name, value in order.items() if name != "parts"} == {
            "order_no": 71124012814101, "kind": "expenses", "merchant_id": 12, "store_id": 3,
            "store_name": "外婆味道南屏店", "owner": "12#13800000007", "product_id": 3, "card_id": 1, "user_id": 7,
            "principal": 10000, "gift": 1025, "returned_principal": 0, "returned_gift": 0,
            "created_at": "2024-01-28T06:41:29.006Z",
        }  # fmt: skip

    def test_it_takes_one_transaction(self, till):
        till.stored()
        with calls_made() as calls:
            paid(till, 1, STORED_VALUE)

        assert [call for call in calls if call != "GetSecretValue"] == [
            "GetItem", "GetItem", "BatchGetItem", "UpdateItem", "UpdateItem", "TransactWriteItems",
        ]  # fmt: skip

    def test_orders_are_numbered_by_the_hour_beyond_three_digits(self, till):
        till.stored()
        commit(Put(CounterTable(sequence="orders#24012814", last=900)))

        assert [till.spent(1, STORED_VALUE) for _ in range(2)] == [711240128141000, 711240128141001]
        with clock.frozen(NOW + timedelta(hours=10)):
            paid(till, 1, STORED_VALUE)
        assert max(row for (row,) in till.rows("orders", "order_no") if str(row).startswith("71124012900")) == (
            71124012900100
        )

    def test_a_form_is_taken_as_well(self, cloud, till):
        till.stored()
        form = {"token": till.token, "phone": PHONE, "cardId": "3", "expense": "1.5", "password": PASSWORD}

        assert cloud.call(spend_from_card, form=form, caller="").body == {**DONE, "msg": "成功"}


class TestOrderOfLots:
    def test_principal_of_all_goes_before_any_gift_and_the_oldest_before_the_rest(self, till):
        for _ in range(3):
            till.recharged()
        seen = []
        for expense in (250, 150, 300, "99.99", "0.01"):
            till.spent(expense)
            seen.append(till.lots())

        assert seen == [
            [("open", 1, 0, 20000, 1), ("open", 2, 15000, 20000, 1), ("open", 3, 20000, 20000, 1)],
            [("open", 1, 0, 20000, 1), ("open", 2, 0, 20000, 1), ("open", 3, 20000, 20000, 1)],
            [("open", 1, 0, 10000, 2), ("open", 2, 0, 20000, 1), ("open", 3, 0, 20000, 1)],
            [("open", 1, 0, 1, 2), ("open", 2, 0, 20000, 1), ("open", 3, 0, 20000, 1)],
            [("finished", 1, 0, 0, 3), ("open", 2, 0, 20000, 1), ("open", 3, 0, 20000, 1)],
        ]
        assert till.card(ACTIVITY, "principal", "gift", "lots_open") == (0, 40000, 2)
        third = [["customer_gift:1", "merchant_sales", 10000], ["customer_principal:3", "merchant_sales", 20000]]
        assert third in [entry["moves"] for entry in till.entries("spending")]

    def test_a_lot_without_gift_is_finished_with_its_principal(self, till):
        till.recharged(100, 0, EVENT_COUPONS)

        till.spent(100)

        assert till.lots() == [("finished", 1, 0, 0, 3)]

    def test_all_lots_are_used_up_in_one_transaction(self, till):
        for _ in range(lots.MOST_TOUCHED):
            till.recharged()
        with transactions() as sizes:
            order_no = till.spent(400 * lots.MOST_TOUCHED)

        assert sizes == [97]
        assert till.card(ACTIVITY, "principal", "gift", "lots_open") == (0, 0, 0)

        # Money that comes back is never refused for their number; a payment is, when it takes from too many.
        till.recharged()
        with transactions() as sizes:
            till.refunded(order_no)
        assert sizes == [97]
        assert till.card(ACTIVITY, "lots_open") == (46,)
        assert refused(till, 400 * 46) == (1, "此次消费涉及的充值记录过多，请分次支付")
        till.spent(9000)
        till.spent(9000)
        assert till.card(ACTIVITY, "principal", "gift", "lots_open") == (0, 40000, 2)


class TestRefusals:
    def test_too_little_money(self, till):
        till.stored(100, 20)

        assert refused(till, "120.01", STORED_VALUE) == (1, "余额不足")
        assert refused(till, 1) == (1, "余额不足")

    def test_a_wrong_password(self, till):
        till.stored()

        assert refused(till, 1, STORED_VALUE, password=WRONG) == (1, "密码错误")

    def test_five_wrong_passwords_close_the_card_for_a_quarter_of_an_hour(self, till):
        till.stored()
        for _ in range(5):
            assert refused(till, 1, STORED_VALUE, password=WRONG) == (1, "密码错误")

        assert refused(till, 1, STORED_VALUE, password=WRONG) == (1, LATER)
        assert refused(till, 1, STORED_VALUE) == (1, LATER)
        # Nor does an amount that nobody has tell which password is right, nor how long it takes.
        before = till.cloud.everything()
        with calls_made() as calls:
            assert refused(till, 99999, STORED_VALUE) == (1, LATER)
        assert [call for call in calls if call not in ("GetSecretValue", "Scan")] == [
            "GetItem", "GetItem", "BatchGetItem", "GetItem",
        ]  # fmt: skip
        assert till.cloud.everything() == before
        with clock.frozen(NOW + timedelta(minutes=15)):
            till.spent(1, STORED_VALUE)

    def test_a_right_password_forgets_the_wrong_ones(self, till):
        till.stored()
        for _ in range(2):
            for _ in range(4):
                paid(till, 1, STORED_VALUE, password=WRONG)
            till.spent(1, STORED_VALUE)

    @pytest.mark.parametrize("expense", [1, 99999])
    def test_passwords_guessed_meanwhile_close_the_card(self, till, expense):
        till.stored()

        def guess():
            for _ in range(5):
                paid(till, 1, STORED_VALUE, password=WRONG)

        moment = "UpdateItem" if expense == 1 else "BatchGetItem"
        with overtaken(moment, guess):
            answer = paid(till, expense, STORED_VALUE)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, LATER)
        assert till.balance(STORED_VALUE) == (10000, 0)

    def test_who_and_which_card(self, till):
        assert refused(till, 1, phone="13800000008") == (1005, "用户不存在")
        assert refused(till, 1, 99) == (1, "会员卡不存在")
        furnish(OTHER_MERCHANT)
        assert refused(till, 1, 1003) == (1003, "没有权限")
        commit(Put(ProductTable(merchant_id=MERCHANT, id=5, title="卡", admin_id=OWNER, type=10, store_ids=[STORE])))
        assert refused(till, 1, 5) == (1, "该用户没有此会员卡")

    def test_where(self, cloud, till):
        till.stored()

        assert refused(Shop(cloud, 23), 1, STORED_VALUE) == (1, "此门店不可使用")
        assert refused(Shop(cloud, OWNER), 1, STORED_VALUE) == (1, "商户账号没有门店，不能在此操作")
        store = StoreTable.find(MERCHANT, STORE)
        store.active = 0
        commit(Put(store))
        assert refused(till, 1, STORED_VALUE) == (1, "门店不存在或已停用")

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"expense": ""}, (4, "缺少参数：expense")),
            ({"password": None}, (4, "缺少参数：password")),
            ({"expense": 0}, (1, "参数错误：expense must be greater than 0")),
            ({"expense": "1.001"}, (1, "参数错误：expense must be an amount in yuan with at most two decimals")),
            ({"expense": -1}, (1, "参数错误：expense must be greater than 0")),
            ({"phone": "1380000"}, (1, "参数错误：phone has characters or a form that is not allowed here")),
            ({"password": "123456"}, (1, "参数错误：password has characters or a form that is not allowed here")),
            ({"token": "x"}, (1002, "需要登录")),
        ],
    )
    def test_what_is_said(self, till, fields, refusal):
        till.stored()
        fields = {"phone": PHONE, "cardId": STORED_VALUE, "expense": 1, "password": PASSWORD, **fields}

        assert till.refused(spend_from_card, **fields) == refusal


class TestRepetition:
    def test_the_same_key_answers_the_first_result(self, till):
        till.stored()
        first = paid(till, 60, STORED_VALUE, key="one")
        with clock.frozen(NOW + timedelta(days=6)):
            # A repetition is told before anything else is asked.
            again = paid(till, 60, STORED_VALUE, key="one")

        assert (first.body["msg"], again.body["msg"]) == ("成功", "成功")
        assert till.balance(STORED_VALUE) == (4000, 0)
        assert refused(till, 61, STORED_VALUE, key="one") == (1, "Idempotency-Key 已用于另一个请求")
        assert refused(till, 1, STORED_VALUE, key="x" * 256) == (1, "Idempotency-Key 不能超过 255 个字符")

    def test_the_key_is_each_managers_own(self, cloud, till):
        till.stored()
        paid(till, 60, STORED_VALUE, key="one")
        paid(Till(cloud, 22), 30, STORED_VALUE, key="one")

        assert till.balance(STORED_VALUE) == (1000, 0)

    def test_without_a_key_the_same_request_counts_once_in_three_seconds(self, cloud, till):
        till.stored()
        other = Till(cloud, 22)
        for seconds, left in ((0, 9000), (2.999, 9000), (3, 8000), (5.999, 8000), (6, 7000)):
            with clock.frozen(NOW + timedelta(seconds=seconds)):
                assert paid(till, 10, STORED_VALUE, key="").body["errCode"] == 0
            assert till.balance(STORED_VALUE) == (left, 0)
        with clock.frozen(NOW + timedelta(seconds=6)):
            paid(other, 10, STORED_VALUE, key="")
            paid(till, 11, STORED_VALUE, key="")
        assert till.balance(STORED_VALUE) == (4900, 0)

    def test_what_was_refused_may_be_asked_again(self, till):
        till.stored(10)
        assert refused(till, 20, STORED_VALUE, key="") == (1, "余额不足")
        till.stored(10)

        assert paid(till, 20, STORED_VALUE, key="").body["errCode"] == 0

    @pytest.mark.parametrize("key", ["one", ""])
    @pytest.mark.parametrize("moment", ["BatchGetItem", "UpdateItem"])
    def test_two_at_once_are_one_and_both_are_told(self, till, key, moment):
        till.recharged()
        with overtaken(moment, lambda: paid(till, 300, key=key)):
            answer = paid(till, 300, key=key)

        assert answer.body == {**DONE, "msg": "成功"}
        assert till.balance() == (0, 10000)

    def test_an_old_claim_renewed_meanwhile_is_a_repetition(self, till):
        till.stored()
        paid(till, 10, STORED_VALUE, key="")
        again = overtaken("UpdateItem", lambda: paid(till, 10, STORED_VALUE, key=""))
        with clock.frozen(NOW + timedelta(seconds=3)), again:
            paid(till, 10, STORED_VALUE, key="")

        assert till.balance(STORED_VALUE) == (8000, 0)


class TestAtTheSameTime:
    def test_two_payments_of_more_than_there_is(self, till):
        till.stored(100, 20)
        with overtaken("UpdateItem", lambda: till.spent(100, STORED_VALUE)):
            answer = paid(till, 100, STORED_VALUE)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, "余额不足")
        assert till.balance(STORED_VALUE) == (0, 2000)

    def test_two_payments_from_principal_do_not_wait_for_each_other(self, till):
        till.stored()
        with transactions() as sizes, overtaken("UpdateItem", lambda: till.spent(30, STORED_VALUE)):
            till.spent(50, STORED_VALUE)

        assert len(sizes) == 2
        assert till.balance(STORED_VALUE) == (2000, 0)

    def test_a_password_is_hashed_once_though_the_payment_is_planned_twice(self, till, monkeypatch):
        till.recharged()
        other = Till(till.cloud, 22)
        hashed = []
        scrypt = pay_passwords._scrypt
        with overtaken("UpdateItem", lambda: other.spent(150)):
            monkeypatch.setattr(pay_passwords, "_scrypt", lambda *said: hashed.append(said) or scrypt(*said))
            till.spent(100)

        assert len(hashed) == 2  # one of each manager
        assert till.balance() == (0, 15000)

    def test_two_payments_from_one_lot(self, till):
        till.recharged()
        with overtaken("UpdateItem", lambda: till.spent(150)):
            till.spent(100)

        assert till.lots() == [("open", 1, 0, 15000, 2)]
        assert till.balance() == (0, 15000)

    def test_principal_that_comes_in_is_taken_before_gift(self, till):
        till.stored(10, 50)
        with overtaken("UpdateItem", lambda: till.stored(200, 0)):
            till.spent(30, STORED_VALUE)

        assert till.balance(STORED_VALUE) == (18000, 5000)

    def test_a_new_lots_principal_is_taken_before_the_gift_of_an_old_one(self, till):
        till.recharged()
        till.spent(190)
        with overtaken("UpdateItem", till.recharged):
            till.spent(20)

        assert till.lots() == [("open", 1, 0, 20000, 1), ("open", 2, 19000, 20000, 1)]

    def test_a_refund_comes_back_before_what_would_have_been_taken_instead(self, till):
        till.recharged()
        till.recharged()
        order_no = till.spent(200)
        with overtaken("UpdateItem", lambda: till.refunded(order_no)):
            till.spent(50)

        assert till.lots() == [("open", 1, 15000, 20000, 1), ("open", 2, 20000, 20000, 1)]


def test_sessions_are_prolonged(till):
    prolongs(till, spend_from_card)
