"""Managers at the door: sign-in, what they see of themselves, another password."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from functions.membership.change_password import change_password
from functions.membership.get_manager_info import get_manager_info
from functions.membership.login import login
from kernel import aws, clock, sign_in
from kernel.operations import event_of
from kernel.tables import Change, Put, commit
from membership import managers
from membership.tables import ManagerNameTable, ManagerTable
from tests.conftest import NOW
from tests.shops import CASHIER, OTHER_CASHIER, Shop, furnish, prolongs, signed_in

# The documented example's digest.
PASSWORD = "E10ADC3949BA59ABBE56E057F20F883E"
OTHER_PASSWORD = hashlib.md5(b"654321").hexdigest()
EXAMPLE = {"username": "test", "password": PASSWORD, "client": 1}
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = 1706424089006
LATER = "尝试次数过多，请15分钟后再试"


@pytest.fixture
def manager(cloud):
    """The account of the contract's example, with its user in the pool."""
    row = ManagerTable(
        id=2,
        merchant_id=12,
        store_id=3,
        username="test",
        avatar="/item/190411/bb4d7cbb-7658-4088-87dd-ac0add78af63.jpg",
        real_name="yy",
        phone="13800000001",
        id_number="123213afssfd",
        gender=3,
        email="123456",
        qq="1234567",
        wechat="123456",
        menus=["permission", "appUser"],
        permissions=["manage/permission/allRole:1129", "manage/user/list"],
        role_id=2,
        create_admin_id=1,
        update_admin_id=2,
        create_ip="",
        login_count=849,
        version=1,
        created_at=datetime(2017, 11, 15, 6, 5, 50, tzinfo=UTC),
        updated_at=datetime(2019, 4, 11, 3, 6, 34, tzinfo=UTC),
    )
    commit(Put(row), Put(ManagerNameTable(username="test", manager_id=2)))
    sign_in.add_user(managers.pool_name(2), managers.cognito_password(PASSWORD))
    return row


def tried_from(address, **fields):
    """Return errCode and msg of a sign-in from an address."""
    event = event_of(login, {**EXAMPLE, **fields})
    event["requestContext"]["identity"]["sourceIp"] = address
    body = json.loads(login(event, None)["body"])
    return body["errCode"], body.get("msg")


def tried(cloud, **fields):
    """Return errCode and msg of a sign-in."""
    answer = cloud.call(login, {**EXAMPLE, **fields}, caller="")
    assert answer.status == 200
    return answer.body["errCode"], answer.body.get("msg")


def token(cloud, **fields):
    answer = cloud.call(login, {**EXAMPLE, **fields}, caller="")
    assert answer.body["errCode"] == 0, answer.body
    return answer.body["data"]


def refused(code, msg):
    return {"errCode": code, "result": 1, "msg": msg, "time": TIME}


def info(cloud, token):
    return cloud.call(get_manager_info, {"token": token}, caller="").body


def without(everything, *tables):
    return {name: rows for name, rows in everything.items() if name not in tables}


