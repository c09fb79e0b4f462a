from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import CouponChange, CouponView
from membership.tables import CouponTable, StoreTable


@api.patch(
    "/admin/merchants/{merchant}/coupons/{coupon}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(CouponTable), read(StoreTable), write(CouponTable), append(AuditTable)],
)
def update_coupon(merchant: Number, coupon: Number, request: CouponChange) -> CouponView:
    """Change one of a merchant's coupons; what the body does not name stays."""
    return offers.change_coupon(merchant, coupon, request)
