"""Order and card numbers: as the contract spells them, and never twice, however many an hour."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from membership import numbers
from tests.bank import Bank, Turns

# 16:43:19 in Shanghai, as the order 71019122016110.
MOMENT = datetime(2019, 12, 20, 8, 43, 19, tzinfo=UTC)


@pytest.fixture
def bank(cloud, monkeypatch):
    made = Bank(cloud)
    made.open(monkeypatch)
    return made


def test_more_than_999_orders_in_an_hour(bank):
    taken = [numbers.order_no(numbers.RECHARGE if n % 2 else numbers.EXPENSE, MOMENT) for n in range(1100)]

    assert len(set(taken)) == len(taken)
    assert taken[0] == 71119122016100
    assert taken[11] == 71019122016111
    assert [str(number)[11:] for number in taken[898:902]] == ["998", "999", "1000", "1001"]
    assert all(re.fullmatch(r"71[01]19122016[0-9]{3,4}", str(number)) for number in taken)
    assert max(taken) < 2**53
    # One sequence for both kinds, so that none is given to two even without the prefix.
    assert len({str(number)[3:] for number in taken}) == len(taken)


def test_each_hour_in_shanghai_has_its_own_sequence(bank):
    midnight = datetime(2019, 12, 31, 16, 0, tzinfo=UTC)

    shown = [numbers.card_no(moment) for moment in (midnight - timedelta(seconds=1), midnight, midnight)]

    assert shown == [7919123123100, 7920010100100, 7920010100101]


@pytest.mark.parametrize("choices", [[0, 1] * 20, [1, 0, 0, 1] * 10, [1] * 10])
def test_two_at_the_same_time_take_different_numbers(bank, choices):
    def take():
        return [numbers.order_no(numbers.EXPENSE, MOMENT) for _ in range(10)]

    bank.turns = Turns(choices)
    first, second = bank.turns.run([take, take])

    assert len({*first, *second}) == 20
