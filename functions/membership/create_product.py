from kernel.audit import AuditTable
from kernel.grants import append, read, write
from kernel.numbering import CounterTable
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import NewProduct, ProductView
from membership.tables import EventTable, MerchantTable, ProductTable, StoreTable


@api.post(
    "/admin/merchants/{merchant}/products",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[
        read(MerchantTable),
        read(StoreTable),
        read(EventTable),
        read(ProductTable),
        write(ProductTable),
        write(CounterTable),
        append(AuditTable),
    ],
)
def create_product(merchant: Number, request: NewProduct) -> ProductView:
    """Offer a membership card: 1 of the platform, 10 with stored value, 11 with events."""
    return offers.add_product(merchant, request)
