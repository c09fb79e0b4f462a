"""The audit trail: who, what, when, and that something changed without showing what."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import clock, wire
from kernel.audit import AuditTable, digest, entry
from kernel.running import Running
from kernel.tables import ConditionFailed, commit, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)


@pytest.fixture
def store(environment: str) -> Iterator[Any]:
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("dynamodb", endpoint_url=environment, region_name="us-east-1")
    client.create_table(TableName=AuditTable.physical_name(), **schema(AuditTable))
    with clock.frozen(NOW):
        yield client
    client.close()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"b": 1, "a": [1, None, "測"]}, '{"a":[1,null,"測"],"b":1}'),
        ([], "[]"),
        ("", '""'),
        (False, "false"),
        ({"at": NOW, "n": Decimal("1.50")}, '{"at":"2024-01-28 06:04:25.693000+00:00","n":"1.50"}'),
    ],
)
def test_a_digest_is_of_the_canonical_json(state, text):
    assert digest(state) == sha256(text)


def test_no_state_has_no_digest():
    assert digest(None) is None


json_objects = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=5)


@settings(deadline=None)
@given(json_objects, json_objects)
def test_equal_states_and_only_they_have_equal_digests(one, other):
    assert digest(dict(reversed(one.items()))) == digest(one)
    assert (digest(one) == digest(other)) == (one == other)


def test_an_entry_tells_who_did_what_to_what_and_when(store):
    with Running("save_tag") as running:
        running.tenant, running.actor = "0001", "operator"
        commit(entry("tag red", before=None, after=["the-value"]))

    (item,) = store.scan(TableName=AuditTable.physical_name())["Items"]
    entry_id = item.pop("entry_id")["S"]
    assert (len(entry_id), entry_id[:10]) == (26, "01hn7apk6x")
    assert item == {
        "tenant": {"S": "0001"},
        "actor": {"S": "operator"},
        "operation": {"S": "save_tag"},
        "subject": {"S": "tag red"},
        "after": {"S": sha256('["the-value"]')},
        "created_at": {"S": "2024-01-28T06:04:25.693Z"},
    }


def test_before_and_after_are_both_told(store):
    with Running("save_tag") as running:
        running.tenant = "0001"
        commit(entry("tag red", before={"a": 1}, after=None))

    (row,) = AuditTable.query("0001").rows
    assert (row.before, row.after, row.actor) == (sha256('{"a":1}'), None, "")


def test_a_worker_says_whose_change_it_is_and_who_asked_for_it(store):
    with Running("erase_user_data"):
        commit(entry("users", before=None, after={"users": 3}, tenant="0001", actor="operator"))

    (row,) = AuditTable.query("0001").rows
    assert (row.tenant, row.actor, row.operation) == ("0001", "operator", "erase_user_data")


def test_entries_are_read_in_the_order_of_time(store):
    with Running("save_tag") as running:
        running.tenant = "0001"
        for minute in (3, 1, 2):
            with clock.frozen(NOW + timedelta(minutes=minute)):
                commit(entry(f"tag {minute}", before=None, after=None))

    assert [row.subject for row in AuditTable.query("0001").rows] == ["tag 1", "tag 2", "tag 3"]


def test_an_entry_is_only_ever_added(store):
    with Running("save_tag") as running:
        running.tenant = "0001"
        write = entry("tag red", before=None, after=None)
        commit(write)
        with pytest.raises(ConditionFailed):
            commit(write)


def test_the_table_has_the_name_that_the_stage_gives_it(environment):
    assert AuditTable.physical_name() == "citypass-test-chatbot-audit"


def test_nothing_is_audited_outside_an_invocation():
    with pytest.raises(RuntimeError, match="nothing is running"):
        entry("tag red", before=None, after=None)
