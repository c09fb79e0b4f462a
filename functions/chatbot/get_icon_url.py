from chatbot import icons
from chatbot.api import ListRequest, api
from chatbot.tables import IconTable
from kernel.grants import read, sign


@api.post("/getIconUrl", uses=[read(IconTable), sign()])
def get_icon_url(request: ListRequest) -> icons.IconList:
    """List the icons of a channel, ordered by id."""
    return icons.page(request)
