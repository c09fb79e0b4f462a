from kernel.grants import read
from membership import card_views
from membership.api import api
from membership.card_views import OfCustomer, UserCardView
from membership.managers import Manager
from membership.tables import CardTable, CustomerTable, LotTable, ProductTable


@api.post(
    "/web/manage/v3/userCard/user_card_detail", uses=[*map(read, (CustomerTable, CardTable, ProductTable, LotTable))]
)
def get_user_cards(request: OfCustomer, caller: Manager) -> list[UserCardView]:
    """List all cards of a customer with their balances, and the usage records of activity cards."""
    return card_views.cards_of(caller, request.user_id)
