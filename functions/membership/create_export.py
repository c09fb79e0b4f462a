from kernel.audit import AuditTable
from kernel.grants import append, read, send
from membership import exports
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.exports import EXPORTS, NewExport, Started
from membership.tables import ExportTable, StoreTable


@api.post(
    "/admin/merchants/{merchant}/exports",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(StoreTable), append(ExportTable), append(AuditTable), send(EXPORTS)],
)
def create_export(merchant: Number, request: NewExport) -> Started:
    """Have a list written into a file for spreadsheets; GET with its id tells when it is there."""
    return exports.start(merchant, request)
