"""Clicks of users: on our tracked links, and those that partners report."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from chatbot import times
from chatbot.api import ListRequest, ListView, View
from chatbot.orders import Claims, claims_of, fields_of, known_user
from chatbot.tables import ClickTable
from kernel import clock, ids
from kernel.errors import Invalid
from kernel.tables import Put, commit

if TYPE_CHECKING:
    from kernel.auth import Incoming

LIFE = timedelta(days=400)
PAYLOAD_BYTES = 4096
_URL_LENGTH = 2000
_PAGE = 100


class Reported(NamedTuple):
    """A click as a partner reports it: what its token says, and all else that he sent."""

    claims: Claims
    payload: dict[str, Any]


class ClickView(View):
    """A click as it is listed; `source` is 'link' for our own links, else the partner's route."""

    user_id: str
    node_id: str
    scenario_id: str
    url: str
    source: str
    create_time: str


class ClickList(ListView):
    """A page of clicks."""

    data: list[ClickView]


def proved(incoming: Incoming) -> Reported:
    """Return the click of a request; only the token must be there, the rest is in no document."""
    sent = fields_of(incoming)
    claims = claims_of(sent.pop("token", None))
    if len(json.dumps(sent, ensure_ascii=False).encode("utf-8", "replace")) > PAYLOAD_BYTES:
        raise Invalid(f"The request holds more than {PAYLOAD_BYTES} bytes beside its token")
    return Reported(claims, sent)


def report(click: Reported) -> None:
    """Store a click that a partner reported, with whatever he sent; a repeated one is one more click."""
    url = click.payload.get("url")
    shown = url if isinstance(url, str) and len(url) <= _URL_LENGTH else ""
    commit(noted(click.claims, "userclick", shown, click.payload))


def noted(claims: Claims, source: str, url: str, payload: dict[str, Any]) -> Put:
    """Return the write that keeps a click."""
    now = clock.now()
    row = ClickTable(
        account=claims.partition,
        click_id=ids.ordered_id(now),
        source=source,
        user_id=known_user(claims),
        node_id=claims.node_id,
        scenario_id=claims.scenario_id,
        url=url,
        payload=payload,
        created_at=now,
        expires=now + LIFE,
    )
    return Put(row)


def page(request: ListRequest) -> ClickList:
    """Return a page of at most 100 clicks of a channel, the latest first."""
    rows, last_key = ClickTable.query(request.partition, limit=_PAGE, after=request.start("clicks"), newest_first=True)
    return ClickList(
        data=[
            ClickView(
                user_id=row.user_id,
                node_id=row.node_id,
                scenario_id=row.scenario_id,
                url=row.url,
                source=row.source,
                create_time=times.shown(row.created_at),
            )
            for row in rows
        ],
        last_evaluated_key=request.next_key("clicks", last_key),
    )
