"""Searching the customers who hold a card of the merchant (4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from kernel.list_search import Wanted, search
from kernel.tables import plain, rows_of
from membership.api import PageRequest, View
from membership.listings import customers_book
from membership.tables import CustomerTable

if TYPE_CHECKING:
    from membership.api import Paged
    from membership.managers import Manager


class SearchUsers(PageRequest):
    """Which customers are looked for."""

    phone: Annotated[str | None, Field(description="Any part of the customer's phone number")] = None


class UserView(View):
    """A customer."""

    user_id: int
    phone: str
    nickname: str | None
    avatar: str | None


def users(manager: Manager, request: SearchUsers) -> Paged[list[UserView]]:
    """Return a page of the merchant's customers, with the names and pictures they have now."""
    book = customers_book(manager.merchant_id)
    found = search(book, Wanted(request.phone or ""), page=request.number, size=request.size)
    listed = [row.content for row in found.rows]
    keys = [CustomerTable.key(manager.merchant_id, row["phone"]) for row in listed]
    fields = (CustomerTable.phone, CustomerTable.nickname, CustomerTable.avatar)
    now = {row["phone"]: row for row in map(plain, rows_of(CustomerTable, keys, fields))}
    rows = [
        UserView(
            user_id=row["userId"],
            phone=row["phone"],
            nickname=now.get(row["phone"], {}).get("nickname"),
            avatar=now.get(row["phone"], {}).get("avatar"),
        )
        for row in listed
    ]
    return request.page(rows, found.total)
