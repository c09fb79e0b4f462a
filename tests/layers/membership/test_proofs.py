"""Whatever is changed behind the ledger's back is found and named, in every attribute that money stands on."""

from __future__ import annotations

import base64
import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from kernel import aws, certificates, clock, files, running
from kernel.ids import ordered_id
from kernel.running import Running
from kernel.tables import Delete, Put, commit, create
from membership import card_proofs, coupon_proofs, evidence, proofs, seals
from membership.evidence import Finding
from membership.ledger import Account, Kind, Part, digest_of, entry, into_card
from membership.managers import Manager
from membership.tables import (
    CardTable,
    CouponTable,
    EntryTable,
    HoldingTable,
    InvoiceTable,
    LotTable,
    OrderTable,
    ProofTurnTable,
    SealTable,
    ShiftTable,
    owner_key,
)
from tests.histories import improvise, in_bank, play
from tests.shops import MERCHANT, furnish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.tables import Item, Table
    from tests.bank import Bank
    from tests.tills import Till

FIRST = datetime(2024, 1, 26, 2, tzinfo=UTC)
SECOND = datetime(2024, 1, 27, 2, tzinfo=UTC)
NOON = datetime(2024, 1, 28, 4, tzinfo=UTC)
SEALED = ("20240125", "20240126", "20240127")
# What is read of a row to show it to people, or to find it, and is no part of the books.
BESIDE_THE_BOOKS = {
    CardTable: {"card_no", "password_hash", "layout", "store_id", "store_name", "grade", "summary_grade", "created_at"},
    LotTable: {"event_id"},
    OrderTable: {"store_name", "coupon_id", "coupon_pieces"},
    HoldingTable: {"created_at"},
    CouponTable: {
        "title",
        "summary",
        "logo",
        "store_ids",
        "admin_id",
        "type",
        "status",
        "date",
        "stock",
        "per_person",
        "version",
        "created_at",
        "updated_at",
    },
    InvoiceTable: {"summary", "image", "store_name", "created_at"},
    EntryTable: set(),
    SealTable: set(),
    ShiftTable: set(),
}


class Books:
    """A shop with two sealed days and one that goes on, as it was after the last proof."""

    def __init__(self, bank: Bank, leaves: dict[str, bytes], till: Till) -> None:
        self.bank = bank
        self.rows = bank.snapshot()
        self.leaves = leaves
        self.till = till

    def reset(self) -> None:
        self.bank.restore(self.rows)
        s3 = self.till.cloud.client("s3")
        for stored in s3.list_objects_v2(Bucket="files", Prefix="seals/").get("Contents", []):
            if stored["Key"].removesuffix(".jsonl")[-8:] not in SEALED:
                s3.delete_object(Bucket="files", Key=stored["Key"])
        for day, data in self.leaves.items():
            if (found := files.get(seals.LEAVES, f"{MERCHANT}/{day}.jsonl")) is None or found.data != data:
                files.put(seals.LEAVES, f"{MERCHANT}/{day}.jsonl", data, "application/jsonl")

    def items(self, table: type[Table]) -> list[Item]:
        return copy.deepcopy(self.bank.items()[table.physical_name()])


def findings(*, thorough: bool = True) -> list[Finding]:
    """Prove the merchant's books from beginning to end."""
    found: list[Finding] = []
    row = proofs._new(MERCHANT, "whole", thorough=thorough)
    with Running("prove_merchant"):
        while row.state == proofs.RUNNING:
            chunk = proofs._PHASES[row.phase](row)
            proofs._take(row, chunk)
            found += chunk.findings
    return list(dict.fromkeys(found))


@pytest.fixture
def books(cloud, monkeypatch) -> Iterator[Books]:
    bank = in_bank(cloud, monkeypatch)
    monkeypatch.setattr(evidence, "wait", lambda seconds: None)
    furnish()
    for day in (FIRST, SECOND):
        play(cloud, day)
    with clock.frozen(NOON):
        till = play(cloud, NOON - timedelta(hours=2))
        assert findings() == []
        leaves = {day: files.get(seals.LEAVES, f"{MERCHANT}/{day}.jsonl").data for day in SEALED}
        yield Books(bank, leaves, till)


