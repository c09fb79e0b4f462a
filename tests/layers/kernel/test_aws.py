"""Signed calls to AWS: the signature, what is tried again and how often, and what observers see."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import aws, wire
from kernel import settings as kernel_settings
from tests.layers.kernel.test_wire import Server, answers, closes, cuts, hangs, refuse, resets

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
GET_ITEM = {"TableName": "tags", "Key": {"a": {"S": "測試"}}}


@pytest.fixture
def server(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before the repetitions, each as long as chance could make it."""
    made: list[float] = []
    real = aws.time
    monkeypatch.setattr(
        aws, "time", SimpleNamespace(sleep=made.append, time=real.time, strftime=real.strftime, gmtime=real.gmtime)
    )
    monkeypatch.setattr(aws, "random", SimpleNamespace(uniform=lambda low, high: high))
    return made


@pytest.fixture
def seen() -> Iterator[list[aws.Call]]:
    calls: list[aws.Call] = []
    aws.observers.append(calls.append)
    yield calls
    aws.observers.remove(calls.append)


def refuses(code: str, status: int = 400, message: str = "no") -> Any:
    return answers({"__type": code, "message": message}, status)


def signed_by_botocore(
    url: str, given: dict[str, str], body: bytes, credentials: Credentials, service: str, region: str, moment: datetime
) -> dict[str, str]:
    request = AWSRequest("POST", url, headers=given, data=body)
    with patch.object(botocore.auth, "get_current_datetime", lambda: moment):
        botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@settings(deadline=None)
@given(
    service=st.sampled_from(sorted(aws._TARGETS)),
    region=st.from_regex(r"[a-z]{2}(-gov)?-(north|south|east|west|central){1,2}-[1-9]", fullmatch=True),
    action=st.from_regex(r"[A-Z][A-Za-z]{2,30}", fullmatch=True),
    body=st.binary(max_size=300) | st.text(max_size=100).map(str.encode),
    identity=st.text(TOKEN_CHARACTERS, min_size=1, max_size=40),
    secret=st.text(TOKEN_CHARACTERS, min_size=1, max_size=40),
    token=st.none() | st.text(TOKEN_CHARACTERS, min_size=1, max_size=400),
    moment=st.datetimes(datetime(1971, 1, 1), datetime(2199, 12, 31)).map(lambda at: at.replace(microsecond=0)),
    port=st.none() | st.integers(1, 65535).filter(lambda port: port != 443),
)
def test_signs_as_botocore_does(service, region, action, body, identity, secret, token, moment, port):
    host = f"{service}.{region}.amazonaws.com" + (f":{port}" if port else "")
    given = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"Prefix.{action}"}
    names = {"AWS_ACCESS_KEY_ID": identity, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token or ""}
    with patch.dict(os.environ, names):
        headers = aws.signed_headers(
            service,
            host,
            given["X-Amz-Target"],
            given["Content-Type"],
            body,
            region=region,
            seconds=moment.replace(tzinfo=UTC).timestamp(),
        )

    credentials = Credentials(identity, secret, token)
    expected = signed_by_botocore(f"https://{host}/", given, body, credentials, service, region, moment)
    assert headers == {**expected, "host": host}


@pytest.mark.parametrize("token", [None, "FwoGZXIvYXdzEJr//////////w=="])
@pytest.mark.parametrize(
    ("service", "target", "version"),
    [
        ("dynamodb", "DynamoDB_20120810", "1.0"),
        ("sqs", "AmazonSQS", "1.0"),
        ("kms", "TrentService", "1.1"),
        ("cognito-idp", "AWSCognitoIdentityProviderService", "1.1"),
        ("secretsmanager", "secretsmanager", "1.1"),
    ],
)
def test_sends_a_call_as_the_service_wants_it(server, monkeypatch, service, target, version, token):
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    server.script = [answers({"Item": {"名": {"S": "值"}}})]

    assert aws.call(service, "GetThing", GET_ITEM) == {"Item": {"名": {"S": "值"}}}

    (request,) = server.requests
    headers = {name.lower(): value for name, value in request.headers.items()}
    moment = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    given = {"Content-Type": f"application/x-amz-json-{version}", "X-Amz-Target": f"{target}.GetThing"}
    credentials = Credentials("testing", "testing", token)
    signed = signed_by_botocore(server.url, given, request.body, credentials, service, "us-east-1", moment)
    added = {"host": f"127.0.0.1:{server.port}", "accept-encoding": "identity", "content-length": "47"}
    assert headers == {**signed, **added}
    assert request.line == "POST / HTTP/1.1"
    assert request.body == '{"TableName":"tags","Key":{"a":{"S":"測試"}}}'.encode()


