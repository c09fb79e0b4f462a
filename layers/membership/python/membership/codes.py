"""What stands in the QR codes of cards and coupons: `LYQ1:<cardNo>`, `LYQ2:<num>`, plain or signed and expiring.

A signed one goes on with `:<expiry>:<MAC>`. Digits, capitals and colons only, because QR codes hold those in half the
space of other texts.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import TYPE_CHECKING, NamedTuple

from kernel import clock
from kernel.secrets import signing_key
from membership.faults import Refused

if TYPE_CHECKING:
    from datetime import datetime

CARD, COUPON = 1, 2
_PURPOSE = b"membership code\0"
_MAC_BYTES = 10
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LASTING = "0"
_FORM = re.compile(r"(LYQ([12]):([1-9][0-9]{0,15}))(?::(0|[1-9A-Z][0-9A-Z]{0,9}):([A-Z2-7]{16}))?")


class Code(NamedTuple):
    """What a code is about: a card by its number, or a customer's coupon by its `num`."""

    kind: int
    number: int
    signed: bool


def plain(kind: int, number: int) -> str:
    """Return a code as the contract's examples have it."""
    return f"LYQ{kind}:{number}"


def signed(kind: int, number: int, expires: datetime | None) -> str:
    """Return a code that nobody else can make; without a time it lasts, as printed ones do."""
    head = f"{plain(kind, number)}:{_base36(_seconds(expires)) if expires else _LASTING}"
    return f"{head}:{_mac(head)}"


def read(text: str) -> Code:
    """Return what a scanned text is about; refuses what is no code, was not made here, or has expired."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise Refused("无法识别的二维码")
    about, kind, number, expiry, mac = form.groups()
    if mac is not None:
        if not hmac.compare_digest(mac, _mac(f"{about}:{expiry}")):
            raise Refused("二维码无效")
        if expiry != _LASTING and int(expiry, 36) <= _seconds(clock.now()):
            raise Refused("二维码已过期，请刷新后再扫")
    return Code(int(kind), int(number), signed=mac is not None)


def _mac(head: str) -> str:
    whole = hmac.digest(signing_key(), _PURPOSE + head.encode(), "sha256")
    return base64.b32encode(whole[:_MAC_BYTES]).decode()


def _seconds(moment: datetime) -> int:
    return clock.millis(moment) // 1000


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
