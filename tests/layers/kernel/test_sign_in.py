"""Sign-in: the right password opens, a wrong one counts, too many are refused without being looked at."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import jwt
import pytest

from kernel import aws, clock, wire
from kernel import settings as kernel_settings
from kernel.errors import TooMany, Unauthorized
from kernel.rates import RateTable
from kernel.sign_in import FAILURES_ALLOWED, WINDOW, Tokens, UserExists, add_user, set_password, sign_in
from kernel.tables import schema
from tests.layers.kernel.test_wire import Server, answers

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)
HERE = "192.0.2.1"
RIGHT = "Right-1-password"
WRONG = "Wrong-1-password"
LATER = "Too many attempts; try again later"


@pytest.fixture(scope="module")
def pool(moto_endpoint: str) -> dict[str, str]:
    """A pool with the operators 0001 and 0002, and new, who must first choose a password."""
    assert wire.send("POST", f"{moto_endpoint}/moto-api/reset", {}).status == 200
    cognito = client_of("cognito-idp", moto_endpoint)
    pool_id = cognito.create_user_pool(PoolName="operators")["UserPool"]["Id"]
    for name in ("0001", "0002"):
        cognito.admin_create_user(UserPoolId=pool_id, Username=name)
        cognito.admin_set_user_password(UserPoolId=pool_id, Username=name, Password=RIGHT, Permanent=True)
    cognito.admin_create_user(UserPoolId=pool_id, Username="new", TemporaryPassword=RIGHT)
    made = cognito.create_user_pool_client(
        UserPoolId=pool_id, ClientName="api", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
    )
    cognito.close()
    return {"POOL_ID": pool_id, "POOL_CLIENT_ID": made["UserPoolClient"]["ClientId"]}


def client_of(service: str, endpoint: str) -> Any:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", **keys)


@pytest.fixture
def store(pool: dict[str, str], environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Nobody has failed yet; the time stands still."""
    for name, value in pool.items():
        monkeypatch.setenv(name, value)
    kernel_settings.settings.cache_clear()
    client = client_of("dynamodb", environment)
    client.create_table(TableName=RateTable.physical_name(), **schema(RateTable))
    with clock.frozen(NOW):
        yield client
    client.delete_table(TableName=RateTable.physical_name())
    client.close()


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """The actions that the pool was asked for."""
    seen: list[str] = []

    def observe(call: aws.Call) -> None:
        if call.service == "cognito-idp":
            seen.append(call.action)

    aws.observers.append(observe)
    yield seen
    aws.observers.remove(observe)


def rows(client: Any) -> list[dict[str, Any]]:
    return list(client.scan(TableName=RateTable.physical_name())["Items"])