@pytest.mark.parametrize("ending", ["", "/"])
def test_an_endpoint_may_end_with_a_slash(server, monkeypatch, ending):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url + ending)
    server.script = [answers({})]

    assert aws.call("sqs", "GetThing", {}) == {}

    assert server.requests[0].line == "POST / HTTP/1.1"
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("service", sorted(aws._TARGETS))
def test_without_an_endpoint_the_call_goes_to_the_region(environment, monkeypatch, pauses, service):
    asked = []

    def note(address: Any, *_: Any) -> socket.socket:
        asked.append(address)
        return refuse()

    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_REGION", "ap-northeast-1")
    kernel_settings.settings.cache_clear()
    monkeypatch.setattr(socket, "create_connection", note)

    with pytest.raises(wire.Unreachable) as raised:
        aws.call(service, "GetThing", {})

    assert asked == [(f"{service}.ap-northeast-1.amazonaws.com", 443)] * aws.ATTEMPTS
    assert not raised.value.sent


def test_an_unknown_service_is_a_mistake(server):
    with pytest.raises(KeyError, match="s3"):
        aws.call("s3", "GetObject", {})


def test_an_empty_answer_is_empty(server):
    server.script = [answers(b"")]

    assert aws.call("sqs", "DeleteThing", {}) == {}


def test_a_success_that_is_no_json_is_no_success(server, seen):
    server.script = [answers(b"<html>")]

    with pytest.raises(ValueError, match="Expecting value"):
        aws.call("dynamodb", "GetItem", GET_ITEM)

    assert seen == []


RETRYABLE = {
    "throughput": refuses("com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
    "throttling": refuses("ThrottlingException"),
    "request limit": refuses("RequestLimitExceeded"),
    "throttled": refuses("RequestThrottled"),
    "transaction in progress": refuses("TransactionInProgressException"),
    "transaction conflict": refuses("TransactionConflictException"),
    "KMS internal": refuses("KMSInternalException"),
    "KMS dependency": refuses("DependencyTimeoutException"),
    "internal": refuses("InternalServerError"),
    "internal exception": refuses("InternalServerException"),
    "unavailable": refuses("ServiceUnavailable"),
    "any 500": refuses("Whatever", 500),
    "empty 502": answers(b"", 502),
    "503 in HTML": answers(b"<html><h1>Service Unavailable</h1></html>", 503),
    "closed": closes,
    "reset": resets,
    "cut": cuts,
}


@pytest.mark.parametrize("trouble", RETRYABLE.values(), ids=RETRYABLE.keys())
def test_trouble_that_passes_is_not_noticed(server, pauses, seen, trouble):
    server.script = [trouble, trouble, trouble, answers({"Item": {}})]

    assert aws.call("dynamodb", "GetItem", GET_ITEM) == {"Item": {}}

    assert pauses == [0.1, 0.2, 0.4]
    assert seen == [aws.Call("dynamodb", "GetItem", GET_ITEM, {"Item": {}})]
    assert len({request.body for request in server.requests}) == 1
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("trouble", "code", "answer"),
    [
        (refuses("ThrottlingException"), "ThrottlingException", {"__type": "ThrottlingException", "message": "no"}),
        (refuses("Whatever", 500), "Whatever", {"__type": "Whatever", "message": "no"}),
        (answers(b"<html>", 503), "503", {}),
    ],
)
def test_attempts_are_bounded_and_the_last_refusal_is_the_one_that_counts(server, pauses, seen, trouble, code, answer):
    server.script = [trouble] * 9

    with pytest.raises(aws.AwsError) as raised:
        aws.call("dynamodb", "GetItem", GET_ITEM)

    assert (raised.value.code, raised.value.answer) == (code, answer)
    assert pauses == [0.1, 0.2, 0.4]
    assert len(server.requests) == aws.ATTEMPTS == 4
    assert seen == [aws.Call("dynamodb", "GetItem", GET_ITEM, answer)]


@pytest.mark.parametrize("trouble", [closes, resets, cuts])
def test_a_service_that_never_answers_is_unreachable(server, pauses, seen, trouble):
    server.script = [trouble] * 9

    with pytest.raises(wire.Unreachable) as raised:
        aws.call("dynamodb", "GetItem", GET_ITEM)

    assert raised.value.sent
    assert pauses == [0.1, 0.2, 0.4]
    assert len(server.requests) == 4
    assert seen == []


def test_a_slow_service_is_asked_again(server, pauses):
    server.script = [hangs, answers({"Item": {}})]

    assert aws.call("dynamodb", "GetItem", GET_ITEM, timeout=0.1) == {"Item": {}}

    assert pauses == [0.1]


def test_a_kept_connection_that_breaks_costs_no_attempt(server, pauses):
    server.script = [answers({}), closes, answers({"Item": {}})]

    aws.call("dynamodb", "GetItem", GET_ITEM)
    assert aws.call("dynamodb", "GetItem", GET_ITEM) == {"Item": {}}

    assert pauses == []
    assert [request.connection for request in server.requests] == [1, 1, 2]


