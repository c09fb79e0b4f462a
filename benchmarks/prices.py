"""What a measured broadcast would cost and take at AWS (us-east-1, on demand), with the formula that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.broadcast_runs import LANES, PERSONAL_LANES
from functions.chatbot.run_broadcast import run_broadcast
from functions.chatbot.send_broadcast_chunk import send_broadcast_chunk

if TYPE_CHECKING:
    from benchmarks.broadcast import Part, Run

READ_UNITS, WRITE_UNITS = 0.125, 0.625
GB_SECOND, LAMBDA_REQUESTS, SQS_REQUESTS = 0.0000133334, 0.20, 0.50
# A Lambda has one CPU at this memory, and of less memory as much less.
MB_A_CPU = 1769
DYNAMODB_SECONDS, LINE_SECONDS = 0.005, 0.2
# Batches of writes go out so many at the same time, everything else one after the other.
WRITERS = 8
TARGET = 10_000_000
MILLION = 1_000_000
_MEMORY = {worker.name: worker.memory for worker in (run_broadcast, send_broadcast_chunk)}

FORMULA = [
    "### How the cost and the time are computed",
    "",
    f"Per million items: ${READ_UNITS} read units, ${WRITE_UNITS} write units, ${LAMBDA_REQUESTS:.2f} Lambda requests,"
    f" ${SQS_REQUESTS:.2f} SQS FIFO requests; ${GB_SECOND:.10f} a GB-second (arm64).",
    "",
    "```",
    f"seconds of a worker = CPU s x {MB_A_CPU} / memory MB + LINE calls x {LINE_SECONDS} s",
    f"                    + (DynamoDB requests - write batches x {WRITERS - 1} / {WRITERS}) x {DYNAMODB_SECONDS} s",
    "Lambda USD          = seconds x memory MB / 1024 x GB-second + messages handled x request",
    "SQS USD             = (batches sent + 2 x messages handled) x request",
    f"time                = seconds of run_broadcast, then seconds of send_broadcast_chunk / {LANES} lanes"
    f" ({PERSONAL_LANES} where each gets his own messages)",
    "```",
    "",
    f"Assumed: {DYNAMODB_SECONDS * 1000:.0f} ms for a request to DynamoDB, {LINE_SECONDS * 1000:.0f} ms for a call to"
    " LINE; the CPU is this machine's. Storage, logs and LINE's own charges are not in it.",
]


def seconds(part: Part) -> float:
    """Return the billed seconds of a worker."""
    requests = part.requests - part.batches + part.batches / WRITERS
    waiting = requests * DYNAMODB_SECONDS + part.line * LINE_SECONDS
    return part.cpu * MB_A_CPU / _MEMORY[part.name] + waiting


def usd(run: Run) -> dict[str, float]:
    """Return what the broadcast costs, by service."""
    parts = run.parts
    gigabytes = sum(seconds(part) * _MEMORY[part.name] / 1024 for part in parts)
    handled = sum(part.messages for part in parts)
    return {
        "DynamoDB reads": sum(part.read for part in parts) * READ_UNITS / MILLION,
        "DynamoDB writes": sum(part.written for part in parts) * WRITE_UNITS / MILLION,
        "Lambda": gigabytes * GB_SECOND + handled * LAMBDA_REQUESTS / MILLION,
        "SQS": (sum(part.sqs for part in parts) + 2 * handled) * SQS_REQUESTS / MILLION,
    }


def minutes(run: Run, people: int) -> list[float]:
    """Return the minutes that so many people take to be frozen, slice after slice, and sent to, in lanes."""
    lanes = {send_broadcast_chunk.name: PERSONAL_LANES if run.way == "personal" else LANES}
    return [seconds(part) / lanes.get(part.name, 1) * people / run.people / 60 for part in run.parts]


def table(run: Run) -> list[str]:
    """Return the cost of a million persons and of ten million, and the time of these."""
    costs = usd(run)
    names = " | ".join(costs)
    lines = [f"| USD for | {names} | together | freezing | sending |", "|---" * (len(costs) + 4) + "|"]
    for people in (MILLION, TARGET):
        scaled = [cost * people / run.people for cost in costs.values()]
        cells = " | ".join(f"{cost:.2f}" for cost in scaled)
        freezing, sending = minutes(run, people)
        lines.append(f"| {people:,} | {cells} | {sum(scaled):.2f} | {freezing:.0f} min | {sending:.0f} min |")
    return lines
