"""The CDK app: `cdk synth -c stage=prod`; without a stage it builds what the embedded cloud runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import App, Environment, Tags

from infra.data_stack import DataStack
from infra.discovery import declarations, systems
from infra.layer_build import build_vendor, stage_layer
from infra.platform_stack import PlatformStack
from infra.stages import Stage
from infra.system_stack import SystemStack

if TYPE_CHECKING:
    from pathlib import Path


def build(app: App, stage: Stage, *, vendor: Path | None) -> None:
    """Add the stacks of one stage: the platform, and for each system its data and its functions.

    `vendor` is the folder of third-party packages, for a cloud that does not have them.
    """
    where = Environment(account=stage.account, region=stage.region)
    Tags.of(app).add("project", "citypass")
    Tags.of(app).add("stage", stage.name)
    platform = PlatformStack(app, stage, where)
    for name in systems():
        system = declarations(name)
        data = DataStack(app, stage, where, system, key=platform.key)
        layers = {layer: stage_layer(layer) for layer in ("kernel", name)}
        if vendor is not None:
            layers = {"vendor": vendor, **layers}
        functions = SystemStack(app, stage, where, system, data=data, alarms=platform.alarms, layers=layers)
        for stack in (data, functions):
            Tags.of(stack).add("system", name)


def main() -> None:
    """Synthesize the stage that the context names."""
    app = App()
    stage = Stage.of(app)
    # The embedded cloud runs functions on the interpreter that runs itself, which has these packages.
    build(app, stage, vendor=None if stage.local else build_vendor())
    app.synth()


if __name__ == "__main__":
    main()
