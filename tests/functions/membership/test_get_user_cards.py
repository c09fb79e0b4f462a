import pytest

from functions.membership.get_user_cards import get_user_cards
from kernel.tables import Put, commit, write_all
from membership.tables import CardTable, CustomerTable, ProductTable, owner_key
from tests.shops import ACTIVITY, MERCHANT, OTHER_MERCHANT, PHONE, STORED_VALUE, Shop, customer, furnish, prolongs
from tests.tills import DONE, Till, open_shop

AVATAR = "https://liyuquan.cn/staticorder/comment/20190923/1569232138231132-600-600.jpg"


@pytest.fixture
def till(cloud):
    till = open_shop(cloud, ACTIVITY, STORED_VALUE)
    row = CustomerTable.find(MERCHANT, PHONE)
    row.avatar = AVATAR
    commit(Put(row))
    return till


def records(shop):
    return shop.data(get_user_cards, userId=7)[1]["eventCards"]


def test_all_cards_with_their_balances(till):
    till.stored(80, "20.5")
    till.spent("10.5", STORED_VALUE)
    till.recharged()
    till.recharged()
    till.spent(450)

    answer = till.call(get_user_cards, userId=7)

    about = {
        "userId": 7,
        "phone": PHONE,
        "nickname": "哈哈",
        "avatar": AVATAR,
        "created": "2024-01-28T06:41:29.006+0000",
    }
    assert (answer.status, answer.body) == (200, {**DONE, "data": [
        {**about, "cardId": 3, "title": "外婆味道储值卡", "cardNo": 7924012814101, "balance": 90.0, "type": 10,
         "capital": None, "send": None, "eventCards": None},
        {**about, "cardId": 4, "title": "外婆味道活动卡", "cardNo": 7924012814100, "balance": 350.0, "type": 11,
         "capital": 0.0, "send": 350.0, "eventCards": [
             {"storeMemberEventId": 1, "capitalBalance": 0.0, "sendBalance": 150.0, "status": 2},
             {"storeMemberEventId": 2, "capitalBalance": 0.0, "sendBalance": 200.0, "status": 1},
         ]},
    ]})  # fmt: skip


def test_finished_records_are_shown_until_their_recharge_is_refunded(till):
    orders = [till.recharged() for _ in range(4)]
    till.spent(1000)
    till.spent(200)
    till.cashed_back(1)
    till.refunded(max(row for (row,) in till.rows("orders", "order_no")))
    assert [(row["storeMemberEventId"], row["status"]) for row in records(till)] == [(1, 5), (2, 1), (3, 1), (4, 1)]
    till.spent(200)
    till.paid_back(till.recharged())

    assert [(row["storeMemberEventId"], row["status"]) for row in records(till)] == [(1, 5), (2, 3), (3, 1), (4, 1)]
    assert len(orders) == 4


def test_a_card_that_was_never_recharged(till):
    assert records(till) == []


def test_amounts_have_two_decimals(till):
    event = {"headers": {"token": till.token}, "body": '{"userId":7}', "requestContext": {}}

    assert '"balance":0.00,"type":11,"capital":0.00,"send":0.00' in get_user_cards(event, None)["body"]


def test_customers_without_cards(cloud, till):
    customer(8, "13800000008")

    assert till.data(get_user_cards, userId=8) == []
    assert Shop(cloud, 23).data(get_user_cards, userId=8) == []


def test_a_customer_with_more_cards_than_a_request_reads(till):
    more = range(100, 220)
    rows = [ProductTable(merchant_id=MERCHANT, id=one, title=f"卡{one}", admin_id=19, type=10) for one in more]
    like = CardTable.find(owner_key(MERCHANT, PHONE), STORED_VALUE).item()
    for one in more:
        card = CardTable.of_item(like)
        card.product_id = card.id = card.card_no = one
        rows.append(card)
    write_all(map(Put, rows))

    cards = till.data(get_user_cards, userId=7)

    assert [card["cardId"] for card in cards] == [STORED_VALUE, ACTIVITY, *more]
    assert cards[-1]["title"] == "卡219"


def test_cards_of_another_merchant_are_not_shown(cloud, till):
    furnish(OTHER_MERCHANT)
    customer(9, merchant_id=OTHER_MERCHANT)
    other = Till(cloud, 1021)
    other.opened(1003)

    assert [row["cardId"] for row in other.data(get_user_cards, userId=9)] == [1003]
    assert [row["cardId"] for row in till.data(get_user_cards, userId=7)] == [3, 4]
    assert other.refused(get_user_cards, userId=7) == (1003, "没有权限")


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"userId": 99}, (1005, "用户不存在")),
        ({"userId": ""}, (4, "缺少参数：userId")),
        ({"userId": 7, "token": "x"}, (1002, "需要登录")),
    ],
)
def test_what_is_refused(till, fields, refusal):
    assert till.refused(get_user_cards, **fields) == refusal


def test_sessions_are_prolonged(till):
    prolongs(till, get_user_cards)
