"""Text messages with a one-time code, sent by Alibaba Cloud's Short Message Service (SendSms, version 2017-05-25).

Its signature: https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature. The secret
named by the settings holds `{"accessKeyId", "accessKeySecret", "signName", "templateCode"}`; the template has one
variable, `code`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from kernel import aws, wire
from kernel.channels.faults import OverLimit, Refused, TryLater, seconds_of
from kernel.secrets import Secret
from kernel.settings import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

ACTION = "SendSms"
VERSION = "2017-05-25"
_ALGORITHM = "ACS3-HMAC-SHA256"
_TIMEOUT = 5.0
_NOTHING = hashlib.sha256(b"").hexdigest()
# Too many to a phone or of an account (isv.), too many calls of the API.
_LIMIT_CODES = ("isv.BUSINESS_LIMIT", "isv.DAY_LIMIT", "isv.MONTH_LIMIT", "Throttling")
_PASSING_CODES = ("isp.SYSTEM_ERROR", "isp.GATEWAY_ERROR", "InternalError", "ServiceUnavailable")
_NONCE_USED = "SignatureNonceUsed"


class _Account(NamedTuple):
    key_id: str
    key: Secret
    sign_name: str
    template: str


def send(phone: str, code: str) -> None:
    """Send a code to a phone; raises OverLimit, TryLater (it may have arrived) and Refused, without number or code."""
    account = _account(settings().sms_secret)
    query = query_text(
        {
            "PhoneNumbers": phone,
            "SignName": account.sign_name,
            "TemplateCode": account.template,
            "TemplateParam": json.dumps({"code": code}),
        }
    )
    endpoint = settings().sms_api_endpoint.rstrip("/")
    headers = {
        "host": urlsplit(endpoint).netloc,
        "x-acs-action": ACTION,
        "x-acs-content-sha256": _NOTHING,
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": secrets.token_hex(16),
        "x-acs-version": VERSION,
    }
    headers["authorization"] = authorization(account.key_id, account.key, query, headers)
    try:
        reply = wire.send("POST", f"{endpoint}/?{query}", headers, timeout=_TIMEOUT)
    except wire.Unreachable as problem:
        raise TryLater(str(problem)) from None
    except ValueError:
        raise Refused(400, "no header can carry this access key") from None
    fault = _fault(reply)
    if fault is not None:
        raise fault


def authorization(key_id: str, key: Secret, query: str, headers: Mapping[str, str]) -> str:
    """Return the header that signs a POST without body; all `headers` are signed, their names are in lower case."""
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    request = f"POST\n/\n{query}\n{lines}\n{names}\n{headers['x-acs-content-sha256']}"
    text = f"{_ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(key.reveal().encode(), text.encode(), "sha256").hex()
    return f"{_ALGORITHM} Credential={key_id},SignedHeaders={names},Signature={signature}"


def query_text(parameters: Mapping[str, str]) -> str:
    """Return parameters as the signature wants them: sorted, everything but RFC 3986's unreserved signs encoded."""
    return urlencode(sorted(parameters.items()), quote_via=quote, safe="-_.~")


def _fault(reply: wire.Reply) -> Exception | None:
    code = _code(reply.body)
    # The one of two equal requests that came second is refused: the first was taken.
    if code == "OK" or (code == _NONCE_USED and reply.repeated):
        return None
    # Its message may quote the number, and with a wrong signature the whole request.
    name = f"the SMS service answered {reply.status}, code {code}"
    if code.startswith(_LIMIT_CODES) or reply.status == 429:
        return OverLimit(name, seconds_of(reply.headers.get("Retry-After")))
    if code.startswith(_PASSING_CODES) or reply.status >= 500:
        return TryLater(name)
    return Refused(reply.status, f"code {code}")


def _code(body: bytes) -> str:
    try:
        answer: Any = json.loads(body)
    except ValueError:
        return ""
    return str(answer.get("Code") or "") if isinstance(answer, dict) else ""


@lru_cache(maxsize=1)
def _account(secret_id: str) -> _Account:
    answer = aws.call("secretsmanager", "GetSecretValue", {"SecretId": secret_id})
    try:
        held = json.loads(answer["SecretString"])
        key = Secret(held["accessKeySecret"])
        return _Account(held["accessKeyId"], key, held["signName"], held["templateCode"])
    except (KeyError, TypeError, ValueError):
        # The original quotes what the secret holds.
        raise Refused(400, "the secret of the SMS service lacks something") from None
