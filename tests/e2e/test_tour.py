from typing import Any

from local import deployment
from local.demo import Stack, Tour
from local.demo_shop import Day
from local.prove import prove
from local.up import Demo, bring_up


def test_the_tour_of_make_demo(stack: Any) -> None:
    for name, act in Tour(Stack.read(stack.cloud.folder)).steps():
        assert act(), name


def test_a_shops_day_from_opening_to_close(stack: Any) -> None:
    for name, act in Day(stack.shop).steps():
        assert act(), name

    operator = stack.shop.shop.operator
    assert prove(stack.shop.base, operator.username, operator.password)


def test_a_second_make_up_changes_nothing(stack: Any) -> None:
    operator = stack.operator()
    before = [operator.result(name, accountId=stack.tenants["chatbot"].accountId) for name in ("getScenario", "getTag")]

    assert deployment.deploy(stack.cloud, stack.endpoints) is False
    again = bring_up(stack.cloud, stack.endpoints, simulator=stack.simulator.url)
    assert again == Demo(stack.tenants, stack.shop.shop)

    after = [operator.result(name, accountId=stack.tenants["chatbot"].accountId) for name in ("getScenario", "getTag")]
    assert after == before
