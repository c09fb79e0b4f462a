"""The versions of a scenario: one for each save, never changed; they can be listed, compared and brought back."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from chatbot.api import AccountRequest, ListRequest, ListView, View
from chatbot.scenarios import ScenarioHead, judged, saved
from chatbot.tables import ScenarioTable, ScenarioVersionTable
from chatbot.times import shown
from chatbot.triggers import version_key
from kernel.errors import Flaw, Invalid, NotFound
from kernel.tables import commit

_PAGE = 100
_CHANGES = 500

ScenarioId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Number = Annotated[int, Field(ge=1, le=1_000_000_000)]


class VersionsRequest(ListRequest):
    """A scenario whose versions are listed."""

    scenario_id: ScenarioId


class VersionPair(AccountRequest):
    """Two versions of a scenario to compare."""

    scenario_id: ScenarioId
    version: Number
    other_version: Number


class VersionChoice(AccountRequest):
    """A version to bring back."""

    scenario_id: ScenarioId
    version: Number


class VersionView(View):
    """A version: its number, who saved it and when."""

    version: int
    scenario_name: str
    trigger: str
    nodes_count: int
    saved_by: str
    create_time: str


class VersionList(ListView):
    """A page of versions, the latest first."""

    data: list[VersionView]


class Difference(View):
    """One place where two versions differ; null stands for nothing being there."""

    path: str
    before: Any
    after: Any


class DifferenceList(View):
    """Where two versions differ; `complete` is false when there is more than is listed."""

    data: list[Difference]
    complete: bool


def page(request: VersionsRequest) -> VersionList:
    """Return a page of at most 100 versions of a scenario, the latest first, also of one that was deleted."""
    key = version_key(request.partition, request.scenario_id)
    list_name = f"versions {request.scenario_id}"
    rows, last_key = ScenarioVersionTable.query(
        key, limit=_PAGE, after=request.start(list_name), newest_first=True, consistent=True
    )
    if not rows and not request.last_evaluated_key:
        raise NotFound("scenarioId not found")
    views = [
        VersionView(
            version=int(row.revision),
            scenario_name=row.scenario_name,
            trigger=row.trigger,
            nodes_count=len(row.nodes),
            saved_by=row.actor,
            create_time=shown(row.created_at),
        )
        for row in rows
    ]
    return VersionList(data=views, last_evaluated_key=request.next_key(list_name, last_key))


def compare(request: VersionPair) -> DifferenceList:
    """Return where two versions of a scenario differ; nodes are compared by their id, wherever they stand."""
    before = _content(_version(request.partition, request.scenario_id, request.version, "version"))
    after = _content(_version(request.partition, request.scenario_id, request.other_version, "otherVersion"))
    found = list(_differences(before, after, ""))
    return DifferenceList(data=found[:_CHANGES], complete=len(found) <= _CHANGES)


def roll_back(request: VersionChoice) -> None:
    """Make an earlier version the latest again, as a new version; it has to fit what is there now."""
    partition = request.partition
    row = ScenarioTable.find(partition, request.scenario_id)
    if row is None:
        raise NotFound("scenarioId not found")
    version = _version(partition, request.scenario_id, request.version, "version")
    head, nodes, flaws = judged(partition, _head(version), version.nodes)
    if head is None or flaws:
        raise Invalid(flaws)
    commit(*saved(partition, head, nodes, row, note=f" back to version {request.version}"))


def _version(partition: str, scenario_id: str, number: int, field: str) -> ScenarioVersionTable:
    row = ScenarioVersionTable.find(version_key(partition, scenario_id), number)
    if row is None:
        raise Invalid([Flaw(field, "is no version of this scenario")])
    return row


def _head(row: ScenarioVersionTable) -> dict[str, Any]:
    head = ScenarioHead(
        scenarioId=row.scenario.rpartition("#")[2],
        scenarioName=row.scenario_name,
        iconUrlId=row.icon_url_id,
        trigger=row.trigger,
        keywords=row.keywords,
    )
    return head.model_dump()


def _content(row: ScenarioVersionTable) -> dict[str, Any]:
    return {"scenario": _head(row), "nodes": {node["nodeId"]: node for node in row.nodes}}


def _differences(before: Any, after: Any, path: str) -> list[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        return [
            difference
            for name in names
            for difference in _differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
        ]
    return [] if before == after else [Difference(path=path, before=before, after=after)]
