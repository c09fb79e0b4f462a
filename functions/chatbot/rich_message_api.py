from chatbot.api import api
from chatbot.retired import RetiredRequest


@api.post("/richMessageApi")
def rich_message_api(request: RetiredRequest) -> None:
    """Answer every caller that this operation is retired."""
