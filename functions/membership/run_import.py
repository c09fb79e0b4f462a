from kernel import imports
from kernel.grants import append, fetch, read, send, store, write
from kernel.imports import FILES, IMPORTS, ImportLineTable, ImportStep, ImportTable
from kernel.jobs import worker
from kernel.listings import ListedTable
from kernel.numbering import CounterTable
from membership.imports import KINDS
from membership.tables import CardTable, CustomerTable, EntryTable, ProductTable


@worker(
    IMPORTS,
    uses=[
        *(read(table) for table in (ImportTable, ImportLineTable, ProductTable, CustomerTable, CardTable)),
        *(write(table) for table in (ImportTable, CustomerTable, CounterTable)),
        *(append(table) for table in (ImportLineTable, CardTable, EntryTable, ListedTable)),
        *(fetch(FILES), store(FILES), send(IMPORTS)),
    ],
    memory=1769,
    timeout=870,
)
def run_import(message: ImportStep) -> None:
    """Look through the file of an import, or apply its lines, and ask to be called again until all are."""
    imports.proceed(message, KINDS)
