"""Lists that are searched and turned by page number: rows as they are written, and a packed index over the older ones.

A row is written with what it reports, in one transaction, and is never changed; a list shows it at once. Rows that are
older than a minute are packed from time to time (`list_packing`) into a file that is searched (`list_search`); what is
not packed yet is read from the table and searched row by row, so the file may lag behind and may be lost.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from pynamodb.attributes import JSONAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from kernel import clock
from kernel.files import Folder
from kernel.queues import Queue
from kernel.tables import CompressedJson, Put, Table, UtcTime, Version, WholeNumber, create


class _WiderIndex(GlobalSecondaryIndex[Any]):
    """The rows of several books together."""

    class Meta:
        index_name = "by-wider"
        projection = AllProjection()

    wider = UnicodeAttribute(hash_key=True)
    place = UnicodeAttribute(range_key=True)


class ListedTable(Table):
    """One row of a list: `book` is the list it stands in, `wider` the one over several books, `place` its order.

    `phone` and `words` are what it is found by, `amounts` what is added up: whole numbers, none below zero.
    """

    name: ClassVar[str] = "listed"
    book = UnicodeAttribute(hash_key=True)
    place = UnicodeAttribute(range_key=True)
    wider = UnicodeAttribute(null=True)
    phone = UnicodeAttribute()
    words = UnicodeAttribute(null=True)
    amounts = JSONAttribute()
    content = CompressedJson()
    at = UtcTime()
    by_wider = _WiderIndex()


class ListHeadTable(Table):
    """What a book's packed list holds, in `path`: so many rows, up to the place `covered`, with these sums.

    `last` is the place or number of its last row, `searched` how many of its bytes a search needs, `books` the books
    that its rows stand in; `litter` names the files that are needed no more.
    """

    name: ClassVar[str] = "list-heads"
    book = UnicodeAttribute(hash_key=True)
    path = UnicodeAttribute(null=True)
    file_version = UnicodeAttribute(null=True)
    rows = WholeNumber(default=0)
    sums = JSONAttribute(default=list)
    covered = UnicodeAttribute(default="")
    last = UnicodeAttribute(default="")
    searched = WholeNumber(default=0)
    books = JSONAttribute(default=list)
    litter = JSONAttribute(default=list)
    version = Version(null=True)
    updated_at = UtcTime(null=True)


LISTS = Folder("lists")
# Packing a million rows for the first time takes minutes.
PACKING = Queue("list-packing", visibility=890, batch=1)


class Book(NamedTuple):
    """A list: its name, whether it is one over several books, and whether it goes up by number.

    Others begin with the newest. A wider one lags behind by moments, but not behind what the caller wrote to `own`.
    """

    name: str
    wider: bool = False
    by_number: bool = False
    own: str = ""


def listed(
    book: str,
    number: int,
    at: datetime,
    content: Any,
    *,
    wider: str | None = None,
    phone: str = "",
    words: str = "",
    amounts: tuple[int, ...] = (),
) -> Put:
    """Return the write that adds a row to a book; `number` tells rows of the same millisecond apart.

    It is to be committed at once: rows that are older than a minute are taken for complete.
    """
    row = ListedTable(
        book=book,
        place=place_of(clock.millis(at), number),
        wider=wider,
        phone=phone,
        words=words or None,
        amounts=list(amounts),
        content=content,
        at=at,
    )
    return create(row)


def place_of(at: int, number: int) -> str:
    """Return the place of a row of this time, in milliseconds; text order is time order."""
    moment = clock.from_millis(at)
    return f"{moment:%Y%m%d%H%M%S}{at % 1000:03d}#{number_text(number)}"


def number_text(number: int) -> str:
    """Return a number so that text order is number order."""
    return f"{number:016d}"


def number_at(place: str) -> int:
    """Return the number of the row at a place."""
    return int(place.rpartition("#")[2])


def time_at(place: str) -> int:
    """Return the time of the row at a place, in milliseconds."""
    return clock.millis(datetime.fromisoformat(f"{place[:8]}T{place[8:14]}.{place[14:17]}Z"))
