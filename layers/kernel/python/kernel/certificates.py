"""Certificates: a signature over content that anybody may check later, and nobody who only checks could have made."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from kernel import aws
from kernel.settings import settings

_ALGORITHM = "ECDSA_SHA_256"


def certify(content: bytes) -> str:
    """Return the signature over the content, made with the system's certificate key, as base64 text."""
    return str(_key("Sign", content)["Signature"])


def certified(content: bytes, signature: str) -> bool:
    """Tell whether `certify` made this signature over exactly this content."""
    try:
        # KMS calls a text that is no base64 a broken request; here it is a signature that somebody changed.
        if not base64.b64decode(signature, validate=True):
            return False
    except ValueError:
        return False
    try:
        return bool(_key("Verify", content, Signature=signature)["SignatureValid"])
    except aws.AwsError as error:
        if error.code == "KMSInvalidSignatureException":
            return False
        raise


def _key(action: str, content: bytes, **more: str) -> dict[str, Any]:
    # KMS takes 4096 bytes of a message, but any message's digest.
    digest = hashlib.sha256(content).digest()
    request = {
        "KeyId": settings().certificate_key_id,
        "Message": base64.b64encode(digest).decode(),
        "MessageType": "DIGEST",
        "SigningAlgorithm": _ALGORITHM,
    }
    return aws.call("kms", action, request | more)
