"""Scenarios of a channel: saved whole, found by id or by what starts them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError, WithJsonSchema

from chatbot.api import NULL_IS_BLANK, AccountRequest, ListRequest, ListView, View
from chatbot.graph import flaws_of_nodes
from chatbot.losses import losses
from chatbot.nodes import Node, Trigger, normalised
from chatbot.tables import ScenarioTable, ScenarioVersionTable, TriggerTable
from chatbot.times import shown
from chatbot.triggers import trigger_rows, version_key
from kernel import audit, clock, ids
from kernel.errors import Conflict, Flaw, Invalid, NotFound
from kernel.operations import answer_size, flaws_of
from kernel.running import current
from kernel.tables import Delete, Put, Write, commit, existing_keys, replace, write_all

# A save writes its row, its audit entry and a row for each old and new keyword in one transaction of 100.
KEYWORDS_LIMIT = 45
# DynamoDB keeps 400 KB an item; the rest of the row needs a little.
_DEFLATED_LIMIT = 350_000
_PAGE = 200
_PAGE_BYTES = 4_000_000

Keyword = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]


class ScenarioHead(BaseModel):
    """Head of a scenario; an empty or absent id is made by the server."""

    scenarioId: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{0,64}$"), NULL_IS_BLANK] = ""  # noqa: N815
    scenarioName: Annotated[str, StringConstraints(max_length=200)]  # noqa: N815
    iconUrlId: Annotated[str, StringConstraints(max_length=64), NULL_IS_BLANK] = ""  # noqa: N815
    trigger: Trigger
    keywords: Annotated[
        list[Keyword], BeforeValidator(lambda value: value or []), Field(max_length=KEYWORDS_LIMIT)
    ] = []


class ScenarioRequest(AccountRequest):
    """A scenario to save. Head and nodes are judged together, so that one answer names every flaw.

    `baseVersion` is the version that was edited: when somebody saved another since, the save is refused unless `force`.
    """

    scenario: Annotated[dict[str, Any], WithJsonSchema(ScenarioHead.model_json_schema())]
    nodes: Annotated[list[Any], WithJsonSchema({"type": "array", "items": Node.model_json_schema(by_alias=True)})]
    base_version: Annotated[int, Field(ge=0)] | None = None
    force: bool = False


class ScenarioId(AccountRequest):
    """A scenario by id."""

    scenario_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class HeadView(View):
    """Head of a listed scenario."""

    scenario_id: str
    scenario_name: str
    icon_url_id: str
    trigger: str
    keywords: list[str]


class ScenarioView(View):
    """A listed scenario; nodes come back as they were saved, `version` only when it was asked for."""

    id: str
    scenario: HeadView
    nodes: list[dict[str, Any]]
    create_time: str
    update_time: str
    version: int | None = Field(default=None, exclude_if=lambda value: value is None)


class ScenariosRequest(ListRequest):
    """Which scenarios to list; with `withVersion` each tells the number that saveScenario takes as `baseVersion`."""

    with_version: bool = False


class ScenarioList(ListView):
    """A page of scenarios."""

    data: list[ScenarioView]


def save(request: ScenarioRequest) -> list[str]:
    """Create a scenario or replace it with all its nodes; return what its channel cannot show of it."""
    partition = request.partition
    head, nodes, flaws = judged(partition, request.scenario, request.nodes)
    if head is None or flaws:
        raise Invalid(flaws)
    row = ScenarioTable.find(partition, head.scenarioId)
    if request.base_version is not None and not request.force:
        current = int(row.revision or 0) if row else 0
        if request.base_version != current:
            raise Conflict(
                f"scenario was saved since: version {current} is the latest, yours began at version "
                f"{request.base_version}; save again with force to replace it"
            )
    store(partition, head, nodes, row)
    return losses(request.account.account_type, nodes)


def judged(
    partition: str, scenario: dict[str, Any], given: list[Any]
) -> tuple[ScenarioHead | None, list[dict[str, Any]], list[Flaw]]:
    """Return head (with an id), nodes as they are stored, and everything that keeps them from running."""
    own = scenario.get("scenarioId")
    named = _named_scenarios(given) - ({own} if isinstance(own, str) else set())
    return judged_among(scenario, given, _existing(partition, named))


def judged_among(
    scenario: dict[str, Any], given: list[Any], known: set[str]
) -> tuple[ScenarioHead | None, list[dict[str, Any]], list[Flaw]]:
    """Judge head and nodes where the other scenarios are `known`, instead of those that the channel has."""
    head, flaws = _judged_head(scenario)
    nodes = [normalised(node) if isinstance(node, dict) else node for node in given]
    scenario_id = (head.scenarioId if head else "") or ids.uuid1()
    if head is not None:
        head.scenarioId = scenario_id
    flaws += flaws_of_nodes(nodes, scenario_id, known)
    if not flaws and len(ScenarioTable.nodes.serialize(nodes)) > _DEFLATED_LIMIT:
        flaws.append(Flaw("nodes", "are too large together; spread them over several scenarios"))
    return head, nodes, flaws


def store(partition: str, head: ScenarioHead, nodes: list[dict[str, Any]], row: ScenarioTable | None) -> None:
    """Make head and nodes the latest version of a scenario, `row` as it is stored; its tracked links lead somewhere."""
    if any((node.get("nodeConst") or {}).get("trackClicks") for node in nodes):
        from chatbot import links

        # A registered target that no scenario leads to in the end does no harm.
        write_all(links.registered(partition, nodes))
    commit(*saved(partition, head, nodes, row))


def holds_same(row: ScenarioTable, head: ScenarioHead, nodes: list[dict[str, Any]]) -> bool:
    """Tell whether a stored scenario is already what is to be saved."""
    keywords = head.keywords if head.trigger == "keyword" else []
    wanted = (head.scenarioName, head.iconUrlId, head.trigger, keywords, nodes)
    return wanted == (row.scenario_name, row.icon_url_id, row.trigger, row.keywords, row.nodes)


def saved(
    partition: str, head: ScenarioHead, nodes: list[dict[str, Any]], row: ScenarioTable | None, *, note: str = ""
) -> list[Write]:
    """Return the writes that make head and nodes the latest version of a scenario; `row` is what is stored of it."""
    before = _state(row) if row else None
    old = trigger_rows(row) if row else []
    if row is None:
        row = ScenarioTable(account=partition, scenario_id=head.scenarioId)
        row.revision = _latest_revision(partition, head.scenarioId)
        row.first_revision = row.revision + 1
    row.revision = int(row.revision or 0) + 1
    row.scenario_name = head.scenarioName
    row.icon_url_id = head.iconUrlId
    row.trigger = head.trigger
    row.keywords = head.keywords if head.trigger == "keyword" else []
    row.nodes = nodes
    entry = audit.entry(f"scenario {row.scenario_id}{note}", before=before, after=_state(row))
    return [*writes_of(row, old), entry]


def _latest_revision(partition: str, scenario_id: str) -> int:
    """Return the number of the last version under an id that no scenario has now: numbers are never used twice."""
    key = version_key(partition, scenario_id)
    found = ScenarioVersionTable.query_items(
        key, fields=[ScenarioVersionTable.revision], limit=1, newest_first=True, consistent=True
    ).rows
    return int(found[0]["revision"]["N"]) if found else 0


def _judged_head(given: dict[str, Any]) -> tuple[ScenarioHead | None, list[Flaw]]:
    try:
        head = ScenarioHead.model_validate(given)
    except ValidationError as problem:
        return None, [
            Flaw(f"scenario.{flaw.path}" if flaw.path else "scenario", flaw.message) for flaw in flaws_of(problem)
        ]
    if head.trigger == "keyword" and not head.keywords:
        return head, [Flaw("scenario.keywords", "is required for trigger keyword")]
    return head, []


def _named_scenarios(nodes: Any) -> set[str]:
    """Return the ids of scenarios that nodes name anywhere outside their templates."""
    found: set[str] = set()
    if isinstance(nodes, list):
        for inner in nodes:
            found |= _named_scenarios(inner)
    elif isinstance(nodes, dict):
        for name, inner in nodes.items():
            if name in ("nextScenario", "scenario_id", "scenarioId") and isinstance(inner, str) and inner:
                found.add(inner)
            elif name != "template":
                found |= _named_scenarios(inner)
    return found


def _existing(partition: str, scenario_ids: set[str]) -> set[str]:
    keys = [ScenarioTable.key(partition, scenario_id) for scenario_id in sorted(scenario_ids) if len(scenario_id) <= 64]
    return {key["scenario_id"]["S"] for key in existing_keys(ScenarioTable, keys)}


def writes_of(row: ScenarioTable, old_triggers: list[TriggerTable]) -> list[Write]:
    """Return the writes that store a scenario, its version and what starts it, and remove what started it before."""
    put = replace(row)
    version = ScenarioVersionTable(
        scenario=version_key(row.account, row.scenario_id),
        revision=row.revision,
        scenario_name=row.scenario_name,
        icon_url_id=row.icon_url_id,
        trigger=row.trigger,
        keywords=row.keywords,
        nodes=row.nodes,
        actor=current().actor,
        created_at=clock.now(),
    )
    triggers = trigger_rows(row)
    keys = {trigger.trigger_key for trigger in triggers}
    gone = [Delete(TriggerTable, trigger.own_key()) for trigger in old_triggers if trigger.trigger_key not in keys]
    return [put, Put(version), *map(Put, triggers), *gone]


def _state(row: ScenarioTable) -> dict[str, Any]:
    names = ("scenario_name", "icon_url_id", "trigger", "keywords", "nodes")
    return {name: getattr(row, name) for name in names}


def delete(request: ScenarioId) -> None:
    """Delete a scenario with its nodes and triggers; flows in it end at the user's next message."""
    partition = request.partition
    row = ScenarioTable.find(partition, request.scenario_id)
    if row is None:
        raise NotFound("scenarioId not found")
    commit(
        Delete(ScenarioTable, row.own_key(), ScenarioTable.version == row.version),
        audit.entry(f"scenario {row.scenario_id}", before=_state(row), after=None),
        *(Delete(TriggerTable, trigger.own_key()) for trigger in trigger_rows(row)),
    )


