from kernel.audit import AuditTable
from kernel.grants import append, enroll, read, write
from kernel.numbering import CounterTable
from membership import accounts
from membership.accounts import AccountView, NewAccount
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.tables import ManagerNameTable, ManagerTable, MerchantTable, StoreTable


@api.post(
    "/admin/merchants/{merchant}/accounts",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[
        *map(read, (MerchantTable, StoreTable, ManagerNameTable, ManagerTable)),
        *map(write, (MerchantTable, StoreTable, ManagerNameTable, ManagerTable, CounterTable)),
        append(AuditTable),
        enroll(),
    ],
)
def create_account(merchant: Number, request: NewAccount) -> AccountView:
    """Make an account for a store or, without storeId, for the whole merchant; repeated after a failure it goes on."""
    return accounts.add(merchant, request)
