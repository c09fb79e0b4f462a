import pytest

from functions.membership.create_coupon import create_coupon
from functions.membership.create_event import create_event
from functions.membership.create_product import create_product
from functions.membership.get_coupon import get_coupon
from functions.membership.get_event import get_event
from functions.membership.get_product import get_product
from functions.membership.list_merchant_coupons import list_merchant_coupons
from functions.membership.list_merchant_events import list_merchant_events
from functions.membership.list_merchant_products import list_merchant_products
from functions.membership.set_coupon_state import set_coupon_state
from functions.membership.set_product_state import set_product_state
from functions.membership.update_coupon import update_coupon
from functions.membership.update_event import update_event
from functions.membership.update_product import update_product
from kernel import numbering
from kernel.tables import Change, Put, commit
from membership.tables import CouponTable, MerchantTable
from tests.shops import MERCHANT, OTHER_MERCHANT, OWNER, furnish, office, office_refused

NOW = "2024-01-28T06:41:29.006+0000"
THEN = "2019-12-13T06:34:24.000+0000"
WHERE = {"merchant": "12"}
MADE = {"id": 101, "version": 1, "created": NOW, "updated": NOW, "adminId": OWNER}
PRODUCT = {"title": "外婆味道金卡", "type": 11, "storeIds": [4, 3], "eventIds": [43, 9]}
PRODUCT_MORE = {"colour": "#E43B19", "logo": "/item/191213/x.jpeg", "summary": "<p>活动卡</p>", "detail": "<p>x</p>"}
EVENT = {"title": "充200 送200", "type": 1, "rechargeMoney": "200.00", "sendMoney": 200, "status": 10}
COUPON = {"title": "20 元优惠券", "storeIds": [5, 4, 3]}


@pytest.fixture
def shop(cloud):
    furnish()
    furnish(OTHER_MERCHANT)
    for sequence in ("products", "events", "coupons"):
        numbering.take(sequence, 100)
    return cloud


class TestProducts:
    def test_are_made_shown_changed_and_closed(self, shop):
        made = office(shop, create_product, {**PRODUCT, **PRODUCT_MORE}, path=WHERE)
        where = {**WHERE, "product": "101"}
        assert made == {**MADE, **PRODUCT, **PRODUCT_MORE, "state": "active"}
        assert office(shop, get_product, path=where) == made

        change = {"title": "金卡", "storeIds": [3], "eventIds": [], "detail": None, "version": 1}
        changed = office(shop, update_product, change, path=where)
        assert changed == {**made, **change, "version": 2}

        closed = office(shop, set_product_state, {"state": "disabled"}, path=where)
        assert closed == {**changed, "state": "disabled", "version": 3}
        assert [entry["subject"] for entry in shop.rows("audit")] == ["products/101"] * 3

    def test_are_listed(self, shop):
        first = office(shop, list_merchant_products, query={"limit": "1"}, path=WHERE)
        rest = office(shop, list_merchant_products, query={"cursor": first["cursor"]}, path=WHERE)

        assert [item["id"] for item in (*first["items"], *rest["items"])] == [3, 4]
        assert rest["cursor"] is None
        assert first["items"][0] == {
            "id": 3,
            "version": 1,
            "created": THEN,
            "updated": THEN,
            "title": "外婆味道储值卡",
            "colour": "#34988E",
            "logo": "/item/191213/b711eb02-ceb0-4f52-b141-a45eb4f813dc.jpeg",
            "storeIds": [3, 4],
            "eventIds": [43],
            "adminId": OWNER,
            "type": 10,
            "summary": "储值卡",
            "detail": None,
            "state": "active",
        }

    @pytest.mark.parametrize(
        ("change", "msg"),
        [
            ({"storeIds": [3, 1003, 77]}, "storeIds names what the merchant has not: 1003,77"),
            ({"eventIds": [9, 1009]}, "eventIds names what the merchant has not: 1009"),
            ({"storeIds": []}, "storeIds must have at least 1 item after validation, not 0"),
            ({"type": 2}, "type must be 1, 10 or 11"),
            ({"colour": "red"}, "colour has characters or a form that is not allowed here"),
            ({"title": None}, "title must be a valid string"),
        ],
    )
    def test_what_is_wrong_is_refused(self, shop, change, msg):
        refusal = office_refused(shop, create_product, {**PRODUCT, **change}, path=WHERE)

        assert (refusal[0], refusal[2].partition(" after validation")[0]) == (400, msg.partition(" after")[0])

    @pytest.mark.parametrize(
        ("change", "msg"),
        [
            ({"type": 10}, "type Extra inputs are not permitted"),
            ({"storeIds": [1003]}, "storeIds names what the merchant has not: 1003"),
            ({"eventIds": [8]}, "eventIds names what the merchant has not: 8"),
            ({"storeIds": None}, "storeIds must be a valid list"),
        ],
    )
    def test_is_not_changed_into_nonsense(self, shop, change, msg):
        refusal = office_refused(shop, update_product, change, path={**WHERE, "product": "4"})

        assert refusal == (400, 400, msg)

    def test_need_an_owner(self, cloud):
        commit(Put(MerchantTable(id=MERCHANT, merchant_name="x", version=1)))
        msg = "The merchant has no account of its own yet; make one without storeId first"

        for operation, body in ((create_product, PRODUCT), (create_event, EVENT), (create_coupon, COUPON)):
            assert office_refused(cloud, operation, body, path=WHERE) == (409, 409, msg)


