"""Explaining a balance: every cent of a card, from the entry that moved it to the recharge that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from kernel.signed import seal, unseal
from membership.api import View, iso_utc
from membership.back_office import Fields
from membership.cards import ACTIVITY
from membership.evidence import account_of, lot_of
from membership.faults import Missing
from membership.ledger import Account, Kind, card_subject
from membership.money import Money
from membership.tables import CardTable, EntryTable, LotTable, open_lots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.auth import Caller

PAGE, LARGEST_PAGE = 50, 100
# The entries that are looked through for the recharges whose money is left, from the newest back.
_MOST_ENTRIES = 100_000
_AT_ONCE = 500
# How often the end of it is told anew when something is done with the card meanwhile.
_LOOKS = 3
# A card's own accounts; the others are the merchant's side of the same moves.
_OWN = frozenset({Account.CUSTOMER_PRINCIPAL, Account.CUSTOMER_GIFT, Account.INVOICEABLE, Account.INVOICED})
_SOURCES = frozenset({Kind.RECHARGE, Kind.CARRY_OVER})


class Explain(Fields):
    """How many entries to explain, and behind which to go on."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = PAGE
    cursor: str | None = None


class MoveView(View):
    """Cents from one account to another; `lot` is the recharge of an activity card that they belong to."""

    source: str
    target: str
    lot: int | None
    amount: Money


class BalanceView(View):
    """What an entry changed of one account of the card (and of one lot), and what the account held after it."""

    account: str
    lot: int | None
    change: Money
    balance: Money


class EntryView(View):
    """One entry: what it moved, who did it, where and when, and the balances after it."""

    id: str
    kind: str
    at: str
    order_no: int | None
    reference: int | None
    manager_id: int
    store_id: int | None
    moves: list[MoveView]
    balances: list[BalanceView]


class LeftView(View):
    """Cents that are left, and the recharge that brought them; no `entryId` means an entry too old to look for."""

    order_no: int | None
    entry_id: str | None
    at: str | None
    lot: int | None
    principal: Money
    gift: Money


class ExplanationView(View):
    """A card, a page of its entries, and on the last page where what is left of its money came from.

    `agrees` tells on the last page whether the entries add up to the card's balances; null when the card is used
    all the while.
    """

    card_id: int
    card_no: int
    merchant_id: int
    user_id: int
    type: int
    balance: Money
    principal: Money
    gift: Money
    invoiceable: Money
    invoiced: Money
    carried: list[BalanceView]
    entries: list[EntryView]
    agrees: bool | None
    left: list[LeftView] | None
    cursor: str | None


def explain(caller: Caller, card_id: int, request: Explain) -> ExplanationView:
    """Trace a card's balances to its entries, page by page; another merchant's card is not there."""
    found = CardTable.query(card_id, index=type(CardTable.by_id), limit=1).rows
    if not found or not caller.may(str(found[0].merchant_id)):
        raise Missing("会员卡不存在")
    card = CardTable.find(found[0].owner, found[0].product_id) or found[0]
    purpose = f"explain#{card.id}"
    after, before = unseal(purpose, request.cursor, "cursor") if request.cursor else (None, {})
    for _ in range(_LOOKS):
        balances = dict(before)
        page = EntryTable.query(card_subject(card.id), limit=request.limit, after=after, consistent=True)
        entries = [_entry(row, balances) for row in page.rows]
        last = page.last_key is None
        left = _left(card) if last else None
        seen, card = card, CardTable.find(card.owner, card.product_id) or card
        if not last or seen.entries == card.entries:
            break
    return ExplanationView(
        card_id=seen.id,
        card_no=seen.card_no,
        merchant_id=seen.merchant_id,
        user_id=seen.user_id,
        type=seen.type,
        balance=seen.principal + seen.gift,
        principal=seen.principal,
        gift=seen.gift,
        invoiceable=seen.invoiceable,
        invoiced=seen.invoiced,
        carried=[_balance(name, 0, cents) for name, cents in before.items()],
        entries=entries,
        agrees=_agrees(seen, balances) if last and seen.entries == card.entries else None,
        left=left,
        # Lots that are used up need not be carried.
        cursor=None
        if last
        else seal(purpose, [page.last_key, {name: cents for name, cents in balances.items() if cents}]),
    )


