from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import EventChange, EventView
from membership.tables import CouponTable, EventTable


@api.patch(
    "/admin/merchants/{merchant}/events/{event}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(CouponTable), read(EventTable), write(EventTable), append(AuditTable)],
)
def update_event(merchant: Number, event: Number, request: EventChange) -> EventView:
    """Change one of a merchant's events; what the body does not name stays."""
    return offers.change_event(merchant, event, request)
