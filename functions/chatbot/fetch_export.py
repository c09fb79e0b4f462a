from chatbot import exports
from chatbot.api import api
from chatbot.tables import ExportTable
from kernel.auth import Token
from kernel.envelopes import Response
from kernel.grants import fetch, read, sign


@api.get(
    "/exports/{ticket}",
    auth=Token(exports.ticket_of, uses=(sign(),)),
    uses=[read(ExportTable), fetch(exports.FILES)],
)
def fetch_export(caller: exports.Ticket) -> Response:
    """Lead to an exported file with 302; 202 with Retry-After and the rows so far while it is being written."""
    return exports.fetched(caller)
