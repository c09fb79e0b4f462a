from kernel.catalogues import PAGE, Limit, Listing
from kernel.grants import read, sign
from membership import merchants
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.merchants import StoreView
from membership.tables import StoreTable


@api.get("/admin/merchants/{merchant}/stores", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(StoreTable), sign()])
def list_merchant_stores(merchant: Number, limit: Limit = PAGE, cursor: str = "") -> Listing[StoreView]:
    """List a merchant's stores in the order of their ids."""
    return merchants.stores(merchant, limit, cursor)
