import hashlib
from datetime import timedelta

import pytest

from functions.membership.create_account import create_account
from functions.membership.get_account import get_account
from functions.membership.list_merchant_accounts import list_merchant_accounts
from functions.membership.set_account_password import set_account_password
from functions.membership.set_account_state import set_account_state
from functions.membership.update_account import update_account
from infra.discovery import declarations
from kernel import aws, numbering, rates, wire
from kernel.settings import settings
from kernel.tables import Put, commit
from membership import accounts, managers
from membership.api import MANAGER
from membership.tables import MerchantTable, StoreTable
from tests.shops import CASHIER, MERCHANT, OTHER_MERCHANT, OWNER, RIGHTS, furnish, office, office_refused

NOW = "2024-01-28T06:41:29.006+0000"
THEN = "2019-12-13T06:34:24.000+0000"
WHERE = {"merchant": "12"}
PLAIN = "123456"
DIGEST = hashlib.md5(PLAIN.encode()).hexdigest()
NEW = {"username": "小红", "password": PLAIN, "role": "cashier", "storeId": 3}
PERSON = {
    "realName": "王小红", "phone": "13800000042", "idNumber": "530102199001011234", "gender": 2, "email": "h@a.cn",
    "qq": "1234567", "wechat": "xh", "avatar": "/item/190411/x.jpg", "menus": ["appUser"], "roleId": 2,
}  # fmt: skip
FORM = "has characters or a form that is not allowed here"
NOBODY = dict.fromkeys(("realName", "phone", "idNumber", "gender", "email", "qq", "wechat", "avatar", "roleId"))


def view(number, username, **more):
    fields = {"id": number, "version": 1, "created": NOW, "updated": NOW, "username": username, "storeId": None}
    fields |= {"state": "active", "permissions": [], "menus": [], **NOBODY, "loginCount": 0, "lastLoginTime": None}
    return {**fields, **more}


def row(cloud, number):
    return next(row for row in cloud.rows("managers") if row["id"] == number)


def opens(cloud, number, digest=DIGEST):
    """Tell whether the pool takes the digest for the password of an account."""
    cognito = cloud.client("cognito-idp")
    secrets = {"USERNAME": managers.pool_name(number), "PASSWORD": managers.cognito_password(digest)}
    where = {"UserPoolId": settings().pool_id, "ClientId": settings().pool_client_id}
    try:
        cognito.admin_initiate_auth(**where, AuthFlow="ADMIN_USER_PASSWORD_AUTH", AuthParameters=secrets)
    except (cognito.exceptions.NotAuthorizedException, cognito.exceptions.UserNotFoundException):
        return False
    return True


def one_of(number):
    return {"merchant": "12", "account": str(number)}


@pytest.fixture
def shop(cloud):
    furnish()
    furnish(OTHER_MERCHANT)
    return cloud


@pytest.fixture
def broken(monkeypatch):
    """Lets the n-th call of a service fail as if the function had been killed there."""

    def install(service, number):
        calls = iter(range(1, 1000))
        real = aws.call

        def call(name, action, *given, **more):
            if name == service and next(calls) == number:
                raise wire.Unreachable(f"{action} is where it ended")
            return real(name, action, *given, **more)

        monkeypatch.setattr(aws, "call", call)

    return install


