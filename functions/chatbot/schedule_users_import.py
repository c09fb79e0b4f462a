from chatbot.api import api
from chatbot.retired import RetiredRequest


@api.post("/scheduleUsersImport")
def schedule_users_import(request: RetiredRequest) -> None:
    """Answer every caller that this operation is retired."""
