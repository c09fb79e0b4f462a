from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from functions.membership.give_coupon import give_coupon
from functions.membership.list_giftable_coupons import list_giftable_coupons
from functions.membership.redeem_coupon import redeem_coupon
from kernel import aws, clock
from kernel.tables import Change, Put, commit
from membership.tables import CouponTable, HoldingTable, StoreTable
from tests.conftest import NOW
from tests.shops import (
    CASHIER,
    MERCHANT,
    OTHER_MERCHANT,
    OWNER,
    PHONE,
    Shop,
    calls_made,
    customer,
    furnish,
    prolongs,
)

PLACE = {"address": "南屏街", "area": "云南,昆明市,五华区", "phone": "123456666666", "linkman": "小明"}
SOUTH = {"id": 3, "name": "外婆味道南屏店", **PLACE}
WUYUE = {"id": 4, "name": "外婆味道吾悦店", **PLACE}
DAGUAN = {"id": 5, "name": "外婆味道大观店", **PLACE}
OF_20 = {
    "id": 1, "title": "20 元优惠券", "summary": "使用说明，简介",
    "logo": "/item/200212/a1f46021-dcd2-44d0-802a-66aad94bbd23.png", "storeIds": "5,4,3", "adminId": 19, "type": 1,
    "status": 1, "date": "2030-03-01 00:00:00", "updated": "2019-12-13 14:34:24", "created": "2019-12-13 14:34:24",
    "storeVos": [DAGUAN, WUYUE, SOUTH],
}  # fmt: skip
OF_50 = {
    "id": 2, "title": "50 元优惠券", "summary": "使用", "logo": None, "storeIds": "4,3", "adminId": 19, "type": 1,
    "status": 1, "date": "2030-04-30 00:00:00", "updated": "2019-12-13 14:34:24", "created": "2019-12-13 14:34:24",
    "storeVos": [WUYUE, SOUTH],
}  # fmt: skip
MIDNIGHT = datetime(2024, 1, 27, 16, tzinfo=UTC)  # the 28th in Shanghai, which is the day of the tests


@pytest.fixture
def shop(cloud):
    furnish()
    customer()
    return Shop(cloud)


@pytest.fixture
def owner(cloud, shop):
    return Shop(cloud, OWNER)


def coupon(coupon_id, **facts):
    """Change the coupon, or make another one."""
    row = CouponTable.find(MERCHANT, coupon_id) or CouponTable(
        merchant_id=MERCHANT, id=coupon_id, title="券", store_ids=[3], admin_id=OWNER, created_at=NOW
    )
    for name, value in facts.items():
        setattr(row, name, value)
    commit(Put(row))


def held(cloud, *names):
    return [
        tuple(row.get(name) for name in names) for row in sorted(cloud.rows("holdings"), key=lambda row: row["num"])
    ]


def give(shop, coupon_id=2, quantity=1, **fields):
    return shop.data(give_coupon, phone=PHONE, couponId=coupon_id, quantity=quantity, **fields)


@contextmanager
def overtaken():
    """Let somebody else redeem a piece after the holding was read."""

    def redeem(call):
        if call.action == "BatchGetItem":
            aws.observers.remove(redeem)
            actions = [HoldingTable.quantity.add(-1), HoldingTable.redeemed.add(1)]
            commit(Change(HoldingTable, HoldingTable.key(7, 1), actions))

    aws.observers.append(redeem)
    yield
    assert redeem not in aws.observers


class TestGiftableCoupons:
    def test_the_newest_comes_first_with_all_its_stores(self, shop):
        furnish(OTHER_MERCHANT)

        with calls_made() as calls:
            answer = shop.call(list_giftable_coupons)

        assert answer.body == {"errCode": 0, "result": 0, "data": [OF_50, OF_20], "time": 1706424089006}
        assert calls == ["GetItem", "GetItem", "Query", "BatchGetItem"]

    def test_what_cannot_be_given_is_left_out(self, shop):
        coupon(3, status=2)
        coupon(4, date=NOW - timedelta(seconds=1))
        coupon(5, stock=7, given=7)
        coupon(6, stock=7, given=6, date=NOW)
        coupon(7, date=MIDNIGHT)
        coupon(8, date=MIDNIGHT - timedelta(days=1))

        assert [row["id"] for row in shop.data(list_giftable_coupons)] == [7, 6, 2, 1]

    def test_an_account_sees_those_of_its_stores(self, cloud, shop, owner):
        coupon(3, store_ids=[])

        assert [row["id"] for row in Shop(cloud, 23).data(list_giftable_coupons)] == [1]
        assert [row["id"] for row in owner.data(list_giftable_coupons)] == [2, 1]

    def test_what_a_coupon_does_not_say_is_null(self, shop):
        coupon(9)

        assert shop.data(list_giftable_coupons)[0] == {
            "id": 9, "title": "券", "summary": None, "logo": None, "storeIds": "3", "adminId": 19, "type": 1,
            "status": 1, "date": None, "updated": None, "created": "2024-01-28 14:41:29", "storeVos": [SOUTH],
        }  # fmt: skip


