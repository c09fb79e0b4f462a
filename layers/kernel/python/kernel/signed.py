"""Small values that a caller keeps for us: signed, so that what comes back is what went out."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

from kernel.errors import Flaw, Invalid
from kernel.secrets import signing_key

_SIGNATURE_BYTES = 16


def _signature(purpose: str, payload: bytes) -> bytes:
    return hmac.digest(signing_key(), purpose.encode() + b"\0" + payload, "sha256")[:_SIGNATURE_BYTES]


def seal(purpose: str, value: Any) -> str:
    """Return `value` (JSON) as URL-safe text, signed for `purpose`: `list name + tenant`, so it fits no other list."""
    payload = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(_signature(purpose, payload) + payload).decode().rstrip("=")


def unseal(purpose: str, text: str, field: str) -> Any:
    """Return the value that `seal` made for the same purpose; anything else is a flaw of `field`."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise Invalid([Flaw(field, "is not a key of this list")]) from None
    payload = data[_SIGNATURE_BYTES:]
    # Base64 spells the same bytes in several ways; only the one that went out comes back.
    spelled = base64.urlsafe_b64encode(data).decode().rstrip("=") == text
    if not hmac.compare_digest(data[:_SIGNATURE_BYTES], _signature(purpose, payload)) or not spelled:
        raise Invalid([Flaw(field, "is not a key of this list")])
    return json.loads(payload)