class TestNewAccounts:
    def test_a_cashiers(self, shop):
        made = office(shop, create_account, {**NEW, **PERSON}, path=WHERE)

        rights = list(accounts.ROLES["cashier"])
        assert made == view(1, "小红", **PERSON, storeId=3, permissions=rights, version=1)
        assert office(shop, get_account, path=one_of(1)) == made
        assert opens(shop, 1)
        assert (row(shop, 1)["active"], row(shop, 1)["merchant_id"]) == (1, MERCHANT)
        assert [entry["subject"] for entry in shop.rows("audit")] == ["managers/1"]
        said = str(shop.everything()).lower()
        assert DIGEST not in said
        assert PLAIN not in said.replace("123456666666", "").replace("1234567", "")

    def test_with_a_digest_and_explicit_rights(self, shop):
        body = {"username": "w", "digest": DIGEST.upper(), "permissions": ["manage/user/list", "manage/x/y:1129"]}

        made = office(shop, create_account, body, path=WHERE)

        assert made == view(1, "w", permissions=["manage/user/list", "manage/x/y:1129"])
        assert opens(shop, 1)

    def test_the_first_of_a_merchant_and_of_a_store_become_theirs(self, cloud):
        commit(Put(MerchantTable(id=MERCHANT, merchant_name="x", version=1)))
        commit(Put(StoreTable(merchant_id=MERCHANT, id=3, store_name="x", version=1)))

        for name, store in (("a", None), ("b", None), ("c", 3), ("d", 3)):
            role = "cashier" if store else "merchant"
            office(cloud, create_account, {**NEW, "username": name, "storeId": store, "role": role}, path=WHERE)

        assert [merchant["admin_id"] for merchant in cloud.rows("merchants")] == [1]
        assert [store["admin_id"] for store in cloud.rows("stores")] == [3]

    def test_roles_are_documented_rights(self):
        documented = set(RIGHTS)

        assert set(accounts.RIGHTS) == documented
        assert all(set(rights) < documented or role == "store" for role, rights in accounts.ROLES.items())

    def test_rights_are_what_managers_need_one_for(self):
        operations = declarations("membership").operations
        guarded = {operation.path.removeprefix("/web/") for operation in operations if operation.auth is MANAGER}

        assert set(accounts.RIGHTS) == guarded - managers.OWN

    @pytest.mark.parametrize(
        ("change", "status", "msg"),
        [
            ({"storeId": 1003}, 400, "storeId names no store of the merchant"),
            ({"username": "cashier21"}, 409, "The user name is taken"),
            ({"username": "cashier1021"}, 409, "The user name is taken"),
            ({"username": "a b"}, 400, "username has characters or a form that is not allowed here"),
            ({"username": None}, 400, "username must be a valid string"),
            ({"password": "12345"}, 400, "password must have at least 6 characters"),
            ({"password": None}, 400, "needs either password or digest"),
            ({"digest": DIGEST}, 400, "needs either password or digest"),
            ({"permissions": []}, 400, "takes either role or permissions"),
            ({"role": "boss"}, 400, "role must be 'cashier', 'store' or 'merchant'"),
            ({"gender": True}, 400, "gender must be a whole number"),
            ({"phone": 13800000042, "merchantId": 13}, 400, "merchantId Extra inputs are not permitted"),
            ({"phone": "13800000042,13800000043"}, 400, f"phone {FORM}"),
            ({"phone": "+19005550199"}, 400, f"phone {FORM}"),
            ({"phone": "087163100000"}, 400, f"phone {FORM}"),
        ],
    )
    def test_what_is_wrong_is_refused(self, shop, change, status, msg):
        assert office_refused(shop, create_account, {**NEW, **change}, path=WHERE) == (status, status, msg)
        assert not opens(shop, 1)

    @pytest.mark.parametrize("place", [0, 1])
    def test_a_right_that_looks_like_less_than_it_opens_is_refused(self, shop, place):
        rights = ["manage/v3/turnover/refund"] * place + ["manage/v3/turnover/refund:100"]
        body = {"username": "w", "digest": DIGEST, "permissions": rights}
        told = (400, 400, f"permissions[{place}] takes no number: the right is for the whole path")

        assert office_refused(shop, create_account, body, path=WHERE) == told
        assert office_refused(shop, update_account, {"permissions": rights}, path=one_of(CASHIER)) == told

    def test_rights_must_be_said(self, shop):
        body = {name: value for name, value in NEW.items() if name != "role"}

        assert office_refused(shop, create_account, body, path=WHERE)[2] == "needs either role or permissions"

    @pytest.mark.parametrize("named", [{"role": "cashier", "storeId": None}, {"role": "merchant"}])
    def test_a_role_stands_at_a_till_or_does_not(self, shop, named):
        refusal = office_refused(shop, create_account, {**NEW, **named}, path=WHERE)

        assert refusal == (400, 400, "needs a storeId with the roles cashier and store, and none with merchant")

    def test_need_their_merchant(self, cloud):
        refusal = office_refused(cloud, create_account, NEW, path={"merchant": "77"}, groups=["platform"])

        assert refusal == (404, 404, "There is no such merchant")