class TestGivingCoupons:
    def test_pieces_are_in_the_customers_hand_and_in_the_books(self, cloud, shop):
        answer = shop.call(give_coupon, phone=PHONE, couponId=2, quantity=3)

        assert answer.body == {"errCode": 0, "result": 0, "msg": "赠送成功", "time": 1706424089006}
        assert cloud.rows("holdings") == [
            {
                "user_id": 7, "coupon_id": 2, "num": 1, "merchant_id": 12, "quantity": 3, "given": 3, "redeemed": 0,
                "withdrawn": 0, "entries": 1, "created_at": "2024-01-28T06:41:29.006Z",
            }
        ]  # fmt: skip
        assert CouponTable.find(MERCHANT, 2).given == 3
        (entry,) = cloud.rows("entries")
        assert (entry["kind"], entry["subject"], entry["moves"], entry["reference"], entry["user_id"]) == (
            "coupon_gift", "holding#1", '[["coupon_stock", "coupon_held", 3]]', 2, 7,
        )  # fmt: skip
        (shift,) = cloud.rows("shifts")
        assert (shift["shift"], shift["manager_id"], shift["coupons_given"], shift["operations"]) == (
            "12#3#20240128", CASHIER, 3, 1,
        )  # fmt: skip

    def test_more_of_the_same_goes_to_the_same_number(self, cloud, shop):
        give(shop, 2, 3)
        give(shop, 1, 1)
        give(shop, 2, 1)

        assert held(cloud, "num", "coupon_id", "quantity", "given", "entries") == [(1, 2, 4, 4, 2), (2, 1, 1, 1, 1)]

    def test_a_merchants_account_gives_at_no_store(self, cloud, owner):
        coupon(3, store_ids=[])

        give(owner, 3)

        assert [row["shift"] for row in cloud.rows("shifts")] == ["12#0#20240128"]

    def test_a_repetition_answers_the_same_and_gives_nothing_more(self, cloud, shop):
        first = shop.call(give_coupon, key="one", phone=PHONE, couponId=2, quantity=3)
        again = shop.call(give_coupon, key="one", phone=PHONE, couponId=2, quantity=3)
        other = shop.call(give_coupon, key="one", phone=PHONE, couponId=2, quantity=4)

        assert first.body == again.body
        assert (other.body["errCode"], other.body["msg"]) == (1, "Idempotency-Key 已用于另一个请求")
        assert held(cloud, "quantity") == [(3,)]

    def test_the_stock_is_never_exceeded(self, cloud, shop):
        coupon(2, stock=5)
        give(shop, 2, 3)

        assert shop.refused(give_coupon, phone=PHONE, couponId=2, quantity=3) == (1, "优惠券数量不足")
        give(shop, 2, 2)
        assert (CouponTable.find(MERCHANT, 2).given, held(cloud, "quantity")) == (5, [(5,)])

    def test_a_coupon_closed_meanwhile_is_not_given(self, cloud, shop):
        def close(call):
            if call.action == "BatchGetItem":
                aws.observers.remove(close)
                coupon(2, status=2)

        aws.observers.append(close)
        answer = shop.call(give_coupon, phone=PHONE, couponId=2, quantity=3)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, "优惠券已停用或已过期")
        assert cloud.rows("holdings") == []

    @pytest.mark.parametrize(
        ("before", "after", "given"), [(9, 2, []), (3, 9, [(3,)]), (None, 2, []), (9, None, [(3,)])]
    )
    def test_a_stock_changed_meanwhile_decides(self, cloud, shop, before, after, given):
        coupon(2, stock=before)

        def change(call):
            if call.action == "BatchGetItem":
                aws.observers.remove(change)
                coupon(2, stock=after)

        aws.observers.append(change)
        answer = shop.call(give_coupon, phone=PHONE, couponId=2, quantity=3)

        assert (answer.body["errCode"], answer.body["msg"]) == ((0, "赠送成功") if given else (1, "优惠券数量不足"))
        assert held(cloud, "quantity") == given

    def test_a_store_that_is_closed_gives_none(self, shop, owner):
        store = StoreTable.find(MERCHANT, 3)
        store.active = 0
        commit(Put(store))

        assert shop.refused(give_coupon, phone=PHONE, couponId=2, quantity=3) == (1, "门店不存在或已停用")
        give(owner)

    def test_two_first_gifts_at_once_meet_in_one_number(self, cloud, shop):
        other = Shop(cloud, OWNER)

        def overtake(call):
            if call.action == "UpdateItem":
                aws.observers.remove(overtake)
                commit(Put(HoldingTable(user_id=7, coupon_id=2, num=50, merchant_id=12, quantity=1, given=1)))

        aws.observers.append(overtake)
        give(other, 2, 3)

        assert held(cloud, "num", "quantity", "given") == [(50, 4, 4)]

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"phone": "13800000099"}, (1005, "用户不存在")),
            ({"phone": ""}, (4, "缺少参数：phone")),
            ({"couponId": 99}, (1, "优惠券不存在")),
            ({"couponId": 1002}, (1003, "没有权限")),
            ({"couponId": None}, (4, "缺少参数：couponId")),
            ({"quantity": 0}, (1, "参数错误：quantity must be greater than or equal to 1")),
            ({"quantity": 1001}, (1, "参数错误：quantity must be less than or equal to 1000")),
            ({"quantity": None}, (4, "缺少参数：quantity")),
        ],
    )
    def test_what_is_refused(self, shop, fields, refusal):
        furnish(OTHER_MERCHANT)

        assert shop.refused(give_coupon, **{"phone": PHONE, "couponId": 2, "quantity": 1, **fields}) == refusal

    @pytest.mark.parametrize(
        "facts", [{"status": 2}, {"date": NOW - timedelta(seconds=1)}, {"date": MIDNIGHT - timedelta(days=1)}]
    )
    def test_a_closed_or_expired_coupon_is_not_given(self, shop, facts):
        coupon(2, **facts)

        assert shop.refused(give_coupon, phone=PHONE, couponId=2, quantity=1) == (1, "优惠券已停用或已过期")

    def test_a_coupon_of_other_stores_is_not_given(self, cloud, shop):
        refused = Shop(cloud, 23).refused(give_coupon, phone=PHONE, couponId=2, quantity=1)

        assert refused == (1, "此门店不可使用")