class TestEvents:
    def test_are_made_shown_and_changed(self, shop):
        made = office(shop, create_event, {**EVENT, "summary": "返200"}, path=WHERE)
        where = {**WHERE, "event": "101"}
        money = {"rechargeMoney": 200.0, "sendMoney": 200.0}
        nothing = {"targetId": None, "quantity": None}
        assert made == {**MADE, **EVENT, **money, **nothing, "summary": "返200"}
        assert office(shop, get_event, path=where) == made

        change = {"type": 5, "targetId": 2, "quantity": 3, "summary": None, "rechargeMoney": 99.99}
        assert office(shop, update_event, change, path=where) == {**made, **change, "version": 2}
        assert [entry["subject"] for entry in shop.rows("audit")] == ["events/101"] * 2

    def test_may_give_coupons_only(self, shop):
        body = {"title": "x", "type": 2, "rechargeMoney": 100, "targetId": 2, "quantity": 2}

        made = office(shop, create_event, body, path=WHERE)

        assert made == {**MADE, **body, "sendMoney": 0.0, "status": 1, "summary": None}

    def test_are_listed(self, shop):
        first = office(shop, list_merchant_events, query={"limit": "1"}, path=WHERE)
        rest = office(shop, list_merchant_events, query={"cursor": first["cursor"]}, path=WHERE)

        assert [item["id"] for item in (*first["items"], *rest["items"])] == [9, 43]

    @pytest.mark.parametrize(
        ("change", "msg"),
        [
            ({"sendMoney": 0}, "sendMoney must be more than 0 for type 1"),
            (
                {"targetId": 2, "quantity": 1},
                "targetId must be left out for type 1; quantity must be left out for type 1",
            ),
            ({"type": 2, "targetId": 2, "quantity": 1}, "sendMoney must be 0 for type 2"),
            ({"type": 5}, "targetId is required for type 5; quantity is required for type 5"),
            ({"type": 5, "targetId": 1002, "quantity": 1}, "targetId names what the merchant has not: 1002"),
            ({"type": 3}, "type must be 1, 2 or 5"),
            ({"status": 2}, "status must be 1 or 10"),
            ({"rechargeMoney": 0}, "rechargeMoney must be greater than 0"),
            ({"rechargeMoney": "1.005"}, "rechargeMoney must be an amount in yuan with at most two decimals"),
        ],
    )
    def test_give_what_their_type_says(self, shop, change, msg):
        assert office_refused(shop, create_event, {**EVENT, **change}, path=WHERE) == (400, 400, msg)

    def test_still_do_after_a_change(self, shop):
        refusal = office_refused(shop, update_event, {"type": 1}, path={**WHERE, "event": "43"})

        msg = "sendMoney must be more than 0 for type 1; targetId must be left out for type 1"
        assert refusal == (400, 400, f"{msg}; quantity must be left out for type 1")