def names(table: type[Table], item: Item) -> set[str]:
    """Return how a finding may call a row: itself, or what it belongs to."""
    plain = {name: next(iter(value.values())) for name, value in item.items()}
    return {
        CardTable: {f"card#{plain.get('id')}"},
        LotTable: {f"lot#{plain.get('id')}"},
        OrderTable: {f"order#{plain.get('order_no')}"},
        HoldingTable: {f"holding#{plain.get('num')}"},
        CouponTable: {f"coupon#{plain.get('id')}"},
        InvoiceTable: {f"invoice#{plain.get('id')}"},
        EntryTable: {str(plain.get("entry_id"))},
        SealTable: {f"seal#{plain.get('day')}"},
        ShiftTable: {f"shift#{plain.get('shift', '#').split('#')[1]}#{plain.get('manager_id')}"},
    }[table]


def named(found: list[Finding]) -> set[str]:
    """Return everything that findings name."""
    return {name for one in found for name in (one.subject, one.entry_id, one.expected) if name}


def changed(value: dict[str, Any], by: int) -> dict[str, Any]:
    """Return a stored value with something else in it: another number, or one character of a text flipped."""
    (kind, content), *_ = value.items()
    if kind == "N":
        return {kind: str(int(content) + by)}
    if kind == "B":
        data = bytearray(base64.b64decode(content))
        data[by % len(data)] ^= 1
        return {kind: base64.b64encode(bytes(data)).decode()}
    place = by % len(content) if content else 0
    flipped = chr(ord(content[place]) ^ 1) if content else "x"
    return {kind: content[:place] + flipped + content[place + 1 :]}


def key_of(table: type[Table], item: Item) -> Item:
    first, second = table.keys()
    return {key.attr_name: item[key.attr_name] for key in (first, second) if key is not None}


def put(table: type[Table], before: Item, after: Item) -> None:
    """Store a row in place of another, whatever it holds."""
    name = table.physical_name()
    aws.call("dynamodb", "DeleteItem", {"TableName": name, "Key": key_of(table, before)})
    aws.call("dynamodb", "PutItem", {"TableName": name, "Item": after})


NUMBERS = st.integers(0, 10**6)
PROVEN = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def changes(books: Books, table: type[Table]) -> Iterator[tuple[str, Item, Item]]:
    """Yield for every attribute that the rows of a table have: its name, a row, and the row with it changed."""
    items = books.items(table)
    attributes = sorted({name for item in items for name in item} - BESIDE_THE_BOOKS[table])
    for place, name in enumerate(attributes):
        having = [item for item in items if name in item]
        item = having[place * 7 % len(having)]
        yield name, item, {**item, name: changed(item[name], place + 1)}


@pytest.mark.parametrize("table", BESIDE_THE_BOOKS, ids=lambda table: table.name)
def test_every_attribute_that_is_changed_is_found_and_named(books, table):
    unnoticed = []
    for name, item, after in changes(books, table):
        books.reset()
        put(table, item, after)
        found = findings()
        if not (names(table, item) | names(table, after)) & named(found):
            unnoticed.append((name, item, after[name], found))

    assert unnoticed == []


@PROVEN
@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_flipped_byte_of_any_entry_is_found_and_named(books, row, attribute, by):
    books.reset()
    items = books.items(EntryTable)
    item = items[row % len(items)]
    name = sorted(item)[attribute % len(item)]
    after = {**item, name: changed(item[name], by + 1)}
    note(f"{name} of {item} becomes {after[name]}")

    put(EntryTable, item, after)

    assert (names(EntryTable, item) | names(EntryTable, after)) & named(findings())


