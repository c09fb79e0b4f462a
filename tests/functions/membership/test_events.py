import pytest

from functions.membership.get_event_detail import get_event_detail
from functions.membership.list_card_events import list_card_events
from kernel.tables import Put, commit
from membership.tables import EventTable, ProductTable
from tests.conftest import NOW
from tests.shops import (
    ACTIVITY,
    EVENT_200,
    EVENT_COUPONS,
    MERCHANT,
    OTHER_MERCHANT,
    OWNER,
    STORED_VALUE,
    Shop,
    calls_made,
    furnish,
    prolongs,
)

LISTED = {
    "id": 9, "title": "充200 送200 返200", "summary": "充200 送200 返200", "rechargeMoney": 200.0, "sendMoney": 200.0,
    "targetId": None, "adminId": 19, "type": 1, "status": 10, "created": "2019-12-13T06:34:24.000+0000",
    "targetName": None,
}  # fmt: skip
LISTED_WITH_COUPONS = {
    "id": 43, "title": "充100 送2 张50元优惠券", "summary": "充100 送2 张50元优惠券", "rechargeMoney": 100.0,
    "sendMoney": 0.0, "targetId": 2, "adminId": 19, "type": 2, "status": 1, "created": "2019-12-13T06:34:24.000+0000",
    "targetName": "50 元优惠券",
}  # fmt: skip
DETAIL = {
    "id": 43, "title": "充100 送2 张50元优惠券", "couponTitle": "50 元优惠券", "summary": "充100 送2 张50元优惠券",
    "rechargeMoney": 100.0, "sendMoney": 0.0, "targetId": 2, "adminId": 19, "type": 2, "status": 1,
    "updated": "2019-12-13 14:34:24", "created": "2019-12-13 14:34:24", "scale": None, "quantity": 2,
}  # fmt: skip


@pytest.fixture
def shop(cloud):
    furnish()
    return Shop(cloud)


def event(event_id, **facts):
    facts = {"title": "活动", "recharge": 1, "gift": 0, "admin_id": OWNER, "type": 1, "status": 1, **facts}
    commit(Put(EventTable(merchant_id=MERCHANT, id=event_id, created_at=NOW, **facts)))


def link(*event_ids):
    for product_id in (STORED_VALUE, ACTIVITY):
        product = ProductTable.find(MERCHANT, product_id)
        product.event_ids = list(event_ids)
        commit(Put(product))


def test_events_of_an_activity_card_are_all_that_are_linked(shop):
    with calls_made() as calls:
        answer = shop.call(list_card_events, cardId=ACTIVITY)

    assert answer.body == {
        "errCode": 0, "result": 0, "data": [LISTED, LISTED_WITH_COUPONS], "time": 1706424089006,
    }  # fmt: skip
    assert calls == ["GetItem"] * 3 + ["BatchGetItem"] * 2


def test_other_cards_have_only_those_for_any_card(shop):
    link(EVENT_200, EVENT_COUPONS)

    assert shop.data(list_card_events, cardId=STORED_VALUE) == [LISTED_WITH_COUPONS]


def test_events_of_unknown_states_are_hidden(shop):
    event(50, status=2)
    link(50)

    assert shop.data(list_card_events, cardId=ACTIVITY) == []
    assert shop.data(list_card_events, cardId=STORED_VALUE) == []


def test_only_events_that_give_coupons_name_one(shop):
    event(50, type=1, target_id=2)
    event(51, type=5, target_id=1, quantity=3)
    event(52, type=2, target_id=88)
    link(50, 51, 52)

    found = shop.data(list_card_events, cardId=STORED_VALUE)

    assert [(row["targetId"], row["targetName"]) for row in found] == [
        (None, None), (1, "20 元优惠券"), (88, None),
    ]  # fmt: skip


def test_a_card_without_events_has_an_empty_list(shop):
    link()

    assert shop.data(list_card_events, cardId=ACTIVITY) == []


def test_amounts_have_two_decimals(cloud, shop):
    text = list_card_events(
        {
            "headers": {"token": shop.token},
            "body": '{"cardId": 3}',
            "requestContext": {"requestId": "1"},
        },
        None,
    )["body"]

    assert '"rechargeMoney":100.00,"sendMoney":0.00' in text


@pytest.mark.parametrize(
    ("card", "refusal"),
    [
        (99, (1, "会员卡不存在")),
        (1000 + ACTIVITY, (1003, "没有权限")),
        ("", (4, "缺少参数：cardId")),
    ],
)
def test_events_of_cards_that_the_merchant_has_not(shop, card, refusal):
    furnish(OTHER_MERCHANT)

    assert shop.refused(list_card_events, cardId=card) == refusal


def test_an_event_shows_its_coupon(shop):
    answer = shop.call(get_event_detail, eventId=EVENT_COUPONS)

    assert answer.body == {"errCode": 0, "result": 0, "data": DETAIL, "time": 1706424089006}


def test_an_event_without_coupons_shows_none(shop):
    assert shop.data(get_event_detail, eventId=str(EVENT_200)) == {
        "id": 9, "title": "充200 送200 返200", "couponTitle": None, "summary": "充200 送200 返200",
        "rechargeMoney": 200.0, "sendMoney": 200.0, "targetId": None, "adminId": 19, "type": 1, "status": 10,
        "updated": "2019-12-13 14:34:24", "created": "2019-12-13 14:34:24", "scale": None, "quantity": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event_id", "refusal"),
    [
        (99, (1, "活动不存在")),
        (1000 + EVENT_200, (1003, "没有权限")),
        (None, (4, "缺少参数：eventId")),
    ],
)
def test_events_that_the_merchant_has_not(shop, event_id, refusal):
    furnish(OTHER_MERCHANT)

    assert shop.refused(get_event_detail, eventId=event_id) == refusal


def test_sessions_are_prolonged(shop):
    prolongs(shop, list_card_events, get_event_detail)
