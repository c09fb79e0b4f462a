from datetime import timedelta

import pytest

from functions.membership.confirm_cash_back import confirm_cash_back
from kernel import clock
from kernel.tables import Put, commit
from membership.tables import StoreTable
from tests.conftest import NOW
from tests.shops import ACTIVITY, MERCHANT, OTHER_MERCHANT, OWNER, STORE, STORED_VALUE, Shop, furnish, prolongs
from tests.tills import DONE, Till, open_shop, overtaken

RECORD = {"storeMemberEventId": 1}


@pytest.fixture
def till(cloud):
    return open_shop(cloud, STORED_VALUE, ACTIVITY)


@pytest.fixture
def due(till):
    """A usage record that is used up."""
    till.recharged()
    return till.spent(400)


def test_it_is_answered_and_told_everywhere(till, due):
    answer = till.call(confirm_cash_back, **RECORD)

    assert (answer.status, answer.body) == (200, {**DONE, "msg": ""})
    assert till.lots() == [("finished", 1, 0, 0, 5)]
    assert till.card(ACTIVITY, "principal", "gift", "charged", "invoiceable", "entries") == (0, 0, 20000, 20000, 4)
    assert till.entries("cash_back") == [
        {
            "subject": "card#2", "merchant_day": "12#20240128", "merchant_id": 12, "kind": "cash_back",
            "moves": [["merchant_cash", "cashed_back", 20000]], "reference": 1, "manager_id": 21, "store_id": 3,
            "user_id": 7, "at": "2024-01-28T06:41:29.006Z",
        }
    ]  # fmt: skip
    assert till.rows("shifts", "cashed_back") == [(20000,)]


def test_a_merchants_account_does_it_at_no_store(cloud, till, due):
    Shop(cloud, OWNER).data(confirm_cash_back, **RECORD)

    assert ("12#0#20240128", 20000) in till.rows("shifts", "shift", "cashed_back")


def test_every_store_of_the_card_does_it_and_no_other(cloud, till, due):
    assert Shop(cloud, 23).refused(confirm_cash_back, **RECORD) == (1, "此门店不可使用")

    Shop(cloud, 22).data(confirm_cash_back, **RECORD)


def test_a_store_that_is_closed(till, due):
    store = StoreTable.find(MERCHANT, STORE)
    store.active = 0
    commit(Put(store))

    assert till.refused(confirm_cash_back, **RECORD) == (1, "门店不存在或已停用")


def test_only_what_is_due_is_cashed_back(till):
    till.recharged()
    unfinished = (1, "此记录尚未用完，不能返现")
    assert till.refused(confirm_cash_back, **RECORD) == unfinished
    till.spent(399)
    assert till.refused(confirm_cash_back, **RECORD) == unfinished

    till.spent(1)
    till.data(confirm_cash_back, **RECORD)
    assert till.refused(confirm_cash_back, **RECORD) == (1, "此记录已返现")


def test_a_payment_that_was_undone_is_not_cashed_back(till, due):
    till.refunded(due, money="0.02")

    assert till.refused(confirm_cash_back, **RECORD) == (1, "此记录尚未用完，不能返现")


def test_a_recharge_that_was_refunded_is_not_cashed_back(till):
    till.paid_back(till.recharged())

    assert till.refused(confirm_cash_back, **RECORD) == (1, "此记录已退款，不能返现")


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"storeMemberEventId": 2}, (1, "使用记录不存在")),
        ({"storeMemberEventId": ""}, (4, "缺少参数：storeMemberEventId")),
        ({"storeMemberEventId": 0}, (1, "参数错误：storeMemberEventId must be greater than or equal to 1")),
        ({"token": None}, (1002, "需要登录")),
    ],
)
def test_what_is_said(till, due, fields, refusal):
    assert till.refused(confirm_cash_back, **{**RECORD, **fields}) == refusal


def test_another_merchants_record_is_denied(cloud, due):
    furnish(OTHER_MERCHANT)

    assert Shop(cloud, 1021).refused(confirm_cash_back, **RECORD) == (1003, "没有权限")


def test_a_repetition_answers_the_same(till, due):
    first = till.call(confirm_cash_back, key="one", **RECORD)
    assert till.call(confirm_cash_back, key="one", **RECORD).body == first.body
    assert till.refused(confirm_cash_back, key="one", storeMemberEventId=2)[0] == 1

    assert till.refused(confirm_cash_back, key="", **RECORD) == (1, "此记录已返现")


def test_without_a_key_the_same_request_counts_once_in_three_seconds(till, due):
    assert [till.call(confirm_cash_back, key="", **RECORD).body["errCode"] for _ in range(2)] == [0, 0]
    with clock.frozen(NOW + timedelta(seconds=3)):
        assert till.refused(confirm_cash_back, key="", **RECORD) == (1, "此记录已返现")
    assert till.rows("shifts", "cashed_back") == [(20000,)]


class TestAtTheSameTime:
    def test_two_pay_it_out_once(self, cloud, till, due):
        owner = Till(cloud, OWNER)
        with overtaken("BatchGetItem", lambda: owner.cashed_back(1)):
            answer = till.call(confirm_cash_back, **RECORD)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, "此记录已返现")
        assert len(till.entries("cash_back")) == 1

    def test_a_payment_is_undone_or_cashed_back_but_not_both(self, till, due):
        with overtaken("BatchGetItem", lambda: till.refunded(due)):
            answer = till.call(confirm_cash_back, **RECORD)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, "此记录尚未用完，不能返现")
        assert till.lots() == [("open", 1, 20000, 20000, 1)]


def test_sessions_are_prolonged(till):
    prolongs(till, confirm_cash_back)
