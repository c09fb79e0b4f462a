from datetime import timedelta

import pytest

from functions.membership.search_users import search_users
from kernel import clock, list_packing, list_search
from kernel.list_packing import pack
from kernel.listings import PACKING
from kernel.tables import Change, Delete, commit
from membership.listings import customers_book
from membership.tables import CustomerTable
from tests.conftest import NOW
from tests.shops import ACTIVITY, CASHIER, MERCHANT, OTHER_MERCHANT, OWNER, STORED_VALUE, Shop, customer, prolongs
from tests.tills import Till, open_shop

AVATAR = "https://liyuquan.cn/staticorder/comment/20190729/1564386854932905-550-550.jpg"
PEOPLE = {2: "13800000002", 5: "13800000005", 7: "13800000007", 40: "15500000040"}


@pytest.fixture
def till(cloud):
    """Customers 7, 40, 2 and 5 with cards, in this order, and 6 without."""
    list_search._kept.clear()
    made = open_shop(cloud, STORED_VALUE)
    for minutes, user_id in ((20, 40), (40, 2), (60, 5)):
        customer(user_id, PEOPLE[user_id], f"nickname {user_id}")
        with clock.frozen(NOW + timedelta(minutes=minutes)):
            Till(cloud, phone=PEOPLE[user_id]).opened(ACTIVITY)
    customer(6, "13800000006")
    return made


def ids(till, **wanted):
    body = till.call(search_users, **wanted).body
    assert body["errCode"] == 0, body
    return [row["userId"] for row in body["data"]], body["total"]


def packed(monkeypatch, minutes):
    monkeypatch.setattr(list_packing, "WORTH", 1)
    with clock.frozen(NOW + timedelta(minutes=minutes, seconds=90)):
        return pack(customers_book(MERCHANT))


def test_customers_are_listed_with_what_they_are_called_now(till):
    key = CustomerTable.key(MERCHANT, PEOPLE[2])
    commit(Change(CustomerTable, key, [CustomerTable.nickname.set("淡水鱼"), CustomerTable.avatar.set(AVATAR)]))

    answer = till.call(search_users, pageSize=2, pageNum=1)

    assert answer.status == 200
    assert answer.body == {
        "errCode": 0, "result": 0,
        "data": [
            {"userId": 2, "phone": "13800000002", "nickname": "淡水鱼", "avatar": AVATAR},
            {"userId": 5, "phone": "13800000005", "nickname": "nickname 5", "avatar": None},
        ],
        "total": 4, "pages": 2, "pageNum": 1, "pageSize": 2, "time": 1706424089006,
    }  # fmt: skip


# After 20 minutes customers 7 and 40 are packed; 2 and 5 have lower numbers.
@pytest.mark.parametrize("minutes", [None, 0, 20, 40, 60])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ([2, 5, 7, 40], 4)),
        ({"pageSize": 3}, ([2, 5, 7], 4)),
        ({"pageSize": 3, "pageNum": 2}, ([40], 4)),
        ({"pageSize": 1, "pageNum": 3}, ([7], 4)),
        ({"pageSize": 3, "pageNum": 3}, ([], 4)),
        ({"phone": "138"}, ([2, 5, 7], 3)),
        ({"phone": "0004"}, ([40], 1)),
        ({"phone": "00000", "pageSize": 2, "pageNum": 2}, ([7, 40], 4)),
        ({"phone": "nickname"}, ([], 0)),
    ],
)
def test_they_go_up_by_number_whenever_they_were_packed(till, monkeypatch, minutes, wanted, found):
    if minutes is not None:
        assert packed(monkeypatch, minutes) == minutes // 20 + 1

    assert ids(till, **wanted) == found


def test_a_customer_with_several_cards_is_listed_once(till):
    till.opened(ACTIVITY)

    assert ids(till) == ([2, 5, 7, 40], 4)


def test_every_account_sees_all_customers_of_the_merchant_and_no_others(till):
    cloud = till.cloud
    customer(1007, "13800000099", merchant_id=OTHER_MERCHANT)
    shops = [Shop(cloud, manager) for manager in (CASHIER, 22, OWNER)]

    assert [ids(shop) for shop in shops] == [([2, 5, 7, 40], 4)] * 3


def test_one_who_is_not_stored_any_more_keeps_his_number(till):
    commit(Delete(CustomerTable, CustomerTable.key(MERCHANT, PEOPLE[2])))

    answer = till.call(search_users, pageSize=1)

    assert answer.body["data"] == [{"userId": 2, "phone": "13800000002", "nickname": None, "avatar": None}]


def test_long_lists_are_packed_and_found_there(till, monkeypatch):
    monkeypatch.setattr(list_search, "TAIL", 3)
    assert ids(till) == ([2, 5, 7, 40], 4)
    (asked,) = till.cloud.queued(PACKING)
    assert asked["attributes"]["MessageGroupId"] == "customers#merchant#12"

    assert packed(monkeypatch, 60) == 4

    assert ids(till) == ids(till, phone="1") == ([2, 5, 7, 40], 4)
    assert till.cloud.queued(PACKING) == []


def test_sessions_are_prolonged(till):
    prolongs(till, search_users)
