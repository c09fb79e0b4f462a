from chatbot import links
from chatbot.api import api
from chatbot.tables import ClickTable, ConversationTable, LinkTable
from kernel.auth import Token
from kernel.envelopes import Response
from kernel.grants import append, read, sign


@api.get(
    "/c/{token}",
    auth=Token(links.followed, uses=(sign(),)),
    uses=[read(LinkTable), read(ConversationTable), append(ClickTable)],
    produces="text/plain",
)
def open_link(token: str, caller: links.Visit) -> Response:
    """Lead a user on to where a tracked link points, and note the click."""
    return links.opened(caller)
