"""Carries broadcasts out in this process: queues in memory, and workers that take turns, repeat, and are killed.

Everything goes through the functions' own handlers. AWS and LINE are called for real, through the kernel's one door;
only the queues are held here, because what they may do to a message is what has to be tried.
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import Message as Headers
from types import TracebackType
from typing import Any, Self, cast

from kernel import clock, queues, running, wire
from kernel.jobs import Worker

_REMEMBERED = timedelta(minutes=5)


class Killed(BaseException):
    """Ends a worker where it stands: no handler may take it for a fault of the message."""


@dataclass(eq=False)
class Sent:
    """A message on a queue; `left` is how often it has to be handled before it is gone."""

    queue: str
    group: str
    body: str
    left: int = 1
    received: int = 0
    number: str = field(default_factory=lambda: str(uuid.uuid4()))

    def record(self) -> dict[str, Any]:
        """Return the message as a worker receives it."""
        self.received += 1
        attributes = {"MessageGroupId": self.group, "ApproximateReceiveCount": str(self.received)}
        return {"messageId": self.number, "receiptHandle": self.number, "body": self.body, "attributes": attributes}


class Queues:
    """FIFO queues as SQS keeps them: in order within a group, a repetition within five minutes dropped.

    Every message is handled `times` times before it is gone.
    """

    def __init__(self, times: int = 1) -> None:
        self._times = times
        self._groups: dict[tuple[str, str], deque[Sent]] = {}
        self._seen: dict[tuple[str, str], datetime] = {}

    def answer(self, action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Return what SQS answers."""
        if action == "GetQueueUrl":
            return {"QueueUrl": f"memory:///{payload['QueueName']}"}
        if action == "SendMessageBatch":
            name = payload["QueueUrl"].rpartition("/")[2]
            for entry in payload["Entries"]:
                self._take(name, entry)
        return {}

    def _take(self, name: str, entry: Mapping[str, Any]) -> None:
        place = (name, entry["MessageDeduplicationId"])
        now = clock.now()
        if place not in self._seen or self._seen[place] + _REMEMBERED <= now:
            self._seen[place] = now
            group = entry["MessageGroupId"]
            waiting = self._groups.setdefault((name, group), deque())
            waiting.append(Sent(name, group, entry["MessageBody"], self._times))

    def first(self) -> list[Sent]:
        """Return what may be received: the first message of each group."""
        return [waiting[0] for waiting in self._groups.values() if waiting]

    def every(self) -> list[Sent]:
        """Return all messages."""
        return [sent for waiting in self._groups.values() for sent in waiting]

    def handled(self, sent: Sent) -> None:
        """Note that a message was handled; it may be gone already."""
        sent.left -= 1
        waiting = self._groups[sent.queue, sent.group]
        if sent.left <= 0 and sent in waiting:
            waiting.remove(sent)


class Door:
    """Stands in the kernel's door to AWS and the channels: answers for the queues, and calls `before` first.

    `calls` counts what went through, by AWS's action or LINE's path.
    """

    def __init__(self, held: Queues) -> None:
        self.before: Callable[[], None] | None = None
        self.calls: Counter[str] = Counter()
        self._held = held

    def __enter__(self) -> Self:
        self._send = wire.send
        wire.send = cast("Any", self._passed)
        queues._url.cache_clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        wire.send = self._send
        queues._url.cache_clear()

    def _passed(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float = 5.0
    ) -> wire.Reply:
        if self.before is not None:
            self.before()
        target = headers.get("x-amz-target", "")
        self.calls[target.rpartition(".")[2] or url.rpartition("/")[2]] += 1
        if target.startswith("AmazonSQS."):
            answer = self._held.answer(target.rpartition(".")[2], json.loads(body))
            return wire.Reply(200, cast("Any", Headers()), json.dumps(answer).encode())
        return self._send(method, url, headers, body, timeout=timeout)


def workers_by_queue(workers: Sequence[Worker]) -> dict[str, Worker]:
    """Return workers by the names of their queues."""
    return {worker.queue.physical_name(): worker for worker in workers}


def handle(workers: Mapping[str, Worker], sent: Sent) -> bool:
    """Let its worker handle a message once; False when it hands it back."""
    return not workers[sent.queue]({"Records": [sent.record()]}, None)["batchItemFailures"]


class _Lane:
    """A worker's place: one message at a time, in a thread that runs only when it is its turn."""

    def __init__(self) -> None:
        self.sent: Sent | None = None
        self.kill = False
        self.took = False
        self.running: running.Running | None = None
        self.go = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)


class Crew:
    """Workers that take turns at every call they make, as chance says, one at a time: the same seed, the same run.

    `kills` is the chance that a worker is killed before a call, `doubles` that a message which is being handled is
    handed to a second worker as well, as happens when the first is slow.
    """

    def __init__(
        self,
        held: Queues,
        door: Door,
        workers: Sequence[Worker],
        *,
        seed: int,
        size: int = 4,
        kills: float = 0.0,
        doubles: float = 0.0,
    ) -> None:
        self.killed = 0
        self.doubled = 0
        self.handled = 0
        self._held = held
        self._door = door
        self._workers = workers_by_queue(workers)
        self._chance = random.Random(seed)  # noqa: S311  a plan of accidents, not a secret
        self._lanes = [_Lane() for _ in range(size)]
        self._kills = kills
        self._doubles = doubles
        self._by_thread: dict[int, _Lane] = {}

    def run(self) -> None:
        """Handle messages until there are none."""
        threads = [threading.Thread(target=self._work, args=[lane]) for lane in self._lanes]
        for thread in threads:
            thread.start()
        self._door.before = self._pause
        try:
            while self._turn():
                pass
        finally:
            self._door.before = None
            for lane in self._lanes:
                lane.sent, lane.kill = None, True
                lane.go.release()
            for thread in threads:
                thread.join()

    def _turn(self) -> bool:
        """Let one worker go on to its next call, or begin; False when everything is done."""
        busy = [lane for lane in self._lanes if lane.sent is not None]
        idle = [lane for lane in self._lanes if lane.sent is None]
        out = {lane.sent for lane in busy}
        free = [sent for sent in self._held.first() if sent not in out]
        if idle and busy and self._chance.random() < self._doubles:
            self.doubled += 1
            free = [sent for sent in out if sent is not None][:1]
        if idle and free:
            idle[0].sent = self._chance.choice(free)
            busy.append(idle[0])
        if not busy:
            return False
        lane = self._chance.choice(busy)
        lane.kill = lane.running is not None and self._chance.random() < self._kills
        # Lambda runs one at a time, so what runs is known to the whole process.
        running._current = lane.running
        lane.go.release()
        lane.stopped.acquire()
        lane.running = running._current
        running._current = None
        return True

    def _work(self, lane: _Lane) -> None:
        self._by_thread[threading.get_ident()] = lane
        while True:
            lane.go.acquire()
            sent = lane.sent
            if sent is None:
                break
            try:
                if handle(self._workers, sent):
                    self._held.handled(sent)
                    self.handled += 1
            except Killed:
                self.killed += 1
            lane.sent = None
            lane.stopped.release()
        for connection in wire._kept.__dict__.pop("open", {}).values():
            connection.close()

    def _pause(self) -> None:
        lane = self._by_thread.get(threading.get_ident())
        if lane is None:
            return
        lane.stopped.release()
        lane.go.acquire()
        if lane.kill:
            raise Killed
