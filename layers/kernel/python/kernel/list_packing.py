"""Packing lists: the rows that nothing can precede any more go into a new file, and the head row is moved to it.

Every step may be cut off or done twice. Files have names of their own and are named by the head row before they are
there, so each that is needed no more is found and removed by the packing that follows; until then searches that read
the head row before it moved still find theirs.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING

from pydantic import BaseModel

from kernel import clock, files
from kernel.bitslices import Columns, Key, PackedList, Row
from kernel.grants import fetch, read, remove, store, write
from kernel.ids import ordered_id
from kernel.listings import LISTS, Book, ListedTable, ListHeadTable, number_at, number_text, place_of, time_at
from kernel.tables import ConditionFailed, commit, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.tables import Item

# What a worker that packs may do.
PACKS = (read(ListedTable), read(ListHeadTable), write(ListHeadTable), fetch(LISTS), store(LISTS), remove(LISTS))
# Fewer rows are not worth a new file: a search reads them in one request.
WORTH = 100
# Functions that write rows live ten seconds, so no older row can still appear in a book; an index lags behind it.
_SETTLED = timedelta(minutes=1)
_SETTLED_WIDER = timedelta(minutes=10)
# Rows that did appear late nevertheless are found by reading so many milliseconds of what is packed again.
_READ_AGAIN = 3_600_000
# One packing takes in so many rows, in pieces of so many; the next goes on.
_MOST = 1_000_000
_PIECE = 20_000
_READ = (
    ListedTable.book,
    ListedTable.place,
    ListedTable.phone,
    ListedTable.words,
    ListedTable.amounts,
    ListedTable.at,
)


class PackBook(BaseModel):
    """The message that asks for a book's packing."""

    name: str
    wider: bool = False
    by_number: bool = False
    own: str = ""

    @property
    def book(self) -> Book:
        """The book."""
        return Book(self.name, self.wider, self.by_number, self.own)


def pack(book: Book) -> int:
    """Pack what a book's list does not hold yet and return how many rows it holds then, 0 when it stays as it is."""
    head = ListHeadTable.find(book.name) or ListHeadTable(book=book.name)
    file = files.get(LISTS, head.path) if head.path else None
    # Where the file is lost, the list is made again from the rows, which are all there.
    covered = head.covered if file else ""
    pieces = _pieces(book, covered)
    held: list[list[Item]] = []
    fresh = 0
    while fresh < WORTH:
        piece = next(pieces, None)
        if piece is None:
            return 0
        held.append(piece)
        fresh += sum(item["place"]["S"] > covered for item in piece)
    columns = Columns.of(file.data, by_number=book.by_number) if file else Columns(by_number=book.by_number)
    books = {name: number for number, name in enumerate(head.books if file else [])}
    for piece in chain(held, pieces):
        columns.add([_row(book, item, books) for item in piece])
        covered = max(covered, piece[-1]["place"]["S"])
    return _move(book, head, columns, covered, list(books))


def _pieces(book: Book, covered: str) -> Iterator[list[Item]]:
    """Yield the rows to be packed, in the order of time, piece by piece."""
    first = place_of(time_at(covered) - _READ_AGAIN, 0) if covered else "0"
    settled = clock.now() - (_SETTLED_WIDER if book.wider else _SETTLED)
    items = ListedTable.every_item(
        book.name,
        ListedTable.place.between(first, place_of(clock.millis(settled), 0)),
        index=type(ListedTable.by_wider) if book.wider else None,
        fields=_READ,
        limit=10_000,
        consistent=not book.wider,
    )
    items = islice(items, _MOST)
    while piece := list(islice(items, _PIECE)):
        yield piece


def _row(book: Book, item: Item, books: dict[str, int]) -> Row:
    # The rows of a book of its own are found by its name; the others say which book they stand in.
    number = books.setdefault(item["book"]["S"], len(books)) if book.wider else 0
    place = item["place"]["S"]
    key = Key(time_at(place), number_at(place), number)
    amounts = tuple(ListedTable.amounts.deserialize(item["amounts"]["S"]))
    return Row(key, item["phone"]["S"], item.get("words", {}).get("S", ""), amounts)


def _move(book: Book, head: ListHeadTable, columns: Columns, covered: str, books: list[str]) -> int:
    """Store the list in a new file and move the head row to it, unless another packing was faster."""
    data = columns.packed()
    packed = PackedList(data)
    last = packed.key(packed.rows - 1)
    litter = list(head.litter)
    path = f"{hashlib.sha256(book.name.encode()).hexdigest()[:32]}/{ordered_id()}"
    head.litter = [*litter, [path, ""]]
    if not _written(head):
        return 0
    # Only now: until then one of these might have been another packing's, which now finds the head row changed.
    for old, version in litter:
        files.remove(LISTS, old, version)
    file_version = files.put(LISTS, path, data, "application/octet-stream")
    head.litter = [[head.path, head.file_version]] if head.path else []
    head.path, head.file_version = path, file_version
    head.rows, head.sums, head.searched = packed.rows, list(packed.sums(packed.everything)), packed.searched
    head.covered, head.books = covered, books
    head.last = number_text(last.number) if book.by_number else place_of(last.at, last.number)
    if not _written(head):
        files.remove(LISTS, path, file_version)
        return 0
    return packed.rows


def _written(head: ListHeadTable) -> bool:
    """Write the head row unless somebody else changed it since it was read."""
    try:
        commit(replace(head))
    except ConditionFailed:
        # A write whose answer got lost is sent again, and refused because it was carried out.
        there = ListHeadTable.find(head.book)
        return there is not None and (there.path, there.litter) == (head.path, head.litter)
    return True