def _entry(row: EntryTable, balances: dict[str, int]) -> EntryView:
    changes: dict[str, int] = {}
    for source, target, amount in row.moves:
        for name, cents in ((source, -amount), (target, amount)):
            if account_of(name) in _OWN:
                changes[name] = changes.get(name, 0) + cents
    for name, cents in changes.items():
        balances[name] = balances.get(name, 0) + cents
    return EntryView(
        id=row.entry_id,
        kind=row.kind,
        at=iso_utc(row.at),
        order_no=row.order_no,
        reference=row.reference,
        manager_id=row.manager_id,
        store_id=row.store_id,
        moves=[
            MoveView(
                source=account_of(source),
                target=account_of(target),
                lot=lot_of(source) or lot_of(target) or None,
                amount=amount,
            )
            for source, target, amount in row.moves
        ],
        balances=[_balance(name, cents, balances[name]) for name, cents in changes.items()],
    )


def _balance(name: str, change: int, balance: int) -> BalanceView:
    return BalanceView(account=account_of(name), lot=lot_of(name) or None, change=change, balance=balance)


def _agrees(card: CardTable, balances: dict[str, int]) -> bool:
    sums = dict.fromkeys(_OWN, 0)
    for name, cents in balances.items():
        sums[Account(account_of(name))] += cents
    return sums == {
        Account.CUSTOMER_PRINCIPAL: card.principal,
        Account.CUSTOMER_GIFT: card.gift,
        Account.INVOICEABLE: card.invoiceable,
        Account.INVOICED: card.invoiced,
    }


def _left(card: CardTable) -> list[LeftView]:
    """Return where what is left came from: an activity card's lots know, on any other the oldest money goes first."""
    if card.type == ACTIVITY:
        items = LotTable.every_item(open_lots(card.id), limit=_AT_ONCE, consistent=True)
        lots = [LotTable.of_item(item) for item in items]
        entry_ids = _recharges(card.id, {lot.order_no for lot in lots})
        return [
            LeftView(
                order_no=lot.order_no,
                entry_id=entry_ids.get(lot.order_no),
                at=iso_utc(lot.created_at),
                lot=lot.id,
                principal=lot.principal,
                gift=lot.gift,
            )
            for lot in lots
        ]
    principal, gift, found = card.principal, card.gift, []
    for source in _newest_sources(card.id):
        if principal <= 0 and gift <= 0:
            break
        taken = min(principal, source.principal), min(gift, source.gift)
        principal, gift = principal - taken[0], gift - taken[1]
        if any(taken):
            row = source.row
            found.append(
                LeftView(
                    order_no=row.order_no, entry_id=row.entry_id, at=iso_utc(row.at), lot=None, principal=taken[0],
                    gift=taken[1],
                )
            )  # fmt: skip
    if principal > 0 or gift > 0:
        found.append(LeftView(order_no=None, entry_id=None, at=None, lot=None, principal=principal, gift=gift))
    return found[::-1]


def _recharges(card_id: int, order_nos: set[int]) -> dict[int, str]:
    """Return the entries of recharges by their order numbers."""
    found: dict[int, str] = {}
    for source in _newest_sources(card_id) if order_nos else ():
        if source.row.order_no in order_nos:
            found[source.row.order_no] = source.row.entry_id
        if len(found) == len(order_nos):
            break
    return found


class _Source(NamedTuple):
    """An entry that brought money, and how much of that was not paid back."""

    row: EntryTable
    principal: int
    gift: int


def _newest_sources(card_id: int) -> Iterator[_Source]:
    """Yield what brought money to a card, from the newest back; refunds of it are always newer and so known by then."""
    refunded: dict[int, list[int]] = {}
    seen, after = 0, None
    while seen < _MOST_ENTRIES:
        page = EntryTable.query(card_subject(card_id), limit=_AT_ONCE, after=after, newest_first=True, consistent=True)
        for row in page.rows:
            if row.kind == Kind.RECHARGE_REFUND:
                back = refunded.setdefault(row.reference, [0, 0])
                for place, account in enumerate((Account.CUSTOMER_PRINCIPAL, Account.CUSTOMER_GIFT)):
                    back[place] += sum(amount for source, _, amount in row.moves if source == account)
            elif row.kind in _SOURCES:
                back = refunded.pop(row.order_no, [0, 0])
                yield _Source(
                    row, _into(row, Account.CUSTOMER_PRINCIPAL) - back[0], _into(row, Account.CUSTOMER_GIFT) - back[1]
                )
        seen += len(page.rows)
        after = page.last_key
        if after is None:
            return


def _into(row: EntryTable, account: Account) -> int:
    moves: list[Any] = row.moves
    return sum(amount for _, target, amount in moves if target == account)