class TestCoupons:
    def test_are_made_shown_changed_and_closed(self, shop):
        more = {"summary": "使用说明", "logo": "/item/200212/x.png", "stock": 1000, "perPerson": 2}

        made = office(shop, create_coupon, {**COUPON, **more, "date": "2030-02-28"}, path=WHERE)
        where = {**WHERE, "coupon": "101"}
        rest = {"type": 1, "state": "active", "given": 0}
        assert made == {**MADE, **COUPON, **more, **rest, "date": "2030-02-28 00:00:00"}
        assert office(shop, get_coupon, path=where) == made

        # Somebody is given pieces between the reading and the writing of a change.
        commit(Change(CouponTable, CouponTable.key(MERCHANT, 101), [CouponTable.given.add(7)]))
        change = {"stock": None, "date": "2030-03-01T00:00:00+00:00"}
        changed = office(shop, update_coupon, change, path=where)
        assert changed == {**made, "stock": None, "date": "2030-03-01 08:00:00", "given": 7, "version": 2}

        closed = office(shop, set_coupon_state, {"state": "disabled"}, path=where)
        assert closed == {**changed, "state": "disabled", "version": 3}
        row = next(row for row in shop.rows("coupons") if row["id"] == 101)
        assert (row["status"], row["date"]) == (0, "2030-03-01T00:00:00.000Z")

    def test_are_listed(self, shop):
        first = office(shop, list_merchant_coupons, query={"limit": "1"}, path=WHERE)
        rest = office(shop, list_merchant_coupons, query={"cursor": first["cursor"]}, path=WHERE)

        assert [(item["id"], item["date"]) for item in (*first["items"], *rest["items"])] == [
            (1, "2030-03-01 00:00:00"),
            (2, "2030-04-30 00:00:00"),
        ]

    @pytest.mark.parametrize(
        ("change", "msg"),
        [
            ({"storeIds": [1003]}, "storeIds names what the merchant has not: 1003"),
            ({"date": "2030-02-30"}, "date must be a time such as 2020-04-30 00:00:00"),
            ({"date": 5}, "date must be a time such as 2020-04-30 00:00:00"),
            ({"date": "0001-01-01"}, "date must be in the years 2000 to 2999"),
            ({"date": "9999-12-31T23:59:59-12:00"}, "date must be in the years 2000 to 2999"),
            ({"stock": -1}, "stock must be greater than or equal to 0"),
            ({"perPerson": 0}, "perPerson must be greater than or equal to 1"),
            ({"given": 5}, "given Extra inputs are not permitted"),
        ],
    )
    def test_what_is_wrong_is_refused(self, shop, change, msg):
        assert office_refused(shop, create_coupon, {**COUPON, **change}, path=WHERE) == (400, 400, msg)
        assert office_refused(shop, update_coupon, change, path={**WHERE, "coupon": "1"}) == (400, 400, msg)


def test_another_merchants_are_not_there(shop):
    state = {"state": "disabled"}
    for thing, number, calls in (
        ("product", 1003, [(get_product, None), (update_product, {"title": "x"}), (set_product_state, state)]),
        ("event", 1009, [(get_event, None), (update_event, {"title": "x"})]),
        ("coupon", 1001, [(get_coupon, None), (update_coupon, {"title": "x"}), (set_coupon_state, state)]),
    ):
        for operation, body in calls:
            refusal = office_refused(shop, operation, body, path={**WHERE, thing: str(number)})
            assert refusal == (404, 404, f"There is no such {'card' if thing == 'product' else thing}")
