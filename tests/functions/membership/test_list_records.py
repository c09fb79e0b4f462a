from datetime import timedelta

import pytest

from functions.membership.list_expenses import list_expenses
from functions.membership.list_recharges import list_recharges
from functions.membership.list_refunds import list_refunds
from functions.membership.search_invoices import search_invoices
from kernel import clock, list_packing, list_search
from kernel.list_packing import pack
from kernel.listings import PACKING
from kernel.operations import event_of
from kernel.tables import Change, commit
from membership import listings
from membership.tables import ManagerTable
from tests.conftest import NOW
from tests.shops import (
    ACTIVITY,
    EVENT_200,
    IMAGE,
    MERCHANT,
    OTHER_MERCHANT,
    OWNER,
    PHONE,
    STORE,
    STORED_VALUE,
    Shop,
    customer,
    furnish,
    prolongs,
)
from tests.tills import Till, open_shop

MILLIS = 1706424089006
OPERATIONS = {
    listings.RECHARGES: list_recharges,
    listings.EXPENSES: list_expenses,
    listings.REFUNDS: list_refunds,
    listings.INVOICES: search_invoices,
}
ABOUT = {
    "membershipCardId": STORED_VALUE, "title": "外婆味道储值卡", "cardNo": 7924012814100, "userId": 7,
    "nickname": "哈哈", "phone": PHONE, "storeName": "外婆味道南屏店",
}  # fmt: skip


@pytest.fixture
def till(cloud):
    list_search._kept.clear()
    return open_shop(cloud, STORED_VALUE)


@pytest.fixture
def owner(till):
    return Shop(till.cloud, OWNER)


def after(**time):
    return clock.frozen(NOW + timedelta(**time))


def rows(answer, name=None):
    """Return the rows of a page."""
    assert answer.body["errCode"] == 0, answer.body
    return answer.body["data"] if name is None else answer.body["data"][name]


def amounts(answer):
    """Return the amounts of a page of recharges, as the contract writes them."""
    return [row["rechargeMoney"] for row in rows(answer, "chargeReVo")]


def page(data, total=1, pages=1, number=1, size=14, time=MILLIS):
    return {
        "errCode": 0, "result": 0, "data": data, "total": total, "pages": pages, "pageNum": number, "pageSize": size,
        "time": time,
    }  # fmt: skip


def test_recharges_are_listed_with_what_they_add_up_to(till):
    till.opened(ACTIVITY)
    till.stored(100, "20.50")
    with after(seconds=33):
        till.recharged()

        answer = till.call(list_recharges)

    newer = {
        **ABOUT, "id": 2, "membershipCardId": ACTIVITY, "title": "外婆味道活动卡", "cardNo": 7924012814101,
        "memberEventId": EVENT_200, "eventName": "充200 送200 返200", "rechargeMoney": 200.0, "sendMoney": 200.0,
        "type": 2, "storeId": STORE, "explain": "余额充值", "created": "2024-01-28T06:42:02.006+0000",
        "orderNo": 71024012814101, "image": IMAGE,
    }  # fmt: skip
    older = {
        **ABOUT, "id": 1, "memberEventId": None, "eventName": None, "rechargeMoney": 100.0, "sendMoney": 20.5,
        "type": 2, "storeId": STORE, "explain": "余额充值", "created": "2024-01-28T06:41:29.006+0000",
        "orderNo": 71024012814100, "image": IMAGE,
    }  # fmt: skip
    shown = {"totalChargeMoney": 300.0, "totalSendMoney": 220.5, "chargeReVo": [newer, older]}
    assert answer.status == 200
    assert answer.body == page(shown, total=2, time=MILLIS + 33_000)


def test_payments_are_listed_and_stay_when_they_are_given_back(till):
    till.stored(300)
    order = till.spent(200, STORED_VALUE)
    till.spent("22.5", STORED_VALUE)
    till.refunded(order)

    answer = till.call(list_expenses)

    shown = [
        {
            **ABOUT, "id": number, "expenseMoney": expense, "type": 2, "storeId": STORE, "explain": "线下消费",
            "created": "2024-01-28T06:41:29.006+0000", "orderNo": order + number - 1,
        }
        for number, expense in ((2, 22.5), (1, 200.0))
    ]  # fmt: skip
    assert answer.body == page({"totalExpenseMoney": 222.5, "expenseReVo": shown}, total=2)


