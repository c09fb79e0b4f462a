"""Functions: one Lambda for each declaration, with a role of its own."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from infra import permissions
from infra.discovery import construct_id
from infra.findings import accept
from infra.layer_build import TARGET_RUNTIME, stage_function
from kernel.auth import PartnerKey
from kernel.files import Folder
from kernel.operations import Operation
from kernel.settings import Settings, environment_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from infra.discovery import Declaration
    from infra.permissions import Resources, Statement

ARCHITECTURE = "arm64"


class Function(Construct):
    """The Lambda function of an operation, a job or a worker."""

    def __init__(
        self,
        scope: Construct,
        declaration: Declaration,
        *,
        source: Path,
        resources: Resources,
        layers: Sequence[str],
        log_group: str,
        log_group_arn: str,
        more: Sequence[Statement] = (),
    ) -> None:
        """Add the function and its role; `more` is what its source asks of the role."""
        super().__init__(scope, construct_id(declaration.name))
        name = resources.stage.resource(resources.system, declaration.name)
        found = [*permissions.statements(declaration.uses, resources), *more, permissions.write_log(log_group_arn)]
        role = iam.CfnRole(
            self,
            "Role",
            assume_role_policy_document=permissions.trust("lambda.amazonaws.com"),
            description=f"What {declaration.name} may do",
            policies=[
                iam.CfnRole.PolicyProperty(policy_name="grants", policy_document=permissions.document(found)),
            ],
        )
        for grant in declaration.uses:
            if isinstance(grant.resource, Folder):
                accept(
                    role,
                    f"AwsSolutions-IAM5[Resource::{_shown(resources.files_arn(grant.resource))}]",
                    "The role reaches the files of its own system in one folder; their names are made while it runs",
                )
        code = assets.Asset(self, "Code", path=str(stage_function(source)))
        function = lambda_.CfnFunction(
            self,
            "Function",
            function_name=name,
            description=declaration.description.splitlines()[0],
            architectures=[ARCHITECTURE],
            runtime=TARGET_RUNTIME,
            handler=f"{declaration.name}.{declaration.name}",
            code=lambda_.CfnFunction.CodeProperty(s3_bucket=code.s3_bucket_name, s3_key=code.s3_object_key),
            environment=lambda_.CfnFunction.EnvironmentProperty(variables=environment(declaration, resources)),
            layers=list(layers),
            # The lines are JSON already; Lambda would wrap them a second time.
            logging_config=lambda_.CfnFunction.LoggingConfigProperty(log_format="Text", log_group=log_group),
            memory_size=declaration.memory,
            recursive_loop="Terminate",
            role=role.attr_arn,
            timeout=declaration.timeout,
        )
        self.name = name
        self.ref = function.ref
        self.arn = function.attr_arn


def _shown(arn: str) -> str:
    """Write an ARN as the rule checkers do, who name pseudo parameters in angle brackets."""
    for parameter in ("PARTITION", "ACCOUNT_ID", "REGION"):
        text: str = getattr(Aws, parameter)
        arn = arn.replace(text, f"<AWS::{parameter.title().replace('_Id', 'Id')}>")
    return arn


def environment(
    declaration: Declaration, resources: Resources, deployer: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the variables of a function: what its grants need, and what the deployer's environment overrides."""
    services = {grant.service for grant in declaration.uses}
    verbs = {grant.verb for grant in declaration.uses}
    values = {"stage": resources.stage.name, "system": resources.system, "public_url": resources.public_url}
    if "cognito-idp" in services:
        values |= {"pool_id": resources.pool_id, "pool_client_id": resources.pool_client_id}
    if isinstance(declaration, Operation) and isinstance(declaration.auth, PartnerKey):
        values |= {
            "pool_id": resources.pool_id,
            "pool_client_id": resources.pool_client_id,
            "pool_issuer": f"https://cognito-idp.{Aws.REGION}.amazonaws.com/{resources.pool_id}",
        }
    if verbs & {"encrypt", "decrypt"}:
        values["key_id"] = resources.key_arn
    if verbs & {"certify", "check_certificate"}:
        values["certificate_key_id"] = resources.certificate_key_arn
    if "s3" in services:
        values["files_bucket"] = resources.stage.files_bucket
    if "sign" in verbs:
        values["signing_secret"] = resources.signing_secret_arn
    if "sms" in verbs:
        values["sms_secret"] = resources.sms_secret_arn
    for field in fields(Settings):
        # A test of a channel points its endpoint somewhere else; Lambda itself sets the region.
        open_to_all = field.default and field.name != "region"
        open_to_local = field.name == "outbound_exceptions" and resources.stage.local
        if (open_to_all or open_to_local) and environment_name(field.name) in deployer:
            values.setdefault(field.name, deployer[environment_name(field.name)])
    return {environment_name(name): value for name, value in sorted(values.items())}
