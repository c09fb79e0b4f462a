from kernel.list_search import SEARCHES
from membership import record_searches
from membership.api import Paged, api
from membership.managers import Manager
from membership.record_searches import InvoiceView, SearchRecords


@api.post("/web/manage/v3/invoice/all_list", uses=SEARCHES, memory=1024)
def search_invoices(request: SearchRecords, caller: Manager) -> Paged[list[InvoiceView]]:
    """Search the invoices of all customers, newest first."""
    return record_searches.invoices(caller, request)
