"""CSV as Python's own writer makes it, XLSX as any reader of the format finds it; formulas in neither."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import TYPE_CHECKING

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import spreadsheets
from kernel.spreadsheets import cell, csv_row, line, xlsx

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMULA = tuple("=+-@＝＋－＠\t\r\n\0")
texts = st.text(st.sampled_from([*"\",\r\n=+-@＝＋－＠\t\0'aé測👍 <&>"]) | st.characters(codec="utf-8"), max_size=8)


def written(cells: Iterable[str]) -> str:
    """Return the line of Python's writer, which quotes all line ends only when it writes CR LF."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


@given(st.lists(texts, min_size=2, max_size=5))
def test_a_line_is_what_pythons_writer_writes(cells):
    guarded = [f"'{text}" if text.startswith(FORMULA) else text for text in cells]

    assert line(cells) == written(guarded)
    assert next(csv.reader(io.StringIO(line(cells), newline=""))) == guarded


@given(texts)
def test_no_cell_is_a_formula(text):
    (read, _) = next(csv.reader(io.StringIO(f"{cell(text)},x\n", newline="")))

    assert not read.startswith(FORMULA)
    assert read in (text, f"'{text}")


def test_numbers_stay_numbers_in_csv():
    assert (
        csv_row(["=1+1", 71019122016110, Decimal("-20.50"), None, "哈,哈"]) == '\'=1+1,71019122016110,-20.50,,"哈,哈"\n'
    )


def opened(rows):
    """Return the cells of an XLSX file that are filled, as another library reads them: place, kind, format, content."""
    file = io.BytesIO()
    with xlsx(file) as sheet:
        for row in rows:
            sheet.add(row)
    (page,) = openpyxl.load_workbook(file).worksheets
    found = [[cell for cell in row if cell.value is not None] for row in page.iter_rows()]
    return [[(one.coordinate, one.data_type, one.number_format, one.value) for one in row] for row in found]


def test_xlsx_keeps_texts_as_texts_and_numbers_as_numbers():
    rows = [["=1+1", Decimal("-20.50"), 71019122016110, None, "", 10**20, " a\nb<&> "]]

    assert opened(rows) == [
        [
            ("A1", "s", "General", "=1+1"),
            ("B1", "n", "0.00", -20.5),
            ("C1", "n", "0", 71019122016110),
            ("F1", "s", "General", "1" + "0" * 20),
            ("G1", "s", "General", " a\nb<&> "),
        ]
    ]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20), max_size=3))
def test_xlsx_takes_any_text(row):
    found = opened([["first", *row]])[0][1:]

    kept = [spreadsheets._NO_XML.sub("", text) for text in row]
    assert [content for *_, content in found] == [text for text in kept if text]


def test_a_character_that_xml_lacks_is_left_out():
    assert opened([["a\x00b\x0bc"]]) == [[("A1", "s", "General", "abc")]]


def test_a_text_is_cut_where_a_cell_ends():
    ((found,),) = opened([["測" * 40_000]])

    assert found == ("A1", "s", "General", "測" * 32_767)


def test_a_sheet_has_an_end(monkeypatch):
    monkeypatch.setattr(spreadsheets, "MOST_ROWS", 2)

    with pytest.raises(ValueError, match="no more than 2 rows"):
        opened([["a"], ["b"], ["c"]])
