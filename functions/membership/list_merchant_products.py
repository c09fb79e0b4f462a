from kernel.catalogues import PAGE, Limit, Listing
from kernel.grants import read, sign
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import ProductView
from membership.tables import ProductTable


@api.get("/admin/merchants/{merchant}/products", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(ProductTable), sign()])
def list_merchant_products(merchant: Number, limit: Limit = PAGE, cursor: str = "") -> Listing[ProductView]:
    """List a merchant's products in the order of their ids."""
    return offers.products(merchant, limit, cursor)
