from kernel.audit import AuditTable
from kernel.grants import append, read, write
from kernel.numbering import CounterTable
from membership import offers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.offers import EventView, NewEvent
from membership.tables import CouponTable, EventTable, MerchantTable


@api.post(
    "/admin/merchants/{merchant}/events",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[
        read(MerchantTable),
        read(CouponTable),
        read(EventTable),
        write(EventTable),
        write(CounterTable),
        append(AuditTable),
    ],
)
def create_event(merchant: Number, request: NewEvent) -> EventView:
    """Offer a recharge event: it gives 1 money, 2 coupons, 5 both."""
    return offers.add_event(merchant, request)
