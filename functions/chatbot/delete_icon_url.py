from chatbot import icons
from chatbot.api import api
from chatbot.tables import IconTable
from kernel.audit import AuditTable
from kernel.grants import append, read, write


@api.post("/deleteIconUrl", uses=[read(IconTable), write(IconTable), append(AuditTable)])
def delete_icon_url(request: icons.IconIds) -> None:
    """Delete icons, all of them or none; scenarios that name them show the channel's own."""
    icons.delete(request)
