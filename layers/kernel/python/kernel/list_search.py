"""Searching a list and turning its pages by number: as many requests for any page and any history.

They are the head row; the rows that are not packed yet; the packed list, whole when something is looked for, else only
the keys of the page; and the packed rows of the page by their keys. The second becomes more than one only while over a
megabyte of rows waits to be packed, which every search of such a book asks for, or while the packed list is lost.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel import aws, files, wire
from kernel.bitslices import KEY_BYTES, KEYS_FROM, Key, PackedList, folded, is_part_of_a_number, keys_of, places
from kernel.grants import fetch, read, send
from kernel.listings import LISTS, PACKING, Book, ListedTable, ListHeadTable, number_at, number_text, place_of, time_at
from kernel.queues import Message, QueueRefused
from kernel.running import logger
from kernel.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.tables import Item

# What an operation that searches may do.
SEARCHES = (read(ListedTable), read(ListHeadTable), fetch(LISTS), send(PACKING))
# More rows than this outside the packed list, and it is asked for anew.
TAIL = 500
_ATTEMPTS = 3
_SHOWN = (ListedTable.book, ListedTable.place, ListedTable.at, ListedTable.content)
# Packed lists never change, so a warm function keeps those it used last.
_KEPT_BYTES = 64 * 1024 * 1024
_kept: OrderedDict[str, PackedList] = OrderedDict()


class Wanted(NamedTuple):
    """What is looked for: a part of the phone number; words in it or in the row's words; times, ends included."""

    phone: str = ""
    keywords: str = ""
    start: int | None = None
    end: int | None = None


class Listed(NamedTuple):
    """A row of a list."""

    at: datetime
    content: Any


class Found(NamedTuple):
    """The rows of a page, and the number and the sums of all rows that were found."""

    rows: list[Listed]
    total: int
    sums: tuple[int, ...]

    def sum(self, number: int) -> int:
        """Return the sum of the rows' first (0), second … amount."""
        return self.sums[number] if number < len(self.sums) else 0


class _Tail(NamedTuple):
    """A row that is not packed yet."""

    key: Key
    place: str
    amounts: tuple[int, ...]
    item: Item


class _Gone(Exception):
    """The packed list is not there: it was replaced and removed after its head was read, or it is lost."""


def search(book: Book, wanted: Wanted, *, page: int, size: int) -> Found:
    """Return a page of what is found in a book, from 1, and the totals of all that is found."""
    if book.by_number and (wanted.start, wanted.end) != (None, None):
        raise ValueError("a list by number has no order of time")
    head = _head(book)
    for _ in range(_ATTEMPTS):
        try:
            return _search(book, head, wanted, page, size)
        except _Gone:
            head = _head(book)
    # The file is lost; until the list is packed anew every row is read. The same version asks for the packing once.
    logger().error("a packed list is lost", book=book.name)
    _ask_for_packing(book, head)
    return _search(book, ListHeadTable(book=book.name, version=head.version), wanted, page, size)


def _head(book: Book) -> ListHeadTable:
    return ListHeadTable.find(book.name) or ListHeadTable(book=book.name)


def _search(book: Book, head: ListHeadTable, wanted: Wanted, page: int, size: int) -> Found:
    tail = _unpacked(book, head)
    if len(tail) > TAIL:
        _ask_for_packing(book, head)
    tail = sorted((row for row in tail if _fits(row, wanted)), key=lambda row: _order(book, row.place))
    chosen = _chosen(book, head, wanted, tail)
    ranks = [before + place for place, before in enumerate(_before(book, head, chosen, tail))]
    total = chosen.number + len(tail)
    if book.by_number:
        low, high = (page - 1) * size, page * size
    else:
        low, high = total - page * size, total - (page - 1) * size
    low, high = min(max(low, 0), total), min(max(high, 0), total)
    # What is not packed yet lies between what is, nearly always behind it.
    shown = {rank: row for rank, row in zip(ranks, tail, strict=True) if low <= rank < high}
    first = low - sum(rank < low for rank in ranks)
    packed = iter(_packed_rows(book, head, chosen, first, first + high - low - len(shown)))
    rows = [_listed(shown[rank].item) if rank in shown else next(packed) for rank in range(low, high)]
    if not book.by_number:
        rows.reverse()
    return Found([row for row in rows if row is not None], total, _added(chosen.sums, tail))


class _Chosen(NamedTuple):
    """The packed rows that are found; without a packed list in hand all of them are."""

    packed: PackedList | None
    matches: int
    number: int
    sums: tuple[int, ...]


def _chosen(book: Book, head: ListHeadTable, wanted: Wanted, tail: list[_Tail]) -> _Chosen:
    # Where all is wanted the head row knows the totals, and only rows that were listed late ask for the whole list.
    late = bool(tail) and _order(book, tail[0].place) < head.last
    if not head.path or (wanted == Wanted() and not late):
        return _Chosen(None, 0, head.rows, tuple(head.sums))
    packed = _load(head)
    matches = _matches(packed, wanted)
    return _Chosen(packed, matches, matches.bit_count(), packed.sums(matches))


