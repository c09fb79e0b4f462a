from chatbot import tags
from chatbot.api import AccountRequest, api
from chatbot.tables import TagTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


class DeleteTag(AccountRequest):
    """The tag to delete."""

    tag: tags.TagName


@api.post("/deleteTag", uses=[read(TagTable), write(TagTable), append(AuditTable)])
def delete_tag(request: DeleteTag) -> None:
    """Delete the tag of a channel that has this name and colour."""
    tags.delete(request.partition, request.tag)
