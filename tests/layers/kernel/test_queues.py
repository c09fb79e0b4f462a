"""Sending to a queue: in order, in batches that fit, and not without being told when something was left behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel import aws, queues, wire
from kernel.queues import Message, Queue, QueueRefused
from tests.layers.kernel.test_wire import Server, answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ORDERS = Queue("orders")


@pytest.fixture
def received(environment: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Takes what is on the queue."""
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    sqs = boto3.client("sqs", endpoint_url=environment, region_name="us-east-1")
    url = sqs.create_queue(QueueName=ORDERS.physical_name(), Attributes={"FifoQueue": "true"})["QueueUrl"]

    def receive() -> list[dict[str, Any]]:
        taken: list[dict[str, Any]] = []
        while True:
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
            for message in answer.get("Messages", []):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                taken.append(message)
            if "Messages" not in answer:
                return taken

    yield receive
    sqs.close()


@pytest.fixture
def calls() -> Iterator[list[aws.Call]]:
    seen: list[aws.Call] = []
    aws.observers.append(seen.append)
    yield seen
    aws.observers.remove(seen.append)


@pytest.fixture
def server(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(answers({"QueueUrl": "https://sqs/orders.fifo"})) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


def messages(count: int, text: str = "測") -> list[Message]:
    return [Message({"number": number, "text": text}, f"g{number % 2}", f"d{number}") for number in range(count)]


def batches(calls: list[aws.Call]) -> list[list[dict[str, Any]]]:
    return [call.payload["Entries"] for call in calls if call.action == "SendMessageBatch"]


def test_a_queue_is_named_for_its_stage(environment):
    assert ORDERS.physical_name() == "citypass-test-chatbot-orders.fifo"
    assert (ORDERS.attempts, ORDERS.visibility, ORDERS.batch, ORDERS.concurrency) == (8, 180, 10, None)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"batch": 0}, "queue orders: batches of 0, 1 to 10 are possible"),
        ({"batch": 11}, "queue orders: batches of 11, 1 to 10 are possible"),
        ({"concurrency": 1}, "queue orders: 1 at the same time, 2 to 1000 are possible"),
        ({"concurrency": 1001}, "queue orders: 1001 at the same time, 2 to 1000 are possible"),
    ],
)
def test_what_lambda_does_not_take_is_refused(how, told):
    with pytest.raises(ValueError, match=f"^{told}$"):
        Queue("orders", **how)


@pytest.mark.parametrize("how", [{"batch": 1, "concurrency": 2}, {"batch": 10, "concurrency": 1000}])
def test_a_queue_may_be_worked_on_in_small_steps_by_few(how):
    made = Queue("orders", **how)

    assert {"batch": made.batch, "concurrency": made.concurrency} == how


def test_messages_arrive_in_order_and_in_their_groups(received):
    ORDERS.send(messages(3))

    assert [
        (json.loads(m["Body"]), m["Attributes"]["MessageGroupId"], m["Attributes"]["MessageDeduplicationId"])
        for m in received()
    ] == [
        ({"number": 0, "text": "測"}, "g0", "d0"),
        ({"number": 1, "text": "測"}, "g1", "d1"),
        ({"number": 2, "text": "測"}, "g0", "d2"),
    ]


def test_a_message_that_is_sent_twice_arrives_once(received):
    ORDERS.send(messages(2))
    ORDERS.send(messages(3))

    assert [json.loads(message["Body"])["number"] for message in received()] == [0, 1, 2]


def test_messages_go_in_batches_of_ten(received, calls):
    ORDERS.send(message for message in messages(23))

    assert [len(batch) for batch in batches(calls)] == [10, 10, 3]
    assert batches(calls)[2] == [
        {
            "Id": str(place),
            "MessageBody": f'{{"number":{20 + place},"text":"\\u6e2c"}}',
            "MessageGroupId": f"g{place % 2}",
            "MessageDeduplicationId": f"d{20 + place}",
        }
        for place in range(3)
    ]
    assert [json.loads(message["Body"])["number"] for message in received()] == list(range(23))


def test_ten_are_one_batch(received, calls):
    ORDERS.send(messages(10))

    assert [len(batch) for batch in batches(calls)] == [10]


def test_no_message_is_no_call(environment, calls):
    ORDERS.send([])

    assert calls == []


def test_the_address_is_asked_for_once(received, calls):
    ORDERS.send(messages(1))
    ORDERS.send(messages(2)[1:])

    assert [call.action for call in calls] == ["GetQueueUrl", "SendMessageBatch", "SendMessageBatch"]
    assert calls[0].payload == {"QueueName": "citypass-test-chatbot-orders.fifo"}
    assert calls[1].payload["QueueUrl"] == calls[2].payload["QueueUrl"] == calls[0].answer["QueueUrl"]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers() | st.none(), max_size=3))
