from chatbot import users
from chatbot.api import ListRequest, api
from chatbot.tables import UserTable
from kernel.grants import read, sign


@api.post("/getChatHistory", uses=[read(UserTable), sign()])
def get_chat_history(request: ListRequest) -> users.RecordList:
    """List the conversation records of a channel, one row a user, the latest activity first."""
    return users.records(request)
