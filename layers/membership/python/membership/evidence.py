"""What the stored entries say, and whether each of them can be believed: the ground that every proof stands on."""

from __future__ import annotations

import time
import zlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel.ids import ordered_id
from membership.api import day_of
from membership.ledger import Account, Kind, digest_of, merchant_day
from membership.tables import EntryTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from kernel.tables import Item, Table

# Rows of one request.
PAGE = 500
# Seconds between looks at something that changes all the time; an index may lag behind for longer than a table.
_OF_TABLE = (0.02, 0.04, 0.08, 0.16, 0.32)
OF_INDEX = (3.0, 9.0, 18.0, 30.0, 30.0)
# No number of ours has more digits.
_MOST_DIGITS = 16
# Clocks of functions differ and a write may wait for its turn, so what is below zero for a moment only is an order of
# entries and not of money.
_MOMENT = timedelta(seconds=30)
# So many characters of an entry's id are the time of it.
_STAMP = 10
# What a value that is not as it should be makes PynamoDB and our own readers raise.
UNREADABLE = (TypeError, ValueError, AttributeError, LookupError, zlib.error)

RESTLESS = "changes_all_the_time"
# How the time between two looks passes.
wait = time.sleep

_A = Account
# Which accounts each kind of entry moves value between.
FLOWS: dict[str, frozenset[tuple[str, str]]] = {
    Kind.OPENING: frozenset(),
    Kind.CARRY_OVER: frozenset(
        {
            (_A.CARRIED_OVER, _A.CUSTOMER_PRINCIPAL),
            (_A.CARRIED_OVER, _A.CUSTOMER_GIFT),
        }
    ),
    Kind.RECHARGE: frozenset(
        {
            (_A.MERCHANT_CASH, _A.CUSTOMER_PRINCIPAL),
            (_A.MERCHANT_PROMOTION, _A.CUSTOMER_GIFT),
            (_A.INVOICE_BASIS, _A.INVOICEABLE),
        }
    ),
    Kind.SPENDING: frozenset({(_A.CUSTOMER_PRINCIPAL, _A.MERCHANT_SALES), (_A.CUSTOMER_GIFT, _A.MERCHANT_SALES)}),
    Kind.SPENDING_REFUND: frozenset(
        {(_A.MERCHANT_SALES, _A.CUSTOMER_PRINCIPAL), (_A.MERCHANT_SALES, _A.CUSTOMER_GIFT)}
    ),
    Kind.RECHARGE_REFUND: frozenset(
        {
            (_A.CUSTOMER_PRINCIPAL, _A.MERCHANT_CASH),
            (_A.CUSTOMER_GIFT, _A.MERCHANT_PROMOTION),
            (_A.INVOICEABLE, _A.INVOICE_BASIS),
        }
    ),
    Kind.CASH_BACK: frozenset({(_A.MERCHANT_CASH, _A.CASHED_BACK)}),
    Kind.INVOICE: frozenset({(_A.INVOICEABLE, _A.INVOICED)}),
    Kind.COUPON_GIFT: frozenset({(_A.COUPON_STOCK, _A.COUPON_HELD)}),
    Kind.COUPON_USE: frozenset({(_A.COUPON_HELD, _A.COUPON_REDEEMED)}),
    Kind.COUPON_WITHDRAWAL: frozenset({(_A.COUPON_HELD, _A.COUPON_STOCK)}),
}
_OF_LOTS = frozenset({_A.CUSTOMER_PRINCIPAL, _A.CUSTOMER_GIFT})
# Whose balance is never below zero; all others are the merchant's side of the same moves.
_NEVER_BELOW = _OF_LOTS | {_A.INVOICEABLE, _A.INVOICED, _A.COUPON_HELD, _A.COUPON_REDEEMED}


class Finding(NamedTuple):
    """Something that is not as it should be: `what` kind of trouble, with which thing, and where in it."""

    what: str
    subject: str
    entry_id: str | None = None
    day: str | None = None
    attribute: str | None = None
    expected: str | None = None
    found: str | None = None


class Judged(NamedTuple):
    """An entry as it is stored, and what is wrong with it; `row` is None when it cannot be read."""

    entry_id: str
    subject: str
    row: EntryTable | None
    findings: list[Finding]


def entries_of(subject: str) -> Iterator[list[Judged]]:
    """Yield the entries of a card or a coupon page by page, in the order of time."""
    after: Item | None = None
    while True:
        page = EntryTable.query_items(subject, limit=PAGE, after=after, consistent=True)
        yield [judge(item) for item in page.rows]
        after = page.last_key
        if after is None:
            return


