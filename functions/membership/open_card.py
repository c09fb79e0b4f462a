from kernel.grants import append, read, sign, write
from kernel.listings import ListedTable
from kernel.numbering import CounterTable
from membership import cards
from membership.api import Done, api
from membership.cards import OpenCard
from membership.managers import Manager
from membership.repeats import once
from membership.tables import (
    CardTable,
    CustomerTable,
    EntryTable,
    ProductTable,
    RepeatTable,
    ShiftTable,
    StoreTable,
)


@api.post(
    "/web/manage/v3/userCard/add",
    uses=[
        *(read(table) for table in (StoreTable, ProductTable, CustomerTable, CardTable, RepeatTable)),
        *(write(table) for table in (CustomerTable, CardTable, RepeatTable, ShiftTable, CounterTable)),
        append(EntryTable),
        append(ListedTable),
        sign(),
    ],
)
def open_card(request: OpenCard, caller: Manager) -> Done:
    """Open a membership card for the customer with this phone number; without a password its last six digits are it."""
    return once(caller, request, lambda claim: cards.open_card(caller, request, claim))
