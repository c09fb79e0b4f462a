"""A stage: where the platform is deployed, under which names, and how firmly its data is held."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_cdk import Aws, RemovalPolicy

from kernel.settings import resource_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from constructs import Construct

LOCAL = "local"
REGION = "us-east-1"
LOG_DAYS = 90
_NAME = re.compile(r"[a-z][a-z0-9]{1,11}")
_ADDRESS = re.compile(r"https?://[^\s?#]+")


@dataclass(frozen=True)
class Stage:
    """One deployment of the whole platform; `local` is the embedded cloud.

    `domain` is the address under which outsiders reach the gateways when it is not API Gateway's own, `{system}` in it
    standing for the system's name: `https://{system}.example.com`.
    """

    name: str
    region: str = REGION
    account: str | None = None
    domain: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"stage {self.name!r}: 2 to 12 lower-case letters and digits, a letter first")
        if self.domain and not _ADDRESS.fullmatch(self.domain):
            raise ValueError(f"public-url {self.domain!r}: https:// or http://, a host, and nothing after the path")

    @staticmethod
    def of(app: Construct, environment: Mapping[str, str] = os.environ) -> Stage:
        """Return the stage that the context names; region and account come from the CDK command line, if at all.

        The domain comes from `PUBLIC_URL`, else from the context (`-c public-url=…`).
        """
        return Stage(
            app.node.try_get_context("stage") or LOCAL,
            app.node.try_get_context("region") or environment.get("CDK_DEFAULT_REGION") or REGION,
            environment.get("CDK_DEFAULT_ACCOUNT"),
            (environment.get("PUBLIC_URL") or app.node.try_get_context("public-url") or "").rstrip("/"),
        )

    @property
    def local(self) -> bool:
        """Tell whether this is the embedded cloud, whose data may go with its stack."""
        return self.name == LOCAL

    @property
    def removal(self) -> RemovalPolicy:
        """What happens to data when its resource leaves the template."""
        return RemovalPolicy.DESTROY if self.local else RemovalPolicy.RETAIN

    @property
    def files_bucket(self) -> str:
        """The name of the bucket for files: names of buckets are the world's, so it tells account and region."""
        return f"citypass-{self.name}-files-{Aws.ACCOUNT_ID}-{Aws.REGION}"

    def address(self, system: str) -> str:
        """Return where outsiders reach a system, empty when that is the gateway's own address."""
        return self.domain.replace("{system}", system)

    def resource(self, system: str, name: str) -> str:
        """Return the physical name under which the functions of a system find a resource."""
        return resource_name(name, stage=self.name, system=system)
