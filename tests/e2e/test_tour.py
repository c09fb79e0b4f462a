from typing import Any

from local import deployment
from local.demo import Stack, Tour
from local.up import bring_up


def test_the_tour_of_make_demo(stack: Any) -> None:
    for name, act in Tour(Stack.read(stack.cloud.folder)).steps():
        assert act(), name


def test_a_second_make_up_changes_nothing(stack: Any) -> None:
    operator = stack.operator()
    before = [operator.result(name, accountId=stack.tenants["chatbot"].accountId) for name in ("getScenario", "getTag")]

    assert deployment.deploy(stack.cloud, stack.endpoints) is False
    assert bring_up(stack.cloud, stack.endpoints, simulator=stack.simulator.url) == stack.tenants

    after = [operator.result(name, accountId=stack.tenants["chatbot"].accountId) for name in ("getScenario", "getTag")]
    assert after == before
