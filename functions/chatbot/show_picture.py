from chatbot import pictures
from chatbot.api import api
from kernel.auth import Public
from kernel.envelopes import Response
from kernel.grants import fetch


@api.get(
    "/images/{category}/{admin_id}/{account_id}/{picture}/{width}",
    auth=Public(),
    uses=[fetch(pictures.IMAGES)],
    produces="image/*",
)
def show_picture(category: str, admin_id: str, account_id: str, picture: str, width: str) -> Response:
    """Return a stored picture in one of its widths; it may be kept for ever."""
    return pictures.shown(category, admin_id, account_id, picture, width)
