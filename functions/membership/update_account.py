from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import accounts
from membership.accounts import AccountChange, AccountView
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.tables import ManagerTable


@api.patch(
    "/admin/merchants/{merchant}/accounts/{account}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(ManagerTable), write(ManagerTable), append(AuditTable)],
)
def update_account(merchant: Number, account: Number, request: AccountChange) -> AccountView:
    """Change an account; what the body does not name stays, and other rights end its sessions."""
    return accounts.change(merchant, account, request)
