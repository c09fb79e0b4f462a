from chatbot import scenarios
from chatbot.api import api
from chatbot.tables import ScenarioTable, TriggerTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post("/deleteScenario", uses=[read(ScenarioTable), write(ScenarioTable), write(TriggerTable), append(AuditTable)])
def delete_scenario(request: scenarios.ScenarioId) -> None:
    """Delete a scenario with its nodes; conversations in it end at the user's next message."""
    scenarios.delete(request)
