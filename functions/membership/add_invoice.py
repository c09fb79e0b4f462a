from kernel.grants import append, read, write
from kernel.listings import ListedTable
from kernel.numbering import CounterTable
from membership import invoices
from membership.api import Done, api
from membership.invoices import AddInvoice
from membership.managers import Manager
from membership.repeats import once
from membership.tables import (
    CardTable,
    CustomerTable,
    EntryTable,
    InvoiceTable,
    ProductTable,
    RepeatTable,
    ShiftTable,
    StoreTable,
)


@api.post(
    "/web/manage/v3/invoice/add",
    uses=[
        *map(read, (CustomerTable, RepeatTable, StoreTable, CardTable, ProductTable)),
        *map(write, (CardTable, RepeatTable, ShiftTable, CounterTable)),
        *map(append, (InvoiceTable, EntryTable, ListedTable)),
    ],
)
def add_invoice(request: AddInvoice, caller: Manager) -> Done:
    """Write down an invoice for a customer's card, for no more than was paid in and not invoiced yet."""
    return once(caller, request, lambda claim: invoices.add(caller, request, claim))
