"""saveTag with Powertools' validating resolver and PynamoDB."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BaseModel, Field, StringConstraints
from pynamodb.attributes import ListAttribute, UnicodeAttribute
from pynamodb.connection import Connection
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

HOST = os.environ["AWS_ENDPOINT_URL"]
app = APIGatewayRestResolver(enable_validation=True)
logger = Logger(service="peer")
metrics = Metrics(namespace="Peer", service="peer")
connection = Connection(region="us-east-1", host=HOST)


class Account(Model):
    """A channel."""

    class Meta:
        """Where it is."""

        table_name = "accounts"
        region = "us-east-1"
        host = HOST

    admin_id = UnicodeAttribute(hash_key=True)
    account_id = UnicodeAttribute(range_key=True)
    account_name = UnicodeAttribute()


class Tag(Model):
    """A tag."""

    class Meta:
        """Where it is."""

        table_name = "tags"
        region = "us-east-1"
        host = HOST

    account = UnicodeAttribute(hash_key=True)
    place = UnicodeAttribute(range_key=True)
    values = ListAttribute(of=UnicodeAttribute)


class Audit(Model):
    """An audit entry."""

    class Meta:
        """Where it is."""

        table_name = "audit"
        region = "us-east-1"
        host = HOST

    tenant = UnicodeAttribute(hash_key=True)
    entry = UnicodeAttribute(range_key=True)
    before = UnicodeAttribute(null=True)
    after = UnicodeAttribute(null=True)


class TagIn(BaseModel):
    """The tag to save."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    color: Literal["red-filter", "blue-filter", "green-filter"]
    values: list[str] = Field(max_length=500)


class SaveTag(BaseModel):
    """The request."""

    adminId: str  # noqa: N815
    accountId: str  # noqa: N815
    tag: TagIn


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


@app.post("/saveTag")
def save_tag(request: SaveTag) -> dict[str, Any]:
    """Save a tag."""
    if app.current_event.request_context.authorizer.claims["cognito:username"] != request.adminId:
        return {"ErrorCode": 401, "ErrorMessage": "Unauthorized", "Result": None}
    try:
        Account.get(request.adminId, request.accountId, consistent_read=True)
    except Account.DoesNotExist:
        return {"ErrorCode": 400, "ErrorMessage": "accountId not found", "Result": None}
    partition, place = f"#{request.adminId}#{request.accountId}", f"{request.tag.color}#{request.tag.name}"
    try:
        before = Tag.get(partition, place, consistent_read=True).values
    except Tag.DoesNotExist:
        before = None
    with TransactWrite(connection=connection) as transaction:
        transaction.save(Tag(partition, place, values=request.tag.values))
        entry = datetime.now(UTC).isoformat()
        transaction.save(
            Audit(request.adminId, entry, before=_digest(before) if before else None, after=_digest(request.tag.values))
        )
    return {"ErrorCode": 200, "ErrorMessage": "ok", "Result": None}


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handle one proxy event."""
    answer = app.resolve(event, context)
    metrics.add_metric("Calls", MetricUnit.Count, 1)
    return answer
