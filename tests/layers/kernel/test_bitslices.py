"""The packed list against rows that are looked at one by one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.bitslices import Columns, Key, PackedList, Row, folded, keys_of, order_of, places

DIGITS = st.text("0123", max_size=6)
WORDS = st.text("aAß\n 哈😴", max_size=5)
ROWS = st.lists(
    st.builds(
        Row,
        st.builds(Key, st.integers(0, 9), st.integers(1, 60), st.integers(0, 2)),
        DIGITS,
        WORDS,
        st.lists(st.integers(0, 2**40), max_size=3).map(tuple),
    ),
    max_size=40,
    unique_by=lambda row: row.key.number,
)


def packed(*batches, by_number=False):
    columns = Columns(by_number=by_number)
    for batch in batches:
        columns.add(batch)
        # Each packing begins with what the one before stored.
        columns = Columns.of(columns.packed(), by_number=by_number)
    data = columns.packed()
    return PackedList(data[: PackedList(data).searched])


def bits(rows, fits):
    return sum(1 << place for place, row in enumerate(rows) if fits(row))


@given(ROWS, st.booleans(), st.randoms(use_true_random=False), st.integers(1, 4))
def test_it_holds_every_row_once_in_its_order_whenever_it_came(rows, by_number, chance, parts):
    shuffled = chance.sample(rows, len(rows))
    batches = [shuffled[part::parts] for part in range(parts)]

    found = packed(*batches, shuffled[:5], by_number=by_number)

    rows = sorted(rows, key=lambda row: order_of(by_number)(row.key))
    assert [found.key(place) for place in range(found.rows)] == [row.key for row in rows]
    assert keys_of(found.part("keys")) == [row.key for row in rows]
    assert found.text == b"".join(folded(row.words) + b"\n" for row in rows)
    if rows:
        assert found.before(rows[-1].key, by_number=by_number) == len(rows) - 1


@given(ROWS, DIGITS.filter(len), WORDS.filter(len), st.integers(-1, 10), st.integers(-1, 10), st.integers(1, 3))
def test_it_finds_what_looking_at_every_row_finds(rows, phone, words, start, end, parts):
    found = packed(*(rows[part::parts] for part in range(parts)))

    rows = sorted(rows, key=lambda row: (row.key.at, row.key.number))
    assert found.everything == bits(rows, lambda row: True)
    assert found.with_phone(phone) == bits(rows, lambda row: phone in row.phone)
    wanted = words.casefold().replace("\n", " ")
    assert found.with_words(words) == bits(rows, lambda row: wanted in row.words.casefold().replace("\n", " "))
    assert found.between(start, end) == bits(rows, lambda row: start <= row.key.at <= end)
    assert found.between(start, None) == bits(rows, lambda row: start <= row.key.at)
    assert found.between(None, end) == bits(rows, lambda row: row.key.at <= end)


@given(ROWS, DIGITS.filter(len))
def test_sums_are_exact(rows, phone):
    found = packed(rows)

    chosen = [row for row in rows if phone in row.phone]
    sums = [sum(row.amounts[place] for row in chosen if place < len(row.amounts)) for place in range(found.amounts)]
    assert found.sums(found.with_phone(phone)) == tuple(sums)


@given(st.lists(st.integers(0, 20_000), max_size=300, unique=True), st.integers(0, 310), st.integers(0, 310))
def test_the_places_of_a_page_are_found(chosen, low, high):
    rows = sum(1 << place for place in chosen)

    assert places(rows, low, high) == sorted(chosen)[low:high]


@pytest.mark.parametrize("phone", ["x", "1a", "１", "-1", " ", "1" * 12])
def test_no_number_contains_what_is_no_part_of_one(phone):
    assert packed([Row(Key(1, 1, 0), "13800000007", "", ())]).with_phone(phone) == 0


def test_words_are_found_whatever_their_capitals():
    found = packed([Row(Key(1, 1, 0), "1", "Anna\nLee", ()), Row(Key(2, 2, 0), "1", "lee😴", ())])

    assert [found.with_words(words) for words in ("ANNA l", "LEE", "😴", "\ud83d", "leel")] == [1, 3, 2, 0, 0]


def test_phones_and_amounts_may_become_longer():
    found = packed([Row(Key(1, 1, 0), "12", "", ())], [Row(Key(2, 2, 0), "123456789012345", "", (7, 2**53))])

    assert (found.with_phone("12"), found.with_phone("5"), found.sums(3)) == (3, 2, (7, 2**53))


def test_an_empty_list_finds_nothing():
    found = packed([])

    assert (found.rows, found.with_phone("1"), found.with_words("a"), found.between(None, None), found.sums(0)) == (
        0,
        0,
        0,
        0,
        (),
    )


@pytest.mark.parametrize("amounts", [(-1,), (1,) * 9])
def test_amounts_that_cannot_be_added_up_are_refused(amounts):
    with pytest.raises(ValueError, match="a list adds up"):
        Columns().add([Row(Key(1, 1, 0), "", "", amounts)])


def test_what_is_no_packed_list_is_refused():
    with pytest.raises(ValueError, match="no packed list"):
        PackedList(bytes(100))


def test_a_hundred_thousand_rows_are_found_exactly():
    chance = random.Random(7)
    rows = [
        Row(Key(place // 3, place, 0), f"1{chance.randrange(10**10):010d}", "", (chance.randrange(10**7),))
        for place in range(100_000)
    ]
    found = packed(rows)

    for phone in ("7", "80", "0007", "138000", rows[50_000].phone):
        matches = found.with_phone(phone)
        chosen = [place for place, row in enumerate(rows) if phone in row.phone]
        assert places(matches, 0, len(rows)) == chosen
        assert found.sums(matches) == (sum(rows[place].amounts[0] for place in chosen),)
