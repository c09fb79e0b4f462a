"""Proofs of a merchant's books: what is right balances, and whatever is changed behind the ledger's back is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from functions.membership.get_proof import get_proof
from functions.membership.prove_books import prove_books
from functions.membership.prove_merchant import prove_merchant
from functions.membership.start_proof import start_proof
from kernel import clock, files, running
from kernel.tables import Change, Put, commit
from membership import evidence, proofs, seals
from membership.cards import STORED_VALUE as STORED_VALUE_CARD
from membership.evidence import Finding
from membership.ledger import digest_of
from membership.tables import (
    CardTable,
    EntryTable,
    HoldingTable,
    LotTable,
    OrderTable,
    ProofTable,
    ProofTurnTable,
    SealTable,
)
from tests.histories import in_bank, play
from tests.shops import MERCHANT, OTHER_MERCHANT, furnish

if TYPE_CHECKING:
    from kernel.operations import Operation
    from tests.bank import Bank
    from tests.conftest import Cloud

GROUPS = [str(MERCHANT)]
FIRST = datetime(2024, 1, 26, 2, tzinfo=UTC)
SECOND = datetime(2024, 1, 27, 2, tzinfo=UTC)
TODAY = datetime(2024, 1, 28, 2, tzinfo=UTC)
NIGHT = datetime(2024, 1, 28, 19, tzinfo=UTC)


@pytest.fixture
def bank(cloud, monkeypatch) -> Bank:
    """A shop that was open on two days before today."""
    bank = in_bank(cloud, monkeypatch)
    monkeypatch.setattr(evidence, "wait", lambda seconds: None)
    furnish()
    for day in (FIRST, SECOND):
        play(cloud, day)
    return bank


def started(cloud: Cloud) -> str:
    answer = cloud.call(start_proof, {}, path={"merchant": str(MERCHANT)}, groups=GROUPS)
    assert answer.status == 200, answer.body
    assert answer.body["data"]["state"] == "running"
    return str(answer.body["data"]["id"])


def told(cloud: Cloud, proof: str) -> dict[str, Any]:
    path = {"merchant": str(MERCHANT), "proof": proof}
    answer = cloud.call(get_proof, path=path, groups=GROUPS)
    assert answer.status == 200, answer.body
    return dict(answer.body["data"])


def proven(cloud: Cloud) -> dict[str, Any]:
    """Start a proof, let the worker do all of it and return what it says."""
    proof = started(cloud)
    while records := cloud.queued(proofs.PROOFS):
        assert prove_merchant({"Records": records}, None) == {"batchItemFailures": []}
    return told(cloud, proof)


def findings(cloud: Cloud) -> list[dict[str, Any]]:
    said = proven(cloud)
    assert said["state"] == "done"
    assert said["balanced"] is (said["findings"] == [])
    return list(said["findings"])


def test_the_books_of_a_clean_history_balance(cloud, bank):
    said = proven(cloud)

    assert said["findings"] == []
    assert said == {
        "id": said["id"],
        "state": "done",
        "phase": "days",
        "balanced": True,
        "counts": said["counts"],
        "accounts": said["accounts"],
        "found": 0,
        "findings": [],
        "unproven": [],
        "started": "2024-01-28T06:41:29.006+0000",
        "ended": "2024-01-28T06:41:29.006+0000",
    }
    entries = bank.rows(EntryTable)
    cards = bank.rows(CardTable)
    # Both days and the one before them, which is looked at in case something began there.
    assert said["counts"] == {
        "cards": len(cards),
        "lots": len(bank.rows(LotTable)),
        "orders": len(bank.rows(OrderTable)),
        "coupons": len(bank.rows(HoldingTable)),
        "entries": len(entries),
        "days": 4,
        "sealed": 3,
        "shifts": 2,
    }
    assert round(sum(said["accounts"].values()), 2) == 0
    assert said["accounts"]["customer_principal"] == sum(card.principal for card in cards) / 100
    assert said["accounts"]["customer_gift"] == sum(card.gift for card in cards) / 100


def test_seals_are_chained_signed_and_never_written_again(cloud, bank):
    proven(cloud)
    before = bank.items()[SealTable.physical_name()]

    assert proven(cloud)["balanced"] is True

    assert bank.items()[SealTable.physical_name()] == before
    chain = sorted(bank.rows(SealTable), key=lambda seal: seal.day)
    assert [seal.day for seal in chain] == ["20240125", "20240126", "20240127"]
    assert [seal.previous for seal in chain] == ["", chain[0].root, chain[1].root]
    entries = bank.rows(EntryTable)
    for seal in chain:
        stored = files.get(seals.LEAVES, f"{MERCHANT}/{seal.day}.jsonl")
        leaves = [json.loads(line) for line in stored.data.splitlines()]
        of_day = [row for row in entries if row.merchant_day.endswith(seal.day)]
        assert leaves == sorted([row.entry_id, row.digest] for row in of_day)
        assert seal.entries == len(leaves)
        assert sum(seal.totals.values()) == 0


def test_only_finished_days_are_sealed(cloud, bank):
    midnight = datetime(2024, 1, 27, 16, tzinfo=UTC)
    with clock.frozen(midnight + timedelta(minutes=14)):
        assert proven(cloud)["counts"]["sealed"] == 2
    with clock.frozen(midnight + timedelta(minutes=15)):
        assert proven(cloud)["counts"]["sealed"] == 3


def test_days_that_were_missed_are_sealed_with_those_without_entries(cloud, bank):
    with clock.frozen(TODAY + timedelta(days=3)):
        assert findings(cloud) == []

    assert [seal.day for seal in sorted(bank.rows(SealTable), key=lambda seal: seal.day)] == [
        f"202401{day}" for day in range(25, 31)
    ]


def test_the_night_starts_a_proof_of_every_merchant_once(cloud, bank):
    furnish(OTHER_MERCHANT)

    prove_books({}, None)
    prove_books({}, None)

    bodies = [json.loads(record["body"]) for record in cloud.queued(proofs.PROOFS)]
    assert bodies == [
        {"merchant_id": merchant, "proof_id": "nightly-20240128", "step": 0} for merchant in (MERCHANT, OTHER_MERCHANT)
    ]
    for body in bodies * 2:
        assert prove_merchant({"Records": [received(body)]}, None) == {"batchItemFailures": []}
    said = told(cloud, "nightly-20240128")
    assert (said["state"], said["balanced"], said["counts"]["cards"]) == ("done", True, len(bank.rows(CardTable)))


def test_a_proof_goes_on_from_any_step_and_does_none_twice(cloud, bank, monkeypatch):
    whole = proven(cloud)
    monkeypatch.setattr(proofs, "_SECONDS_A_MESSAGE", 0)
    monkeypatch.setattr(proofs, "_CHUNK", 1)
    proof, steps = started(cloud), 0

    while records := cloud.queued(proofs.PROOFS):
        steps += 1
        for _ in range(2):
            assert prove_merchant({"Records": records}, None) == {"batchItemFailures": []}

    said = told(cloud, proof)
    assert (said["counts"], said["accounts"], said["balanced"]) == (whole["counts"], whole["accounts"], True)
    assert steps > said["counts"]["cards"] + said["counts"]["coupons"] + said["counts"]["days"]


def received(body: dict[str, Any]) -> dict[str, Any]:
    return {"messageId": "1", "receiptHandle": "1", "body": json.dumps(body), "attributes": {}}


def test_of_one_merchant_one_proof_runs_at_a_time(cloud, bank):
    path = {"merchant": str(MERCHANT)}
    first = started(cloud)
    before = bank.items()

    refused = cloud.call(start_proof, {}, path=path, groups=GROUPS)

    assert (refused.status, refused.body["errCode"], refused.body["msg"]) == (409, 1, "此商户的核对正在进行")
    assert bank.items() == before
    # The nightly one has nothing to add.
    nightly = received({"merchant_id": MERCHANT, "proof_id": "nightly-20240128", "step": 0})
    assert prove_merchant({"Records": [nightly]}, None) == {"batchItemFailures": []}
    assert bank.items() == before
    prove_merchant({"Records": cloud.queued(proofs.PROOFS)}, None)
    assert told(cloud, first)["balanced"] is True
    assert [turn.proof_id for turn in bank.rows(ProofTurnTable)] in ([None], [])
    assert proven(cloud)["balanced"] is True


def test_a_proof_that_stands_still_makes_way(cloud, bank):
    first = started(cloud)
    (lost,) = cloud.queued(proofs.PROOFS)
    with clock.frozen(clock.now() + timedelta(minutes=14, seconds=59)):
        answer = cloud.call(start_proof, {}, path={"merchant": str(MERCHANT)}, groups=GROUPS)
        assert answer.status == 409

    with clock.frozen(clock.now() + timedelta(minutes=15)):
        assert proven(cloud)["balanced"] is True
        said = told(cloud, first)
        assert (said["state"], said["balanced"], said["ended"]) == ("failed", None, "2024-01-28T06:56:29.006+0000")
        # Whoever wakes up late does nothing.
        assert prove_merchant({"Records": [lost]}, None) == {"batchItemFailures": []}
        assert told(cloud, first) == said


def test_a_refused_start_sends_a_message_that_may_be_lost_again(cloud, bank):
    proof = started(cloud)
    assert len(cloud.queued(proofs.PROOFS)) == 1
    path = {"merchant": str(MERCHANT)}
    for seconds, sent in ((59, []), (60, [{"merchant_id": MERCHANT, "proof_id": proof, "step": 0}])):
        with clock.frozen(clock.now() + timedelta(seconds=seconds)):
            assert cloud.call(start_proof, {}, path=path, groups=GROUPS).status == 409
        records = cloud.queued(proofs.PROOFS)
        assert [json.loads(record["body"]) for record in records] == sent

    assert prove_merchant({"Records": records}, None) == {"batchItemFailures": []}
    assert told(cloud, proof)["balanced"] is True


def test_what_changes_all_the_while_is_not_proven_and_unbalances_nothing(cloud, bank, monkeypatch):
    cards = proofs._PHASES["cards"]

    def restless(row: ProofTable) -> Any:
        chunk = cards(row)
        chunk.findings += [Finding(evidence.RESTLESS, "card#1")] * 2
        return chunk

    monkeypatch.setitem(proofs._PHASES, "cards", restless)
    said = proven(cloud)

    assert (said["balanced"], said["found"], said["findings"], said["unproven"]) == (True, 0, [], ["card#1"])


def test_who_is_given_up_while_he_works_ends(cloud, bank, monkeypatch):
    first = started(cloud)
    (record,) = cloud.queued(proofs.PROOFS)
    cards = proofs._PHASES["cards"]

    def slow(row: ProofTable) -> Any:
        monkeypatch.setitem(proofs._PHASES, "cards", cards)
        key = ProofTurnTable.key(MERCHANT)
        commit(Change(ProofTurnTable, key, [ProofTurnTable.saved_at.set(clock.now() - timedelta(hours=1))]))
        interrupted, running._current = running._current, None
        assert proven(cloud)["balanced"] is True
        running._current = interrupted
        return cards(row)

    monkeypatch.setitem(proofs._PHASES, "cards", slow)
    assert prove_merchant({"Records": [record]}, None) == {"batchItemFailures": []}

    assert told(cloud, first)["state"] == "failed"


def test_a_message_that_was_lost_after_its_step_was_saved_is_sent_again(cloud, bank, monkeypatch):
    monkeypatch.setattr(proofs, "_SECONDS_A_MESSAGE", 0)
    proof = started(cloud)
    (record,) = cloud.queued(proofs.PROOFS)
    with monkeypatch.context() as patch:
        patch.setattr(proofs, "_send", lambda row: 1 / 0)
        assert prove_merchant({"Records": [record]}, None)["batchItemFailures"]

    assert prove_merchant({"Records": [record]}, None) == {"batchItemFailures": []}

    assert [json.loads(one["body"])["step"] for one in cloud.queued(proofs.PROOFS)] == [1]
    assert told(cloud, proof)["counts"]["cards"] == len(bank.rows(CardTable))


def test_a_night_compares_a_thirtieth_of_the_sealed_days(cloud, bank):
    proven(cloud)
    entry = next(row for row in bank.rows(EntryTable) if row.merchant_day.endswith("20240126"))
    entry.manager_id += 1
    entry.digest = digest_of(entry)
    commit(Put(entry))
    found = {}
    for day in range(33):
        with clock.frozen(NIGHT + timedelta(days=day)):
            prove_books({}, None)
            for record in cloud.queued(proofs.PROOFS):
                prove_merchant({"Records": [record]}, None)
            nightly = f"nightly-{clock.now() + timedelta(hours=8):%Y%m%d}"
            said = told(cloud, nightly)
            found[nightly] = [one["what"] for one in said["findings"] if one["what"] == "entry_not_as_sealed"]
            assert said["counts"]["sealed"] == 4 + day
            assert said["counts"]["days"] <= 4

    # Its turn was on the night after it, and is every thirtieth night from then on.
    assert [night for night, what in found.items() if what] == ["nightly-20240226"]


def test_a_broken_chain_is_seen_every_night(cloud, bank):
    proven(cloud)
    seal = next(seal for seal in bank.rows(SealTable) if seal.day == "20240126")
    seal.totals = {**seal.totals, "customer_gift": 1}
    commit(Put(seal))

    with clock.frozen(NIGHT + timedelta(days=10)):
        prove_books({}, None)
        for record in cloud.queued(proofs.PROOFS):
            prove_merchant({"Records": [record]}, None)
        said = told(cloud, "nightly-20240208")

    assert [(one["what"], one["subject"]) for one in said["findings"]] == [("seal_changed", "seal#20240126")]


def test_a_proof_that_fails_again_and_again_has_failed(cloud, bank, monkeypatch):
    def broken(row: ProofTable) -> Any:
        raise RuntimeError("the store is away")

    monkeypatch.setitem(proofs._PHASES, "cards", broken)
    proof = started(cloud)
    (record,) = cloud.queued(proofs.PROOFS)

    for attempt, state in ((1, "running"), (proofs.PROOFS.attempts, "failed")):
        record["attributes"]["ApproximateReceiveCount"] = str(attempt)
        assert prove_merchant({"Records": [record]}, None)["batchItemFailures"]
        said = told(cloud, proof)
        assert (said["state"], said["balanced"]) == (state, None)

    # A failed proof is not taken up again, and stands in nobody's way.
    assert prove_merchant({"Records": [record]}, None) == {"batchItemFailures": []}
    assert [turn.proof_id for turn in bank.rows(ProofTurnTable)] in ([None], [])


def test_a_merchant_without_anything_balances(cloud, monkeypatch):
    in_bank(cloud, monkeypatch)
    furnish()

    said = proven(cloud)

    assert (said["balanced"], said["accounts"], set(said["counts"].values())) == (True, {}, {0})


def test_a_changed_balance_and_a_changed_entry_are_named(cloud, bank):
    card = next(card for card in bank.rows(CardTable) if card.type == STORED_VALUE_CARD)
    entry = next(row for row in bank.rows(EntryTable) if row.kind == "recharge" and row.subject == f"card#{card.id}")
    proven(cloud)
    told = card.principal
    card.principal += 1
    entry.user_id += 1
    commit(Put(card), Put(entry))

    found = findings(cloud)

    blank = dict.fromkeys(("entryId", "day", "attribute", "expected", "found"))
    assert {"what": "card_changed", "subject": f"card#{card.id}", **blank, "attribute": "principal",
            "expected": str(told), "found": str(told + 1)} in found  # fmt: skip
    assert {(one["what"], one["day"]) for one in found if one["entryId"] == entry.entry_id} == {
        ("entry_changed", "20240126"),
        ("entry_not_as_sealed", "20240126"),
        ("entry_of_somebody_else", None),
        ("order_changed", None),
    }


def test_no_more_than_a_hundred_findings_are_kept(cloud, bank):
    for row in bank.rows(EntryTable):
        row.manager_id += 1
        row.user_id += 1
        row.digest = "0" * 64
        commit(Put(row))

    said = proven(cloud)

    assert (said["balanced"], len(said["findings"])) == (False, 100)
    assert said["found"] > 100


def test_a_proof_is_the_merchants_own(cloud, bank):
    mine = {"merchant": str(MERCHANT)}

    def refused(operation: Operation, path: dict[str, str], groups: list[str]) -> tuple[int, int]:
        before = bank.items()
        answer = cloud.call(operation, {}, path=path, groups=groups)
        assert bank.items() == before
        return answer.status, answer.body["errCode"]

    assert refused(start_proof, mine, ["13"]) == (403, 403)
    assert refused(get_proof, {**mine, "proof": "1"}, ["13"]) == (403, 403)
    assert refused(get_proof, {**mine, "proof": "nightly-20240101"}, GROUPS) == (404, 1)
    assert refused(get_proof, {**mine, "proof": "No Proof"}, GROUPS) == (400, 400)
    assert refused(start_proof, {"merchant": "99"}, ["platform"]) == (404, 1)
    assert cloud.queued(proofs.PROOFS) == []
