from chatbot import tags
from chatbot.api import ListRequest, api
from chatbot.tables import TagTable
from kernel.grants import read, sign


@api.post("/getTag", uses=[read(TagTable), sign()])
def get_tag(request: ListRequest) -> tags.TagList:
    """List the tags of a channel, ordered by colour and name."""
    return tags.page(request)
