from chatbot import broadcast_runs
from chatbot.broadcasts import BROADCASTS, CHUNKS, Step
from chatbot.tables import (
    AccountTable,
    BroadcastTable,
    ChunkTable,
    ConversationTable,
    IconTable,
    MemberTable,
    OrderTable,
    PushTable,
    RecipientTable,
    ScenarioTable,
    SegmentTable,
)
from kernel.grants import decrypt, read, send, write
from kernel.jobs import worker

READ = (
    AccountTable, BroadcastTable, ChunkTable, RecipientTable, ScenarioTable, IconTable, ConversationTable, SegmentTable,
    MemberTable, OrderTable, PushTable,
)  # fmt: skip


@worker(
    BROADCASTS,
    uses=[
        *map(read, READ),
        *map(write, (BroadcastTable, ChunkTable, RecipientTable)),
        send(BROADCASTS),
        send(CHUNKS),
        decrypt(),
    ],
    memory=1024,
    timeout=170,
)
def run_broadcast(step: Step) -> None:
    """Carry a broadcast a step further: start it, freeze its audience, hand out its chunks, end it."""
    broadcast_runs.carry_on(step)
