from kernel.grants import read
from membership import accounts
from membership.accounts import AccountView
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.tables import ManagerTable


@api.get(
    "/admin/merchants/{merchant}/accounts/{account}", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(ManagerTable)]
)
def get_account(merchant: Number, account: Number) -> AccountView:
    """Return an account with everything that is known of its owner."""
    return accounts.account(merchant, account)
