from chatbot import bots
from chatbot.api import AccountRequest, api
from chatbot.menus import MENU_PICTURES
from kernel.grants import fetch, read, store


@api.post(
    "/exportBot",
    uses=[*map(read, bots.PARTS), store(bots.EXPORTS), fetch(bots.EXPORTS), fetch(MENU_PICTURES)],
    timeout=29,
)
def export_bot(request: AccountRequest) -> bots.BotLink:
    """Write scenarios, tags, variables, forms, icons, segments and menus into a JSON file, linked for an hour."""
    return bots.exported(request)
