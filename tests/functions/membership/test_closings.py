"""Daily closings: what was counted, what was expected, and what came after."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from functions.membership.close_day import close_day
from functions.membership.list_closings import list_closings
from functions.membership.list_merchant_closings import list_merchant_closings
from infra.discovery import ROOT
from kernel import clock
from kernel.tables import Put, commit
from membership import closings, managers
from membership.tables import SessionTable
from tests.conftest import NOW
from tests.shops import (
    ACTIVITY,
    CASHIER,
    OTHER_CASHIER,
    OTHER_MERCHANT,
    OWNER,
    STORED_VALUE,
    Shop,
    furnish,
    office,
    office_refused,
    prolongs,
)
from tests.tills import DONE, Till, open_shop

HERE = {"merchant": "12"}
TODAY = "2024-01-28"
NOTHING = {
    "recharged": 0, "gifted": 0, "spent": 0, "spendingReturned": 0, "rechargeReturned": 0, "giftWithdrawn": 0,
    "cashedBack": 0, "invoiced": 0, "couponsGiven": 0, "couponsRedeemed": 0, "couponsWithdrawn": 0, "operations": 0,
}  # fmt: skip
SAMPLES = {
    "close_day": close_day,
    "list_closings": list_closings,
    "list_merchant_closings": list_merchant_closings,
}
AT_STORE = {"storeId": 3, "storeName": "外婆味道南屏店", "managerId": CASHIER}


@pytest.fixture
def till(cloud):
    return open_shop(cloud, STORED_VALUE, ACTIVITY)


@pytest.fixture
def worked(till):
    """A day with everything that moves cash: 200 and 100 are paid in, 200 are paid back."""
    till.recharged()
    till.spent(400)
    till.cashed_back(1)
    till.stored(100, 20)
    till.invoiced(STORED_VALUE, "30.50")
    till.spent(40, STORED_VALUE)
    till.refunded(till.spent(10, STORED_VALUE))
    return till


def sample(name):
    return json.loads((ROOT / f"events/membership/{name}.json").read_text(encoding="utf-8"))


def later(**more):
    return clock.frozen(clock.now() + timedelta(**more))


def report(cloud, **query):
    return office(cloud, list_merchant_closings, path=HERE, query={name: str(value) for name, value in query.items()})


class TestClose:
    def test_it_says_what_should_be_there_and_what_is(self, worked):
        answer = worked.call(close_day, counted=99.5)

        data = answer.body["data"]
        figures = {
            **NOTHING, "recharged": 300.0, "gifted": 220.0, "spent": 450.0, "spendingReturned": 10.0,
            "cashedBack": 200.0, "invoiced": 30.5, "operations": data["operations"],
        }  # fmt: skip
        assert answer.body == {
            **DONE,
            "data": {
                "id": data["id"], "day": TODAY, **AT_STORE, "expected": 100.0, "counted": 99.5, "difference": -0.5,
                **figures, "created": "2024-01-28 14:41:29",
            },
        }  # fmt: skip
        (row,) = worked.rows("closings")
        assert (row["book"], row["place"]) == ("12#3", f"20240128#{data['id']}")
        assert (row["merchant_id"], row["store_id"], row["manager_id"]) == (12, 3, CASHIER)
        assert (row["expected"], row["counted"], row["created_at"]) == (10000, 9950, "2024-01-28T06:41:29.006Z")
        assert json.loads(row["figures"]) == {
            "recharged": 30000, "gifted": 22000, "spent": 45000, "spending_returned": 1000, "recharge_returned": 0,
            "gift_withdrawn": 0, "cashed_back": 20000, "invoiced": 3050, "coupons_given": 0, "coupons_redeemed": 0,
            "coupons_withdrawn": 0, "operations": data["operations"],
        }  # fmt: skip

    def test_money_has_two_decimals(self, till):
        event = sample("close_day")
        event["body"] = json.dumps({"token": till.token, "counted": "5"})

        assert '"expected":0.00,"counted":5.00,"difference":5.00' in close_day(event, None)["body"]

    def test_a_day_on_which_nothing_was_done(self, till):
        data = till.data(close_day, counted=0, day="2024-01-27")

        assert data == {
            "id": data["id"], "day": "2024-01-27", **AT_STORE, "expected": 0, "counted": 0, "difference": 0,
            **NOTHING, "created": "2024-01-28 14:41:29",
        }  # fmt: skip

    def test_more_may_have_been_paid_out_than_in(self, till):
        order_no = till.stored(100)
        with later(days=1):
            till.paid_back(order_no)
            data = till.data(close_day, counted=0)

        assert (data["day"], data["rechargeReturned"], data["expected"]) == ("2024-01-29", 100, -100)
        assert data["difference"] == 100

    def test_a_merchants_account_closes_what_it_did_itself(self, cloud, worked):
        Till(cloud, OWNER).invoiced(STORED_VALUE, 1)

        data = Shop(cloud, OWNER).data(close_day, counted=0)

        assert (data["storeId"], data["storeName"], data["managerId"], data["invoiced"]) == (None, None, OWNER, 1)
        assert worked.rows("closings", "book") == [("12#0",)]

    def test_another_one_corrects_it(self, worked):
        first = worked.data(close_day, counted=99)
        with later(minutes=1):
            second = worked.data(close_day, counted=100)

        assert sorted(worked.rows("closings", "place", "counted")) == [
            (f"20240128#{first['id']}", 9900), (f"20240128#{second['id']}", 10000),
        ]  # fmt: skip

    def test_a_shift_is_closed_only_so_often(self, cloud, till):
        for number in range(closings.MOST_OF_A_SHIFT):
            till.data(close_day, key=str(number), counted=number)

        assert till.refused(close_day, counted=5) == (1, "同一天最多交班 20 次")
        # What was done is answered again, and other days and accounts have closings of their own.
        assert till.data(close_day, key="19", counted=19)["counted"] == 19
        assert till.data(close_day, counted=5, day="2024-01-27")["day"] == "2024-01-27"
        assert Shop(cloud, OTHER_CASHIER).data(close_day, counted=5)["storeId"] == 3
        assert len(till.rows("closings")) == 22

    def test_it_is_done_once(self, till):
        first = till.call(close_day, key="one", counted=5)
        with later(minutes=1):
            again = till.call(close_day, key="one", counted=5)
            assert till.refused(close_day, key="one", counted=6) == (1, "Idempotency-Key 已用于另一个请求")

        assert again.body["data"] == first.body["data"]
        assert len(till.rows("closings")) == 1

    def test_without_a_key_it_is_a_second_one_after_three_seconds(self, till):
        for seconds in (0, 2, 3):
            with clock.frozen(NOW + timedelta(seconds=seconds)):
                till.call(close_day, key="", counted=5)

        assert len(till.rows("closings")) == 2

    def test_the_day_is_shanghais(self, till):
        with clock.frozen(datetime(2024, 1, 28, 16, tzinfo=UTC)):
            assert till.data(close_day, counted=0)["day"] == "2024-01-29"

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"counted": ""}, (4, "缺少参数：counted")),
            ({"counted": -1}, (1, "参数错误：counted must be greater than or equal to 0")),
            ({"counted": "0.001"}, (1, "参数错误：counted must be an amount in yuan with at most two decimals")),
            ({"day": "20240128"}, (1, "参数错误：day must be a day such as 2020-04-30")),
            ({"day": 1706424089}, (1, "参数错误：day must be a day such as 2020-04-30")),
            ({"day": "2024-01-29"}, (1, "不能为以后的日期交班")),
            ({"day": "2023-12-27"}, (1, "只能为最近 31 天交班")),
            ({"token": "x"}, (1002, "需要登录")),
        ],
    )
    def test_what_is_said(self, till, fields, refusal):
        assert till.refused(close_day, **{"counted": 0, **fields}) == refusal

    def test_thirty_one_days_ago(self, till):
        assert till.data(close_day, counted=0, day="2023-12-28")["day"] == "2023-12-28"


class TestList:
    @pytest.fixture
    def closed(self, cloud, till):
        """Closings of three days: two accounts of store 3 and one of store 4; then those who made them."""
        accounts = [till, Shop(cloud, OTHER_CASHIER), Shop(cloud, 22)]
        for minutes, (account, day) in enumerate(
            [(0, "2024-01-26"), (1, "2024-01-28"), (2, "2024-01-27"), (0, "2023-12-29"), (0, "2024-01-26")]
        ):
            with clock.frozen(NOW - timedelta(hours=1) + timedelta(minutes=minutes)):
                accounts[account].data(close_day, counted=minutes, day=day)
        return accounts

    def test_the_newest_day_is_the_first(self, closed):
        answer = closed[0].call(list_closings)

        found = [(one["day"], one["managerId"], one["counted"]) for one in answer.body["data"]]
        assert found == [
            ("2024-01-28", 31, 1), ("2024-01-26", 21, 4), ("2024-01-26", 21, 0), ("2023-12-29", 21, 3),
        ]  # fmt: skip
        last = answer.body["data"][-1]
        assert last == {
            "id": last["id"], "day": "2023-12-29", **AT_STORE, "expected": 0, "counted": 3, "difference": 3,
            **NOTHING, "created": "2024-01-28 13:44:29",
        }  # fmt: skip
        assert answer.body == {
            **DONE, "data": answer.body["data"], "total": 4, "pages": 1, "pageNum": 1, "pageSize": 14,
        }  # fmt: skip

    def test_a_merchants_account_sees_all_stores(self, cloud, closed):
        answer = Shop(cloud, OWNER).call(list_closings, pageNum=2, pageSize=2)

        assert [(one["day"], one["storeId"]) for one in answer.body["data"]] == [("2024-01-26", 3), ("2024-01-26", 3)]
        assert {name: answer.body[name] for name in ("total", "pages", "pageNum", "pageSize")} == {
            "total": 5, "pages": 3, "pageNum": 2, "pageSize": 2,
        }  # fmt: skip

    def test_of_some_days(self, closed):
        def days(**period):
            return [one["day"] for one in closed[0].data(list_closings, **period)]

        assert days(startDay="2024-01-27") == ["2024-01-28"]
        assert days(endDay="2024-01-27") == ["2024-01-26", "2024-01-26", "2023-12-29"]
        assert days(startDay="2024-01-26", endDay="2024-01-26") == ["2024-01-26", "2024-01-26"]
        assert days(startDay="2024-02-01") == []

    @pytest.mark.parametrize(
        "period",
        [{"startDay": "2024-01-01", "endDay": "2024-02-01"}, {"startDay": "2024-01-02", "endDay": "2024-01-01"}],
    )
    def test_of_no_more_than_thirty_one_days(self, till, period):
        assert till.refused(list_closings, **period) == (
            1, "参数错误：endDay must be one of the 31 days from startDay on",
        )  # fmt: skip

    def test_another_merchant_sees_none(self, cloud, closed):
        furnish(OTHER_MERCHANT)

        assert Shop(cloud, OWNER + 1000).data(list_closings) == []


class TestReport:
    def test_it_sets_what_is_beside_what_was_closed(self, cloud, worked):
        with later(minutes=1):
            worked.data(close_day, counted=90)
        with later(minutes=2):
            worked.data(close_day, counted=99)
        with later(minutes=3):
            worked.stored(50)

        said = report(cloud, day=TODAY, store=3)

        (line,) = said["items"]
        closed = {
            **NOTHING, "recharged": 300, "gifted": 220, "spent": 450, "spendingReturned": 10, "cashedBack": 200,
            "invoiced": 30.5, "operations": line["closed"]["operations"],
        }  # fmt: skip
        now = {**closed, "recharged": 350, "operations": closed["operations"] + 1}
        assert said == {
            "items": [
                {
                    "day": TODAY, **AT_STORE, "state": "closed", "now": now, "closed": closed, "expected": 100,
                    "counted": 99, "difference": -1, "late": 50, "closings": 2, "closedAt": "2024-01-28 14:43:29",
                }
            ],
            "cursor": None,
        }  # fmt: skip

    def test_days_without_a_closing_are_open(self, cloud, till):
        till.stored(100)
        Shop(cloud, OTHER_CASHIER).data(close_day, counted=7)

        mine, other = report(cloud)["items"]

        assert mine == {
            "day": TODAY, **AT_STORE, "state": "open", "now": {**NOTHING, "recharged": 100, "operations": 3},
            "closed": None, "expected": 100, "counted": None, "difference": None, "late": None, "closings": 0,
            "closedAt": None,
        }  # fmt: skip
        assert (other["managerId"], other["state"], other["difference"], other["now"]) == (31, "closed", 7, NOTHING)
        assert report(cloud, day="2024-01-27") == {"items": [], "cursor": None}

    def test_stores_come_page_by_page_behind_the_merchants_own_accounts(self, cloud, till):
        till.stored(100)
        Till(cloud, OWNER).invoiced(STORED_VALUE, 1)
        Shop(cloud, 22).data(close_day, counted=0)

        pages = [report(cloud, limit=1)]
        while cursor := pages[-1]["cursor"]:
            pages.append(report(cloud, limit=1, cursor=cursor))

        found = [[(line["storeId"], line["managerId"]) for line in page["items"]] for page in pages]
        assert [page for page in found if page] == [[(None, OWNER), (3, CASHIER)], [(4, 22)]]
        assert [(line["storeId"], line["storeName"]) for line in report(cloud, store=0)["items"]] == [(None, None)]

    def test_who_and_what(self, cloud, till):
        furnish(OTHER_MERCHANT)
        assert office_refused(cloud, list_merchant_closings, path=HERE, groups=["13"])[:2] == (403, 403)
        assert office_refused(cloud, list_merchant_closings, path=HERE, query={"store": "1003"}) == (
            404, 1, "门店不存在",
        )  # fmt: skip
        for query in ({"store": "-1"}, {"day": "28.1.2024"}, {"limit": "101"}, {"cursor": "x"}):
            assert office_refused(cloud, list_merchant_closings, path=HERE, query=query)[0] == 400


def test_a_session_is_prolonged(cloud, till):
    prolongs(till, close_day, list_closings)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_answered(till, name):
    operation, event = SAMPLES[name], sample(name)
    digest = managers.token_digest("7171d718-0c30-4fd0-9a6b-53a865be71a5")
    expires = NOW + timedelta(days=1)
    commit(Put(SessionTable(token_digest=digest, manager_id=21, generation=1, client=1, used_at=NOW, expires=expires)))

    answer = operation(event, None)

    assert (answer["statusCode"], json.loads(answer["body"])["errCode"]) == (200, 0), answer["body"]
    assert (event["httpMethod"], event["resource"]) == (operation.verb, operation.path)
