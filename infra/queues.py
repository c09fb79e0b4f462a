"""Queues: each with its dead-letter queue, both closed to anything but TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs

from infra.discovery import construct_id

if TYPE_CHECKING:
    from constructs import Construct

    from infra.stages import Stage
    from kernel.queues import Queue

# The longest SQS keeps a message: time to repair what failed and send it back.
KEPT = Duration.days(14)


def queue_name(stage: Stage, system: str, queue: Queue) -> str:
    """Return the physical name under which functions find a queue."""
    return stage.resource(system, queue.name) + ".fifo"


def failed_queue_name(stage: Stage, system: str, queue: Queue) -> str:
    """Return the physical name of a queue's dead-letter queue."""
    return stage.resource(system, f"{queue.name}-failed") + ".fifo"


def add_queue(scope: Construct, stage: Stage, system: str, queue: Queue) -> sqs.Queue:
    """Add a FIFO queue and the queue for messages that its worker could not handle."""
    failed = sqs.Queue(
        scope,
        f"{construct_id(queue.name)}Failed",
        queue_name=failed_queue_name(stage, system, queue),
        fifo=True,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=KEPT,
        removal_policy=stage.removal,
    )
    return sqs.Queue(
        scope,
        f"{construct_id(queue.name)}Queue",
        queue_name=queue_name(stage, system, queue),
        fifo=True,
        # Events of one user stay in order, different users do not wait for each other.
        deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP,
        fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=KEPT,
        visibility_timeout=Duration.seconds(queue.visibility),
        dead_letter_queue=sqs.DeadLetterQueue(queue=failed, max_receive_count=queue.attempts),
        removal_policy=stage.removal,
    )
