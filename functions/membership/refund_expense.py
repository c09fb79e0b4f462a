from kernel.grants import append, read, write
from kernel.listings import ListedTable
from kernel.numbering import CounterTable
from membership import refunds
from membership.api import Done, api
from membership.managers import Manager
from membership.refunds import RefundExpense
from membership.repeats import once
from membership.sms_codes import PROOF
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

_READ = (OrderTable, RepeatTable, StoreTable, ProductTable, CustomerTable, CardTable, LotTable)
_WRITTEN = (OrderTable, CardTable, LotTable, RepeatTable, ShiftTable, CounterTable)
_ADDED = (EntryTable, ListedTable)


@api.post(
    "/web/manage/v3/turnover/refund",
    uses=[*PROOF, *map(read, _READ), *map(write, _WRITTEN), *map(append, _ADDED)],
)
def refund_expense(request: RefundExpense, caller: Manager) -> Done:
    """Undo a card payment, whole or in part, and give the money back to the card; needs an SMS code."""
    return once(caller, request, lambda claim: refunds.refund_expense(caller, request, claim))
