from chatbot import pictures
from chatbot.api import api
from kernel.audit import AuditTable
from kernel.grants import append, store


@api.post(
    "/imgMapfile",
    uses=[store(pictures.IMAGES), append(AuditTable)],
    # The gateway hands bodies over in base64, and Lambda takes 6 MB.
    body_limit=4_500_000,
    memory=1536,
    timeout=29,
)
def img_mapfile(request: pictures.ImageMap) -> pictures.LinkView:
    """Store the picture of a rich message in the widths that LINE fetches, and return its link."""
    return pictures.save(request)
