from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import customers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.customers import CustomerChange, CustomerView
from membership.tables import CardTable, CouponTable, CustomerTable, HoldingTable, ProductTable

_READ = (CustomerTable, CardTable, ProductTable, HoldingTable, CouponTable)


@api.patch(
    "/admin/merchants/{merchant}/customers/{customer}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[*map(read, _READ), write(CustomerTable), append(AuditTable)],
)
def update_customer(merchant: Number, customer: Number, request: CustomerChange) -> CustomerView:
    """Change a customer's name or picture."""
    return customers.change_customer(merchant, customer, request)
