from chatbot import menus
from chatbot.api import api
from chatbot.menu_links import MENUS
from chatbot.tables import DueTable, MenuTable, NameTable
from kernel.audit import AuditTable
from kernel.grants import append, read, send, write


@api.post(
    "/deleteMenu",
    uses=[
        *(read(table) for table in (NameTable, MenuTable)),
        *(write(table) for table in (NameTable, MenuTable, DueTable)),
        append(AuditTable),
        send(MENUS),
    ],
)
def delete_menu(request: menus.MenuId) -> None:
    """Delete a rich menu, here at once and at LINE within moments; tabs that lead to it do nothing any more."""
    menus.delete(request)
