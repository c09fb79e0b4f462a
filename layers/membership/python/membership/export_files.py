"""Writing the files of exports: from the first row to the last in one go, and from the beginning when that fails.

A file has the name of its export, so one that is written again takes the place of the one before.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from kernel import files, wire
from kernel.running import current, logger
from kernel.spreadsheets import BYTE_ORDER_MARK, CSV, MOST_ROWS, XLSX, csv_row, xlsx
from kernel.tables import Change, ConditionFailed, commit
from membership import export_rows
from membership.exports import EXPORTS, FAILED, FILES, READY, WRITING, ExportStep, Order
from membership.tables import ExportTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from kernel.files import Upload
    from kernel.spreadsheets import Value

# Of the 870 that the worker has.
SECONDS = 780.0
NOTED_EVERY = 10_000


class _TooMuch(Exception):
    """The list does not fit into one file."""


class _Over(Exception):
    """Somebody else has ended the export."""


class _Parts:
    """A file that is stored part by part while it is written."""

    def __init__(self, path: str, content_type: str) -> None:
        self._path, self._content_type = path, content_type
        self._held = bytearray()
        self._upload: Upload | None = None

    def write(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= files.PART_BYTES:
            self._store()

    def finish(self) -> None:
        if self._upload is None:
            files.put(FILES, self._path, bytes(self._held), self._content_type)
            return
        if self._held:
            self._store()
        files.finish_upload(FILES, self._upload)

    def abort(self) -> None:
        if self._upload is not None:
            files.abort_upload(FILES, self._upload)

    def _store(self) -> None:
        if self._upload is None:
            self._upload = files.start_upload(FILES, self._path, self._content_type)
        self._upload = files.add_part(FILES, self._upload, bytes(self._held))
        self._held.clear()


def write(message: ExportStep) -> None:
    """Write the file of an export; one that is there already, or that failed, is left as it is."""
    row = ExportTable.find(message.merchant_id, message.export_id)
    if row is None or row.state != WRITING:
        return
    order = Order.model_validate(row.order)
    try:
        count = _write(row, order)
        current().facts |= {"list": order.list, "rows": count}
        _note(row, ExportTable.state.set(READY), ExportTable.rows.set(count))
    except _Over:
        return
    except _TooMuch as problem:
        _fail(row, str(problem))
    except Exception:
        if current().attempt >= EXPORTS.attempts:
            _fail(row, "导出失败，请重新导出")
        raise


def _write(row: ExportTable, order: Order) -> int:
    rows = _Rows(row, order)
    csv = order.format == "csv"
    parts = _Parts(row.path, CSV if csv else XLSX)
    try:
        (_write_csv if csv else _write_xlsx)(parts, export_rows.headings(order), rows)
        parts.finish()
    except Exception:
        _give_up(parts)
        raise
    return rows.count


def _give_up(parts: _Parts) -> None:
    """Throw away what was stored of a file, so that what went wrong before is what is told."""
    try:
        parts.abort()
    except (files.FileRefused, wire.Unreachable):
        # The bucket throws it away itself within days.
        logger().exception("the parts of a file were not thrown away")


def _write_csv(parts: _Parts, headings: list[Value], rows: _Rows) -> None:
    parts.write((BYTE_ORDER_MARK + csv_row(headings)).encode())
    for values in rows:
        parts.write(csv_row(values).encode())


def _write_xlsx(parts: _Parts, headings: list[Value], rows: _Rows) -> None:
    with tempfile.TemporaryFile() as file:
        with xlsx(file) as sheet:
            sheet.add(headings)
            for values in rows:
                if sheet.rows == MOST_ROWS:
                    raise _TooMuch(f"超过 {MOST_ROWS - 1} 行，请改用 CSV 或缩短时间")
                sheet.add(values)
        file.seek(0)
        while data := file.read(files.PART_BYTES):
            parts.write(data)


class _Rows:
    """The rows of an export; how many there were is noted from time to time."""

    def __init__(self, row: ExportTable, order: Order) -> None:
        self._row, self._order = row, order
        self.count = 0

    def __iter__(self) -> Iterator[list[Value]]:
        until = time.monotonic() + SECONDS
        for values in export_rows.rows(self._row.merchant_id, self._order):
            self.count += 1
            if self.count % NOTED_EVERY == 0:
                if time.monotonic() >= until:
                    raise _TooMuch("数据太多，请缩短时间")
                _note(self._row, ExportTable.rows.set(self.count))
            yield values


def _fail(row: ExportTable, reason: str) -> None:
    with suppress(_Over):
        _note(row, ExportTable.state.set(FAILED), ExportTable.reason.set(reason))


def _note(row: ExportTable, *actions: Any) -> None:
    try:
        commit(Change(ExportTable, row.own_key(), actions, ExportTable.state == WRITING))
    except ConditionFailed:
        raise _Over from None
