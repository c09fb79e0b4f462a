"""Calls to AWS services that speak JSON: signed here, sent over kept connections, retried when that is safe.

One door for DynamoDB, SQS, KMS, Cognito and Secrets Manager, so that what an operation calls can be counted
and compared with what it declared. Signature: "AWS Signature Version 4 for API requests", IAM User Guide.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json

from kernel import wire
from kernel.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable

_TARGETS = {
    "dynamodb": ("DynamoDB_20120810", "1.0"),
    "sqs": ("AmazonSQS", "1.0"),
    "kms": ("TrentService", "1.1"),
    "cognito-idp": ("AWSCognitoIdentityProviderService", "1.1"),
    "secretsmanager": ("secretsmanager", "1.1"),
}
_RETRYABLE = {
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "InternalServerError",
    "InternalServerException",
    "ServiceUnavailable",
    "TransactionInProgressException",
    "TransactionConflictException",
    "RequestThrottled",
    "KMSInternalException",
    "DependencyTimeoutException",
}
ATTEMPTS = 4


class Call(NamedTuple):
    """One finished call, as observers see it."""

    service: str
    action: str
    payload: dict[str, Any]
    answer: dict[str, Any]


observers: list[Callable[[Call], None]] = []


class AwsError(Exception):
    """A service refused; `answer` is its whole JSON body."""

    def __init__(self, service: str, action: str, code: str, answer: dict[str, Any]) -> None:
        super().__init__(f"{service}.{action}: {code}: {answer.get('message') or answer.get('Message') or ''}")
        self.code = code
        self.answer = answer


@lru_cache(maxsize=16)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signed_headers(
    service: str, host: str, target: str, content_type: str, body: bytes, *, region: str, seconds: float
) -> dict[str, str]:
    """Return the headers of a signed POST to `/`; credentials come from the environment as in every Lambda."""
    headers = {"content-type": content_type, "host": host, "x-amz-target": target}
    return authorized(
        service, "POST", "/", "", headers, hashlib.sha256(body).hexdigest(), region=region, seconds=seconds
    )


def authorized(
    service: str,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    payload: str,
    *,
    region: str,
    seconds: float,
) -> dict[str, str]:
    """Return the headers with date and signature; path and query are encoded and sorted, `payload` is its SHA-256."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
    headers = {**headers, "x-amz-date": stamp}
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    signature = signed(method, path, query, headers, payload, stamp, scope)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return headers


def signed(method: str, path: str, query: str, headers: dict[str, str], payload: str, stamp: str, scope: str) -> str:
    """Return the signature of a request whose credential scope is `day/region/service/aws4_request`."""
    names = sorted(headers)
    canonical = "\n".join([method, path, query, *(f"{n}:{headers[n]}" for n in names), "", ";".join(names), payload])
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    day, region, service, _ = scope.split("/")
    key = _signing_key(os.environ["AWS_SECRET_ACCESS_KEY"], day, region, service)
    return hmac.digest(key, text.encode(), "sha256").hex()


def _answer(reply: wire.Reply) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(reply.body) if reply.body else {}
    except ValueError:
        # What stands before a service refuses in HTML or plain text.
        if reply.status == 200:
            raise
        return {}
    return answer


def call(service: str, action: str, payload: dict[str, Any], *, timeout: float = 3.0) -> dict[str, Any]:
    """Call `action` of `service` and return its answer; throttling and 5xx are retried with full jitter.

    A write whose answer got lost is sent again: callers make writes conditional or give a request token.
    """
    prefix, version = _TARGETS[service]
    region = settings().region
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or f"https://{service}.{region}.amazonaws.com"
    host = endpoint.partition("://")[2].rstrip("/")
    body = to_json(payload)
    for attempt in range(1, ATTEMPTS + 1):
        headers = signed_headers(
            service, host, f"{prefix}.{action}", f"application/x-amz-json-{version}", body,
            region=region, seconds=time.time(),
        )  # fmt: skip
        try:
            reply = wire.send("POST", endpoint.rstrip("/") + "/", headers, body, timeout=timeout)
        except wire.Unreachable:
            if attempt == ATTEMPTS:
                raise
        else:
            answer = _answer(reply)
            if reply.status == 200:
                for observe in observers:
                    observe(Call(service, action, payload, answer))
                return answer
            code = str(answer.get("__type") or reply.headers.get("x-amzn-errortype", reply.status))
            code = code.partition(":")[0].rpartition("#")[2]
            if attempt == ATTEMPTS or (reply.status < 500 and code not in _RETRYABLE):
                for observe in observers:
                    observe(Call(service, action, payload, answer))
                raise AwsError(service, action, code, answer)
        time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311  jitter, not a secret
    raise AssertionError("the last attempt answers or raises")
