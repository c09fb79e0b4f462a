from chatbot import erasures
from chatbot.exports import FILES
from kernel.audit import AuditTable
from kernel.grants import append, fetch, read, remove, send, store, write
from kernel.jobs import worker


@worker(
    erasures.ERASURES,
    uses=[
        *map(read, erasures.READ),
        *map(write, erasures.WRITTEN),
        append(AuditTable),
        *(fetch(FILES), store(FILES), remove(FILES)),
        send(erasures.ERASURES),
    ],
    timeout=300,
)
def erase_user_data(message: erasures.ErasureStep) -> None:
    """Delete a further part of a channel's user data, and ask to be called again until nothing is left."""
    erasures.proceed(message)
