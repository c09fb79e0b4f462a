from chatbot import broadcasts
from chatbot.api import ListRequest, api
from chatbot.tables import BroadcastTable, ConversationTable, RecipientTable
from kernel.grants import read, sign


@api.post("/getBroadcastHistory", uses=[*map(read, (BroadcastTable, RecipientTable, ConversationTable)), sign()])
def get_broadcast_history(request: ListRequest) -> broadcasts.History:
    """List the broadcasts that are over, the latest first; `failed` counts everybody whom it did not reach."""
    return broadcasts.history(request)
