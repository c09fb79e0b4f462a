from kernel.catalogues import PAGE, Limit, Listing
from kernel.grants import read, sign
from membership import accounts
from membership.accounts import AccountView
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.tables import ManagerTable


@api.get("/admin/merchants/{merchant}/accounts", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(ManagerTable), sign()])
def list_merchant_accounts(merchant: Number, limit: Limit = PAGE, cursor: str = "") -> Listing[AccountView]:
    """List a merchant's accounts in the order of their ids, with personal data masked."""
    return accounts.listed(merchant, limit, cursor)
