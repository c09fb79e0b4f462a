from chatbot import scenarios
from chatbot.api import api
from chatbot.tables import ScenarioTable, TriggerTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post(
    "/saveScenario",
    uses=[read(ScenarioTable), write(ScenarioTable), write(TriggerTable), append(AuditTable)],
    body_limit=4 * 1024 * 1024,
)
def save_scenario(request: scenarios.ScenarioRequest) -> None:
    """Create a scenario or replace it with all its nodes; a refusal names every flaw with its path."""
    scenarios.save(request)