class TestBrokenOff:
    @pytest.mark.parametrize("call", [1, 2])
    def test_a_repetition_goes_on(self, shop, broken, call):
        broken("cognito-idp", call)
        assert shop.call(create_account, NEW, path=WHERE, groups=["12"]).status == 500
        assert office(shop, get_account, path=one_of(1))["state"] == "pending"
        assert not opens(shop, 1)

        made = office(shop, create_account, {**NEW, "role": "store"}, path=WHERE)

        assert (made["id"], made["state"], made["permissions"]) == (1, "active", list(accounts.RIGHTS))
        assert opens(shop, 1)
        assert office_refused(shop, create_account, NEW, path=WHERE) == (409, 409, "The user name is taken")

    def test_what_came_after_the_password_is_repeated_too(self, shop, broken):
        # Counter, names, merchant, store, accounts, the transaction; then what opens it.
        broken("dynamodb", 7)
        assert shop.call(create_account, NEW, path=WHERE, groups=["12"]).status == 500
        assert (opens(shop, 1), row(shop, 1)["active"]) == (True, accounts.PENDING)

        assert office(shop, create_account, NEW, path=WHERE)["state"] == "active"

    def test_nobody_else_goes_on(self, shop, broken):
        broken("cognito-idp", 1)
        shop.call(create_account, NEW, path=WHERE, groups=["12"])

        for body, merchant in (({**NEW, "storeId": None, "role": "merchant"}, "12"), ({**NEW, "storeId": 1003}, "13")):
            refusal = office_refused(shop, create_account, body, path={"merchant": merchant}, groups=["platform"])
            assert refusal == (409, 409, "The user name is taken")

    def test_a_password_opens_it(self, shop, broken):
        broken("cognito-idp", 1)
        shop.call(create_account, NEW, path=WHERE, groups=["12"])
        refusal = office_refused(shop, set_account_state, {"state": "active"}, path=one_of(1))
        assert refusal == (409, 409, "The account has no password yet; set one, which opens it")

        assert office(shop, set_account_password, {"digest": DIGEST}, path=one_of(1))["state"] == "active"
        assert opens(shop, 1)

    def test_a_name_in_the_pool_is_nobody_elses(self, shop):
        shop.client("cognito-idp").admin_create_user(UserPoolId=settings().pool_id, Username="小红")

        office(shop, create_account, NEW, path=WHERE)

        users = shop.client("cognito-idp").list_users(UserPoolId=settings().pool_id)["Users"]
        assert sorted(user["Username"] for user in users) == ["manager-1", "小红"]


