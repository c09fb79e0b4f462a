"""Things that people look after: listed, made and changed, the same way for every kind."""

import pytest
from pynamodb.attributes import JSONAttribute, UnicodeAttribute

from kernel import clock
from kernel.audit import AuditTable
from kernel.catalogues import Catalogue, Found
from kernel.errors import Conflict, Invalid, NotFound
from kernel.numbering import CounterTable
from kernel.running import Running
from kernel.tables import Change, ConditionFailed, Put, Table, UtcTime, Version, WholeNumber, commit, schema


class ShelfTable(Table):
    """A shelf of a room."""

    name = "shelves"
    room = UnicodeAttribute(hash_key=True)
    id = WholeNumber(range_key=True)
    label = UnicodeAttribute()
    colour = UnicodeAttribute(null=True)
    books = JSONAttribute(default=list)
    visits = WholeNumber(default=0)
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)


SHELVES = Catalogue(ShelfTable, "shelf", most=3)


@pytest.fixture(autouse=True)
def tables(cloud):
    client = cloud.client("dynamodb")
    there = client.list_tables()["TableNames"]
    for table in (ShelfTable, AuditTable, CounterTable):
        if table.physical_name() not in there:
            client.create_table(TableName=table.physical_name(), **schema(table))
    with Running("save_shelf") as running:
        running.tenant, running.actor = "hall", "0001"
        yield cloud


def shelf(label="novels", room="hall", **more):
    row = ShelfTable(room=room, id=SHELVES.next_number(), label=label, **more)
    SHELVES.add(room, row)
    return row


def test_a_thing_is_added_with_its_entry(tables):
    row = shelf(books=["Emma"])

    assert SHELVES.get("hall", 1).attribute_values == row.attribute_values
    assert (row.version, row.created_at, row.updated_at) == (1, clock.now(), clock.now())
    (entry,) = tables.rows("audit")
    assert (entry["tenant"], entry["actor"], entry["operation"]) == ("hall", "0001", "save_shelf")
    assert (entry["subject"], "before" in entry, "after" in entry) == ("shelves/1", False, True)


def test_numbers_count_over_all_owners():
    assert [shelf().id, shelf(room="attic").id, shelf().id] == [1, 2, 3]


def test_what_belongs_to_it_is_stored_too_or_nothing(tables):
    shelf()
    taken = ShelfTable.key("hall", 1)
    beside = Change(ShelfTable, taken, [ShelfTable.visits.add(1)], ShelfTable.label == "poems")

    with pytest.raises(ConditionFailed):
        SHELVES.add("hall", ShelfTable(room="hall", id=9, label="x"), beside)

    assert [row["visits"] for row in tables.rows("shelves")] == [0]
    assert len(tables.rows("audit")) == 1


def test_an_owner_has_only_so_many():
    for _ in range(3):
        shelf()

    with pytest.raises(Conflict, match="There are 3 of shelves already, which is the most"):
        shelf()
    shelf(room="attic")


def test_what_is_not_there_or_another_owners_is_not_found():
    shelf(room="attic")

    for number in (1, 2):
        with pytest.raises(NotFound, match="There is no such shelf"):
            SHELVES.get("hall", number)


def test_a_list_is_turned_page_by_page():
    for room in ("hall", "attic", "hall", "hall"):
        shelf(room=room)

    first = SHELVES.page("hall", 2, "")
    second = SHELVES.page("hall", 2, first.cursor)

    assert ([row.id for row in first.rows], [row.id for row in second.rows], second.cursor) == ([1, 3], [4], None)
    with pytest.raises(Invalid, match="cursor is not a key of this list"):
        SHELVES.page("attic", 2, first.cursor)


def test_rows_go_out_as_views():
    listing = Found([1, 2], "more").listing(str)

    assert (listing.items, listing.cursor) == (["1", "2"], "more")


def test_a_change_writes_what_it_names_and_no_more(tables):
    row = shelf(colour="red")
    # Somebody counts a visit after the row was read.
    commit(Change(ShelfTable, row.own_key(), [ShelfTable.visits.add(1)]))

    changed = SHELVES.change(row, {"label": "poems", "colour": None, "books": ["Odes"]})

    stored = SHELVES.get("hall", 1)
    assert (stored.label, stored.colour, stored.books, stored.visits, stored.version) == ("poems", None, ["Odes"], 1, 2)
    assert (changed.label, changed.colour, changed.version) == ("poems", None, 2)
    assert {entry["subject"] for entry in tables.rows("audit")} == {"shelves/1"}
    assert sum("before" in entry for entry in tables.rows("audit")) == 1


def test_a_change_of_nothing_writes_nothing(tables):
    row = shelf()
    before = tables.rows("shelves"), tables.rows("audit")

    assert SHELVES.change(row, {"label": "novels", "colour": None}) is row
    assert (tables.rows("shelves"), tables.rows("audit")) == before


@pytest.mark.parametrize("version", [None, 1])
def test_who_comes_second_loses(tables, version):
    row = shelf()
    SHELVES.change(SHELVES.get("hall", 1), {"label": "poems"})

    with pytest.raises(Conflict):
        SHELVES.change(row, {"label": "plays"}, version=version)

    assert SHELVES.get("hall", 1).label == "poems"
    assert len(tables.rows("audit")) == 2


def test_who_looked_at_an_older_one_loses():
    row = shelf()

    with pytest.raises(Conflict, match="changed by somebody else"):
        SHELVES.change(row, {"label": "plays"}, version=7)


def test_a_row_without_version_gets_one():
    commit(Put(ShelfTable(room="hall", id=5, label="old")))

    assert SHELVES.change(SHELVES.get("hall", 5), {"label": "new"}).version == 1
    assert SHELVES.get("hall", 5).version == 1
