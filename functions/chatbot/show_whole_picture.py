from chatbot import pictures
from chatbot.api import api
from kernel.auth import Public
from kernel.envelopes import Response
from kernel.grants import fetch


@api.get(
    "/images/{category}/{admin_id}/{account_id}/{picture}",
    auth=Public(),
    uses=[fetch(pictures.IMAGES)],
    produces="image/*",
)
def show_whole_picture(category: str, admin_id: str, account_id: str, picture: str) -> Response:
    """Return a stored picture in its greatest width: what the link of imgMapfile itself shows."""
    return pictures.shown(category, admin_id, account_id, picture, str(pictures.WIDTHS[0]))
