from chatbot import accounts
from chatbot.api import AdminRequest, api
from chatbot.tables import AccountTable
from kernel.grants import decrypt, read


@api.post("/getAccount", uses=[read(AccountTable), decrypt()])
def get_account(request: AdminRequest) -> accounts.AccountsView:
    """List an operator's channels with their SNS credentials and external settings."""
    return accounts.listed(request.admin_id)
