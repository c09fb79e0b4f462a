from kernel.catalogues import PAGE, Limit, Listing
from kernel.grants import read, sign
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import EventView
from membership.tables import EventTable


@api.get("/admin/merchants/{merchant}/events", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(EventTable), sign()])
def list_merchant_events(merchant: Number, limit: Limit = PAGE, cursor: str = "") -> Listing[EventView]:
    """List a merchant's events in the order of their ids."""
    return offers.events(merchant, limit, cursor)