def _before(book: Book, head: ListHeadTable, chosen: _Chosen, tail: list[_Tail]) -> Iterator[int]:
    """Yield for each row that is not packed how many of the chosen ones stand before it."""
    for row in tail:
        if chosen.packed is None or _order(book, row.place) > head.last:
            yield chosen.number
        else:
            place = chosen.packed.before(row.key, by_number=book.by_number)
            yield (chosen.matches & (1 << place) - 1).bit_count()


def _packed_rows(book: Book, head: ListHeadTable, chosen: _Chosen, low: int, high: int) -> list[Listed | None]:
    """Return the packed rows that are `low`th to before `high`th among the chosen ones."""
    if low >= high:
        return []
    if chosen.packed is not None:
        keys = [chosen.packed.key(place) for place in places(chosen.matches, low, high)]
    elif kept := _kept.get(str(head.path)):
        keys = [kept.key(place) for place in range(low, high)]
    else:
        keys = keys_of(_read(head, (KEYS_FROM + low * KEY_BYTES, KEYS_FROM + high * KEY_BYTES)))
    named = [(head.books[key.book] if head.books else book.name, place_of(key.at, key.number)) for key in keys]
    items = rows_of(ListedTable, [ListedTable.key(*name) for name in named], _SHOWN)
    by_key = {(item["book"]["S"], item["place"]["S"]): item for item in items}
    return [_listed(by_key[name]) if name in by_key else None for name in named]


def _unpacked(book: Book, head: ListHeadTable) -> list[_Tail]:
    """Return the rows that are not packed yet."""
    index = type(ListedTable.by_wider) if book.wider else None
    items = _after(head.covered, book.name, index=index, consistent=not book.wider)
    if book.own:
        # An index of DynamoDB's lags behind by moments; a book of its own shows what was just written.
        items |= _after(head.covered, book.own, consistent=True)
    found = []
    for place, item in items.items():
        amounts = tuple(ListedTable.amounts.deserialize(item["amounts"]["S"]))
        found.append(_Tail(Key(time_at(place), number_at(place), 0), place, amounts, item))
    return found


def _after(covered: str, name: str, **how: Any) -> dict[str, Item]:
    later = ListedTable.place > covered if covered else None
    return {item["place"]["S"]: item for item in ListedTable.every_item(name, later, limit=10_000, **how)}


def _fits(row: _Tail, wanted: Wanted) -> bool:
    phone = row.item["phone"]["S"]
    if wanted.phone and not (is_part_of_a_number(wanted.phone) and wanted.phone in phone):
        return False
    if wanted.keywords:
        words = row.item.get("words", {}).get("S", "")
        in_phone = is_part_of_a_number(wanted.keywords) and wanted.keywords in phone
        if not in_phone and folded(wanted.keywords) not in folded(words):
            return False
    after = wanted.start is None or row.key.at >= wanted.start
    return after and (wanted.end is None or row.key.at <= wanted.end)


def _matches(packed: PackedList, wanted: Wanted) -> int:
    found = packed.everything
    if wanted.start is not None or wanted.end is not None:
        found &= packed.between(wanted.start, wanted.end)
    if wanted.phone and found:
        found &= packed.with_phone(wanted.phone)
    if wanted.keywords and found:
        found &= packed.with_phone(wanted.keywords) | packed.with_words(wanted.keywords)
    return found


def _order(book: Book, place: str) -> str:
    """Return what a book is sorted by, as the head row has it of the last row."""
    return number_text(number_at(place)) if book.by_number else place


def _load(head: ListHeadTable) -> PackedList:
    """Return the packed list, kept from before or read."""
    path = str(head.path)
    if path in _kept:
        _kept.move_to_end(path)
        return _kept[path]
    packed = PackedList(_read(head, (0, head.searched)))
    _kept[path] = packed
    while len(_kept) > 1 and sum(kept.size for kept in _kept.values()) > _KEPT_BYTES:
        _kept.popitem(last=False)
    return packed


def _read(head: ListHeadTable, span: tuple[int, int]) -> bytes:
    file = files.get(LISTS, str(head.path), span=span)
    if file is None:
        raise _Gone
    return file.data


def _listed(item: Item) -> Listed:
    content = ListedTable.content.deserialize(base64.b64decode(item["content"]["B"]))
    return Listed(ListedTable.at.deserialize(item["at"]["S"]), content)


def _added(sums: tuple[int, ...], tail: list[_Tail]) -> tuple[int, ...]:
    found = list(sums)
    for row in tail:
        found += [0] * (len(row.amounts) - len(found))
        for number, amount in enumerate(row.amounts):
            found[number] += amount
    return tuple(found)


def packing_of(book: Book, marker: str) -> Message:
    """Return the message that asks for a book's packing; the same `marker` asks once in five minutes."""
    return Message(book._asdict(), book.name, f"{book.name}@{marker}")


def _ask_for_packing(book: Book, head: ListHeadTable) -> None:
    try:
        PACKING.send([packing_of(book, str(head.version or 0))])
    except (aws.AwsError, wire.Unreachable, QueueRefused):
        # The list is complete without it, and the next one asks again.
        logger().exception("no packing was asked for", book=book.name)
