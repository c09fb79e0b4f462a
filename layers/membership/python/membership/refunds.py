"""Giving back what a card paid (3.7) and paying back what was paid in (3.9): new entries, whole or in parts (ours)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints

from kernel.errors import Denied
from kernel.tables import Change, Delete, create, fetch
from membership import listings, lots, numbers, sms_codes
from membership.api import Done, Id, OnceRequest, Text
from membership.cards import Case, as_case, own_store_key
from membership.faults import Missing, Refused
from membership.ledger import Account, Kind, Move, Part, card_subject, entry, holding_subject, into_card, out_of_card
from membership.money import PositiveAmount, yuan
from membership.postings import Step, on_shift, post
from membership.repeats import Contended
from membership.spending import finished
from membership.tables import (
    CardTable,
    CouponTable,
    CustomerTable,
    HoldingTable,
    LotTable,
    OrderTable,
    ProductTable,
    RepeatTable,
    StoreTable,
    finished_lots,
    open_lots,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from pynamodb.expressions.condition import Condition

    from kernel.tables import Write
    from membership.managers import Manager
    from membership.repeats import Claim

_EXPENSE_EXPLAIN = "消费回退"
_RECHARGE_EXPLAIN = "充值退款"
Code = Annotated[str, StringConstraints(min_length=1, max_length=50), Field(description="As 3.8 sent it")]


class RefundExpense(OnceRequest):
    """The payment to undo; without `money` all that is left of it."""

    order_no: Id
    code: Code
    explain: Text | None = None
    money: PositiveAmount | None = None


class RefundRecharge(OnceRequest):
    """The recharge to pay back; without `money` all that is left of it."""

    order_no: Id
    code: Code
    money: PositiveAmount | None = None


def refund_expense(manager: Manager, request: RefundExpense, claim: Claim) -> Done:
    """Give money of a payment back to the lots that it came from, principal and gift as they were spent (M3.7)."""
    order, proven = _proven(manager, request, claim, listings.EXPENSES)
    spent = (order.principal, order.gift, order.returned_principal, order.returned_gift)
    left = order.principal + order.gift - order.returned_principal - order.returned_gift
    cents = _wanted(request.money, left, "回退")
    principal, gift = lots.share(*spent, cents)
    parts = lots.give_back(
        [Part(*part) for part in order.parts], order.returned_principal, order.returned_gift, (principal, gift)
    )
    case, held = _read(manager, order, parts)
    on_lots, reopened = _on_lots(held, parts)
    number = numbers.next_id("refunds")
    content = {"money": cents, "explain": request.explain or _EXPENSE_EXPLAIN}
    actions = [
        CardTable.principal.add(principal),
        CardTable.gift.add(gift),
        CardTable.entries.add(1),
        CardTable.layout.add(1),
        CardTable.lots_open.add(reopened),
    ]
    return post(
        claim,
        Done("成功"),
        proven,
        Change(CardTable, case.card.own_key(), actions, CardTable.id == case.card.id),
        entry(
            manager,
            Kind.SPENDING_REFUND,
            card_subject(order.card_id),
            into_card(parts, Account.MERCHANT_SALES, Account.MERCHANT_SALES),
            at=claim.now,
            user_id=order.user_id,
            reference=order.order_no,
        ),
        _on_order(order, principal, gift),
        listings.record(manager, listings.REFUNDS, number, claim.now, case, content, cents),
        on_shift(manager, claim.now, spending_returned=cents),
        *on_lots,
    )


def refund_recharge(manager: Manager, request: RefundRecharge, claim: Claim) -> Done:
    """Take a recharge off a card with the gift that came with it; one that gave coupons only whole (M3.9)."""
    order, proven = _proven(manager, request, claim, listings.RECHARGES)
    principal = _wanted(request.money, order.principal - order.returned_principal, "退款")
    gift = lots.withdrawn(order.principal, order.gift, order.returned_principal, order.returned_gift, principal)
    part = Part(order.parts[0][0], principal, gift)
    whole = order.returned_principal + principal == order.principal
    if order.coupon_id is not None and not whole:
        # Else all but a cent of the money goes back, and the coupons stay.
        raise Refused("送券的充值只能整单退款")
    case, held = _read(manager, order, [part])
    if part.lot_id:
        on_lot = _off_lot(held, order, part, whole=whole)
    else:
        on_lot = []
        _check_balance(case.card, part)
    if case.card.invoiceable < principal:
        raise Refused(f"应退 {yuan(principal)} 元，未开发票的充值只有 {yuan(case.card.invoiceable)} 元，不能退款")
    withdrawal, pieces = ([], 0) if order.coupon_id is None else _withdrawal(manager, order, claim.now)
    number = numbers.next_id("refunds")
    content = {"money": principal, "explain": _RECHARGE_EXPLAIN}
    return post(
        claim,
        Done("成功"),
        proven,
        _off_card(case.card, part, closed=whole and part.lot_id != 0),
        entry(
            manager,
            Kind.RECHARGE_REFUND,
            card_subject(order.card_id),
            [
                *out_of_card([part], Account.MERCHANT_CASH, Account.MERCHANT_PROMOTION),
                Move(Account.INVOICEABLE, Account.INVOICE_BASIS, principal),
            ],
            at=claim.now,
            user_id=order.user_id,
            reference=order.order_no,
        ),
        _on_order(order, principal, gift),
        listings.record(manager, listings.REFUNDS, number, claim.now, case, content, principal),
        on_shift(manager, claim.now, recharge_returned=principal, gift_withdrawn=gift, coupons_withdrawn=pieces),
        *on_lot,
        *withdrawal,
    )


def _proven(
    manager: Manager, request: RefundExpense | RefundRecharge, claim: Claim, kind: str
) -> tuple[OrderTable, Step]:
    """Return the order and the use of the SMS code, which is looked at before anything of the order is told."""
    repeat, order = fetch((RepeatTable, claim.row_key), (OrderTable, OrderTable.key(request.order_no)))
    claim.check(repeat)
    proven = sms_codes.proof(manager, request.code)
    if order is None:
        raise Missing("订单不存在")
    if order.merchant_id != manager.merchant_id:
        raise Denied
    if manager.store_id is not None and order.store_id != manager.store_id:
        raise Refused("只能退本店的订单")
    if order.kind != kind:
        raise Refused("此订单不是消费订单" if kind == listings.EXPENSES else "此订单不是充值订单")
    return order, proven


def _wanted(money: int | None, left: int, what: str) -> int:
    """Return how much of an order goes back: what is asked for, or all that is left."""
    if left == 0:
        raise Refused(f"订单已全部{what}")
    if money is not None and money > left:
        raise Refused(f"订单还可{what} {yuan(left)} 元")
    return left if money is None else money


def _read(manager: Manager, order: OrderTable, parts: Iterable[Part]) -> tuple[Case, dict[int, LotTable]]:
    """Read in one request what the refund of these parts of an order concerns, and their lots by number."""
    merchant_id, phone = manager.merchant_id, order.owner.partition("#")[2]
    places = (finished_lots(order.card_id), open_lots(order.card_id))
    store, customer, card, product, *found = fetch(
        (StoreTable, own_store_key(manager)),
        (CustomerTable, CustomerTable.key(merchant_id, phone)),
        (CardTable, CardTable.key(order.owner, order.product_id)),
        (ProductTable, ProductTable.key(merchant_id, order.product_id)),
        *[(LotTable, LotTable.key(place, part.lot_id)) for part in parts if part.lot_id for place in places],
    )
    held = {lot.id: lot for lot in found if lot is not None}
    return as_case(manager, store, customer, card, product), held


def _on_order(order: OrderTable, principal: int, gift: int) -> Change:
    """Return the write that no two refunds of an order can do for the same cents."""
    returned_principal, returned_gift = OrderTable.returned_principal, OrderTable.returned_gift
    seen = (returned_principal == order.returned_principal) & (returned_gift == order.returned_gift)
    actions = [returned_principal.add(principal), returned_gift.add(gift)]
    return Change(OrderTable, order.own_key(), actions, seen)


def _on_lots(held: dict[int, LotTable], parts: Iterable[Part]) -> tuple[list[Write], int]:
    """Return the writes that bring money back to lots, and how many of these are open again thereby."""
    writes: list[Write] = []
    reopened = 0
    for part in parts:
        if not part.lot_id:
            continue
        lot = _lot(held, part.lot_id)
        principal, gift = lot.principal + part.principal, lot.gift + part.gift
        status = lots.status_of(principal, gift, lot.brought_gift)
        if lot.status in (lots.UNTOUCHED, lots.TOUCHED):
            actions = [LotTable.principal.set(principal), LotTable.gift.set(gift), LotTable.status.set(status)]
            writes.append(Change(LotTable, lot.own_key(), actions, _same(lot)))
        elif lot.status == lots.DUE:
            row = LotTable.of_item(lot.item())
            row.place = open_lots(lot.card_id)
            row.principal, row.gift, row.status = principal, gift, status
            writes += [Delete(LotTable, lot.own_key(), LotTable.status == lots.DUE), create(row)]
            reopened += 1
        else:
            raise Refused("此消费用过的充值已返现，不能回退")
    return writes, reopened


def _off_lot(held: dict[int, LotTable], order: OrderTable, part: Part, *, whole: bool) -> list[Write]:
    """Return the writes that take a recharge off its lot, which must be as the recharge left it."""
    lot = _lot(held, part.lot_id)
    principal, gift = order.principal - order.returned_principal, order.gift - order.returned_gift
    if lot.status == lots.CASHED_BACK:
        raise Refused("此充值已返现，不能退款")
    if (lot.principal, lot.gift) != (principal, gift):
        raise Refused(
            f"此充值已使用，不能退款：应有本金 {yuan(principal)} 元、赠送 {yuan(gift)} 元，"
            f"现有本金 {yuan(lot.principal)} 元、赠送 {yuan(lot.gift)} 元"
        )
    if whole:
        return [*finished(lot, _same(lot), lots.TAKEN_BACK)]
    # What was paid back was never brought, so that the rest counts as untouched and is cashed back alone.
    actions = [
        LotTable.principal.add(-part.principal),
        LotTable.gift.add(-part.gift),
        LotTable.brought_principal.add(-part.principal),
        LotTable.brought_gift.add(-part.gift),
    ]
    return [Change(LotTable, lot.own_key(), actions, _same(lot))]


def _check_balance(card: CardTable, part: Part) -> None:
    """Refuse to take off a card without lots what it does not hold any more; the table decides it once again."""
    if card.principal < part.principal or card.gift < part.gift:
        raise Refused(
            f"余额不足，不能退款：应退本金 {yuan(part.principal)} 元、赠送 {yuan(part.gift)} 元，"
            f"现有本金 {yuan(card.principal)} 元、赠送 {yuan(card.gift)} 元"
        )


def _off_card(card: CardTable, part: Part, *, closed: bool) -> Change:
    actions = [
        CardTable.principal.add(-part.principal),
        CardTable.gift.add(-part.gift),
        CardTable.charged.add(-part.principal),
        CardTable.invoiceable.add(-part.principal),
        CardTable.entries.add(1),
        CardTable.lots_open.add(-int(closed)),
    ]
    enough = (CardTable.principal >= part.principal) & (CardTable.gift >= part.gift)
    return Change(CardTable, card.own_key(), actions, enough & (CardTable.invoiceable >= part.principal))


def _withdrawal(manager: Manager, order: OrderTable, now: datetime) -> tuple[list[Write], int]:
    """Return the writes that take an event's coupons from the customer, and how many these are.

    Used ones cannot be taken (M3.9-4).
    """
    holding = HoldingTable.find(order.user_id, order.coupon_id)
    pieces, held = order.coupon_pieces, 0 if holding is None else holding.quantity
    if holding is None or held < pieces:
        raise Refused(f"应收回优惠券 {pieces} 张，用户只剩 {held} 张，不能退款")
    actions = [HoldingTable.quantity.add(-pieces), HoldingTable.withdrawn.add(pieces), HoldingTable.entries.add(1)]
    coupon = CouponTable.key(order.merchant_id, order.coupon_id)
    moves = [Move(Account.COUPON_HELD, Account.COUPON_STOCK, pieces)]
    writes: list[Write] = [
        Change(HoldingTable, holding.own_key(), actions, HoldingTable.quantity >= pieces),
        Change(CouponTable, coupon, [CouponTable.given.add(-pieces)], CouponTable.given >= pieces),
        entry(
            manager,
            Kind.COUPON_WITHDRAWAL,
            holding_subject(holding.num),
            moves,
            at=now,
            user_id=order.user_id,
            reference=order.coupon_id,
        ),
    ]
    return writes, pieces


def _lot(held: dict[int, LotTable], number: int) -> LotTable:
    lot = held.get(number)
    if lot is None:
        # It was on its way from one place to the other while both were read.
        raise Contended
    return lot


def _same(lot: LotTable) -> Condition:
    seen: Condition = (LotTable.principal == lot.principal) & (LotTable.gift == lot.gift)
    return seen
