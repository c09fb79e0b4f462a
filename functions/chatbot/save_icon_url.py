from chatbot import icons
from chatbot.api import api
from chatbot.tables import IconTable
from kernel.audit import AuditTable
from kernel.grants import append


@api.post("/saveIconUrl", uses=[append(IconTable), append(AuditTable)])
def save_icon_url(request: icons.NewIcons) -> None:
    """Add icons to a channel."""
    icons.save(request)
