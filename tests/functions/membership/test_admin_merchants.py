import jwt
import pytest

from functions.membership.admin_login import admin_login
from functions.membership.create_merchant import create_merchant
from functions.membership.create_store import create_store
from functions.membership.get_merchant import get_merchant
from functions.membership.get_store import get_store
from functions.membership.list_merchant_stores import list_merchant_stores
from functions.membership.list_merchants import list_merchants
from functions.membership.set_store_state import set_store_state
from functions.membership.update_merchant import update_merchant
from functions.membership.update_store import update_store
from kernel import sign_in
from kernel.settings import settings
from kernel.tables import Put, commit, write_all
from membership import managers
from membership.tables import MerchantTable, StoreTable
from tests.shops import CASHIER, MERCHANT, OTHER_MERCHANT, OWNER, STORE, calls_made, furnish, office, office_refused

TIME = 1706424089006
NOW = "2024-01-28T06:41:29.006+0000"
THEN = "2019-12-13T06:34:24.000+0000"
PLATFORM = ["platform"]


def merchant(number, name, **more):
    fields = {"id": number, "name": name, "adminId": None, "signedCodesOnly": False, "version": 1}
    return {**fields, "created": NOW, "updated": NOW, **more}


FURNISHED = merchant(MERCHANT, "外婆味道", adminId=OWNER, created=THEN, updated=THEN)


def store(number, name="外婆味道", **more):
    fields = {"id": number, "name": name, "address": None, "phone": None, "area": None, "linkman": None}
    return {**fields, "adminId": None, "state": "active", "version": 1, "created": NOW, "updated": NOW, **more}


SOUTH = store(
    STORE, "外婆味道南屏店", address="南屏街", phone="123456666666", area="云南,昆明市,五华区", linkman="小明",
    adminId=CASHIER, created=THEN, updated=THEN,
)  # fmt: skip


def test_an_operator_signs_in(cloud):
    pool = {"UserPoolId": settings().pool_id, "Username": "boss"}
    cognito = cloud.client("cognito-idp")
    cognito.admin_create_user(**pool)
    cognito.admin_set_user_password(**pool, Password="Right-1-password", Permanent=True)

    answer = cloud.call(admin_login, {"username": "boss", "password": "Right-1-password"}, caller="")

    data = answer.body.pop("data")
    assert (answer.status, answer.body) == (200, {"errCode": 0, "result": 0, "time": TIME})
    assert data.keys() == {"idToken", "refreshToken", "expiresIn"}
    claims = jwt.decode(data["idToken"], options={"verify_signature": False})
    assert claims["cognito:username"] == "boss"
    assert cloud.rows("rates") == []


def test_a_wrong_password_is_refused(cloud):
    answer = cloud.call(admin_login, {"username": "boss", "password": "wrong"}, caller="")

    body = {"errCode": 401, "result": 1, "msg": "Unauthorized", "time": TIME}
    assert (answer.status, answer.body) == (401, body)


@pytest.mark.parametrize("name", ["manager-21", "MANAGER-21", " manager-21 ", "manager-", "manager-boss"])
def test_managers_are_refused_before_the_pool_is_asked(cloud, name):
    password = managers.cognito_password("e" * 32)
    sign_in.add_user(managers.pool_name(CASHIER), password)

    with calls_made() as calls:
        answer = cloud.call(admin_login, {"username": name, "password": password}, caller="")

    body = {"errCode": 401, "result": 1, "msg": "Unauthorized", "time": TIME}
    assert (answer.status, answer.body, calls) == (401, body, [])


