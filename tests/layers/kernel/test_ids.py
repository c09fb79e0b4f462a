"""Identifiers: in the order of time, of version 1, or derived from a text."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import clock
from kernel.ids import derived_uuid, ordered_id, uuid1

NOW = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)
GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

# The 60 bits of a version 1 UUID end in 5236.
millis = st.integers(0, (datetime(5236, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1))


def at(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)


@settings(deadline=None)
@given(millis)
def test_a_version_1_uuid_is_one_and_holds_the_time(milliseconds):
    made = uuid1(at(milliseconds))

    parsed = uuid.UUID(made)
    assert str(parsed) == made
    assert (parsed.version, parsed.variant) == (1, uuid.RFC_4122)
    moment = GREGORIAN + timedelta(microseconds=parsed.time // 10)
    assert moment - timedelta(microseconds=moment.microsecond % 1000) == at(milliseconds)
    # The multicast bit: a random node is never a real address.
    assert parsed.node >> 40 & 1 == 1


def test_uuids_of_one_time_differ_in_tick_sequence_and_node():
    made = [uuid.UUID(uuid1(NOW)) for _ in range(200)]

    assert len(set(made)) == 200
    assert len({one.time for one in made}) > 150
    assert len({one.clock_seq for one in made}) > 150
    assert len({one.node for one in made}) > 150


@settings(deadline=None)
@given(millis)
def test_an_ordered_id_holds_the_time(milliseconds):
    made = ordered_id(at(milliseconds))

    assert len(made) == 26
    number = 0
    for character in made[:10]:
        number = number * 32 + ALPHABET.index(character)
    assert number == milliseconds
    assert set(made) <= set(ALPHABET)


@settings(deadline=None)
@given(millis, millis)
def test_ordered_ids_sort_by_time(one, other):
    first, second = ordered_id(at(one)), ordered_id(at(other))

    assert (first[:10] < second[:10]) == (one < other)
    if one != other:
        assert (first < second) == (one < other)


def test_ordered_ids_of_one_time_differ():
    made = {ordered_id(NOW) for _ in range(200)}

    assert len(made) == 200
    assert {one[:10] for one in made} == {"01hn7apk6x"}


def test_the_time_is_the_clock_s_when_none_is_given():
    with clock.frozen(NOW):
        assert ordered_id()[:10] == ordered_id(NOW)[:10]
        assert uuid.UUID(uuid1()).time // 10_000 == uuid.UUID(uuid1(NOW)).time // 10_000


def test_a_time_of_another_zone_is_the_same_time():
    there = NOW.astimezone(timezone(timedelta(hours=8)))

    assert ordered_id(there)[:10] == ordered_id(NOW)[:10]


@settings(deadline=None)
@given(st.text())
def test_a_derived_uuid_belongs_to_its_text(text):
    made = derived_uuid(text)

    parsed = uuid.UUID(made)
    assert str(parsed) == made == derived_uuid(text)
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert made.replace("-", "")[:12] == digest[:12]
    assert made.replace("-", "")[13:16] == digest[13:16]
    assert made.replace("-", "")[17:] == digest[17:32]


def test_derived_uuids_stay_what_they_are():
    assert derived_uuid("") == "e3b0c442-98fc-8c14-9afb-f4c8996fb924"
    assert derived_uuid("#0001#acc#測試") == derived_uuid("#0001#acc#測試")
    assert len({derived_uuid(f"#0001#acc#{number}") for number in range(1000)}) == 1000
