"""Lists that are written, packed and searched, with packings that are cut off and in each other's way."""

import itertools
import random
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel import aws, clock, files, list_packing, list_search, wire
from kernel.list_packing import PackBook, pack
from kernel.list_search import Wanted, search
from kernel.listings import LISTS, PACKING, Book, ListedTable, ListHeadTable, place_of, time_at
from kernel.tables import Delete, commit, write_all
from tests.lists import Record, days_ago, expected, furnish, put, stored, told

BOOK, NUMBERED = Book("book"), Book("book", by_number=True)
NOTHING = Wanted()
names = (f"book {number}" for number in itertools.count())


@pytest.fixture(autouse=True)
def lists(cloud, monkeypatch):
    """The tables of lists; every row is worth packing, and little is read at once."""
    monkeypatch.setattr(list_packing, "WORTH", 1)
    monkeypatch.setattr(list_packing, "_PIECE", 7)
    list_search._kept.clear()
    furnish(cloud)
    return cloud


@pytest.fixture
def calls():
    """The actions of AWS that were called, counted."""
    seen = Counter()

    def count(call):
        seen[call.action] += 1

    aws.observers.append(count)
    yield seen
    aws.observers.remove(count)


def records(number, *, book="book", first=1, days=30.0, wider=None):
    """Return so many records, a minute apart from so many days ago."""
    return [
        Record(
            first + place,
            days_ago(days, place * 60),
            f"138{place:08d}",
            f"Anna{place}",
            (100 + place, place),
            book,
            wider,
        )
        for place in range(number)
    ]


def check(rows, wanted=NOTHING, *, book=BOOK, size=4, pages=()):
    """Compare a search with looking at every row, on the first, the last and the given pages."""
    last = len(rows) // size + 1
    for page in {1, 2, last, last + 1, 2**53, *pages}:
        found = told(search(book, wanted, page=page, size=size))
        assert found == expected(rows, wanted, page, size, by_number=book.by_number), (wanted, page)


WANTED = (
    NOTHING,
    Wanted(phone="0001"),
    Wanted(phone="138"),
    Wanted(phone="9x"),
    Wanted(keywords="ANNA1"),
    Wanted(keywords="01"),
    Wanted(phone="2", keywords="nn"),
)


def test_a_row_is_shown_at_once(calls):
    put(rows := records(3))

    check(rows)
    assert set(calls) == {"BatchWriteItem", "GetItem", "Query"}


@pytest.mark.parametrize("wanted", WANTED)
def test_packed_and_new_rows_are_one_list(wanted):
    put(old := records(30))
    assert pack(BOOK) == 30
    put(new := records(10, first=100, days=0.01))

    check([*old, *new], wanted)


def test_a_time_range_includes_its_ends_and_may_be_open_or_empty():
    put(old := records(20))
    pack(BOOK)
    put(new := records(5, first=100, days=1))
    rows = [*old, *new]
    low, high = clock.millis(old[5].at), clock.millis(new[2].at)

    for start, end in (
        (low, high), (low, None), (None, high), (low, low), (low + 1, high - 1), (high, low), (-(2**53), 2**53),
    ):  # fmt: skip
        check(rows, Wanted(start=start, end=end))
        check(rows, Wanted(phone="1", start=start, end=end))


def test_a_list_by_number_takes_in_old_numbers_that_are_listed_late():
    put(rows := records(20, first=50))
    pack(NUMBERED)
    late = [Record(number, days_ago(0.01, number), f"139{number:08d}") for number in (3, 20, 200, 49, 400)]
    put(late)
    rows += late

    for wanted in (NOTHING, Wanted(phone="139"), Wanted(phone="0")):
        check(rows, wanted, book=NUMBERED)
    assert pack(NUMBERED) == 25
    for wanted in (NOTHING, Wanted(phone="139"), Wanted(phone="0")):
        check(rows, wanted, book=NUMBERED)
    with pytest.raises(ValueError, match="no order of time"):
        search(NUMBERED, Wanted(start=1), page=1, size=1)


