from kernel.grants import fetch, read
from kernel.imports import FILES, ImportTable
from membership import imports
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.imports import ImportView


@api.get(
    "/admin/merchants/{merchant}/imports/{run}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(ImportTable), fetch(FILES)],
)
def get_import(merchant: Number, run: Number) -> ImportView:
    """Return how far an import is, what is wrong in its first lines, and a link to what is wrong in all."""
    return imports.shown(merchant, run)
