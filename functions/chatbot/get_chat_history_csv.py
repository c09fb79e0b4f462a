from chatbot import reports
from chatbot.api import api
from chatbot.exports import EXPORTS, FILES
from chatbot.tables import ExportTable, UserTable
from kernel.auth import PartnerKey
from kernel.envelopes import Response
from kernel.grants import fetch, read, remove, send, sign, store, write


@api.post(
    "/getChatHistoryCsv",
    auth=PartnerKey(),
    uses=[
        read(UserTable),
        *(read(ExportTable), write(ExportTable)),
        *(store(FILES), fetch(FILES), remove(FILES)),
        send(EXPORTS),
        sign(),
    ],
    timeout=29,
    produces="text/csv",
)
def get_chat_history_csv(request: reports.Period) -> Response:
    """Return the conversation records of the users last active in a period, both ends included, as CSV.

    More than an answer holds (5.5 MB) becomes a file: 303, and Location is its link, good for an hour. While the file
    is still being written, the link answers 202 with Retry-After.
    """
    return reports.chat_history(request)
