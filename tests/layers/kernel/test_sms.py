"""What goes to the SMS service, signed as its reference says, and what its answers mean."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from kernel import aws, settings, wire
from kernel.channels import sms
from kernel.channels.faults import OverLimit, Refused, TryLater
from kernel.secrets import Secret
from local.chat_double import Failure
from local.sms_simulator import sms_simulator
from tests.layers.kernel.test_wire import Server, answers, closes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.sms_simulator import SmsDouble

PHONE, CODE = "13800000001", "042137"
KEYS = {"id": "secret"}
HELD = {"accessKeyId": "id", "accessKeySecret": "secret", "signName": "礼遇圈", "templateCode": "SMS_1"}


@pytest.fixture
def held(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The calls of the store of secrets, which says what it holds for the service."""
    asked: list[str] = []

    def call(service: str, action: str, payload: dict[str, str]) -> dict[str, str]:
        asked.append(f"{service}.{action} {payload['SecretId']}")
        return {"SecretString": json.dumps(HELD)}

    monkeypatch.setattr(aws, "call", call)
    monkeypatch.setenv("SMS_SECRET", "arn:sms")
    sms._account.cache_clear()
    yield asked
    sms._account.cache_clear()


def reach(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SMS_API_ENDPOINT", url)
    settings.settings.cache_clear()


@pytest.fixture
def phones(held: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[SmsDouble]:
    with sms_simulator(keys=KEYS) as double:
        reach(monkeypatch, double.url)
        yield double


@pytest.fixture
def server(held: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as made:
        reach(monkeypatch, made.url)
        yield made


def test_the_references_own_example_of_a_signature():
    query = sms.query_text(
        {"RegionId": "cn-shanghai", "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"}
    )
    headers = {
        "host": "ecs.cn-shanghai.aliyuncs.com",
        "x-acs-action": "RunInstances",
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
        "x-acs-date": "2023-10-26T10:22:32Z",
        "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
        "x-acs-version": "2014-05-26",
    }

    assert sms.authorization("YourAccessKeyId", Secret("YourAccessKeySecret"), query, headers) == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,"
        "SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


def test_query_parameters_are_sorted_and_encoded():
    given = {"b": "a b+c*d~e", "A": "礼/=&", "a-._~": "'()!"}

    assert sms.query_text(given) == "A=%E7%A4%BC%2F%3D%26&a-._~=%27%28%29%21&b=a%20b%2Bc%2Ad~e"


def test_a_code_arrives(phones):
    sms.send(PHONE, CODE)

    (sent,) = phones.sent
    assert (sent.user, sent.message) == (PHONE, {"signName": "礼遇圈", "templateCode": "SMS_1", "code": CODE})


def test_the_secret_is_read_once(phones, held):
    sms.send(PHONE, CODE)
    sms.send(PHONE, CODE)

    assert held == ["secretsmanager.GetSecretValue arn:sms"]
    assert len(phones.sent) == 2


def test_the_request_is_the_references(server):
    server.script += [answers({"Code": "OK"})]

    sms.send(PHONE, CODE)

    (request,) = server.requests
    method, target, _ = request.line.split(" ")
    assert (method, urlsplit(target).path, request.body) == ("POST", "/", b"")
    assert parse_qs(urlsplit(target).query) == {
        "PhoneNumbers": [PHONE],
        "SignName": ["礼遇圈"],
        "TemplateCode": ["SMS_1"],
        "TemplateParam": ['{"code": "042137"}'],
    }
    assert (request.headers["x-acs-action"], request.headers["x-acs-version"]) == ("SendSms", "2017-05-25")


ANSWERS = {
    "to one phone": ({"Code": "isv.BUSINESS_LIMIT_CONTROL"}, 200, OverLimit),
    "a day": ({"Code": "isv.DAY_LIMIT_CONTROL"}, 200, OverLimit),
    "calls": ({"Code": "Throttling.User"}, 400, OverLimit),
    "of its own": ({"Code": "isp.SYSTEM_ERROR"}, 200, TryLater),
    "unavailable": ({"Code": "ServiceUnavailable"}, 503, TryLater),
    "no money": ({"Code": "isv.AMOUNT_NOT_ENOUGH"}, 200, Refused),
    "no phone": ({"Code": "isv.MOBILE_NUMBER_ILLEGAL"}, 200, Refused),
    "signature": ({"Code": "SignatureDoesNotMatch"}, 400, Refused),
    "nonce": ({"Code": "SignatureNonceUsed"}, 400, Refused),
    "no code": ({}, 200, Refused),
    "no object": (["OK"], 200, Refused),
    "no JSON": (b"<html>", 200, Refused),
    "a page of its own": (b"<html>", 502, TryLater),
    "too many": (b"", 429, OverLimit),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_its_answers_mean(server, name):
    body, status, kind = ANSWERS[name]
    told = {**body, "Message": f"{PHONE} {CODE} {HELD['accessKeySecret']}"} if isinstance(body, dict) else body
    server.script += [answers(told, status)]

    with pytest.raises((TryLater, Refused)) as raised:
        sms.send(PHONE, CODE)

    assert type(raised.value) is kind
    # What the service says may quote the whole request.
    for secret in (PHONE, CODE, HELD["accessKeySecret"]):
        assert secret not in str(raised.value)


def test_it_says_when_to_come_back(server):
    server.script += [answers({"Code": "Throttling"}, 429, Retry_After="7")]

    with pytest.raises(OverLimit) as raised:
        sms.send(PHONE, CODE)

    assert raised.value.wait == 7.0


def test_without_an_answer_nothing_is_known(server):
    server.script += [closes]

    with pytest.raises(TryLater) as raised:
        sms.send(PHONE, CODE)

    assert PHONE not in str(raised.value)


def test_a_request_that_went_out_twice_was_taken_once(phones, monkeypatch):
    first = wire.send

    def twice(*args, **how):
        first(*args, **how)
        return first(*args, **how)._replace(repeated=True)

    monkeypatch.setattr(wire, "send", twice)
    sms.send(PHONE, CODE)

    assert len(phones.sent) == 1


def test_a_wrong_key_is_refused(phones, monkeypatch):
    monkeypatch.setitem(HELD, "accessKeySecret", "another")

    with pytest.raises(Refused, match="SignatureDoesNotMatch"):
        sms.send(PHONE, CODE)
    assert phones.sent == []


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '"x"', "{}", '{"accessKeyId": "id"}'])
def test_a_secret_that_lacks_something(phones, monkeypatch, text):
    monkeypatch.setattr(aws, "call", lambda *_: {"SecretString": text})

    with pytest.raises(Refused, match="lacks something"):
        sms.send(PHONE, CODE)
    assert phones.calls == []


def test_a_key_that_no_header_can_carry(phones, monkeypatch):
    monkeypatch.setitem(HELD, "accessKeyId", "id\r\nx: y")

    with pytest.raises(Refused, match="no header can carry"):
        sms.send(PHONE, CODE)
    assert phones.calls == []


def test_a_scripted_failure_of_the_double(phones):
    phones.fail(Failure("/", status=200, message="isv.BUSINESS_LIMIT_CONTROL"))

    with pytest.raises(OverLimit):
        sms.send(PHONE, CODE)
    sms.send(PHONE, CODE)
