"""Proofs of a merchant's books: every card, every coupon in a customer's hands and every day, in resumable steps.

A proof is a row that tells how far it is; a message makes it go on. After every chunk the row is saved under the number
of its step, so that a message that comes again finds its step done, and a crash loses one chunk at most.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field

from kernel import clock, ids
from kernel.queues import Message, Queue
from kernel.running import current, logger
from kernel.tables import Change, ConditionFailed, commit, create
from membership import card_proofs, catalogue, coupon_proofs, holding_proofs, seals
from membership.api import View, day_of, iso_utc
from membership.evidence import RESTLESS, Finding
from membership.faults import Missing, Refused
from membership.money import Money
from membership.seals import Link
from membership.tables import (
    CardTable,
    CouponTable,
    EntryTable,
    HoldingTable,
    MerchantTable,
    ProductTable,
    ProofTable,
    ProofTurnTable,
    SealTable,
    ShiftTable,
    StoreTable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pynamodb.indexes import GlobalSecondaryIndex

    from kernel.tables import Item, Write

PROOFS = Queue("proofs", visibility=890, batch=1)
READ = (
    *card_proofs.READ,
    CouponTable,
    HoldingTable,
    EntryTable,
    SealTable,
    ShiftTable,
    StoreTable,
    ProductTable,
    ProofTable,
    ProofTurnTable,
)
RUNNING, DONE, FAILED = "running", "done", "failed"
CARDS, HOLDINGS, COUPONS, DAYS = "cards", "holdings", "coupons", "days"
MOST_FINDINGS = MOST_UNPROVEN = 100
# Cards or coupons of one chunk; a day is a chunk by itself.
_CHUNK = 25
_SECONDS_A_MESSAGE = 240.0
# A proof that was not saved for so long is given up: no chunk takes that long.
_STANDSTILL = timedelta(minutes=15)
# After so long its message may be lost, which another one makes good.
_SLOW = timedelta(minutes=1)
_PROOF_ID = r"^[0-9a-z-]{1,40}$"

ProofId = Annotated[str, Field(pattern=_PROOF_ID)]


class ProofStep(BaseModel):
    """Go on with a proof from its step; the first step of a nightly one makes its row, too."""

    merchant_id: int
    proof_id: str
    step: int = 0


class FindingView(View):
    """Something that is not as it should be: `what` kind of trouble it is, `subject` the thing, and where in it."""

    what: str
    subject: str
    entry_id: str | None
    day: str | None
    attribute: str | None
    expected: str | None
    found: str | None


class CountsView(View):
    """What was looked at so far."""

    cards: int = 0
    lots: int = 0
    orders: int = 0
    coupons: int = 0
    entries: int = 0
    days: int = 0
    sealed: int = 0
    shifts: int = 0


class ProofView(View):
    """A proof of a merchant's books: `balanced` when it is done and found nothing, `accounts` what it added up.

    `unproven` is what changed all the while that it was looked at; nothing is known to be wrong with it.
    """

    id: str
    state: Literal["running", "done", "failed"]
    phase: str
    balanced: bool | None
    counts: CountsView
    accounts: dict[str, Money]
    found: int
    findings: list[FindingView]
    unproven: list[str]
    started: str
    ended: str | None


class StartedView(View):
    """The proof that was started."""

    id: str
    state: str


def start(merchant_id: int) -> StartedView:
    """Start a thorough proof of a merchant's books; refused while another one is running, which is reminded."""
    if MerchantTable.find(MerchantTable.KIND, merchant_id) is None:
        raise Missing("商户不存在")
    row = _new(merchant_id, ids.ordered_id(), thorough=True)
    if not _begun(row):
        _remind(merchant_id)
        raise Refused("此商户的核对正在进行")
    _send(row)
    return StartedView(id=row.proof_id, state=row.state)


def _remind(merchant_id: int) -> None:
    """Send the message of the running proof's step again when it has been at it for long."""
    turn = ProofTurnTable.find(merchant_id)
    if turn is None or turn.proof_id is None or turn.saved_at > clock.now() - _SLOW:
        return
    row = ProofTable.find(merchant_id, turn.proof_id)
    if row is not None and row.state == RUNNING:
        _send(row)


def start_all() -> int:
    """Start the nightly proof of every merchant and return their number; a second start of a day changes nothing."""
    proof_id = f"nightly-{day_of(clock.now())}"
    started = 0

    def messages() -> Iterator[Message]:
        nonlocal started
        for item in MerchantTable.every_item(MerchantTable.KIND, fields=[MerchantTable.id]):
            started += 1
            yield _message(ProofStep(merchant_id=int(item["id"]["N"]), proof_id=proof_id))

    PROOFS.send(messages())
    return started