def test_a_body_leaves_in_characters_that_every_queue_takes(server, body):
    server.requests.clear()
    server.script = [answers({"QueueUrl": "u"}), answers({})]
    queues._url.cache_clear()

    ORDERS.send([Message(body, "g", "d")])

    (entry,) = json.loads(server.requests[1].body)["Entries"]
    assert entry["MessageBody"].isascii()
    assert all(character >= " " for character in entry["MessageBody"])
    assert json.loads(entry["MessageBody"]) == body


def sized(size: int, character: str = "x") -> Message:
    """A message whose body has `size` bytes."""
    frame, one = len('{"t":""}'), len(json.dumps(character)) - 2
    text = character * ((size - frame) // one)
    text += "x" * ((size - frame) % one)
    return Message({"t": text}, "g", str(size))


@pytest.mark.parametrize("character", ["x", "測", "\n"])
@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([125_000, 125_000], [[125_000, 125_000]]),
        ([125_000, 125_001], [[125_000], [125_001]]),
        ([1000, 249_000, 1000], [[1000, 249_000], [1000]]),
        ([250_000, 100], [[250_000], [100]]),
        ([250_000, 125_000, 125_000], [[250_000], [125_000, 125_000]]),
        ([100, 250_001, 100], [[100], [250_001], [100]]),
    ],
)
def test_a_batch_has_no_more_bytes_than_the_queue_takes(server, sizes, expected, character):
    server.script += [answers({"Successful": []})] * len(expected)

    ORDERS.send(sized(size, character) for size in sizes)

    sent = [json.loads(request.body)["Entries"] for request in server.requests[1:]]
    assert [[len(entry["MessageBody"].encode()) for entry in batch] for batch in sent] == expected


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(100, 200_000), max_size=25))
def test_however_long_they_are_all_messages_go_once_and_in_order(server, sizes):
    server.requests.clear()
    server.script = [answers({"QueueUrl": "u"}), *[answers({})] * len(sizes)]
    queues._url.cache_clear()

    ORDERS.send(sized(size) for size in sizes)

    sent = [json.loads(request.body)["Entries"] for request in server.requests[1:]]
    assert [len(entry["MessageBody"]) for batch in sent for entry in batch] == sizes
    for batch in sent:
        assert len(batch) <= 10
        assert [entry["Id"] for entry in batch] == [str(place) for place in range(len(batch))]
        assert sum(len(entry["MessageBody"]) for entry in batch) <= 250_000


def test_a_refused_message_is_told_and_nothing_more_is_sent(server):
    failed = [{"Id": "1", "Code": "InternalError", "SenderFault": False, "Message": "the-body"}]
    server.script += [answers({"Successful": [{"Id": "0"}], "Failed": failed}), answers({})]

    with pytest.raises(QueueRefused) as raised:
        ORDERS.send(messages(12))

    assert str(raised.value) == "orders: InternalError"
    assert len(server.requests) == 2


def test_a_later_batch_that_is_refused_is_told_too(server):
    server.script += [answers({"Failed": []}), answers({"Failed": [{"Id": "0"}]})]

    with pytest.raises(QueueRefused, match=r"^orders: None$"):
        ORDERS.send(messages(12))


def test_a_received_message_may_come_again_sooner(server):
    server.script += [answers(b""), answers(b"")]

    ORDERS.return_in("the-receipt", 15)
    ORDERS.return_in("another", 0)

    assert [request.headers["x-amz-target"] for request in server.requests] == [
        "AmazonSQS.GetQueueUrl",
        "AmazonSQS.ChangeMessageVisibility",
        "AmazonSQS.ChangeMessageVisibility",
    ]
    assert [json.loads(request.body) for request in server.requests[1:]] == [
        {"QueueUrl": "https://sqs/orders.fifo", "ReceiptHandle": "the-receipt", "VisibilityTimeout": 15},
        {"QueueUrl": "https://sqs/orders.fifo", "ReceiptHandle": "another", "VisibilityTimeout": 0},
    ]


def test_a_message_comes_again_when_it_was_told_to(received, environment):
    ORDERS.send(messages(1))
    sqs = boto3.client("sqs", endpoint_url=environment, region_name="us-east-1")
    url = sqs.get_queue_url(QueueName=ORDERS.physical_name())["QueueUrl"]
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.close()

    ORDERS.return_in(message["ReceiptHandle"], 0)

    assert [again["MessageId"] for again in received()] == [message["MessageId"]]


def test_a_queue_that_is_not_there_is_an_error(server):
    server.script = [answers({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "none"}, 400)]

    with pytest.raises(aws.AwsError, match="QueueDoesNotExist"):
        ORDERS.send(messages(1))

    assert queues._url.cache_info().currsize == 0
