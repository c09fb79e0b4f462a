from chatbot import accounts, bots
from chatbot.api import api
from chatbot.tables import (
    AccountIdTable,
    AccountTable,
    FormTable,
    IconTable,
    LinkTable,
    NameTable,
    ScenarioTable,
    ScenarioVersionTable,
    SegmentTable,
    TagTable,
    TriggerTable,
    VariableTable,
)
from kernel.audit import AuditTable
from kernel.grants import append, decrypt, encrypt, read, write

COPIED = (ScenarioTable, ScenarioVersionTable, TagTable, VariableTable, FormTable, IconTable, SegmentTable, NameTable)


@api.post(
    "/createAccount",
    uses=[
        *(read(table) for table in (AccountTable, AccountIdTable, *COPIED)),
        *(write(table) for table in (AccountTable, AccountIdTable, TriggerTable, LinkTable, *COPIED)),
        append(AuditTable),
        encrypt(),
        decrypt(),
    ],
    timeout=29,
)
def create_account(request: accounts.NewAccount) -> None:
    """Register a channel under an operator, as a copy of one of his channels when accountClone names it."""
    accounts.add(request, bots)
