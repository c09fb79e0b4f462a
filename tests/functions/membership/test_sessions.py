"""Who a request comes from: its token wherever it stands, how long it holds, what it opens."""

import base64
import json
import uuid
from datetime import timedelta

import pytest

# As modules: the grants of these operations are proven by their own tests.
from functions.membership import get_manager_info as info
from functions.membership import spend_from_card as spending
from kernel import aws, clock
from kernel.operations import event_of
from kernel.tables import Change, Delete, commit
from membership.managers import allows, token_digest
from membership.tables import ManagerTable, SessionTable
from tests.conftest import NOW
from tests.shops import CASHIER, OTHER_MERCHANT, furnish, signed_in

TIME = 1706424089006
SIGN_IN = {"errCode": 1002, "result": 1, "msg": "需要登录", "time": TIME}
DENIED = {"errCode": 1003, "result": 1, "msg": "没有权限", "time": TIME}


@pytest.fixture
def token(cloud):
    furnish()
    return signed_in()


def asked(operation, body="", *, content_type="application/json", query=None, **headers):
    """Return HTTP status and errCode of a call."""
    event = event_of(operation, "")
    event |= {"body": base64.b64encode(body if isinstance(body, bytes) else body.encode()).decode()}
    event |= {"isBase64Encoded": True, "queryStringParameters": query}
    event["headers"] = {"Content-Type": content_type, **headers}
    answer = operation(event, None)
    return answer["statusCode"], json.loads(answer["body"])["errCode"]


def info_of(cloud, token, after=timedelta()):
    with clock.frozen(NOW + after):
        return cloud.call(info.get_manager_info, {"token": token}, caller="").body["errCode"]


def part(token):
    return f'--B\r\nContent-Disposition: form-data; name="token"\r\n\r\n{token}\r\n--B--\r\n'


