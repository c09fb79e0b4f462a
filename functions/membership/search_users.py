from kernel.grants import read
from kernel.list_search import SEARCHES
from membership import customer_search
from membership.api import Paged, api
from membership.customer_search import SearchUsers, UserView
from membership.managers import Manager
from membership.tables import CustomerTable


@api.post("/web/manage/v3/userCard/user_card", uses=[*SEARCHES, read(CustomerTable)], memory=1024)
def search_users(request: SearchUsers, caller: Manager) -> Paged[list[UserView]]:
    """Search the customers who hold a card of the merchant, in the order of their ids."""
    return customer_search.users(caller, request)
