from kernel.grants import read
from membership import card_views
from membership.api import api
from membership.card_views import CardDetailView, OfCard
from membership.managers import Manager
from membership.tables import CardTable, CustomerTable, ProductTable


@api.post("/web/manage/v3/card/card_detail", uses=[*map(read, (CustomerTable, CardTable, ProductTable))])
def get_user_card_detail(request: OfCard, caller: Manager) -> CardDetailView:
    """Return a customer's card for the invoice screen; its balance is what can still be invoiced."""
    return card_views.card_detail(caller, request)
