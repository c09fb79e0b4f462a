from chatbot import broadcasts
from chatbot.api import ListRequest, api
from chatbot.tables import (
    BroadcastTable,
    ConversationTable,
    FollowerCountTable,
    MemberTable,
    OrderTable,
    PushTable,
    SegmentTable,
)
from kernel.grants import decrypt, read, sign

READ = (
    BroadcastTable, ConversationTable, FollowerCountTable, MemberTable, OrderTable, PushTable, SegmentTable,
)  # fmt: skip


@api.post("/getBroadcastPlan", uses=[*map(read, READ), decrypt(), sign()])
def get_broadcast_plan(request: ListRequest) -> broadcasts.Plan:
    """List the broadcasts that are not over, the next first, with the number of people each would reach now."""
    return broadcasts.plan(request)
