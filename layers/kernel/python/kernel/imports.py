"""Imports: a CSV file is uploaded, looked through without writing anything, confirmed, and applied line by line.

A worker does both, for some minutes a message. Each line is claimed in the transaction that applies it, so it happens
once, however often a worker is cut off and the message comes again; what was found wrong before is left out.
"""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ValidationError
from pynamodb.attributes import JSONAttribute, TTLAttribute, UnicodeAttribute

from kernel import audit, clock, files, numbering, spreadsheets
from kernel.errors import Conflict, Fault, Invalid, NotFound
from kernel.files import Folder
from kernel.operations import flaws_of
from kernel.queues import Message, Queue
from kernel.running import logger
from kernel.tables import Change, ConditionFailed, Table, UtcTime, WholeNumber, commit, create

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from kernel.tables import Put

IMPORTS = Queue("imports", visibility=890, batch=1)
FILES = Folder("imports")
LARGEST = 32 * 1024 * 1024
MOST_LINES = 200_000
SECONDS_A_MESSAGE = 240.0
# So many lines are examined at once, and so many applied before that is noted.
TOGETHER = 100
NOTED_EVERY = 500
SHOWN = 20
# The claims of lines stay for as long as the message may come again.
_LIFE = timedelta(days=30)
# What has to be before a state that is asked for is on its way.
_FROM = {"checking": ("waiting", "checked", "failed"), "applying": ("checked",)}


class ImportTable(Table):
    """An import: `place` is the line up to which it was applied, `digest` that of the file that was looked through.

    `lines` are `good`, `existing` or `wrong`; of the good ones so many are `applied` or, after all, `refused`, and
    `sums` are what they bring together. What was applied before the file was checked again stays counted in `applied`.
    """

    name: ClassVar[str] = "imports"
    tenant = UnicodeAttribute(hash_key=True)
    id = WholeNumber(range_key=True)
    kind = UnicodeAttribute()
    state = UnicodeAttribute()
    step = WholeNumber(default=0)
    place = WholeNumber(default=0)
    lines = WholeNumber(default=0)
    good = WholeNumber(default=0)
    existing = WholeNumber(default=0)
    wrong = WholeNumber(default=0)
    applied = WholeNumber(default=0)
    refused = WholeNumber(default=0)
    sums = JSONAttribute(default=dict)
    errors = JSONAttribute(default=list)
    error_path = UnicodeAttribute(null=True)
    digest = UnicodeAttribute(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)

    @property
    def path(self) -> str:
        """Where its file is."""
        return f"{self.tenant}/{self.id}/lines.csv"


class ImportLineTable(Table):
    """A line of a file that was applied; `run` is the import and the digest of the file."""

    name: ClassVar[str] = "import-lines"
    run = UnicodeAttribute(hash_key=True)
    line = WholeNumber(range_key=True)
    expires = TTLAttribute()


class Problem(NamedTuple):
    """Why a line cannot be applied; `existing` when what it brings is there already."""

    message: str
    existing: bool = False


class Source(NamedTuple):
    """Whose import a line comes from, and which."""

    tenant: str
    id: int


class Kind(NamedTuple):
    """What a file may hold: `line` is the model of a line, whose aliases are the columns.

    `key` is what may stand in a file once only, `sums` what of a line is added up. `examine` says what is wrong with
    some lines, None for what is fine; `apply` commits the claim together with what the line brings, or raises a fault.
    """

    line: type[Any]
    key: Callable[[Any], Hashable]
    examine: Callable[[Source, Sequence[Any]], list[Problem | None]]
    apply: Callable[[Source, Any, Put], None]
    sums: Callable[[Any], Mapping[str, int]] = lambda line: {}


class ImportStep(BaseModel):
    """Go on with an import from its step."""

    tenant: str
    id: int
    step: int


class _Unusable(Exception):
    """The file as a whole cannot be read."""


class _Overtaken(Exception):
    """Somebody else has the same message, and is ahead."""


class _Line(NamedTuple):
    number: int
    record: Any
    problem: Problem | None = None


def begin(tenant: str, kind: str, size: int) -> tuple[ImportTable, str]:
    """Make an import and return it with the link to which its file is PUT, with exactly so many bytes."""
    if not 0 < size <= LARGEST:
        raise Invalid(f"A file has 1 to {LARGEST} bytes")
    row = ImportTable(tenant=tenant, id=numbering.take("imports"), kind=kind, state="waiting")
    commit(create(row), audit.entry(f"imports/{row.id}", before=None, after={"kind": kind, "size": size}))
    return row, files.upload_link(FILES, row.path, size)


def found(tenant: str, number: int) -> ImportTable:
    """Return an import."""
    row = ImportTable.find(tenant, number)
    if row is None:
        raise NotFound("There is no such import")
    return row


