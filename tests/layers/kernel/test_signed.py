"""Values that a caller keeps for us: they come back as they went out, or not at all."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kernel import secrets, wire
from kernel import settings as kernel_settings
from kernel.errors import Flaw, Invalid
from kernel.signed import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHABET = string.ascii_letters + string.digits + "-_"
REFUSED = [Flaw("lastKey", "is not a key of this list")]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
with_key = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def use_key(environment: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("secretsmanager", endpoint_url=environment, region_name="us-east-1")
    monkeypatch.setenv("SIGNING_SECRET", "signing")
    kernel_settings.settings.cache_clear()

    def use(text: str) -> None:
        client.create_secret(Name="signing", SecretString=text)
        secrets.signing_key.cache_clear()
        secrets.signing_key()
        client.delete_secret(SecretId="signing", ForceDeleteWithoutRecovery=True)

    return use


@pytest.fixture
def key(use_key: Callable[[str], None]) -> None:
    use_key("s" * 64)


def refused(purpose: str, text: str) -> bool:
    with pytest.raises(Invalid) as raised:
        unseal(purpose, text, "lastKey")
    return bool(raised.value.flaws == REFUSED)


@with_key
@given(st.text(max_size=20), json_values)
def test_a_value_comes_back_as_it_went_out(key, purpose, value):
    sealed = seal(purpose, value)

    assert set(sealed) <= set(ALPHABET)
    assert unseal(purpose, sealed, "lastKey") == json.loads(json.dumps(value))


def test_values_of_every_ending_come_back(key):
    for number in range(500):
        assert unseal("tags", seal("tags", number), "lastKey") == number


def test_the_end_of_a_purpose_is_not_the_start_of_a_value(key):
    assert seal("tags1", 2)[:20] != seal("tags", 12)[:20]


@with_key
@given(st.text(max_size=20), st.text(max_size=20), json_values)
def test_a_value_is_good_for_its_purpose_only(key, purpose, other, value):
    assume(purpose != other)

    assert refused(other, seal(purpose, value))


@with_key
@given(json_values, st.data())
def test_no_character_can_be_changed(key, value, data):
    sealed = seal("tags", value)
    place = data.draw(st.integers(0, len(sealed) - 1))
    character = data.draw(st.sampled_from(ALPHABET + "+/=. ").filter(lambda one: one != sealed[place]))

    assert refused("tags", sealed[:place] + character + sealed[place + 1 :])


@with_key
@given(json_values, st.data())
def test_nothing_can_be_left_out_or_put_in(key, value, data):
    sealed = seal("tags", value)
    start = data.draw(st.integers(0, len(sealed) - 1))
    end = data.draw(st.integers(start + 1, len(sealed)))
    more = data.draw(st.text(ALPHABET + "=\n ", min_size=1, max_size=5))

    assert refused("tags", sealed[:start] + sealed[end:])
    assert refused("tags", sealed + more)
    assert refused("tags", sealed[:start] + "\n" + sealed[start:])


@with_key
@given(st.text(max_size=60))
def test_what_we_never_made_is_refused(key, text):
    assert refused("tags", text)


@pytest.mark.parametrize("text", ["", "A", "=", "AAAA", "測試", "A" * 21, "A" * 22, "\0", "a+b/"])
def test_short_and_strange_texts_are_refused(key, text):
    assert refused("tags", text)


def test_every_place_of_a_sealed_value_counts(key):
    sealed = seal("tags#0001#acc", {"account": {"S": "#0001#acc"}, "name": {"S": "測試"}})

    for place in range(len(sealed)):
        for character in ("A", "B", "_", "9"):
            if sealed[place] != character:
                assert refused("tags#0001#acc", sealed[:place] + character + sealed[place + 1 :])


def test_another_key_signs_otherwise(use_key):
    use_key("a" * 64)
    sealed = seal("tags", [1])
    use_key("b" * 64)

    assert refused("tags", sealed)
    assert seal("tags", [1]) != sealed


def test_the_same_value_is_sealed_alike_and_short(key):
    value: Any = {"a": {"S": "測"}}

    assert seal("tags", value) == seal("tags", value)
    assert len(seal("tags", value)) == -(-(16 + len('{"a":{"S":"測"}}'.encode())) * 4 // 3)
