from chatbot.api import api
from chatbot.retired import RetiredRequest


@api.post("/saveScenarioApi")
def save_scenario_api(request: RetiredRequest) -> None:
    """Answer every caller that this operation is retired."""
