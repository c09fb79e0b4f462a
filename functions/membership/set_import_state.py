from kernel.audit import AuditTable
from kernel.grants import append, fetch, read, send, write
from kernel.imports import FILES, IMPORTS, ImportTable
from membership import imports
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.imports import ImportState, ImportView


@api.put(
    "/admin/merchants/{merchant}/imports/{run}/state",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(ImportTable), write(ImportTable), append(AuditTable), send(IMPORTS), fetch(FILES)],
)
def set_import_state(merchant: Number, run: Number, request: ImportState) -> ImportView:
    """Have the file of an import looked through, or apply what was found good in it."""
    return imports.advance(merchant, run, request)
