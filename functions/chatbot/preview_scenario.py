from chatbot import previews
from chatbot.api import api
from chatbot.tables import ScenarioTable, TriggerTable
from kernel.grants import read


@api.post("/previewScenario", uses=[read(ScenarioTable), read(TriggerTable)], body_limit=4 * 1024 * 1024, timeout=29)
def preview_scenario(request: previews.PreviewRequest) -> previews.PreviewView:
    """Run a scenario, stored or a draft, on a list of inputs and return what the user would see; nothing is sent."""
    return previews.run(request)
