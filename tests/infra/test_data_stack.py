"""What a system keeps: from the declarations alone, encrypted, and held firmly outside the embedded cloud."""

import json

import pytest

from infra.discovery import declarations, systems
from kernel.tables import schema

TABLE = "AWS::DynamoDB::Table"
QUEUE = "AWS::SQS::Queue"
SECRET = "AWS::SecretsManager::Secret"
KEY = "<citypass-prod-platform:ExportsOutputFnGetAttKey961B73FDArn5A860C43>"


def test_table_with_index_and_expiry(sample, plain):
    table = plain(sample.one("sample-data", TABLE, TableName="citypass-prod-sample-things"))

    assert table == {
        "TableName": "citypass-prod-sample-things",
        "AttributeDefinitions": [
            {"AttributeName": "owner", "AttributeType": "S"},
            {"AttributeName": "rank", "AttributeType": "N"},
            {"AttributeName": "tenant", "AttributeType": "S"},
            {"AttributeName": "thing_id", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "tenant", "KeyType": "HASH"},
            {"AttributeName": "thing_id", "KeyType": "RANGE"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-owner",
                "KeySchema": [
                    {"AttributeName": "owner", "KeyType": "HASH"},
                    {"AttributeName": "rank", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["colour"]},
            }
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": True,
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "SSESpecification": {"KMSMasterKeyId": KEY, "SSEEnabled": True, "SSEType": "KMS"},
        "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True},
    }


@pytest.mark.parametrize("stage", ["prod", "local"])
@pytest.mark.parametrize("system", systems())
def test_every_declared_table_is_there_as_declared(stage, system, request):
    made = request.getfixturevalue(stage)
    tables = declarations(system).tables
    assert len(made.properties(f"{system}-data", TABLE)) == len(tables)
    for table in tables:
        found = made.one(f"{system}-data", TABLE, TableName=made.stage.resource(system, table.name))
        for name, wanted in schema(table).items():
            assert found[name] == wanted


def test_tables_without_index_or_expiry_say_nothing_of_them(sample):
    log = sample.one("sample-data", TABLE, TableName="citypass-prod-sample-log")

    assert not {"GlobalSecondaryIndexes", "TimeToLiveSpecification"} & log.keys()


@pytest.mark.parametrize(("stage", "policy"), [("prod", "Retain"), ("local", "Delete")])
def test_data_goes_with_its_stack_in_the_embedded_cloud_only(stage, policy, request):
    made = request.getfixturevalue(stage)
    kinds = {TABLE, QUEUE, SECRET, "AWS::Cognito::UserPool", "AWS::KMS::Key", "AWS::S3::Bucket"}
    kept = {
        (name, resource["Type"]): (resource["DeletionPolicy"], resource["UpdateReplacePolicy"])
        for template in made.templates.values()
        for name, resource in template["Resources"].items()
        if resource["Type"] in kinds
    }

    assert {kind for _, kind in kept} == kinds
    assert set(kept.values()) == {(policy, policy)}


@pytest.mark.parametrize(("stage", "protected"), [("prod", True), ("local", False)])
def test_deletion_protection(stage, protected, request):
    made = request.getfixturevalue(stage)
    for system in systems():
        for table in made.properties(f"{system}-data", TABLE):
            assert table["DeletionProtectionEnabled"] is protected
        pool = made.one(f"{system}-data", "AWS::Cognito::UserPool")
        assert pool.get("DeletionProtection", "INACTIVE") == ("ACTIVE" if protected else "INACTIVE")


def test_pool(sample):
    pool = sample.one("sample-data", "AWS::Cognito::UserPool")

    assert pool["UserPoolName"] == "citypass-prod-sample-operators"
    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert pool["UsernameConfiguration"] == {"CaseSensitive": True}
    assert not {"UsernameAttributes", "AliasAttributes"} & pool.keys()
    policy = pool["Policies"]["PasswordPolicy"]
    assert policy.pop("MinimumLength") >= 12
    assert policy.pop("TemporaryPasswordValidityDays") <= 7
    assert set(policy.values()) == {True}
    assert len(policy) == 4


def test_pool_client(sample):
    client = sample.one("sample-data", "AWS::Cognito::UserPoolClient")

    assert set(client["ExplicitAuthFlows"]) == {"ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"}
    assert client["GenerateSecret"] is False
    assert (client["IdTokenValidity"], client["TokenValidityUnits"]["IdToken"]) == (60, "minutes")
    assert client["PreventUserExistenceErrors"] == "ENABLED"
    assert client["AllowedOAuthFlowsUserPoolClient"] is False


def test_queue_and_its_dead_letter_queue(sample, plain):
    ((failed_id, failed),) = (
        (name, queue["Properties"])
        for name, queue in sample.resources("sample-data", QUEUE).items()
        if queue["Properties"]["QueueName"] == "citypass-prod-sample-events-failed.fifo"
    )
    queue = plain(sample.one("sample-data", QUEUE, QueueName="citypass-prod-sample-events.fifo"))

    assert (queue["FifoQueue"], queue["VisibilityTimeout"], queue["SqsManagedSseEnabled"]) == (True, 60, True)
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": f"<{failed_id}.Arn>", "maxReceiveCount": 3}
    assert (failed["FifoQueue"], failed["SqsManagedSseEnabled"]) == (True, True)


def test_queues_refuse_plain_http(sample):
    closed = {
        policy["Queues"][0]["Ref"]
        for policy in sample.properties("sample-data", "AWS::SQS::QueuePolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    }

    assert closed == set(sample.resources("sample-data", QUEUE))


def test_signing_secret(sample, plain):
    secret = plain(sample.one("sample-data", SECRET, Name="citypass-prod-sample-signing"))

    assert secret["GenerateSecretString"]["PasswordLength"] == 64
    assert secret["KmsKeyId"] == KEY


def test_sms_secret_is_made_with_values_that_send_nothing(sample, plain):
    secret = plain(sample.one("sample-data", SECRET, Name="citypass-prod-sample-sms"))

    made = secret["GenerateSecretString"]
    template = json.loads(made["SecretStringTemplate"])
    assert {*template, made["GenerateStringKey"]} == {"accessKeyId", "accessKeySecret", "signName", "templateCode"}
    assert set(template.values()) == {"unset"}
    assert secret["KmsKeyId"] == KEY
    assert "SecretString" not in secret


def test_certificate_key(sample, plain):
    ((name, key),) = sample.resources("sample-data", "AWS::KMS::Key").items()

    assert (key["Properties"]["KeySpec"], key["Properties"]["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    # KMS refuses to rotate it, and what it signed long ago must hold.
    assert "EnableKeyRotation" not in key["Properties"]
    alias = plain(sample.one("sample-data", "AWS::KMS::Alias"))
    assert alias == {"AliasName": "alias/citypass-prod-sample-certificates", "TargetKeyId": f"<{name}.Arn>"}


@pytest.mark.parametrize("stage", ["prod", "local"])
@pytest.mark.parametrize("system", systems())
def test_what_nobody_was_granted_is_not_made(stage, system, request):
    made = request.getfixturevalue(stage)
    granted = {grant.verb for function in declarations(system).functions for grant in function.uses}

    certifies = bool(granted & {"certify", "check_certificate"})
    assert len(made.resources(f"{system}-data", "AWS::KMS::Key")) == certifies
    secrets = {secret["Name"] for secret in made.properties(f"{system}-data", SECRET)}
    wanted = {"signing", "sms"} if "sms" in granted else {"signing"}
    assert secrets == {made.stage.resource(system, name) for name in wanted}
