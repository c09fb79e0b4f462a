"""What the chat-history CSV costs; `python -m benchmarks.csv_export 1000000` prints its part of the README."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import resource
import statistics
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.people import ACCOUNT, ADMIN, ROWS_A_PAGE, followers, list_pages
from benchmarks.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PEER_ROWS = 100_000
LIMIT_MB = 200
ROUNDS = 3
_DISTINCT_PAGES = 5


def _peak_mb() -> float:
    """Return the most memory this process ever had; the kernel's counter of a child would begin with its parent's."""
    with contextlib.suppress(FileNotFoundError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def export(rows: int) -> None:
    """Ask the operation for the CSV of so many rows, let the worker finish it, and print what it took as JSON."""
    from functions.chatbot.get_chat_history_csv import get_chat_history_csv
    from functions.chatbot.write_export import write_export
    from kernel.auth import PartnerKeyTable
    from kernel.operations import event_of

    body = {"adminId": ADMIN, "accountId": ACCOUNT, "startTime": "2020-01-01", "endTime": "2030-01-01"}
    event = event_of(get_chat_history_csv, body)
    event["headers"]["X-Partner-Key"] = "bench"
    pages = list_pages(followers(_DISTINCT_PAGES * ROWS_A_PAGE))
    partner = PartnerKeyTable(key_digest=PartnerKeyTable.digest("bench"), partner="bench", tenants={ADMIN})
    with (
        Transport(pages, rounds=rows // len(pages) // ROWS_A_PAGE) as transport,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        transport.keep(partner)
        idle, begun, started = _peak_mb(), time.process_time(), time.perf_counter()
        answer = get_chat_history_csv(event, None)
        while transport.queued:
            record = {"messageId": "1", "receiptHandle": "1", "body": transport.queued.pop(0)}
            if write_export({"Records": [record]}, None)["batchItemFailures"]:
                raise SystemExit("the worker failed")
        seconds, elapsed = time.process_time() - begun, time.perf_counter() - started
    if answer["statusCode"] not in (200, 303):
        raise SystemExit(f"{answer['statusCode']} {answer['body'][:300]}")
    stored = transport.stored or len(answer["body"])
    figures = {"cpu": seconds, "wall": elapsed, "idle": idle, "peak": _peak_mb(), "bytes": stored}
    print(json.dumps({**figures, "queries": transport.calls["Query"]}))


def _ours(pages: list[bytes]) -> Iterable[str]:
    from datetime import UTC, datetime

    from chatbot import reports
    from chatbot.exports import Order

    period = {"start": datetime(2020, 1, 1, tzinfo=UTC), "end": datetime(2030, 1, 1, tzinfo=UTC)}
    order = Order(kind="getChatHistoryCsv", admin_id=ADMIN, account_id=ACCOUNT, **period)
    with Transport(pages):
        # The first piece begins with the header, which the others do not write.
        for number, piece in enumerate(reports.pieces(order, None)):
            yield piece.text if number else piece.text.partition("\n")[2]


def _compared(rows: int) -> dict[str, float]:
    """Return the CPU seconds of each way of writing so many rows, run in turn; all must write the same."""
    from benchmarks.peers import csv_rows

    distinct = list_pages(followers(_DISTINCT_PAGES * ROWS_A_PAGE))
    pages = list(islice(cycle(distinct), rows // ROWS_A_PAGE))
    ways: dict[str, Callable[[list[bytes]], Iterable[str]]] = {
        "CityPass": _ours,
        "csv.writer": csv_rows.by_csv_writer,
        "boto3's types, csv.writer": csv_rows.by_boto3_types,
        "PynamoDB models, csv.writer": csv_rows.by_models,
    }
    spent: dict[str, list[float]] = {title: [] for title in ways}
    for _ in range(ROUNDS):
        digests = set()
        for title, way in ways.items():
            digest = hashlib.sha256()
            begun = time.process_time()
            for text in way(pages):
                digest.update(text.encode())
            spent[title].append(time.process_time() - begun)
            digests.add(digest.hexdigest())
        if len(digests) != 1:
            raise SystemExit("they write different files")
    return {title: statistics.median(seconds) for title, seconds in spent.items()}


def main() -> None:
    """Measure and print; with `--export`, be the process whose memory is measured."""
    if sys.argv[1] == "--export":
        export(int(sys.argv[2]))
        return
    rows = int(sys.argv[1])
    command = [sys.executable, "-m", "benchmarks.csv_export", "--export", str(rows)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout)
    print(f"## The chat-history CSV of {rows:,} rows\n")
    print(
        "getChatHistoryCsv and its worker in a process of their own; DynamoDB's answers are canned, S3 throws away.\n"
    )
    print("| rows/s of CPU | CPU s | elapsed s | file, MB | Queries | peak memory, MB | idle, MB | for the rows, MB |")
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {rows / figures['cpu']:,.0f} | {figures['cpu']:.1f} | {figures['wall']:.1f} |"
        f" {figures['bytes'] / 1e6:.0f} | {figures['queries']} | {figures['peak']:.0f} | {figures['idle']:.0f} |"
        f" {figures['peak'] - figures['idle']:.0f} |\n"
    )
    verdict = "kept" if figures["peak"] <= LIMIT_MB else "**broken**"
    print(f"At most {LIMIT_MB} MB of memory: {verdict}.\n")
    few = min(rows, PEER_ROWS)
    spent = _compared(few)
    print(f"The same lines by other means, {few:,} rows; ours signs its requests and reads whole answers:\n")
    print("| | rows/s | µs a row | ratio |\n|---|---|---|---|")
    for title, seconds in spent.items():
        print(f"| {title} | {few / seconds:,.0f} | {seconds * 1e6 / few:.2f} | {seconds / spent['CityPass']:.2f} |")


if __name__ == "__main__":
    main()
