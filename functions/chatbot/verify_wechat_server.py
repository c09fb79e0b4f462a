from chatbot import wechat_events
from chatbot.api import api
from chatbot.tables import AccountTable
from kernel.auth import Signature
from kernel.envelopes import Response
from kernel.grants import decrypt, read


@api.get(
    "/api/wechat",
    auth=Signature(wechat_events.signing_account, uses=(read(AccountTable), decrypt())),
    produces="text/plain",
)
def verify_wechat_server(adminid: str, accountid: str, echostr: str) -> Response:
    """Answer WeChat's check of the server address with its echostr."""
    return Response(200, echostr, "text/plain; charset=utf-8")
