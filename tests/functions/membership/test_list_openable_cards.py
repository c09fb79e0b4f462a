import pytest

from functions.membership.list_openable_cards import list_openable_cards
from kernel.tables import Put, commit
from membership.tables import ProductTable
from tests.conftest import NOW
from tests.shops import MERCHANT, OTHER_MERCHANT, OWNER, Shop, calls_made, furnish, prolongs

PLACE = {"address": "南屏街", "area": "云南,昆明市,五华区", "phone": "123456666666", "linkman": "小明"}
SOUTH = {"id": 3, "name": "外婆味道南屏店", **PLACE}
WUYUE = {"id": 4, "name": "外婆味道吾悦店", **PLACE}
EVENT_OF_200 = {
    "id": 9, "title": "充200 送200 返200", "summary": "充200 送200 返200", "rechargeMoney": 200.0, "sendMoney": 200.0,
    "targetId": None, "adminId": 19, "type": 1, "status": 10, "created": "2019-12-13T06:34:24.000+0000",
    "targetName": None,
}  # fmt: skip
EVENT_OF_COUPONS = {
    "id": 43, "title": "充100 送2 张50元优惠券", "summary": "充100 送2 张50元优惠券", "rechargeMoney": 100.0,
    "sendMoney": 0.0, "targetId": 2, "adminId": 19, "type": 2, "status": 1, "created": "2019-12-13T06:34:24.000+0000",
    "targetName": "50 元优惠券",
}  # fmt: skip
STORED_VALUE_CARD = {
    "id": 3, "cardNo": None, "title": "外婆味道储值卡", "colour": "#34988E",
    "logo": "/item/191213/b711eb02-ceb0-4f52-b141-a45eb4f813dc.jpeg", "storeIds": "3,4", "eventIds": None,
    "adminId": 19, "type": 10, "created": "2019-12-13T06:34:24.000+0000", "summary": "储值卡", "detail": None,
    "storeVos": [SOUTH, WUYUE], "eventVos": [EVENT_OF_COUPONS],
}  # fmt: skip
ACTIVITY_CARD = {
    "id": 4, "cardNo": None, "title": "外婆味道活动卡", "colour": "#E43B19",
    "logo": "/item/191213/747d5de2-5415-4c70-812f-e1a87ff27184.jpeg", "storeIds": "3,4", "eventIds": None,
    "adminId": 19, "type": 11, "created": "2019-12-13T06:34:24.000+0000", "summary": "<p>活动卡活动卡</p>",
    "detail": None, "storeVos": [SOUTH, WUYUE], "eventVos": [EVENT_OF_200, EVENT_OF_COUPONS],
}  # fmt: skip


@pytest.fixture
def shop(cloud):
    furnish()
    return Shop(cloud)


def offer(product_id, **facts):
    facts = {"title": "卡", "store_ids": [3], "admin_id": OWNER, "type": 10, "created_at": NOW, **facts}
    commit(Put(ProductTable(merchant_id=MERCHANT, id=product_id, **facts)))


def ids(shop, **fields):
    return [card["id"] for card in shop.data(list_openable_cards, **fields)]


def test_cards_come_with_their_stores_and_events(shop):
    furnish(OTHER_MERCHANT)

    with calls_made() as calls:
        answer = shop.call(list_openable_cards, type=1)

    assert answer.body == {
        "errCode": 0, "result": 0, "data": [STORED_VALUE_CARD, ACTIVITY_CARD], "time": 1706424089006,
    }  # fmt: skip
    assert calls == ["GetItem", "GetItem", "Query", "BatchGetItem", "BatchGetItem", "BatchGetItem"]


def test_only_cards_of_the_accounts_stores_can_be_opened(cloud, shop):
    offer(5, store_ids=[5])
    offer(6, store_ids=[])
    offer(7, active=0)

    assert ids(shop) == [3, 4]
    assert ids(Shop(cloud, 23)) == [5]
    assert ids(Shop(cloud, OWNER)) == [3, 4, 5]


def test_stores_and_events_stand_in_the_order_of_their_ids_and_missing_ones_are_left_out(shop):
    offer(5, store_ids=[5, 3, 99, 4], event_ids=[43, 77, 9], type=11)

    card = shop.data(list_openable_cards)[-1]

    assert card["storeIds"] == "5,3,99,4"
    assert [store["id"] for store in card["storeVos"]] == [5, 3, 4]
    assert [event["id"] for event in card["eventVos"]] == [43, 9]
    assert (card["colour"], card["logo"], card["summary"]) == (None, None, None)


def test_any_other_type_asks_for_pages(shop):
    for product_id in range(5, 8):
        offer(product_id)

    page = shop.call(list_openable_cards, type=2, pageNum=2, pageSize=2).body

    assert [card["id"] for card in page["data"]] == [5, 6]
    assert (page["total"], page["pages"], page["pageNum"], page["pageSize"]) == (5, 3, 2, 2)


def test_without_type_it_is_the_whole_list(shop):
    body = shop.call(list_openable_cards, pageSize=1).body

    assert [card["id"] for card in body["data"]] == [3, 4]
    assert "total" not in body


def test_it_refuses_what_is_no_type(shop):
    code, message = shop.refused(list_openable_cards, type="all")

    assert code == 1
    assert message.startswith("参数错误：type")


def test_sessions_are_prolonged(shop):
    prolongs(shop, list_openable_cards)
