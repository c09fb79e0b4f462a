"""A system's functions: layers, one Lambda for each declaration, its gateway, and what watches over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput, Environment, Stack

from infra import jobs, permissions
from infra.firewall import Firewall
from infra.functions import Function
from infra.gateway import Gateway
from infra.layers import add_layers
from infra.observability import Observability, log_group
from infra.permissions import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aws_cdk import aws_sns as sns
    from constructs import Construct

    from infra.data_stack import DataStack
    from infra.discovery import Declaration, System
    from infra.permissions import Statement
    from infra.stages import Stage


class SystemStack(Stack):
    """The part of a system that holds no data and may be replaced at any time."""

    def __init__(
        self,
        scope: Construct,
        stage: Stage,
        where: Environment,
        system: System,
        *,
        data: DataStack,
        alarms: sns.ITopic,
        layers: Mapping[str, Path],
    ) -> None:
        """Build a system's functions; `layers` are the folders of their layers by name."""
        super().__init__(scope, f"citypass-{stage.name}-{system.name}", env=where)
        # The outputs repeat the pool's ids, so that callers find all they need at one stack.
        self.template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": ["W6001"]}}}
        gateway = Gateway(self, stage, system)
        resources = Resources(
            stage=stage,
            system=system.name,
            key_arn=data.key.key_arn,
            pool_arn=data.pool.user_pool_arn,
            pool_id=data.pool.user_pool_id,
            pool_client_id=data.pool_client.user_pool_client_id,
            signing_secret_arn=data.signing_secret.secret_arn,
            public_url=stage.address(system.name) or gateway.url,
            certificate_key_arn=data.certificate_key.key_arn if data.certificate_key else "",
            sms_secret_arn=data.sms_secret.secret_arn if data.sms_secret else "",
        )
        mounted = add_layers(self, stage, system.name, layers)
        lines = log_group(self, stage, system.name, "functions")
        access_lines = log_group(self, stage, system.name, "access")

        def function(declaration: Declaration, *more: Statement) -> Function:
            return Function(
                self,
                declaration,
                source=system.source(declaration),
                resources=resources,
                layers=mounted,
                log_group=lines.ref,
                log_group_arn=lines.attr_arn,
                more=more,
            )

        gateway.publish(
            {operation.name: function(operation).arn for operation in system.operations},
            pool_arn=resources.pool_arn,
            access_lines=access_lines.ref,
        )
        for worker in system.workers:
            jobs.feed(function(worker, permissions.poll(worker.queue, resources)), worker, resources)
        if system.jobs:
            failed_runs = jobs.add_failed_runs(self, stage, system.name)
            keep = permissions.send_failed(failed_runs.queue_arn)
            for job in system.jobs:
                jobs.schedule(function(job, keep), job, failed_runs)
        if not stage.local:
            Firewall(self, stage, system, gateway)
        Observability(
            self,
            stage,
            system,
            topic=alarms,
            gateway=gateway,
            function_lines=lines.ref,
            access_lines=access_lines.ref,
        )
        CfnOutput(self, "ApiId", value=gateway.rest_api.ref)
        CfnOutput(self, "ApiStage", value=gateway.stage.ref)
        CfnOutput(self, "ApiUrl", value=gateway.url)
        CfnOutput(self, "PoolId", value=resources.pool_id)
        CfnOutput(self, "PoolClientId", value=resources.pool_client_id)
