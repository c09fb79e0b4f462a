from datetime import timedelta

import jwt
import pytest

from functions.chatbot.login import login
from kernel import clock
from kernel.operations import event_of
from kernel.settings import settings
from tests.functions.chatbot.examples import NOW, OK, UNAUTHORIZED, add_operator, refused

PASSWORD = "correct horse battery staple"
SIGN_IN = {"adminId": "0001", "password": PASSWORD}
WRONG = {"adminId": "0001", "password": "wrong horse"}
TOO_MANY = refused("Too many attempts; try again later", 429)


@pytest.fixture
def operator(cloud):
    add_operator(cloud, "0001", PASSWORD)


def failures(cloud):
    return [row["times"] for row in cloud.rows("rates")]


def test_answers_the_tokens_of_the_pool(cloud, operator):
    answer = cloud.call(login, SIGN_IN, caller="")

    result = answer.body["Result"]
    tokens = {name: result[name] for name in ("id_token", "refresh_token", "access_token")}
    assert answer.status == 200
    assert answer.body == {**OK, "Result": {**tokens, "expires_in": 3600, "token_type": "Bearer"}}
    assert len(set(tokens.values())) == 3
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert [claims[name] for name in ("cognito:username", "token_use", "aud", "iss")] == [
        "0001",
        "id",
        settings().pool_client_id,
        settings().pool_issuer,
    ]
    assert failures(cloud) == []


REFUSED = {
    "wrong password": WRONG,
    "unknown account": {**SIGN_IN, "adminId": "0002"},
    "letter case": {"adminId": "upper", "password": PASSWORD.upper()},
    "blank behind": {"adminId": "blank", "password": f"{PASSWORD} "},
    "never signed in": {"adminId": "new", "password": PASSWORD},
}


def test_refuses_all_alike_and_counts(cloud, operator, subtests):
    for name in ("upper", "blank", "new"):
        add_operator(cloud, name, PASSWORD, permanent=name != "new")
    before = cloud.everything()

    for name, body in REFUSED.items():
        with subtests.test(name):
            assert cloud.call(login, body, caller="") == UNAUTHORIZED

    after = cloud.everything()
    rows = after.pop("rates")
    expires = int((NOW + timedelta(minutes=15)).timestamp())
    assert [{**row, "who": ""} for row in rows] == [{"who": "", "times": 1, "expires": expires}] * len(REFUSED)
    # Neither the account nor the address can be read from the table.
    assert {len(row["who"]) for row in rows} == {64}
    assert after == {name: rows for name, rows in before.items() if name in after}


def test_the_sixth_failure_is_refused_until_the_window_has_passed(cloud, operator):
    for _ in range(5):
        assert cloud.call(login, WRONG, caller="") == UNAUTHORIZED
    before = cloud.everything()

    # Even the right password, so that guessing on teaches nothing.
    assert cloud.call(login, WRONG, caller="") == TOO_MANY
    assert cloud.call(login, SIGN_IN, caller="") == TOO_MANY
    with clock.frozen(NOW + timedelta(minutes=15, seconds=-1)):
        assert cloud.call(login, SIGN_IN, caller="") == TOO_MANY
    assert cloud.everything() == before

    with clock.frozen(NOW + timedelta(minutes=15)):
        assert cloud.call(login, WRONG, caller="") == UNAUTHORIZED
        assert failures(cloud) == [1]
        assert cloud.call(login, SIGN_IN, caller="").status == 200


def test_failures_count_for_one_account_from_one_address(cloud, operator):
    add_operator(cloud, "0002", PASSWORD)
    for _ in range(5):
        assert cloud.call(login, WRONG, caller="") == UNAUTHORIZED
    assert cloud.call(login, SIGN_IN, caller="") == TOO_MANY

    assert cloud.call(login, {**SIGN_IN, "adminId": "0002"}, caller="").status == 200
    elsewhere = event_of(login, SIGN_IN)
    elsewhere["requestContext"]["identity"]["sourceIp"] = "203.0.113.7"
    assert login(elsewhere, None)["statusCode"] == 200


def test_success_forgets_failures(cloud, operator):
    for _ in range(2):
        for _ in range(5):
            assert cloud.call(login, WRONG, caller="") == UNAUTHORIZED
        assert failures(cloud) == [5]
        with clock.frozen(NOW + timedelta(minutes=16)):
            assert cloud.call(login, SIGN_IN, caller="").status == 200
        assert failures(cloud) == []


def test_takes_a_form(cloud, operator):
    assert cloud.call(login, form=SIGN_IN, caller="").status == 200


def test_refuses_what_is_no_name_or_no_password(refuses, operator):
    refuses(
        login,
        [
            ({**SIGN_IN, "password": ""}, "password must have at least 1 character"),
            ({**SIGN_IN, "password": "x" * 257}, "password must have at most 256 characters"),
            ({}, "adminId is required; password is required"),
        ],
        caller="",
    )
