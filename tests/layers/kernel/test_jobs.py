"""Jobs that let errors rise, and workers that keep the order of a group whatever fails."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from kernel import aws, jobs, queues, running
from kernel import settings as kernel_settings
from kernel.errors import Conflict
from kernel.grants import send, sign
from kernel.jobs import Job, Worker, job, worker
from kernel.operations import IncompleteDeclaration
from kernel.queues import Queue
from tests.layers.kernel.test_wire import Server, answers, closes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MINUTE = "rate(1 minute)"
ORDERS = Queue("orders", visibility=90)


class Order(BaseModel):
    number: int
    note: str = ""


@pytest.fixture
def logged(
    environment: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[], list[dict[str, Any]]]:
    """What a function that has just started writes; its logger has the test's own name, so that its lines come here."""
    monkeypatch.setenv("SYSTEM", hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16])
    kernel_settings.settings.cache_clear()
    running.logger.cache_clear()
    monkeypatch.setattr(running, "_cold", True)
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# ---- jobs


@pytest.mark.parametrize("schedule", [MINUTE, "rate(5 minutes)", "cron(0 3 * * ? *)"])
def test_a_job_is_what_was_declared(schedule):
    @job(schedule, uses=[sign()], memory=256, timeout=7)
    def clean_up() -> None:
        """Clean up."""

    assert isinstance(clean_up, Job)
    assert (clean_up.name, clean_up.schedule, clean_up.uses) == ("clean_up", schedule, (sign(),))
    assert (clean_up.memory, clean_up.timeout, clean_up.description) == (256, 7, "Clean up.")


def test_a_job_has_room_and_time_without_being_told():
    @job(MINUTE, uses=[])
    def clean_up() -> None:
        """Clean up."""

    assert (clean_up.memory, clean_up.timeout) == (512, 60)


@pytest.mark.parametrize("schedule", ["", "every minute", "at(2024-01-01T00:00:00)"])
def test_a_job_needs_a_schedule(schedule):
    def clean_up() -> None:
        """Clean up."""

    with pytest.raises(IncompleteDeclaration) as raised:
        job(schedule, uses=[])(clean_up)

    assert str(raised.value) == f"clean_up: {schedule!r} is no schedule"


def test_a_job_needs_a_description():
    def clean_up() -> None: ...

    with pytest.raises(IncompleteDeclaration, match=r"^clean_up: has no docstring$"):
        job(MINUTE, uses=[])(clean_up)


def test_a_job_runs_once_and_leaves_a_line(logged):
    seen = []

    @job(MINUTE, uses=[])
    def clean_up() -> None:
        """Clean up."""
        seen.append(running.current().operation)
        running.current().facts["cleaned"] = 3

    assert clean_up({"time": "2024-01-28T06:04:25Z"}, None) is None

    assert seen == ["clean_up"]
    (line,) = logged()
    assert {name: value for name, value in line.items() if name not in ("_aws", "Duration", "service")} == {
        "operation": "clean_up",
        "status": 200,
        "caller": "",
        "cold": True,
        "cleaned": 3,
        "dynamodb_calls": 0,
        "dynamodb_units": 0.0,
        "Errors": [0.0],
        "Refusals": [0.0],
    }


@pytest.mark.parametrize("problem", [ZeroDivisionError("the reason"), Conflict("taken")])
def test_an_error_of_a_job_rises_and_is_counted(logged, problem):
    @job(MINUTE, uses=[])
    def clean_up() -> None:
        """Clean up."""
        raise problem

    with pytest.raises(type(problem)) as raised:
        clean_up({}, None)

    assert raised.value is problem
    (line,) = logged()
    assert (line["status"], line["Errors"], line["Refusals"]) == (500, [1.0], [0.0])
    with pytest.raises(RuntimeError, match="nothing is running"):
        running.current()


# ---- workers: declaration


def test_a_worker_is_what_was_declared():
    @worker(ORDERS, uses=[send(ORDERS)], memory=256, timeout=89)
    def take_order(order: Order) -> None:
        """Take an order."""

    assert isinstance(take_order, Worker)
    assert (take_order.name, take_order.queue, take_order.message) == ("take_order", ORDERS, Order)
    assert (take_order.uses, take_order.memory, take_order.timeout) == ((send(ORDERS),), 256, 89)
    assert take_order.description == "Take an order."


