from chatbot import versions
from chatbot.api import api
from chatbot.tables import ScenarioTable, ScenarioVersionTable, TriggerTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post(
    "/rollBackScenario",
    uses=[
        read(ScenarioTable),
        read(ScenarioVersionTable),
        *(write(table) for table in (ScenarioTable, ScenarioVersionTable, TriggerTable)),
        append(AuditTable),
    ],
)
def roll_back_scenario(request: versions.VersionChoice) -> None:
    """Make an earlier version of a scenario the latest again; people in the middle of another stay on theirs."""
    versions.roll_back(request)
