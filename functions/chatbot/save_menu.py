from chatbot import menus
from chatbot.api import api
from chatbot.menu_links import MENUS
from chatbot.tables import DueTable, MenuTable, NameTable
from kernel.audit import AuditTable
from kernel.grants import append, decrypt, read, send, store, write


@api.post(
    "/saveMenu",
    uses=[
        read(NameTable),
        *(write(table) for table in (NameTable, MenuTable, DueTable)),
        append(AuditTable),
        store(menus.MENU_PICTURES),
        send(MENUS),
        decrypt(),
    ],
    # A picture of 1 MB in base64, and the rest.
    body_limit=2 * 1024 * 1024,
    timeout=29,
)
def save_menu(request: menus.NewMenu) -> None:
    """Make a rich menu at LINE, which is then shown to those it is for; a refusal names every flaw."""
    menus.save(request)