def test_a_worker_has_room_and_time_without_being_told():
    @worker(ORDERS, uses=[])
    def take_order(order: Order) -> None:
        """Take an order."""

    assert (take_order.memory, take_order.timeout) == (512, 60)


def nothing() -> None:
    """Take nothing."""


def two(one: Order, other: Order) -> None:
    """Take two."""


def untyped(order) -> None:
    """Take anything."""


def plain_text(order: str) -> None:
    """Take a text."""


def listed(order: list[Order]) -> None:
    """Take several."""


@pytest.mark.parametrize("handler", [nothing, two, untyped, plain_text, listed])
def test_a_worker_takes_one_message(handler):
    with pytest.raises(IncompleteDeclaration) as raised:
        worker(ORDERS, uses=[])(handler)

    assert str(raised.value) == f"{handler.__name__}: takes one message, a pydantic model"


@pytest.mark.parametrize("timeout", [90, 91, 900])
def test_a_worker_must_end_before_its_message_is_handed_out_again(timeout):
    def take_order(order: Order) -> None:
        """Take an order."""

    with pytest.raises(IncompleteDeclaration) as raised:
        worker(ORDERS, uses=[], timeout=timeout)(take_order)

    assert str(raised.value) == "take_order: orders would hand a message out twice"


@pytest.mark.parametrize("timeout", [0, 25])
def test_a_worker_must_have_time_for_a_message(timeout):
    def take_order(order: Order) -> None:
        """Take an order."""

    with pytest.raises(IncompleteDeclaration) as raised:
        worker(ORDERS, uses=[], timeout=timeout)(take_order)

    assert str(raised.value) == f"take_order: {timeout} s are too short for a message"
    assert worker(ORDERS, uses=[], timeout=26)(take_order).timeout == 26


def test_a_worker_needs_a_description():
    def take_order(order: Order) -> None: ...

    with pytest.raises(IncompleteDeclaration, match=r"^take_order: has no docstring$"):
        worker(ORDERS, uses=[])(take_order)


# ---- workers: batches


def record(identifier: str, group: str, body: Any, attempt: int = 1) -> dict[str, Any]:
    return {
        "messageId": identifier,
        "receiptHandle": f"receipt of {identifier}",
        "attributes": {"MessageGroupId": group, "ApproximateReceiveCount": str(attempt)},
        "body": body if isinstance(body, str) else json.dumps(body),
    }


