"""What starts jobs and workers, and where a run that failed goes."""

import pytest

from infra.discovery import declarations, systems


def test_job_runs_on_its_schedule(sample, plain):
    rule = plain(sample.one("sample", "AWS::Events::Rule"))
    (target,) = rule["Targets"]

    assert (rule["Name"], rule["ScheduleExpression"]) == ("citypass-prod-sample-clean_things", "cron(0 3 * * ? *)")
    assert rule["State"] == "ENABLED"
    assert target["Arn"].startswith("<CleanThingsFunction")
    assert target["DeadLetterConfig"]["Arn"].startswith("<FailedRuns")
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 2}


def test_rule_may_start_its_function_only(sample, plain):
    permission = plain(sample.one("sample", "AWS::Lambda::Permission"))

    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["FunctionName"].startswith("<CleanThingsFunction")
    assert permission["SourceArn"].startswith("<CleanThingsSchedule")


def test_failed_runs_are_kept(sample, plain):
    runs = plain(sample.one("sample", "AWS::Lambda::EventInvokeConfig"))
    assert runs["DestinationConfig"]["OnFailure"]["Destination"].startswith("<FailedRuns")

    (policy,) = sample.properties("sample", "AWS::SQS::QueuePolicy")
    allowed = [one for one in plain(policy["PolicyDocument"]["Statement"]) if one["Effect"] == "Allow"]
    assert [(one["Action"], one["Principal"]) for one in allowed] == [
        ("sqs:SendMessage", {"Service": "events.amazonaws.com"})
    ]
    assert allowed[0]["Condition"]["ArnEquals"]["aws:SourceArn"].startswith("<CleanThingsSchedule")


def test_worker_takes_batches_and_hands_back_single_messages(sample, plain):
    mapping = mapping_of("events", sample, plain)

    assert mapping["FunctionName"].startswith("<NoteEventFunction")
    assert mapping["BatchSize"] == 10
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert "ScalingConfig" not in mapping


def mapping_of(queue, sample, plain):
    (found,) = (
        mapping
        for mapping in plain(sample.properties("sample", "AWS::Lambda::EventSourceMapping"))
        if mapping["EventSourceArn"].endswith(f":citypass-prod-sample-{queue}.fifo")
    )
    return found


def test_a_queue_says_how_many_messages_and_runs_its_worker_gets(sample, plain):
    mapping = mapping_of("drawings", sample, plain)

    assert mapping["FunctionName"].startswith("<DrawThingFunction")
    assert mapping["BatchSize"] == 1
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 5}


@pytest.mark.parametrize("stage", ["prod", "local", "sample"])
def test_no_message_is_handed_out_while_its_worker_may_still_run(stage, request):
    made = request.getfixturevalue(stage)
    for system in ["sample"] if stage == "sample" else systems():
        limits = {one["FunctionName"]: one["Timeout"] for one in made.properties(system, "AWS::Lambda::Function")}
        hidden = {
            one["QueueName"]: one.get("VisibilityTimeout")
            for one in made.properties(f"{system}-data", "AWS::SQS::Queue")
        }
        declared = request.getfixturevalue("sample_system") if stage == "sample" else declarations(system)
        for worker in declared.workers:
            seconds = limits[made.stage.resource(system, worker.name)]
            assert seconds < hidden[made.stage.resource(system, worker.queue.name) + ".fifo"]
            # The longest that Lambda runs.
            assert seconds <= 900


@pytest.mark.parametrize("stage", ["prod", "local"])
@pytest.mark.parametrize("system", systems())
def test_every_worker_has_its_queue_and_every_job_its_rule(stage, system, request, plain):
    made = request.getfixturevalue(stage)
    declared = declarations(system)
    functions = made.resources(system, "AWS::Lambda::Function")

    fed = {
        functions[mapping["FunctionName"]["Ref"]]["Properties"]["FunctionName"]: plain(mapping["EventSourceArn"])
        for mapping in made.properties(system, "AWS::Lambda::EventSourceMapping")
    }
    assert {name: arn.rpartition(":")[2] for name, arn in fed.items()} == {
        made.stage.resource(system, worker.name): made.stage.resource(system, worker.queue.name) + ".fifo"
        for worker in declared.workers
    }
    rules = {rule["Name"]: rule["ScheduleExpression"] for rule in made.properties(system, "AWS::Events::Rule")}
    assert rules == {made.stage.resource(system, job.name): job.schedule for job in declared.jobs}
