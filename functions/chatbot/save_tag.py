from chatbot import tags
from chatbot.api import AccountRequest, api
from chatbot.tables import TagTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


class SaveTag(AccountRequest):
    """The tag to save."""

    tag: tags.Tag


@api.post("/saveTag", uses=[read(TagTable), write(TagTable), append(AuditTable)])
def save_tag(request: SaveTag) -> None:
    """Create a tag of a channel, or replace the values of the one with the same name and colour."""
    tags.save(request.partition, request.tag)
