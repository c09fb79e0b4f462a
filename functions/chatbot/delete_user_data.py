from chatbot import erasures
from chatbot.api import AccountRequest, api
from chatbot.tables import AccountTable, ErasureTable
from kernel.audit import AuditTable
from kernel.grants import append, read, send, write


@api.post(
    "/deleteUserData",
    uses=[
        *(write(AccountTable), read(ErasureTable), write(ErasureTable)),
        append(AuditTable),
        send(erasures.ERASURES),
    ],
)
def delete_user_data(request: AccountRequest) -> None:
    """Delete all users of a channel and whatever is known of them; what belongs to the channel itself is kept.

    The answer comes at once and the deletion goes on behind it. Who follows after the request is a new user.
    """
    erasures.ask(request)
