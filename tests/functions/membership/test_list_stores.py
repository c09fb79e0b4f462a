import pytest

from functions.membership.list_stores import list_stores
from kernel.tables import Put, write_all
from membership.tables import ManagerTable, StoreTable
from tests.conftest import NOW
from tests.shops import CASHIER, MERCHANT, OTHER_MERCHANT, OWNER, Shop, calls_made, furnish, prolongs

OWN = {
    "id": 3, "merchantId": 12, "name": "外婆味道南屏店", "address": "南屏街", "phone": "123456666666",
    "area": "云南,昆明市,五华区", "linkman": "小明", "adminId": 21, "merchantName": "外婆味道", "password": None,
    "created": "2019-12-13T06:34:24.000+0000", "updated": "2019-12-13T06:34:24.000+0000",
}  # fmt: skip


@pytest.fixture
def shop(cloud):
    furnish()
    return Shop(cloud)


@pytest.fixture
def owner(cloud, shop):
    return Shop(cloud, OWNER)


def test_a_stores_account_sees_its_own(shop):
    answer = shop.call(list_stores)

    assert answer.status == 200
    assert answer.body == {
        "errCode": 0, "result": 0, "data": [OWN], "total": 1, "pages": 1, "pageNum": 1, "pageSize": 14,
        "time": 1706424089006,
    }  # fmt: skip


def test_a_merchants_account_sees_all_of_the_merchant(owner):
    furnish(OTHER_MERCHANT)

    body = owner.call(list_stores).body

    assert [store["id"] for store in body["data"]] == [3, 4, 5]
    assert body["data"][0] == OWN
    assert body["total"] == 3


def test_pages_have_the_numbers_of_the_whole(owner):
    pages = [owner.call(list_stores, pageNum=number, pageSize=2).body for number in (0, 1, 2, 3)]

    assert [[store["id"] for store in page["data"]] for page in pages] == [[3, 4], [3, 4], [5], []]
    assert [(page["total"], page["pages"], page["pageNum"], page["pageSize"]) for page in pages] == [
        (3, 2, 1, 2), (3, 2, 1, 2), (3, 2, 2, 2), (3, 2, 3, 2),
    ]  # fmt: skip


def test_what_a_store_does_not_say_is_null(owner):
    write_all([Put(StoreTable(merchant_id=MERCHANT, id=6, store_name="新店", created_at=NOW))])

    assert owner.call(list_stores).body["data"][3] == {
        **OWN, "id": 6, "name": "新店", "address": None, "phone": None, "area": None, "linkman": None,
        "adminId": None, "created": "2024-01-28T06:41:29.006+0000", "updated": None,
    }  # fmt: skip


def test_200_stores_take_two_requests(owner):
    write_all(Put(StoreTable(merchant_id=MERCHANT, id=n, store_name="店", created_at=NOW)) for n in range(10, 207))

    with calls_made() as calls:
        body = owner.call(list_stores, pageNum=15).body

    assert (body["total"], body["pages"], len(body["data"])) == (200, 15, 4)
    assert calls == ["GetItem", "GetItem", "GetItem", "Query"]


def test_a_store_that_is_gone_leaves_an_empty_list(cloud, shop):
    row = ManagerTable.find(CASHIER)
    row.store_id = 99
    write_all([Put(row)])

    body = shop.call(list_stores).body

    assert (body["data"], body["total"], body["pages"]) == ([], 0, 0)


def test_it_takes_a_session_and_the_right(cloud, shop):
    shop.token = ""
    assert shop.refused(list_stores) == (1002, "需要登录")
    row = ManagerTable.find(CASHIER)
    row.permissions = ["manage/v3/card/store_card"]
    write_all([Put(row)])

    assert Shop(cloud).refused(list_stores) == (1003, "没有权限")


def test_sessions_are_prolonged(shop):
    prolongs(shop, list_stores)
