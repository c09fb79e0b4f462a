"""What recharges and payments cost; `python -m benchmarks.membership 200 800` prints its part of the README.

The first number is how often each is measured alone, the second how many are done for the operations a second.
`python -m benchmarks.membership cold` pays once in a fresh process and prints what that took.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import time

STARTED = time.process_time()

from datetime import timedelta  # noqa: E402
from typing import TYPE_CHECKING, Any, NamedTuple  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel import aws
    from local.shop_stage import Request, Stage

# us-east-1, on demand: a million units of DynamoDB, of Lambda's and API Gateway's requests; a GB-second.
READ_UNITS, WRITE_UNITS, LAMBDA_REQUESTS, API_REQUESTS = 0.125, 0.625, 0.20, 3.50
GB_SECOND = {"x86": 0.0000166667, "arm": 0.0000133334}
MEMORY = 512
# A Lambda has one CPU at this memory, and of less memory as much less; DynamoDB takes that long to answer.
MB_A_CPU, DYNAMODB_SECONDS = 1769, 0.005
CALLERS = (1, 8)
COLD_RUNS = 9
LOTS = 10
LIST_ROWS = 300
COLD_PHONE = "13900000099"


class Cost(NamedTuple):
    """Medians of one operation; `hashing` is the part of its CPU that the password's hash takes."""

    title: str
    requests: float
    read: float
    written: float
    cpu: float
    hashing: float

    @property
    def billed(self) -> float:
        """The milliseconds that a Lambda would be paid for."""
        return self.cpu * MB_A_CPU / MEMORY + self.requests * DYNAMODB_SECONDS * 1000

    def usd(self, processor: str) -> dict[str, float]:
        """Return what a million of them cost, by service."""
        gigabytes = self.billed / 1000 * MEMORY / 1024
        return {
            "DynamoDB": self.read * READ_UNITS + self.written * WRITE_UNITS,
            "Lambda": gigabytes * GB_SECOND[processor] * 1e6 + LAMBDA_REQUESTS,
            "API Gateway": API_REQUESTS,
        }


def _phone(number: int) -> str:
    return f"138{number:08d}"


class Meter:
    """Calls operations one after the other and measures each."""

    def __init__(self, stage: Stage) -> None:
        """Follow the rows of the stage's tables from the beginning."""
        from benchmarks.units import Units
        from infra.discovery import declarations
        from kernel import aws

        self.stage = stage
        self.calls: list[aws.Call] = []
        self.ledger = Units(declarations("membership").tables)
        aws.observers.append(self.calls.append)

    def close(self) -> None:
        """Follow no more."""
        from kernel import aws

        aws.observers.remove(self.calls.append)

    def settle(self) -> None:
        """Take what was called so far into account."""
        self.ledger.add(self.calls)
        self.calls.clear()

    def measure(self, title: str, requests: Iterator[Request]) -> Cost:
        """Return the medians of the requests."""
        from local import shop_stage

        figures = []
        operations = shop_stage.operations()
        for request in requests:
            operation = operations[request.operation]
            event = shop_stage.event(operation, request)
            self.settle()
            with contextlib.redirect_stdout(io.StringIO()), _hashing() as hashing:
                begun = time.process_time()
                answer = operation(event, None)
                cpu = time.process_time() - begun
            if json.loads(answer["body"])["errCode"] != 0:
                raise SystemExit(f"{title}: {answer['body']}")
            asked = len(self.calls)
            read, written = self.ledger.add(self.calls)
            self.calls.clear()
            figures.append((asked, read, written, cpu * 1000, sum(hashing) * 1000))
        return Cost(title, *(statistics.median(column) for column in zip(*figures, strict=True)))


@contextlib.contextmanager
def _hashing() -> Iterator[list[float]]:
    """Collect the CPU seconds of password hashes inside the block."""
    from membership import pay_passwords

    spent: list[float] = []
    scrypt: Callable[..., bytes] = pay_passwords._scrypt

    def timed(*args: Any, **how: Any) -> bytes:
        begun = time.process_time()
        made = scrypt(*args, **how)
        spent.append(time.process_time() - begun)
        return made

    pay_passwords._scrypt = timed
    try:
        yield spent
    finally:
        pay_passwords._scrypt = scrypt


