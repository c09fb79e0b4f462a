from chatbot import broadcasts
from chatbot.api import api
from chatbot.tables import BroadcastTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post("/pauseBroadcast", uses=[read(BroadcastTable), write(BroadcastTable), append(AuditTable)])
def pause_broadcast(request: broadcasts.BroadcastChoice) -> None:
    """Hold a running broadcast; what is being sent at this moment is finished."""
    broadcasts.pause(request)
