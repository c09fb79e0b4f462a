from kernel.grants import fetch, read
from membership import exports
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.exports import FILES, ExportId, ExportView
from membership.tables import ExportTable


@api.get(
    "/admin/merchants/{merchant}/exports/{export}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(ExportTable), fetch(FILES)],
)
def get_export(merchant: Number, export: ExportId) -> ExportView:
    """Return how far an export is, and a link to its file, which is kept for a week."""
    return exports.get(merchant, export)
