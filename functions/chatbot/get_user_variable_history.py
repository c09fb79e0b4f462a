from chatbot import variable_history
from chatbot.api import ListRequest, api
from chatbot.tables import VariableHistoryTable
from kernel.grants import decrypt, read, sign


@api.post("/getUserVariableHistory", uses=[read(VariableHistoryTable), decrypt(), sign()], timeout=29)
def get_user_variable_history(request: ListRequest) -> variable_history.HistoryView:
    """List every value that the channel's users ever filled in, by user and variable, the oldest first."""
    return variable_history.page(request)
