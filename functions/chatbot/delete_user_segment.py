from chatbot import segments
from chatbot.api import api
from chatbot.tables import DueTable, MemberTable, NameTable, SegmentTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post(
    "/deleteUserSegment",
    uses=[
        *(read(table) for table in (SegmentTable, MemberTable, NameTable)),
        *(write(table) for table in (SegmentTable, NameTable, MemberTable, DueTable)),
        append(AuditTable),
    ],
    timeout=29,
)
def delete_user_segment(request: segments.SegmentId) -> None:
    """Delete a segment; its users stay, and what names it reaches nobody through it."""
    segments.delete(request)
