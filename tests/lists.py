"""Searched lists as they ought to be: rows that are looked at one by one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel import clock
from kernel.listings import LISTS, PACKING, ListedTable, ListHeadTable, listed
from kernel.tables import Table, schema, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from kernel.list_search import Found, Wanted


class Record(NamedTuple):
    """A row of a list, and what is asked of it."""

    number: int
    at: datetime
    phone: str = ""
    words: str = ""
    amounts: tuple[int, ...] = ()
    book: str = "book"
    wider: str | None = None

    @property
    def content(self) -> dict[str, Any]:
        """What a search shows of it."""
        return {"id": self.number, "book": self.book}


def put(records: Iterable[Record], *, at_once: int = 1) -> None:
    """Write rows."""
    write_all(
        (
            listed(r.book, r.number, r.at, r.content, wider=r.wider, phone=r.phone, words=r.words, amounts=r.amounts)
            for r in records
        ),
        at_once=at_once,
    )


def expected(records: Sequence[Record], wanted: Wanted, page: int, size: int, *, by_number: bool = False) -> Any:
    """Return what a search has to answer: ids and times of the page, total, sums."""

    def fits(record: Record) -> bool:
        at, keywords = clock.millis(record.at), wanted.keywords
        digits = not wanted.phone or (wanted.phone.isascii() and wanted.phone.isdigit())
        words = record.words.replace("\n", " ").casefold()
        in_phone = keywords.isascii() and keywords.isdigit() and keywords in record.phone
        return (
            digits
            and wanted.phone in record.phone
            and (not keywords or in_phone or keywords.replace("\n", " ").casefold() in words)
            and (wanted.start is None or at >= wanted.start)
            and (wanted.end is None or at <= wanted.end)
        )

    found = [record for record in records if fits(record)]
    found.sort(key=lambda record: record.number if by_number else (record.at, record.number), reverse=not by_number)
    shown = [(record.content, record.at) for record in found[(page - 1) * size : page * size]]
    width = max((len(record.amounts) for record in found), default=0)
    sums = [sum(record.amounts[place] for record in found if place < len(record.amounts)) for place in range(width)]
    return shown, len(found), _without_nothing(sums)


def told(found: Found) -> Any:
    """Return what a search answered, as `expected` has it."""
    return [(row.content, row.at) for row in found.rows], found.total, _without_nothing(found.sums)


def _without_nothing(sums: Sequence[int]) -> list[int]:
    """Return sums without those at the end that are nothing: whether there is a column is nobody's business."""
    found = list(sums)
    while found and not found[-1]:
        found.pop()
    return found


def furnish(cloud: Any) -> None:
    """Make what the lists of a system need where none of its functions has declared it."""
    dynamodb = cloud.client("dynamodb")
    there = dynamodb.list_tables()["TableNames"]
    tables: tuple[type[Table], ...] = (ListedTable, ListHeadTable)
    for table in tables:
        if table.physical_name() not in there:
            dynamodb.create_table(TableName=table.physical_name(), **schema(table))
    cloud.client("sqs").create_queue(QueueName=PACKING.physical_name(), Attributes={"FifoQueue": "true"})


def stored(cloud: Any) -> list[str]:
    """Return the keys of the packed lists that are stored."""
    found = cloud.client("s3").list_objects_v2(Bucket="files", Prefix=LISTS.physical_name() + "/")
    return [entry["Key"].removeprefix(LISTS.physical_name() + "/") for entry in found.get("Contents", [])]


def days_ago(days: float, seconds: float = 0) -> datetime:
    """Return a time in the past, to the millisecond."""
    moment = clock.now() - timedelta(days=days) + timedelta(seconds=seconds)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
