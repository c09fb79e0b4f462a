"""Layers: the packages a system's functions share; a system's own, never another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as assets

from infra.discovery import construct_id
from infra.functions import ARCHITECTURE
from infra.layer_build import TARGET_RUNTIME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from constructs import Construct

    from infra.stages import Stage


def add_layers(scope: Construct, stage: Stage, system: str, folders: Mapping[str, Path]) -> list[str]:
    """Add the layers of a system's functions; Lambda unpacks them in this order, later ones over earlier ones."""
    return [_layer(scope, stage, system, name, folder) for name, folder in folders.items()]


def _layer(scope: Construct, stage: Stage, system: str, name: str, folder: Path) -> str:
    content = assets.Asset(scope, f"{construct_id(name)}Packages", path=str(folder))
    layer = lambda_.CfnLayerVersion(
        scope,
        f"{construct_id(name)}Layer",
        layer_name=stage.resource(system, name),
        compatible_architectures=[ARCHITECTURE],
        compatible_runtimes=[TARGET_RUNTIME],
        content=lambda_.CfnLayerVersion.ContentProperty(s3_bucket=content.s3_bucket_name, s3_key=content.s3_object_key),
    )
    return layer.ref
