"""Jobs and workers: what starts them, and what becomes of a run that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from infra.findings import accept
from infra.observability import FAILED_RUNS
from infra.queues import KEPT

if TYPE_CHECKING:
    from constructs import Construct

    from infra.functions import Function
    from infra.permissions import Resources
    from infra.stages import Stage
    from kernel.jobs import Job, Worker

# A job reads what is due when it runs; an old run brings nothing that a later one would not.
RETRIES = 2
OLDEST_RUN = Duration.hours(1)


def add_failed_runs(scope: Construct, stage: Stage, system: str) -> sqs.Queue:
    """Add the queue that keeps the runs of jobs that failed for good."""
    queue = sqs.Queue(
        scope,
        "FailedRuns",
        queue_name=stage.resource(system, FAILED_RUNS),
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=KEPT,
        removal_policy=stage.removal,
    )
    accept(queue, "AwsSolutions-SQS3", "It is itself where rules and functions leave what failed")
    return queue


def schedule(function: Function, job: Job, failed_runs: sqs.Queue) -> None:
    """Start a job's function on its schedule; runs that cannot start or fail again and again are kept."""
    rule = events.CfnRule(
        function,
        "Schedule",
        name=function.name,
        description=job.description.splitlines()[0],
        schedule_expression=job.schedule,
        state="ENABLED",
        targets=[
            events.CfnRule.TargetProperty(
                id="function",
                arn=function.arn,
                dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=failed_runs.queue_arn),
                retry_policy=events.CfnRule.RetryPolicyProperty(
                    maximum_retry_attempts=RETRIES, maximum_event_age_in_seconds=OLDEST_RUN.to_seconds()
                ),
            )
        ],
    )
    lambda_.CfnPermission(
        function,
        "ScheduleMayInvoke",
        action="lambda:InvokeFunction",
        function_name=function.ref,
        principal="events.amazonaws.com",
        source_arn=rule.attr_arn,
    )
    # The rule only hands a run over; what fails inside the function is retried and kept by Lambda.
    lambda_.CfnEventInvokeConfig(
        function,
        "Runs",
        function_name=function.ref,
        qualifier="$LATEST",
        maximum_retry_attempts=RETRIES,
        maximum_event_age_in_seconds=OLDEST_RUN.to_seconds(),
        destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
            on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=failed_runs.queue_arn)
        ),
    )
    failed_runs.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["sqs:SendMessage"],
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            resources=[failed_runs.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": rule.attr_arn}},
        )
    )


def feed(function: Function, worker: Worker, resources: Resources) -> None:
    """Let a worker's function handle the messages of its queue, each message failing for itself."""
    queue = worker.queue
    lambda_.CfnEventSourceMapping(
        function,
        "Messages",
        function_name=function.ref,
        event_source_arn=resources.queue_arn(queue),
        batch_size=queue.batch,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=queue.concurrency)
        if queue.concurrency
        else None,
    )
