"""Queues: declared once; infra makes each with its dead-letter queue, workers name them, operations send to them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel import aws
from kernel.settings import resource_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_BATCH = 10
# SQS takes 1 MiB a call since 2025; emulators and older regions take 256 KiB, and a webhook fits that.
_BATCH_BYTES = 250_000


class Message(NamedTuple):
    """What goes on a FIFO queue: in order within `group`, once within five minutes for the same `dedup`."""

    body: dict[str, Any]
    group: str
    dedup: str


class QueueRefused(RuntimeError):
    """The queue did not take every message."""


@dataclass(frozen=True)
class Queue:
    """A FIFO queue; a message that failed `attempts` times goes to its dead-letter queue.

    Its worker gets at most `batch` messages at once, and runs at most `concurrency` times at the same time. A message
    is hidden for `visibility` seconds while it is worked on, so the worker's time-out is shorter.
    """

    name: str
    attempts: int = 8
    visibility: int = 180
    batch: int = 10
    concurrency: int | None = None

    def __post_init__(self) -> None:
        # What Lambda takes of a FIFO queue, said before a deployment fails.
        if not 1 <= self.batch <= _BATCH:
            raise ValueError(f"queue {self.name}: batches of {self.batch}, 1 to {_BATCH} are possible")
        if self.concurrency is not None and not 2 <= self.concurrency <= 1000:
            raise ValueError(f"queue {self.name}: {self.concurrency} at the same time, 2 to 1000 are possible")

    def physical_name(self) -> str:
        """The name of the queue in this stage."""
        return resource_name(self.name) + ".fifo"

    def send(self, messages: Iterable[Message]) -> None:
        """Send the messages in their order; raises when any was refused, so that the caller is asked again."""
        batch: list[dict[str, Any]] = []
        size = 0
        for message in messages:
            # Escaped: SQS does not take every character that a person may type.
            body = json.dumps(message.body, separators=(",", ":"))
            length = len(body.encode())
            if batch and (len(batch) == _BATCH or size + length > _BATCH_BYTES):
                self._send(batch)
                batch, size = [], 0
            batch.append(
                {
                    "Id": str(len(batch)),
                    "MessageBody": body,
                    "MessageGroupId": message.group,
                    "MessageDeduplicationId": message.dedup,
                }
            )
            size += length
        if batch:
            self._send(batch)

    def return_in(self, receipt: str, seconds: int) -> None:
        """Let a received message come again in so many seconds instead of after the visibility timeout."""
        aws.call(
            "sqs",
            "ChangeMessageVisibility",
            {"QueueUrl": _url(self.physical_name()), "ReceiptHandle": receipt, "VisibilityTimeout": seconds},
        )

    def _send(self, entries: list[dict[str, Any]]) -> None:
        answer = aws.call("sqs", "SendMessageBatch", {"QueueUrl": _url(self.physical_name()), "Entries": entries})
        if failed := answer.get("Failed"):
            raise QueueRefused(f"{self.name}: {failed[0].get('Code')}")


@cache
def _url(name: str) -> str:
    return str(aws.call("sqs", "GetQueueUrl", {"QueueName": name})["QueueUrl"])
