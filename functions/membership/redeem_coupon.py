from kernel.grants import append, read, write
from membership import redemptions
from membership.api import api
from membership.managers import Manager
from membership.redemptions import RedeemCoupon, Redemption
from membership.repeats import once
from membership.tables import (
    CouponTable,
    CouponUseTable,
    EntryTable,
    HoldingTable,
    RepeatTable,
    ShiftTable,
    StoreTable,
)

_READ = (RepeatTable, StoreTable, CouponTable, HoldingTable)
_WRITTEN = (RepeatTable, HoldingTable, ShiftTable)


@api.post(
    "/web/manage/v3/coupon/use",
    uses=[*map(read, _READ), *map(write, _WRITTEN), append(CouponUseTable), append(EntryTable)],
)
def redeem_coupon(request: RedeemCoupon, caller: Manager) -> Redemption:
    """Redeem one piece of a customer's coupon at the manager's store."""
    done = once(caller, request, lambda claim: redemptions.redeem(caller, request, claim))
    return Redemption.model_validate(done.data)
