from chatbot import scenarios
from chatbot.api import api
from chatbot.tables import ScenarioTable
from kernel.grants import read, sign


@api.post("/getScenario", uses=[read(ScenarioTable), sign()])
def get_scenario(request: scenarios.ScenariosRequest) -> scenarios.ScenarioList:
    """List the scenarios of a channel with their nodes as they were saved."""
    return scenarios.page(request)