def advance(tenant: str, number: int, wanted: Literal["checked", "confirmed"]) -> ImportTable:
    """Have a file looked through, or what was found good in it applied; asked again it is seen to that it goes on."""
    row = found(tenant, number)
    going = "checking" if wanted == "checked" else "applying"
    if wanted == "confirmed" and row.state == "done":
        return row
    if row.state != going:
        if row.state not in _FROM[going]:
            raise Conflict(f"An import that is {row.state} cannot be {wanted}")
        if going == "applying" and not row.good:
            raise Conflict("There is no line that can be applied")
        entry = audit.entry(f"imports/{number}", before=row.state, after=_asked(row, going))
        commit(_change(row, state=going), entry)
    _send(row)
    return row


def _asked(row: ImportTable, going: str) -> dict[str, Any]:
    """Return what somebody answers for who moves an import on: once confirmed, for this very file and its sums."""
    if going == "checking":
        return {"state": going}
    return {"state": going, "digest": row.digest, "lines": row.lines, "good": row.good, "sums": row.sums}


def error_link(row: ImportTable) -> str | None:
    """Return a link to the file that names every line that is not applied, None when there is none."""
    return None if row.error_path is None else files.link(FILES, row.error_path)


def proceed(message: ImportStep, kinds: Mapping[str, Kind]) -> None:
    """Go on with an import; a message that comes again finds its step done and sees to the next one only."""
    row = ImportTable.find(message.tenant, message.id)
    if row is None or row.state not in _FROM:
        return
    if row.step == message.step:
        work = _examine if row.state == "checking" else _apply
        try:
            _worked(row, work, kinds[row.kind])
        except _Overtaken:
            return
    if row.state in _FROM:
        _send(row)


def _worked(row: ImportTable, work: Callable[[ImportTable, Kind], None], kind: Kind) -> None:
    try:
        work(row, kind)
    except _Unusable as problem:
        _save(row, state="failed", errors=[[0, str(problem)]])


def _examine(row: ImportTable, kind: Kind) -> None:
    data = _data(row)
    problems: list[tuple[int, Problem]] = []
    counts = {"lines": 0, "good": 0, "existing": 0, "wrong": 0}
    sums: Counter[str] = Counter()
    source = Source(row.tenant, row.id)
    for some in _examined(source, data, kind):
        counts["lines"] += len(some)
        for line in some:
            if line.problem is None:
                counts["good"] += 1
                sums.update(kind.sums(line.record))
            else:
                counts["existing" if line.problem.existing else "wrong"] += 1
                problems.append((line.number, line.problem))
        if counts["lines"] > MOST_LINES:
            raise _Unusable(f"The file has more than {MOST_LINES} lines")
    told = [[number, problem.message] for number, problem in problems]
    _save(
        row,
        state="checked",
        digest=hashlib.sha256(data).hexdigest(),
        place=0,
        refused=0,
        sums=dict(sums),
        errors=told[:SHOWN],
        error_path=_written(row, told),
        **counts,
    )


def _examined(source: Source, data: bytes, kind: Kind) -> Iterator[list[_Line]]:
    """Yield the lines with what is wrong with each, some at a time."""
    seen: set[Hashable] = set()
    batch: list[_Line] = []
    for line in _lines(data, kind):
        if line.problem is None:
            key = kind.key(line.record)
            if key in seen:
                line = line._replace(problem=Problem("stands in the file twice"))
            seen.add(key)
        batch.append(line)
        if len(batch) == TOGETHER:
            yield _judged(source, kind, batch)
            batch = []
    if batch:
        yield _judged(source, kind, batch)


def _judged(source: Source, kind: Kind, batch: list[_Line]) -> list[_Line]:
    fine = [line for line in batch if line.problem is None]
    verdicts = dict(zip((line.number for line in fine), _verdicts(source, kind, fine), strict=True))
    return [line._replace(problem=line.problem or verdicts[line.number]) for line in batch]


def _verdicts(source: Source, kind: Kind, fine: list[_Line]) -> list[Problem | None]:
    return kind.examine(source, [line.record for line in fine]) if fine else []


