from kernel.audit import AuditTable
from kernel.grants import append, enroll, read, write
from kernel.rates import RateTable
from membership import accounts
from membership.accounts import AccountView, Password
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.tables import ManagerTable


@api.put(
    "/admin/merchants/{merchant}/accounts/{account}/password",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(ManagerTable), write(ManagerTable), write(RateTable), append(AuditTable), enroll()],
)
def set_account_password(merchant: Number, account: Number, request: Password) -> AccountView:
    """Give an account another password, which ends its sessions."""
    return accounts.set_password(merchant, account, request)
