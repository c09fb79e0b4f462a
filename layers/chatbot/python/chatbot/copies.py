"""Copies of a channel's configuration under a new accountId."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatbot.scenarios import writes_of
from chatbot.tables import AccountTable, ScenarioTable, TagTable, VariableTable, account_key
from chatbot.triggers import trigger_rows
from kernel import ids
from kernel.tables import Delete, Put, Write, commit, existing_keys, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

# A transaction takes 4 MB, and a tag may be 180 KB.
_BATCH = 20
_NAMES = ("nextScenario", "scenario_id", "scenarioId")


def copy(source: AccountTable, account_id: str) -> None:
    """Copy scenarios (under new ids), tags and variables; users and history stay where they are."""
    origin = account_key(source.admin_id, source.account_id)
    target = account_key(source.admin_id, account_id)
    new_ids = {scenario_id: ids.uuid1() for scenario_id in _scenario_ids(origin)}
    for item in ScenarioTable.every_item(origin, consistent=True):
        row = ScenarioTable.of_item(item)
        copied = ScenarioTable(
            account=target,
            scenario_id=new_ids.get(row.scenario_id) or ids.uuid1(),
            scenario_name=row.scenario_name,
            icon_url_id=row.icon_url_id,
            trigger=row.trigger,
            keywords=row.keywords,
            nodes=_renamed(row.nodes, new_ids),
        )
        commit(*writes_of(copied, []))
    tags = [TagTable.of_item(item) for item in TagTable.every_item(origin, consistent=True)]
    for tag in tags:
        tag.account = target
    _commit_all([Put(tag) for tag in tags])
    variables = VariableTable.find(origin)
    if variables is not None:
        commit(replace(VariableTable(account=target, names=variables.names)))


def _scenario_ids(partition: str) -> list[str]:
    items = ScenarioTable.every_item(partition, fields=[ScenarioTable.scenario_id], consistent=True)
    return [item["scenario_id"]["S"] for item in items]


def _commit_all(writes: Sequence[Write]) -> None:
    for start in range(0, len(writes), _BATCH):
        commit(*writes[start : start + _BATCH])


def _renamed(value: Any, new_ids: dict[str, str]) -> Any:
    """Return nodes whose references lead to the copies; templates are left alone."""
    if isinstance(value, list):
        return [_renamed(inner, new_ids) for inner in value]
    if isinstance(value, dict):
        return {
            name: new_ids.get(inner, inner)
            if name in _NAMES and isinstance(inner, str)
            else inner
            if name == "template"
            else _renamed(inner, new_ids)
            for name, inner in value.items()
        }
    return value


def clear(admin_id: str, account_id: str) -> None:
    """Remove scenarios, tags and variables under an accountId that no channel has."""
    partition = account_key(admin_id, account_id)
    for scenario_id in _scenario_ids(partition):
        row = ScenarioTable.find(partition, scenario_id)
        if row is not None:
            triggers = [Delete(type(trigger), trigger.own_key()) for trigger in trigger_rows(row)]
            commit(Delete(ScenarioTable, row.own_key()), *triggers)
    tags = TagTable.every_item(partition, consistent=True)
    _commit_all([Delete(TagTable, TagTable.of_item(tag).own_key()) for tag in tags])
    keys = existing_keys(VariableTable, [VariableTable.key(partition)])
    _commit_all([Delete(VariableTable, key) for key in keys])