def _costs(meter: Meter, times: int) -> list[Cost]:
    from local.shop_stage import ACTIVITY, PAID, STORED_VALUE, Request, payment, recharge

    stage = meter.stage
    stored, one, other = (_phone(number) for number in range(1, 4))
    stage.card(stored, STORED_VALUE, paid=10_000_000)
    stage.card(one, ACTIVITY, lots=1)
    stage.card(other, ACTIVITY)

    def named(operation: str, what: str, fields: dict[str, Any], count: int = times) -> Iterator[Request]:
        return (Request(operation, fields, f"{what} {number}") for number in range(count))

    def from_all_lots() -> Iterator[Request]:
        """Payments that take the principal of so many lots each, from a card of its own each."""
        for number in range(max(times // LOTS, 5)):
            phone = _phone(1000 + number)
            stage.card(phone, ACTIVITY, lots=LOTS)
            yield Request("spend_from_card", payment(phone, ACTIVITY, PAID * LOTS), f"all {number}")

    spend = "spend_from_card"
    paid = payment(stored, STORED_VALUE, 1)
    stage.ask(spend, "again", **paid)
    # A card may have 45 lots that hold money.
    few = min(times, 40)
    return [
        meter.measure("payment, stored-value card", named(spend, "stored", paid)),
        meter.measure("payment, activity card, from 1 lot", named(spend, "one", payment(one, ACTIVITY, 1))),
        meter.measure(f"payment, activity card, from {LOTS} lots", from_all_lots()),
        meter.measure("the same payment asked for again", (Request(spend, paid, "again") for _ in range(times))),
        meter.measure(
            "recharge, stored-value card", named("recharge_card", "paid", recharge(stored, STORED_VALUE, 100, 0))
        ),
        meter.measure("recharge, activity card", named("recharge_card", "lot", recharge(other, ACTIVITY), few)),
    ]


def _throughput(stage: Stage, count: int) -> list[tuple[str, dict[int, float]]]:
    """Return operations a second, by how many ask at the same time, each of his own card."""
    from local.shop_stage import STORED_VALUE, Request, payment, recharge

    phones = [_phone(100 + number) for number in range(max(CALLERS))]
    for phone in phones:
        stage.card(phone, STORED_VALUE, paid=10_000_000)
    asked: list[tuple[str, str, Callable[[str], dict[str, Any]]]] = [
        ("payments", "spend_from_card", lambda phone: payment(phone, STORED_VALUE, 1)),
        ("recharges", "recharge_card", lambda phone: recharge(phone, STORED_VALUE, 100, 0)),
    ]
    found = []
    for title, operation, fields in asked:
        speeds = {}
        for callers in CALLERS:
            requests = [
                Request(operation, fields(phones[number % callers]), f"{title} {callers} {number}")
                for number in range(count)
            ]
            begun = time.perf_counter()
            told = stage.at_once(requests, callers)
            speeds[callers] = count / (time.perf_counter() - begun)
            if any(one.body["errCode"] for one in told):
                raise SystemExit(f"{title}: {[one.body for one in told if one.body['errCode']][:3]}")
        found.append((title, speeds))
    return found


def _list_page(meter: Meter) -> Cost:
    """Return the cost of a page of the recharges, the older of which are packed."""
    from kernel import clock
    from local.shop_stage import STORED_VALUE, Request, recharge

    stage = meter.stage
    # Ten minutes later they are all old enough.
    for _ in range(LIST_ROWS):
        stage.do("recharge_card", **recharge(_phone(1), STORED_VALUE, 100, 0))
    with clock.frozen(clock.now() + timedelta(minutes=20)):
        _pack()
        return meter.measure(
            f"page of 14 recharges of {len(_listed(stage)):,}",
            (Request("list_recharges", {"phone": "0001"}, f"page {number}") for number in range(100)),
        )


def _listed(stage: Stage) -> list[Any]:
    from kernel.listings import ListedTable

    return [row for row in stage.rows(ListedTable) if row.book.startswith("recharges#")]


def _pack() -> None:
    from functions.membership.pack_list import pack_list

    body = json.dumps({"name": "recharges#store#3", "wider": False, "by_number": False, "own": ""})
    record = {"messageId": "1", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
    with contextlib.redirect_stdout(io.StringIO()):
        if pack_list({"Records": [record]}, None)["batchItemFailures"]:
            raise SystemExit("the list is not packed")


def _cold(stage: Stage) -> list[tuple[str, float, int]]:
    """Return CPU milliseconds and modules of a payment and of saveTag, each once in fresh processes."""
    from benchmarks import save_tag
    from local.shop_stage import STORED_VALUE

    stage.card(COLD_PHONE, STORED_VALUE, paid=100_000)
    city_pass = save_tag.SUBJECTS[-1]
    ours: list[float] = []
    theirs: list[float] = []
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.canned"], cwd=save_tag.ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            endpoint = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            modules = paid_modules = 0
            for number in range(COLD_RUNS + 1):
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.membership", "cold", f"cold {number}"],
                    cwd=save_tag.ROOT,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                figure = json.loads(done.stdout.splitlines()[-1])
                cost, modules = save_tag._run(city_pass, "cold", endpoint)
                paid_modules = figure["modules"]
                # The first run fills the bytecode caches.
                if number:
                    ours.append(figure["ms"])
                    theirs.append(cost)
        finally:
            server.terminate()
    return [
        ("spend_from_card, its hash included", statistics.median(ours), paid_modules),
        ("saveTag", statistics.median(theirs), modules),
    ]


def _once(key: str) -> None:
    """Pay once in this fresh process."""
    with contextlib.redirect_stdout(io.StringIO()):
        from functions.membership.spend_from_card import spend_from_card
        from kernel.operations import event_of

        event = event_of(spend_from_card, json.loads(os.environ["COLD_BODY"]))
        event["headers"]["Idempotency-Key"] = key
        answer = spend_from_card(event, None)
        cost = (time.process_time() - STARTED) * 1000
    if json.loads(answer["body"])["errCode"] != 0:
        raise SystemExit(answer["body"])
    print(json.dumps({"ms": cost, "modules": len(sys.modules)}))


def _tables(costs: list[Cost], speeds: list[tuple[str, dict[int, float]]], cold: list[tuple[str, float, int]]) -> None:
    print("## Money at the till: recharges and payments")
    print()
    print("DynamoDB is the embedded cloud; units are what the sizes of the rows come to at AWS, session and account")
    print("included. CPU is our process alone.")
    print()
    print("| | AWS requests | read units | write units | CPU, ms | of it the password's hash, ms | without it, ms |")
    print("|---|---|---|---|---|---|---|")
    for cost in costs:
        print(
            f"| {cost.title} | {cost.requests:.0f} | {cost.read:.1f} | {cost.written:.1f} | {cost.cpu:.2f}"
            f" | {cost.hashing:.2f} | {cost.cpu - cost.hashing:.2f} |"
        )
    print()
    print("Operations a second here, emulator and callers (processes, a card each) on the same cores:")
    print()
    print("| | " + " | ".join(f"{callers} caller{'s' if callers > 1 else ''}" for callers in CALLERS) + " |")
    print("|---" * (len(CALLERS) + 1) + "|")
    for title, by_callers in speeds:
        print(f"| {title} | " + " | ".join(f"{by_callers[callers]:.0f}" for callers in CALLERS) + " |")
    print()
    print("USD a million, us-east-1, on demand:")
    print()
    print("| | DynamoDB | Lambda ms billed | Lambda x86 | Lambda arm | API Gateway | together, x86 | together, arm |")
    print("|---|---|---|---|---|---|---|---|")
    for cost in costs:
        x86, arm = cost.usd("x86"), cost.usd("arm")
        print(
            f"| {cost.title} | {x86['DynamoDB']:.2f} | {cost.billed:.0f} | {x86['Lambda']:.2f} | {arm['Lambda']:.2f}"
            f" | {API_REQUESTS:.2f} | {sum(x86.values()):.2f} | {sum(arm.values()):.2f} |"
        )
    print()
    print(
        f"Prices: ${READ_UNITS} a million read units, ${WRITE_UNITS} a million write units; Lambda of {MEMORY} MB,"
        f" ${GB_SECOND['x86']:.10f} (x86) and ${GB_SECOND['arm']:.10f} (arm) a GB-second and ${LAMBDA_REQUESTS:.2f} a"
        f" million requests; REST API ${API_REQUESTS:.2f} a million. Milliseconds billed = CPU x {MB_A_CPU} / {MEMORY}"
        f" + AWS requests x {DYNAMODB_SECONDS * 1000:.0f} ms; the CPU is this machine's. Storage, logs and backups are"
        " not in it."
    )
    print()
    print("| cold: import and first call | CPU, ms | modules |")
    print("|---|---|---|")
    for title, milliseconds, modules in cold:
        print(f"| {title} | {milliseconds:.0f} | {modules} |")


def main() -> None:
    """Measure and print, or pay once and print."""
    if sys.argv[1] == "cold":
        _once(sys.argv[2])
        return
    import tempfile
    from pathlib import Path

    from local.shop_stage import STORED_VALUE, TOKEN, payment, stage

    times, count = map(int, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as made:
        meter = Meter(made)
        costs = _costs(meter, times)
        costs.append(_list_page(meter))
        meter.close()
        speeds = _throughput(made, count)
        os.environ["COLD_BODY"] = json.dumps({"token": TOKEN, **payment(COLD_PHONE, STORED_VALUE, 1)})
        cold = _cold(made)
    _tables(costs, speeds, cold)


if __name__ == "__main__":
    main()
