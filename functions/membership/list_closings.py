from kernel.grants import read
from membership import closings
from membership.api import Paged, api
from membership.closings import ClosingView, ListClosings
from membership.managers import Manager
from membership.tables import ClosingTable


@api.post("/web/manage/v3/closing/list", uses=[read(ClosingTable)])
def list_closings(request: ListClosings, caller: Manager) -> Paged[list[ClosingView]]:
    """List the closings of up to 31 days, the newest first: the store's, or those of all stores of the merchant."""
    return closings.listed(caller, request)
