from kernel.grants import read
from membership import events
from membership.api import api
from membership.events import EventDetail, EventId
from membership.managers import Manager
from membership.tables import CouponTable, EventTable


@api.post("/web/manage/v3/cardEvent/detail", uses=[read(EventTable), read(CouponTable)])
def get_event_detail(request: EventId, caller: Manager) -> EventDetail:
    """Return one event with the coupon that it gives, to be shown while recharging."""
    return events.detail(caller, request)
