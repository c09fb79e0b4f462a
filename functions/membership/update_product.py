from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import ProductChange, ProductView
from membership.tables import EventTable, ProductTable, StoreTable


@api.patch(
    "/admin/merchants/{merchant}/products/{product}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(EventTable), read(ProductTable), read(StoreTable), write(ProductTable), append(AuditTable)],
)
def update_product(merchant: Number, product: Number, request: ProductChange) -> ProductView:
    """Change one of a merchant's products; what the body does not name stays."""
    return offers.change_product(merchant, product, request)
