from chatbot import broadcasts
from chatbot.api import api
from chatbot.tables import BroadcastTable, DueTable
from kernel.audit import AuditTable
from kernel.grants import append, read, send, write


@api.post(
    "/resumeBroadcast",
    uses=[
        read(BroadcastTable),
        *(write(table) for table in (BroadcastTable, DueTable)),
        append(AuditTable),
        send(broadcasts.BROADCASTS),
    ],
)
def resume_broadcast(request: broadcasts.BroadcastChoice) -> None:
    """Go on with a paused broadcast."""
    broadcasts.resume(request)
