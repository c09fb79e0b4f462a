from kernel.grants import append, read, write
from kernel.numbering import CounterTable
from membership import coupons
from membership.api import Done, api
from membership.coupons import GiveCoupon
from membership.managers import Manager
from membership.repeats import once
from membership.tables import (
    CouponTable,
    CustomerTable,
    EntryTable,
    HoldingTable,
    RepeatTable,
    ShiftTable,
    StoreTable,
)

_READ = (RepeatTable, StoreTable, CustomerTable, CouponTable, HoldingTable)
_WRITTEN = (RepeatTable, CouponTable, HoldingTable, ShiftTable, CounterTable)


@api.post(
    "/web/manage/v3/coupon/forUser",
    uses=[*map(read, _READ), *map(write, _WRITTEN), append(EntryTable)],
)
def give_coupon(request: GiveCoupon, caller: Manager) -> Done:
    """Give pieces of a coupon to the customer with this phone number."""
    return once(caller, request, lambda claim: coupons.give_coupon(caller, request, claim))
