from chatbot import segments
from chatbot.api import api
from chatbot.tables import AccountTable, DueTable, MemberTable, NameTable, ScenarioTable, SegmentTable
from kernel.audit import AuditTable
from kernel.grants import append, decrypt, read, write


@api.post(
    "/saveUserSegment",
    uses=[
        *(read(table) for table in (SegmentTable, NameTable, MemberTable, ScenarioTable)),
        *(write(table) for table in (SegmentTable, NameTable, MemberTable, AccountTable, DueTable)),
        append(AuditTable),
        decrypt(),
    ],
    # 5000 users with their names and pictures.
    body_limit=4 * 1024 * 1024,
    timeout=29,
)
def save_user_segment(request: segments.SegmentRequest) -> None:
    """Create a segment of users picked by hand, by an order or by conditions; `segmentId` replaces an existing one."""
    segments.save(request)
