from chatbot import clicks
from chatbot.api import ListRequest, api
from chatbot.tables import ClickTable
from kernel.grants import read, sign


@api.post("/getClicks", uses=[read(ClickTable), sign()])
def get_clicks(request: ListRequest) -> clicks.ClickList:
    """List the clicks of a channel's users, on tracked links and as partners reported them, the latest first."""
    return clicks.page(request)
