from kernel.grants import append, read, write
from membership import closings
from membership.api import api
from membership.closings import CloseDay, ClosingView
from membership.managers import Manager
from membership.repeats import once
from membership.tables import ClosingTable, RepeatTable, ShiftTable, StoreTable


@api.post(
    "/web/manage/v3/closing/add",
    uses=[*map(read, (ClosingTable, RepeatTable, ShiftTable, StoreTable)), write(RepeatTable), append(ClosingTable)],
)
def close_day(request: CloseDay, caller: Manager) -> ClosingView:
    """Close the account's day at its store: the cash that was counted, and what should have been there.

    Another closing of the same day is a correction; the first one stays as it is. A day has 20 at most.
    """
    return closings.shown(once(caller, request, lambda claim: closings.close(caller, request, claim)))
