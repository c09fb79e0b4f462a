"""Seals: every finished day of a merchant's ledger, signed and chained to the day before.

The leaves of a day are its entries' ids and digests, one a line, kept as a file. The seal holds the digest of that file
with the sums of the day and the root of the day before; its own root is the digest of all this, and is signed. Days on
which nothing happened are sealed too: an entry that is slipped into one is found like any other.

A day with something wrong in it is sealed as it is, so that the chain goes on; its seal says so by the digest of what
was found, and the day is looked at as a whole in every proof.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel import certificates, clock, files
from kernel.envelopes import json_text
from kernel.files import Folder
from kernel.tables import Change, ConditionFailed, commit, create
from membership.api import SHANGHAI, day_of, iso_utc
from membership.evidence import OF_INDEX, PAGE, UNREADABLE, Finding, is_number, judge, settled, totals
from membership.ledger import Kind, card_subject, digest_of, holding_subject, merchant_day
from membership.shift_proofs import Shifts
from membership.tables import CardTable, EntryTable, HoldingTable, ProofTurnTable, SealTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kernel.tables import Item
    from membership.evidence import Judged

LEAVES = Folder("seals")
# Longer than a function may take to write what it began before midnight, and than an index may lag behind.
_QUIET = timedelta(minutes=15)
# In so many nights every sealed day is compared with its entries.
_ROUND = 30
# No merchant is older; a seal that says so is none.
_EARLIEST = "20200101"
_LINES = "application/jsonl; charset=utf-8"
# What the first entry of a card, and any gift of coupons, is looked at for: whether there is such a card or holding.
_FIRST = frozenset({Kind.OPENING, Kind.CARRY_OVER, Kind.COUPON_GIFT})


class Leaf(NamedTuple):
    """An entry as a seal keeps it."""

    entry_id: str
    digest: str


class Link(NamedTuple):
    """Where the chain of seals is: the next day, the root before it (None when unknown), the last day sealed before.

    `whole` is whether a day may still be sealed: none is behind one that could not be. `last_root` is the root of the
    last day's seal as it was noted when that was made.
    """

    day: str
    root: str | None
    last: str
    whole: bool = True
    last_root: str | None = None


@dataclass
class Day:
    """What the ledger holds of one day."""

    merchant_id: int
    day: str
    entries: int = 0
    lines: list[bytes] = field(default_factory=list)
    balances: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    is_sealed: bool = False
    was_read: bool = True

    def __post_init__(self) -> None:
        self.shifts = Shifts(self.merchant_id, self.day)
        self.leaves = hashlib.sha256()

    @property
    def sums(self) -> dict[str, int]:
        """What each account gained that day."""
        return totals(self.balances.items())


def begin(merchant_id: int) -> tuple[Link | None, list[Finding]]:
    """Return where the proof of a merchant's days begins, None when nothing ever happened, and seals of no day."""
    stored = [item["day"]["S"] for item in SealTable.every_item(merchant_id, fields=[SealTable.day], consistent=True)]
    today = day_of(clock.now())
    sealed = [day for day in stored if _is_day(day) and _EARLIEST <= day <= today]
    findings = [Finding("seal_of_no_day", _subject(day), day=day) for day in stored if day not in sealed]
    newest, root = _newest(merchant_id, today)
    last = max([newest, *sealed])
    last_root = root if last == newest else None
    if sealed:
        return Link(sealed[0], "", last, last_root=last_root), findings
    # Ids are taken before entries are written, so that the one before may be of another day.
    days = [_shifted(day, -1) for day in _first_days(merchant_id)]
    days += [newest] if newest else []
    return Link(min(days), "", last, last_root=last_root) if days else None, findings


def _newest(merchant_id: int, today: str) -> tuple[str, str | None]:
    """Return the day and the root of the newest seal as they were noted when it was made; no day when none was."""
    noted = ProofTurnTable.find(merchant_id)
    if noted is None or noted.sealed_day is None:
        return "", None
    day = str(noted.sealed_day)
    return (day, noted.sealed_root) if _is_day(day) and _EARLIEST <= day <= today else ("", None)


