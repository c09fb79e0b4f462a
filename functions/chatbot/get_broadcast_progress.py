from chatbot import broadcasts
from chatbot.api import api
from chatbot.tables import BroadcastTable
from kernel.grants import read


@api.post("/getBroadcastProgress", uses=[read(BroadcastTable)])
def get_broadcast_progress(request: broadcasts.BroadcastChoice) -> broadcasts.Progress:
    """Tell how far a broadcast is: its state and its counters."""
    return broadcasts.progress(request)
