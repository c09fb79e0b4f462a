"""Invoices for what customers paid in: writing one down (8.2), and those of a card with what is left (8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.tables import Change, create, fetch
from membership import listings, numbers
from membership.api import Done, OnceRequest, Text, View, local
from membership.card_views import OfCard, card_of, customer_of, invoiceable
from membership.cards import as_case, no_product, own_store_key
from membership.faults import Refused
from membership.ledger import Account, Kind, Move, card_subject, entry
from membership.money import Money, PositiveAmount, yuan
from membership.postings import on_shift, post
from membership.tables import CardTable, InvoiceTable, ProductTable, RepeatTable, StoreTable, owner_key

if TYPE_CHECKING:
    from membership.managers import Manager
    from membership.repeats import Claim

# The invoices of a card that are shown: the latest of them.
MOST_SHOWN = 1000


class AddInvoice(OfCard, OnceRequest):
    """An invoice that was issued, with its picture."""

    amount: PositiveAmount
    image: Text
    summary: Text | None = None


class CardInvoiceView(View):
    """An invoice of a card."""

    id: int
    amount: Money
    summary: str | None
    store_id: int | None
    store_name: str | None
    created: str
    image: str | None


class CardInvoicesView(View):
    """What was paid in on a card and not paid back, what of it was invoiced, what is left, and the invoices."""

    total_charge: Money
    total_invoice: Money
    amount: Money
    invoice_vos: list[CardInvoiceView]


def add(manager: Manager, request: AddInvoice, claim: Claim) -> Done:
    """Write down an invoice for a customer's card, for no more than is left to invoice (M8.2)."""
    customer = customer_of(manager, request.user_id)
    merchant_id, product_id = manager.merchant_id, request.card_id
    repeat, store, card, product = fetch(
        (RepeatTable, claim.row_key),
        (StoreTable, own_store_key(manager)),
        (CardTable, CardTable.key(owner_key(merchant_id, customer.phone), product_id)),
        (ProductTable, ProductTable.key(merchant_id, product_id)),
    )
    claim.check(repeat)
    if product is None:
        raise no_product(product_id)
    case = as_case(manager, store, customer, card, product)
    left = invoiceable(case.card)
    if request.amount > left:
        raise Refused(f"可开票金额只剩 {yuan(left)} 元")
    now = claim.now
    invoice = InvoiceTable(
        card_id=case.card.id,
        id=numbers.next_id("invoices"),
        amount=request.amount,
        summary=request.summary or "",
        image=request.image,
        store_id=None if case.store is None else case.store.id,
        store_name=None if case.store is None else case.store.store_name,
        created_at=now,
    )
    actions = [
        CardTable.invoiceable.add(-request.amount),
        CardTable.invoiced.add(request.amount),
        CardTable.entries.add(1),
    ]
    content = {"amount": request.amount, "summary": invoice.summary, "image": request.image}
    return post(
        claim,
        Done("添加成功"),
        Change(CardTable, case.card.own_key(), actions, CardTable.invoiceable >= request.amount),
        entry(
            manager,
            Kind.INVOICE,
            card_subject(case.card.id),
            [Move(Account.INVOICEABLE, Account.INVOICED, request.amount)],
            at=now,
            user_id=customer.user_id,
            reference=invoice.id,
        ),
        create(invoice),
        listings.record(manager, listings.INVOICES, invoice.id, now, case, content, request.amount),
        on_shift(manager, now, invoiced=request.amount),
    )


def of_card(manager: Manager, request: OfCard) -> CardInvoicesView:
    """Return the invoices of a customer's card, the newest first, and what is left to invoice (M8.1)."""
    _, card, _ = card_of(manager, request)
    found = InvoiceTable.query(card.id, limit=MOST_SHOWN, newest_first=True, consistent=True).rows
    return CardInvoicesView(
        total_charge=card.charged,
        total_invoice=card.invoiced,
        amount=invoiceable(card),
        invoice_vos=[
            CardInvoiceView(
                id=row.id,
                amount=row.amount,
                summary=row.summary,
                store_id=row.store_id,
                store_name=row.store_name,
                created=local(row.created_at),
                image=row.image,
            )
            for row in found
        ],
    )
