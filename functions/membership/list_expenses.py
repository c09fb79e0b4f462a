from kernel.list_search import SEARCHES
from membership import record_searches
from membership.api import Paged, api
from membership.managers import Manager
from membership.record_searches import Expenses, SearchRecords


@api.post("/web/manage/v3/turnover/expense_list", uses=SEARCHES, memory=1024)
def list_expenses(request: SearchRecords, caller: Manager) -> Paged[Expenses]:
    """Search payments and what they add up to, newest first."""
    return record_searches.expenses(caller, request)
