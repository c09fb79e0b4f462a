from chatbot import conversation
from chatbot.line_events import LINE_EVENTS, LineEvent
from chatbot.tables import (
    AccountTable,
    ConversationTable,
    FollowerCountTable,
    ScenarioTable,
    TriggerTable,
    TurnTable,
    UserTable,
)
from kernel.grants import decrypt, encrypt, read, write
from kernel.jobs import worker


@worker(
    LINE_EVENTS,
    uses=[
        *(read(table) for table in (AccountTable, ConversationTable, TurnTable, ScenarioTable, TriggerTable)),
        *(write(table) for table in (ConversationTable, TurnTable, UserTable, FollowerCountTable)),
        encrypt(),
        decrypt(),
    ],
    timeout=120,
)
def answer_line_event(message: LineEvent) -> None:
    """Answer one event of a LINE user: run his conversation a turn further and send what it says."""
    conversation.answer(message)
