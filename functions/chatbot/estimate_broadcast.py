from chatbot import estimates
from chatbot.api import api
from chatbot.tables import (
    ConversationTable,
    FollowerCountTable,
    MemberTable,
    NameTable,
    OrderTable,
    PushTable,
    ScenarioTable,
    SegmentTable,
)
from kernel.grants import decrypt, read

READ = (
    ConversationTable, FollowerCountTable, MemberTable, NameTable, OrderTable, PushTable, ScenarioTable, SegmentTable,
)  # fmt: skip


@api.post("/estimateBroadcast", uses=[*map(read, READ), decrypt()], body_limit=2 * 1024 * 1024, timeout=29)
def estimate_broadcast(request: estimates.EstimateRequest) -> estimates.Estimate:
    """Tell what a broadcast would cost: people, messages for each, and what is left of LINE's monthly quota."""
    return estimates.of(request)
