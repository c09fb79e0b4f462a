from kernel.auth import Public
from kernel.envelopes import Response
from kernel.grants import fetch
from membership import pictures
from membership.api import api


@api.get("/item/{date}/{file}", auth=Public(), uses=[fetch(pictures.ITEMS)], produces="image/*")
def show_item(date: str, file: str) -> Response:
    """Return an uploaded picture under the path that the upload answered; it may be kept for ever."""
    return pictures.shown(date, file)
