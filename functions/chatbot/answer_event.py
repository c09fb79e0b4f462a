from chatbot import conversation
from chatbot.events import EVENTS, Event
from kernel.grants import decrypt, encrypt, read, send, sign, write
from kernel.jobs import worker


@worker(
    EVENTS,
    uses=[
        *map(read, conversation.READ),
        *map(write, conversation.WRITTEN),
        send(EVENTS),
        encrypt(),
        decrypt(),
        sign(),
    ],
    timeout=120,
)
def answer_event(event: Event) -> None:
    """Answer one event of a user: run his conversation a turn further and send what it says."""
    conversation.answer(event)
