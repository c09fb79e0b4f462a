"""Customers and their cards by their ids, of whatever merchant: the tables' keys say phones and card products."""

from __future__ import annotations

from membership.tables import CardTable, CustomerTable


def card(card_id: int) -> CardTable | None:
    """Return the customer's card with this id; its balances must be read from its own row."""
    rows = CardTable.query(card_id, index=type(CardTable.by_id), limit=1).rows
    return rows[0] if rows else None


def customer(user_id: int) -> CustomerTable | None:
    """Return the customer with this id."""
    rows = CustomerTable.query(user_id, index=type(CustomerTable.by_user), limit=1).rows
    return rows[0] if rows else None
