"""What starts a scenario by itself, kept so that one query finds it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from chatbot.engine import Scenario, fold
from chatbot.tables import ScenarioTable, ScenarioVersionTable, TriggerTable

if TYPE_CHECKING:
    from collections.abc import Iterator

# More scenarios than this for one keyword or trigger are never looked at.
_CANDIDATES = 1000


def trigger_rows(scenario: ScenarioTable) -> list[TriggerTable]:
    """Return the rows under which a stored scenario is found: one a keyword, one for follow or error, else none."""
    keys: dict[str, str] = {}
    if scenario.trigger in ("follow", "error"):
        keys[f"{scenario.trigger}#{scenario.scenario_id}"] = ""
    for keyword in scenario.keywords if scenario.trigger == "keyword" else ():
        key = f"{_keyword_prefix(fold(keyword))}{scenario.scenario_id}"
        keys[key] = max(keys.get(key, ""), keyword, key=len)
    return [
        TriggerTable(
            account=scenario.account,
            trigger_key=key,
            scenario_id=scenario.scenario_id,
            keyword=keyword,
            updated_at=scenario.updated_at,
        )
        for key, keyword in keys.items()
    ]


def _keyword_prefix(folded: str) -> str:
    # A keyword may hold '#', so its digest stands in the key.
    return f"keyword#{hashlib.sha256(folded.encode()).hexdigest()}#"


class StoredScenarios:
    """The engine's library over the tables of one channel; reads each scenario once."""

    def __init__(self, partition: str) -> None:
        self._partition = partition
        self._read: dict[str, Scenario | None] = {}
        self._born: dict[str, int] = {}

    def scenario(self, scenario_id: str) -> Scenario | None:
        """Return the scenario with this id, None when it is gone."""
        if scenario_id not in self._read:
            row = ScenarioTable.find(self._partition, scenario_id)
            self._read[scenario_id] = None if row is None else _runnable(row)
            if row is not None:
                self._born[scenario_id] = int(row.first_revision or 0)
        return self._read[scenario_id]

    def pinned(self, scenario_id: str, version: int) -> Scenario | None:
        """Return the scenario as that save left it, None when it was deleted since, even if it was made anew."""
        current = self.scenario(scenario_id)
        if current is None or current.version == version:
            return current
        return self.saved(scenario_id, version) if version >= self._born[scenario_id] else None

    def saved(self, scenario_id: str, version: int) -> Scenario | None:
        """Return the scenario as that save left it, even when it was deleted since."""
        current = self._read.get(scenario_id)
        if current is not None and current.version == version:
            return current
        row = ScenarioVersionTable.find(version_key(self._partition, scenario_id), version)
        return None if row is None else Scenario(scenario_id, version, row.nodes, row.icon_url_id)

    def for_keyword(self, folded: str) -> Scenario | None:
        """Return the scenario of the keyword: the longest as it was written, then the last saved."""
        if not folded:
            return None
        rows = self._starting(_keyword_prefix(folded))
        rows.sort(key=lambda row: (len(row.keyword), row.updated_at), reverse=True)
        return next((found for row in rows if (found := self.scenario(row.scenario_id))), None)

    def triggered_by(self, trigger: str) -> Iterator[Scenario]:
        """Yield the scenarios of `follow` or `error`, the first saved first, each read when it is wanted."""
        for row in sorted(self._starting(f"{trigger}#"), key=lambda row: row.updated_at):
            if found := self.scenario(row.scenario_id):
                yield found

    def _starting(self, prefix: str) -> list[TriggerTable]:
        condition = TriggerTable.trigger_key.startswith(prefix)
        return TriggerTable.query(self._partition, condition, limit=_CANDIDATES, consistent=True).rows


def version_key(partition: str, scenario_id: str) -> str:
    """Return the key under which the versions of a scenario are stored."""
    return f"{partition}#{scenario_id}"


def _runnable(row: ScenarioTable) -> Scenario:
    return Scenario(row.scenario_id, int(row.revision or 0), row.nodes, row.icon_url_id)
