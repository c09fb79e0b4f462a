from kernel.catalogues import Listing
from kernel.grants import read
from membership import customers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.customers import CustomerView, PhoneSearch
from membership.tables import CardTable, CouponTable, CustomerTable, HoldingTable, ProductTable

_READ = (CustomerTable, CardTable, ProductTable, HoldingTable, CouponTable)


@api.post(
    "/admin/merchants/{merchant}/customers/search",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[*map(read, _READ)],
)
def search_customers(merchant: Number, request: PhoneSearch) -> Listing[CustomerView]:
    """Find the customer with a phone number, with his cards and coupons."""
    return customers.search(merchant, request)
