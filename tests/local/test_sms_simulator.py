"""The double of the SMS service: whom it believes, what it takes, what it shows."""

import hashlib
import hmac
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from local.chat_double import Failure
from local.sms_simulator import KEY, KEY_ID, SmsDouble, sms_simulator
from tests.local.test_line_simulator import ask

ROOT = Path(__file__).parents[2]
ANN, BOB = "13800000001", "13800000002"
GIVEN = {"PhoneNumbers": ANN, "SignName": "礼遇圈", "TemplateCode": "SMS_1", "TemplateParam": '{"code":"042137"}'}
NOW = 1706424089.0
DATE = "2024-01-28T06:41:29Z"

Json = dict[str, Any]


@pytest.fixture
def double() -> Iterator[SmsDouble]:
    with sms_simulator(clock=lambda: NOW) as made:
        yield made


def signed(double: SmsDouble, query: str, key: str = KEY, key_id: str = KEY_ID, **changed: str) -> dict[str, str]:
    """Return headers of a call signed as the reference says; `changed` after that was done."""
    headers = {
        "host": double.url.removeprefix("http://"),
        "x-acs-action": changed.pop("action", "SendSms"),
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
        "x-acs-date": changed.pop("date", DATE),
        "x-acs-signature-nonce": changed.pop("nonce", "n1"),
        "x-acs-version": "2017-05-25",
    }
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"POST\n/\n{query}\n{lines}\n{';'.join(headers)}\n{headers['x-acs-content-sha256']}"
    text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={key_id},SignedHeaders={';'.join(headers)},Signature={signature}"
    )
    return headers | {name.replace("_", "-"): value for name, value in changed.items()}


def send(double: SmsDouble, given: Json = GIVEN, **how: str) -> tuple[int, str]:
    query = "&".join(f"{name}={quote(given[name], safe='-_.~')}" for name in sorted(given))
    status, body, _ = ask(double.url, "POST", f"/?{query}", token=None, **signed(double, query, **how))
    return status, body["Code"]


def messages(double: SmsDouble, query: str = "") -> Json:
    body: Json = ask(double.url, "GET", f"/_simulator/messages{query}", token=None)[1]
    return body


def test_a_signed_message_is_taken_and_can_be_read(double: SmsDouble) -> None:
    assert send(double) == (200, "OK")
    assert send(double, GIVEN | {"PhoneNumbers": f"+86{BOB}"}, nonce="n2") == (200, "OK")

    message = {"signName": "礼遇圈", "templateCode": "SMS_1", "code": "042137"}
    first, second = ({"seq": seq, "user": user, "message": message} for seq, user in ((1, ANN), (2, BOB)))
    assert messages(double) == {"messages": [first, second], "last": 2}
    assert messages(double, f"?phone={ANN}") == {"messages": [first], "last": 2}
    assert messages(double, f"?phone={BOB}&after=1&wait=1") == {"messages": [second], "last": 2}
    assert messages(double, "?phone=13800000003")["messages"] == []


UNSIGNED = {
    "no signature": ({"authorization": ""}, (400, "IncompleteSignature")),
    "another scheme": ({"authorization": "Bearer x"}, (400, "IncompleteSignature")),
    "another key": ({"key": "another"}, (400, "SignatureDoesNotMatch")),
    "unknown key": ({"key_id": "nobody"}, (404, "InvalidAccessKeyId.NotFound")),
    "another action than signed": ({"x_acs_action": "QuerySendDetails"}, (400, "SignatureDoesNotMatch")),
    "another body than signed": ({"x_acs_content_sha256": "0" * 64}, (400, "InvalidContentSha256")),
    "too early": ({"date": "2024-01-28T06:26:28Z"}, (400, "InvalidTimeStamp.Expired")),
    "too late": ({"date": "2024-01-28T06:56:30Z"}, (400, "InvalidTimeStamp.Expired")),
    "no time": ({"date": "today"}, (400, "InvalidTimeStamp.Format")),
    "another action": ({"action": "QuerySendDetails"}, (404, "InvalidAction.NotFound")),
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_is_not_signed_right_is_refused(double: SmsDouble, name: str) -> None:
    how, told = UNSIGNED[name]

    assert send(double, **how) == told
    assert double.sent == []


def test_a_signature_that_leaves_a_header_out(double: SmsDouble) -> None:
    headers = signed(double, "")
    headers["authorization"] = headers["authorization"].replace("host;", "")

    assert ask(double.url, "POST", "/", token=None, **headers)[1]["Code"] == "IncompleteSignature"


def test_a_nonce_is_good_once(double: SmsDouble) -> None:
    send(double)

    assert send(double) == (400, "SignatureNonceUsed")
    assert len(double.sent) == 1


WRONG = {
    "no phone": ({"PhoneNumbers": None}, (400, "MissingPhoneNumbers")),
    "no sign name": ({"SignName": None}, (400, "MissingSignName")),
    "no template": ({"TemplateCode": None}, (400, "MissingTemplateCode")),
    "a short phone": ({"PhoneNumbers": "1380000000"}, (200, "isv.MOBILE_NUMBER_ILLEGAL")),
    "no variables": ({"TemplateParam": None}, (200, "isv.TEMPLATE_MISSING_PARAMETERS")),
    "no JSON": ({"TemplateParam": "042137"}, (200, "isv.INVALID_JSON_PARAM")),
    "a number": ({"TemplateParam": '{"code":42137}'}, (200, "isv.INVALID_JSON_PARAM")),
}


@pytest.mark.parametrize("name", WRONG)
def test_messages_that_it_cannot_send(double: SmsDouble, name: str) -> None:
    changed, told = WRONG[name]
    given = {name: value for name, value in (GIVEN | changed).items() if value is not None}

    assert send(double, given) == told
    assert double.sent == []


def test_scripted_failures_and_reset(double: SmsDouble) -> None:
    double.fail(Failure("/", status=200, message="isv.OUT_OF_SERVICE"))
    assert send(double) == (200, "isv.OUT_OF_SERVICE")
    assert send(double) == (200, "OK")
    double.fail(Failure("/", code=0, message="ServiceUnavailable"))
    assert send(double, nonce="n2") == (500, "ServiceUnavailable")

    assert ask(double.url, "POST", "/_simulator/reset", {}, token=None)[0] == 200
    assert messages(double)["messages"] == []


def test_runs_by_itself() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "local.sms_simulator", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        timer = threading.Timer(20, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        assert line.startswith("SMS simulator on http://127.0.0.1:")
        assert ask(line.rpartition(" ")[2].strip(), "GET", "/_simulator/messages", token=None)[0] == 200
    finally:
        process.terminate()
        process.communicate()
