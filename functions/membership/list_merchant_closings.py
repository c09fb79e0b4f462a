from kernel.catalogues import PAGE, Limit, Listing
from kernel.grants import read, sign
from membership import closings
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.closings import Day, ReportLine, StoreNumber
from membership.tables import ClosingTable, ShiftTable, StoreTable


@api.get(
    "/admin/merchants/{merchant}/closings",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[*map(read, (StoreTable, ShiftTable, ClosingTable)), sign()],
)
def list_merchant_closings(
    merchant: Number, day: Day | None = None, store: StoreNumber | None = None, limit: Limit = PAGE, cursor: str = ""
) -> Listing[ReportLine]:
    """Compare what managers did on a day (else today) with how they closed it, `limit` stores at once.

    Store 0 stands for the merchant's own accounts. Days with operations but no closing are open.
    """
    return closings.report(merchant, day, store, limit, cursor)
