from kernel.grants import read
from membership import merchants
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.merchants import StoreView
from membership.tables import StoreTable


@api.get("/admin/merchants/{merchant}/stores/{store}", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(StoreTable)])
def get_store(merchant: Number, store: Number) -> StoreView:
    """Return one of a merchant's stores."""
    return merchants.store(merchant, store)