def _first_days(merchant_id: int) -> Iterator[str]:
    cards = CardTable.query_items(merchant_id, index=type(CardTable.by_merchant), limit=1).rows
    holdings = HoldingTable.query_items(merchant_id, index=type(HoldingTable.by_merchant), limit=1).rows
    subjects = [card_subject(int(row["id"]["N"])) for row in cards]
    subjects += [holding_subject(int(row["num"]["N"])) for row in holdings]
    for subject in subjects:
        for item in EntryTable.query_items(subject, limit=1, consistent=True).rows:
            day = item["merchant_day"]["S"].rpartition("#")[2]
            if _is_day(day) and _EARLIEST <= day <= day_of(clock.now()):
                yield day


def finished(day: str) -> bool:
    """Tell whether nothing can be added to a day any more."""
    return _midnight(_shifted(day, 1)) + _QUIET <= clock.now()


def prove_day(merchant_id: int, link: Link, *, thorough: bool) -> tuple[Day, Link | None]:
    """Prove one day against its seal, or seal it; return what it holds, and the next day if that is not to come yet.

    Unless `thorough`, of most sealed days only the chain is looked at: each has its turn once in thirty days.
    """
    day, last, last_root, whole = link.day, link.last, link.last_root, link.whole
    root: str | None
    seal = next(iter(SealTable.query_items(merchant_id, SealTable.day == day, limit=1, consistent=True).rows), None)
    if seal is not None and not thorough and not _has_its_turn(day) and "findings" not in seal:
        book, root = _in_chain(merchant_id, link, seal)
        book.is_sealed = True
    elif seal is not None:
        book, root = _against_seal(merchant_id, link, seal)
        book.is_sealed = True
    elif day <= last and finished(day):
        book = _read(merchant_id, day, everybody=False)
        book.findings.append(Finding("seal_missing", _subject(day), day=day))
        root = None
    elif not finished(day):
        book, root = _unfinished(merchant_id, day), link.root
    else:
        book = _read(merchant_id, day, everybody=True)
        book.findings += book.shifts.findings(everywhere=True)
        root = _seal(book, link.root) if whole else None
        book.is_sealed = whole = root is not None
    if day == last and last_root is not None and root != last_root:
        if root is not None:
            book.findings.append(Finding("seal_changed", _subject(day), None, day, "root", last_root, root))
        # Whatever became of the seal, the next day's has to follow the one that was made.
        root = last_root
    following = _shifted(day, 1)
    if following > day_of(clock.now()):
        return book, None
    return book, Link(following, root, last, whole, last_root)


def _unfinished(merchant_id: int, day: str) -> Day:
    """Return a day that goes on: what the index does not show yet is no finding."""
    book = Day(merchant_id, day)

    def look() -> tuple[bool, list[Finding]]:
        nonlocal book
        before = book.shifts.stamp()
        book = _read(merchant_id, day, everybody=True)
        found = [*book.findings, *book.shifts.findings(everywhere=True)]
        return not before or before == book.shifts.stamp(), found

    book.findings = settled(_subject(day), look, alike=3, pauses=OF_INDEX)
    return book


def _read(merchant_id: int, day: str, *, everybody: bool, leaves: Iterator[Leaf] | None = None) -> Day:
    """Read the entries of a day; with `everybody` it is looked up for each whether its card or coupon is there."""
    book = Day(merchant_id, day)
    leaf = next(leaves, None) if leaves is not None else None
    for judged in _entries(merchant_id, day):
        line = _line(judged)
        book.entries += 1
        book.leaves.update(line)
        book.findings += [one._replace(day=day) for one in judged.findings]
        if judged.row is not None:
            _add(book, judged.row, everybody=everybody)
        if leaves is None:
            book.lines.append(line)
            continue
        digest = json.loads(line)[1]
        while leaf is not None and leaf.entry_id < judged.entry_id:
            book.findings.append(Finding("entry_removed", "", leaf.entry_id, day))
            leaf = next(leaves, None)
        if leaf is None or leaf.entry_id != judged.entry_id:
            book.findings.append(Finding("entry_inserted", judged.subject, judged.entry_id, day))
            continue
        if leaf.digest != digest:
            book.findings.append(
                Finding("entry_not_as_sealed", judged.subject, judged.entry_id, day, "digest", leaf.digest, digest)
            )
        leaf = next(leaves, None)
    while leaves is not None and leaf is not None:
        book.findings.append(Finding("entry_removed", "", leaf.entry_id, day))
        leaf = next(leaves, None)
    book.findings += [one._replace(day=day) for one in _orphans(book)]
    return book


