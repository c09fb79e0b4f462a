from chatbot import orders
from chatbot.api import api
from chatbot.tables import ConversationTable, OrderTable
from kernel.auth import Token
from kernel.grants import append, read, sign, write


@api.post(
    "/api/chichatcat/send",
    auth=Token(orders.proved, uses=(sign(),)),
    uses=[append(OrderTable), read(ConversationTable), write(ConversationTable)],
    envelope=orders.PartnerEnvelope(),
)
def receive_chichatcat_order(caller: orders.Proved) -> None:
    """Take an order of one of our users from the partner, once; the token says whose it is."""
    orders.record(caller, "chichatcat")
