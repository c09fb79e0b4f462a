"""The ledger: every change of value is an entry of moves between named accounts, each of which takes what it gives.

An entry is never changed and never removed; what was wrong is set right by another entry. A card's balance is the sum
of its entries, which `proofs` recomputes.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel import ids
from kernel.envelopes import json_text
from kernel.tables import Put, create
from membership.api import day_of, iso_utc
from membership.tables import EntryTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from membership.managers import Manager


class Account(StrEnum):
    """Where value comes from and goes to. The customer's two are per lot: `customer_gift:10` is that of lot 10."""

    CUSTOMER_PRINCIPAL = "customer_principal"
    CUSTOMER_GIFT = "customer_gift"
    MERCHANT_CASH = "merchant_cash"
    MERCHANT_PROMOTION = "merchant_promotion"
    MERCHANT_SALES = "merchant_sales"
    CASHED_BACK = "cashed_back"
    CARRIED_OVER = "carried_over"
    INVOICE_BASIS = "invoice_basis"
    INVOICEABLE = "invoiceable"
    INVOICED = "invoiced"
    COUPON_STOCK = "coupon_stock"
    COUPON_HELD = "coupon_held"
    COUPON_REDEEMED = "coupon_redeemed"


class Kind(StrEnum):
    """What an entry is about."""

    OPENING = "opening"
    CARRY_OVER = "carry_over"
    RECHARGE = "recharge"
    SPENDING = "spending"
    SPENDING_REFUND = "spending_refund"
    RECHARGE_REFUND = "recharge_refund"
    CASH_BACK = "cash_back"
    INVOICE = "invoice"
    COUPON_GIFT = "coupon_gift"
    COUPON_USE = "coupon_use"
    COUPON_WITHDRAWAL = "coupon_withdrawal"


class Move(NamedTuple):
    """So many cents (or pieces of a coupon) from one account to another."""

    source: str
    target: str
    amount: int


class Part(NamedTuple):
    """Cents of one lot, principal and gift; lot 0 is a card that has no lots."""

    lot_id: int
    principal: int
    gift: int


def of_lot(account: Account, lot_id: int) -> str:
    """Return the name of a customer's account, of one lot or of the card as a whole."""
    return f"{account}:{lot_id}" if lot_id else str(account)


def into_card(parts: Iterable[Part], principal_from: Account, gift_from: Account) -> list[Move]:
    """Return the moves that bring money into a card's lots."""
    moves = []
    for part in parts:
        moves.append(Move(principal_from, of_lot(Account.CUSTOMER_PRINCIPAL, part.lot_id), part.principal))
        moves.append(Move(gift_from, of_lot(Account.CUSTOMER_GIFT, part.lot_id), part.gift))
    return [move for move in moves if move.amount]


def out_of_card(parts: Iterable[Part], principal_to: Account, gift_to: Account) -> list[Move]:
    """Return the moves that take money from a card's lots."""
    return [Move(target, source, amount) for source, target, amount in into_card(parts, principal_to, gift_to)]


def card_subject(card_id: int) -> str:
    """Return what the entries of a card are kept under."""
    return f"card#{card_id}"


def holding_subject(num: int) -> str:
    """Return what the entries of a customer's coupon are kept under."""
    return f"holding#{num}"


def merchant_day(merchant_id: int, day: str) -> str:
    """Return what the entries of one day of a merchant are found under."""
    return f"{merchant_id}#{day}"


def entry(
    manager: Manager,
    kind: Kind,
    subject: str,
    moves: Iterable[Move],
    *,
    at: datetime,
    user_id: int,
    order_no: int | None = None,
    reference: int | None = None,
) -> Put:
    """Return the write that adds an entry; commit it with the change of balances that it reports.

    `order_no` is the order that it makes, `reference` what it is about: the order that is refunded, the lot that is
    cashed back, the invoice.
    """
    row = EntryTable(
        subject=subject,
        entry_id=ids.ordered_id(at),
        merchant_day=merchant_day(manager.merchant_id, day_of(at)),
        merchant_id=manager.merchant_id,
        kind=str(kind),
        moves=[list(move) for move in moves],
        order_no=order_no,
        reference=reference,
        manager_id=manager.manager_id,
        store_id=manager.store_id,
        user_id=user_id,
        at=at,
        digest="",
    )
    row.digest = digest_of(row)
    return create(row)


def digest_of(row: EntryTable) -> str:
    """Return the SHA-256 of everything an entry says; one changed byte changes it."""
    said: Mapping[str, Any] = {
        "subject": row.subject,
        "entryId": row.entry_id,
        "merchantDay": row.merchant_day,
        "merchantId": row.merchant_id,
        "kind": row.kind,
        "moves": row.moves,
        "orderNo": row.order_no,
        "reference": row.reference,
        "managerId": row.manager_id,
        "storeId": row.store_id,
        "userId": row.user_id,
        "at": iso_utc(row.at),
    }
    return hashlib.sha256(json_text(said).encode()).hexdigest()