def _add(book: Day, row: EntryTable, *, everybody: bool) -> None:
    try:
        book.shifts.add(row)
        for source, target, amount in row.moves:
            book.balances[source] = book.balances.get(source, 0) - amount
            book.balances[target] = book.balances.get(target, 0) + amount
    except UNREADABLE:
        book.findings.append(Finding("entry_out_of_balance", row.subject, row.entry_id, book.day, "moves"))
    if everybody or row.kind in _FIRST:
        book.subjects.setdefault(row.subject, row.entry_id)


def _entries(merchant_id: int, day: str) -> Iterator[Judged]:
    key = merchant_day(merchant_id, day)
    for item in EntryTable.every_item(key, index=type(EntryTable.by_day), limit=PAGE):
        yield judge(item)


def _line(judged: Judged) -> bytes:
    digest = "" if judged.row is None else digest_of(judged.row)
    return json_text([judged.entry_id, digest]).encode() + b"\n"


def _orphans(book: Day) -> Iterator[Finding]:
    """Yield a finding for each entry whose card or coupon is not there, or belongs to somebody else."""
    for subject, entry_id in book.subjects.items():
        kind, _, number = subject.partition("#")
        owners: Iterable[Item] = ()
        if kind == "card" and is_number(number):
            owners = CardTable.query_items(int(number), index=type(CardTable.by_id), limit=1).rows
        elif is_number(number):
            owners = HoldingTable.query_items(int(number), index=type(HoldingTable.by_number), limit=1).rows
        if [int(owner["merchant_id"]["N"]) for owner in owners] != [book.merchant_id]:
            yield Finding("entry_of_nothing", subject, entry_id)


def _against_seal(merchant_id: int, link: Link, item: Item) -> tuple[Day, str | None]:
    """Compare a day with its seal; returns the root that the next day's seal has to name."""
    day, subject = link.day, _subject(link.day)
    stored = files.get(LEAVES, _path(merchant_id, day))
    data = b"" if stored is None else stored.data
    wrong_before = "findings" in item
    book = _read(merchant_id, day, everybody=wrong_before, leaves=_leaves(data))
    book.findings += book.shifts.findings(everywhere=wrong_before)
    seal, good = _judged(item)
    if seal is None:
        book.findings.append(Finding("seal_changed", subject, day=day))
        return book, None
    good = good and certificates.certified(statement(seal), seal.signature)
    if not good:
        expected = {
            "previous": link.root,
            "entries": book.entries,
            "totals": book.sums,
            "leaves": book.leaves.hexdigest(),
        }
        wrong = [name for name, value in expected.items() if value is not None and getattr(seal, name) != value]
        # Where all that can be recomputed is right, it is the root, the time or the signature.
        book.findings += [Finding("seal_changed", subject, day=day, attribute=name) for name in wrong or ["signature"]]
    book.findings += _chained(link, seal, good=good)
    if hashlib.sha256(data).hexdigest() != seal.leaves:
        book.findings.append(Finding("leaves_changed" if stored else "leaves_missing", subject, day=day))
        if book.leaves.hexdigest() == seal.leaves:
            # The entries are as they were sealed, so what differs from them is the file.
            book.findings = [one._replace(what=_IN_FILE.get(one.what, one.what)) for one in book.findings]
    return book, seal.root


def _in_chain(merchant_id: int, link: Link, item: Item) -> tuple[Day, str | None]:
    """Look at a day's seal alone: whether it is whole and follows the one before."""
    book = Day(merchant_id, link.day, was_read=False)
    seal, good = _judged(item)
    if seal is None or not good:
        book.findings.append(Finding("seal_changed", _subject(link.day), day=link.day))
    if seal is None:
        return book, None
    book.findings += _chained(link, seal, good=good)
    return book, seal.root


def _judged(item: Item) -> tuple[SealTable | None, bool]:
    """Read a stored seal and tell whether its root is that of what it states; None when it cannot be read."""
    try:
        seal = SealTable.of_item(item)
        return seal, seal.root == root_of(seal) and seal.item() == item
    except UNREADABLE:
        return None, False