@PROVEN
@given(st.sampled_from(SEALED[1:]), NUMBERS, st.integers(1, 255))
def test_a_flipped_byte_of_the_leaves_of_a_day_is_found_and_named(books, day, place, bits):
    books.reset()
    data = bytearray(books.leaves[day])
    data[place % len(data)] ^= bits
    files.put(seals.LEAVES, f"{MERCHANT}/{day}.jsonl", bytes(data), "application/jsonl")

    found = findings()

    assert ("leaves_changed", f"seal#{day}", day) in {(one.what, one.subject, one.day) for one in found}
    # Nobody blames the entries.
    assert {one.what for one in found} <= {"leaves_changed", "leaf_changed", "leaf_inserted", "leaf_removed"}


@pytest.mark.parametrize("table", BESIDE_THE_BOOKS, ids=lambda table: table.name)
@settings(PROVEN, max_examples=8)
@given(row=NUMBERS)
@example(row=0)
def test_a_row_that_is_gone_is_found_and_named(books, table, row):
    books.reset()
    items = [item for item in books.items(table) if table is not CouponTable or int(item["given"]["N"])]
    item = items[row % len(items)]
    commit(Delete(table, key_of(table, item)))

    found = findings()

    wanted = names(table, item)
    if table is CardTable:
        assert Finding("entry_of_nothing", *wanted) in [one._replace(entry_id=None, day=None) for one in found]
    elif table is EntryTable and item["merchant_day"]["S"].endswith("20240128"):
        # Today has no leaves yet, but whose entry it was is known.
        assert item["subject"]["S"] in named(found), found
    else:
        assert wanted & named(found), found


def entries(books: Books, kind: str, day: str) -> list[EntryTable]:
    found = [row for row in books.bank.rows(EntryTable) if row.kind == kind and row.merchant_day.endswith(day)]
    return sorted(found, key=lambda row: str(row.entry_id))


def test_a_change_that_is_consistent_everywhere_is_found_by_the_seal(books):
    record = entries(books, "recharge", "20240126")[-1]
    card = next(card for card in books.bank.rows(CardTable) if record.subject == f"card#{card.id}")
    order = next(order for order in books.bank.rows(OrderTable) if order.order_no == record.order_no)
    lots = [lot for lot in books.bank.rows(LotTable) if lot.order_no == record.order_no]
    shift = next(row for row in books.bank.rows(ShiftTable) if row.shift.endswith("20240126"))
    record.moves = [[source, target, amount + 100 * ("gift" not in target)] for source, target, amount in record.moves]
    record.digest = digest_of(record)
    for lot in lots:
        lot.principal, lot.brought_principal = lot.principal + 100, lot.brought_principal + 100
    order.principal, order.parts = order.principal + 100, [[one, two + 100, three] for one, two, three in order.parts]
    for name in ("principal", "charged", "invoiceable"):
        setattr(card, name, getattr(card, name) + 100)
    shift.recharged += 100
    commit(*map(Put, (record, card, order, shift, *lots)))

    assert [(one.what, one.subject, one.entry_id, one.day) for one in findings()] == [
        ("entry_not_as_sealed", record.subject, record.entry_id, "20240126")
    ]


def test_an_entry_that_is_slipped_into_a_day_is_found_also_where_nothing_happened(books):
    for day in SEALED[:2]:
        books.reset()
        moment = datetime.strptime(day, "%Y%m%d").replace(hour=3, tzinfo=UTC)
        row = copy.deepcopy(entries(books, "opening", "20240126")[0])
        row.subject, row.entry_id, row.at = "card#999", ordered_id(moment), moment
        row.merchant_day = f"{MERCHANT}#{day}"
        row.digest = digest_of(row)
        commit(Put(row))

        found = [one for one in findings() if one.entry_id == row.entry_id]

        assert [(one.what, one.subject, one.day) for one in found] == [
            ("entry_inserted", "card#999", day),
            ("entry_of_nothing", "card#999", day),
        ]


