from chatbot import broadcasts
from chatbot.api import api
from chatbot.tables import BroadcastTable, DueTable, NameTable, ScenarioTable, SegmentTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post(
    "/scheduleBroadcast",
    uses=[
        *(read(table) for table in (ScenarioTable, SegmentTable, NameTable)),
        *(write(table) for table in (BroadcastTable, DueTable)),
        append(AuditTable),
    ],
    body_limit=2 * 1024 * 1024,
)
def schedule_broadcast(request: broadcasts.BroadcastRequest) -> None:
    """Book the sending of a scenario to everybody, to segments or to picked users; a past time means at once."""
    broadcasts.schedule(request)