def fail(times: int, username: str = "0001", source_ip: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(Unauthorized):
            sign_in(username, WRONG, source_ip)


def seconds(moment: datetime) -> str:
    return str(int(moment.timestamp()))


def test_failures_expire_by_themselves(environment):
    assert RateTable.physical_name() == "citypass-test-chatbot-rates"
    assert RateTable.ttl_attribute() == "expires"


def test_the_right_password_brings_the_tokens_of_the_pool(store):
    tokens = sign_in("0001", RIGHT, HERE)

    claims = [
        jwt.decode(token, options={"verify_signature": False}) for token in (tokens.id_token, tokens.access_token)
    ]
    assert [(claim["token_use"], claim.get("cognito:username", claim.get("username"))) for claim in claims] == [
        ("id", "0001"),
        ("access", "0001"),
    ]
    assert tokens.refresh_token
    assert tokens.expires_in == 3600
    assert rows(store) == []


@pytest.mark.parametrize(
    ("username", "password"),
    [("0001", WRONG), ("nobody", RIGHT), ("new", RIGHT)],
    ids=["wrong", "unknown", "challenge"],
)
def test_all_that_fails_is_refused_alike_and_counted(store, username, password):
    with pytest.raises(Unauthorized) as raised:
        sign_in(username, password, HERE)

    assert raised.value.message == "Unauthorized"
    assert rows(store) == [
        {
            "who": {"S": hashlib.sha256(f"sign-in\0{username}\0{HERE}".encode()).hexdigest()},
            "times": {"N": "1"},
            "expires": {"N": seconds(NOW + timedelta(minutes=15))},
        }
    ]


def test_the_sixth_is_refused_without_being_looked_at(store, asked):
    fail(5)
    assert (FAILURES_ALLOWED, len(asked)) == (5, 5)
    before = rows(store)

    for password in (WRONG, RIGHT):
        with pytest.raises(TooMany) as raised:
            sign_in("0001", password, HERE)
        assert raised.value.message == LATER

    assert len(asked) == 5
    assert rows(store) == before
    assert [row["times"] for row in before] == [{"N": "5"}]


def test_the_fifth_may_still_be_right(store):
    fail(4)

    assert isinstance(sign_in("0001", RIGHT, HERE), Tokens)
    assert rows(store) == []


def test_a_success_forgets_the_failures(store):
    fail(4)
    sign_in("0001", RIGHT, HERE)
    fail(4)

    assert [row["times"] for row in rows(store)] == [{"N": "4"}]


def test_nobody_is_locked_out_by_another_address_or_for_another_account(store):
    fail(5)

    assert isinstance(sign_in("0001", RIGHT, "192.0.2.2"), Tokens)
    assert isinstance(sign_in("0002", RIGHT, HERE), Tokens)
    assert [row["times"] for row in rows(store)] == [{"N": "5"}]


def test_without_an_address_an_account_is_locked_from_everywhere(store, asked):
    fail(5, source_ip="")

    with pytest.raises(TooMany):
        sign_in("0001", RIGHT)
    assert isinstance(sign_in("0002", RIGHT), Tokens)
    assert len(asked) == 6


def test_the_window_starts_with_the_first_failure(store):
    fail(1)
    with clock.frozen(NOW + WINDOW - timedelta(minutes=1)):
        fail(1)

    assert [(row["times"]["N"], row["expires"]["N"]) for row in rows(store)] == [("2", seconds(NOW + WINDOW))]


def test_attempts_that_are_made_together_are_counted_all_the_same(store, asked):
    outcomes = []

    def attempt() -> None:
        with pytest.raises((Unauthorized, TooMany)) as raised:
            sign_in("0001", WRONG, HERE)
        outcomes.append(type(raised.value))

    def meanwhile(call: aws.Call) -> None:
        # The next one starts when this one is counted and its password not yet looked at.
        if call.action == "UpdateItem" and "__type" not in call.answer:
            attempt()

    aws.observers.append(meanwhile)
    try:
        attempt()
    finally:
        aws.observers.remove(meanwhile)

    assert outcomes == [TooMany, *[Unauthorized] * 5]
    assert len(asked) == 5
    assert [row["times"]["N"] for row in rows(store)] == ["5"]


def test_after_the_window_counting_starts_anew(store):
    fail(5)
    # DynamoDB keeps the second only, and removes rows late.
    ends = NOW.replace(microsecond=0) + WINDOW
    with clock.frozen(ends - timedelta(milliseconds=1)), pytest.raises(TooMany):
        sign_in("0001", RIGHT, HERE)
    with clock.frozen(ends):
        fail(1)
        assert [(row["times"]["N"], row["expires"]["N"]) for row in rows(store)] == [("1", seconds(ends + WINDOW))]


def test_after_the_window_the_right_password_opens(store):
    fail(5)

    with clock.frozen(NOW + WINDOW):
        assert isinstance(sign_in("0001", RIGHT, HERE), Tokens)
    assert rows(store) == []


# ---- what the pool may say


@pytest.fixture
def server(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A cloud that says what the test wants, after it has counted the attempt."""
    monkeypatch.setenv("POOL_ID", "the-pool")
    monkeypatch.setenv("POOL_CLIENT_ID", "the-client")
    with Server(answers({})) as made, clock.frozen(NOW):
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        kernel_settings.settings.cache_clear()
        yield made


def targets(server: Server) -> list[str]:
    return [str(request.headers["x-amz-target"]).partition(".")[2] for request in server.requests]


def test_the_pool_is_asked_as_its_contract_says(server):
    result = {"IdToken": "i", "AccessToken": "a", "RefreshToken": "r", "ExpiresIn": 3600, "TokenType": "Bearer"}
    server.script += [answers({"AuthenticationResult": result}), answers({})]

    assert sign_in("0001", RIGHT, HERE) == Tokens("i", "a", "r", 3600)

    assert targets(server) == ["UpdateItem", "AdminInitiateAuth", "DeleteItem"]
    assert server.requests[1].body == (
        b'{"UserPoolId":"the-pool","AuthFlow":"ADMIN_USER_PASSWORD_AUTH","ClientId":"the-client",'
        b'"AuthParameters":{"USERNAME":"0001","PASSWORD":"Right-1-password"}}'
    )


def test_a_pool_may_give_no_refresh_token(server):
    result = {"IdToken": "i", "AccessToken": "a", "ExpiresIn": 300}
    server.script += [answers({"AuthenticationResult": result}), answers({})]

    assert sign_in("0001", RIGHT, HERE) == Tokens("i", "a", "", 300)


@pytest.mark.parametrize(
    "code",
    [
        "NotAuthorizedException",
        "UserNotFoundException",
        "UserNotConfirmedException",
        "PasswordResetRequiredException",
        "InvalidParameterException",
    ],
)
def test_a_refusal_of_the_pool_counts(server, code):
    server.script += [answers({"__type": code, "message": "why"}, 400)]

    with pytest.raises(Unauthorized) as raised:
        sign_in("0001", RIGHT, HERE)

    assert raised.value.message == "Unauthorized"
    assert targets(server) == ["UpdateItem", "AdminInitiateAuth"]


def taken_back(server: Server) -> bool:
    """Whether the last call took the counted attempt back."""
    change = json.loads(server.requests[-1].body)
    assert targets(server) == ["UpdateItem", "AdminInitiateAuth", "UpdateItem"]
    assert change["ExpressionAttributeNames"] == {"#0": "times"}
    assert change["ExpressionAttributeValues"] == {":0": {"N": "1"}, ":1": {"N": "0"}}
    assert change["ConditionExpression"] == "#0 > :1"
    return bool(change["UpdateExpression"] == "SET #0 = #0 - :0")


@pytest.mark.parametrize("code", ["TooManyRequestsException", "LimitExceededException"])
def test_a_pool_that_is_asked_too_much_counts_nothing(server, code):
    server.script += [answers({"__type": code}, 400), answers({})]

    with pytest.raises(TooMany) as raised:
        sign_in("0001", RIGHT, HERE)

    assert raised.value.message == "Too many sign-ins; try again later"
    assert taken_back(server)


def test_other_errors_rise_and_count_nothing(server):
    server.script += [answers({"__type": "ResourceNotFoundException", "message": "no pool"}, 400), answers({})]

    with pytest.raises(aws.AwsError, match="ResourceNotFoundException: no pool") as raised:
        sign_in("0001", RIGHT, HERE)

    assert RIGHT not in str(raised.value)
    assert taken_back(server)


def test_an_attempt_that_was_not_looked_at_is_not_counted(store, monkeypatch):
    fail(1)
    monkeypatch.setenv("POOL_ID", "us-east-1_nowhere")
    kernel_settings.settings.cache_clear()

    with pytest.raises(aws.AwsError, match="ResourceNotFoundException"):
        sign_in("0001", RIGHT, HERE)

    assert [row["times"] for row in rows(store)] == [{"N": "1"}]


# ---- users


@pytest.fixture
def made(store: Any, environment: str, pool: dict[str, str]) -> Iterator[None]:
    yield
    cognito = client_of("cognito-idp", environment)
    cognito.admin_delete_user(UserPoolId=pool["POOL_ID"], Username="made")
    cognito.close()


def test_a_user_who_is_made_may_sign_in_at_once(made):
    add_user("made", RIGHT)

    assert isinstance(sign_in("made", RIGHT, HERE), Tokens)


def test_a_name_is_given_once(made):
    add_user("made", RIGHT)

    with pytest.raises(UserExists) as raised:
        add_user("made", WRONG)

    assert (raised.value.status, raised.value.code, raised.value.message) == (
        409,
        "user_exists",
        "There is a user made already",
    )
    assert isinstance(sign_in("made", RIGHT, HERE), Tokens)


def test_another_password_opens_and_the_old_one_no_more(made):
    add_user("made", WRONG)

    set_password("made", RIGHT)

    assert isinstance(sign_in("made", RIGHT, HERE), Tokens)
    fail(1, username="made")


def test_users_are_made_without_a_message_to_them(server):
    server.script[:] = [answers({}), answers({})]

    add_user("made", RIGHT)

    assert [json.loads(request.body) for request in server.requests] == [
        {"UserPoolId": "the-pool", "Username": "made", "MessageAction": "SUPPRESS"},
        {"UserPoolId": "the-pool", "Username": "made", "Password": RIGHT, "Permanent": True},
    ]


def test_what_else_the_pool_refuses_rises(server):
    server.script[:] = [answers({"__type": "InvalidPasswordException", "message": "short"}, 400)]

    with pytest.raises(aws.AwsError, match="InvalidPasswordException"):
        set_password("made", "short")
