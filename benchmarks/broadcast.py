"""What a broadcast costs; `python -m benchmarks.broadcast 100000 2000` prints its part of the README."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from benchmarks import prices
from benchmarks.people import ACCOUNT, ADMIN, conversation, followers
from benchmarks.stage import embedded, quietly, save_scenario
from benchmarks.units import Units
from kernel import aws, wire
from kernel.operations import event_of
from kernel.tables import Put, write_all
from local.broadcast_driver import Door, Queues, handle, workers_by_queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.cloud import Cloud

_SCENARIOS = {
    "common": ["The festival begins at six.", "Bring your pass: every gate opens with it."],
    "personal": ["The festival begins at six, {{city}}.", "Bring your pass: every gate opens with it."],
}
_SECONDS_AN_ANSWER = 60.0


class Part(NamedTuple):
    """What one of the workers took, all its messages together; `batches` of writes go out several at a time."""

    name: str
    messages: int
    cpu: float
    requests: int
    batches: int
    read: float
    written: float
    line: int
    sqs: int


class Run(NamedTuple):
    """A broadcast: `seconds` is what it took here, one message after the other, the embedded cloud included."""

    way: str
    people: int
    seconds: float
    parts: list[Part]


def _seed(people: int) -> None:
    write_all(map(Put, map(conversation, followers(people))), at_once=8)


def _booked(scenario_id: str) -> None:
    from functions.chatbot.schedule_broadcast import schedule_broadcast

    body = {
        "adminId": ADMIN,
        "accountId": ACCOUNT,
        "broadcastName": "bench",
        "broadcastScenarioId": scenario_id,
        "broadcastScenarioName": scenario_id,
        "broadcastStatus": "pending",
        "broadcastTime": (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%d %H:%M:%S"),
        "broadcastUsers": [],
        "segmentNames": [],
        "isSelectAll": True,
    }
    quietly(schedule_broadcast, event_of(schedule_broadcast, body, caller=ADMIN))


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Wait for every answer: for a page, the embedded cloud sorts the whole partition, and takes seconds of it."""
    send = wire.send

    def patient(*args: Any, timeout: float = _SECONDS_AN_ANSWER, **how: Any) -> wire.Reply:
        return send(*args, **how, timeout=max(timeout, _SECONDS_AN_ANSWER))

    wire.send = cast("Any", patient)
    try:
        yield
    finally:
        wire.send = send


def _together(name: str, *parts: Part) -> Part:
    return Part(name, *(sum(column) for column in list(zip(*parts, strict=True))[1:]))


def _carried_out(calls: list[aws.Call], ledger: Units) -> list[Part]:
    """Handle what is queued until nothing is left; return what each worker took."""
    from functions.chatbot.run_broadcast import run_broadcast
    from functions.chatbot.send_broadcast_chunk import send_broadcast_chunk
    from functions.chatbot.start_due import start_due

    workers = workers_by_queue([run_broadcast, send_broadcast_chunk])
    parts = {worker.name: Part(worker.name, 0, 0.0, 0, 0, 0.0, 0.0, 0, 0) for worker in workers.values()}
    held = Queues()
    with _patience(), Door(held) as door:
        with contextlib.redirect_stdout(io.StringIO()):
            start_due({}, None)
        ledger.add(calls)
        while ready := held.first():
            sent = ready[0]
            calls.clear()
            door.calls.clear()
            # What the ledger knows is not the worker's, and must not be looked through while it runs.
            gc.freeze()
            begun = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()) as said:
                took = handle(workers, sent)
            cpu = time.process_time() - begun
            if not took:
                raise SystemExit(f"handed back: {sent.body}\n{said.getvalue()[-2000:]}")
            held.handled(sent)
            name = workers[sent.queue].name
            read, written = ledger.add(calls)
            counted = sum(call.service == "dynamodb" for call in calls)
            line = sum(door.calls[path] for path in ("multicast", "push", "quota"))
            batches = sum(call.action == "BatchWriteItem" for call in calls)
            part = Part(name, 1, cpu, counted, batches, read, written, line, door.calls["SendMessageBatch"])
            parts[name] = _together(name, parts[name], part)
    return list(parts.values())


def measure(way: str, people: int) -> Run:
    """Broadcast to so many followers of a new channel and check that LINE's double had everybody once."""
    from infra.discovery import declarations

    calls: list[aws.Call] = []
    with embedded() as cloud:
        ledger = Units(declarations("chatbot").tables)
        aws.observers.append(calls.append)
        try:
            _seed(people)
            save_scenario(way, _SCENARIOS[way])
            _booked(way)
            begun = time.perf_counter()
            parts = _carried_out(calls, ledger)
            seconds = time.perf_counter() - begun
        finally:
            aws.observers.remove(calls.append)
        _check(cloud, people)
    return Run(way, people, seconds, parts)


def _check(cloud: Cloud, people: int) -> None:
    with urllib.request.urlopen(f"{cloud.simulator_url}/_simulator/deliveries") as answer:
        found: dict[str, Any] = json.load(answer)
    if found["people"] != people or found["twice"]:
        raise SystemExit(f"{found['people']} of {people} people were reached, {len(found['twice'])} more than once")


def _table(run: Run) -> list[str]:
    lines = [
        "| per 1,000 persons | CPU ms | DynamoDB requests | read units | write units | LINE calls | messages handled |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [*run.parts, _together("together", *run.parts)]
    thousands = run.people / 1000
    lines += [
        f"| {part.name} | {part.cpu * 1000 / thousands:.0f} | {part.requests / thousands:.1f} |"
        f" {part.read / thousands:.0f} | {part.written / thousands:.0f} |"
        f" {part.line / thousands:.1f} | {part.messages / thousands:.2f} |"
        for part in rows
    ]
    return lines


def main() -> None:
    """Measure and print."""
    sizes = {"common": int(sys.argv[1]), "personal": int(sys.argv[2])}
    print("## Broadcasts\n")
    print("The workers' handlers in this process, one message after the other, against the embedded cloud and LINE's")
    print("double; CPU is ours alone. Units are computed from the sizes of the rows by DynamoDB's rules, because the")
    print("embedded cloud counts every row as one. Everybody was reached exactly once.\n")
    for way, people in sizes.items():
        run = measure(way, people)
        cpu = sum(part.cpu for part in run.parts)
        print(f"### {people:,} followers, {'the same messages for all' if way == 'common' else 'messages for each'}\n")
        print(f"{people / run.seconds:,.0f} persons/s here, {people / cpu:,.0f} persons per second of our CPU.\n")
        print("\n".join(_table(run)))
        print("\n" + "\n".join(prices.table(run)) + "\n")
    print("\n".join(prices.FORMULA))


if __name__ == "__main__":
    main()
