from chatbot import accounts, copies
from chatbot.api import api
from chatbot.tables import AccountIdTable, AccountTable, ScenarioTable, TagTable, TriggerTable, VariableTable
from kernel.audit import AuditTable
from kernel.grants import append, encrypt, read, write


@api.post(
    "/createAccount",
    uses=[
        *(read(table) for table in (AccountTable, AccountIdTable, ScenarioTable, TagTable, VariableTable)),
        *(
            write(table)
            for table in (AccountTable, AccountIdTable, ScenarioTable, TriggerTable, TagTable, VariableTable)
        ),
        append(AuditTable),
        encrypt(),
    ],
    timeout=29,
)
def create_account(request: accounts.NewAccount) -> None:
    """Register a channel under an operator, as a copy of one of his channels when accountClone names it."""
    accounts.add(request, copies)
