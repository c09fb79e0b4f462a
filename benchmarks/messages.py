"""What one inbound LINE text costs: CPU, and requests and consumed units of DynamoDB, for a reply of three nodes."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from benchmarks.people import ACCOUNT, ADMIN
from benchmarks.stage import SECRET, embedded, quietly, save_scenario
from benchmarks.units import Units
from kernel import aws
from kernel.operations import event_of
from local.line_webhook import signature, text_event, webhook_body

USERS = 30
TEXTS_A_USER = 10


class MessageCost(NamedTuple):
    """Medians per inbound text."""

    webhook_ms: float
    worker_ms: float
    requests: float
    read_units: float
    write_units: float


def measure() -> MessageCost:
    """Run a keyword scenario of three text nodes for 30 users, 10 texts each, against the embedded cloud."""
    with embedded():
        return _measured()


def _measured() -> MessageCost:
    from functions.chatbot.answer_event import answer_event
    from functions.chatbot.receive_line_events import receive_line_events
    from infra.discovery import declarations

    calls: list[aws.Call] = []
    aws.observers.append(calls.append)
    ledger = Units(declarations("chatbot").tables)
    texts = [f"This is text {place} of the reply." for place in (1, 2, 3)]
    head = {"trigger": "keyword", "keywords": ["keyword1"]}
    save_scenario("", texts, head=head, nodeTag=[{"name": "reader", "color": "bg-info"}])
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
            ledger.add(calls)
            calls.clear()
            webhook.append(quietly(receive_line_events, event))
            entries = next(call for call in calls if call.action == "SendMessageBatch").payload["Entries"]
            records = [{"messageId": entry["Id"], "body": entry["MessageBody"]} for entry in entries]
            worker.append(quietly(answer_event, {"Records": records}))
            if turn:  # the first text of a user also asks LINE for his profile and writes his row
                requests.append(sum(call.service == "dynamodb" for call in calls))
                units.append(ledger.add(calls))
                calls.clear()
    return MessageCost(
        statistics.median(webhook),
        statistics.median(worker),
        statistics.median(requests),
        statistics.median(read for read, _ in units),
        statistics.median(written for _, written in units),
    )
