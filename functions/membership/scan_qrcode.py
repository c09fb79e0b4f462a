from kernel.grants import read, sign
from membership import scans
from membership.api import api
from membership.managers import Manager
from membership.scans import CardScan, CouponScan, ScanCode
from membership.tables import (
    CardTable,
    CouponTable,
    CustomerTable,
    HoldingTable,
    MerchantTable,
    ProductTable,
    StoreTable,
)

_READ = (MerchantTable, CardTable, ProductTable, CustomerTable, HoldingTable, CouponTable, StoreTable)


@api.post("/web/manage/tool/scan", uses=[*map(read, _READ), sign()])
def scan_qrcode(request: ScanCode, caller: Manager) -> CardScan | CouponScan:
    """Resolve a scanned QR code to a customer's membership card or coupon."""
    return scans.resolve(caller, request)
