"""The proof of a customer's coupon: its pieces are what was given, less what was redeemed and withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.tables import rows_of
from membership.evidence import UNREADABLE, Balances, Finding, day_in, differences, entries_of, settled
from membership.ledger import Account, Kind, holding_subject
from membership.tables import HoldingTable

if TYPE_CHECKING:
    from kernel.tables import Item


def prove(merchant_id: int, num: int, key: Item) -> tuple[int, list[Finding]]:
    """Recompute a customer's coupon from its entries; return how many these are, and what is wrong."""
    entries = 0

    def look() -> tuple[bool, list[Finding]]:
        nonlocal entries
        before = _holding(key)
        if before is None:
            return True, [Finding("holding_unreadable", holding_subject(num))]
        entries, findings = _compared(merchant_id, before)
        after = _holding(key)
        return after is not None and after.entries == before.entries, findings

    findings = settled(holding_subject(num), look)
    return entries, findings


def _holding(key: Item) -> HoldingTable | None:
    try:
        return next(map(HoldingTable.of_item, rows_of(HoldingTable, [key])), None)
    except UNREADABLE:
        return None


def _compared(merchant_id: int, holding: HoldingTable) -> tuple[int, list[Finding]]:
    subject = holding_subject(holding.num)
    balances, findings, entries = Balances(subject), [], 0
    pieces = dict.fromkeys((Kind.COUPON_GIFT, Kind.COUPON_USE, Kind.COUPON_WITHDRAWAL), 0)
    for page in entries_of(subject):
        for judged in page:
            findings += judged.findings
            entries += 1
            row = judged.row
            if row is None:
                continue
            belongs = {"merchant_id": merchant_id, "user_id": holding.user_id, "reference": holding.coupon_id}
            findings += [
                one._replace(entry_id=row.entry_id)
                for one in differences("entry_of_somebody_else", subject, row, belongs)
            ]
            try:
                balances.add(row)
                pieces[Kind(row.kind)] += sum(amount for *_, amount in row.moves)
            except UNREADABLE:
                findings.append(Finding("entry_out_of_balance", subject, row.entry_id, day_in(row), "moves"))
    balances.end()
    given, redeemed, withdrawn = pieces.values()
    expected = {
        "merchant_id": merchant_id,
        "given": given,
        "redeemed": redeemed,
        "withdrawn": withdrawn,
        "quantity": balances.sum_of(Account.COUPON_HELD),
        "entries": entries,
    }
    findings += [*balances.findings, *differences("holding_changed", subject, holding, expected)]
    if redeemed > given:
        findings.append(Finding("redeemed_more_than_given", subject))
    return entries, findings
