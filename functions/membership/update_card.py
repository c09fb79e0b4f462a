from kernel.audit import AuditTable
from kernel.grants import append, read, write
from membership import customers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.customers import CardChange, CardSummary
from membership.tables import CardTable, ProductTable


@api.patch(
    "/admin/merchants/{merchant}/cards/{card}",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[*map(read, (CardTable, ProductTable)), write(CardTable), append(AuditTable)],
)
def update_card(merchant: Number, card: Number, request: CardChange) -> CardSummary:
    """Change the grade of a customer's card."""
    return customers.change_card(merchant, card, request)
