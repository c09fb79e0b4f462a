from chatbot import bots
from chatbot.api import api
from chatbot.menu_links import MENUS
from chatbot.menus import MENU_PICTURES
from chatbot.tables import (
    DueTable,
    LinkTable,
    MenuTable,
    NameTable,
    ScenarioTable,
    ScenarioVersionTable,
    SegmentTable,
    TriggerTable,
    VariableTable,
)
from kernel.audit import AuditTable
from kernel.grants import append, decrypt, read, send, store, write

READ = (ScenarioTable, ScenarioVersionTable, VariableTable, SegmentTable, NameTable, MenuTable)
WRITTEN = (*bots.PARTS, ScenarioVersionTable, TriggerTable, NameTable, LinkTable, DueTable)


@api.post(
    "/importBot",
    uses=[
        *map(read, READ),
        *map(write, WRITTEN),
        append(AuditTable),
        store(MENU_PICTURES),
        send(MENUS),
        decrypt(),
    ],
    body_limit=4 * 1024 * 1024,
    timeout=29,
)
def import_bot(request: bots.BotRequest) -> bots.ImportedView:
    """Put an exported bot into a channel, under new ids; of a menu's name that is there the channel keeps its own."""
    return bots.imported(request)