@pytest.fixture
def queue(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A queue that takes everything; after its address it is asked to hasten messages only."""
    with Server(answers({"QueueUrl": "https://sqs/orders.fifo"}), *[answers(b"")] * 99) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


def hastened(queue: Server) -> list[tuple[str, int]]:
    """The messages that come again sooner, and in how many seconds."""
    asked = [json.loads(request.body) for request in queue.requests[1:]]
    assert {request.headers["x-amz-target"] for request in queue.requests[1:]} <= {"AmazonSQS.ChangeMessageVisibility"}
    assert {payload["QueueUrl"] for payload in asked} <= {"https://sqs/orders.fifo"}
    return [(payload["ReceiptHandle"], payload["VisibilityTimeout"]) for payload in asked]


def taking(taken: list[int], failing: set[int]) -> Worker:
    @worker(ORDERS, uses=[])
    def take_order(order: Order) -> None:
        """Take an order."""
        taken.append(order.number)
        if order.number in failing:
            raise ValueError("the reason")

    return take_order


def failures(*identifiers: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}


def test_all_messages_of_a_batch_are_handled_in_order(logged, queue):
    taken: list[int] = []
    records = [record(f"m{number}", "ab"[number % 2], {"number": number}) for number in range(4)]

    assert taking(taken, set())({"Records": records}, None) == failures()

    assert taken == [0, 1, 2, 3]
    assert queue.requests == []
    assert [(line["operation"], line["status"], line["cold"]) for line in logged()] == [
        ("take_order", 200, True),
        ("take_order", 200, False),
        ("take_order", 200, False),
        ("take_order", 200, False),
    ]


def test_after_a_failure_the_group_waits_and_the_others_go_on(logged, queue):
    taken: list[int] = []
    groups = "abacbaa"
    records = [record(f"m{number}", group, {"number": number}) for number, group in enumerate(groups)]

    answer = taking(taken, {2})({"Records": records}, None)

    assert answer == failures("m2", "m5", "m6")
    assert taken == [0, 1, 2, 3, 4]
    lines = logged()
    news = [line for line in lines if line.get("message")]
    assert [(line["message"], line["worker"], line["message_id"]) for line in news] == [
        ("message failed", "take_order", "m2")
    ]
    assert news[0]["exception"].endswith("ValueError: the reason")
    assert [line["status"] for line in lines if not line.get("message")] == [200, 200, 500, 200, 200]


def test_messages_without_a_group_are_one_group(logged, queue):
    taken: list[int] = []
    records = [
        {"messageId": f"m{number}", "receiptHandle": "r", "body": json.dumps({"number": number})} for number in range(3)
    ]

    assert taking(taken, {1})({"Records": records}, None) == failures("m1", "m2")

    assert taken == [0, 1]


@pytest.mark.parametrize("body", ["", "no json", "[]", '{"number": "the-number"}', '{"note": "the-note"}'])
def test_a_message_that_breaks_the_schema_goes_back_without_being_quoted(logged, queue, body):
    taken: list[int] = []
    records = [record("m0", "a", body), record("m1", "a", {"number": 1}), record("m2", "b", {"number": 2})]

    assert taking(taken, set())({"Records": records}, None) == failures("m0", "m1")

    assert taken == [2]
    lines = logged()
    assert [line["message_id"] for line in lines if line.get("message")] == ["m0"]
    assert [line["Errors"] for line in lines if not line.get("message")] == [[1.0], [0.0]]
    assert "the-number" not in json.dumps(lines)
    assert "the-note" not in json.dumps(lines)


def test_a_schema_violation_says_what_is_wrong(logged, queue):
    taking([], set())({"Records": [record("m0", "a", '{"number": "x"}')]}, None)

    (line,) = [line for line in logged() if line.get("message")]
    assert line["exception"].endswith(
        "kernel.errors.Invalid: number must be a valid integer, unable to parse string as an integer"
    )


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes every pause the shortest or the longest that chance could make it."""

    def decide(which: str) -> None:
        decided = SimpleNamespace(randint=lambda low, high: low if which == "shortest" else high)
        monkeypatch.setattr(jobs, "random", decided)

    return decide


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"),
    [(1, 3, 5), (2, 8, 15), (3, 23, 45), (4, 68, 135), (5, 203, 405), (6, 300, 600), (7, 300, 600), (100, 300, 600)],
)
@pytest.mark.parametrize("which", ["shortest", "longest"])
def test_a_failed_message_comes_again_soon_and_later_each_time(
    logged, queue, chance, attempt, shortest, longest, which
):
    chance(which)
    seconds = shortest if which == "shortest" else longest
    seen = []

    @worker(ORDERS, uses=[])
    def take_order(order: Order) -> None:
        """Take an order."""
        seen.append(running.current().attempt)
        raise ValueError

    assert take_order({"Records": [record("m0", "a", {"number": 1}, attempt)]}, None) == failures("m0")

    assert seen == [attempt]
    assert hastened(queue) == [("receipt of m0", seconds)]


@settings(deadline=None)
@given(attempt=st.integers(1, 400), asked=st.none() | st.floats(0, 1e9))
def test_a_pause_is_between_half_and_all_of_its_time_or_what_was_asked_for(attempt, asked):
    longest = min(5 * 3 ** (attempt - 1), 600)

    pause = jobs._pause(attempt, asked)

    wanted = min(asked or 0, 3600)
    assert max(longest / 2, wanted) <= pause <= max(longest, wanted + 1)


class Busy(Exception):
    """Somebody asks to come back after `wait` seconds."""

    def __init__(self, wait: float | None) -> None:
        super().__init__()
        self.wait = wait


