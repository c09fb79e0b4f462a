from kernel.catalogues import PAGE, Limit, Listing
from kernel.grants import read, sign
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import CouponView
from membership.tables import CouponTable


@api.get("/admin/merchants/{merchant}/coupons", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(CouponTable), sign()])
def list_merchant_coupons(merchant: Number, limit: Limit = PAGE, cursor: str = "") -> Listing[CouponView]:
    """List a merchant's coupons in the order of their ids."""
    return offers.coupons(merchant, limit, cursor)