WAYS = {
    "JSON": lambda token: {"body": json.dumps({"token": token})},
    "form": lambda token: {"body": f"token={token}", "content_type": "application/x-www-form-urlencoded"},
    "multipart": lambda token: {"body": part(token), "content_type": "multipart/form-data; boundary=B"},
    "query": lambda token: {"query": {"token": token}},
    "header": lambda token: {"Token": token},
    "Bearer": lambda token: {"Authorization": f"Bearer {token}"},
    "bearer": lambda token: {"authorization": f"bearer  {token} "},
    "header beside an empty parameter": lambda token: {"body": '{"token": ""}', "token": token},
    "header beside null": lambda token: {"body": '{"token": null}', "token": token},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_token_may_stand_anywhere(cloud, token, way):
    assert asked(info.get_manager_info, **WAYS[way](token)) == (200, 0)
    assert asked(info.get_manager_info, **WAYS[way](str(uuid.uuid4()))) == (200, 1002)


def test_a_parameter_wins_over_a_header_and_the_body_over_the_query(cloud, token):
    other = str(uuid.uuid4())
    body, wrong = json.dumps({"token": token}), json.dumps({"token": other})

    assert asked(info.get_manager_info, body, query={"token": other}, token=other) == (200, 0)
    assert asked(info.get_manager_info, query={"token": token}, Authorization=f"Bearer {other}") == (200, 0)
    assert asked(info.get_manager_info, wrong, query={"token": token}, token=token) == (200, 1002)


@pytest.mark.parametrize("given", ["", " ", "x", 7, True, [], {"token": "x"}, "x" * 5000], ids=str)
def test_what_is_no_token(cloud, token, given):
    before = cloud.everything()

    answer = cloud.call(info.get_manager_info, {"token": given}, caller="")

    assert (answer.status, answer.body) == (200, SIGN_IN)
    assert cloud.everything() == before


def test_other_schemes_are_no_tokens(cloud, token):
    assert asked(info.get_manager_info, Authorization=token) == (200, 1002)
    assert asked(info.get_manager_info, Authorization=f"Basic {token}") == (200, 1002)
    # The gateway's own proof of an operator opens nothing here.
    assert cloud.call(info.get_manager_info, {}, caller="0001", groups=["platform"]).body == SIGN_IN


def test_the_digest_in_the_table_is_no_token(cloud, token):
    assert info_of(cloud, token_digest(token)) == 1002


class TestTime:
    def test_a_session_ends_seven_days_after_its_last_use(self, cloud, token):
        assert info_of(cloud, token, timedelta(days=7, seconds=-1)) == 0
        assert info_of(cloud, token, timedelta(days=14, seconds=-2)) == 0
        assert info_of(cloud, token, timedelta(days=21)) == 1002

    def test_one_that_nobody_used_ends_although_the_table_still_has_it(self, cloud, token):
        assert info_of(cloud, token, timedelta(days=7)) == 1002
        assert len(cloud.rows("sessions")) == 1

    def test_a_use_is_noted_once_an_hour(self, cloud, token):
        before = cloud.rows("sessions")

        assert info_of(cloud, token, timedelta(minutes=59)) == 0
        assert cloud.rows("sessions") == before

        assert info_of(cloud, token, timedelta(hours=1)) == 0
        (row,) = cloud.rows("sessions")
        expires = int((NOW + timedelta(days=7, hours=1)).timestamp())
        assert row == {**before[0], "used_at": "2024-01-28T07:41:29.006Z", "expires": expires}

    def test_one_that_ends_while_it_is_noted_is_over(self, cloud, token):
        def end(call):
            if call.action == "GetItem" and call.payload["TableName"].endswith("-managers"):
                commit(Delete(SessionTable, SessionTable.key(token_digest(token))))

        aws.observers.append(end)
        try:
            assert info_of(cloud, token, timedelta(hours=2)) == 1002
        finally:
            aws.observers.remove(end)
        assert cloud.rows("sessions") == []


class TestRights:
    def set(self, *actions):
        commit(Change(ManagerTable, ManagerTable.key(CASHIER), actions))

    @pytest.mark.parametrize(
        "action",
        [ManagerTable.generation.add(1), ManagerTable.active.set(0), ManagerTable.active.set(2)],
        ids=["revoked", "closed", "being made"],
    )
    def test_sessions_of_an_account_that_changed_are_over(self, cloud, token, action):
        self.set(action)

        assert info_of(cloud, token) == 1002

    def test_sessions_of_an_account_that_is_gone_are_over(self, cloud, token):
        commit(Delete(ManagerTable, ManagerTable.key(CASHIER)))

        assert info_of(cloud, token) == 1002

    def test_the_token_comes_first_then_the_right_then_the_parameters(self, cloud, token):
        def spent(**fields):
            return cloud.call(spending.spend_from_card, fields, caller="").body

        assert spent(phone="x") == SIGN_IN
        assert spent(token=token, phone="13800000001")["errCode"] == 4
        assert spent(token=token)["errCode"] == 4
        self.set(ManagerTable.permissions.set(["manage/v3/userCard/charge"]))
        assert spent(token=token) == DENIED
        assert spent(token=token, phone="x") == DENIED
        self.set(ManagerTable.generation.add(1))
        assert spent(token=token) == SIGN_IN

    def test_a_right_may_carry_a_number(self, cloud, token):
        self.set(ManagerTable.permissions.set(["manage/v3/userCard/expense:1129"]))

        assert cloud.call(spending.spend_from_card, {"token": token}, caller="").body["errCode"] == 4

    def test_looking_at_oneself_needs_no_right(self, cloud, token):
        self.set(ManagerTable.permissions.set([]))

        assert info_of(cloud, token) == 0

    def test_denials_do_not_prolong_a_session(self, cloud, token):
        self.set(ManagerTable.permissions.set([]))
        before = cloud.rows("sessions")

        with clock.frozen(NOW + timedelta(hours=2)):
            assert cloud.call(spending.spend_from_card, {"token": token}, caller="").body["errCode"] == 1003
        assert cloud.rows("sessions") == before

    def test_everybody_is_who_his_token_says(self, cloud, token):
        furnish(OTHER_MERCHANT)
        names = [
            cloud.call(info.get_manager_info, {"token": one}, caller="").body["data"]["sysAdmin"]["username"]
            for one in (token, signed_in(CASHIER + 1000), signed_in(19))
        ]

        assert names == ["cashier21", "cashier1021", "owner19"]


def test_a_body_that_cannot_be_read_is_told_before_anything_else(cloud, token):
    assert asked(info.get_manager_info, "{", token=token) == (400, 400)
    assert asked(info.get_manager_info, b"a=\xff", content_type="application/x-www-form-urlencoded") == (400, 400)


@pytest.mark.parametrize(
    ("permissions", "path", "allowed"),
    [
        (["manage/v3/store/list"], "manage/v3/store/list", True),
        (["manage/v3/store/list:7"], "manage/v3/store/list", True),
        (["manage/v3/store"], "manage/v3/store/list", False),
        (["manage/v3/store/list"], "manage/v3/store", False),
        (["*"], "manage/v3/store/list", False),
        ([""], "", True),
        ([], "manage/user/info", True),
        ([], "manage/user/password", True),
        ([], "manage/user/list", False),
    ],
)
def test_rights_are_whole_paths(permissions, path, allowed):
    assert allows(permissions, path) is allowed
