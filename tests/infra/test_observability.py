"""Alarms and dashboard: what somebody is woken for, and what he then looks at."""

import json
import re

import pytest

from infra.discovery import declarations, systems

ALARM = "AWS::CloudWatch::Alarm"


def test_alarms_of_one_of_everything(sample):
    prefix = "citypass-prod-sample-"
    found = {
        alarm["AlarmName"].removeprefix(prefix): (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"])
        for alarm in sample.properties("sample", ALARM)
    }

    assert found == {
        "server-errors": ("AWS/ApiGateway", "5XXError", 5),
        "latency": ("AWS/ApiGateway", "Latency", 5000),
        "throttles": ("CityPass/prod/sample", "Throttles", 1),
        "clean_things-errors": ("AWS/Lambda", "Errors", 1),
        "note_event-errors": ("AWS/Lambda", "Errors", 1),
        "draw_thing-errors": ("AWS/Lambda", "Errors", 1),
        "drawings-waiting": ("AWS/SQS", "ApproximateAgeOfOldestMessage", 300),
        "drawings-failed": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", 1),
        "events-waiting": ("AWS/SQS", "ApproximateAgeOfOldestMessage", 300),
        "events-failed": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", 1),
        "failed-runs": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", 1),
    }


@pytest.mark.parametrize("stage", ["prod", "local"])
@pytest.mark.parametrize("system", systems())
def test_every_queue_job_and_worker_is_watched(stage, system, request):
    made = request.getfixturevalue(stage)
    declared = declarations(system)
    found = {alarm["AlarmName"] for alarm in made.properties(system, ALARM)}

    wanted = ["server-errors", "latency"]
    wanted += [f"{queue.name}-{what}" for queue in declared.queues for what in ("waiting", "failed")]
    wanted += [f"{function.name}-errors" for function in (*declared.jobs, *declared.workers)]
    assert {made.stage.resource(system, name) for name in wanted} <= found


@pytest.mark.parametrize("stage", ["prod", "local", "sample"])
def test_every_alarm_tells_somebody_and_stands_on_one_metric(stage, request):
    made = request.getfixturevalue(stage)
    for template in made.templates.values():
        for resource in template["Resources"].values():
            if resource["Type"] == ALARM:
                alarm = resource["Properties"]
                assert alarm["AlarmActions"]
                assert alarm["TreatMissingData"] == "notBreaching"
                # The embedded cloud knows no metric math.
                assert "Metrics" not in alarm


def test_throttles_are_counted_from_the_access_lines(sample):
    lines = sample.one("sample", "AWS::Logs::MetricFilter")
    (metric,) = lines["MetricTransformations"]
    written = json.loads(sample.one("sample", "AWS::ApiGateway::Stage")["AccessLogSetting"]["Format"])

    assert (metric["MetricNamespace"], metric["MetricName"]) == ("CityPass/prod/sample", "Throttles")
    assert set(re.findall(r"\$\.(\w+)", lines["FilterPattern"])) <= written.keys()


def test_log_groups_are_kept_for_a_while(prod, plain):
    for system in systems():
        groups = {plain(group["LogGroupName"]): group for group in prod.properties(system, "AWS::Logs::LogGroup")}
        assert {f"/citypass/prod/{system}/functions", f"/citypass/prod/{system}/access"} <= groups.keys()
        assert {group["RetentionInDays"] for group in groups.values()} == {90}


def test_dashboard(sample, plain):
    dashboard = sample.one("sample", "AWS::CloudWatch::Dashboard")
    widgets = json.loads(plain(dashboard["DashboardBody"]))["widgets"]

    assert dashboard["DashboardName"] == "citypass-prod-sample"
    titles = [widget["properties"]["title"] for widget in widgets]
    assert titles[:3] == ["Alarms", "Calls", "Latency"]
    assert {"Oldest message, seconds", "Messages that failed", "Errors"} <= set(titles)
    assert len(widgets[0]["properties"]["alarms"]) == len(sample.properties("sample", ALARM))
