from chatbot import broadcasts
from chatbot.api import api
from chatbot.tables import BroadcastTable, DueTable
from kernel.audit import AuditTable
from kernel.grants import append, read, send, write


@api.post(
    "/stopBroadcast",
    uses=[
        read(BroadcastTable),
        *(write(table) for table in (BroadcastTable, DueTable)),
        append(AuditTable),
        send(broadcasts.BROADCASTS),
    ],
)
def stop_broadcast(request: broadcasts.BroadcastChoice) -> None:
    """End a running or paused broadcast; whoever it has not reached is skipped."""
    broadcasts.stop(request)
