from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import NewState, Number
from membership.offers import ProductView
from membership.tables import ProductTable


@api.put(
    "/admin/merchants/{merchant}/products/{product}/state",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(ProductTable), write(ProductTable), append(AuditTable)],
)
def set_product_state(merchant: Number, product: Number, request: NewState) -> ProductView:
    """Offer a card or do so no longer; those that customers hold stay good."""
    return offers.set_product_state(merchant, product, request)