def get(merchant_id: int, proof_id: str) -> ProofView:
    """Return how far a proof is and what it found."""
    row = ProofTable.find(merchant_id, proof_id)
    if row is None:
        raise Missing("核对记录不存在")
    return ProofView(
        id=row.proof_id,
        state=row.state,
        phase=row.phase,
        balanced=row.found == 0 if row.state == DONE else None,
        counts=CountsView(**row.counts),
        accounts=row.accounts,
        found=row.found,
        findings=[FindingView(**finding) for finding in row.findings],
        unproven=row.unproven,
        started=iso_utc(row.started_at),
        ended=None if row.ended_at is None else iso_utc(row.ended_at),
    )


def proceed(message: ProofStep) -> None:
    """Go on with a proof for some minutes, then ask to be called again; one that is done is left as it is."""
    row = ProofTable.find(message.merchant_id, message.proof_id)
    if row is None:
        row = _new(message.merchant_id, message.proof_id, thorough=False)
        if not _begun(row):
            # A thorough one is under way, which sees all that this one would.
            current().facts["skipped"] = True
            return
    if row.state != RUNNING:
        return
    if row.step != message.step:
        # Done before; who did it may have died before he sent the next message.
        _send(row)
        return
    try:
        _go_on(row)
    except _Overtaken:
        return
    except Exception:
        if current().attempt >= PROOFS.attempts:
            _fail(row)
        raise


class _Overtaken(Exception):
    """Somebody else goes on with the proof, or with another one in its place."""


def _begun(row: ProofTable) -> bool:
    """Store a new proof, unless one of the merchant is running; one that stands still for long has failed."""
    now = clock.now()
    turn = ProofTurnTable.find(row.merchant_id)
    mine = [ProofTurnTable.proof_id.set(row.proof_id), ProofTurnTable.saved_at.set(now)]
    writes: list[Write] = [create(row)]
    if turn is None or turn.proof_id is None:
        as_seen = ProofTurnTable.proof_id.does_not_exist()
    elif turn.saved_at > now - _STANDSTILL:
        return False
    else:
        as_seen = (ProofTurnTable.proof_id == turn.proof_id) & (ProofTurnTable.saved_at == turn.saved_at)
        writes.append(_failed(row.merchant_id, turn.proof_id))
    writes.append(Change(ProofTurnTable, ProofTurnTable.key(row.merchant_id), mine, as_seen))
    try:
        commit(*writes)
    except ConditionFailed:
        return False
    return True


def _new(merchant_id: int, proof_id: str, *, thorough: bool) -> ProofTable:
    return ProofTable(
        merchant_id=merchant_id,
        proof_id=proof_id,
        state=RUNNING,
        phase=CARDS,
        counts=asdict(_Counts()),
        thorough=thorough,
        started_at=clock.now(),
    )


@dataclass
class _Counts:
    cards: int = 0
    lots: int = 0
    orders: int = 0
    coupons: int = 0
    entries: int = 0
    days: int = 0
    sealed: int = 0
    shifts: int = 0


@dataclass
class _Chunk:
    """What one chunk saw, and where the next begins; `phase` is None when there is none."""

    phase: str | None
    cursor: Any
    counts: _Counts = field(default_factory=_Counts)
    accounts: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def _go_on(row: ProofTable) -> None:
    until = time.monotonic() + _SECONDS_A_MESSAGE
    while row.state == RUNNING:
        chunk = _PHASES[row.phase](row)
        _take(row, chunk)
        _save(row)
        if row.state == RUNNING and time.monotonic() >= until:
            _send(row)
            return
    current().facts |= {"cards": row.counts["cards"], "entries": row.counts["entries"], "findings": row.found}
    if row.found:
        logger().error("the books do not balance", merchant=row.merchant_id, proof=row.proof_id, findings=row.found)


def _cards(row: ProofTable) -> _Chunk:
    merchant_id = row.merchant_id
    chunk = _Chunk(CARDS, None)
    types = {product.id: product.type for product in catalogue.every(ProductTable, merchant_id).values()}
    for item in _page(CardTable, CardTable.by_merchant, row, chunk, then=HOLDINGS):
        key = {name: item[name] for name in ("owner", "product_id")}
        proven = card_proofs.prove(merchant_id, int(item["id"]["N"]), key, types)
        chunk.findings += proven.findings
        chunk.counts.cards += 1
        chunk.counts.lots += proven.lots
        chunk.counts.orders += proven.orders
        chunk.counts.entries += proven.entries
        for account, cents in proven.accounts.items():
            chunk.accounts[account] = chunk.accounts.get(account, 0) + cents
    return chunk


def _holdings(row: ProofTable) -> _Chunk:
    merchant_id = row.merchant_id
    chunk = _Chunk(HOLDINGS, None)
    for item in _page(HoldingTable, HoldingTable.by_merchant, row, chunk, then=COUPONS):
        key = {name: item[name] for name in ("user_id", "coupon_id")}
        entries, findings = holding_proofs.prove(merchant_id, int(item["num"]["N"]), key)
        chunk.findings += findings
        chunk.counts.coupons += 1
        chunk.counts.entries += entries
    return chunk


