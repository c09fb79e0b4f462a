from kernel.envelopes import Response
from kernel.grants import read, sign
from membership import code_images
from membership.api import BACK_OFFICE, OPERATOR, api
from membership.back_office import Number
from membership.code_images import Format, Seconds
from membership.tables import HoldingTable


@api.get(
    "/admin/merchants/{merchant}/holdings/{num}/code",
    auth=OPERATOR,
    envelope=BACK_OFFICE,
    uses=[read(HoldingTable), sign()],
    produces="image/*",
)
def show_coupon_code(merchant: Number, num: Number, format: Format = "png", seconds: Seconds = 300) -> Response:
    """Return the signed QR code of a customer's coupon as a picture; with 0 seconds it lasts, for print."""
    return code_images.of_holding(merchant, num, seconds, format)
