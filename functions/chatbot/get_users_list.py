from chatbot import users
from chatbot.api import api
from chatbot.tables import FollowerCountTable, UserTable
from kernel.grants import read


@api.post("/getUsersList", uses=[read(UserTable), read(FollowerCountTable)])
def get_users_list(request: users.UsersRequest) -> users.UsersView:
    """List the users of a channel, 100 a page, all or those whose name or id contains any of the keywords."""
    return users.page(request)