def test_the_pause_is_a_matter_of_chance(server, monkeypatch, pauses):
    asked = []
    monkeypatch.setattr(aws, "random", SimpleNamespace(uniform=lambda *bounds: asked.append(bounds) or 0))
    server.script = [*[refuses("ThrottlingException")] * 3, answers({})]

    aws.call("sqs", "GetThing", {})

    assert asked == [(0, 0.1), (0, 0.2), (0, 0.4)]
    assert pauses == [0, 0, 0]


def test_every_attempt_is_signed_anew(server, monkeypatch, pauses):
    clock = iter([1_700_000_000.0, 1_700_000_001.0])
    monkeypatch.setattr(aws.time, "time", lambda: next(clock))
    server.script = [refuses("ThrottlingException"), answers({})]

    aws.call("sqs", "GetThing", {})

    assert [r.headers["x-amz-date"] for r in server.requests] == ["20231114T221320Z", "20231114T221321Z"]
    assert len({request.headers["authorization"] for request in server.requests}) == 2


@pytest.mark.parametrize(
    "code",
    [
        "ConditionalCheckFailedException",
        "TransactionCanceledException",
        "ValidationException",
        "ResourceNotFoundException",
        "AccessDeniedException",
        "NotAuthorizedException",
        "TooManyRequestsException",
        "InvalidCiphertextException",
    ],
)
def test_a_refusal_is_final(server, pauses, seen, code):
    server.script = [refuses(f"com.amazonaws.somewhere#{code}", message="The reason")]

    with pytest.raises(aws.AwsError) as raised:
        aws.call("dynamodb", "PutItem", GET_ITEM)

    answer = {"__type": f"com.amazonaws.somewhere#{code}", "message": "The reason"}
    assert (raised.value.code, raised.value.answer) == (code, answer)
    assert str(raised.value) == f"dynamodb.PutItem: {code}: The reason"
    assert pauses == []
    assert seen == [aws.Call("dynamodb", "PutItem", GET_ITEM, answer)]
    assert len(server.requests) == 1


SPELLINGS = {
    "plain": ({"__type": "NotFound"}, {}),
    "with a namespace": ({"__type": "com.amazonaws.dynamodb.v20120810#NotFound"}, {}),
    "with an address": ({"__type": "NotFound:http://internal.amazon.com/coral/"}, {}),
    "with both": ({"__type": "aws.tests#NotFound:http://internal.amazon.com/coral/#more"}, {}),
    "in the header": ({}, {"x-amzn-ErrorType": "NotFound"}),
    "in the header, with an address": ({}, {"x-amzn-ErrorType": "NotFound:http://internal.amazon.com/coral/"}),
    "in the header, with both": ({}, {"X-Amzn-Errortype": "aws.tests#NotFound:http://internal.amazon.com/"}),
    "in both places": ({"__type": "NotFound"}, {"x-amzn-ErrorType": "Another"}),
}


@pytest.mark.parametrize(("body", "headers"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_reads_the_code_wherever_it_is(server, body, headers):
    server.script = [answers(body, 400, **headers)]

    with pytest.raises(aws.AwsError) as raised:
        aws.call("kms", "Decrypt", {})

    assert raised.value.code == "NotFound"


@pytest.mark.parametrize("body", [b"", b"{}", b"Forbidden"])
def test_without_a_code_the_status_is_one(server, body):
    server.script = [answers(body, 403)]

    with pytest.raises(aws.AwsError) as raised:
        aws.call("kms", "Decrypt", {})

    assert (raised.value.code, str(raised.value)) == ("403", "kms.Decrypt: 403: ")


@pytest.mark.parametrize(("name", "text"), [("message", "lower"), ("Message", "upper")])
def test_an_error_says_what_the_service_said(server, name, text):
    server.script = [answers({"__type": "X", name: text}, 400)]

    with pytest.raises(aws.AwsError, match=f"^kms.Decrypt: X: {text}$"):
        aws.call("kms", "Decrypt", {})


def test_each_observer_sees_each_call_once(server, seen):
    others: list[aws.Call] = []
    aws.observers.append(others.append)
    server.script = [answers({"a": 1}), refuses("X"), answers({"b": 2})]
    try:
        aws.call("sqs", "One", {"n": 1})
        with pytest.raises(aws.AwsError):
            aws.call("kms", "Two", {"n": 2})
        aws.call("dynamodb", "Three", {"n": 3})
    finally:
        aws.observers.remove(others.append)

    assert seen == [
        aws.Call("sqs", "One", {"n": 1}, {"a": 1}),
        aws.Call("kms", "Two", {"n": 2}, {"__type": "X", "message": "no"}),
        aws.Call("dynamodb", "Three", {"n": 3}, {"b": 2}),
    ]
    assert others == seen


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_without_credentials_nothing_is_sent(server, monkeypatch, name):
    monkeypatch.delenv(name)

    with pytest.raises(KeyError, match=name):
        aws.call("kms", "Decrypt", {})

    assert server.requests == []