def test_a_seal_that_is_made_anew_without_the_key_is_found(books):
    commit(Delete(EntryTable, entries(books, "spending", "20240126")[0].own_key()))
    with Running("prove_merchant"):
        book = seals._read(MERCHANT, "20240126", everybody=False)
    files.put(seals.LEAVES, f"{MERCHANT}/20240126.jsonl", b"".join(book.lines), "application/jsonl")
    seal = SealTable.find(MERCHANT, "20240126")
    seal.entries, seal.totals, seal.leaves = book.entries, book.sums, book.leaves.hexdigest()
    seal.root = seals.root_of(seal)
    commit(Put(seal))

    found = {(one.what, one.subject, one.attribute) for one in findings()}

    assert ("seal_changed", "seal#20240126", "signature") in found
    assert ("chain_broken", "seal#20240127", "previous") in found


@pytest.mark.parametrize("gone", [SEALED[-1:], SEALED], ids=["the newest", "all"])
def test_seals_that_are_taken_away_with_their_leaves_are_missed_and_not_made_otherwise(books, gone):
    for day in gone:
        commit(Delete(SealTable, SealTable.key(MERCHANT, day)))
        books.till.cloud.client("s3").delete_object(Bucket="files", Key=f"seals/{MERCHANT}/{day}.jsonl")
    commit(Delete(EntryTable, entries(books, "invoice", "20240127")[0].own_key()))

    missed = [Finding("seal_missing", f"seal#{day}", day=day) for day in gone]
    assert [one for one in findings() if one.subject.startswith("seal")] == missed
    assert len(books.items(SealTable)) == len(SEALED) - len(gone)

    # The chain goes on after them.
    with clock.frozen(NOON + timedelta(days=2)):
        assert [one for one in findings() if one.subject.startswith("seal")] == missed
    assert SealTable.find(MERCHANT, "20240128") is not None


def test_a_note_of_a_seal_to_come_does_not_end_sealing_in_silence(books):
    noted = ProofTurnTable.find(MERCHANT)
    noted.sealed_day = "99991231"
    commit(Put(noted))

    with clock.frozen(NOON + timedelta(days=1)):
        assert findings() == [Finding("not_sealed", "seal#20240128", day="20240128")]


def test_another_seal_in_place_of_the_newest_is_found(books):
    seal = SealTable.find(MERCHANT, SEALED[-1])
    told = seal.root
    seal.sealed_at += timedelta(hours=1)
    seal.root = seals.root_of(seal)
    with Running("prove_merchant"):
        seal.signature = certificates.certify(seals.statement(seal))
    commit(Put(seal))

    assert findings() == [Finding("seal_changed", f"seal#{SEALED[-1]}", None, SEALED[-1], "root", told, seal.root)]


def test_a_day_whose_seal_is_taken_away_is_not_sealed_otherwise(books):
    for day in SEALED:
        commit(Delete(SealTable, SealTable.key(MERCHANT, day)))
    commit(Delete(ProofTurnTable, ProofTurnTable.key(MERCHANT)))
    record = entries(books, "spending", "20240127")[0]
    record.manager_id += 1
    record.digest = digest_of(record)
    commit(Put(record))

    found = {(one.what, one.subject) for one in findings()}

    assert ("sealed_otherwise_before", "seal#20240127") in found
    assert [item["day"]["S"] for item in books.items(SealTable)] == list(SEALED[:2])


def test_a_day_that_contradicts_itself_is_sealed_as_it_is(books):
    record = entries(books, "spending", "20240128")[0]
    record.manager_id += 1
    commit(Put(record))

    # In the night that seals it, and in any other, whether the day has its turn or not.
    for day in (1, 2, 9):
        with clock.frozen(NOON + timedelta(days=day)):
            found = {(one.what, one.subject, one.entry_id, one.day) for one in findings(thorough=False)}
        assert found == {
            ("entry_changed", record.subject, record.entry_id, "20240128"),
            ("shift_changed", "shift#3#21", None, "20240128"),
            ("shift_missing", "shift#3#22", None, "20240128"),
        }

    seal = SealTable.find(MERCHANT, "20240128")
    assert len(seal.findings) == 64
    assert len(books.items(SealTable)) == len(SEALED) + 9
    seal.findings = None
    commit(Put(seal))
    with clock.frozen(NOON + timedelta(days=9)):
        assert ("seal_changed", "seal#20240128") in {(one.what, one.subject) for one in findings()}


