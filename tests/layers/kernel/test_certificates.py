"""Certificates: what was signed is recognised, what was changed is not."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import boto3
import pytest

from kernel import aws
from kernel import settings as kernel_settings
from kernel.certificates import certified, certify

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = "2024-01-28 第一家店".encode() * 400


@pytest.fixture
def key(environment: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The system's certificate key."""
    client = boto3.client("kms", endpoint_url=environment, region_name="us-east-1")
    made = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    client.close()
    monkeypatch.setenv("CERTIFICATE_KEY_ID", made)
    kernel_settings.settings.cache_clear()
    return str(made)


@pytest.fixture
def calls() -> Iterator[list[aws.Call]]:
    seen: list[aws.Call] = []
    aws.observers.append(seen.append)
    yield seen
    aws.observers.remove(seen.append)


def test_a_signature_is_recognised(key):
    assert certified(CONTENT, certify(CONTENT))


def test_two_signatures_differ_and_both_hold(key):
    first, second = certify(CONTENT), certify(CONTENT)

    assert first != second
    assert certified(CONTENT, first)
    assert certified(CONTENT, second)


def test_kms_sees_the_digest_only(key, calls):
    signature = certify(CONTENT)
    certified(CONTENT, signature)

    signing = {
        "KeyId": key,
        "Message": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode(),
        "MessageType": "DIGEST",
        "SigningAlgorithm": "ECDSA_SHA_256",
    }
    assert [(call.service, call.action, call.payload) for call in calls] == [
        ("kms", "Sign", signing),
        ("kms", "Verify", {**signing, "Signature": signature}),
    ]


@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_flipped_byte_of_the_content_is_found(key, place):
    signature = certify(CONTENT)
    changed = bytearray(CONTENT)
    changed[place] ^= 1

    assert not certified(bytes(changed), signature)


@pytest.mark.parametrize("place", range(0, 64, 9))
def test_a_flipped_byte_of_the_signature_is_found(key, place):
    changed = bytearray(base64.b64decode(certify(CONTENT)))
    changed[place] ^= 1

    assert not certified(CONTENT, base64.b64encode(changed).decode())


@pytest.mark.parametrize("signature", ["", "no base64", "é", "A", base64.b64encode(b"nothing of ours").decode()])
def test_what_is_no_signature_is_none(key, signature):
    assert not certified(CONTENT, signature)


@pytest.mark.parametrize(
    ("code", "answers"), [("KMSInvalidSignatureException", False), ("AccessDeniedException", None)]
)
def test_only_a_wrong_signature_is_an_answer(environment, monkeypatch, code, answers):
    """KMS refuses a wrong signature with an error, where moto answers that it does not hold."""

    def refuse(service, action, payload):
        raise aws.AwsError(service, action, code, {})

    monkeypatch.setattr(aws, "call", refuse)

    if answers is None:
        with pytest.raises(aws.AwsError, match=code):
            certified(CONTENT, "c2lnbmF0dXJl")
    else:
        assert certified(CONTENT, "c2lnbmF0dXJl") is answers


def test_without_a_key_nothing_is_certified(environment):
    with pytest.raises(aws.AwsError):
        certify(CONTENT)
