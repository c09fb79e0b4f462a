from kernel.grants import read, store, write
from kernel.jobs import worker
from kernel.listings import ListedTable
from membership import export_files
from membership.exports import EXPORTS, FILES, ExportStep
from membership.tables import ClosingTable, CustomerTable, ExportTable


@worker(
    EXPORTS,
    uses=[
        *map(read, (ExportTable, ListedTable, CustomerTable, ClosingTable)),
        write(ExportTable),
        store(FILES),
    ],
    memory=1769,
    timeout=870,
)
def write_export(message: ExportStep) -> None:
    """Write the file of an export, from the beginning when it is asked for again."""
    export_files.write(message)
