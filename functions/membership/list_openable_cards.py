from kernel.grants import read
from membership import products
from membership.api import Paged, api
from membership.managers import Manager
from membership.products import ListOpenableCards, OpenableCard
from membership.tables import CouponTable, EventTable, ProductTable, StoreTable


@api.post(
    "/web/manage/v3/card/store_card",
    uses=[*map(read, (ProductTable, StoreTable, EventTable, CouponTable))],
)
def list_openable_cards(request: ListOpenableCards, caller: Manager) -> list[OpenableCard] | Paged[list[OpenableCard]]:
    """List the membership cards that can be opened at the account's store, with their stores and events."""
    return products.openable(caller, request)
