"""Cashing back (4.6): the merchant pays out what a used up recharge of an activity card had promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import Denied
from kernel.tables import Change, fetch
from membership import lots
from membership.api import Done, Id, OnceRequest
from membership.cards import check_open, check_store, own_store_key
from membership.faults import Missing, Refused
from membership.ledger import Account, Kind, Move, card_subject, entry
from membership.postings import on_shift, post
from membership.tables import CardTable, LotTable, ProductTable, RepeatTable, StoreTable, finished_lots

if TYPE_CHECKING:
    from membership.managers import Manager
    from membership.repeats import Claim


class CashBack(OnceRequest):
    """The usage record (4.5) whose cash-back was paid out."""

    store_member_event_id: Id


def confirm(manager: Manager, request: CashBack, claim: Claim) -> Done:
    """Note that a used up recharge was cashed back; the money itself changes hands outside (M4.6)."""
    number = request.store_member_event_id
    found = LotTable.query(number, index=type(LotTable.by_id)).rows
    if not found:
        raise Missing("使用记录不存在")
    known = found[0]
    if known.merchant_id != manager.merchant_id:
        raise Denied
    # The index lags behind, so it only tells whose record it is.
    repeat, store, product, lot, card = fetch(
        (RepeatTable, claim.row_key),
        (StoreTable, own_store_key(manager)),
        (ProductTable, ProductTable.key(known.merchant_id, known.product_id)),
        (LotTable, LotTable.key(finished_lots(known.card_id), number)),
        (CardTable, CardTable.key(known.owner, known.product_id)),
    )
    claim.check(repeat)
    if manager.store_id is not None:
        check_open(store)
        check_store(product.store_ids, manager.store_id)
    if lot is None:
        raise Refused("此记录尚未用完，不能返现")
    if lot.status != lots.DUE:
        raise Refused("此记录已返现" if lot.status == lots.CASHED_BACK else "此记录已退款，不能返现")
    return post(
        claim,
        Done(""),
        Change(LotTable, lot.own_key(), [LotTable.status.set(lots.CASHED_BACK)], LotTable.status == lots.DUE),
        Change(CardTable, card.own_key(), [CardTable.entries.add(1)], CardTable.id == card.id),
        entry(
            manager,
            Kind.CASH_BACK,
            card_subject(card.id),
            [Move(Account.MERCHANT_CASH, Account.CASHED_BACK, lot.brought_principal)],
            at=claim.now,
            user_id=card.user_id,
            reference=lot.id,
        ),
        on_shift(manager, claim.now, cashed_back=lot.brought_principal),
    )
