"""The proof of a merchant's coupons: as many pieces count as given as his customers were given, less the withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from membership.evidence import OF_INDEX, PAGE, RESTLESS, Finding, settled
from membership.tables import CouponTable, HoldingTable

if TYPE_CHECKING:
    from kernel.tables import Item


def prove(merchant_id: int) -> list[Finding]:
    """Compare what each coupon counts as given with its holdings; how much of it may be given can be changed later."""
    restless: set[int] = set()

    def look() -> tuple[bool, list[Finding]]:
        before, held, after = _given(merchant_id), _held(merchant_id), _given(merchant_id)
        found = []
        restless.clear()
        for coupon_id in sorted(after.keys() | held.keys()):
            given, pieces = after.get(coupon_id), held.get(coupon_id, 0)
            if given == pieces:
                continue
            if given != before.get(coupon_id):
                restless.add(coupon_id)
            elif given is None:
                found.append(Finding("coupon_missing", _subject(coupon_id)))
            else:
                found.append(
                    Finding("coupon_changed", _subject(coupon_id), None, None, "given", str(pieces), str(given))
                )
        return not restless or bool(found), found

    found = settled("coupons", look, alike=3, pauses=OF_INDEX)
    return [
        *(one for one in found if one.what != RESTLESS),
        *(Finding(RESTLESS, _subject(coupon_id)) for coupon_id in sorted(restless)),
    ]


def _given(merchant_id: int) -> dict[int, int]:
    fields = [CouponTable.id, CouponTable.given]
    items = CouponTable.every_item(merchant_id, fields=fields, limit=PAGE, consistent=True)
    return {_number(item, "id"): _number(item, "given") for item in items}


def _held(merchant_id: int) -> dict[int, int]:
    fields = [HoldingTable.coupon_id, HoldingTable.given, HoldingTable.withdrawn]
    held: dict[int, int] = {}
    for item in HoldingTable.every_item(merchant_id, index=type(HoldingTable.by_merchant), fields=fields, limit=PAGE):
        coupon_id = _number(item, "coupon_id")
        held[coupon_id] = held.get(coupon_id, 0) + _number(item, "given") - _number(item, "withdrawn")
    return held


def _number(item: Item, name: str) -> int:
    """Return a stored number; one that cannot be read counts as none, and so is found."""
    text = (item.get(name) or {}).get("N", "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _subject(coupon_id: int) -> str:
    return f"coupon#{coupon_id}"
