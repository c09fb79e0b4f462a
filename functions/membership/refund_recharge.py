from kernel.grants import append, read, write
from kernel.listings import ListedTable
from kernel.numbering import CounterTable
from membership import refunds
from membership.api import Done, api
from membership.managers import Manager
from membership.refunds import RefundRecharge
from membership.repeats import once
from membership.sms_codes import PROOF
from membership.tables import (
    CardTable,
    CouponTable,
    CustomerTable,
    EntryTable,
    HoldingTable,
    LotTable,
    OrderTable,
    ProductTable,
    RepeatTable,
    ShiftTable,
    StoreTable,
)

_READ = (OrderTable, RepeatTable, StoreTable, ProductTable, CustomerTable, CardTable, LotTable, HoldingTable)
_WRITTEN = (OrderTable, CardTable, LotTable, HoldingTable, CouponTable, RepeatTable, ShiftTable, CounterTable)
_ADDED = (EntryTable, ListedTable)


@api.post(
    "/web/manage/v3/turnover/refund_charge",
    uses=[*PROOF, *map(read, _READ), *map(write, _WRITTEN), *map(append, _ADDED)],
)
def refund_recharge(request: RefundRecharge, caller: Manager) -> Done:
    """Pay a recharge back, whole or in part, and take it off the card with what came with it; needs an SMS code."""
    return once(caller, request, lambda claim: refunds.refund_recharge(caller, request, claim))