def _apply(row: ImportTable, kind: Kind) -> None:
    data = _data(row)
    if hashlib.sha256(data).hexdigest() != row.digest:
        raise _Unusable("The file is not the one that was checked")
    told = _told(row)
    left_out = {number for number, _ in told}
    source = Source(row.tenant, row.id)
    # Another file under the same import would have other lines of the same numbers.
    run = f"{row.tenant}#{row.id}#{row.digest}"
    until = time.monotonic() + SECONDS_A_MESSAGE
    place, applied, refused, noted = row.place, row.applied, row.refused, len(told)

    def note(state: str) -> None:
        nonlocal noted
        more: dict[str, Any] = {}
        if len(told) > noted:
            more = {"errors": told[:SHOWN], "error_path": _written(row, told)}
            noted = len(told)
        _save(row, state=state, place=place, applied=applied, refused=refused, **more)

    for line in _lines(data, kind):
        if line.number <= row.place or line.number in left_out:
            continue
        if refusal := _apply_line(source, kind, line, run):
            refused += 1
            told.append([line.number, refusal])
        else:
            applied += 1
        place = line.number
        if (applied + refused) % NOTED_EVERY == 0:
            note("applying")
        if time.monotonic() >= until:
            note("applying")
            return
    note("done")


def _apply_line(source: Source, kind: Kind, line: _Line, run: str) -> str | None:
    """Apply a line and return None, or why it cannot be applied."""
    claim = create(ImportLineTable(run=run, line=line.number, expires=clock.now() + _LIFE))
    try:
        kind.apply(source, line.record, claim)
    except Fault as fault:
        # What stands in the way may be what this very line brought, before somebody was cut off.
        return None if ImportLineTable.find(run, line.number) else fault.message
    except (ArithmeticError, TypeError, ValueError):
        # One line that nobody foresaw must not hold up those behind it.
        logger().exception("line cannot be applied", import_id=source.id, line=line.number)
        return "cannot be applied"
    return None


def _data(row: ImportTable) -> bytes:
    stored = files.get(FILES, row.path)
    if stored is None:
        raise _Unusable("There is no file yet")
    if len(stored.data) > LARGEST:
        raise _Unusable(f"The file has more than {LARGEST} bytes")
    return stored.data


def _lines(data: bytes, kind: Kind) -> Iterator[_Line]:
    """Yield the lines of a file (RFC 4180, UTF-8), each numbered as an editor numbers where it ends."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, kind)
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(header):
                yield _Line(reader.line_num, None, Problem(f"has {len(cells)} cells instead of {len(header)}"))
                continue
            named = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            try:
                record = kind.line.model_validate(named)
            except ValidationError as problem:
                told = "; ".join(map(str, flaws_of(problem)))
                yield _Line(reader.line_num, None, Problem(told))
            else:
                yield _Line(reader.line_num, record)
    except UnicodeDecodeError:
        raise _Unusable("The file is not UTF-8 text") from None
    except csv.Error as problem:
        raise _Unusable(f"Line {reader.line_num} cannot be read: {problem}") from None


def _check_header(header: Sequence[str], kind: Kind) -> None:
    fields = {field.alias or name: field for name, field in kind.line.model_fields.items()}
    missing = [name for name, field in fields.items() if field.is_required() and name not in header]
    strange = [name for name in header if name not in fields]
    if missing or strange or len(set(header)) < len(header):
        raise _Unusable(f"The first line must name the columns, each once, of: {', '.join(fields)}")


def _written(row: ImportTable, told: Sequence[Sequence[Any]]) -> str | None:
    """Store the file that names the lines that are not applied, and return where it is."""
    if not told:
        return None
    text = "".join(spreadsheets.line(map(str, cells)) for cells in (("line", "message"), *told))
    path = f"{row.tenant}/{row.id}/errors-{row.step}.csv"
    files.put(FILES, path, text.encode(), spreadsheets.CSV)
    return path


def _told(row: ImportTable) -> list[list[Any]]:
    """Return what the file says of the lines that are not applied."""
    if row.error_path is None:
        return []
    stored = files.get(FILES, row.error_path)
    if stored is None:
        raise _Unusable("What was found wrong is known no more; have the file checked again")
    rows = csv.reader(io.StringIO(stored.data.decode(), newline=""))
    next(rows)
    return [[int(number), message] for number, message in rows]


def _save(row: ImportTable, **values: Any) -> None:
    """Write the next step; raises _Overtaken."""
    try:
        commit(_change(row, **values))
    except ConditionFailed:
        raise _Overtaken from None


def _change(row: ImportTable, **values: Any) -> Change:
    """Return the write of the next step, unless somebody else wrote it; the row takes the values at once."""
    same = (ImportTable.step == row.step) & (ImportTable.state == row.state)
    values |= {"step": row.step + 1, "updated_at": clock.now()}
    attributes = ImportTable.get_attributes()
    actions = []
    for name, value in values.items():
        setattr(row, name, value)
        actions.append(attributes[name].remove() if value is None else attributes[name].set(value))
    return Change(ImportTable, row.own_key(), actions, same)


def _send(row: ImportTable) -> None:
    step = ImportStep(tenant=row.tenant, id=row.id, step=row.step)
    group = f"{row.tenant}#{row.id}"
    IMPORTS.send([Message(step.model_dump(), group, f"{group}#{row.step}")])
