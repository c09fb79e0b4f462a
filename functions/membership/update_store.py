from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import merchants
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.merchants import StoreChange, StoreView
from membership.tables import ManagerTable, StoreTable


@api.patch(
    "/admin/merchants/{merchant}/stores/{store}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(ManagerTable), read(StoreTable), write(StoreTable), append(AuditTable)],
)
def update_store(merchant: Number, store: Number, request: StoreChange) -> StoreView:
    """Change one of a merchant's stores; what the body does not name stays."""
    return merchants.change_store(merchant, store, request)
