from chatbot import segments
from chatbot.api import ListRequest, api
from chatbot.tables import ConversationTable, MemberTable, OrderTable, PushTable, SegmentTable
from kernel.grants import decrypt, read, sign


@api.post(
    "/getUserSegment",
    uses=[
        *(read(table) for table in (SegmentTable, MemberTable, ConversationTable, OrderTable, PushTable)),
        decrypt(),
        sign(),
    ],
    timeout=29,
)
def get_user_segment(request: ListRequest) -> segments.SegmentList:
    """List the segments of a channel with the users in them."""
    return segments.page(request)
