"""Exports: CSV files of any size, written page by page and fetched with a signed link.

Whoever asks writes for some seconds; what is not finished by then goes on in a worker, part by part. After every part
the row of the export tells where to go on, so a crash loses at most one part, and a message that comes again finds
its step done. A file is never readable without its link; it is removed for good when the users' data is erased.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel

from chatbot.tables import ExportTable, account_key
from kernel import clock, files, wire
from kernel.envelopes import Response, json_text
from kernel.errors import Conflict, Invalid, NotFound, Unauthorized
from kernel.files import FileRefused, Folder, Upload
from kernel.queues import Message, Queue
from kernel.running import current
from kernel.settings import settings
from kernel.signed import seal, unseal
from kernel.spreadsheets import CSV
from kernel.tables import Change, ConditionFailed, Delete, Item, commit, create

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.auth import Incoming

EXPORTS = Queue("exports", visibility=890, batch=1)
FILES = Folder("exports")
# How long whoever asks writes himself, of the 29 seconds that the gateway waits, and how long a message is worked on.
SECONDS_AT_ONCE = 15.0
SECONDS_A_MESSAGE = 240.0
_TICKET_SECONDS = 3600
# A day longer than the store keeps the file.
_LIFE = timedelta(days=8)
_ASK_AGAIN = "5"
_ATTEMPTS = 4

Kind = Literal["getChatHistoryCsv", "getReportCsv", "getUserHistoryCsv", "getUserVariableCsv"]


class Order(BaseModel):
    """What is to be exported; the variables' names stay those of the beginning, because they are the columns."""

    kind: Kind
    admin_id: str
    account_id: str
    names: list[str] = []
    # Whether variables that are kept encrypted are shown, which only the owner may see.
    revealed: bool = False
    start: datetime | None = None
    end: datetime | None = None

    @property
    def partition(self) -> str:
        """The key under which everything of the channel is stored."""
        return account_key(self.admin_id, self.account_id)


class Piece(NamedTuple):
    """Some lines, and the key after which the next ones come, None behind the last."""

    text: str
    rows: int
    key: Item | None


Source = Callable[[Order, Item | None], Iterator[Piece]]


class ExportStep(BaseModel):
    """Go on with an export from its step; the path is there for a file whose row is gone."""

    account: str
    export_id: str
    path: str
    step: int


class Ticket(NamedTuple):
    """Whose export may be fetched, and which."""

    account: str
    export_id: str


class _Gone(Exception):
    """The export is not to be written any more, or somebody else goes on with it."""


@dataclass
class _Writing:
    """An export that is being written: its row as it was saved last, and the lines not stored yet."""

    account: str
    export_id: str
    path: str
    step: int
    order: Order
    key: Item | None = None
    upload: Upload | None = None
    stored_rows: int = 0
    rows: int = 0
    held: list[bytes] = field(default_factory=list)
    size: int = 0

    def take(self, pieces: Iterable[Piece], over: Callable[[], bool], *, whole_parts: bool) -> bool:
        """Write pieces until they end (True) or the time is over; with `whole_parts` that is looked at after a part."""
        for piece in pieces:
            data = piece.text.encode()
            self.held.append(data)
            self.size += len(data)
            self.rows += piece.rows
            if piece.key is None:
                self._finish()
                return True
            stored = self.size >= files.PART_BYTES
            if stored:
                self._store_part()
                self.key, self.stored_rows = piece.key, self.rows
                self._save(ExportTable.progress.set(self._progress()))
            if (stored or not whole_parts) and over():
                return False
        raise AssertionError("the last piece has no key")

    def _store_part(self) -> None:
        if self.upload is None:
            self.upload = files.start_upload(FILES, self.path, CSV)
            # Known before it holds anything, so that it is found when the users are erased.
            self._save(ExportTable.progress.set(self._progress()))
        self.upload = files.add_part(FILES, self.upload, b"".join(self.held))
        self.held, self.size = [], 0

    def _finish(self) -> None:
        if self.upload is None:
            version = files.put(FILES, self.path, b"".join(self.held), CSV)
        else:
            if self.size:
                self._store_part()
            version = files.finish_upload(FILES, self.upload)
        self.ready(version)

    def ready(self, version: str) -> None:
        """Note that the file is there; when its row is gone meanwhile, the file goes too."""
        done = [ExportTable.state.set("ready"), ExportTable.file_version.set(version)]
        self._save(*done, ExportTable.progress.set({"rows": self.rows}))

    def _save(self, *actions: Any) -> None:
        key = ExportTable.key(self.account, self.export_id)
        condition = (ExportTable.state == "writing") & (ExportTable.step == self.step)
        try:
            commit(Change(ExportTable, key, [*actions, ExportTable.step.set(self.step + 1)], condition))
        except ConditionFailed:
            if ExportTable.find(self.account, self.export_id) is None:
                if self.upload is not None:
                    _abort(self.upload)
                erase_file(self.path)
            raise _Gone from None
        self.step += 1

    def _progress(self) -> dict[str, Any]:
        upload = None if self.upload is None else [self.upload.upload_id, list(self.upload.parts)]
        order = self.order.model_dump(mode="json")
        return {"order": order, "key": self.key, "upload": upload, "rows": self.stored_rows}

    def send(self) -> None:
        """Let the worker go on from what is saved."""
        step = ExportStep(account=self.account, export_id=self.export_id, path=self.path, step=self.step)
        _send(step)


