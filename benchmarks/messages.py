"""What one inbound LINE text costs: CPU, and requests and consumed units of DynamoDB, for a reply of three nodes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.save_tag import environment
from kernel import aws, settings
from kernel.operations import event_of
from kernel.tables import schema
from local.cloud import Cloud
from local.line_webhook import signature, text_event, webhook_body

USERS = 30
TEXTS_A_USER = 10
ADMIN, ACCOUNT, SECRET = "0001", "n4ud3h8n6-a9oa-l6f2-ct2i-555d20fb04c436", "bench-secret"


class MessageCost(NamedTuple):
    """Medians per inbound text."""

    webhook_ms: float
    worker_ms: float
    requests: float
    read_units: float
    write_units: float


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure() -> MessageCost:
    """Run a keyword scenario of three text nodes for 30 users, 10 texts each, against the embedded cloud."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(Path(folder), _free_port(), _free_port())
        cloud.emulator.start()
        cloud.simulator.start()
        try:
            os.environ.update(environment(cloud.endpoint))
            os.environ["LINE_API_ENDPOINT"] = cloud.simulator_url
            return _measured()
        finally:
            cloud.simulator.stop()
            cloud.emulator.stop()


def _measured() -> MessageCost:
    import boto3

    from functions.chatbot.answer_line_event import answer_line_event
    from functions.chatbot.create_account import create_account
    from functions.chatbot.receive_line_events import receive_line_events
    from functions.chatbot.save_scenario import save_scenario
    from infra.discovery import declarations

    system = declarations("chatbot")
    dynamodb = boto3.client("dynamodb", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for table in system.tables:
        dynamodb.create_table(TableName=table.physical_name(), **schema(table))
    sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for queue in system.queues:
        sqs.create_queue(QueueName=queue.physical_name(), Attributes={"FifoQueue": "true"})
    kms = boto3.client("kms", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    os.environ["KEY_ID"] = kms.create_key()["KeyMetadata"]["KeyId"]
    settings.settings.cache_clear()

    calls: list[aws.Call] = []
    aws.observers.append(calls.append)
    _quietly(create_account, event_of(create_account, _account(), caller=ADMIN))
    _quietly(save_scenario, event_of(save_scenario, _scenario(), caller=ADMIN))
    webhook: list[float] = []
    worker: list[float] = []
    requests: list[int] = []
    units: list[tuple[float, float]] = []
    for user in range(USERS):
        for turn in range(TEXTS_A_USER):
            body = webhook_body([text_event(f"U{user:032x}", "keyword1")]).decode()
            event = event_of(receive_line_events, body)
            event["headers"]["x-line-signature"] = signature(SECRET, body.encode())
            event["queryStringParameters"] = {"adminid": ADMIN, "accountid": ACCOUNT}
            calls.clear()
            webhook.append(_quietly(receive_line_events, event))
            entries = next(call for call in calls if call.action == "SendMessageBatch").payload["Entries"]
            records = [{"messageId": entry["Id"], "body": entry["MessageBody"]} for entry in entries]
            worker.append(_quietly(answer_line_event, {"Records": records}))
            if turn:  # the first text of a user also asks LINE for his profile and writes his row
                requests.append(sum(call.service == "dynamodb" for call in calls))
                units.append(_units(calls))
    return MessageCost(
        statistics.median(webhook),
        statistics.median(worker),
        statistics.median(requests),
        statistics.median(read for read, _ in units),
        statistics.median(written for _, written in units),
    )


def _quietly(function: Any, event: dict[str, Any]) -> float:
    """Call a function and return its CPU milliseconds."""
    with contextlib.redirect_stdout(io.StringIO()):
        begun = time.process_time()
        answer = function(event, None)
        cost = (time.process_time() - begun) * 1000
    if answer.get("statusCode", 200) != 200 or answer.get("batchItemFailures"):
        raise SystemExit(f"{function.name}: {answer}")
    return cost


def _units(calls: list[aws.Call]) -> tuple[float, float]:
    read = written = 0.0
    for call in calls:
        used = call.answer.get("ConsumedCapacity") or []
        total = sum(entry["CapacityUnits"] for entry in (used if isinstance(used, list) else [used]))
        if call.action in ("GetItem", "BatchGetItem", "Query"):
            read += total
        else:
            written += total
    return read, written


def _account() -> dict[str, Any]:
    return {
        "adminId": ADMIN,
        "accountId": ACCOUNT,
        "accountName": "bench",
        "accountType": "line",
        "accountIcon": "",
        "accountWebhookUrl": f"https://chat.example.com/api/LineMessage/send?adminid={ADMIN}&accountid={ACCOUNT}",
        "accountToken": "bench-token",
        "accountSecret": SECRET,
        "accountClone": "",
    }


def _scenario() -> dict[str, Any]:
    nodes = [
        {
            "nodeId": f"node-{place}",
            "type": "text",
            "title": f"node {place}",
            "level": "1",
            "sort": place,
            "template": {"type": "text", "text": f"This is text {place} of the reply."},
            "nextNode": f"node-{place + 1}" if place < 3 else "",
            "nodeTag": [{"name": "reader", "color": "bg-info"}],
            "nodeConst": {},
            "error": 0,
        }
        for place in (1, 2, 3)
    ]
    head = {"scenarioName": "bench", "trigger": "keyword", "keywords": ["keyword1"]}
    return json.loads(json.dumps({"adminId": ADMIN, "accountId": ACCOUNT, "scenario": head, "nodes": nodes}))
