from kernel.auth import Caller
from kernel.grants import read, sign
from membership import explanations
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.explanations import Explain, ExplanationView
from membership.tables import CardTable, EntryTable, LotTable


@api.post(
    "/admin/cards/{id}/explain",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[*map(read, (CardTable, EntryTable, LotTable)), sign()],
    timeout=29,
)
def explain_card(id: Number, request: Explain, caller: Caller) -> ExplanationView:
    """Trace a card's balance to its entries, cent by cent: every entry with the balances after it, in order.

    On the last page stands which recharge the money that is left came from: of an activity card as its lots tell, of
    any other as if the oldest money was spent first.
    """
    return explanations.explain(caller, id, request)