def test_a_list_over_several_books_shows_them_all():
    wide = Book("all", wider=True)
    put(rows := [*records(9, book="one", wider="all"), *records(9, book="two", first=50, days=20, wider="all")])
    check(rows, book=wide)
    assert pack(wide) == 18
    put(new := records(3, book="three", first=100, days=1, wider="all"))

    for wanted in WANTED:
        check([*rows, *new], wanted, book=wide)
    # Books of their own are not in each other's way.
    check(rows[:9], book=Book("one"))
    pack(wide)
    check([*rows, *new], Wanted(phone="138"), book=wide)


def test_what_an_account_did_itself_is_shown_although_the_index_lags_behind(monkeypatch):
    own = records(2, book="own", days=0.001, wider="all")
    put(others := records(3, book="one", first=50, wider="all"))
    put(own)
    query = ListedTable.query_items

    def lagging(name, *conditions, **how):
        page = query(name, *conditions, **how)
        return page._replace(rows=[row for row in page.rows if row["book"]["S"] != "own" or not how.get("index")])

    monkeypatch.setattr(ListedTable, "query_items", lagging)

    check(others, book=Book("all", wider=True))
    check([*own, *others], book=Book("all", wider=True, own="own"))


@pytest.mark.parametrize(("book", "settled"), [(BOOK, 61), (Book("all", wider=True), 601)])
def test_only_rows_are_packed_that_nothing_can_precede_any_more(book, settled):
    rows = [
        Record(number, days_ago(0, -seconds), "1", wider="all")
        for number, seconds in enumerate((settled - 2, settled, settled + 50))
    ]
    put(rows)

    assert pack(book) == 2
    check(rows, book=book)
    check(rows, Wanted(phone="1"), book=book)


def test_a_row_that_appears_late_is_taken_in_by_the_next_packing():
    put(rows := records(10, days=1))
    pack(BOOK)
    late = Record(77, rows[-1].at - timedelta(minutes=30), "13800000000", "late", (5,))
    put([late, *(new := records(2, first=80, days=0.5))])

    assert pack(BOOK) == 13
    check([*rows, late, *new])
    check([*rows, late, *new], Wanted(phone="138"))


def test_a_few_rows_are_not_worth_a_packing(monkeypatch):
    monkeypatch.setattr(list_packing, "WORTH", 10)
    put(rows := records(9))

    assert pack(BOOK) == 0
    put(more := records(1, first=100, days=20))
    assert pack(BOOK) == 10
    assert pack(BOOK) == 0
    check([*rows, *more])


def test_one_packing_takes_in_a_part_and_the_next_goes_on(monkeypatch):
    monkeypatch.setattr(list_packing, "_MOST", 12)
    # Further apart than what is read again.
    put(rows := [row._replace(at=days_ago(30, place * 7200)) for place, row in enumerate(records(30))])

    # Each reads the last row of the one before again.
    assert [pack(BOOK) for _ in range(4)] == [12, 23, 30, 0]
    check(rows)


def test_there_are_never_more_than_two_files_of_a_list(lists):
    rows = []
    for number in range(4):
        put(new := records(3, first=number * 10, days=10 - number))
        rows += new
        pack(BOOK)
        assert len(stored(lists)) == min(number + 1, 2)
    versions = lists.client("s3").list_object_versions(Bucket="files")
    assert len(versions["Versions"]) == 2
    assert "DeleteMarkers" not in versions
    check(rows)


def test_a_list_is_whole_without_its_file_and_made_again(lists, caplog):
    put(rows := records(10))
    pack(BOOK)
    head = ListHeadTable.find("book")
    files.remove(LISTS, head.path, head.file_version)

    # Until then every row is read, and searches ask for the packing.
    check(rows)
    check(rows, Wanted(phone="0001"))
    (message,) = lists.queued(PACKING)
    assert PackBook.model_validate_json(message["body"]).book == BOOK
    assert "a packed list is lost" in caplog.text

    assert pack(BOOK) == 10
    check(rows)
    assert lists.queued(PACKING) == []


