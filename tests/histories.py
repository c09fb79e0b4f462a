"""A shop's day: something of everything that the ledger records, done through the operations."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from functions.membership.add_invoice import add_invoice
from functions.membership.give_coupon import give_coupon
from functions.membership.recharge_card import recharge_card
from functions.membership.redeem_coupon import redeem_coupon
from functions.membership.refund_expense import refund_expense
from functions.membership.refund_recharge import refund_recharge
from functions.membership.spend_from_card import spend_from_card
from kernel import clock, settings
from tests.bank import Bank
from tests.shops import ACTIVITY, EVENT_COUPONS, IMAGE, PASSWORD, STORED_VALUE, customer
from tests.tills import Till

if TYPE_CHECKING:
    from datetime import datetime

    import pytest

    from tests.conftest import Cloud


def play(cloud: Cloud, day: datetime, *, user_id: int | None = None) -> Till:
    """Let a new customer do on this day what customers do; return the till where he did it."""
    user_id = user_id or 7000 + day.day
    # Its last six digits are the pay password that tests know.
    phone = f"138{user_id % 100:02d}000007"
    with clock.frozen(day):
        customer(user_id, phone)
        till = Till(cloud, phone=phone)
        till.opened(STORED_VALUE)
        till.opened(ACTIVITY)
    for hour, step in enumerate(_STEPS):
        with clock.frozen(day + timedelta(minutes=10 * hour)):
            step(till, user_id)
    return till


def _recharge(till: Till, user_id: int) -> None:
    till.recharged()
    till.recharged()
    till.recharged(100, 0, EVENT_COUPONS, STORED_VALUE)
    till.stored(50, "5.05")


def _spend(till: Till, user_id: int) -> None:
    till.stored(30, 0)
    till.refunded(till.spent("420.15"), money="60.30")
    till.spent("120.01", STORED_VALUE)


def _use_up(till: Till, user_id: int) -> None:
    held = [lot for lot in till.rows("lots") if lot["owner"].endswith(till.phone)]
    till.spent(f"{sum(lot['principal'] + lot['gift'] for lot in held) / 100:.2f}")
    till.cashed_back(held[0]["id"])


def _take_back(till: Till, user_id: int) -> None:
    till.data(refund_recharge, orderNo=till.recharged(), code=till.code(), money="50.00")
    till.data(refund_recharge, orderNo=till.stored(20, 1), code=till.code())
    till.data(refund_recharge, orderNo=till.recharged(100, 0, EVENT_COUPONS, STORED_VALUE), code=till.code())


def _coupons(till: Till, user_id: int) -> None:
    till.data(give_coupon, phone=till.phone, couponId=1, quantity=3)
    for holding in till.rows("holdings"):
        if holding["user_id"] == user_id:
            till.data(redeem_coupon, num=holding["num"])


def _invoice(till: Till, user_id: int) -> None:
    till.data(add_invoice, userId=user_id, cardId=STORED_VALUE, amount="33.33", image=IMAGE)


_STEPS = (_recharge, _spend, _use_up, _take_back, _coupons, _invoice)


def improvise(till: Till, kind: str, amount: str) -> None:
    """Try one of the operations; whatever the rules of the business refuse is refused."""
    user = next(row["user_id"] for row in till.rows("customers") if row["phone"] == till.phone)
    orders = [row for row in till.rows("orders") if row["owner"].endswith(till.phone)]
    order = orders[int(float(amount) * 100) % len(orders)]["order_no"]
    about = {"phone": till.phone, "cardId": STORED_VALUE}
    match kind:
        case "stored":
            till.call(recharge_card, **about, recharge=amount, send="0.77", image=IMAGE)
        case "recharged":
            till.recharged()
        case "spent":
            till.call(spend_from_card, **about, expense=amount, password=PASSWORD)
        case "spent_activity":
            till.call(spend_from_card, **about | {"cardId": ACTIVITY}, expense=amount, password=PASSWORD)
        case "refund":
            till.call(refund_expense, orderNo=order, code=till.code(), money=amount)
        case "take_back":
            till.call(refund_recharge, orderNo=order, code=till.code())
        case "invoice":
            till.call(add_invoice, userId=user, cardId=STORED_VALUE, amount=amount, image=IMAGE)
        case "coupon":
            till.call(give_coupon, phone=till.phone, couponId=1, quantity=2)


def in_bank(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """Let the cloud's tables be those of a bank in this process, which a long history needs to be told in seconds."""
    bank = Bank(cloud)
    bank.open(monkeypatch)
    plain = TypeDeserializer().deserialize

    def rows(name: str) -> list[dict[str, Any]]:
        items = bank.items()[settings.resource_name(name)]
        return [{key: plain(_bytes(value)) for key, value in item.items()} for item in items]

    monkeypatch.setattr(cloud, "rows", rows)
    return bank


def _bytes(value: dict[str, Any]) -> dict[str, Any]:
    return {"B": base64.b64decode(value["B"])} if "B" in value else value
