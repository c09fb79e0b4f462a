from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import NewState, Number
from membership.offers import CouponView
from membership.tables import CouponTable


@api.put(
    "/admin/merchants/{merchant}/coupons/{coupon}/state",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(CouponTable), write(CouponTable), append(AuditTable)],
)
def set_coupon_state(merchant: Number, coupon: Number, request: NewState) -> CouponView:
    """Offer a coupon or do so no longer."""
    return offers.set_coupon_state(merchant, coupon, request)