def page(request: ScenariosRequest) -> ScenarioList:
    """Return the channel's scenarios: all of them, unless they are more than 200 or 4 MB together."""
    partition = request.partition
    views: list[ScenarioView] = []
    size = 0
    last_key = request.start("scenarios")
    while True:
        rows, ahead = ScenarioTable.query(partition, limit=_PAGE, after=last_key, consistent=True)
        for row in rows:
            view = _view(row, with_version=request.with_version)
            size += answer_size(view.model_dump_json(by_alias=True))
            if views and (size > _PAGE_BYTES or len(views) == _PAGE):
                return ScenarioList(data=views, last_evaluated_key=request.next_key("scenarios", last_key))
            views.append(view)
            last_key = row.own_key()
        if ahead is None:
            return ScenarioList(data=views)


def _view(row: ScenarioTable, *, with_version: bool) -> ScenarioView:
    return ScenarioView(
        id=row.scenario_id,
        scenario=HeadView(
            scenario_id=row.scenario_id,
            scenario_name=row.scenario_name,
            icon_url_id=row.icon_url_id,
            trigger=row.trigger,
            keywords=row.keywords,
        ),
        nodes=row.nodes,
        create_time=shown(row.created_at),
        update_time=shown(row.updated_at),
        version=int(row.revision or 0) if with_version else None,
    )
