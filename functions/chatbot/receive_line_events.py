from chatbot import line_events
from chatbot.api import api
from chatbot.events import EVENTS, enqueue
from chatbot.tables import AccountTable
from kernel.auth import Signature
from kernel.envelopes import Response
from kernel.grants import decrypt, read, send


@api.post(
    "/api/LineMessage/send",
    auth=Signature(line_events.signing_account, uses=(read(AccountTable), decrypt())),
    uses=[send(EVENTS)],
    body_limit=1024 * 1024,
    produces="text/plain",
)
def receive_line_events(
    adminid: str, accountid: str, webhook: line_events.LineWebhook, caller: AccountTable
) -> Response:
    """Take LINE's webhook events of a channel and put them on their way; the answer is empty."""
    enqueue(line_events.events(caller, webhook))
    return Response(200, "", "text/plain; charset=utf-8")
