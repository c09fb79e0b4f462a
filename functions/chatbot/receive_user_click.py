from chatbot import clicks
from chatbot.api import api
from chatbot.orders import PartnerEnvelope
from chatbot.tables import ClickTable, ConversationTable
from kernel.auth import Token
from kernel.grants import append, read, sign


@api.post(
    "/api/userclick/send",
    auth=Token(clicks.proved, uses=(sign(),)),
    uses=[read(ConversationTable), append(ClickTable)],
    envelope=PartnerEnvelope(),
)
def receive_user_click(caller: clicks.Reported) -> None:
    """Take a click of one of our users from the partner; the token says whose it is."""
    clicks.report(caller)
