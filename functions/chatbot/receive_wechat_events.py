from chatbot import conversation, wechat_events
from chatbot.api import api
from chatbot.events import EVENTS
from chatbot.tables import AccountTable, ChannelTokenTable, PushTable
from kernel.auth import Signature
from kernel.envelopes import Response
from kernel.grants import decrypt, encrypt, read, send, sign, write

# Nobody is written to here who said nothing, and what needs the channel's token is sent by the worker.
ELSEWHERE = (ChannelTokenTable, PushTable)


@api.post(
    "/api/wechat",
    auth=Signature(wechat_events.signed_message, uses=(read(AccountTable), decrypt())),
    uses=[
        *(read(table) for table in conversation.READ if table is not ChannelTokenTable),
        *(write(table) for table in conversation.WRITTEN if table not in ELSEWHERE),
        send(EVENTS),
        encrypt(),
        sign(),
    ],
    timeout=29,
    produces="text/xml",
)
def receive_wechat_events(adminid: str, accountid: str, caller: wechat_events.WechatMessage) -> Response:
    """Take a message or an event of a WeChat account; the first reply is the answer when it is there in time."""
    answer = wechat_events.answered(caller)
    kind = "text/plain" if answer == wechat_events.DONE else "text/xml"
    return Response(200, answer, f"{kind}; charset=utf-8")