@pytest.mark.parametrize(
    "line", [b"null", b"5", b"[1]", b"[1,2,3]", b'["\\ud800","x"]', b"\xff", b"[" * 100_000], ids=range(7)
)
def test_a_leaf_that_cannot_be_read_is_a_change_of_the_leaves(books, line):
    day = SEALED[1]
    data = b"\n".join([line, *books.leaves[day].splitlines()[1:]])
    files.put(seals.LEAVES, f"{MERCHANT}/{day}.jsonl", data, "application/jsonl")

    assert {(one.what, one.day) for one in findings()} == {("leaves_changed", day), ("leaf_removed", day)}


@pytest.mark.parametrize("number", ["9" * 60, "٣", "x"])
def test_an_entry_of_something_that_has_no_number_of_ours_is_found(books, number):
    for kind in ("card", "holding"):
        row = copy.deepcopy(entries(books, "opening", "20240128")[0])
        row.subject, row.moves = f"{kind}#{number}", [["merchant_cash", f"customer_gift:{number}", 1]]
        row.digest = digest_of(row)
        commit(Put(row))

        assert ("entry_of_nothing", row.subject) in {(one.what, one.subject) for one in findings()}


def late(monkeypatch: pytest.MonkeyPatch, hide: int) -> list[float]:
    """Let the index of days show the newest entry only after so many pauses; return the pauses."""
    pauses: list[float] = []
    monkeypatch.setattr(evidence, "wait", pauses.append)
    read = seals._entries

    def behind(merchant_id: int, day: str) -> Iterator[Any]:
        rows = list(read(merchant_id, day))
        yield from rows[:-1] if len(pauses) < hide and day == "20240128" else rows

    monkeypatch.setattr(seals, "_entries", behind)
    return pauses


def test_an_index_that_lags_behind_raises_no_alarm(books, monkeypatch):
    pauses = late(monkeypatch, 2)

    assert findings() == []

    assert sum(pauses) >= 10


def test_what_an_index_never_shows_is_found(books, monkeypatch):
    late(monkeypatch, 1000)

    assert {(one.what, one.day) for one in findings()} == {("shift_changed", "20240128")}


def test_refunds_of_one_recharge_may_be_written_in_another_order_than_they_were_begun(books):
    till = books.till
    order = till.recharged()
    moment = clock.now()
    with clock.frozen(moment + timedelta(seconds=2)):
        till.paid_back(order, money="50.00")
    with clock.frozen(moment + timedelta(seconds=1)):
        till.paid_back(order)

    assert findings() == []

    lot = next(lot for lot in books.bank.rows(LotTable) if lot.order_no == order)
    lot.brought_principal += 1
    commit(Put(lot))
    assert ("lot_changed", "brought_principal") in {(one.what, one.attribute) for one in findings()}


def test_a_coupon_that_is_given_all_the_while_is_not_proven(books, monkeypatch):
    read = coupon_proofs._held
    gifts: list[int] = []

    def held(merchant_id: int) -> dict[int, int]:
        found = read(merchant_id)
        if len(gifts) < most:
            gifts.append(1)
            interrupted, running._current = running._current, None
            improvise(books.till, "coupon", "1.00")
            running._current = interrupted
        return found

    monkeypatch.setattr(coupon_proofs, "_held", held)
    most = 2
    assert findings() == []
    assert len(gifts) == 2
    most = 1000
    assert findings() == [Finding("changes_all_the_time", "coupon#1")]


