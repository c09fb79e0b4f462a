from chatbot import menus
from chatbot.menu_links import MENUS, MenuRun
from chatbot.tables import (
    AccountTable,
    ConversationTable,
    DueTable,
    MemberTable,
    MenuLinkTable,
    MenuTable,
    NameTable,
    OrderTable,
    PushTable,
    SegmentTable,
)
from kernel.grants import decrypt, read, remove, send, write
from kernel.jobs import worker

AUDIENCES = (SegmentTable, MemberTable, ConversationTable, OrderTable, PushTable)


@worker(
    MENUS,
    uses=[
        *(read(table) for table in (AccountTable, MenuTable, MenuLinkTable, NameTable, *AUDIENCES)),
        *(write(table) for table in (MenuLinkTable, NameTable, DueTable)),
        remove(menus.MENU_PICTURES),
        send(MENUS),
        decrypt(),
    ],
    timeout=60,
)
def apply_menus(message: MenuRun) -> None:
    """Bring to LINE which rich menu each user of a channel sees, and remove there what was deleted."""
    menus.bring_to_line(message)
