"""Codes of cards and coupons as pictures, to be shown for a while or to be printed."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from kernel import clock
from kernel.envelopes import Response
from membership import codes, holdings, lookups
from membership.faults import Missing

Format = Literal["png", "svg"]
# How long a shown code is taken; one for print lasts.
Seconds = Annotated[int, Field(ge=0, le=86400)]
LASTING = 0
_TYPES = {"png": "image/png", "svg": "image/svg+xml"}


def of_card(merchant_id: int, card_id: int, seconds: int, kind: Format) -> Response:
    """Return the signed code of a customer's card."""
    card = lookups.card(card_id)
    if card is None or card.merchant_id != merchant_id:
        raise Missing("会员卡不存在")
    return _picture(codes.CARD, card.card_no, seconds, kind)


def of_holding(merchant_id: int, num: int, seconds: int, kind: Format) -> Response:
    """Return the signed code of a customer's coupon."""
    holding = holdings.numbered(num)
    if holding.merchant_id != merchant_id:
        raise holdings.unknown()
    return _picture(codes.COUPON, holding.num, seconds, kind)


def _picture(about: int, number: int, seconds: int, kind: Format) -> Response:
    expires = None if seconds == LASTING else clock.now() + timedelta(seconds=seconds)
    return Response(200, drawn(codes.signed(about, number, expires), kind), _TYPES[kind])


def drawn(text: str, kind: Format) -> bytes:
    """Return a text as a QR code that survives scratches (error correction M)."""
    import qrcode  # only the pictures need it and what draws them
    from qrcode.constants import ERROR_CORRECT_M

    code = qrcode.QRCode(error_correction=ERROR_CORRECT_M)
    code.add_data(text)
    made = io.BytesIO()
    if kind == "svg":
        from qrcode.image.svg import SvgPathImage

        code.make_image(image_factory=SvgPathImage).save(made)
    else:
        code.make_image().save(made)
    return made.getvalue()
