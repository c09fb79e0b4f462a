from kernel.grants import read
from membership import coupons
from membership.api import ManagerRequest, api
from membership.coupons import GiftableCoupon
from membership.managers import Manager
from membership.tables import CouponTable, StoreTable


@api.post("/web/manage/v3/coupon/xcx_list", uses=[read(CouponTable), read(StoreTable)])
def list_giftable_coupons(request: ManagerRequest, caller: Manager) -> list[GiftableCoupon]:
    """List the coupons that can be chosen for a gift, newest first."""
    return coupons.giftable_coupons(caller)
