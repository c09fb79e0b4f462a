from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import merchants
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import NewState, Number
from membership.merchants import StoreView
from membership.tables import StoreTable


@api.put(
    "/admin/merchants/{merchant}/stores/{store}/state",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(StoreTable), write(StoreTable), append(AuditTable)],
)
def set_store_state(merchant: Number, store: Number, request: NewState) -> StoreView:
    """Open or close a store; at a closed one no money moves."""
    return merchants.set_store_state(merchant, store, request)
