"""A LINE channel with as many followers as wanted on the embedded DynamoDB, to carry broadcasts out at full size."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from chatbot.tables import BroadcastTable, ConversationTable, FollowerCountTable, RecipientTable, account_key
from functions.chatbot.create_account import create_account
from functions.chatbot.run_broadcast import run_broadcast
from functions.chatbot.save_scenario import save_scenario
from functions.chatbot.schedule_broadcast import schedule_broadcast
from functions.chatbot.send_broadcast_chunk import send_broadcast_chunk
from functions.chatbot.start_due import start_due
from infra.discovery import declarations
from kernel import clock, queues, running, secrets, settings
from kernel.operations import Operation, event_of
from kernel.tables import Put, schema, write_all
from local.broadcast_driver import Crew, Door, Queues
from local.cloud import REGION, Cloud, free_port

WORKERS = (run_broadcast, send_broadcast_chunk)
_IDS = {"adminId": "0001", "accountId": "channel"}
_PARTITION = account_key(_IDS["adminId"], _IDS["accountId"])
_SCENARIO = "22b0cc7e-26a3-11ee-90ac-a698574f3611"
_KEPT = (settings.settings, queues._url, secrets._decrypt, running.logger)


def people(number: int) -> Iterator[str]:
    """Yield the ids of the first so many followers, in order."""
    return (f"U{place:032x}" for place in range(1, number + 1))


@dataclass
class Stage:
    """A furnished channel; its queues are in memory, and everything else goes through `door`."""

    queues: Queues
    door: Door

    def book(self) -> str:
        """Book a broadcast to everybody, hand it to its queue and return its id."""
        body = {
            **_IDS, "broadcastName": "broadcast", "broadcastScenarioId": _SCENARIO, "broadcastScenarioName": "scenario",
            "broadcastStatus": "pending", "broadcastTime": clock.now().strftime("%Y-%m-%d %H:%M:%S"),
            "isSelectAll": True,
        }  # fmt: skip
        _call(schedule_broadcast, body)
        start_due({}, None)
        (item,) = BroadcastTable.query_items(_PARTITION, fields=[BroadcastTable.broadcast_id], consistent=True).rows
        return str(item["broadcast_id"]["S"])

    def crew(self, **accidents: Any) -> Crew:
        """Return workers that carry out what is queued."""
        return Crew(self.queues, self.door, WORKERS, **accidents)

    def row(self, broadcast_id: str) -> BroadcastTable:
        """Return the broadcast with its counters."""
        row = BroadcastTable.find(_PARTITION, broadcast_id)
        if row is None:
            raise RuntimeError("the broadcast is gone")
        return row

    def outcomes(self, broadcast_id: str) -> Counter[str]:
        """Return how many people's rows say what; '' is the success of their chunk."""
        fields = [RecipientTable.user_id, RecipientTable.outcome]
        key = f"{_PARTITION}#{broadcast_id}"
        items = RecipientTable.every_item(key, fields=fields, limit=1000, consistent=True)
        return Counter(item.get("outcome", {"NULL": True}).get("S", "") for item in items)


@contextmanager
def stage(folder: Path, line_url: str, followers: int, *, text: str = "hello", times: int = 1) -> Iterator[Stage]:
    """Start an emulator in the folder, with a channel, its followers and a scenario of one text, until the block ends.

    Every message is handled `times` times; LINE is whoever answers at `line_url`.
    """
    cloud = Cloud(folder, free_port(), free_port())
    with ExitStack() as stack:
        cloud.start()
        stack.callback(cloud.stop)
        stack.enter_context(_environment(cloud, line_url))
        _make_tables(cloud)
        held = Queues(times)
        door = stack.enter_context(Door(held))
        _furnish(followers, text)
        yield Stage(held, door)


@contextmanager
def _environment(cloud: Cloud, line_url: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(
        cloud.clients_environment()
        | {"STAGE": "bench", "SYSTEM": "chatbot", "LINE_API_ENDPOINT": line_url, "AWS_DEFAULT_REGION": REGION}
    )
    os.environ["KEY_ID"] = _client(cloud, "kms").create_key()["KeyMetadata"]["KeyId"]
    for kept in _KEPT:
        kept.cache_clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        for kept in _KEPT:
            kept.cache_clear()


def _client(cloud: Cloud, service: Any) -> Any:
    import boto3

    return boto3.client(service, endpoint_url=cloud.endpoint, region_name=REGION)


def _make_tables(cloud: Cloud) -> None:
    dynamodb = cloud.dynamodb()
    for table in declarations("chatbot").tables:
        dynamodb.create_table(TableName=table.physical_name(), **schema(table))


def _furnish(followers: int, text: str) -> None:
    url = f"https://chat.example.com/api/LineMessage/send?adminid={_IDS['adminId']}&accountid={_IDS['accountId']}"
    account = {
        **_IDS, "accountName": "channel", "accountType": "line", "accountIcon": "", "accountWebhookUrl": url,
        "accountToken": "fake-token", "accountSecret": "fake-secret", "accountClone": "",
    }  # fmt: skip
    _call(create_account, account)
    node = {
        "nodeId": "hello", "type": "text", "title": "", "level": "1", "sort": 1, "nodeConst": {}, "error": 0,
        "template": {"type": "text", "text": text},
    }  # fmt: skip
    head = {"scenarioId": _SCENARIO, "scenarioName": "scenario", "trigger": "", "keywords": []}
    _call(save_scenario, {**_IDS, "scenario": head, "nodes": [node]})
    at = clock.now() - timedelta(days=1)
    rows = (
        ConversationTable(
            account=_PARTITION, user_id=user_id, state={}, status="1", status_at=at, follow_time=at, access_time=at,
            user_name="", user_picture="", profile_at=at, version=1, created_at=at,
        )
        for user_id in people(followers)
    )  # fmt: skip
    write_all(map(Put, rows), at_once=4)
    write_all([Put(FollowerCountTable(account=_PARTITION, shard=0, followers=followers))])


def _call(operation: Operation, body: Mapping[str, Any]) -> None:
    answer = operation(event_of(operation, dict(body), caller=_IDS["adminId"]), None)
    if answer["statusCode"] != 200:
        raise RuntimeError(f"{operation.name}: {answer['body']}")
