"""Secrets: shown only when asked, and read only with the context they were sealed with."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel import aws, secrets, wire
from kernel import settings as kernel_settings
from kernel.secrets import Secret, decrypt, encrypt, signing_key

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXT = {"adminId": "0001", "accountId": "acc"}


@pytest.fixture
def key(environment: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The system's KMS key."""
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("kms", endpoint_url=environment, region_name="us-east-1")
    made = client.create_key()["KeyMetadata"]["KeyId"]
    client.close()
    monkeypatch.setenv("KEY_ID", made)
    kernel_settings.settings.cache_clear()
    return str(made)


@pytest.fixture
def calls() -> Iterator[list[aws.Call]]:
    seen: list[aws.Call] = []
    aws.observers.append(seen.append)
    yield seen
    aws.observers.remove(seen.append)


# ---- the text that hides


@dataclass
class Credentials:
    token: Secret


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret("the-token")),
        str(Secret("the-token")),
        f"{Secret('the-token')}",
        f"{Secret('the-token')!r:>20}",
        "%s" % Secret("the-token"),  # noqa: UP031
        repr({"a": [Secret("the-token")]}),
        repr(Credentials(Secret("the-token"))),
        repr(KeyError(Secret("the-token"))),
        json.dumps(Secret("the-token"), default=str),
        repr(SimpleNamespace(token=Secret("the-token"))),
    ],
)
def test_a_secret_shows_itself_nowhere(shown):
    assert "Secret(…)" in shown or "Secret(\\u2026)" in shown
    assert "the-token" not in shown


def test_a_secret_shows_itself_when_asked():
    assert Secret("the-token").reveal() == "the-token"


def test_a_secret_is_not_written_as_json():
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps({"token": Secret("the-token")})


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_never_pickled(protocol):
    with pytest.raises(TypeError, match="a Secret is neither pickled nor copied"):
        pickle.dumps({"token": Secret("the-token")}, protocol)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_a_secret_is_never_copied(how):
    with pytest.raises(TypeError, match="a Secret is neither pickled nor copied"):
        how(Secret("the-token"))


def test_a_secret_has_no_attributes_to_look_into():
    with pytest.raises(TypeError, match="__dict__"):
        vars(Secret("the-token"))


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (Secret("the-token"), True),
        (Secret("the-tokem"), False),
        (Secret(""), False),
        ("the-token", False),
        (None, False),
    ],
)
def test_secrets_are_compared_with_secrets_only(other, equal):
    assert (Secret("the-token") == other) is equal
    assert (Secret("the-token") != other) is not equal


def test_secrets_compare_any_text_and_their_hash_tells_nothing():
    assert Secret("測試") == Secret("測試")
    assert hash(Secret("one")) == hash(Secret("other"))
    assert len({Secret("one"), Secret("one"), Secret("other")}) == 2


# ---- sealing


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40), st.dictionaries(st.text("ab漢", min_size=1), st.text("xy字", min_size=1), max_size=3))
def test_what_was_sealed_can_be_read_again(key, text, context):
    sealed = encrypt(text, context)

    assert sealed.startswith("kms1:")
    assert decrypt(sealed, context) == Secret(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("x" * 3999, 1),
        ("x" * 4000, 1),
        ("x" * 4001, 2),
        ("x" * 3999 + "測", 2),
        ("x" * 3998 + "測", 2),
        ("x" * 3999 + "👪" + "y" * 3997, 2),
        ("測" * 4000, 3),
        ("x" * 8000, 2),
        ("\0" * 9, 1),
    ],
    ids=lambda value: f"{len(value.encode())} bytes" if isinstance(value, str) else str(value),
)
def test_long_texts_are_cut_and_put_together(key, calls, text, parts):
    sealed = encrypt(text, CONTEXT)

    assert decrypt(sealed, CONTEXT).reveal() == text
    assert [call.action for call in calls] == ["Encrypt"] * parts + ["Decrypt"] * parts
    assert sealed == "kms1:" + ".".join(call.answer["CiphertextBlob"] for call in calls[:parts])
    places = [f"{number}/{parts}" for number in range(parts)]
    assert [call.payload["EncryptionContext"] for call in calls] == [{**CONTEXT, "part": place} for place in places] * 2
    assert {call.payload["KeyId"] for call in calls} == {key}
    plain = [base64.b64decode(call.payload["Plaintext"]) for call in calls[:parts]]
    assert b"".join(part[1:] for part in plain) == text.encode()
    assert all(1 <= len(part) <= 4001 for part in plain)


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"adminId": "0001"},
        {"adminId": "0002", "accountId": "acc"},
        {"adminId": "acc", "accountId": "0001"},
        {**CONTEXT, "more": "1"},
    ],
)
def test_another_context_reads_nothing(key, context):
    sealed = encrypt("the-token", CONTEXT)

    with pytest.raises(aws.AwsError) as raised:
        decrypt(sealed, context)

    assert raised.value.code == "InvalidCiphertextException"
    assert "the-token" not in str(raised.value)


def test_the_order_of_a_context_does_not_matter(key):
    sealed = encrypt("the-token", {"a": "1", "b": "2"})

    assert decrypt(sealed, {"b": "2", "a": "1"}).reveal() == "the-token"


def rearranged(parts: list[str]) -> list[list[str]]:
    first, second, third = parts
    return [[second, first, third], [first, second], [first, third], [first, second, third, third], [third]]


def test_the_parts_of_a_text_cannot_be_moved_or_left_out(key):
    sealed = encrypt("x" * 12000, CONTEXT)

    for parts in rearranged(sealed.removeprefix("kms1:").split(".")):
        with pytest.raises(aws.AwsError) as raised:
            decrypt("kms1:" + ".".join(parts), CONTEXT)
        assert raised.value.code == "InvalidCiphertextException"


def test_a_text_is_read_from_kms_once(key, calls):
    sealed = encrypt("the-token", CONTEXT)
    calls.clear()

    first = decrypt(sealed, CONTEXT)

    assert decrypt(sealed, dict(reversed(CONTEXT.items()))) is first
    assert [call.action for call in calls] == ["Decrypt"]


def test_what_could_not_be_read_is_asked_for_again(key, calls):
    sealed = encrypt("the-token", CONTEXT)
    calls.clear()

    for _ in range(2):
        with pytest.raises(aws.AwsError):
            decrypt(sealed, {})

    assert [call.action for call in calls] == ["Decrypt", "Decrypt"]


# ---- the key that signs


def test_the_signing_key_is_read_once(environment, monkeypatch, calls):
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("secretsmanager", endpoint_url=environment, region_name="us-east-1")
    secret = client.create_secret(Name="signing", SecretString="測" * 20)["ARN"]
    client.close()
    monkeypatch.setenv("SIGNING_SECRET", secret)
    kernel_settings.settings.cache_clear()

    assert [signing_key(), signing_key()] == [("測" * 20).encode()] * 2

    assert [(call.service, call.action, call.payload) for call in calls] == [
        ("secretsmanager", "GetSecretValue", {"SecretId": secret})
    ]


def test_without_a_signing_secret_nothing_is_signed(environment):
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200

    with pytest.raises(aws.AwsError):
        signing_key()

    assert secrets.signing_key.cache_info().currsize == 0
