from kernel.audit import AuditTable
from kernel.grants import append, read, write
from kernel.numbering import CounterTable
from membership import merchants
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.merchants import NewStore, StoreView
from membership.tables import MerchantTable, StoreTable


@api.post(
    "/admin/merchants/{merchant}/stores",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(MerchantTable), read(StoreTable), write(StoreTable), write(CounterTable), append(AuditTable)],
)
def create_store(merchant: Number, request: NewStore) -> StoreView:
    """Register a store of a merchant."""
    return merchants.add_store(merchant, request)