def export(order: Order, source: Source, first: Iterable[Piece] = (), over: Callable[[], bool] | None = None) -> str:
    """Write a file and return the link to it; `first` are pieces of it that were read before, until `over` if given.

    A file that takes longer than some seconds is written on by the worker. Its link is one of ours then: GET answers
    202 while it is being written, and leads to the file when it is there. Links work for an hour.
    """
    over = over or deadline(SECONDS_AT_ONCE)
    writing = _begun(order)
    try:
        if writing.take(_following(order, source, first), over, whole_parts=False):
            return files.link(FILES, writing.path)
    except _Gone:
        raise Conflict("the users' data was erased meanwhile") from None
    writing.send()
    ticket = seal("export", [writing.account, writing.export_id, _seconds() + _TICKET_SECONDS])
    return f"{settings().public_url}/exports/{ticket}"


def _following(order: Order, source: Source, first: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the pieces that were read before, then those behind them."""
    key: Item | None = None
    for piece in first:
        yield piece
        key = piece.key
        if key is None:
            return
    yield from source(order, key)


def _begun(order: Order) -> _Writing:
    export_id = str(uuid.uuid4())
    stamp = clock.now().strftime("%Y%m%d%H%M%S")
    # An adminId may hold anything but '#'; a plain one keeps the documented name.
    owner = quote(order.admin_id, safe="")
    path = f"{order.kind}/{export_id}/{owner}_{order.account_id}_{stamp}.csv"
    writing = _Writing(order.partition, export_id, path, 0, order)
    row = ExportTable(
        account=order.partition,
        export_id=export_id,
        kind=order.kind,
        path=path,
        state="writing",
        progress=writing._progress(),
        file_version="",
        step=0,
        expires=clock.now() + _LIFE,
    )
    # Before the first byte is stored, so that no file is ever unknown.
    commit(create(row))
    return writing


def proceed(step: ExportStep, source: Source) -> None:
    """Go on with an export; a message that comes again finds its step done and sees to the next one only."""
    row = ExportTable.find(step.account, step.export_id)
    if row is None:
        # Erased, maybe just when the file was made.
        erase_file(step.path)
        return
    if row.state != "writing":
        return
    writing = _resumed(row)
    if row.step != step.step:
        writing.send()
        return
    try:
        if not _written_on(writing, source):
            writing.send()
    except _Gone:
        # Somebody else saved a step, and may have died before he sent the next message.
        row = ExportTable.find(step.account, step.export_id)
        if row is not None and row.state == "writing":
            _resumed(row).send()
    except Exception:
        if current().attempt >= EXPORTS.attempts:
            _give_up(writing)
        raise


def _written_on(writing: _Writing, source: Source) -> bool:
    pieces = source(writing.order, writing.key)
    try:
        return writing.take(pieces, deadline(SECONDS_A_MESSAGE), whole_parts=True)
    except FileRefused:
        # Maybe there is no such upload, because a run before this one made the file and could not note it any more.
        version = _version(writing.path)
        if version is None:
            raise
        writing.ready(version)
        return True


def _resumed(row: ExportTable) -> _Writing:
    saved = row.progress
    upload = saved["upload"] and Upload(row.path, saved["upload"][0], tuple(saved["upload"][1]))
    return _Writing(
        account=row.account,
        export_id=row.export_id,
        path=row.path,
        step=int(row.step),
        order=Order.model_validate(saved["order"]),
        key=saved["key"],
        upload=upload,
        stored_rows=saved["rows"],
        rows=saved["rows"],
    )


def _give_up(writing: _Writing) -> None:
    key = ExportTable.key(writing.account, writing.export_id)
    failed = [ExportTable.state.set("failed"), ExportTable.progress.set({"rows": writing.stored_rows})]
    commit(Change(ExportTable, key, failed, ExportTable.state == "writing"))
    if writing.upload is not None:
        _abort(writing.upload)


def ticket_of(incoming: Incoming) -> Ticket:
    """Return what the ticket in the path says; a forged one, or one older than an hour, opens nothing."""
    try:
        account, export_id, until = unseal("export", incoming.path.get("ticket", ""), "ticket")
    except Invalid:
        raise Unauthorized from None
    if until <= _seconds():
        raise Unauthorized
    return Ticket(account, export_id)


def fetched(ticket: Ticket) -> Response:
    """Lead to the file when it is there; 202 and the number of rows while it is being written."""
    row = ExportTable.find(ticket.account, ticket.export_id)
    if row is None:
        raise NotFound("export not found")
    if row.state == "failed":
        raise Conflict("the export failed; ask for it again")
    if row.state == "ready":
        return Response(302, "", "text/plain; charset=utf-8", {"Location": files.link(FILES, row.path)})
    result = {"state": "writing", "rows": row.progress["rows"]}
    body = {"ErrorCode": 200, "ErrorMessage": "ok", "Result": result}
    return Response(202, json_text(body), headers={"Retry-After": _ASK_AGAIN})


def erase(row: ExportTable) -> None:
    """Remove an export for good: what is stored of it, then its row, which stops whoever is writing."""
    for attempt in range(1, _ATTEMPTS + 1):
        upload = row.progress.get("upload")
        if upload:
            _abort(Upload(row.path, upload[0]))
        if row.file_version:
            files.remove(FILES, row.path, row.file_version)
        erase_file(row.path)
        try:
            commit(Delete(ExportTable, row.own_key(), ExportTable.step == row.step))
            return
        except ConditionFailed:
            # A part was stored meanwhile.
            found = ExportTable.find(row.account, row.export_id)
            if found is None:
                return
            if attempt == _ATTEMPTS:
                raise
            row = found


def erase_file(path: str) -> None:
    """Remove a file with all its versions; one that is not there is fine."""
    while (version := _version(path)) is not None:
        files.remove(FILES, path, version)


def _version(path: str) -> str | None:
    """Return the newest version of a file, None when there is no file; only its first byte travels."""
    reply = wire.send("GET", files.link(FILES, path), {"range": "bytes=0-0"})
    # Who may not list the bucket is not told that a file is missing.
    if reply.status in (403, 404):
        return None
    if reply.status not in (200, 206):
        raise FileRefused("GetObject", reply.status, "")
    return reply.headers.get("x-amz-version-id") or ""


def _abort(upload: Upload) -> None:
    try:
        files.abort_upload(FILES, upload)
    except FileRefused as problem:
        # It is finished already, or thrown away.
        if problem.status != 404:
            raise


def _send(step: ExportStep) -> None:
    EXPORTS.send([Message(step.model_dump(mode="json"), step.export_id, f"{step.export_id}#{step.step}")])


def _seconds() -> int:
    return int(clock.now().timestamp())


def deadline(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so many seconds from now are over."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until
