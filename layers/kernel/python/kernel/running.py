"""What runs at the moment: the operation, its caller, and the one line it leaves in the log."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from kernel import aws
from kernel.settings import settings

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_cold = True


class Running:
    """One invocation, from its start to the line that reports it; Lambda runs one at a time."""

    def __init__(self, operation: str, *, attempt: int = 1) -> None:
        """Name what runs; `attempt` counts how often a queue handed the message out."""
        self.operation = operation
        self.attempt = attempt
        self.tenant = ""
        self.actor = ""
        self.status = 200
        self.facts: dict[str, Any] = {}
        self.dynamodb_calls = 0
        self.capacity = 0.0

    def _count(self, call: aws.Call) -> None:
        if call.service != "dynamodb":
            return
        self.dynamodb_calls += 1
        used = call.answer.get("ConsumedCapacity") or []
        for entry in used if isinstance(used, list) else [used]:
            self.capacity += entry.get("CapacityUnits", 0.0)

    def __enter__(self) -> Self:
        global _current
        _current = self
        aws.observers.append(self._count)
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _cold, _current
        aws.observers.remove(self._count)
        _current = None
        if problem is not None:
            self.status = 500
        line = EphemeralMetrics(namespace=f"CityPass/{settings().stage}", service=settings().system)
        line.add_dimension("operation", self.operation)
        line.add_metric("Duration", MetricUnit.Milliseconds, round((time.perf_counter() - self._started) * 1000, 2))
        line.add_metric("Errors", MetricUnit.Count, int(self.status >= 500))
        line.add_metric("Refusals", MetricUnit.Count, int(400 <= self.status < 500))
        line.add_metadata("dynamodb_calls", self.dynamodb_calls)
        line.add_metadata("dynamodb_units", self.capacity)
        line.add_metadata("status", self.status)
        line.add_metadata("caller", self.actor)
        line.add_metadata("cold", _cold)
        for name, value in self.facts.items():
            line.add_metadata(name, value)
        line.flush_metrics()
        _cold = False


_current: Running | None = None


def current() -> Running:
    """Return the running invocation."""
    if _current is None:
        raise RuntimeError("nothing is running: operations, jobs and workers open a Running")
    return _current


@cache
def logger() -> Logger:
    """Return the structured logger, for what a person would act on; the ordinary line comes from `Running`."""
    return Logger(service=settings().system)
