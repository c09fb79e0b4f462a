"""Searching recharges, payments, refunds and invoices (4.1, 4.2, 4.3, 8.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from kernel.list_search import Wanted, search
from membership import listings
from membership.api import PageRequest, View, Whole, iso_utc, local
from membership.money import Money

if TYPE_CHECKING:
    from kernel.list_search import Found
    from membership.api import Paged
    from membership.managers import Manager


class SearchRecords(PageRequest):
    """What is looked for in a list of records; what is not said is not looked at."""

    phone: Annotated[str | None, Field(description="Any part of the customer's phone number")] = None
    start_time: Annotated[Whole | None, Field(description="The earliest time, in 13-digit Unix milliseconds")] = None
    end_time: Annotated[Whole | None, Field(description="The latest time, in 13-digit Unix milliseconds")] = None


class SearchRecharges(SearchRecords):
    """What is looked for among recharges."""

    keywords: Annotated[str | None, Field(description="A part of the phone number or of the nickname")] = None


class _RecordView(View):
    id: int
    membership_card_id: int
    title: str
    card_no: int
    user_id: int
    nickname: str | None
    phone: str
    store_name: str | None
    explain: str | None
    created: str


class RechargeView(_RecordView):
    """A recharge."""

    member_event_id: int | None
    event_name: str | None
    recharge_money: Money
    send_money: Money
    type: int
    store_id: int | None
    order_no: int
    image: str | None


class ExpenseView(_RecordView):
    """A payment."""

    expense_money: Money
    type: int
    store_id: int | None
    order_no: int


class RefundView(_RecordView):
    """A refund of a payment or of a recharge, told apart by `explain`."""

    money: Money


class InvoiceView(View):
    """An invoice and whom it is for."""

    id: int
    amount: Money
    summary: str | None
    store_id: int | None
    store_name: str | None
    created: str
    image: str | None
    user_id: int
    phone: str
    nickname: str | None


class Recharges(View):
    """Recharges, and what all that were found add up to."""

    total_charge_money: Money
    total_send_money: Money
    charge_re_vo: list[RechargeView]


class Expenses(View):
    """Payments, and what all that were found add up to."""

    total_expense_money: Money
    expense_re_vo: list[ExpenseView]


def recharges(manager: Manager, request: SearchRecharges) -> Paged[Recharges]:
    """Return a page of recharges (4.1)."""
    found = _search(manager, listings.RECHARGES, request, request.keywords)
    rows = [RechargeView.model_validate(row.content | {"created": iso_utc(row.at)}) for row in found.rows]
    data = Recharges(total_charge_money=found.sum(0), total_send_money=found.sum(1), charge_re_vo=rows)
    return request.page(data, found.total)


def expenses(manager: Manager, request: SearchRecords) -> Paged[Expenses]:
    """Return a page of payments, also of those that were given back (4.2)."""
    found = _search(manager, listings.EXPENSES, request)
    rows = [ExpenseView.model_validate(row.content | {"created": iso_utc(row.at)}) for row in found.rows]
    return request.page(Expenses(total_expense_money=found.sum(0), expense_re_vo=rows), found.total)


def refunds(manager: Manager, request: SearchRecords) -> Paged[list[RefundView]]:
    """Return a page of refunds (4.3)."""
    found = _search(manager, listings.REFUNDS, request)
    rows = [RefundView.model_validate(row.content | {"created": iso_utc(row.at)}) for row in found.rows]
    return request.page(rows, found.total)


def invoices(manager: Manager, request: SearchRecords) -> Paged[list[InvoiceView]]:
    """Return a page of invoices (8.4)."""
    found = _search(manager, listings.INVOICES, request)
    rows = [InvoiceView.model_validate(row.content | {"created": local(row.at)}) for row in found.rows]
    return request.page(rows, found.total)


def _search(manager: Manager, kind: str, request: SearchRecords, keywords: str | None = None) -> Found:
    book = listings.records_book(kind, manager.merchant_id, manager.store_id)
    wanted = Wanted(request.phone or "", keywords or "", request.start_time, request.end_time)
    return search(book, wanted, page=request.number, size=request.size)
