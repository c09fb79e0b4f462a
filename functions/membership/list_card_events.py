from kernel.grants import read
from membership import events
from membership.api import api
from membership.events import CardEvents, ChoosableEvent
from membership.managers import Manager
from membership.tables import CouponTable, EventTable, ProductTable


@api.post("/web/manage/v3/cardEvent/all_event", uses=[*map(read, (ProductTable, EventTable, CouponTable))])
def list_card_events(request: CardEvents, caller: Manager) -> list[ChoosableEvent]:
    """List the recharge events that can be chosen for a card."""
    return events.of_card(caller, request)
