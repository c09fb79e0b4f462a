from chatbot import scenarios
from chatbot.api import Remarked, Remarks, api
from chatbot.tables import LinkTable, ScenarioTable, ScenarioVersionTable, TriggerTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post(
    "/saveScenario",
    uses=[
        read(ScenarioTable),
        read(ScenarioVersionTable),
        *(write(table) for table in (ScenarioTable, ScenarioVersionTable, TriggerTable, LinkTable)),
        append(AuditTable),
    ],
    body_limit=4 * 1024 * 1024,
)
def save_scenario(request: scenarios.ScenarioRequest) -> Remarked:
    """Create a scenario or replace it with all its nodes; a refusal names every flaw with its path.

    Every save makes a version. Answers with `Warnings` when the channel cannot show something as it was made.
    """
    warnings = scenarios.save(request)
    return Remarks(warnings) if warnings else None
