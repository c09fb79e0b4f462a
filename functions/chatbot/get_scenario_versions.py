from chatbot import versions
from chatbot.api import api
from chatbot.tables import ScenarioVersionTable
from kernel.grants import read, sign


@api.post("/getScenarioVersions", uses=[read(ScenarioVersionTable), sign()])
def get_scenario_versions(request: versions.VersionsRequest) -> versions.VersionList:
    """List the versions of a scenario, the latest first, also of one that was deleted."""
    return versions.page(request)
