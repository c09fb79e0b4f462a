from chatbot import liff
from chatbot.api import BareEnvelope, api
from chatbot.events import EVENTS
from chatbot.tables import AccountTable, ConversationTable, DueTable, EntryTable, MemberTable, SegmentTable
from kernel.auth import Token
from kernel.grants import decrypt, read, send, sign, write


@api.post(
    liff.REGISTER_PATH,
    auth=Token(liff.bearer, uses=(sign(),)),
    uses=[
        *(read(table) for table in (AccountTable, SegmentTable, ConversationTable, MemberTable, EntryTable)),
        *(write(table) for table in (SegmentTable, MemberTable, EntryTable, DueTable)),
        send(EVENTS),
        decrypt(),
    ],
    envelope=BareEnvelope(),
)
def user_segment_register_via_liff(request: liff.Registration, caller: liff.Entrance | None) -> None:
    """Let somebody who came through a segment's link into it: a follower at once, everybody else when he follows."""
    liff.register(caller, request)
