from chatbot import messenger_events
from chatbot.api import api
from chatbot.events import EVENTS, enqueue
from chatbot.tables import AccountTable
from kernel.auth import Signature
from kernel.envelopes import Response
from kernel.grants import decrypt, read, send


@api.post(
    "/api/facebook",
    auth=Signature(messenger_events.signing_account, uses=(read(AccountTable), decrypt())),
    uses=[send(EVENTS)],
    body_limit=1024 * 1024,
    produces="text/plain",
)
def receive_messenger_events(
    adminid: str, accountid: str, webhook: messenger_events.MessengerWebhook, caller: AccountTable
) -> Response:
    """Take Messenger's webhook events of a channel and put them on their way."""
    enqueue(messenger_events.events(caller, webhook))
    return Response(200, "EVENT_RECEIVED", "text/plain; charset=utf-8")
