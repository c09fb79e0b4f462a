"""Previews: a scenario run by the same engine on a list of inputs, with nothing sent, stored or asked outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from chatbot.api import AccountRequest, Body, View
from chatbot.engine import Conversation, ExternalAnswer, Scenario, Turn, fold
from chatbot.losses import losses
from chatbot.scenarios import judged
from chatbot.triggers import StoredScenarios
from kernel import clock
from kernel.errors import Flaw, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatbot.conditions import Subject
    from chatbot.engine import Library, Outcome

INPUTS_LIMIT = 50

Text = Annotated[str, StringConstraints(max_length=5000)]


class Input(Body):
    """What the user does: says a text, taps something that sends `action`, follows, or sends something else."""

    type: Literal["text", "follow", "unfollow", "other"] = "text"
    text: Text = ""
    action: Text = ""


class External(Body):
    """How the external service answers."""

    ok: bool = True
    order_id: Annotated[str, StringConstraints(max_length=100)] = ""


class PreviewRequest(AccountRequest):
    """A stored scenario (`scenarioId`) or a draft (`scenario` and `nodes`), and what the user does.

    `variables`, `segments` (ids or names), `urls` (what each condition URL answers) and `external` are the world
    around it. The scenario is sent first unless `started` is false: then the inputs have to start it.
    """

    scenario_id: Annotated[str, StringConstraints(max_length=64)] = ""
    scenario: dict[str, Any] | None = None
    nodes: list[Any] = Field([])
    inputs: list[Input] = Field([], max_length=INPUTS_LIMIT)
    started: bool = True
    variables: dict[str, Text] = Field({}, max_length=100)
    segments: list[Text] = Field([], max_length=100)
    urls: dict[str, Text] = Field({}, max_length=20)
    external: External = Field(External())


class Tag(View):
    """A tag as the user has it after a step."""

    name: str
    color: str
    value: str


class Step(View):
    """What the user sees after an input, and what is known of him then; `waiting` names the node that asks."""

    input: dict[str, Any] | None
    messages: list[dict[str, Any]]
    variables: dict[str, str]
    tags: list[Tag]
    node_id: str
    waiting: str
    booked: list[str]
    facts: dict[str, Any]


class PreviewView(View):
    """The steps: the scenario's own beginning, then one for each input; and what the channel cannot show."""

    data: list[Step]
    warnings: list[str]


class _OpenVault:
    """Keeps variables that a scenario encrypts readable: the operator typed them himself."""

    def seal(self, name: str, text: str) -> str:
        return text

    def reveal(self, name: str, sealed: str) -> str:
        return sealed


class _Drafted:
    """The channel's scenarios with a draft in the place of the stored one."""

    def __init__(self, stored: Library, draft: Scenario, trigger: str, keywords: list[str]) -> None:
        self._stored = stored
        self._draft = draft
        self._trigger = trigger
        self._keywords = {fold(keyword) for keyword in keywords} if trigger == "keyword" else set()

    def scenario(self, scenario_id: str) -> Scenario | None:
        return self._draft if scenario_id == self._draft.id else self._stored.scenario(scenario_id)

    def pinned(self, scenario_id: str, version: int) -> Scenario | None:
        return self.scenario(scenario_id)

    def for_keyword(self, folded: str) -> Scenario | None:
        if folded in self._keywords:
            return self._draft
        found = self._stored.for_keyword(folded)
        return None if found is not None and found.id == self._draft.id else found

    def triggered_by(self, trigger: str) -> Iterator[Scenario]:
        for found in self._stored.triggered_by(trigger):
            if found.id != self._draft.id:
                yield found
        if trigger == self._trigger:
            yield self._draft


class _Imagined:
    """The world as the request describes it."""

    def __init__(self, request: PreviewRequest) -> None:
        self._request = request

    def in_segment(self, segment: str, subject: Subject) -> bool:
        return segment in self._request.segments

    def answer_of(self, url: str, variable: Callable[[str], str]) -> str | None:
        return self._request.urls.get(url)

    def call_external(self, node_id: str, variable: Callable[[str], str]) -> ExternalAnswer:
        return ExternalAnswer(self._request.external.ok, self._request.external.order_id)


def run(request: PreviewRequest) -> PreviewView:
    """Run the scenario and return what the user would see; flaws of a draft are refused as saveScenario would."""
    library: Library = StoredScenarios(request.partition)
    warnings: list[str] = []
    if request.scenario is not None:
        head, nodes, flaws = judged(request.partition, request.scenario, request.nodes)
        if head is None or flaws:
            raise Invalid(flaws)
        scenario: Scenario | None = Scenario(head.scenarioId, 0, nodes, head.iconUrlId)
        assert scenario is not None
        library = _Drafted(library, scenario, head.trigger, head.keywords)
        warnings = losses(request.account.account_type, nodes)
    elif request.scenario_id:
        scenario = library.scenario(request.scenario_id)
        if scenario is None:
            raise NotFound("scenarioId not found")
    else:
        raise Invalid([Flaw("scenarioId", "or scenario is required")])
    state = Conversation(variables=dict(request.variables))
    steps = []
    if request.started:
        steps.append(_step(None, state, _turn(request, state, library).start(scenario)))
    for given in request.inputs:
        turn = _turn(request, state, library)
        steps.append(_step(given.model_dump(by_alias=True), state, _answered(turn, given)))
    return PreviewView(data=steps, warnings=warnings)


def _turn(request: PreviewRequest, state: Conversation, library: Library) -> Turn:
    return Turn(state, library, _OpenVault(), clock.now(), follow_time=clock.now(), outside=_Imagined(request))


def _answered(turn: Turn, given: Input) -> Outcome:
    match given.type:
        case "text":
            return turn.say(given.text, given.action)
        case "follow":
            return turn.follow()
        case "unfollow":
            return turn.unfollow()
    return turn.show()


def _step(given: dict[str, Any] | None, state: Conversation, outcome: Outcome) -> Step:
    variables = {
        name: str(value["sealed"]) if isinstance(value, dict) else str(value) for name, value in state.variables.items()
    }
    tags = [Tag(name=tag["name"], color=tag["color"], value=tag.get("value", "")) for tag in state.tags]
    waiting = state.waiting["nodeId"] if state.waiting else ""
    booked = [f"{booking.scenario_id} in {booking.minutes} min" for booking in outcome.bookings]
    return Step(
        input=given,
        messages=outcome.messages,
        variables=variables,
        tags=tags,
        node_id=state.node_id,
        waiting=waiting,
        booked=booked,
        facts=outcome.facts,
    )
