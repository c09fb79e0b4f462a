"""Explaining a card: its entries with the balances after each, and where what is left came from."""

from __future__ import annotations

from datetime import timedelta

import pytest

from functions.membership.explain_card import explain_card
from kernel import clock, running
from membership import explanations
from tests.conftest import NOW
from tests.histories import in_bank, play
from tests.shops import ACTIVITY, MERCHANT, STORED_VALUE, furnish
from tests.tills import open_shop

GROUPS = [str(MERCHANT)]


@pytest.fixture
def till(cloud, monkeypatch):
    in_bank(cloud, monkeypatch)
    return open_shop(cloud, STORED_VALUE, ACTIVITY)


def explained(cloud, card, **body):
    answer = cloud.call(explain_card, body, path={"id": str(card)}, groups=GROUPS)
    assert answer.status == 200, answer.body
    return answer.body["data"]


def after(minutes):
    return clock.frozen(NOW + timedelta(minutes=minutes))


def left(told):
    return [(one["orderNo"], one["lot"], one["principal"], one["gift"]) for one in told["left"]]


def test_every_entry_is_told_with_the_balances_after_it(cloud, till):
    with after(1):
        order = till.stored(100, 20)
    with after(2):
        expense = till.spent("30.25", STORED_VALUE)

    told = explained(cloud, 1)

    opening, recharge, spending = told.pop("entries")
    assert told == {
        "cardId": 1,
        "cardNo": till.card(STORED_VALUE)["card_no"],
        "merchantId": MERCHANT,
        "userId": 7,
        "type": 10,
        "balance": 89.75,
        "principal": 69.75,
        "gift": 20.0,
        "invoiceable": 100.0,
        "invoiced": 0.0,
        "carried": [],
        "agrees": True,
        "left": [
            {"orderNo": order, "entryId": recharge["id"], "at": "2024-01-28T06:42:29.006+0000", "lot": None,
             "principal": 69.75, "gift": 20.0}
        ],
        "cursor": None,
    }  # fmt: skip
    assert opening == {
        "id": opening["id"], "kind": "opening", "at": "2024-01-28T06:41:29.006+0000", "orderNo": None,
        "reference": None, "managerId": 21, "storeId": 3, "moves": [], "balances": [],
    }  # fmt: skip
    assert (recharge["kind"], recharge["orderNo"]) == ("recharge", order)
    assert recharge["moves"] == [
        {"source": "merchant_cash", "target": "customer_principal", "lot": None, "amount": 100.0},
        {"source": "merchant_promotion", "target": "customer_gift", "lot": None, "amount": 20.0},
        {"source": "invoice_basis", "target": "invoiceable", "lot": None, "amount": 100.0},
    ]
    assert (spending["kind"], spending["orderNo"]) == ("spending", expense)
    assert spending["balances"] == [{"account": "customer_principal", "lot": None, "change": -30.25, "balance": 69.75}]


def test_pages_carry_the_balances_on(cloud, till):
    for number in range(5):
        with after(number + 1):
            till.stored(10, 1)
    whole = explained(cloud, 1)

    entries, cursor, pages = [], None, []
    while True:
        told = explained(cloud, 1, limit=4, cursor=cursor)
        pages.append(told)
        entries += told["entries"]
        cursor = told["cursor"]
        if cursor is None:
            break

    assert entries == whole["entries"]
    assert [page["agrees"] for page in pages] == [None, True]
    assert [page["left"] is None for page in pages] == [True, False]
    assert pages[1]["carried"] == [
        {"account": account, "lot": None, "change": 0.0, "balance": balance}
        for account, balance in (("customer_principal", 30.0), ("customer_gift", 3.0), ("invoiceable", 30.0))
    ]


def test_the_oldest_money_of_a_stored_value_card_goes_first(cloud, till, monkeypatch):
    monkeypatch.setattr(explanations, "_AT_ONCE", 2)
    orders = []
    for number, (recharge, gift) in enumerate(((100, 10), (50, 0), (70, 7))):
        with after(number + 1):
            orders.append(till.stored(recharge, gift))
    with after(5):
        till.spent(120, STORED_VALUE)

    # 100 of the first and 20 of the second are gone.
    assert left(explained(cloud, 1)) == [
        (orders[0], None, 0.0, 10.0), (orders[1], None, 30.0, 0.0), (orders[2], None, 70.0, 7.0)
    ]  # fmt: skip


