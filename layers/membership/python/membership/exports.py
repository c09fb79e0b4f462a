"""Exports: lists as files for spreadsheets, written by a worker and fetched with a signed link."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from kernel import audit, clock, files
from kernel.errors import Flaw, Invalid
from kernel.files import Folder
from kernel.ids import ordered_id
from kernel.queues import Message, Queue
from kernel.tables import commit, create
from membership import listings
from membership.api import Id, View, iso_utc, local
from membership.back_office import Fields, Moment
from membership.faults import Missing
from membership.tables import ExportTable, StoreTable

if TYPE_CHECKING:
    from datetime import datetime

EXPORTS = Queue("exports", visibility=890, batch=1, attempts=4)
FILES = Folder("exports")
WRITING, READY, FAILED = "writing", "ready", "failed"
# As long as the store keeps the file.
_LIFE = timedelta(days=7)
_A_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")

ListName = Literal["recharges", "expenses", "refunds", "invoices", "customers", "closings"]
Format = Literal["csv", "xlsx"]
ExportId = Annotated[str, Field(pattern=r"^[0-9a-z]{26}$")]


def _through(value: Any) -> Any:
    """Take a date for its last moment."""
    return f"{value} 23:59:59.999" if isinstance(value, str) and _A_DAY.match(value) else value


class NewExport(Fields):
    """A list, or what of it is of one store and from `start` to `end`, days or times; customers are of all stores."""

    list: ListName
    format: Format
    store: Id | None = None
    start: Moment | None = None
    end: Annotated[Moment, BeforeValidator(_through)] | None = None


class ExportView(View):
    """An export: so many rows are written, and when all are, the link leads to the file for an hour."""

    id: str
    list: ListName
    format: Format
    state: Literal["writing", "ready", "failed"]
    rows: int
    link: str | None
    reason: str | None
    created: str


class Started(View):
    """An export that is being written."""

    id: str
    state: str


class Order(BaseModel):
    """What is to be written; times are milliseconds, both included."""

    list: ListName
    format: Format
    store: int | None
    start: int
    end: int


class ExportStep(BaseModel):
    """Write an export."""

    merchant_id: int
    export_id: str


def start(merchant_id: int, new: NewExport) -> Started:
    """Make an export and have it written."""
    now = clock.now()
    if new.store is not None:
        if new.list == listings.CUSTOMERS:
            raise Invalid([Flaw("store", "is not kept for customers")])
        if StoreTable.find(merchant_id, new.store) is None:
            raise Missing("门店不存在")
    order = Order(list=new.list, format=new.format, store=new.store, **_period(new, now))
    export_id = ordered_id(now)
    stamp = re.sub("[^0-9]", "", local(now))
    row = ExportTable(
        merchant_id=merchant_id,
        export_id=export_id,
        order=order.model_dump(),
        path=f"{merchant_id}/{export_id}/{new.list}-{stamp}.{new.format}",
        state=WRITING,
        expires=now + _LIFE,
    )
    commit(create(row), audit.entry(f"exports/{export_id}", before=None, after=row.order))
    step = ExportStep(merchant_id=merchant_id, export_id=export_id)
    EXPORTS.send([Message(step.model_dump(), export_id, export_id)])
    return Started(id=export_id, state=row.state)


def get(merchant_id: int, export_id: str) -> ExportView:
    """Return how far an export is, and the link to its file when that is there."""
    row = ExportTable.find(merchant_id, export_id)
    if row is None or row.expires <= clock.now():
        raise Missing("导出记录不存在")
    return ExportView(
        id=row.export_id,
        list=row.order["list"],
        format=row.order["format"],
        state=row.state,
        rows=row.rows,
        link=files.link(FILES, row.path) if row.state == READY else None,
        reason=row.reason,
        created=iso_utc(row.created_at),
    )


def _period(new: NewExport, now: datetime) -> dict[str, int]:
    """Return the first and the last millisecond; what happens while it is written is left out of every attempt."""
    end = now if new.end is None else min(new.end, now)
    if new.start is not None and new.start > end:
        raise Invalid([Flaw("start", "must be before the end and not in the future")])
    return {"start": 0 if new.start is None else clock.millis(new.start), "end": clock.millis(end)}
