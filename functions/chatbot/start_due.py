from chatbot import due_runs
from chatbot.broadcasts import BROADCASTS
from chatbot.events import EVENTS
from chatbot.menu_links import MENUS
from chatbot.tables import DueTable
from kernel.grants import read, send, write
from kernel.jobs import job
from kernel.running import current


@job(
    "rate(1 minute)",
    uses=[read(DueTable), write(DueTable), send(BROADCASTS), send(EVENTS), send(MENUS)],
    timeout=300,
)
def start_due() -> None:
    """Start what is due: broadcasts, the switching of menus, booked scenarios."""
    current().facts["started"] = due_runs.hand_over()
