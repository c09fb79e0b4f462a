"""Secrets: encrypted with the system's KMS key and bound to a context; never logged, never in a repr."""

from __future__ import annotations

import base64
import hmac
import json
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NoReturn

from kernel import aws
from kernel.settings import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

# KMS encrypts at most 4096 bytes a call; longer texts are cut, each part bound to its place.
_PART = 4000
_PREFIX = "kms1:"


class Secret:
    """A text that shows itself only when asked with `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(Secret)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied")


def encrypt(text: str, context: Mapping[str, str]) -> str:
    """Return `text` encrypted; it can be read again only with the same context."""
    data = text.encode()
    parts = [data[start : start + _PART] for start in range(0, len(data), _PART)] or [b""]
    sealed = []
    for number, part in enumerate(parts):
        # KMS refuses an empty plaintext, so every part starts with one byte of padding.
        answer = aws.call(
            "kms",
            "Encrypt",
            {
                "KeyId": settings().key_id,
                "Plaintext": base64.b64encode(b"\0" + part).decode(),
                "EncryptionContext": {**context, "part": f"{number}/{len(parts)}"},
            },
        )
        sealed.append(answer["CiphertextBlob"])
    return _PREFIX + ".".join(sealed)


def decrypt(sealed: str, context: Mapping[str, str]) -> Secret:
    """Return the text that `encrypt` sealed with the same context; kept in memory while the function lives."""
    return _decrypt(sealed, json.dumps(dict(context), sort_keys=True))


@lru_cache(maxsize=512)
def _decrypt(sealed: str, context: str) -> Secret:
    parts = sealed.removeprefix(_PREFIX).split(".")
    data = b""
    for number, part in enumerate(parts):
        answer = aws.call(
            "kms",
            "Decrypt",
            {
                "CiphertextBlob": part,
                "KeyId": settings().key_id,
                "EncryptionContext": {**json.loads(context), "part": f"{number}/{len(parts)}"},
            },
        )
        data += base64.b64decode(answer["Plaintext"])[1:]
    return Secret(data.decode())


@cache
def signing_key() -> bytes:
    """Return the key that signs what goes out and comes back: cursors and tokens."""
    answer = aws.call("secretsmanager", "GetSecretValue", {"SecretId": settings().signing_secret})
    return str(answer["SecretString"]).encode()