def test_a_change_is_found_once_though_it_is_seen_twice(books):
    record = entries(books, "spending", "20240128")[0]
    record.digest = "0" * 64
    commit(Put(record))
    row = proofs._new(MERCHANT, "whole", thorough=True)
    with Running("prove_merchant"):
        while row.state == proofs.RUNNING:
            proofs._take(row, proofs._PHASES[row.phase](row))

    assert [(one["what"], one["entry_id"], one["day"]) for one in row.findings] == [
        ("entry_changed", record.entry_id, "20240128")
    ]
    assert row.found == 1


def test_seals_of_no_day_lead_nowhere(books):
    seal = SealTable.find(MERCHANT, SEALED[-1])
    for day in ("10240125", "20241325", "30240125", "soon"):
        seal.day = day
        commit(Put(seal))

    assert [(one.what, one.day) for one in findings()] == [
        ("seal_of_no_day", day) for day in ("10240125", "20241325", "30240125", "soon")
    ]


def test_what_is_below_zero_for_longer_than_clocks_differ_is_found(books):
    card = next(card for card in books.bank.rows(CardTable) if card.type == 10)
    spending = next(row for row in entries(books, "spending", "20240126") if row.subject == f"card#{card.id}")
    before = spending.at - timedelta(hours=1)
    commit(Delete(EntryTable, spending.own_key()))
    spending.at, spending.entry_id = before, ordered_id(before)
    spending.digest = digest_of(spending)
    commit(Put(spending))

    found = [one for one in findings() if one.what == "below_zero"]

    assert {one.subject for one in found} == {f"card#{card.id}"}


def overtaking(monkeypatch: pytest.MonkeyPatch, times: int, work: Any) -> list[int]:
    """Let somebody do something in between, every time that the entries of a card were read, so many times."""
    done: list[int] = []
    read = evidence.entries_of

    def entries_of(subject: str) -> Iterator[Any]:
        yield from read(subject)
        if subject.startswith("card#") and len(done) < times:
            done.append(1)
            interrupted, running._current = running._current, None
            work()
            running._current = interrupted

    monkeypatch.setattr(card_proofs, "entries_of", entries_of)
    return done


def test_a_card_that_changes_while_it_is_read_raises_no_alarm(books, monkeypatch):
    till = books.till
    done = overtaking(monkeypatch, 3, lambda: till.stored(10, 1))

    assert [one for one in findings() if one.subject.startswith("card")] == []
    assert len(done) == 3


def test_a_card_that_never_stays_as_it_is_cannot_be_proven(books, monkeypatch):
    card = next(card for card in books.bank.rows(CardTable) if card.phone == books.till.phone and card.type == 10)
    overtaking(monkeypatch, 1000, lambda: books.till.stored(10, 1))

    with Running("prove_merchant"):
        proven = card_proofs.prove(MERCHANT, card.id, card.own_key(), {3: 10, 4: 11})

    assert proven.findings == [Finding("changes_all_the_time", f"card#{card.id}")]


def test_an_imported_card_balances(books):
    now = clock.now()
    owner = Manager("19", 19, MERCHANT, None, "")
    card = CardTable(
        owner=owner_key(MERCHANT, "13800000099"), product_id=3, id=99, card_no=7924012800099, merchant_id=MERCHANT,
        user_id=7099, phone="13800000099", type=10, password_hash="", principal=500, gift=5, entries=1,
    )  # fmt: skip
    moves = into_card([Part(0, 500, 5)], Account.CARRIED_OVER, Account.CARRIED_OVER)
    commit(create(card), entry(owner, Kind.CARRY_OVER, "card#99", moves, at=now, user_id=7099, reference=1))

    assert findings() == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["stored", "recharged", "spent", "spent_activity", "refund", "take_back", "invoice", "coupon"]),
        st.integers(1, 40_000),
        st.integers(0, 30),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_any_history_of_operations_balances(books, steps):
    books.reset()
    moment = NOON
    for kind, cents, hours in steps:
        moment += timedelta(hours=hours, seconds=5)
        with clock.frozen(moment):
            improvise(books.till, kind, f"{cents / 100:.2f}")

    with clock.frozen(moment + timedelta(days=1)):
        assert findings() == []