class TestLogin:
    def test_the_documented_example(self, cloud, manager):
        answer = cloud.call(login, EXAMPLE, caller="")

        said = answer.body["data"]
        assert answer.status == 200
        assert answer.body == {"errCode": 0, "result": 0, "data": said, "time": TIME}
        assert UUID4.fullmatch(said)
        # Only a digest of the token is kept.
        assert cloud.rows("sessions") == [
            {
                "token_digest": hashlib.sha256(said.encode()).hexdigest(),
                "manager_id": 2,
                "generation": 1,
                "client": 1,
                "used_at": "2024-01-28T06:41:29.006Z",
                "expires": int((NOW + timedelta(days=7)).timestamp()),
            }
        ]
        assert cloud.rows("rates") == [{**row, "times": 0} for row in cloud.rows("rates")]

    def test_a_login_is_counted_and_shown(self, cloud, manager):
        token(cloud)
        with clock.frozen(NOW + timedelta(minutes=1)):
            profile = info(cloud, token(cloud))["data"]["sysAdmin"]

        shown = [profile[name] for name in ("loginCount", "lastLoginTime", "lastLoginIp")]
        assert shown == [851, "2024-01-28T06:42:29.006+0000", "127.0.0.1"]

    def test_takes_the_digest_in_either_case_and_a_form(self, cloud, manager):
        assert tried(cloud, password=PASSWORD.lower())[0] == 0
        form = {name: str(value) for name, value in EXAMPLE.items()}
        assert cloud.call(login, form=form, caller="").body["errCode"] == 0
        assert cloud.call(login, "", query=form, caller="").body["errCode"] == 0

    def test_other_clients_are_recorded_and_sessions_live_side_by_side(self, cloud, manager):
        tokens = [token(cloud, client=client) for client in (1, 7)]

        assert sorted(row["client"] for row in cloud.rows("sessions")) == [1, 7]
        assert [info(cloud, one)["errCode"] for one in tokens] == [0, 0]

    def test_lacks_and_nonsense(self, cloud, manager):
        before = cloud.everything()

        assert tried(cloud, username="") == (4, "缺少参数：username")
        assert tried(cloud, password=None) == (4, "缺少参数：password")
        assert tried(cloud, client=None) == (4, "缺少参数：client")
        assert tried(cloud, client="one")[0] == 1
        assert tried(cloud, password="123456")[0] == 1
        assert tried(cloud, username="x" * 129)[0] == 1
        assert cloud.call(login, "[", caller="").status == 400
        assert cloud.everything() == before

    def test_a_wrong_password(self, cloud, manager):
        before = cloud.everything()

        assert tried(cloud, password=OTHER_PASSWORD) == (1, "用户名或密码错误")
        assert without(cloud.everything(), "rates") == without(before, "rates")

    def test_an_unknown_account(self, cloud, manager):
        answer = cloud.call(login, {**EXAMPLE, "username": "nobody"}, caller="")

        assert answer.body == refused(1005, "用户不存在")

    def test_neither_an_operator_nor_the_pools_own_name_of_a_manager_gets_in(self, cloud, manager):
        sign_in.add_user("boss", managers.cognito_password(PASSWORD))
        before = cloud.everything()

        for name in ("boss", managers.pool_name(2)):
            assert tried(cloud, username=name) == (1005, "用户不存在")
        assert without(cloud.everything(), "rates") == without(before, "rates")

    def test_a_name_whose_account_is_gone(self, cloud, manager):
        commit(Put(ManagerNameTable(username="gone", manager_id=99)))

        assert tried(cloud, username="gone") == (1005, "用户不存在")

    def test_a_closed_account_is_told_only_with_the_right_password(self, cloud, manager):
        commit(Change(ManagerTable, ManagerTable.key(2), [ManagerTable.active.set(0)]))

        assert tried(cloud, password=OTHER_PASSWORD) == (1, "用户名或密码错误")
        assert tried(cloud) == (1003, "没有权限")
        assert cloud.rows("sessions") == []

    def test_five_wrong_tries_lock_the_account_for_a_quarter_of_an_hour_from_everywhere(self, cloud, manager):
        for number in range(5):
            assert tried_from(f"203.0.113.{number}", password=OTHER_PASSWORD) == (1, "用户名或密码错误")

        assert tried(cloud) == (1, LATER)
        with clock.frozen(NOW + timedelta(minutes=15, seconds=-1)):
            assert tried(cloud) == (1, LATER)
        with clock.frozen(NOW + timedelta(minutes=15)):
            assert tried(cloud)[0] == 0
            assert tried(cloud, password=OTHER_PASSWORD) == (1, "用户名或密码错误")
            assert tried(cloud)[0] == 0

    def test_names_cannot_be_guessed_from_one_address(self, cloud, manager):
        for number in range(30):
            assert tried(cloud, username=f"guess{number}")[0] == 1005

        # Neither names that are there nor names that are not are told apart now.
        assert tried(cloud, username="guess30") == (1, LATER)
        assert tried(cloud) == (1, LATER)
        assert tried_from("203.0.113.1")[0] == 0

    def test_successes_do_not_count_against_the_address(self, cloud, manager):
        assert [tried(cloud)[0] for _ in range(31)] == [0] * 31

    def test_an_account_that_is_changed_meanwhile_opens_no_session(self, cloud, manager):
        def change(call):
            if call.action == "AdminInitiateAuth":
                commit(Change(ManagerTable, ManagerTable.key(2), [ManagerTable.generation.add(1)]))

        aws.observers.insert(0, change)
        try:
            assert tried(cloud) == (1, "账号刚刚被修改，请重新登录")
        finally:
            aws.observers.remove(change)

        assert cloud.rows("sessions") == []
        assert tried(cloud)[0] == 0

    def test_neither_password_nor_token_is_written_or_logged(self, cloud, manager, capfd):
        said = token(cloud)
        tried(cloud, password=OTHER_PASSWORD)

        kept = str(cloud.everything()) + "".join(capfd.readouterr())
        for secret in (said, PASSWORD, PASSWORD.lower(), OTHER_PASSWORD):
            assert secret not in kept