def test_refunds_of_both_kinds_are_listed(till):
    order = till.stored(300)
    till.refunded(till.spent(200, STORED_VALUE), explain="发")
    till.paid_back(order)

    answer = till.call(list_refunds)

    created = {"created": "2024-01-28T06:41:29.006+0000"}
    assert answer.body == page(
        [
            {**ABOUT, "id": 2, "money": 300.0, "explain": "充值退款", **created},
            {**ABOUT, "id": 1, "money": 200.0, "explain": "发", **created},
        ],
        total=2,
    )


def test_invoices_are_listed_with_their_local_time(till):
    till.stored(300)
    till.invoiced(STORED_VALUE, 90)

    answer = till.call(search_invoices)

    shown = {
        "id": 1, "amount": 90.0, "summary": answer.body["data"][0]["summary"], "storeId": STORE,
        "storeName": "外婆味道南屏店", "created": "2024-01-28 14:41:29", "image": IMAGE, "userId": 7, "phone": PHONE,
        "nickname": "哈哈",
    }  # fmt: skip
    assert answer.body == page([shown])


def test_amounts_have_two_decimals(till):
    till.stored(100)

    text = list_recharges(event_of(list_recharges, {"token": till.token}), None)["body"]

    assert '"totalChargeMoney":100.00,"totalSendMoney":0.00' in text
    assert '"rechargeMoney":100.00,"sendMoney":0.00' in text


@pytest.mark.parametrize("operation", OPERATIONS.values())
def test_nothing_is_found_where_nothing_was_done(till, operation):
    data = till.call(operation, phone="138", pageNum=3).body

    nothing = {
        list_recharges: {"totalChargeMoney": 0.0, "totalSendMoney": 0.0, "chargeReVo": []},
        list_expenses: {"totalExpenseMoney": 0.0, "expenseReVo": []},
    }
    assert data == page(nothing.get(operation, []), total=0, pages=0, number=3)


@pytest.fixture
def several(till):
    """Recharges of three customers, a minute apart, the first two packed: 1.00 and 2.00, then 3.00 and 4.00."""
    customer(8, "13900000012", "Anna")
    customer(9, "15512345678", None)
    others = [Till(till.cloud, phone=phone) for phone in ("13900000012", "15512345678")]
    for other in others:
        other.opened()
    for minutes, (who, amount) in enumerate(((till, 1), (others[0], 2), (others[1], 3), (till, "4.01"))):
        with after(minutes=minutes):
            who.stored(amount, amount)
    return till


def both(several, monkeypatch, **wanted):
    """Return what is found before and after the packing, which is the same."""
    before = several.call(list_recharges, **wanted).body
    monkeypatch.setattr(list_packing, "WORTH", 1)
    with clock.frozen(NOW + timedelta(minutes=2, seconds=30)):
        pack(listings.records_book(listings.RECHARGES, MERCHANT, STORE))
    assert several.call(list_recharges, **wanted).body == before
    return [row["rechargeMoney"] for row in before["data"]["chargeReVo"]], before["data"]["totalChargeMoney"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [4.01, 3, 2, 1]),
        ({"phone": ""}, [4.01, 3, 2, 1]),
        ({"phone": PHONE}, [4.01, 1]),
        ({"phone": "000"}, [4.01, 2, 1]),
        ({"phone": 12345}, [3]),
        ({"phone": "%"}, []),
        ({"phone": "1_"}, []),
        ({"phone": "哈哈"}, []),
        ({"keywords": "哈"}, [4.01, 1]),
        ({"keywords": "anna"}, [2]),
        ({"keywords": "0001"}, [2]),
        ({"keywords": "1234", "phone": "555"}, []),
        ({"keywords": "nobody"}, []),
        ({"phone": "1380000", "keywords": "哈哈"}, [4.01, 1]),
        ({"startTime": MILLIS + 60_000}, [4.01, 3, 2]),
        ({"endTime": MILLIS + 60_000}, [2, 1]),
        ({"startTime": MILLIS + 60_000, "endTime": MILLIS + 120_000}, [3, 2]),
        ({"startTime": str(MILLIS + 60_001), "endTime": str(MILLIS + 119_999)}, []),
        ({"startTime": MILLIS + 120_000, "endTime": MILLIS}, []),
        ({"startTime": MILLIS + 60_000, "phone": "138"}, [4.01]),
    ],
)
def test_filters_are_combined(several, monkeypatch, wanted, found):
    assert both(several, monkeypatch, **wanted) == (found, round(sum(found), 2))


