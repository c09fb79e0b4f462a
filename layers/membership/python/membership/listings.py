"""The lists that managers search: what a row of each holds, and in whose books it stands (contract, X2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.listings import Book, listed
from kernel.tables import Change, create
from membership.tables import CustomerTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from kernel.tables import Put, Write
    from membership.cards import Case, Till
    from membership.managers import Manager

RECHARGES = "recharges"
EXPENSES = "expenses"
REFUNDS = "refunds"
INVOICES = "invoices"
CUSTOMERS = "customers"
# Where money was paid in or spent (contract, recharge_source and expense_source).
IN_STORE = 2


def own_book(kind: str, merchant_id: int, store_id: int | None) -> str:
    """Return the book of a store, or of what a merchant's own accounts did."""
    return f"{kind}#account#{merchant_id}" if store_id is None else f"{kind}#store#{store_id}"


def merchant_book(kind: str, merchant_id: int) -> str:
    """Return the book of a whole merchant."""
    return f"{kind}#merchant#{merchant_id}"


def books(kind: str, merchant_id: int, store_ids: Iterable[int]) -> Iterator[Book]:
    """Yield every book of a kind that somebody looks into; the rows of a merchant's own accounts stand in his."""
    yield records_book(kind, merchant_id, None)
    for store_id in store_ids:
        yield records_book(kind, merchant_id, store_id)


def records_book(kind: str, merchant_id: int, store_id: int | None) -> Book:
    """Return the book that an account looks into: its store's, or its merchant's with what it did itself (X2)."""
    own = own_book(kind, merchant_id, store_id)
    return Book(own) if store_id is not None else Book(merchant_book(kind, merchant_id), wider=True, own=own)


def customers_book(merchant_id: int) -> Book:
    """Return the book of a merchant's customers, in the order of their ids (M4.4-3)."""
    return Book(merchant_book(CUSTOMERS, merchant_id), by_number=True)


def record(
    manager: Manager, kind: str, number: int, at: datetime, till: Till | Case, content: dict[str, Any], *amounts: int
) -> Put:
    """Return the write that lists a record of the manager's store, with the card and the customer it is about."""
    store = till.store
    about = {
        "id": number,
        "membershipCardId": till.product.id,
        "title": till.product.title,
        "cardNo": till.card.card_no,
        "userId": till.customer.user_id,
        "nickname": till.customer.nickname,
        "phone": till.customer.phone,
        "storeId": None if store is None else store.id,
        "storeName": None if store is None else store.store_name,
    }
    return listed(
        own_book(kind, manager.merchant_id, None if store is None else store.id),
        number,
        at,
        about | content,
        wider=merchant_book(kind, manager.merchant_id),
        phone=till.customer.phone,
        words=till.customer.nickname or "",
        amounts=amounts,
    )


def customer_listed(customer: CustomerTable, at: datetime, *, made: bool) -> list[Write]:
    """Return the writes that list a customer who gets his first card; `made` when he is not stored yet."""
    key = CustomerTable.key(customer.merchant_id, customer.phone)
    row = listed(
        merchant_book(CUSTOMERS, customer.merchant_id),
        customer.user_id,
        at,
        {"userId": customer.user_id, "phone": customer.phone},
        phone=customer.phone,
    )
    if made:
        customer.listed = True
        return [create(customer), row]
    unlisted = CustomerTable.listed == False  # noqa: E712  builds a condition
    return [Change(CustomerTable, key, [CustomerTable.listed.set(True)], unlisted), row]
