from kernel.grants import append, read, write
from membership import cash_back
from membership.api import Done, api
from membership.cash_back import CashBack
from membership.managers import Manager
from membership.repeats import once
from membership.tables import CardTable, EntryTable, LotTable, ProductTable, RepeatTable, ShiftTable, StoreTable


@api.post(
    "/web/manage/v3/userCard/card_status",
    uses=[
        *map(read, (LotTable, CardTable, RepeatTable, StoreTable, ProductTable)),
        *map(write, (LotTable, CardTable, RepeatTable, ShiftTable)),
        append(EntryTable),
    ],
)
def confirm_cash_back(request: CashBack, caller: Manager) -> Done:
    """Note that the cash-back of a used up recharge of an activity card was paid out to the customer."""
    return once(caller, request, lambda claim: cash_back.confirm(caller, request, claim))
