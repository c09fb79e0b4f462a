from kernel.audit import AuditTable
from kernel.auth import Caller
from kernel.grants import append, write
from kernel.numbering import CounterTable
from membership import merchants
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.merchants import MerchantView, NewMerchant
from membership.tables import MerchantTable


@api.post(
    "/admin/merchants",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[write(MerchantTable), write(CounterTable), append(AuditTable)],
)
def create_merchant(request: NewMerchant, caller: Caller) -> MerchantView:
    """Register a merchant; only the platform's people may."""
    return merchants.add_merchant(caller, request)
