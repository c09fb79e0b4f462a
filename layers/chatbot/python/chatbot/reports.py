"""What a channel's users said and filled in, as CSV: inline when it is small, else as a file behind a link.

CSV as in RFC 4180, UTF-8 without BOM, LF, the header line always there. Variables that are kept encrypted are shown
to the owner; a partner's key gets `***` in their place.
"""

from __future__ import annotations

import base64
import json
import zlib
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from chatbot import exports, times, variables
from chatbot.api import AccountRequest, View
from chatbot.exports import Order, Piece
from chatbot.tables import ConversationTable, RecentlyActive, UserTable, VariableHistoryTable
from chatbot.users import shown
from chatbot.variable_history import plain_value
from kernel.envelopes import Response
from kernel.errors import Flaw, Invalid
from kernel.operations import answer_size
from kernel.spreadsheets import CSV, cell, line
from kernel.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kernel.auth import Caller
    from kernel.tables import Item

# Of the 6 MB that a function may answer.
_INLINE_BYTES = 5_500_000
_ROWS_A_READ = 1000
# What is remembered of a user may take 400 KB, so fewer of them are in memory together.
_USERS_A_READ = 200
_PIECE_CHARACTERS = 1_000_000
# Each is a call of KMS, and the time is looked at between pieces.
_SEALED_A_PIECE = 200
_HIDDEN = "***"
_RECORD_COLUMNS = (
    "userid",
    "username",
    "userpicture",
    "accounttype",
    "accountstatus",
    "nodeid",
    "tags",
    "followtime",
    "accesstime",
    "createtime",
)
_RECORD_FIELDS = (
    UserTable.user_id,
    UserTable.user_name,
    UserTable.user_picture,
    UserTable.account_type,
    UserTable.account_status,
    UserTable.node_id,
    UserTable.tags,
    UserTable.follow_time,
    UserTable.access_time,
    UserTable.created_at,
)
_NAME_FIELDS = (UserTable.user_id, UserTable.user_name, UserTable.usrid_acstm)
_HISTORY_FIELDS = (
    VariableHistoryTable.place,
    VariableHistoryTable.user_id,
    VariableHistoryTable.variable,
    VariableHistoryTable.value,
    VariableHistoryTable.created_at,
)


def _start_read(value: Any, *, end: bool = False) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be a valid string")
    return times.read(value, end=end)


def _end_read(value: Any) -> Any:
    return _start_read(value, end=True)


class Period(AccountRequest):
    """The users whose last activity lies in a period, both ends included."""

    start_time: Annotated[datetime, BeforeValidator(_start_read)]
    end_time: Annotated[datetime, BeforeValidator(_end_read)]


class Download(View):
    """A link to a CSV file, good for an hour; it answers 202 while a large file is still being written."""

    download_url: str = Field(alias="download_url")


def chat_history(request: Period) -> Response:
    """Return the records of a period as CSV."""
    if request.start_time > request.end_time:
        raise Invalid([Flaw("startTime", "is after endTime")])
    order = Order(
        kind="getChatHistoryCsv",
        admin_id=request.admin_id,
        account_id=request.account_id,
        start=request.start_time,
        end=request.end_time,
    )
    return _inline(order)


def user_variables(request: AccountRequest, caller: Caller) -> Response:
    """Return what every user has filled in as CSV."""
    return _inline(_order("getUserVariableCsv", request, caller))


def report(request: AccountRequest, caller: Caller) -> Download:
    """Write the records of all users with what they have filled in."""
    return Download(download_url=exports.export(_order("getReportCsv", request, caller), pieces))


def user_history(request: AccountRequest, caller: Caller) -> Download:
    """Write every value that was ever stored."""
    return Download(download_url=exports.export(_order("getUserHistoryCsv", request, caller), pieces))


def _order(kind: exports.Kind, request: AccountRequest, caller: Caller) -> Order:
    return Order(
        kind=kind,
        admin_id=request.admin_id,
        account_id=request.account_id,
        names=[] if kind == "getUserHistoryCsv" else variables.names(request.partition),
        revealed=not caller.id.startswith("partner:"),
    )


def _inline(order: Order) -> Response:
    """Return the CSV itself, or lead to the file when it is more than an answer holds, or takes too long."""
    over = exports.deadline(exports.SECONDS_AT_ONCE)
    read: list[Piece] = []
    size = 0
    for piece in pieces(order, None):
        read.append(piece)
        size += answer_size(piece.text)
        if size > _INLINE_BYTES or (piece.key is not None and over()):
            url = exports.export(order, pieces, read, over)
            return Response(303, "", "text/plain; charset=utf-8", {"Location": url})
    return Response(200, "".join(piece.text for piece in read), CSV)


def pieces(order: Order, after: Item | None) -> Iterator[Piece]:
    """Yield the lines of an export, those behind a key or all of them with the header before."""
    sources: dict[exports.Kind, tuple[Sequence[str], Callable[[Order, Item | None], Iterator[Piece]]]] = {
        "getChatHistoryCsv": (_RECORD_COLUMNS, _records),
        "getReportCsv": ((*_RECORD_COLUMNS, *order.names), _report),
        "getUserHistoryCsv": (("userid", "username", "var_name", "value", "create_time"), _history),
        "getUserVariableCsv": (("username", "luid", *order.names), _variables),
    }
    columns, source = sources[order.kind]
    header = line(columns) if after is None else ""
    for text, rows, key in source(order, after):
        yield Piece(header + text, rows, key)
        header = ""