class TestMerchants:
    def test_the_platform_makes_them(self, cloud):
        made = office(cloud, create_merchant, {"name": "外婆味道", "signedCodesOnly": True}, groups=PLATFORM)

        assert made == merchant(1, "外婆味道", signedCodesOnly=True)
        assert office(cloud, get_merchant, path={"merchant": "1"}, groups=["1"]) == made
        (entry,) = cloud.rows("audit")
        assert (entry["tenant"], entry["actor"], entry["operation"]) == ("1", "0001", "create_merchant")
        assert (entry["subject"], "before" in entry) == ("merchants/1", False)

    def test_nobody_else_does(self, cloud):
        refusal = office_refused(cloud, create_merchant, {"name": "外婆味道"}, groups=["12"])

        assert refusal == (403, 403, "Permission denied")

    @pytest.mark.parametrize(
        ("body", "msg"),
        [
            ({}, "name is required"),
            ({"name": ""}, "name must be a valid string"),
            ({"name": "x", "id": 7}, "id Extra inputs are not permitted"),
        ],
    )
    def test_what_is_wrong_is_named(self, cloud, body, msg):
        assert office_refused(cloud, create_merchant, body, groups=PLATFORM) == (400, 400, msg)

    def test_the_platform_sees_all_page_by_page(self, cloud):
        write_all(Put(MerchantTable(id=number, merchant_name=f"M{number}", version=1)) for number in (2, 10, 9))

        first = office(cloud, list_merchants, query={"limit": "2"}, groups=PLATFORM)
        second = office(cloud, list_merchants, query={"limit": "2", "cursor": first["cursor"]}, groups=PLATFORM)

        assert [row["id"] for row in first["items"]] == [2, 9]
        assert second == {"items": [merchant(10, "M10", created=None, updated=None)], "cursor": None}

    def test_others_see_their_own(self, cloud):
        furnish()
        furnish(OTHER_MERCHANT)

        listed = office(cloud, list_merchants, groups=["12", "14", "staff"])

        assert listed == {"items": [FURNISHED], "cursor": None}
        assert office(cloud, list_merchants, groups=()) == {"items": [], "cursor": None}

    def test_a_cursor_of_another_list_opens_nothing(self, cloud):
        furnish()
        stores = office(cloud, list_merchant_stores, query={"limit": "1"}, path={"merchant": "12"})

        refusal = office_refused(cloud, list_merchants, query={"cursor": stores["cursor"]}, groups=PLATFORM)

        assert refusal == (400, 400, "cursor is not a key of this list")

    @pytest.mark.parametrize("number", ["13", "012", "0", "1e1", "x"])
    def test_another_ones_is_not_shown(self, cloud, number):
        furnish(OTHER_MERCHANT)
        status, _, _ = office_refused(cloud, get_merchant, path={"merchant": number}, groups=["12", "012"])

        assert status == (403 if number == "13" else 400)

    def test_one_that_is_not_there(self, cloud):
        refusal = office_refused(cloud, get_merchant, path={"merchant": "12"})

        assert refusal == (404, 404, "There is no such merchant")

    def test_is_changed(self, cloud):
        furnish()

        changed = office(cloud, update_merchant, {"adminId": OWNER, "name": "外婆"}, path={"merchant": "12"})

        assert changed == {**FURNISHED, "name": "外婆", "version": 2, "updated": NOW}
        assert [entry["subject"] for entry in cloud.rows("audit")] == ["merchants/12"]

    def test_a_change_of_nothing_writes_nothing(self, cloud):
        furnish()
        before = cloud.everything()

        assert office(cloud, update_merchant, {"name": "外婆味道"}, path={"merchant": "12"}) == FURNISHED
        assert cloud.everything() == before

    @pytest.mark.parametrize(
        ("body", "status", "msg"),
        [
            ({"adminId": CASHIER}, 400, "adminId is no account of the whole merchant"),
            ({"adminId": 1019}, 400, "adminId is no account of the whole merchant"),
            ({"adminId": 999}, 400, "adminId is no account of the whole merchant"),
            ({"adminId": None}, 400, "adminId must be a valid integer"),
            ({"version": 7, "name": "x"}, 409, "It was changed by somebody else meanwhile"),
        ],
    )
    def test_is_not_changed_into_nonsense(self, cloud, body, status, msg):
        furnish()
        furnish(OTHER_MERCHANT)

        assert office_refused(cloud, update_merchant, body, path={"merchant": "12"}) == (status, status, msg)


