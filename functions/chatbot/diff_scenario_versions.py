from chatbot import versions
from chatbot.api import api
from chatbot.tables import ScenarioVersionTable
from kernel.grants import read


@api.post("/diffScenarioVersions", uses=[read(ScenarioVersionTable)])
def diff_scenario_versions(request: versions.VersionPair) -> versions.DifferenceList:
    """Compare two versions of a scenario; nodes are matched by their id."""
    return versions.compare(request)
