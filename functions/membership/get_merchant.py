from kernel.grants import read
from membership import merchants
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.merchants import MerchantView
from membership.tables import MerchantTable


@api.get("/admin/merchants/{merchant}", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(MerchantTable)])
def get_merchant(merchant: Number) -> MerchantView:
    """Return a merchant."""
    return merchants.merchant(merchant)
