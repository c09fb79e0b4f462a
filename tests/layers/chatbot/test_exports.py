"""The pieces that exports are made of."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from chatbot import reports
from chatbot.exports import Order
from chatbot.tables import ConversationTable, UserTable, VariableHistoryTable
from chatbot.variable_history import rows
from kernel.tables import Put, write_all
from tests.functions.chatbot.examples import ACCOUNT_ID, ADMIN_ID, PARTITION, user_row

if TYPE_CHECKING:
    from kernel.tables import Item

NOON = datetime(2024, 1, 28, 12, tzinfo=UTC)


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
