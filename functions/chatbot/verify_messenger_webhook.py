from chatbot import messenger_events
from chatbot.api import api
from chatbot.tables import AccountTable
from kernel.auth import Token
from kernel.envelopes import Response
from kernel.grants import read


@api.get(
    "/api/facebook",
    auth=Token(messenger_events.verifying_account, uses=(read(AccountTable),)),
    produces="text/plain",
)
def verify_messenger_webhook(adminid: str, accountid: str, hub_challenge: str) -> Response:
    """Answer Messenger's check of a subscription with its challenge; the verify token is the accountId."""
    return Response(200, hub_challenge, "text/plain; charset=utf-8")
