"""The worker behind the webhook, from LINE to LINE; what it says when is tested with the conversation's layer."""

import json
from datetime import UTC, datetime

import pytest

from functions.chatbot.answer_line_event import answer_line_event
from kernel import settings
from local.line_simulator import LineSimulator
from tests.functions.chatbot.examples import FUNCTIONS, IDS, USER_ID, Calls, documented, node, ok, sample, user_row

READ = ["dynamodb BatchGetItem", "kms Decrypt"]
STORE = ["dynamodb TransactWriteItems"]
NOTE_SENT = ["dynamodb UpdateItem"]


@pytest.fixture
def line(cloud, monkeypatch):
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        settings.settings.cache_clear()
        yield simulator


def said(text, number):
    """Returns the queue's event for the documented user saying something."""
    event = sample("answer_line_event")
    (record,) = event["Records"]
    message = json.loads(record["body"])
    message["event"] |= {"webhookEventId": f"event-{number}", "replyToken": f"token-{number}"}
    message["event"]["timestamp"] += number
    message["event"]["message"]["text"] = text
    record["body"] = json.dumps(message)
    return event


def test_the_sample_is_what_the_webhook_queues(cloud, account):
    FUNCTIONS["receive_line_events"](sample("receive_line_events"), None)

    (queued,) = cloud.queued(answer_line_event.queue)
    (record,) = sample("answer_line_event")["Records"]
    names = ("MessageGroupId", "MessageDeduplicationId")
    assert queued["body"] == record["body"]
    assert {name: queued["attributes"][name] for name in names} == {name: record["attributes"][name] for name in names}


def test_takes_the_sample(cloud, account, line):
    line.set_person(USER_ID, display_name="Rex曾")

    with Calls() as calls:
        assert answer_line_event(sample("answer_line_event"), None) == {"batchItemFailures": []}

    # Nothing is saved that the text could start: no keyword, no error scenario.
    assert calls == [*READ, "dynamodb Query", "dynamodb Query", *STORE]
    assert line.sent == []
    at = datetime(2024, 1, 28, 6, 5, 33, 830000, tzinfo=UTC)
    picture = f"https://profile.example.com/{USER_ID}"
    user = user_row(user_picture=picture, account_status="1", follow_time=at, access_time=at)
    (row,) = cloud.rows("userlist")
    assert row == {**row, **{name: value["S"] for name, value in user.item().items() if name != "created_at"}}
    assert cloud.call(FUNCTIONS["get_user_count"], IDS) == ok({"data": 1})


def test_asks_and_keeps_the_reply_encrypted(cloud, account, line):
    reply = {"variable": {"id": {"name": "id"}}, "encryption": True}
    asks = node("ask", template={"type": "text", "text": "身分證？"}, userAction={"userReply": reply}, nextNode="thank")
    nodes = [asks, node("thank", 2, template={"type": "text", "text": "謝謝 {{id}}"})]
    assert cloud.call(FUNCTIONS["save_scenario"], documented("save_scenario", nodes=nodes)) == ok()
    for number in (1, 2):
        line.own_reply_token(f"token-{number}", USER_ID)

    calls = []
    for number, text in ((1, "Keyword1 "), (2, "A123456789")):
        with Calls() as made:
            assert answer_line_event(said(text, number), None) == {"batchItemFailures": []}
        calls.append(made)

    assert [delivery.message["text"] for delivery in line.sent] == ["身分證？", "謝謝 A123456789"]
    assert calls == [
        [*READ, "dynamodb Query", "dynamodb GetItem", *STORE, *NOTE_SENT],
        # The token was decrypted before; now the variable is sealed, and opened for the answer.
        ["dynamodb BatchGetItem", "dynamodb GetItem", "kms Encrypt", "kms Decrypt", *STORE, *NOTE_SENT],
    ]