def _chained(link: Link, seal: SealTable, *, good: bool) -> list[Finding]:
    """Tell whether a seal follows the one before; a good one that begins in the middle has lost what was before."""
    if good and link.root == "" and seal.previous:
        before = _shifted(link.day, -1)
        return [Finding("seal_missing", _subject(before), day=before)]
    if link.root is not None and seal.previous != link.root:
        return [Finding("chain_broken", _subject(link.day), None, link.day, "previous", link.root, seal.previous)]
    return []


def _has_its_turn(day: str) -> bool:
    """Tell whether a day is one of those that are compared with their entries tonight."""
    return (clock.now() - _midnight(day)).days % _ROUND == 1


_IN_FILE = {
    "entry_not_as_sealed": "leaf_changed",
    "entry_removed": "leaf_inserted",
    "entry_inserted": "leaf_removed",
}


def _seal(book: Day, previous: str | None) -> str | None:
    """Seal a finished day as it is and return its root; it stays open when it is not known what it follows."""
    path, data = _path(book.merchant_id, book.day), b"".join(book.lines)
    if previous is None:
        book.findings.append(Finding("not_sealed", _subject(book.day), day=book.day))
        return None
    kept = files.get(LEAVES, path)
    if kept is None:
        files.put(LEAVES, path, data, _LINES)
    elif kept.data != data:
        # Somebody took the seal away; what it was made of is still there, and says something else.
        book.findings.append(Finding("sealed_otherwise_before", _subject(book.day), day=book.day))
        return None
    row = SealTable(
        merchant_id=book.merchant_id,
        day=book.day,
        previous=previous,
        root="",
        leaves=book.leaves.hexdigest(),
        entries=book.entries,
        totals=book.sums,
        findings=_digest(book.findings) if book.findings else None,
        sealed_at=clock.now(),
        signature="",
    )
    row.root = root_of(row)
    row.signature = certificates.certify(statement(row))
    noted = [ProofTurnTable.sealed_day.set(row.day), ProofTurnTable.sealed_root.set(row.root)]
    newer = ProofTurnTable.sealed_day.does_not_exist() | (ProofTurnTable.sealed_day < row.day)
    try:
        commit(create(row), Change(ProofTurnTable, ProofTurnTable.key(book.merchant_id), noted, newer))
    except ConditionFailed:
        # Another proof was faster; the next one compares what it sealed.
        sealed = SealTable.find(book.merchant_id, book.day)
        if sealed is None:
            book.findings.append(Finding("not_sealed", _subject(book.day), day=book.day))
            return None
        return str(sealed.root)
    return str(row.root)


def statement(row: SealTable) -> bytes:
    """Return what a seal states, as it is signed."""
    said: dict[str, Any] = {
        "merchantId": row.merchant_id,
        "day": row.day,
        "previous": row.previous,
        "leaves": row.leaves,
        "entries": row.entries,
        "totals": row.totals,
        "sealedAt": iso_utc(row.sealed_at),
    }
    if row.findings is not None:
        said["findings"] = row.findings
    return json_text(said).encode()


def root_of(row: SealTable) -> str:
    """Return the root that belongs to what a seal states."""
    return hashlib.sha256(statement(row)).hexdigest()


def _leaves(data: bytes) -> Iterator[Leaf]:
    for line in data.splitlines():
        try:
            leaf = Leaf(*map(str, json.loads(line)))
        except (TypeError, ValueError, RecursionError):
            # The file's digest tells that it was changed.
            continue
        # Half of a character beyond the first 65,536 can be said in JSON, but not told on.
        if leaf.entry_id.isascii() and leaf.digest.isascii():
            yield leaf


def _digest(findings: list[Finding]) -> str:
    return hashlib.sha256(json_text(findings).encode()).hexdigest()


def _subject(day: str) -> str:
    return f"seal#{day}"


def _path(merchant_id: int, day: str) -> str:
    return f"{merchant_id}/{day}.jsonl"


def _is_day(text: str) -> bool:
    try:
        return f"{_midnight(text):%Y%m%d}" == text
    except ValueError:
        return False


def _midnight(day: str) -> datetime:
    return datetime.strptime(day, "%Y%m%d").replace(tzinfo=SHANGHAI)


def _shifted(day: str, days: int) -> str:
    return f"{_midnight(day) + timedelta(days=days):%Y%m%d}"