def test_a_list_is_whole_without_its_head():
    put(rows := records(10))
    pack(BOOK)

    commit(Delete(ListHeadTable, ListHeadTable.key("book")))

    check(rows)
    assert pack(BOOK) == 10
    check(rows)


def test_a_search_whose_file_was_replaced_twice_reads_the_head_again(monkeypatch):
    put(rows := records(6))
    pack(BOOK)
    find, heads = ListHeadTable.find.__func__, []

    def overtaken(cls, *key, **how):
        head = find(cls, *key, **how)
        heads.append(head)
        if len(heads) == 1:
            for number in (100, 200):
                put(new := records(1, first=number, days=20 - number / 100))
                rows.extend(new)
                pack(BOOK)
        return head

    monkeypatch.setattr(ListHeadTable, "find", classmethod(overtaken))

    found = search(BOOK, NOTHING, page=2, size=4)

    assert told(found) == expected(rows, NOTHING, 2, 4)


class Killed(BaseException):
    """Ends a packing where it stands."""


def cut_off(monkeypatch, number, after):
    """Pack, killed before or after the request of this number; tell whether there was one."""
    send, left = wire.send, [number]

    def cut(*args, **how):
        left[0] -= 1
        if left[0] == -1 and not after:
            raise Killed
        answer = send(*args, **how)
        if left[0] == -1:
            raise Killed
        return answer

    monkeypatch.setattr(wire, "send", cut)
    try:
        pack(BOOK)
    except Killed:
        return True
    finally:
        monkeypatch.setattr(wire, "send", send)
    return False


@pytest.mark.parametrize("after", [False, True])
def test_a_packing_may_be_cut_off_anywhere(lists, monkeypatch, after):
    rows, cuts = [], 0
    while True:
        put(new := records(3, first=cuts * 10 + 1, days=30 - cuts))
        rows += new
        # Twice: the second begins with what the first left behind.
        cut = [cut_off(monkeypatch, cuts, after) for _ in range(2)]
        check(rows, Wanted(phone="138"))
        pack(BOOK)
        check(rows, Wanted(phone="138"))
        head = ListHeadTable.find("book")
        assert head.rows == len(rows)
        assert sorted(stored(lists)) == sorted([head.path, *(path for path, _ in head.litter)])
        assert len(stored(lists)) <= 2
        if not any(cut):
            break
        cuts += 1
    assert cuts >= 7


@pytest.mark.parametrize("request_number", range(6))
def test_packings_at_the_same_time_do_each_other_no_harm(lists, monkeypatch, request_number):
    put(rows := records(6))
    pack(BOOK)
    put(new := records(6, first=50, days=20))
    rows += new
    send, left = wire.send, [request_number]

    def overtaken(*args, **how):
        left[0] -= 1
        if left[0] == -1:
            pack(BOOK)
        return send(*args, **how)

    monkeypatch.setattr(wire, "send", overtaken)
    pack(BOOK)
    monkeypatch.setattr(wire, "send", send)

    assert left[0] < 0
    check(rows)
    check(rows, Wanted(phone="138"))
    assert ListHeadTable.find("book").rows == 12
    assert len(stored(lists)) <= 2


def test_a_head_that_was_written_by_a_request_without_an_answer_is_kept(lists, monkeypatch):
    put(rows := records(6))
    send = wire.send

    def twice(method, url, headers, body=b"", **how):
        if headers.get("x-amz-target", "").endswith(".PutItem"):
            send(method, url, headers, body, **how)
        return send(method, url, headers, body, **how)

    monkeypatch.setattr(wire, "send", twice)

    assert pack(BOOK) == 6
    check(rows)
    assert len(stored(lists)) == 1


def test_a_search_asks_for_a_packing_when_much_is_not_packed(lists, monkeypatch):
    monkeypatch.setattr(list_search, "TAIL", 5)
    put(records(5))
    search(BOOK, NOTHING, page=1, size=1)
    assert lists.queued(PACKING) == []
    put(rows := records(6))

    for _ in range(3):
        search(BOOK, NOTHING, page=1, size=1)

    (message,) = lists.queued(PACKING)
    assert message["attributes"]["MessageGroupId"] == "book"
    assert PackBook.model_validate_json(message["body"]).book == BOOK
    pack(BOOK)
    check(rows)


