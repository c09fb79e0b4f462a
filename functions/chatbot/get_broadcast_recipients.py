from chatbot import broadcasts
from chatbot.api import api
from chatbot.tables import BroadcastTable, ChunkTable, RecipientTable
from kernel.grants import read, sign


@api.post("/getBroadcastRecipients", uses=[*map(read, (BroadcastTable, RecipientTable, ChunkTable)), sign()])
def get_broadcast_recipients(request: broadcasts.RecipientsRequest) -> broadcasts.RecipientList:
    """List the people of a broadcast's frozen audience with what became of each, and why."""
    return broadcasts.recipients(request)
