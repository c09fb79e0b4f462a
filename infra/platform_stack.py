"""The platform's stack: what all systems of a stage share and none of them owns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Aws, Duration, Environment, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns

from infra.findings import accept
from infra.observability import throttle_alarm
from infra.stages import LOG_DAYS

if TYPE_CHECKING:
    from constructs import Construct

    from infra.stages import Stage

# Exports are made to be fetched at once; whoever comes later asks for a new one.
EXPORT_DAYS = 7
# As long as `kernel.imports` knows which lines were applied.
IMPORT_DAYS = 30


class PlatformStack(Stack):
    """The key that encrypts, the bucket for files, the topic that alarms go to."""

    def __init__(self, scope: Construct, stage: Stage, where: Environment) -> None:
        """Build the shared resources of a stage."""
        super().__init__(scope, f"citypass-{stage.name}-platform", env=where, termination_protection=not stage.local)
        self.key = _key(self, stage)
        self.alarms = sns.Topic(
            self, "Alarms", topic_name=f"citypass-{stage.name}-alarms", master_key=self.key, enforce_ssl=True
        )
        _files(self, stage, self.key)
        _gateway_logging(self)
        throttle_alarm(self, stage, self.alarms)


def _key(scope: Construct, stage: Stage) -> kms.Key:
    key = kms.Key(
        scope,
        "Key",
        alias=f"citypass-{stage.name}",
        description="Encrypts tables, files and the channels' secrets",
        enable_key_rotation=True,
        removal_policy=stage.removal,
    )
    # Alarms publish to an encrypted topic only when the key knows CloudWatch.
    key.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
    return key


def _files(scope: Construct, stage: Stage, key: kms.Key) -> None:
    closed = s3.BlockPublicAccess.BLOCK_ALL
    access_logs = s3.Bucket(
        scope,
        "FileAccessLogs",
        block_public_access=closed,
        # Log delivery writes with S3's own key only.
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(LOG_DAYS))],
        removal_policy=stage.removal,
    )
    s3.Bucket(
        scope,
        "Files",
        bucket_name=stage.files_bucket,
        block_public_access=closed,
        bucket_key_enabled=True,
        encryption=s3.BucketEncryption.KMS,
        encryption_key=key,
        enforce_ssl=True,
        # Nothing else expires: pictures are in messages that people may look at years later.
        lifecycle_rules=[
            # What has gone is gone: an export holds what people wrote, an import who they are.
            *(
                s3.LifecycleRule(
                    prefix=prefix, expiration=Duration.days(days), noncurrent_version_expiration=Duration.days(1)
                )
                for prefix, days in (("exports/", EXPORT_DAYS), ("imports/", IMPORT_DAYS))
            ),
            s3.LifecycleRule(
                abort_incomplete_multipart_upload_after=Duration.days(1),
                noncurrent_version_expiration=Duration.days(30),
            ),
        ],
        removal_policy=stage.removal,
        server_access_logs_bucket=access_logs,
        versioned=True,
    )


def _gateway_logging(scope: Construct) -> None:
    # One setting per account and region: it stays behind for the other stages when this stack goes.
    role = iam.CfnRole(
        scope,
        "GatewayLogging",
        assume_role_policy_document={
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "apigateway.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        },
        managed_policy_arns=[
            f"arn:{Aws.PARTITION}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
        ],
    )
    role.apply_removal_policy(RemovalPolicy.RETAIN)
    accept(
        role,
        "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]",
        "API Gateway refuses an account role that does not carry all of this policy, which AWS keeps current",
    )
    account = apigateway.CfnAccount(scope, "GatewayAccount", cloud_watch_role_arn=role.attr_arn)
    account.apply_removal_policy(RemovalPolicy.RETAIN)
