from kernel.envelopes import Response
from kernel.grants import read, sign
from membership import code_images
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.code_images import Format, Seconds
from membership.tables import CardTable


@api.get(
    "/admin/merchants/{merchant}/cards/{card}/code",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(CardTable), sign()],
    produces="image/*",
)
def show_card_code(merchant: Number, card: Number, format: Format = "png", seconds: Seconds = 300) -> Response:
    """Return the signed QR code of a customer's card as a picture; with 0 seconds it lasts, for print."""
    return code_images.of_card(merchant, card, seconds, format)
