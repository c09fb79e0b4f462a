from chatbot import menus
from chatbot.api import ListRequest, api
from chatbot.tables import MenuTable
from kernel.grants import read, sign


@api.post("/getMenu", uses=[read(MenuTable), sign()])
def get_menu(request: ListRequest) -> menus.MenuList:
    """List the rich menus of a channel, ordered by LINE's ids."""
    return menus.page(request)
