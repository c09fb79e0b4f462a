"""Keeping the searched lists packed: every night all of them, so that no search reads more than a day's rows."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from kernel import clock
from kernel.list_search import packing_of
from kernel.listings import PACKING
from membership import listings
from membership.tables import MerchantTable, StoreTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.listings import Book

_RECORDS = (listings.RECHARGES, listings.EXPENSES, listings.REFUNDS, listings.INVOICES)


def request_packing() -> int:
    """Ask for the packing of every list of every merchant; return how many there are."""
    night = f"{clock.now():%Y%m%d%H%M}"
    books = list(_books())
    PACKING.send(packing_of(book, night) for book in books)
    return len(books)


def _books() -> Iterator[Book]:
    for merchant in MerchantTable.every_item(MerchantTable.KIND, fields=[MerchantTable.id], limit=1000):
        merchant_id = int(merchant["id"]["N"])
        stores = StoreTable.every_item(merchant_id, fields=[StoreTable.id], limit=1000)
        store_ids = [int(store["id"]["N"]) for store in stores]
        yield listings.customers_book(merchant_id)
        yield from chain.from_iterable(listings.books(kind, merchant_id, store_ids) for kind in _RECORDS)
