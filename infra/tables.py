"""Tables: the declaration of the kernel, written as CloudFormation wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import aws_dynamodb as dynamodb

from infra.discovery import construct_id
from kernel.tables import schema

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms
    from constructs import Construct

    from infra.stages import Stage
    from kernel.tables import Table


def add_table(scope: Construct, stage: Stage, system: str, table: type[Table], key: kms.IKey) -> dynamodb.CfnTable:
    """Add the table of a system that a class declares: encrypted, on demand, restorable to any second."""
    declared = schema(table)
    expires = table.ttl_attribute()
    made = dynamodb.CfnTable(
        scope,
        f"{construct_id(table.name)}Table",
        table_name=stage.resource(system, table.name),
        key_schema=_keys(declared["KeySchema"]),
        attribute_definitions=[
            dynamodb.CfnTable.AttributeDefinitionProperty(
                attribute_name=attribute["AttributeName"], attribute_type=attribute["AttributeType"]
            )
            for attribute in declared["AttributeDefinitions"]
        ],
        billing_mode=declared["BillingMode"],
        global_secondary_indexes=[
            dynamodb.CfnTable.GlobalSecondaryIndexProperty(
                index_name=index["IndexName"],
                key_schema=_keys(index["KeySchema"]),
                projection=dynamodb.CfnTable.ProjectionProperty(
                    projection_type=index["Projection"]["ProjectionType"],
                    non_key_attributes=index["Projection"].get("NonKeyAttributes"),
                ),
            )
            for index in declared.get("GlobalSecondaryIndexes", ())
        ]
        or None,
        time_to_live_specification=dynamodb.CfnTable.TimeToLiveSpecificationProperty(
            attribute_name=expires, enabled=True
        )
        if expires
        else None,
        sse_specification=dynamodb.CfnTable.SSESpecificationProperty(
            sse_enabled=True, sse_type="KMS", kms_master_key_id=key.key_arn
        ),
        point_in_time_recovery_specification=dynamodb.CfnTable.PointInTimeRecoverySpecificationProperty(
            point_in_time_recovery_enabled=True
        ),
        deletion_protection_enabled=not stage.local,
    )
    made.apply_removal_policy(stage.removal)
    return made


def _keys(declared: list[dict[str, Any]]) -> list[dynamodb.CfnTable.KeySchemaProperty]:
    return [
        dynamodb.CfnTable.KeySchemaProperty(attribute_name=key["AttributeName"], key_type=key["KeyType"])
        for key in declared
    ]
