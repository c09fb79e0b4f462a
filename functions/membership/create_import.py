from kernel.audit import AuditTable
from kernel.grants import append, store, write
from kernel.imports import FILES, ImportTable
from kernel.numbering import CounterTable
from membership import imports
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.imports import Begun, NewImport


@api.post(
    "/admin/merchants/{merchant}/imports",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[append(ImportTable), write(CounterTable), append(AuditTable), store(FILES)],
)
def create_import(merchant: Number, request: NewImport) -> Begun:
    """Begin an import of customers or cards; the answer's link takes the CSV file for an hour."""
    return imports.begin(merchant, request)
