from chatbot import pushes
from chatbot.api import api
from chatbot.tables import ConversationTable, PushTable
from kernel.auth import PartnerKey
from kernel.grants import append, decrypt, read


@api.post(
    "/pushLineMessages",
    auth=PartnerKey(),
    uses=[read(ConversationTable), append(PushTable), decrypt()],
    body_limit=512 * 1024,
    timeout=20,
)
def push_line_messages(request: pushes.PushRequest) -> None:
    """Push up to five messages to one user of a LINE channel, once.

    `retryKey`, a UUID of the partner's choice, makes a repetition harmless: the same call with the same key within 24
    hours is answered as sent and not sent again. Without it every call is one of its own.
    """
    pushes.send(request)
