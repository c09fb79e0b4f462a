from chatbot import accounts
from chatbot.api import api
from chatbot.tables import AccountTable
from kernel.audit import AuditTable
from kernel.grants import append, decrypt, encrypt, read, write


@api.post("/updateAccount", uses=[read(AccountTable), write(AccountTable), append(AuditTable), encrypt(), decrypt()])
def update_account(request: accounts.AccountUpdate) -> None:
    """Replace a channel's data and credentials; LINE Login fields and `encodingAesKey` keep their value when absent."""
    accounts.update(request)
