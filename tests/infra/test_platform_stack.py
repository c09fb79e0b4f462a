"""What all systems of a stage share."""

import pytest

from infra.discovery import systems


def test_key_turns_and_has_a_name(prod):
    assert prod.one("platform", "AWS::KMS::Key")["EnableKeyRotation"] is True
    assert prod.one("platform", "AWS::KMS::Alias")["AliasName"] == "alias/citypass-prod"


def test_buckets_are_closed(prod):
    buckets = prod.resources("platform", "AWS::S3::Bucket")
    assert len(buckets) == 2
    for bucket in buckets.values():
        assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["Properties"]["LifecycleConfiguration"]["Rules"]

    closed = {
        policy["Bucket"]["Ref"]
        for policy in prod.properties("platform", "AWS::S3::BucketPolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert closed == set(buckets)


def test_files_are_encrypted_and_their_accesses_written_down(prod):
    (files,) = (bucket for bucket in prod.properties("platform", "AWS::S3::Bucket") if "LoggingConfiguration" in bucket)

    (rule,) = files["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rule["BucketKeyEnabled"] is True


def test_only_exports_and_imports_expire(prod, plain):
    name = "citypass-prod-files-<AWS::AccountId>-<AWS::Region>"
    files = prod.one("platform", "AWS::S3::Bucket", BucketName=name)

    assert files["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = files["LifecycleConfiguration"]["Rules"]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    assert [(rule.get("Prefix"), rule["ExpirationInDays"]) for rule in rules if "ExpirationInDays" in rule] == [
        ("exports/", 7),
        ("imports/", 30),
    ]
    # What was replaced or removed stays for a while, and half a file for a day.
    everywhere = next(rule for rule in rules if "Prefix" not in rule)
    assert everywhere["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert everywhere["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


@pytest.mark.parametrize("stage", ["prod", "local"])
def test_functions_know_the_bucket_by_the_name_it_has(stage, request, plain):
    made = request.getfixturevalue(stage)
    names = [plain(bucket.get("BucketName")) for bucket in made.properties("platform", "AWS::S3::Bucket")]
    known = {
        plain(function["Environment"]["Variables"]["FILES_BUCKET"])
        for system in systems()
        for function in made.properties(system, "AWS::Lambda::Function")
        if "FILES_BUCKET" in function["Environment"]["Variables"]
    }

    assert f"citypass-{stage}-files-<AWS::AccountId>-<AWS::Region>" in names
    assert known <= set(names)


@pytest.mark.parametrize("stage", ["prod", "local"])
def test_gateway_may_write_logs(stage, request, plain):
    made = request.getfixturevalue(stage)
    role = made.one("platform", "AWS::ApiGateway::Account")["CloudWatchRoleArn"]["Fn::GetAtt"][0]

    (policy,) = plain(made.stack("platform")["Resources"][role]["Properties"]["ManagedPolicyArns"])
    assert policy.endswith(":policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs")


def test_alarms_reach_the_encrypted_topic(prod):
    assert prod.one("platform", "AWS::SNS::Topic")["KmsMasterKeyId"]["Fn::GetAtt"][0].startswith("Key")
    statements = prod.one("platform", "AWS::KMS::Key")["KeyPolicy"]["Statement"]
    assert [one["Action"] for one in statements if one["Principal"] == {"Service": "cloudwatch.amazonaws.com"}] == [
        ["kms:Decrypt", "kms:GenerateDataKey"]
    ]


def test_throttled_runs_of_the_account_alarm(prod):
    alarm = prod.one("platform", "AWS::CloudWatch::Alarm", MetricName="Throttles")

    assert alarm["AlarmName"] == "citypass-prod-lambda-throttles"
    assert not alarm.get("Dimensions")
