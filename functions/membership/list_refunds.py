from kernel.list_search import SEARCHES
from membership import record_searches
from membership.api import Paged, api
from membership.managers import Manager
from membership.record_searches import RefundView, SearchRecords


@api.post("/web/manage/v3/turnover/refund_list", uses=SEARCHES, memory=1024)
def list_refunds(request: SearchRecords, caller: Manager) -> Paged[list[RefundView]]:
    """Search refunds of payments and recharges, newest first."""
    return record_searches.refunds(caller, request)
