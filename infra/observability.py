"""What tells people how a system is: log groups, alarms and one dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import Aws, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.discovery import construct_id
from infra.queues import failed_queue_name, queue_name
from infra.stages import LOG_DAYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_sns as sns

    from infra.discovery import System
    from infra.gateway import Gateway
    from infra.stages import Stage
    from kernel.jobs import Job, Worker

FIVE_MINUTES = 300
# A single 500 is read in the log; several within five minutes are worth waking somebody.
SERVER_ERRORS = 5
SLOW_MILLISECONDS = 5000
WAITING_SECONDS = 300
FAILED_RUNS = "failed-runs"

_COLUMNS = 24
_Metric = list[Any]


def log_group(scope: Construct, stage: Stage, system: str, part: str) -> logs.CfnLogGroup:
    """Add a log group of a system, shared by all that write lines of one kind."""
    group = logs.CfnLogGroup(
        scope,
        f"{construct_id(part)}Lines",
        log_group_name=f"/citypass/{stage.name}/{system}/{part}",
        retention_in_days=LOG_DAYS,
    )
    group.apply_removal_policy(stage.removal)
    return group


def throttle_alarm(scope: Construct, stage: Stage, topic: sns.ITopic) -> None:
    """Warn when Lambda turns runs away; the functions of an account share one limit, so it has one alarm."""
    _alarm(
        scope,
        topic,
        f"citypass-{stage.name}-lambda-throttles",
        "Lambda turns runs away: the account's limit of concurrent runs is reached",
        "AWS/Lambda",
        "Throttles",
    )


class Observability(Construct):
    """The alarms and the dashboard of a system."""

    def __init__(
        self,
        scope: Construct,
        stage: Stage,
        system: System,
        *,
        topic: sns.ITopic,
        gateway: Gateway,
        function_lines: str,
        access_lines: str,
    ) -> None:
        """Watch the gateway, the functions nobody waits for, and the queues."""
        super().__init__(scope, "Observability")
        self._stage = stage
        self._system = system
        self._topic = topic
        self._alarms: list[cloudwatch.CfnAlarm] = []
        self._watch_gateway(gateway.dimensions, access_lines)
        unattended: tuple[Job | Worker, ...] = (*system.jobs, *system.workers)
        for function in unattended:
            self._watch_function(function.name)
        for queue in system.queues:
            self._watch_waiting(queue_name(stage, system.name, queue), queue.name)
            self._watch_failed(failed_queue_name(stage, system.name, queue), f"{queue.name}-failed")
        if system.jobs:
            self._watch_failed(stage.resource(system.name, FAILED_RUNS), FAILED_RUNS)
        cloudwatch.CfnDashboard(
            self,
            "Dashboard",
            dashboard_name=f"citypass-{stage.name}-{system.name}",
            dashboard_body=Stack.of(self).to_json_string({"widgets": self._widgets(gateway, function_lines)}),
        )

    def _watch_gateway(self, dimensions: Mapping[str, str], access_lines: str) -> None:
        self._add(
            "server-errors",
            "Operations answer 500: read the lines with level ERROR",
            "AWS/ApiGateway",
            "5XXError",
            dimensions,
            threshold=SERVER_ERRORS,
        )
        self._add(
            "latency",
            "One call in a hundred takes seconds",
            "AWS/ApiGateway",
            "Latency",
            dimensions,
            threshold=SLOW_MILLISECONDS,
            percentile="p99",
            periods=3,
        )
        if not self._stage.local:  # the embedded cloud does not know metric filters
            self._watch_throttles(access_lines)

    def _watch_throttles(self, access_lines: str) -> None:
        # CloudWatch has no metric of throttling per API: a 429 of the gateway or of Lambda is in its access line.
        namespace = f"CityPass/{self._stage.name}/{self._system.name}"
        logs.CfnMetricFilter(
            self,
            "ThrottledLines",
            log_group_name=access_lines,
            filter_pattern='{ ($.answer = "THROTTLED") || ($.answer = "QUOTA_EXCEEDED") || ($.lambda = "429") }',
            metric_transformations=[
                logs.CfnMetricFilter.MetricTransformationProperty(
                    metric_namespace=namespace, metric_name="Throttles", metric_value="1", default_value=0
                )
            ],
        )
        self._add("throttles", "Callers are turned away: the stage's rate is too low", namespace, "Throttles")

    def _watch_function(self, name: str) -> None:
        dimensions = {"FunctionName": self._stage.resource(self._system.name, name)}
        self._add(f"{name}-errors", f"{name} fails: nobody waits for it", "AWS/Lambda", "Errors", dimensions)

    def _watch_waiting(self, physical_name: str, name: str) -> None:
        self._add(
            f"{name}-waiting",
            f"Messages in {name} wait longer than five minutes",
            "AWS/SQS",
            "ApproximateAgeOfOldestMessage",
            {"QueueName": physical_name},
            threshold=WAITING_SECONDS,
            statistic="Maximum",
        )

    def _watch_failed(self, physical_name: str, name: str) -> None:
        self._add(
            name,
            f"There is something in {name}: repair the cause, then send it back",
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            {"QueueName": physical_name},
            statistic="Maximum",
        )

    def _add(
        self,
        name: str,
        description: str,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, str] | None = None,
        **how: Any,
    ) -> None:
        physical_name = self._stage.resource(self._system.name, name)
        self._alarms.append(_alarm(self, self._topic, physical_name, description, namespace, metric, dimensions, **how))

    def _widgets(self, gateway: Gateway, function_lines: str) -> list[dict[str, Any]]:
        system = self._system
        api = [part for pair in gateway.dimensions.items() for part in pair]
        # CloudWatch cuts names into words and finds those that have all of these.
        functions = f"{{AWS/Lambda,FunctionName}} citypass {self._stage.name} {system.name}"
        operations = f'{{CityPass/{self._stage.name},operation,service}} service="{system.name}"'
        widgets = [
            {
                "type": "alarm",
                "width": _COLUMNS,
                "height": 2,
                "properties": {"title": "Alarms", "alarms": [alarm.attr_arn for alarm in self._alarms]},
            },
            _graph(
                "Calls",
                [
                    ["AWS/ApiGateway", "Count", *api, {"stat": "Sum"}],
                    ["AWS/ApiGateway", "4XXError", *api, {"stat": "Sum"}],
                    ["AWS/ApiGateway", "5XXError", *api, {"stat": "Sum"}],
                ],
            ),
            _graph(
                "Latency",
                [["AWS/ApiGateway", "Latency", *api, {"stat": statistic}] for statistic in ("p50", "p90", "p99")],
            ),
            _search("Time of each function, p99", f'{functions} MetricName="Duration"', "p99"),
            _search("Errors of each function", f'{functions} MetricName="Errors"', "Sum"),
            _search("Runs at the same time", f'{functions} MetricName="ConcurrentExecutions"', "Maximum"),
            _search("Throttles of each function", f'{functions} MetricName="Throttles"', "Sum"),
            _search("Refusals of each operation", f'{operations} MetricName="Refusals"', "Sum"),
            _search("DynamoDB capacity of each operation", f'{operations} MetricName="DynamoDBUnits"', "Sum"),
        ]
        if system.queues:
            waiting = [queue_name(self._stage, system.name, queue) for queue in system.queues]
            failed = [failed_queue_name(self._stage, system.name, queue) for queue in system.queues]
            widgets.append(_queues("Oldest message, seconds", "ApproximateAgeOfOldestMessage", waiting))
            widgets.append(_queues("Messages that failed", "ApproximateNumberOfMessagesVisible", failed))
        widgets.append(
            {
                "type": "log",
                "width": _COLUMNS,
                "height": 6,
                "properties": {
                    "title": "Errors",
                    "region": Aws.REGION,
                    "view": "table",
                    "query": f"SOURCE '{function_lines}' | filter level = 'ERROR' | sort @timestamp desc | limit 50",
                },
            }
        )
        return widgets


def _queues(title: str, metric: str, names: Sequence[str]) -> dict[str, Any]:
    return _graph(title, [["AWS/SQS", metric, "QueueName", name, {"stat": "Maximum"}] for name in names])


def _search(title: str, query: str, statistic: str) -> dict[str, Any]:
    return _graph(title, [[{"expression": f"SEARCH('{query}', '{statistic}', {FIVE_MINUTES})"}]])


def _graph(title: str, metrics: list[_Metric]) -> dict[str, Any]:
    return {
        "type": "metric",
        "width": _COLUMNS // 2,
        "height": 6,
        "properties": {
            "title": title,
            "region": Aws.REGION,
            "view": "timeSeries",
            "period": FIVE_MINUTES,
            "metrics": metrics,
        },
    }


def _alarm(
    scope: Construct,
    topic: sns.ITopic,
    name: str,
    description: str,
    namespace: str,
    metric: str,
    dimensions: Mapping[str, str] | None = None,
    *,
    threshold: float = 1,
    statistic: str = "Sum",
    percentile: str | None = None,
    periods: int = 1,
) -> cloudwatch.CfnAlarm:
    identifier = name.removeprefix("citypass-")
    return cloudwatch.CfnAlarm(
        scope,
        f"{construct_id(identifier)}Alarm",
        alarm_name=name,
        alarm_description=description,
        alarm_actions=[topic.topic_arn],
        ok_actions=[topic.topic_arn],
        namespace=namespace,
        metric_name=metric,
        dimensions=[
            cloudwatch.CfnAlarm.DimensionProperty(name=key, value=value)
            for key, value in sorted((dimensions or {}).items())
        ],
        statistic=None if percentile else statistic,
        extended_statistic=percentile,
        period=FIVE_MINUTES,
        evaluation_periods=periods,
        threshold=threshold,
        comparison_operator="GreaterThanOrEqualToThreshold",
        treat_missing_data="notBreaching",
    )
