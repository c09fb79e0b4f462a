"""What all systems of a stage share."""

import pytest


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
    prefixes = {rule.get("Prefix"): rule for rule in files["LifecycleConfiguration"]["Rules"]}
    assert prefixes["exports/"]["ExpirationInDays"] == 7


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
