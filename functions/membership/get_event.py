from kernel.grants import read
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import EventView
from membership.tables import EventTable


@api.get("/admin/merchants/{merchant}/events/{event}", auth=OPERATOR, envelope=BACK_OFFICE, uses=[read(EventTable)])
def get_event(merchant: Number, event: Number) -> EventView:
    """Return one of a merchant's events."""
    return offers.event(merchant, event)
