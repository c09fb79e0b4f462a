"""Jobs that a schedule starts, and workers that a queue feeds; decorated, they are the Lambda handlers."""

from __future__ import annotations

import inspect
import math
import random
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import BaseModel, ValidationError

from kernel import aws, wire
from kernel.errors import Invalid
from kernel.operations import IncompleteDeclaration, described, flaws_of
from kernel.running import Running, logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.grants import Grant
    from kernel.queues import Queue

# Less than this left of a worker's time, and the rest of the batch goes back instead of being cut off half-way.
_SECONDS_A_MESSAGE = 25
_FIRST_RETRY = 5
_LAST_RETRY = 600
_LONGEST_ASKED = 3600


class Job:
    """A function that EventBridge starts on a schedule (`rate(1 minute)`, `cron(0 3 * * ? *)`, in UTC)."""

    def __init__(
        self, function: Callable[[], None], schedule: str, uses: tuple[Grant, ...], memory: int, timeout: int
    ) -> None:
        if not schedule.startswith(("rate(", "cron(")):
            raise IncompleteDeclaration(f"{function.__name__}: {schedule!r} is no schedule")
        self.name = function.__name__
        self.function = function
        self.schedule = schedule
        self.uses = uses
        self.memory = memory
        self.timeout = timeout
        self.description = described(function)

    def __call__(self, event: dict[str, Any], context: Any) -> None:
        """Run once; an error rises, so that it is counted and the schedule's retry applies."""
        with Running(self.name):
            self.function()


def job(
    schedule: str, *, uses: Iterable[Grant], memory: int = 512, timeout: int = 60
) -> Callable[[Callable[[], None]], Job]:
    """Declare a scheduled job."""
    return lambda function: Job(function, schedule, tuple(uses), memory, timeout)


class Worker:
    """A function that handles one message of a FIFO queue; failed messages come again, in order."""

    def __init__(
        self,
        function: Callable[[Any], None],
        queue: Queue,
        uses: tuple[Grant, ...],
        memory: int,
        timeout: int,
    ) -> None:
        parameters = list(inspect.signature(function).parameters)
        hints = get_type_hints(function)
        kind = hints.get(parameters[0]) if len(parameters) == 1 else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            raise IncompleteDeclaration(f"{function.__name__}: takes one message, a pydantic model")
        if timeout <= _SECONDS_A_MESSAGE:
            raise IncompleteDeclaration(f"{function.__name__}: {timeout} s are too short for a message")
        if timeout >= queue.visibility:
            raise IncompleteDeclaration(f"{function.__name__}: {queue.name} would hand a message out twice")
        self.name = function.__name__
        self.function = function
        self.message: type[BaseModel] = kind
        self.queue = queue
        self.uses = uses
        self.memory = memory
        self.timeout = timeout
        self.description = described(function)

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Handle a batch; after a failure the rest of that group is handed back untouched, to keep its order."""
        failed: list[str] = []
        waits: dict[str, int] = {}
        for record in event["Records"]:
            attributes = record.get("attributes", {})
            group = attributes.get("MessageGroupId", "")
            if group not in waits and _has_time(context):
                attempt = int(attributes.get("ApproximateReceiveCount", 1))
                try:
                    with Running(self.name, attempt=attempt):
                        self.function(self._message(record["body"]))
                    continue
                except Exception as problem:
                    logger().exception("message failed", worker=self.name, message_id=record["messageId"])
                    waits[group] = _pause(attempt, getattr(problem, "wait", None))
            # What follows in the group goes back for as long: the group is held up while any of it is out.
            self._hasten(record["receiptHandle"], waits.setdefault(group, 0))
            failed.append(record["messageId"])
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}

    def _hasten(self, receipt: str, seconds: int) -> None:
        """Let a message come again sooner than its queue would: most troubles pass, and its group waits."""
        try:
            self.queue.return_in(receipt, seconds)
        except (aws.AwsError, wire.Unreachable):
            logger().exception("the message comes again when its queue says", worker=self.name)

    def _message(self, body: str) -> BaseModel:
        try:
            return self.message.model_validate_json(body)
        except ValidationError as problem:
            # pydantic quotes what it was given, and what people wrote stays out of the log.
            raise Invalid(flaws_of(problem)) from None


def _pause(attempt: int, asked: float | None) -> int:
    """Return the seconds until a message comes again: longer each time, with jitter, and no less than was asked for."""
    longest = min(_FIRST_RETRY * 3 ** (attempt - 1), _LAST_RETRY)
    pause = random.randint((longest + 1) // 2, longest)  # noqa: S311  jitter, not a secret
    return max(pause, min(math.ceil(asked or 0), _LONGEST_ASKED))


def _has_time(context: Any) -> bool:
    """Tell whether the function lives long enough for another message; outside Lambda there is no limit."""
    return context is None or context.get_remaining_time_in_millis() > _SECONDS_A_MESSAGE * 1000


def worker(
    queue: Queue, *, uses: Iterable[Grant], memory: int = 512, timeout: int = 60
) -> Callable[[Callable[[Any], None]], Worker]:
    """Declare the worker of a queue."""
    return lambda function: Worker(function, queue, tuple(uses), memory, timeout)
