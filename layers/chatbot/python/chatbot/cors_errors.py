"""What the external service complained of, kept for a month."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from chatbot.api import ListRequest, ListView, View
from chatbot.tables import CorsErrorTable
from kernel import ids
from kernel.tables import Put

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from chatbot.external import CrosError

LIFE = timedelta(days=30)
_PAGE = 100


class CorsErrorView(View):
    """An error as the service told it."""

    msg: str
    code: str


class CorsErrorList(ListView):
    """A page of errors."""

    data: list[CorsErrorView]


def noted(partition: str, errors: Iterable[CrosError], at: datetime) -> list[Put]:
    """Return the writes that keep the errors of one call, in their order."""
    call = ids.ordered_id(at)
    return [
        Put(
            CorsErrorTable(
                account=partition, error_id=f"{call}{place:02}", msg=error.msg, code=error.code, expires=at + LIFE
            )
        )
        for place, error in enumerate(errors)
    ]


def page(request: ListRequest) -> CorsErrorList:
    """Return a page of at most 100 errors of a channel, the latest first."""
    rows, last_key = CorsErrorTable.query(
        request.partition, limit=_PAGE, after=request.start("cors-errors"), newest_first=True
    )
    return CorsErrorList(
        data=[CorsErrorView(msg=row.msg, code=row.code) for row in rows],
        last_evaluated_key=request.next_key("cors-errors", last_key),
    )
