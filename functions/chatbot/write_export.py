from chatbot import exports, reports
from chatbot.tables import ConversationTable, ExportTable, UserTable, VariableHistoryTable
from kernel.grants import decrypt, fetch, read, remove, send, store, write
from kernel.jobs import worker


@worker(
    exports.EXPORTS,
    uses=[
        *(read(table) for table in (ExportTable, UserTable, ConversationTable, VariableHistoryTable)),
        write(ExportTable),
        *(store(exports.FILES), fetch(exports.FILES), remove(exports.FILES)),
        send(exports.EXPORTS),
        decrypt(),
    ],
    memory=1024,
    timeout=870,
)
def write_export(message: exports.ExportStep) -> None:
    """Write a large CSV file some parts further, and ask to be called again until it is there."""
    exports.proceed(message, reports.pieces)
