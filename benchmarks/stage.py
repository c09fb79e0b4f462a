"""The chatbot on the embedded cloud, in this process: its tables, queues and key, a channel, and LINE's double."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.people import ACCOUNT, ADMIN
from benchmarks.save_tag import environment
from kernel import settings
from kernel.operations import event_of
from kernel.tables import schema
from local.cloud import Cloud, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "bench-secret"


@contextlib.contextmanager
def embedded() -> Iterator[Cloud]:
    """Start the cloud with everything a chatbot needs and one channel, and stop it at the end."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(Path(folder), free_port(), free_port())
        # Writing its state down would take turns with answering.
        emulator = dataclasses.replace(
            cloud.emulator, environment={**cloud.emulator.environment, "PERSIST_STATE": "0", "S3_PERSIST": "0"}
        )
        (Path(folder) / "tmp").mkdir()
        emulator.start()
        cloud.simulator.start()
        try:
            os.environ.update(environment(cloud.endpoint))
            os.environ["LINE_API_ENDPOINT"] = cloud.simulator_url
            _furnish(cloud.endpoint)
            yield cloud
        finally:
            cloud.simulator.stop()
            emulator.stop()


def _furnish(endpoint: str) -> None:
    import boto3

    from functions.chatbot.create_account import create_account
    from infra.discovery import declarations

    system = declarations("chatbot")
    settings.settings.cache_clear()
    dynamodb = boto3.client("dynamodb", endpoint_url=endpoint)
    for table in system.tables:
        dynamodb.create_table(TableName=table.physical_name(), **schema(table))
    sqs = boto3.client("sqs", endpoint_url=endpoint)
    for queue in system.queues:
        sqs.create_queue(QueueName=queue.physical_name(), Attributes={"FifoQueue": "true"})
    kms = boto3.client("kms", endpoint_url=endpoint)
    os.environ["KEY_ID"] = kms.create_key()["KeyMetadata"]["KeyId"]
    settings.settings.cache_clear()
    quietly(create_account, event_of(create_account, _account(), caller=ADMIN))


def quietly(function: Any, event: dict[str, Any]) -> float:
    """Call a function and return its CPU milliseconds."""
    with contextlib.redirect_stdout(io.StringIO()):
        begun = time.process_time()
        answer = function(event, None)
        cost = (time.process_time() - begun) * 1000
    if answer and (answer.get("statusCode", 200) != 200 or answer.get("batchItemFailures")):
        raise SystemExit(f"{function.name}: {answer}")
    return cost


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


def save_scenario(scenario_id: str, texts: list[str], **more: Any) -> None:
    """Save a scenario of text nodes; `more` is what its nodes and `head` the scenario have besides."""
    from functions.chatbot.save_scenario import save_scenario as operation

    head = more.pop("head", {})
    last = len(texts)
    nodes = [
        {
            "nodeId": f"node-{place}",
            "type": "text",
            "title": f"node {place}",
            "level": "1",
            "sort": place,
            "template": {"type": "text", "text": text},
            "nextNode": f"node-{place + 1}" if place < last else "",
            "nodeConst": {},
            "error": 0,
            **more,
        }
        for place, text in enumerate(texts, 1)
    ]
    scenario = {"scenarioId": scenario_id, "scenarioName": scenario_id, "trigger": "", "keywords": [], **head}
    body = {"adminId": ADMIN, "accountId": ACCOUNT, "scenario": scenario, "nodes": nodes}
    quietly(operation, event_of(operation, body, caller=ADMIN))