@pytest.mark.parametrize(
    ("wait", "attempt", "seconds"),
    [
        (None, 1, 5),
        (0, 1, 5),
        (4, 1, 5),
        (30, 1, 30),
        (30.2, 1, 31),
        (30, 4, 135),
        (3600, 1, 3600),
        (86400, 1, 3600),
        (86400, 100, 3600),
    ],
)
def test_who_asks_to_wait_is_waited_for_up_to_an_hour(logged, queue, chance, wait, attempt, seconds):
    chance("longest")

    @worker(ORDERS, uses=[])
    def take_order(order: Order) -> None:
        """Take an order."""
        raise Busy(wait)

    records = [record("m0", "a", {"number": 1}, attempt), record("m1", "a", {"number": 2})]
    assert take_order({"Records": records}, None) == failures("m0", "m1")

    assert hastened(queue) == [("receipt of m0", seconds), ("receipt of m1", seconds)]


def test_what_failed_is_hastened_with_its_group(logged, queue, chance):
    chance("longest")
    records = [record(f"m{number}", group, {"number": number}) for number, group in enumerate("aab")]

    assert taking([], {0, 2})({"Records": records}, None) == failures("m0", "m1", "m2")

    assert hastened(queue) == [("receipt of m0", 5), ("receipt of m1", 5), ("receipt of m2", 5)]


@pytest.mark.parametrize(
    "script",
    [[answers({"__type": "ReceiptHandleIsInvalid"}, 400)], [closes] * (aws.ATTEMPTS + 1)],
    ids=["refused", "unreachable"],
)
def test_a_message_that_cannot_be_hastened_goes_back_all_the_same(logged, queue, monkeypatch, script):
    monkeypatch.setattr(aws, "random", SimpleNamespace(uniform=lambda low, high: 0))
    queue.script = [answers({"QueueUrl": "https://sqs/orders.fifo"}), *script]
    taken: list[int] = []
    records = [record("m0", "a", {"number": 0}), record("m1", "b", {"number": 1})]

    assert taking(taken, {0})({"Records": records}, None) == failures("m0")

    assert taken == [0, 1]
    assert [line["message"] for line in logged() if line.get("message")] == [
        "message failed",
        "the message comes again when its queue says",
    ]


def lasting(*left: int) -> Any:
    """A context with so many milliseconds left, one after the other."""
    times = iter(left)
    return SimpleNamespace(get_remaining_time_in_millis=lambda: next(times))


def test_messages_for_which_no_time_is_left_go_back_untouched(logged, queue):
    taken: list[int] = []
    records = [record(f"m{number}", "abca"[number], {"number": number}) for number in range(4)]

    answer = taking(taken, set())({"Records": records}, lasting(60_000, 25_001, 25_000, 60_000))

    assert answer == failures("m2")
    assert taken == [0, 1, 3]
    assert hastened(queue) == [("receipt of m2", 0)]
    assert [line.get("message") for line in logged()] == [None] * 3


def test_a_group_for_which_no_time_was_left_keeps_its_order(logged, queue):
    taken: list[int] = []
    records = [record(f"m{number}", "a", {"number": number}) for number in range(3)]

    assert taking(taken, set())({"Records": records}, lasting(0, 60_000, 60_000)) == failures("m0", "m1", "m2")

    assert taken == []


def test_an_empty_batch_is_no_failure(logged):
    assert taking([], set())({"Records": []}, None) == failures()
    assert logged() == []


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=10))
def test_no_message_overtakes_one_of_its_group_that_failed(logged, queue, messages):
    queue.script = [answers({"QueueUrl": "https://sqs/orders.fifo"}), *[answers(b"")] * 11]
    queues._url.cache_clear()
    taken: list[int] = []
    failing = {number for number, (_, fails) in enumerate(messages) if fails}
    records = [record(f"m{number}", group, {"number": number}) for number, (group, _) in enumerate(messages)]

    answer = taking(taken, failing)({"Records": records}, None)

    back = [int(failure["itemIdentifier"][1:]) for failure in answer["batchItemFailures"]]
    for group in "abc":
        numbers = [number for number, (name, _) in enumerate(messages) if name == group]
        first = next((place for place, number in enumerate(numbers) if number in failing), len(numbers))
        assert [number for number in taken if number in numbers] == numbers[: first + 1]
        assert [number for number in back if number in numbers] == numbers[first:]
