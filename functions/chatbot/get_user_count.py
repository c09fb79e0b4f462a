from chatbot import users
from chatbot.api import AccountRequest, api
from chatbot.tables import FollowerCountTable
from kernel.grants import read


@api.post("/getUserCount", uses=[read(FollowerCountTable)])
def get_user_count(request: AccountRequest) -> users.UserCount:
    """Return the number of users who follow the channel."""
    return users.UserCount(data=users.followers(request.partition))
