from chatbot import reports
from chatbot.api import AccountRequest, api
from chatbot.exports import EXPORTS, FILES
from chatbot.tables import ConversationTable, ExportTable, VariableHistoryTable
from kernel.auth import Caller, PartnerKey
from kernel.grants import decrypt, fetch, read, remove, send, sign, store, write


@api.post(
    "/getUserHistoryCsv",
    auth=PartnerKey(),
    uses=[
        *(read(table) for table in (VariableHistoryTable, ConversationTable, ExportTable)),
        write(ExportTable),
        *(store(FILES), fetch(FILES), remove(FILES)),
        send(EXPORTS),
        *(decrypt(), sign()),
    ],
    timeout=29,
)
def get_user_history_csv(request: AccountRequest, caller: Caller) -> reports.Download:
    """Write every value that users ever filled in as CSV, one row a value, by user id and time.

    The link is good for an hour. When the file takes longer, the link is one of ours: it answers 202 with Retry-After
    until the file is there. Values kept encrypted are shown to the owner, and as *** to a partner.
    """
    return reports.user_history(request, caller)
