from kernel.grants import read
from membership import invoices
from membership.api import api
from membership.card_views import OfCard
from membership.invoices import CardInvoicesView
from membership.managers import Manager
from membership.tables import CardTable, CustomerTable, InvoiceTable, ProductTable


@api.post("/web/manage/v3/invoice/list", uses=[*map(read, (CustomerTable, CardTable, ProductTable, InvoiceTable))])
def list_card_invoices(request: OfCard, caller: Manager) -> CardInvoicesView:
    """List the invoices of a customer's card, the newest 1,000, and what can still be invoiced."""
    return invoices.of_card(caller, request)
