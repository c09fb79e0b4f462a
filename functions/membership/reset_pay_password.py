from kernel.audit import AuditTable
from kernel.grants import append, read, write
from kernel.rates import RateTable
from membership import customers
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.customers import CardSummary, PayPassword
from membership.tables import CardTable, ProductTable


@api.put(
    "/admin/merchants/{merchant}/cards/{card}/password",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[*map(read, (CardTable, ProductTable)), write(CardTable), write(RateTable), append(AuditTable)],
)
def reset_pay_password(merchant: Number, card: Number, request: PayPassword) -> CardSummary:
    """Give a card another pay password; without one the last six digits of the phone number are it."""
    return customers.reset_pay_password(merchant, card, request)
