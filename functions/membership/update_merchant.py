from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import merchants
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.merchants import MerchantChange, MerchantView
from membership.tables import ManagerTable, MerchantTable


@api.patch(
    "/admin/merchants/{merchant}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(MerchantTable), read(ManagerTable), write(MerchantTable), append(AuditTable)],
)
def update_merchant(merchant: Number, request: MerchantChange) -> MerchantView:
    """Change a merchant; what the body does not name stays."""
    return merchants.change_merchant(merchant, request)
