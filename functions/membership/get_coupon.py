from kernel.grants import read
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import CouponView
from membership.tables import CouponTable


@api.get("/admin/merchants/{merchant}/coupons/{coupon}", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(CouponTable)])
def get_coupon(merchant: Number, coupon: Number) -> CouponView:
    """Return one of a merchant's coupons."""
    return offers.coupon(merchant, coupon)