def test_pages_have_the_totals_of_the_whole(several, monkeypatch):
    assert both(several, monkeypatch, pageNum=2, pageSize=1) == ([3], 10.01)
    for number, size, shown in ((1, 3, [4.01, 3, 2]), (2, 3, [1]), (3, 3, []), (0, 2, [4.01, 3]), (-1, 500, None)):
        answer = several.call(list_recharges, pageNum=number, pageSize=size)
        assert shown is None or amounts(answer) == shown
        size = min(size, 100)
        numbers = {name: answer.body[name] for name in ("total", "pages", "pageNum", "pageSize")}
        assert numbers == {"total": 4, "pages": -(-4 // size), "pageNum": max(number, 1), "pageSize": size}
        assert answer.body["data"]["totalChargeMoney"] == 10.01


@pytest.mark.parametrize("wanted", [{"startTime": "yesterday"}, {"endTime": 1.5}, {"pageNum": "x"}, {"phone": ["1"]}])
def test_what_cannot_be_looked_for_is_refused(till, wanted):
    assert till.refused(list_recharges, **wanted)[0] == 1


def test_forms_are_taken_as_well(till):
    till.stored(5)

    answer = till.cloud.call(list_recharges, form={"token": till.token, "phone": "138", "keywords": ""}, caller="")

    assert amounts(answer) == [5]


def test_a_store_sees_its_own_records_and_the_merchant_all(till, owner, monkeypatch):
    furnish(OTHER_MERCHANT)
    till.stored(1)
    neighbour = Till(till.cloud, 22)
    with after(minutes=1):
        neighbour.stored(2)

    def seen():
        return [amounts(shop.call(list_recharges)) for shop in (till, neighbour, owner, Shop(till.cloud, OWNER + 1000))]

    everybodys = [[1], [2], [2, 1], []]
    assert seen() == everybodys
    monkeypatch.setattr(list_packing, "WORTH", 1)
    with after(hours=1):
        books = list(listings.books(listings.RECHARGES, MERCHANT, (3, 4, 5)))
        assert [pack(book) for book in books] == [2, 1, 1, 0]
    assert seen() == everybodys
    assert amounts(owner.call(list_recharges, phone="138")) == [2, 1]


def test_what_a_merchants_account_does_itself_is_in_no_stores_list(till, owner):
    order = till.stored(300)
    boss = Till(till.cloud, OWNER)
    boss.paid_back(order)

    (row,) = rows(owner.call(list_refunds))
    assert (row["money"], row["storeName"]) == (300.0, None)
    assert rows(till.call(list_refunds)) == []


@pytest.mark.parametrize(("kind", "operation"), OPERATIONS.items())
def test_long_lists_are_packed_and_found_there(till, monkeypatch, kind, operation):
    monkeypatch.setattr(list_packing, "WORTH", 1)
    monkeypatch.setattr(list_search, "TAIL", 1)
    till.stored(300)
    for _ in range(2):
        till.refunded(till.spent(10, STORED_VALUE))
        till.invoiced(STORED_VALUE, 1)
    till.stored(1)
    whole = till.call(operation).body
    assert whole["total"] == 2
    (asked,) = till.cloud.queued(PACKING)
    book = listings.records_book(kind, MERCHANT, STORE)
    assert asked["attributes"]["MessageGroupId"] == book.name == f"{kind}#store#3"

    with after(minutes=2):
        assert pack(book) == 2

    assert till.call(operation).body == whole
    assert till.call(operation, phone="1380").body == whole
    assert till.cloud.queued(PACKING) == []


def test_who_may_not_list_is_refused(till):
    rights = [ManagerTable.permissions.set(["manage/v3/store/list"])]
    commit(Change(ManagerTable, ManagerTable.key(till.manager_id), rights))

    for operation in OPERATIONS.values():
        assert till.refused(operation)[0] == 1003
    till.token = "7171d718-0c30-4fd0-9a6b-53a865be71a5"
    for operation in OPERATIONS.values():
        assert till.refused(operation)[0] == 1002


def test_sessions_are_prolonged(till):
    prolongs(till, *OPERATIONS.values())
