from kernel.grants import read
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import ProductView
from membership.tables import ProductTable


@api.get(
    "/admin/merchants/{merchant}/products/{product}", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(ProductTable)]
)
def get_product(merchant: Number, product: Number) -> ProductView:
    """Return one of a merchant's products."""
    return offers.product(merchant, product)
