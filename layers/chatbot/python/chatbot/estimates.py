"""What a broadcast would cost before it is sent: people, messages for each, and what is left of LINE's month."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from chatbot import broadcasts
from chatbot.accounts import credentials
from chatbot.api import View
from chatbot.broadcast_content import Way, content_of
from chatbot.triggers import StoredScenarios
from kernel import clock
from kernel.channels.faults import Refused, TryLater
from kernel.channels.line.client import MESSAGES_A_CALL, LineClient
from kernel.errors import Flaw, Invalid


class EstimateRequest(broadcasts.AudienceRequest):
    """A scenario and whom it would go to."""

    broadcast_scenario_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Estimate(View):
    """What a broadcast would cost.

    `audience` people, an estimate unless `exact`; `messagesPerPerson`, for personal content those of somebody of whom
    nothing is known; `countedPerPerson` is what LINE's quota counts. Quota fields are null when the channel has no
    quota, or does not tell.
    """

    audience: int
    exact: bool
    way: Way
    messages_per_person: int
    counted_per_person: int
    quota_needed: int
    quota_limit: int | None
    quota_used: int | None
    quota_left: int | None
    fits: bool | None


def of(request: EstimateRequest) -> Estimate:
    """Return what a broadcast would cost now."""
    library = StoredScenarios(request.partition)
    scenario = library.scenario(request.broadcast_scenario_id)
    if scenario is None:
        raise Invalid([Flaw("broadcastScenarioId", "is no scenario of this channel")])
    size = broadcasts.size(request)
    content = content_of(scenario, library, clock.now(), lambda message, node, shown: message)
    # LINE counts people reached by a call, not the up to five messages in it (Messaging API pricing).
    counted = -(-len(content.messages) // MESSAGES_A_CALL)
    needed = size.count * counted
    limit = used = None
    line = request.account.account_type == "line"
    if line:
        try:
            limit, used = LineClient(credentials(request.account)["accountToken"]).quota()
        except (TryLater, Refused):
            limit = used = None
    left = None if limit is None or used is None else max(limit - used, 0)
    return Estimate(
        audience=size.count,
        exact=size.exact,
        way=content.way if line else "personal",
        messages_per_person=len(content.messages),
        counted_per_person=counted,
        quota_needed=needed,
        quota_limit=limit,
        quota_used=used,
        quota_left=left,
        fits=None if left is None else needed <= left,
    )