class TestAccounts:
    def test_are_listed_with_personal_data_masked(self, shop):
        numbering.take("managers", 40)
        office(shop, create_account, {**NEW, **PERSON}, path=WHERE)

        first = office(shop, list_merchant_accounts, query={"limit": "5"}, path=WHERE)
        rest = office(shop, list_merchant_accounts, query={"cursor": first["cursor"]}, path=WHERE)

        assert [item["id"] for item in first["items"]] == [OWNER, CASHIER, 22, 23, 31]
        shown = {**PERSON, "phone": "138****0042", "idNumber": "**************1234"}
        rights = list(accounts.ROLES["cashier"])
        assert rest == {"items": [view(41, "小红", **shown, storeId=3, permissions=rights)], "cursor": None}

    def test_other_rights_end_sessions(self, shop):
        changed = office(shop, update_account, {"permissions": ["manage/v3/store/list"]}, path=one_of(CASHIER))

        assert changed["permissions"] == ["manage/v3/store/list"]
        assert row(shop, CASHIER)["generation"] == 2

    def test_other_data_does_not(self, shop):
        same = {"permissions": RIGHTS, "realName": "王", "phone": None}

        changed = office(shop, update_account, same, path=one_of(CASHIER))

        expected = view(CASHIER, "cashier21", storeId=3, permissions=RIGHTS, menus=["permission", "appUser"])
        assert changed == {**expected, "realName": "王", "version": 2, "created": THEN}
        assert row(shop, CASHIER)["generation"] == 1

    @pytest.mark.parametrize("field", ["username", "storeId", "password", "active"])
    def test_some_things_stay(self, shop, field):
        refusal = office_refused(shop, update_account, {field: "1"}, path=one_of(CASHIER))

        assert refusal == (400, 400, f"{field} Extra inputs are not permitted")

    def test_are_closed_and_opened(self, shop):
        closed = office(shop, set_account_state, {"state": "disabled"}, path=one_of(CASHIER))
        again = office(shop, set_account_state, {"state": "disabled"}, path=one_of(CASHIER))
        assert (closed["state"], again) == ("disabled", closed)
        assert (row(shop, CASHIER)["active"], row(shop, CASHIER)["generation"]) == (0, 2)

        office(shop, set_account_password, {"password": "another"}, path=one_of(CASHIER))
        assert row(shop, CASHIER)["active"] == 0

        assert office(shop, set_account_state, {"state": "active"}, path=one_of(CASHIER))["state"] == "active"

    def test_another_password_ends_sessions(self, shop):
        office(shop, create_account, NEW, path=WHERE)
        before = row(shop, 1)["generation"]

        office(shop, set_account_password, {"password": "another"}, path=one_of(1))

        assert opens(shop, 1, hashlib.md5(b"another").hexdigest())
        assert not opens(shop, 1)
        assert row(shop, 1)["generation"] == before + 2

    def test_an_unchanged_password_that_broke_off_ended_them_already(self, shop, broken):
        office(shop, create_account, NEW, path=WHERE)
        before = row(shop, 1)["generation"]
        broken("cognito-idp", 1)

        assert shop.call(set_account_password, {"password": "another"}, path=one_of(1), groups=["12"]).status == 500
        assert (row(shop, 1)["generation"], opens(shop, 1)) == (before + 1, True)

    def test_another_merchants_are_not_there(self, shop):
        for operation, body in (
            (get_account, None),
            (update_account, {"realName": "x"}),
            (set_account_state, {"state": "disabled"}),
            (set_account_password, {"password": "another"}),
        ):
            refusal = office_refused(shop, operation, body, path=one_of(1000 + CASHIER))
            assert refusal == (404, 404, "There is no such account")


def test_a_manager_works_until_the_account_is_closed(shop):
    operations = {operation.name: operation for operation in declarations("membership").operations}
    office(shop, create_account, NEW, path=WHERE)
    said = {"username": NEW["username"], "password": DIGEST.upper(), "client": 1}
    token = {"token": shop.call(operations["login"], said, caller="").body["data"]}
    info = shop.call(operations["get_manager_info"], token, caller="").body["data"]
    assert (info["sysAdmin"]["id"], info["permissions"]) == (1, list(accounts.ROLES["cashier"]))
    assert shop.call(operations["list_stores"], token, caller="").body["errCode"] == 0
    assert shop.call(operations["refund_expense"], token, caller="").body["errCode"] == 1003

    office(shop, set_account_state, {"state": "disabled"}, path=one_of(1))

    assert shop.call(operations["get_manager_info"], token, caller="").body["errCode"] == 1002
    assert shop.call(operations["login"], said, caller="").body["errCode"] == 1003


def test_another_password_ends_the_lock_of_wrong_ones(shop):
    office(shop, create_account, NEW, path=WHERE)
    for _ in range(5):
        rates.count("sign-in", f"{managers.pool_name(1)}\0", limit=5, window=timedelta(minutes=15))

    office(shop, set_account_password, {"digest": DIGEST}, path=one_of(1))

    assert shop.rows("rates") == []
