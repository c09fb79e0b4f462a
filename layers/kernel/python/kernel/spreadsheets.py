"""Rows for spreadsheets: CSV lines and XLSX files in which nothing that people wrote is a formula."""

from __future__ import annotations

import re
from contextlib import contextmanager
from decimal import Decimal
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

CSV = "text/csv; charset=utf-8"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# Tells spreadsheets that a CSV file is UTF-8; without it they show Chinese as something else.
BYTE_ORDER_MARK = "\ufeff"
# A sheet may have a million, but is collected in a function's scratch space of 512 MB first.
MOST_ROWS = 200_000
# A cell ends there (Excel specifications and limits).
_LONGEST_CELL = 32_767
# A number holds so many digits exactly.
_DIGITS = 15
# What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection).
_FORMULA = frozenset("=+-@＝＋－＠\t\r\n\0")
_UNSAFE = re.compile('[",\r\n]')
# What XML has no character for (XML 1.0, section 2.2).
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# A text, a whole number, an amount with its decimals, or nothing.
Value = str | int | Decimal | None


def cell(text: str) -> str:
    """Return a text as a CSV cell (RFC 4180); one that a spreadsheet would run gets a leading quote."""
    if text[:1] in _FORMULA:
        text = f"'{text}"
    if _UNSAFE.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def line(texts: Iterable[str]) -> str:
    """Return texts as a CSV line with its LF."""
    return ",".join(map(cell, texts)) + "\n"


def csv_row(values: Iterable[Value]) -> str:
    """Return values as a CSV line; numbers stay numbers, a negative one too."""
    return ",".join(cell(value) if isinstance(value, str) else _digits(value) for value in values) + "\n"


def _digits(value: Decimal | int | None) -> str:
    return "" if value is None else str(value)


class Sheet:
    """The one sheet of an XLSX file that is being written."""

    def __init__(self, sheet: Worksheet, amount: Format, whole: Format) -> None:
        self._sheet = sheet
        self._amount = amount
        self._whole = whole
        self.rows = 0

    def add(self, values: Sequence[Value]) -> None:
        """Write the next row."""
        if self.rows == MOST_ROWS:
            raise ValueError(f"a sheet has no more than {MOST_ROWS} rows")
        for place, value in enumerate(values):
            if isinstance(value, Decimal):
                self._sheet.write_number(self.rows, place, float(value), self._amount)
            elif isinstance(value, int) and len(str(abs(value))) <= _DIGITS:
                self._sheet.write_number(self.rows, place, value, self._whole)
            elif value is not None and value != "":
                # Written as a text whatever it begins with, so that it is no formula.
                self._sheet.write_string(self.rows, place, _NO_XML.sub("", str(value))[:_LONGEST_CELL])
        self.rows += 1


@contextmanager
def xlsx(file: IO[bytes]) -> Iterator[Sheet]:
    """Write an XLSX file of one sheet; the yielded sheet takes its rows."""
    from xlsxwriter import Workbook  # only few functions write such files

    # Row by row into a file beside it, so that memory stays small.
    book = Workbook(file, {"constant_memory": True})
    sheet = Sheet(book.add_worksheet(), book.add_format({"num_format": "0.00"}), book.add_format({"num_format": "0"}))
    try:
        yield sheet
    finally:
        book.close()
