from kernel.auth import Caller
from kernel.catalogues import PAGE, Limit, Listing
from kernel.grants import read, sign
from membership import merchants
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.merchants import MerchantView
from membership.tables import MerchantTable


@api.get("/admin/merchants", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(MerchantTable), sign()])
def list_merchants(caller: Caller, limit: Limit = PAGE, cursor: str = "") -> Listing[MerchantView]:
    """List the merchants that the caller works for, in the order of their ids."""
    return merchants.merchants_of(caller, limit, cursor)