def judge(item: Item) -> Judged:
    """Read a stored entry and tell what contradicts itself in it."""
    entry_id, subject = _text(item, "entry_id"), _text(item, "subject")
    # The same is found with the day and with the card.
    day = _text(item, "merchant_day").rpartition("#")[2] or None

    def finding(what: str, attribute: str | None = None, expected: Any = None, found: Any = None) -> Finding:
        return Finding(what, subject, entry_id, day, attribute, _said(expected), _said(found))

    try:
        row = EntryTable.of_item(item)
        digest, again = digest_of(row), row.item()
        wanted = merchant_day(row.merchant_id, day_of(row.at))
        stamp = ordered_id(row.at)[:_STAMP]
        wrong_moves = _wrong_moves(row)
    except UNREADABLE:
        return Judged(entry_id, subject, None, [finding("entry_unreadable")])
    findings = []
    if row.digest != digest:
        findings.append(finding("entry_changed", "digest", row.digest, digest))
    # What is written in another way, or beside what is known, changes no digest.
    findings += [
        finding("entry_changed", name, again.get(name), item.get(name))
        for name in sorted(again.keys() | item.keys())
        if again.get(name) != item.get(name)
    ]
    if row.merchant_day != wanted:
        findings.append(finding("entry_contradicts_itself", "merchant_day", wanted, row.merchant_day))
    if not entry_id.startswith(stamp):
        findings.append(finding("entry_contradicts_itself", "at", entry_id[:_STAMP], stamp))
    findings += [finding("entry_out_of_balance", "moves", None, move) for move in wrong_moves]
    return Judged(entry_id, subject, row, findings)


def _wrong_moves(row: EntryTable) -> list[Any]:
    """Return the moves that take nothing, or move between accounts that this kind of entry has nothing to do with."""
    flows = FLOWS[row.kind]
    wrong = []
    for source, target, amount in row.moves:
        known = (account_of(source), account_of(target)) in flows
        if not known or type(amount) is not int or amount <= 0:
            wrong.append([source, target, amount])
    return wrong


def account_of(name: str) -> str:
    """Return the account of a name, without the lot that a customer's may have."""
    account, _, lot = name.partition(":")
    return account if not lot or (account in _OF_LOTS and is_number(lot)) else name


def is_number(text: str) -> bool:
    """Tell whether a text is a number that we may have given to something."""
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def lot_of(name: str) -> int:
    """Return the lot that an account belongs to, 0 for a card as a whole."""
    return int(name.partition(":")[2] or 0)


class Balances:
    """The balances of accounts, entry by entry; remembers who was below zero and when."""

    def __init__(self, subject: str) -> None:
        self.of: dict[str, int] = {}
        self.findings: list[Finding] = []
        self._subject = subject
        self._below: dict[str, tuple[datetime, str]] = {}

    def add(self, row: EntryTable) -> None:
        """Carry out the moves of the next entry."""
        for source, target, amount in row.moves:
            self.of[source] = self.of.get(source, 0) - amount
            self.of[target] = self.of.get(target, 0) + amount
        for account in {name for source, target, _ in row.moves for name in (source, target)}:
            if self.of[account] >= 0 or account_of(account) not in _NEVER_BELOW:
                self._below.pop(account, None)
            else:
                self._below.setdefault(account, (row.at, row.entry_id))
        for account, (since, entry_id) in list(self._below.items()):
            if row.at - since > _MOMENT:
                self._report(account, entry_id)

    def end(self) -> None:
        """Report who is below zero after the last entry."""
        for account, (_, entry_id) in list(self._below.items()):
            self._report(account, entry_id)

    def sum_of(self, account: Account) -> int:
        """Return the balance of an account, of all lots together."""
        return sum(cents for name, cents in self.of.items() if account_of(name) == account)

    def _report(self, account: str, entry_id: str) -> None:
        del self._below[account]
        self.findings.append(Finding("below_zero", self._subject, entry_id, attribute=account))


def totals(balances: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return balances by account, lots added up, without those that are zero."""
    found: dict[str, int] = {}
    for name, cents in balances:
        account = account_of(name)
        found[account] = found.get(account, 0) + cents
    return {account: cents for account, cents in sorted(found.items()) if cents}


def differences(what: str, subject: str, row: Table, expected: dict[str, Any]) -> list[Finding]:
    """Return a finding for each attribute of a row that is not as expected."""
    return [
        Finding(what, subject, attribute=name, expected=_said(value), found=_said(getattr(row, name)))
        for name, value in expected.items()
        if getattr(row, name) != value
    ]


def settled(
    subject: str,
    look: Callable[[], tuple[bool, list[Finding]]],
    *,
    alike: int = 2,
    pauses: Sequence[float] = _OF_TABLE,
) -> list[Finding]:
    """Return what looking at something finds, when it stayed as it was and `alike` looks after each other agree.

    `look` tells whether the thing stayed as it was, and its findings: the writes of one transaction do not become
    visible all at once, and an index shows them later still. What never stays as it was could not be proven.
    """
    seen: list[list[Finding]] = []
    found: list[Finding] = []
    for pause in (*pauses, None):
        steady, found = look()
        if not steady:
            seen, found = [], [Finding(RESTLESS, subject)]
        elif not found:
            return found
        else:
            seen = [*seen, found] if seen and seen[-1] == found else [found]
            if len(seen) == alike:
                return found
        if pause is not None:
            wait(pause)
    return found


def day_in(row: EntryTable) -> str:
    """Return the day under which an entry is found."""
    return str(row.merchant_day).rpartition("#")[2]


def _text(item: Item, name: str) -> str:
    return str((item.get(name) or {}).get("S", ""))


def _said(value: Any) -> str | None:
    return None if value is None else str(value)
