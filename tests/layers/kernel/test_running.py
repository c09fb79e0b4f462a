"""The invocation that runs, and the one line it leaves."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kernel import aws, running
from kernel import settings as kernel_settings
from kernel.running import Running, current, logger
from tests.layers.kernel.test_wire import Server, answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def logged(
    environment: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[], list[dict[str, Any]]]:
    """What a function that has just started writes; its logger has the test's own name, so that its lines come here."""
    monkeypatch.setenv("SYSTEM", hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16])
    kernel_settings.settings.cache_clear()
    running.logger.cache_clear()
    monkeypatch.setattr(running, "_cold", True)
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def server(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


def test_nothing_runs_outside():
    with pytest.raises(RuntimeError) as raised:
        current()

    assert str(raised.value) == "nothing is running: operations, jobs and workers open a Running"


def test_what_runs_is_known_until_it_ends(logged):
    with Running("visit") as outer:
        assert current() is outer
        assert (outer.operation, outer.tenant, outer.actor, outer.status, outer.facts) == ("visit", "", "", 200, {})
        assert outer.attempt == 1

    with pytest.raises(RuntimeError):
        current()


def test_the_line_is_a_metric_with_facts(logged, monkeypatch):
    ticks = iter([100.0, 100.0123456])
    monkeypatch.setattr(running, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    with Running("visit") as visit:
        visit.actor = "0001"
        visit.status = 404
        visit.facts["fault"] = "not_found"

    (line,) = logged()
    assert line.pop("_aws")["CloudWatchMetrics"] == [
        {
            "Namespace": "CityPass/test",
            "Dimensions": [["operation", "service"]],
            "Metrics": [
                {"Name": "Duration", "Unit": "Milliseconds"},
                {"Name": "Errors", "Unit": "Count"},
                {"Name": "Refusals", "Unit": "Count"},
            ],
        }
    ]
    assert line == {
        "operation": "visit",
        "service": kernel_settings.settings().system,
        "status": 404,
        "caller": "0001",
        "cold": True,
        "fault": "not_found",
        "dynamodb_calls": 0,
        "dynamodb_units": 0.0,
        "Duration": [12.35],
        "Errors": [0.0],
        "Refusals": [1.0],
    }


@pytest.mark.parametrize(
    ("status", "errors", "refusals"),
    [(200, 0.0, 0.0), (302, 0.0, 0.0), (399, 0.0, 0.0), (400, 0.0, 1.0), (499, 0.0, 1.0), (500, 1.0, 0.0)],
)
def test_a_status_is_a_success_a_refusal_or_an_error(logged, status, errors, refusals):
    with Running("visit") as visit:
        visit.status = status

    (line,) = logged()
    assert (line["status"], line["Errors"], line["Refusals"]) == (status, [errors], [refusals])


def crash() -> None:
    with Running("visit"):
        raise ZeroDivisionError


def test_a_crash_is_an_error_and_rises(logged):
    with pytest.raises(ZeroDivisionError):
        crash()

    (line,) = logged()
    assert (line["status"], line["Errors"], line["Refusals"]) == (500, [1.0], [0.0])
    assert aws.observers == []
    with pytest.raises(RuntimeError):
        current()


def test_only_the_first_is_cold(logged):
    for _ in range(3):
        with Running("visit"):
            pass

    assert [line["cold"] for line in logged()] == [True, False, False]


def test_counts_what_dynamodb_did_and_nothing_else(logged, server):
    server.script = [
        answers({"ConsumedCapacity": {"CapacityUnits": 0.5}}),
        answers({"ConsumedCapacity": [{"CapacityUnits": 2.0}, {"CapacityUnits": 4.0}]}),
        answers({}),
        answers({"__type": "ValidationException"}, 400),
        answers({"ConsumedCapacity": {"CapacityUnits": 100.0}}),
        answers({"ConsumedCapacity": {"CapacityUnits": 1.0}}),
    ]

    with Running("visit") as visit:
        aws.call("dynamodb", "GetItem", {})
        aws.call("dynamodb", "TransactWriteItems", {})
        aws.call("dynamodb", "PutItem", {})
        with pytest.raises(aws.AwsError):
            aws.call("dynamodb", "PutItem", {})
        aws.call("sqs", "SendMessageBatch", {})
        assert (visit.dynamodb_calls, visit.capacity) == (4, 6.5)
    aws.call("dynamodb", "GetItem", {})

    (line,) = logged()
    assert (line["dynamodb_calls"], line["dynamodb_units"]) == (4, 6.5)
    assert (visit.dynamodb_calls, visit.capacity) == (4, 6.5)


def test_the_logger_is_the_system_s(logged):
    logger().error("look at this", request_id="R-1")

    assert logger() is logger()
    (line,) = logged()
    assert {name: line[name] for name in ("level", "message", "request_id", "service")} == {
        "level": "ERROR",
        "message": "look at this",
        "request_id": "R-1",
        "service": kernel_settings.settings().system,
    }
