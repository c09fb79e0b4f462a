"""saveTag with FastAPI, Mangum and boto3."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import boto3
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from mangum import Mangum
from pydantic import BaseModel, Field, StringConstraints

dynamodb = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
app = FastAPI()
logging.getLogger("mangum").setLevel(logging.ERROR)


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
def save_tag(body: SaveTag, request: Request) -> JSONResponse:
    """Save a tag."""
    claims = request.scope["aws.event"]["requestContext"]["authorizer"]["claims"]
    if claims["cognito:username"] != body.adminId:
        return JSONResponse({"ErrorCode": 401, "ErrorMessage": "Unauthorized", "Result": None}, 401)
    account = {"admin_id": {"S": body.adminId}, "account_id": {"S": body.accountId}}
    if "Item" not in dynamodb.get_item(TableName="accounts", Key=account, ConsistentRead=True):
        return JSONResponse({"ErrorCode": 400, "ErrorMessage": "accountId not found", "Result": None}, 400)
    key = {
        "account": {"S": f"#{body.adminId}#{body.accountId}"},
        "place": {"S": f"{body.tag.color}#{body.tag.name}"},
    }
    before = dynamodb.get_item(TableName="tags", Key=key, ConsistentRead=True).get("Item")
    values = {"values": {"L": [{"S": value} for value in body.tag.values]}}
    entry = {"tenant": {"S": body.adminId}, "entry": {"S": datetime.now(UTC).isoformat()}}
    digests = {"after": {"S": _digest(body.tag.values)}} | ({"before": {"S": _digest(before)}} if before else {})
    dynamodb.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": "tags", "Item": {**key, **values}}},
            {"Put": {"TableName": "audit", "Item": {**entry, **digests}}},
        ]
    )
    return JSONResponse({"ErrorCode": 200, "ErrorMessage": "ok", "Result": None})


handler = Mangum(app, lifespan="off")
