from kernel.list_search import SEARCHES
from membership import record_searches
from membership.api import Paged, api
from membership.managers import Manager
from membership.record_searches import Recharges, SearchRecharges


@api.post("/web/manage/v3/turnover/record_list", uses=SEARCHES, memory=1024)
def list_recharges(request: SearchRecharges, caller: Manager) -> Paged[Recharges]:
    """Search recharges and what they add up to, newest first."""
    return record_searches.recharges(caller, request)
