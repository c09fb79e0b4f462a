from chatbot import users
from chatbot.api import api
from chatbot.tables import UserTable
from kernel.auth import PartnerKey
from kernel.envelopes import Response
from kernel.grants import read


@api.post("/getChatHistoryCsv", auth=PartnerKey(), uses=[read(UserTable)], timeout=29, produces="text/csv")
def get_chat_history_csv(request: users.Period) -> Response:
    """Return the conversation records of the users last active in a period, both ends included, as CSV."""
    return Response(200, users.records_csv(request), "text/csv; charset=utf-8")