def test_a_list_is_answered_although_no_packing_can_be_asked_for(lists, monkeypatch, caplog):
    monkeypatch.setattr(list_search, "TAIL", 1)
    lists.client("sqs").delete_queue(
        QueueUrl=lists.client("sqs").get_queue_url(QueueName=PACKING.physical_name())["QueueUrl"]
    )
    put(rows := records(3))

    check(rows)

    assert "no packing was asked for" in caplog.text


def test_any_page_takes_as_many_requests(calls):
    put(records(40))
    pack(BOOK)
    put(records(1, first=100, days=1))

    def used(wanted, page):
        list_search._kept.clear()
        calls.clear()
        search(BOOK, wanted, page=page, size=5)
        return dict(calls)

    four = {"GetItem": 1, "Query": 1, "GetObject": 1, "BatchGetItem": 1}
    everywhere = Wanted(phone="138", keywords="a", start=0)
    assert all(used(wanted, page) == four for wanted in (NOTHING, everywhere) for page in (1, 2, 5, 8))
    # A warm function has the list that it used last.
    search(BOOK, everywhere, page=2, size=5)
    calls.clear()
    search(BOOK, NOTHING, page=3, size=5)
    assert calls == {"GetItem": 1, "Query": 1, "BatchGetItem": 1}


def test_a_warm_function_keeps_no_more_lists_than_it_has_room_for(monkeypatch):
    for name in ("one", "two", "three"):
        put(records(5, book=name))
        pack(Book(name))
        search(Book(name), Wanted(phone="1"), page=1, size=1)
    size = next(iter(list_search._kept.values())).size
    monkeypatch.setattr(list_search, "_KEPT_BYTES", size * 2)

    search(Book("two"), Wanted(phone="1"), page=1, size=1)
    list_search._kept.popitem(last=False)
    search(Book("one"), Wanted(phone="1"), page=1, size=1)

    kept = [path.partition("/")[0] for path in list_search._kept]
    assert kept == [ListHeadTable.find(name).path.partition("/")[0] for name in ("two", "one")]


def test_a_row_that_was_removed_is_left_out():
    put(rows := records(6))
    pack(BOOK)
    write_all([Delete(ListedTable, ListedTable.key("book", place_of(clock.millis(rows[4].at), rows[4].number)))])

    found = search(BOOK, NOTHING, page=1, size=3)

    assert [row.content["id"] for row in found.rows] == [6, 4]


@given(st.integers(0, 2**33), st.integers(1, 10**15))
def test_a_place_tells_its_time(milliseconds, number):
    at = milliseconds * 500

    assert time_at(place_of(at, number)) == at
    assert place_of(at, number) < place_of(at, number + 1) < place_of(at + 1, 1)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.booleans())
def test_a_list_is_what_was_written_to_it_at_any_time(seed, by_number):
    chance = random.Random(seed)
    name = next(names)
    book = Book(name, by_number=by_number)
    numbers = chance.sample(range(200), 60)
    rows = []
    start = clock.now()
    for step in range(4):
        with clock.frozen(start + timedelta(hours=step)):
            new = [
                Record(
                    numbers.pop(),
                    days_ago(0, chance.randrange(-1800, 0)),
                    f"1{chance.randrange(10**4):04d}",
                    chance.choice(("", "哈哈", "Anna", "路遥😴😴", "an\nna")),
                    tuple(chance.randrange(10**6) for _ in range(chance.choice((0, 2, 2)))),
                    name,
                )
                for _ in range(chance.randrange(12))
            ]
            put(new)
            rows += new
            if chance.random() < 0.7:
                pack(book)
            now = clock.millis(clock.now())
            times = {} if by_number else {"start": chance.choice([None, clock.millis(start)]), "end": now}
            for wanted in (NOTHING, Wanted(phone=str(chance.randrange(100))), Wanted(keywords="a", **times)):
                check(rows, wanted, book=book)
