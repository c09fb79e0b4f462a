from chatbot import broadcasts
from chatbot.api import api
from chatbot.tables import BroadcastTable, DueTable
from kernel.audit import AuditTable
from kernel.grants import append, read, send, write


@api.post(
    "/deleteBroadcast",
    uses=[
        read(BroadcastTable),
        *(write(table) for table in (BroadcastTable, DueTable)),
        append(AuditTable),
        send(broadcasts.BROADCASTS),
    ],
)
def delete_broadcast(request: broadcasts.BroadcastIds) -> None:
    """Delete planned broadcasts and stop running ones; one wrong id, and none is touched."""
    broadcasts.delete(request)