class TestStores:
    def test_are_made_shown_changed_and_closed(self, cloud):
        furnish()
        fields = {"name": "外婆味道白塔店", "address": "白塔路", "phone": "087163100000", "area": "云南,昆明市,盘龙区"}

        made = office(cloud, create_store, {**fields, "linkman": "小红"}, path={"merchant": "12"})
        where = {"merchant": "12", "store": "1"}
        assert made == store(1, **fields, linkman="小红")
        assert office(cloud, get_store, path=where) == made

        changed = office(cloud, update_store, {"linkman": None, "phone": "1", "version": 1}, path=where)
        assert changed == {**made, "linkman": None, "phone": "1", "version": 2}

        closed = office(cloud, set_store_state, {"state": "disabled"}, path=where)
        assert closed == {**changed, "state": "disabled", "version": 3}
        assert [entry["subject"] for entry in cloud.rows("audit")] == ["stores/1"] * 3

    def test_are_listed_page_by_page(self, cloud):
        furnish()
        furnish(OTHER_MERCHANT)

        first = office(cloud, list_merchant_stores, query={"limit": "2"}, path={"merchant": "12"})
        rest = office(cloud, list_merchant_stores, query={"cursor": first["cursor"]}, path={"merchant": "12"})

        assert (first["items"][0], len(first["items"])) == (SOUTH, 2)
        assert ([row["id"] for row in rest["items"]], rest["cursor"]) == ([5], None)

    def test_get_another_operator(self, cloud):
        furnish()

        changed = office(cloud, update_store, {"adminId": 31}, path={"merchant": "12", "store": "3"})

        assert changed == {**SOUTH, "adminId": 31, "version": 2, "updated": NOW}

    @pytest.mark.parametrize("account", [22, OWNER, 1021])
    def test_get_no_strangers_for_operators(self, cloud, account):
        furnish()
        furnish(OTHER_MERCHANT)
        where = {"merchant": "12", "store": "3"}

        refusal = office_refused(cloud, update_store, {"adminId": account}, path=where)

        assert refusal == (400, 400, "adminId is no account of this store")

    def test_another_merchants_are_not_there(self, cloud):
        furnish()
        furnish(OTHER_MERCHANT)
        where = {"merchant": "12", "store": "1003"}

        for operation, body in (
            (get_store, None),
            (update_store, {"name": "x"}),
            (set_store_state, {"state": "active"}),
        ):
            refusal = office_refused(cloud, operation, body, path=where)
            assert refusal == (404, 404, "There is no such store")

    def test_need_their_merchant(self, cloud):
        refusal = office_refused(cloud, create_store, {"name": "x"}, path={"merchant": "77"}, groups=PLATFORM)

        assert refusal == (404, 404, "There is no such merchant")

    def test_are_two_hundred_at_most(self, cloud):
        furnish()
        more = (StoreTable(merchant_id=MERCHANT, id=100 + number, store_name="x", version=1) for number in range(196))
        write_all(map(Put, more))
        office(cloud, create_store, {"name": "last"}, path={"merchant": "12"})

        refusal = office_refused(cloud, create_store, {"name": "x"}, path={"merchant": "12"})

        assert refusal == (409, 409, "There are 200 of stores already, which is the most")

    def test_take_no_text_for_an_amount(self, cloud):
        furnish()

        made = office(cloud, create_store, {"name": "\ufdd01.00"}, path={"merchant": "12"})

        assert made["name"] == "1.00"

    def test_of_others_are_closed_to_the_caller(self, cloud):
        furnish()
        commit(Put(StoreTable(merchant_id=13, id=9, store_name="x")))

        refusal = office_refused(cloud, list_merchant_stores, path={"merchant": "13"})

        assert refusal == (403, 403, "Permission denied")
