from kernel.grants import append, read, sign, write
from kernel.listings import ListedTable
from kernel.numbering import CounterTable
from kernel.rates import RateTable
from membership import spending
from membership.api import Done, api
from membership.managers import Manager
from membership.pay_passwords import Presented
from membership.repeats import once
from membership.spending import Spend
from membership.tables import (
    CardTable,
    CustomerTable,
    EntryTable,
    LotTable,
    OrderTable,
    ProductTable,
    RepeatTable,
    ShiftTable,
    StoreTable,
)

_READ = (StoreTable, ProductTable, CustomerTable, CardTable, RepeatTable, LotTable, RateTable)
_WRITTEN = (CardTable, RepeatTable, ShiftTable, CounterTable, LotTable, RateTable)
_ADDED = (EntryTable, ListedTable, OrderTable)


@api.post(
    "/web/manage/v3/userCard/expense",
    uses=[*map(read, _READ), *map(write, _WRITTEN), *map(append, _ADDED), sign()],
)
def spend_from_card(request: Spend, caller: Manager) -> Done:
    """Pay an amount from a customer's card at the manager's store, confirmed by the card's password."""
    password = Presented(request.password)
    return once(caller, request, lambda claim: spending.spend(caller, request, password, claim))
