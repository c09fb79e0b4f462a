"""Two hundred payments from one card at the same time, by processes of their own, on the embedded DynamoDB."""

import sys
from collections import Counter

import pytest

from local.shop_stage import ACTIVITY, STORED_VALUE, Request, payment, stage
from membership.tables import CardTable, OrderTable, RepeatTable
from tests import books

PAYMENTS, CALLERS = 200, 40
PHONE = "13800000007"
SHORT, BUSY = "余额不足", "卡片正忙，请稍后再试"


@pytest.fixture
def shop(tmp_path):
    with stage(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("product", "money"),
    [
        # 100 yuan and a gift of 50, 200 payments of 1: every fourth finds nothing left.
        (STORED_VALUE, {"paid": 10000, "given": 5000}),
        # Two recharges of 200 with a gift of 200.
        (ACTIVITY, {"lots": 2}),
    ],
)
def test_everything_acknowledged_is_in_the_books_once(shop, capfd, product, money):
    shop.card(PHONE, product, **money)
    whole = sum(row.principal + row.gift for row in shop.rows(CardTable))
    cents = whole * 4 // (PAYMENTS * 3)
    requests = [Request("spend_from_card", payment(PHONE, product, cents), f"key {n}") for n in range(PAYMENTS)]

    told = shop.at_once(requests, CALLERS)

    outcomes = Counter(one.body.get("msg") for one in told)
    done = {one.request.key for one in told if one.body["errCode"] == 0}
    assert set(outcomes) <= {"成功", SHORT, BUSY}, outcomes
    expenses = [order for order in shop.rows(OrderTable) if order.kind == "expenses"]
    assert len(expenses) == len(done) == outcomes["成功"]
    assert {order.principal + order.gift for order in expenses} == {cents}
    # No two have one number, and the claims are those of the acknowledged payments.
    assert len({order.order_no for order in expenses}) == len(expenses)
    claims = {row.claim.rpartition("#")[2] for row in shop.rows(RepeatTable)}
    assert {claim for claim in claims if claim.startswith("key ")} == done
    (card,) = shop.rows(CardTable)
    assert card.principal + card.gift == whole - cents * len(done)
    # Nobody was told that there is too little as long as there was enough.
    assert card.principal + card.gift < cents or SHORT not in outcomes
    assert books.flaws(shop.rows) == []
    slowest = sorted(one.seconds for one in told)[-PAYMENTS // 20]
    with capfd.disabled():
        sys.stdout.write(f"\n{product}: {dict(outcomes)}, 95% within {slowest:.1f} s\n")

    # Whoever was told that the card is busy asks again, and everybody else gets his first answer.
    again = {one.request.key: one.body for one in shop.at_once(requests, 1)}
    for one in told:
        if one.body.get("msg") != BUSY:
            assert again[one.request.key]["errCode"] == one.body["errCode"]
    (card,) = shop.rows(CardTable)
    assert card.principal + card.gift < cents
    assert books.flaws(shop.rows) == []
