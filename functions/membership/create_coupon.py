from kernel.audit import AuditTable
from kernel.grants import append, read, write
from kernel.numbering import CounterTable
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import CouponView, NewCoupon
from membership.tables import CouponTable, MerchantTable, StoreTable


@api.post(
    "/admin/merchants/{merchant}/coupons",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[
        read(MerchantTable),
        read(StoreTable),
        read(CouponTable),
        write(CouponTable),
        write(CounterTable),
        append(AuditTable),
    ],
)
def create_coupon(merchant: Number, request: NewCoupon) -> CouponView:
    """Offer a coupon."""
    return offers.add_coupon(merchant, request)