def _coupons(row: ProofTable) -> _Chunk:
    return _Chunk(DAYS, None, findings=coupon_proofs.prove(row.merchant_id))


def _page(
    table: type[CardTable] | type[HoldingTable],
    index: GlobalSecondaryIndex[Any],
    row: ProofTable,
    chunk: _Chunk,
    *,
    then: str,
) -> list[Item]:
    """Return the next rows of an index, and note in the chunk where to go on."""
    page = table.query_items(row.merchant_id, index=type(index), limit=_CHUNK, after=row.cursor)
    chunk.cursor = page.last_key
    if page.last_key is None:
        chunk.phase = then
    return page.rows


def _days(row: ProofTable) -> _Chunk:
    link, findings = (Link(*row.cursor), []) if row.cursor else seals.begin(row.merchant_id)
    if link is None:
        return _Chunk(None, None, findings=findings)
    book, following = seals.prove_day(row.merchant_id, link, thorough=row.thorough)
    chunk = _Chunk(None, None) if following is None else _Chunk(DAYS, list(following))
    chunk.findings = [*findings, *book.findings]
    chunk.counts = _Counts(days=int(book.was_read), sealed=int(book.is_sealed), shifts=len(book.shifts))
    return chunk


_PHASES: dict[str, Callable[[ProofTable], _Chunk]] = {
    CARDS: _cards,
    HOLDINGS: _holdings,
    COUPONS: _coupons,
    DAYS: _days,
}


def _take(row: ProofTable, chunk: _Chunk) -> None:
    """Add what a chunk saw to the row."""
    row.counts = {name: row.counts.get(name, 0) + seen for name, seen in asdict(chunk.counts).items()}
    row.accounts = {
        account: row.accounts.get(account, 0) + chunk.accounts.get(account, 0)
        for account in sorted(row.accounts.keys() | chunk.accounts.keys())
    }
    known = [Finding(**finding) for finding in row.findings]
    # An entry is looked at with its card and with its day.
    new = [one for one in dict.fromkeys(chunk.findings) if one not in known and one.what != RESTLESS]
    row.found += len(new)
    row.findings = [one._asdict() for one in [*known, *new][:MOST_FINDINGS]]
    restless = [one.subject for one in chunk.findings if one.what == RESTLESS]
    row.unproven = list(dict.fromkeys([*row.unproven, *restless]))[:MOST_UNPROVEN]
    row.cursor = chunk.cursor
    if chunk.phase is None:
        row.state, row.ended_at = DONE, clock.now()
    else:
        row.phase = chunk.phase


def _save(row: ProofTable) -> None:
    names = ("state", "phase", "counts", "accounts", "findings", "found", "unproven")
    actions = [getattr(ProofTable, name).set(getattr(row, name)) for name in names]
    actions.append(ProofTable.cursor.remove() if row.cursor is None else ProofTable.cursor.set(row.cursor))
    if row.ended_at is not None:
        actions.append(ProofTable.ended_at.set(row.ended_at))
    actions.append(ProofTable.step.set(row.step + 1))
    unchanged = (ProofTable.state == RUNNING) & (ProofTable.step == row.step)
    key, own = ProofTurnTable.key(row.merchant_id), ProofTurnTable.proof_id == row.proof_id
    turn = [ProofTurnTable.saved_at.set(clock.now())] if row.state == RUNNING else [ProofTurnTable.proof_id.remove()]
    try:
        commit(Change(ProofTable, row.own_key(), actions, unchanged), Change(ProofTurnTable, key, turn, own))
    except ConditionFailed:
        raise _Overtaken from None
    row.step += 1


def _fail(row: ProofTable) -> None:
    own = ProofTurnTable.proof_id == row.proof_id
    with suppress(ConditionFailed):
        commit(
            _failed(row.merchant_id, row.proof_id),
            Change(ProofTurnTable, ProofTurnTable.key(row.merchant_id), [ProofTurnTable.proof_id.remove()], own),
        )


def _failed(merchant_id: int, proof_id: str) -> Change:
    actions = [ProofTable.state.set(FAILED), ProofTable.ended_at.set(clock.now())]
    return Change(ProofTable, ProofTable.key(merchant_id, proof_id), actions, ProofTable.state == RUNNING)


def _send(row: ProofTable) -> None:
    PROOFS.send([_message(ProofStep(merchant_id=row.merchant_id, proof_id=row.proof_id, step=row.step))])


def _message(step: ProofStep) -> Message:
    # One merchant's proofs follow one another.
    return Message(step.model_dump(), str(step.merchant_id), f"{step.merchant_id}#{step.proof_id}#{step.step}")
