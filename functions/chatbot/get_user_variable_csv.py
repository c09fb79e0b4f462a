from chatbot import reports
from chatbot.api import AccountRequest, api
from chatbot.exports import EXPORTS, FILES
from chatbot.tables import ConversationTable, ExportTable, UserTable, VariableTable
from kernel.auth import Caller, PartnerKey
from kernel.envelopes import Response
from kernel.grants import decrypt, fetch, read, remove, send, sign, store, write


@api.post(
    "/getUserVariableCsv",
    auth=PartnerKey(),
    uses=[
        *(read(table) for table in (UserTable, ConversationTable, VariableTable, ExportTable)),
        write(ExportTable),
        *(store(FILES), fetch(FILES), remove(FILES)),
        send(EXPORTS),
        *(decrypt(), sign()),
    ],
    timeout=29,
    produces="text/csv",
)
def get_user_variable_csv(request: AccountRequest, caller: Caller) -> Response:
    """Return the current values of the channel's variables as CSV, one row a user, by user id.

    Values kept encrypted are shown to the owner, and as *** to a partner. More than an answer holds (5.5 MB), or than
    is read in 15 seconds, becomes a file: 303, and Location is its link, good for an hour; it answers 202 while the
    file is still being written.
    """
    return reports.user_variables(request, caller)