def test_the_lots_of_an_activity_card_tell_what_is_left(cloud, till):
    orders = []
    for number in range(2):
        with after(number + 1):
            orders.append(till.recharged())
    with after(5):
        till.spent(450)

    told = explained(cloud, 2)

    assert left(told) == [(orders[0], 1, 0.0, 150.0), (orders[1], 2, 0.0, 200.0)]
    recharges = [one["id"] for one in told["entries"] if one["kind"] == "recharge"]
    assert [one["entryId"] for one in told["left"]] == recharges
    assert told["entries"][-1]["balances"] == [
        {"account": "customer_principal", "lot": 1, "change": -200.0, "balance": 0.0},
        {"account": "customer_gift", "lot": 1, "change": -50.0, "balance": 150.0},
        {"account": "customer_principal", "lot": 2, "change": -200.0, "balance": 0.0},
    ]


def test_what_is_left_is_the_balance_after_anything_that_can_happen(cloud, monkeypatch):
    in_bank(cloud, monkeypatch)
    furnish()
    play(cloud, NOW)

    for card in (1, 2):
        told = explained(cloud, card)
        assert told["agrees"] is True
        sums = [round(sum(one[name] for one in told["left"]), 2) for name in ("principal", "gift")]
        assert sums == [told["principal"], told["gift"]]
        assert all(one["principal"] >= 0 and one["gift"] >= 0 for one in told["left"])
    assert [one["orderNo"] for one in told["left"]].count(None) == 0


def test_all_lots_of_an_activity_card_are_told(cloud, till):
    for _ in range(101):
        till.recharged()

    told = explained(cloud, 2, limit=100)
    told = explained(cloud, 2, limit=100, cursor=told["cursor"])

    assert told["agrees"] is True
    assert len(told["left"]) == 101
    assert sum(one["principal"] + one["gift"] for one in told["left"]) == told["balance"] == 101 * 400
    assert None not in [one["entryId"] for one in told["left"]]


def used_while_it_is_told(monkeypatch, till, times):
    """Let a payment happen after each of the first looks at what is left."""
    used = []
    left = explanations._left

    def overtaken(card):
        found = left(card)
        if len(used) < times:
            used.append(1)
            interrupted, running._current = running._current, None
            till.spent(1, STORED_VALUE)
            running._current = interrupted
        return found

    monkeypatch.setattr(explanations, "_left", overtaken)


def test_a_card_that_is_used_meanwhile_is_told_anew(cloud, till, monkeypatch):
    with after(1):
        till.stored(100, 0)
    used_while_it_is_told(monkeypatch, till, 2)

    told = explained(cloud, 1)

    assert (told["agrees"], told["balance"], len(told["entries"])) == (True, 98.0, 4)
    assert [one["principal"] for one in told["left"]] == [98.0]


def test_of_a_card_that_is_used_all_the_while_nobody_says_that_it_agrees(cloud, till, monkeypatch):
    with after(1):
        till.stored(100, 0)
    used_while_it_is_told(monkeypatch, till, 3)

    told = explained(cloud, 1)

    assert (told["agrees"], told["balance"], len(told["entries"])) == (None, 98.0, 4)


def test_money_from_longer_ago_than_is_looked_through_is_told_as_such(cloud, till, monkeypatch):
    for number in range(3):
        with after(number + 1):
            till.stored(10, 1)
    monkeypatch.setattr(explanations, "_AT_ONCE", 1)
    monkeypatch.setattr(explanations, "_MOST_ENTRIES", 1)

    assert left(explained(cloud, 1))[0] == (None, None, 20.0, 2.0)


def test_another_merchants_card_is_not_there(cloud, till):
    for card, groups in ((1, ["13"]), (99, GROUPS)):
        answer = cloud.call(explain_card, {}, path={"id": str(card)}, groups=groups)
        assert (answer.status, answer.body["errCode"], answer.body["msg"]) == (404, 1, "会员卡不存在")
    forged = cloud.call(explain_card, {"cursor": "x"}, path={"id": "1"}, groups=["platform"])
    assert (forged.status, forged.body["errCode"]) == (400, 400)
