"""A double of Alibaba Cloud's SMS service over HTTP: checks signatures, sends nothing, keeps the messages in memory.

GET /_simulator/messages?phone=… shows what was sent; a scripted failure is answered with its message as the service's
code, as in {"path": "/", "status": 200, "message": "isv.BUSINESS_LIMIT_CONTROL"}.
https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature says how requests are
signed. Limits of messages to one phone are not simulated.
"""

import hashlib
import hmac
import json
import re
import time
from calendar import timegm
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from local.chat_double import ChatDouble, Failure, RefusedError, run
from local.line_http import Answer, Request, json_answer

DEFAULT_PORT = 8795
KEY_ID, KEY = "local-sms", "local-sms-key"

_AUTHORIZATION = re.compile(
    r"ACS3-HMAC-SHA256 Credential=([^,\s]+),SignedHeaders=([a-z0-9;-]+),Signature=([0-9a-f]{64})"
)
_SIGNED = ("host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version")
_PARAMETERS = ("PhoneNumbers", "SignName", "TemplateCode", "TemplateParam")
_PHONE = re.compile(r"(\+86|86)?1[0-9]{10}")
_TOLERANCE = 15 * 60


class SmsDouble(ChatDouble):
    """The service as it runs at `url`; a message's user is its phone."""

    def _control(self, request: Request) -> Mapping[str, Any]:
        phone = request.query.get("phone")
        return super()._control(replace(request, query={**request.query, "user": phone}) if phone else request)


def sms_simulator(
    port: int = 0, *, keys: Mapping[str, str] | None = None, clock: Callable[[], float] = time.time
) -> SmsDouble:
    """Return a service to be started that knows these access keys, by their ids."""
    return SmsDouble(SmsService({KEY_ID: KEY} if keys is None else keys), port=port, clock=clock)


class SmsService:
    """The rules of SendSms."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys
        self._nonces: set[str] = set()

    def answer(self, request: Request, double: ChatDouble) -> Answer:
        """Answer a signed call of SendSms."""
        self._check_signature(request, double.now())
        if (request.header("x-acs-action"), request.header("x-acs-version")) != ("SendSms", "2017-05-25"):
            raise _refused(404, "InvalidAction.NotFound")
        if request.method != "POST" or request.path != "/":
            raise _refused(404, "InvalidAction.NotFound")
        query = request.query
        for name in _PARAMETERS[:3]:
            if name not in query:
                raise _refused(400, f"Missing{name}")
        phone = query["PhoneNumbers"]
        if not _PHONE.fullmatch(phone):
            raise _refused(200, "isv.MOBILE_NUMBER_ILLEGAL")
        variables = _variables(query.get("TemplateParam", "{}"))
        message = {"signName": query["SignName"], "templateCode": query["TemplateCode"], **variables}
        number = double.deliver(phone[-11:], message)
        return json_answer(200, {"Message": "OK", "RequestId": "simulated", "Code": "OK", "BizId": f"{number}^0"})

    def failed(self, failure: Failure) -> Answer:
        """Return a scripted failure."""
        return _error(500, failure.message)

    def _check_signature(self, request: Request, now: float) -> None:
        given = _AUTHORIZATION.fullmatch(request.header("authorization") or "")
        if given is None:
            raise _refused(400, "IncompleteSignature")
        key_id, names, signature = given.groups()
        signed = names.split(";")
        if signed != sorted(signed) or not set(_SIGNED) <= set(signed):
            raise _refused(400, "IncompleteSignature")
        key = self._keys.get(key_id)
        if key is None:
            raise _refused(404, "InvalidAccessKeyId.NotFound")
        headers = {name: (request.header(name) or "").strip() for name in signed}
        body = hashlib.sha256(request.body).hexdigest()
        if headers["x-acs-content-sha256"] != body:
            raise _refused(400, "InvalidContentSha256")
        query = "&".join(f"{_encoded(name)}={_encoded(request.query[name])}" for name in sorted(request.query))
        lines = [request.method, request.path, query, *(f"{name}:{headers[name]}" for name in signed), "", names, body]
        text = "ACS3-HMAC-SHA256\n" + hashlib.sha256("\n".join(lines).encode()).hexdigest()
        if not hmac.compare_digest(hmac.digest(key.encode(), text.encode(), "sha256").hex(), signature):
            raise _refused(400, "SignatureDoesNotMatch")
        if abs(now - _seconds(headers["x-acs-date"])) > _TOLERANCE:
            raise _refused(400, "InvalidTimeStamp.Expired")
        if headers["x-acs-signature-nonce"] in self._nonces:
            raise _refused(400, "SignatureNonceUsed")
        self._nonces.add(headers["x-acs-signature-nonce"])


def _variables(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _refused(200, "isv.INVALID_JSON_PARAM")
    if not found.get("code"):
        raise _refused(200, "isv.TEMPLATE_MISSING_PARAMETERS")
    return found


def _seconds(stamp: str) -> int:
    try:
        return timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        raise _refused(400, "InvalidTimeStamp.Format") from None


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _refused(status: int, code: str) -> RefusedError:
    return RefusedError(_error(status, code))


def _error(status: int, code: str) -> Answer:
    return json_answer(status, {"RequestId": "simulated", "Code": code, "Message": "refused by the simulator"})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator on a port until it is interrupted."""
    run(sms_simulator, "SMS", DEFAULT_PORT, arguments)


if __name__ == "__main__":
    main()
