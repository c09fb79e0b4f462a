from typing import Annotated

from pydantic import StringConstraints

from chatbot import liff
from chatbot.api import AccountId, AdminId, api
from chatbot.tables import AccountTable, SegmentTable
from kernel.auth import Public
from kernel.envelopes import Response
from kernel.grants import read, sign


@api.get(
    "/liff/{admin_id}/{account_id}",
    auth=Public(),
    uses=[read(AccountTable), read(SegmentTable), sign()],
    produces="text/html",
)
def show_liff_page(
    admin_id: AdminId,
    account_id: AccountId,
    segment: Annotated[str, StringConstraints(max_length=64)] = "",
    liff_state: str = "",
) -> Response:
    """Return the page that LINE opens for the links of a channel's segments; it registers the visitor."""
    return liff.page(admin_id, account_id, segment, liff_state)