class TestRedeeming:
    def test_a_piece_is_taken_and_what_was_is_kept(self, cloud, shop):
        give(shop, 1, 5)

        answer = shop.call(redeem_coupon, num=1)

        detail = (
            '{"code":"","couponId":1,"created":1706424089006,"date":1898524800000,'
            '"logo":"/item/200212/a1f46021-dcd2-44d0-802a-66aad94bbd23.png","num":1,"quantity":5,"storeIds":"5,4,3",'
            '"summary":"使用说明，简介","title":"20 元优惠券","userId":7}'
        )
        assert answer.body == {
            "errCode": 0, "result": 0, "time": 1706424089006,
            "data": {
                "id": None, "num": 1, "couponId": 1, "userId": 7, "storeId": 3, "detail": detail, "adminId": 21,
                "quantity": 1, "created": None, "nickname": None, "phone": None, "storeName": None, "title": None,
            },
        }  # fmt: skip
        assert held(cloud, "quantity", "given", "redeemed", "entries") == [(4, 5, 1, 2)]
        (use,) = cloud.rows("coupon-uses")
        del use["use_id"]
        assert use == {
            "num": 1, "store_id": 3, "manager_id": 21, "detail": detail, "created_at": "2024-01-28T06:41:29.006Z",
        }  # fmt: skip
        (entry,) = (row for row in cloud.rows("entries") if row["kind"] == "coupon_use")
        assert (entry["subject"], entry["moves"], entry["reference"], entry["user_id"], entry["store_id"]) == (
            "holding#1", '[["coupon_held", "coupon_redeemed", 1]]', 1, 7, 3,
        )  # fmt: skip
        (shift,) = cloud.rows("shifts")
        assert (shift["coupons_given"], shift["coupons_redeemed"], shift["operations"]) == (5, 1, 2)

    def test_what_a_coupon_does_not_say_is_left_out_of_the_snapshot(self, shop):
        coupon(3)
        give(shop, 3)

        assert shop.data(redeem_coupon, num="1")["detail"] == (
            '{"code":"","couponId":3,"created":1706424089006,"num":1,"quantity":1,"storeIds":"3","title":"券",'
            '"userId":7}'
        )

    def test_it_takes_five_requests(self, shop):
        give(shop, 1, 5)

        with calls_made() as calls:
            shop.call(redeem_coupon, num=1)

        assert calls == ["GetItem", "GetItem", "Query", "BatchGetItem", "TransactWriteItems"]

    def test_a_repetition_answers_the_same_and_takes_nothing_more(self, cloud, shop):
        give(shop, 1, 5)
        first, again = (shop.call(redeem_coupon, key="one", num=1) for _ in range(2))
        # Without a key the same request counts as the same for three seconds.
        third, fourth = (shop.call(redeem_coupon, key="", num=1) for _ in range(2))
        with clock.frozen(NOW + timedelta(seconds=4)):
            fifth = shop.call(redeem_coupon, key="", num=1)

        assert first.body == again.body
        assert third.body == fourth.body
        for answer, left in ((first, 5), (third, 4), (fifth, 3)):
            assert f'"quantity":{left},' in answer.body["data"]["detail"]
        assert held(cloud, "quantity", "redeemed") == [(2, 3)]

    def test_a_snapshot_tells_what_was_there_although_others_redeem_too(self, cloud, shop):
        give(shop, 1, 5)

        with overtaken():
            detail = shop.data(redeem_coupon, num=1)["detail"]

        assert '"quantity":4' in detail
        assert [use["detail"] for use in cloud.rows("coupon-uses")] == [detail]
        assert held(cloud, "quantity", "redeemed") == [(3, 2)]

    @pytest.mark.parametrize(("facts", "message"), [({}, "优惠券已用完"), ({"per_person": 1}, "此优惠券每人限用 1 张")])
    def test_who_comes_second_to_the_last_piece_is_refused(self, cloud, shop, facts, message):
        coupon(1, **facts)
        give(shop, 1, 2 if facts else 1)

        with overtaken():
            answer = shop.call(redeem_coupon, num=1)

        assert (answer.body["errCode"], answer.body["msg"]) == (1, message)
        assert held(cloud, "redeemed") == [(1,)]
        assert cloud.rows("coupon-uses") == []

    def test_nobody_redeems_more_than_his_share(self, cloud, shop):
        coupon(1, per_person=2)
        give(shop, 1, 5)

        for _ in range(2):
            shop.data(redeem_coupon, num=1)

        assert shop.refused(redeem_coupon, num=1) == (1, "此优惠券每人限用 2 张")
        assert held(cloud, "quantity", "redeemed") == [(3, 2)]

    def test_the_last_day_counts_to_its_end(self, shop):
        give(shop, 1, 5)
        coupon(1, date=MIDNIGHT)
        with clock.frozen(datetime(2024, 1, 28, 15, 59, 59, tzinfo=UTC)):
            assert shop.data(redeem_coupon, num=1)
        with clock.frozen(datetime(2024, 1, 28, 16, 0, 0, tzinfo=UTC)):
            assert shop.refused(redeem_coupon, num=1) == (1, "优惠券已过期")

    def test_any_other_time_is_the_last_moment(self, shop):
        give(shop, 1, 5)
        coupon(1, date=NOW)

        assert shop.data(redeem_coupon, num=1)
        with clock.frozen(NOW + timedelta(milliseconds=1)):
            assert shop.refused(redeem_coupon, num=1) == (1, "优惠券已过期")

    def test_a_coupon_that_is_no_longer_given_is_still_good(self, shop):
        give(shop, 1, 1)
        coupon(1, status=2)

        assert shop.data(redeem_coupon, num=1)

    def test_it_is_good_only_at_its_stores(self, cloud, shop):
        give(shop, 2, 1)

        assert Shop(cloud, 23).refused(redeem_coupon, num=1) == (1, "此门店不可使用")
        assert Shop(cloud, 22).data(redeem_coupon, num=1)["storeId"] == 4

    def test_a_closed_store_redeems_nothing(self, shop):
        give(shop, 1, 1)
        store = StoreTable.find(MERCHANT, 3)
        store.active = 0
        commit(Put(store))

        assert shop.refused(redeem_coupon, num=1) == (1, "门店不存在或已停用")

    def test_a_merchants_account_stands_at_no_till(self, shop, owner):
        give(shop, 1, 1)

        assert owner.refused(redeem_coupon, num=1) == (1, "商户账号没有门店，不能在此操作")

    def test_a_coupon_of_another_merchant_is_denied(self, cloud, shop):
        furnish(OTHER_MERCHANT)
        give(shop, 1, 1)

        assert Shop(cloud, CASHIER + 1000).refused(redeem_coupon, num=1) == (1003, "没有权限")

    @pytest.mark.parametrize(
        ("num", "refusal"),
        [
            (99, (1, "优惠券不存在")),
            ("", (4, "缺少参数：num")),
            (0, (1, "参数错误：num must be greater than or equal to 1")),
        ],
    )
    def test_numbers_that_are_none(self, shop, num, refusal):
        assert shop.refused(redeem_coupon, num=num) == refusal


def test_sessions_are_prolonged(shop):
    prolongs(shop, list_giftable_coupons, give_coupon, redeem_coupon)