def _records(order: Order, after: Item | None) -> Iterator[Piece]:
    between = UserTable.access_time.between(order.start, order.end)
    while True:
        page, after = UserTable.query_items(
            order.partition, between, index=RecentlyActive, fields=_RECORD_FIELDS, limit=_ROWS_A_READ, after=after
        )
        yield Piece("".join([f"{_record(item)}\n" for item in page]), len(page), after)
        if after is None:
            return


def _record(item: Item) -> str:
    # Names in place of loops, and cells checked only where people's or partners' words stand: a million rows long.
    return (
        f"{cell(item['user_id']['S'])},{cell(item['user_name']['S'])},{cell(item['user_picture']['S'])},"
        f"{item['account_type']['S']},{item['account_status']['S']},{cell(item['node_id']['S'])},"
        f"{_tags(item['tags']['S'])},{shown(item['follow_time']['S'])},{shown(item['access_time']['S'])},"
        f"{shown(item['created_at']['S'])}"
    )


@lru_cache(maxsize=1024)
def _tags(stored: str) -> str:
    """Return the tags of a user as a cell; many users have the same."""
    tags = [{"name": tag["name"], "color": tag["color"]} for tag in json.loads(stored)]
    return cell(json.dumps(tags, ensure_ascii=False, separators=(",", ":")))


def _report(order: Order, after: Item | None) -> Iterator[Piece]:
    def text(user: Item, values: list[str]) -> str:
        return ",".join([_record(user), *map(cell, values)]) + "\n"

    return _with_variables(order, after, (*_RECORD_FIELDS, UserTable.usrid_acstm), text)


def _variables(order: Order, after: Item | None) -> Iterator[Piece]:
    def text(user: Item, values: list[str]) -> str:
        return line([user["user_name"]["S"], user["user_id"]["S"], *values])

    return _with_variables(order, after, _NAME_FIELDS, text)


def _with_variables(
    order: Order, after: Item | None, fields: Sequence[Any], text: Callable[[Item, list[str]], str]
) -> Iterator[Piece]:
    """Yield a line for each user of the list, by user id, with his variables out of his conversation."""
    while True:
        page, after = UserTable.query_items(order.partition, fields=fields, limit=_USERS_A_READ, after=after)
        states = _states(order.partition, [user["user_id"]["S"] for user in page]) if order.names else {}
        lines: list[str] = []
        size = sealed = 0
        for place, user in enumerate(page, 1):
            known = _known(user["user_id"]["S"], states)
            lines.append(text(user, _values(order, user["user_id"]["S"], known)))
            size += len(lines[-1])
            sealed += sum(isinstance(known.get(name), dict) for name in order.names)
            if (size > _PIECE_CHARACTERS or sealed >= _SEALED_A_PIECE) and place < len(page):
                yield Piece("".join(lines), len(lines), UserTable.key(order.partition, user["usrid_acstm"]["S"]))
                lines, size, sealed = [], 0, 0
        yield Piece("".join(lines), len(lines), after)
        if after is None:
            return


def _states(partition: str, user_ids: list[str]) -> dict[str, str]:
    """Return what is remembered of these users, as it is stored: a page of both tables spans the same ids."""
    if not user_ids:
        return {}
    wanted = set(user_ids)
    span = ConversationTable.user_id.between(min(user_ids), max(user_ids))
    fields = [ConversationTable.user_id, ConversationTable.state]
    items = ConversationTable.every_item(partition, span, fields=fields, limit=_ROWS_A_READ)
    return {item["user_id"]["S"]: item["state"]["B"] for item in items if item["user_id"]["S"] in wanted}


def _known(user_id: str, states: dict[str, str]) -> dict[str, Any]:
    """Return the variables of a user as they are stored."""
    packed = states.get(user_id)
    if packed is None:
        return {}
    # `ConversationTable.state` without the row's other attributes.
    known: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed))).get("variables", {})
    return known


def _values(order: Order, user_id: str, known: dict[str, Any]) -> list[str]:
    return [_value(order, user_id, name, known.get(name, "")) for name in order.names]


def _value(order: Order, user_id: str, name: str, value: Any) -> str:
    if isinstance(value, dict) and not order.revealed:
        return _HIDDEN
    return plain_value(order.admin_id, order.account_id, user_id, name, value)


def _history(order: Order, after: Item | None) -> Iterator[Piece]:
    while True:
        page, after = VariableHistoryTable.query_items(
            order.partition, fields=_HISTORY_FIELDS, limit=_ROWS_A_READ, after=after
        )
        names = _user_names(order.partition, {item["user_id"]["S"] for item in page})
        lines: list[str] = []
        sealed = 0
        for place, item in enumerate(page, 1):
            user_id, name = item["user_id"]["S"], item["variable"]["S"]
            stored = json.loads(item["value"]["S"])
            value = _value(order, user_id, name, stored)
            lines.append(line([user_id, names.get(user_id, ""), name, value, shown(item["created_at"]["S"])]))
            sealed += isinstance(stored, dict)
            if sealed >= _SEALED_A_PIECE and place < len(page):
                key = VariableHistoryTable.key(order.partition, item["place"]["S"])
                yield Piece("".join(lines), len(lines), key)
                lines, sealed = [], 0
        yield Piece("".join(lines), len(lines), after)
        if after is None:
            return


def _user_names(partition: str, user_ids: set[str]) -> dict[str, str]:
    """Return the names of these users, a hundred a request: a page of values has few users."""
    keys = [ConversationTable.key(partition, user_id) for user_id in sorted(user_ids)]
    items = rows_of(ConversationTable, keys, [ConversationTable.user_id, ConversationTable.user_name])
    return {item["user_id"]["S"]: item["user_name"]["S"] for item in items}