class TestInfo:
    def test_the_documented_example(self, cloud, manager):
        answer = cloud.call(get_manager_info, {"token": signed_in(2)}, caller="")

        assert answer.status == 200
        assert answer.body == {
            "errCode": 0,
            "result": 0,
            "time": TIME,
            "data": {
                "sysAdmin": {
                    "id": 2,
                    "username": "test",
                    "password": None,
                    "active": 1,
                    "avatar": "/item/190411/bb4d7cbb-7658-4088-87dd-ac0add78af63.jpg",
                    "realName": "yy",
                    "phone": "13800000001",
                    "idNumber": "123213afssfd",
                    "gender": 3,
                    "email": "123456",
                    "qq": "1234567",
                    "wechat": "123456",
                    "created": "2017-11-15T06:05:50.000+0000",
                    "updated": "2019-04-11T03:06:34.000+0000",
                    "createAdminId": 1,
                    "updateAdminId": 2,
                    "createIp": "",
                    "loginCount": 849,
                    "lastLoginTime": None,
                    "lastLoginIp": None,
                },
                "menus": ["permission", "appUser"],
                "permissions": ["manage/permission/allRole:1129", "manage/user/list"],
                "permissionList": None,
                "roleId": 2,
            },
        }

    def test_a_bare_account(self, cloud):
        furnish()
        commit(Change(ManagerTable, ManagerTable.key(CASHIER), [ManagerTable.phone.remove()]))

        shown = info(cloud, signed_in())["data"]

        known = {"id": CASHIER, "username": "cashier21", "active": 1, "loginCount": 0}
        moment = "2019-12-13T06:34:24.000+0000"
        assert shown["sysAdmin"] == {
            **dict.fromkeys(shown["sysAdmin"]), **known, "created": moment, "updated": moment,
        }  # fmt: skip
        assert (shown["permissionList"], shown["roleId"]) == (None, None)

    def test_without_a_session(self, cloud, manager):
        assert cloud.call(get_manager_info, {}, caller="").body == refused(1002, "需要登录")


def change(cloud, token, old=PASSWORD, new=OTHER_PASSWORD):
    body = {"token": token, "oldPassword": old, "newPassword": new}
    answer = cloud.call(change_password, body, caller="")
    assert answer.status == 200
    return answer.body


class TestChangePassword:
    def test_ends_all_sessions_and_lets_in_with_the_new_password_only(self, cloud, manager):
        tokens = [token(cloud), token(cloud)]

        with clock.frozen(NOW + timedelta(minutes=1)):
            assert change(cloud, tokens[0]) == {"errCode": 0, "result": 0, "msg": "成功", "time": TIME + 60_000}

            for one in tokens:
                assert info(cloud, one)["errCode"] == 1002
            assert tried(cloud) == (1, "用户名或密码错误")
            profile = info(cloud, token(cloud, password=OTHER_PASSWORD))["data"]["sysAdmin"]
        assert (profile["updated"], profile["updateAdminId"]) == ("2024-01-28T06:42:29.006+0000", 2)

    def test_somebody_elses_sessions_stay(self, cloud, manager):
        furnish()
        other = signed_in(OTHER_CASHIER)

        change(cloud, token(cloud))

        assert info(cloud, other)["errCode"] == 0

    def test_a_wrong_old_password(self, cloud, manager):
        said = token(cloud)
        before = cloud.everything()

        assert change(cloud, said, old=OTHER_PASSWORD, new="0" * 32) == refused(1, "原密码错误")
        assert without(cloud.everything(), "rates") == without(before, "rates")
        assert tried(cloud)[0] == 0

    def test_old_passwords_cannot_be_guessed(self, cloud, manager):
        said = token(cloud)
        for _ in range(5):
            assert change(cloud, said, old=OTHER_PASSWORD, new="0" * 32)["msg"] == "原密码错误"

        assert change(cloud, said) == refused(1, LATER)
        assert tried(cloud) == (1, LATER)

    def test_the_same_password_again(self, cloud, manager):
        said = token(cloud)

        assert change(cloud, said, new=PASSWORD.lower()) == refused(1, "新密码不能与原密码相同")
        assert info(cloud, said)["errCode"] == 0

    def test_lacks_and_nonsense(self, cloud, manager):
        said = token(cloud)

        assert change(cloud, said, old="")["errCode"] == 4
        assert change(cloud, said, new=None)["errCode"] == 4
        assert change(cloud, said, new="secret")["errCode"] == 1
        assert change(cloud, "")["errCode"] == 1002

    def test_a_session_that_the_old_password_opened_meanwhile_is_over_too(self, cloud, manager):
        said = token(cloud)
        late = []

        def sneak_in(call):
            if call.action == "AdminInitiateAuth" and not late:
                late.append(None)
                late.append(token(cloud))

        aws.observers.insert(0, sneak_in)
        try:
            change(cloud, said)
        finally:
            aws.observers.remove(sneak_in)

        assert info(cloud, late[1])["errCode"] == 1002

    def test_sessions_are_over_even_when_the_pool_breaks_off(self, cloud, manager, monkeypatch):
        said = token(cloud)
        with monkeypatch.context() as patched:
            patched.setattr(sign_in, "set_password", lambda *_: 1 / 0)
            answer = cloud.call(
                change_password, {"token": said, "oldPassword": PASSWORD, "newPassword": OTHER_PASSWORD}, caller=""
            )

        assert answer.status == 500
        assert info(cloud, said)["errCode"] == 1002
        assert tried(cloud)[0] == 0


def test_sessions_are_prolonged(cloud):
    furnish()
    prolongs(Shop(cloud), get_manager_info, change_password)


def test_the_pools_password_satisfies_its_policy():
    made = managers.cognito_password("f" * 32)

    assert len(made) >= 12
    assert all(re.search(kind, made) for kind in ("[a-z]", "[A-Z]", "[0-9]", "[^0-9A-Za-z]"))
    assert managers.cognito_password(PASSWORD) == managers.cognito_password(PASSWORD.lower())
