from kernel.grants import append, read, write
from kernel.listings import ListedTable
from kernel.numbering import CounterTable
from membership import recharges
from membership.api import Done, api
from membership.managers import Manager
from membership.recharges import Recharge
from membership.repeats import once
from membership.tables import (
    CardTable,
    CouponTable,
    CustomerTable,
    EntryTable,
    EventTable,
    HoldingTable,
    LotTable,
    OrderTable,
    ProductTable,
    RepeatTable,
    ShiftTable,
    StoreTable,
)

_READ = (StoreTable, ProductTable, CustomerTable, CardTable, RepeatTable, EventTable, CouponTable, HoldingTable)
_WRITTEN = (CardTable, RepeatTable, ShiftTable, CounterTable, CouponTable, HoldingTable)
_ADDED = (EntryTable, ListedTable, OrderTable, LotTable)


@api.post(
    "/web/manage/v3/userCard/charge",
    uses=[*map(read, _READ), *map(write, _WRITTEN), *map(append, _ADDED)],
)
def recharge_card(request: Recharge, caller: Manager) -> Done:
    """Credit a customer's card with a recharge and a gift, under an event where one is chosen."""
    return once(caller, request, lambda claim: recharges.recharge(caller, request, claim))
