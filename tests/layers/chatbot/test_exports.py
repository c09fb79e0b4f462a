"""CSV as Python's own writer makes it, and the pieces that exports are made of."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot import reports
from chatbot.exports import Order, cell, line
from chatbot.tables import ConversationTable, UserTable, VariableHistoryTable
from chatbot.variable_history import rows
from kernel.tables import Put, write_all
from tests.functions.chatbot.examples import ACCOUNT_ID, ADMIN_ID, PARTITION, user_row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.tables import Item

NOON = datetime(2024, 1, 28, 12, tzinfo=UTC)
FORMULA = tuple("=+-@＝＋－＠\t\r\n\0")
texts = st.text(st.sampled_from([*"\",\r\n=+-@＝＋－＠\t\0'aé測👍 "]) | st.characters(codec="utf-8"), max_size=8)


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


@pytest.fixture
def people(cloud):
    """Five users whose ids sort otherwise with a '#' behind them, each with a variable and two former values."""
    ids = ["U!", "U", 'U"', "UU", "U$"]
    for place, user_id in enumerate(ids):
        state = {"variables": {"name": f"name of {user_id}"}, "tags": [], "waiting": None, "taps": {}, "node_id": ""}
        moment = NOON + timedelta(seconds=place)
        conversation = ConversationTable(
            account=PARTITION, user_id=user_id, state=state, status="1", status_at=moment, follow_time=moment,
            access_time=moment, user_name=f"known as {user_id}", user_picture="",
        )  # fmt: skip
        values = rows(PARTITION, user_id, [("name", "former"), ("name", f"name of {user_id}")], moment)
        write_all([Put(conversation), Put(user_row(user_id, access_time=moment)), *values])
    return ids


KINDS = ["getChatHistoryCsv", "getReportCsv", "getUserHistoryCsv", "getUserVariableCsv"]


def order(kind: str) -> Order:
    return Order(kind=kind, admin_id=ADMIN_ID, account_id=ACCOUNT_ID, names=["name", "other"], start=NOON,
                 end=NOON + timedelta(hours=1))  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_goes_on_behind_any_of_its_pieces(people, monkeypatch, kind):
    whole = "".join(piece.text for piece in reports.pieces(order(kind), None))
    for limit in ("_ROWS_A_READ", "_USERS_A_READ"):
        monkeypatch.setattr(reports, limit, 2)
    monkeypatch.setattr(reports, "_PIECE_CHARACTERS", 1)

    text, key, seen = "", None, 0
    while True:
        piece = next(iter(reports.pieces(order(kind), key)))
        text, key, seen = text + piece.text, piece.key, seen + piece.rows
        if key is None:
            break

    assert text == whole
    assert seen == len(whole.splitlines()) - 1 == (10 if kind == "getUserHistoryCsv" else 5)


def test_variables_find_their_users_whatever_the_order_of_ids(people, monkeypatch):
    monkeypatch.setattr(reports, "_USERS_A_READ", 2)

    lines = "".join(piece.text for piece in reports.pieces(order("getUserVariableCsv"), None))

    found = list(csv.DictReader(io.StringIO(lines, newline="")))
    assert {row["luid"]: row["name"] for row in found} == {user_id: f"name of {user_id}" for user_id in people}
    assert {row["other"] for row in found} == {""}


def test_a_piece_holds_a_page_however_many_rows_there_are(people, monkeypatch):
    monkeypatch.setattr(reports, "_ROWS_A_READ", 2)

    sizes = [piece.rows for piece in reports.pieces(order("getUserHistoryCsv"), None)]

    assert max(sizes) == 2
    assert sum(sizes) == 10


def keys(table: type[UserTable] | type[VariableHistoryTable]) -> list[Item]:
    return [row.own_key() for row in table.query(PARTITION, consistent=True).rows]


def test_reading_changes_nothing(people):
    before = keys(UserTable), keys(VariableHistoryTable)

    for kind in KINDS:
        list(reports.pieces(order(kind), None))

    assert (keys(UserTable), keys(VariableHistoryTable)) == before
