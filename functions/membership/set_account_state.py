from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import accounts
from membership.accounts import AccountView
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import NewState, Number
from membership.tables import ManagerTable


@api.put(
    "/admin/merchants/{merchant}/accounts/{account}/state",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(ManagerTable), write(ManagerTable), append(AuditTable)],
)
def set_account_state(merchant: Number, account: Number, request: NewState) -> AccountView:
    """Open or close an account; closing ends its sessions."""
    return accounts.set_state(merchant, account, request)
