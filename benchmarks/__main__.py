"""`make bench`: measure, print, and write benchmarks/README.md; `python -m benchmarks --only csv --sizes 100000`.

With `--only` one part is measured and printed, and the README stays as it is; `--sizes` are that part's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import messages, save_tag
from infra.discovery import declarations, systems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

README = Path(__file__).parent / "README.md"
HEAD = """# Measurements

Written by `make bench`; trust the ratios, not the milliseconds. CPU time of the measured process alone, medians of runs
that alternate between the subjects. AWS is canned answers, or the embedded cloud for messages, broadcasts and money.
"""
# What is measured in a process of its own, whose memory and environment nothing else has touched, and how much of it.
PROCESSES = {
    "segments": ("benchmarks.segments", ("200000",)),
    "csv": ("benchmarks.csv_export", ("1000000",)),
    "broadcast": ("benchmarks.broadcast", ("100000", "2000")),
    "membership": ("benchmarks.membership", ("200", "400")),
}


def _environment() -> dict[str, str]:
    return save_tag.environment("http://127.0.0.1:1") | {
        "FILES_BUCKET": "files",
        "PUBLIC_URL": "https://chat.example.com",
        "SIGNING_SECRET": "secret",
        "KEY_ID": "key",
        "PYTHONUTF8": "1",
    }


def _in_process(module: str, sizes: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", module, *sizes]
    done = subprocess.run(
        command, cwd=save_tag.ROOT, env=_environment(), stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SystemExit(f"{module} failed")
    return done.stdout.rstrip().splitlines()


def _save_tag() -> list[str]:
    figures = save_tag.measure()
    base = figures[0]
    lines = ["## saveTag: account and tag read, tag and audit entry written in one transaction", ""]
    lines += ["| | cold, ms | ratio | warm call, ms | ratio | modules |", "|---|---|---|---|---|---|"]
    for title, cold, warm, modules in figures:
        ratios = f"{cold / base.cold:.2f} | {warm:.2f} | {warm / base.warm:.2f}"
        lines.append(f"| {title} | {cold:.0f} | {ratios} | {modules} |")
    return lines


def _messages() -> list[str]:
    cost = messages.measure()
    return [
        "## One inbound LINE text answered with three nodes",
        "",
        "| webhook, ms | worker, ms | DynamoDB requests | read units | write units |",
        "|---|---|---|---|---|",
        f"| {cost.webhook_ms:.2f} | {cost.worker_ms:.2f} | {cost.requests:.0f}"
        f" | {cost.read_units:.1f} | {cost.write_units:.1f} |",
    ]


def _modules() -> list[str]:
    """Return how many modules are loaded after the import of each function."""
    code = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(len(sys.modules))"
    lines = ["## Modules loaded by each function", "", "| system | function | modules |", "|---|---|---|"]
    for system in systems():
        for function in declarations(system).functions:
            done = subprocess.run(
                [sys.executable, "-c", code, f"functions.{system}.{function.name}"],
                env=save_tag.environment("http://127.0.0.1:1"),
                cwd=save_tag.ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
            lines.append(f"| {system} | {function.name} | {json.loads(done.stdout)} |")
    return lines


def main() -> None:
    """Measure everything and write the tables, or measure one part and print it."""
    names = ("save_tag", "messages", *PROCESSES, "modules")
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", choices=names, help="measure one part and print it")
    parser.add_argument(
        "--sizes", nargs="+", type=int, help="how much that part measures; broadcast and membership take two"
    )
    chosen = parser.parse_args()
    if chosen.sizes and chosen.only not in PROCESSES:
        parser.error(f"--sizes goes with --only {' or '.join(PROCESSES)}")
    here: dict[str, Callable[[], list[str]]] = {"save_tag": _save_tag, "messages": _messages, "modules": _modules}
    lines = [HEAD, f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}."]
    for name in [chosen.only] if chosen.only else names:
        print(f"{name} …", file=sys.stderr, flush=True)
        if name in here:
            part = here[name]()
        else:
            module, sizes = PROCESSES[name]
            part = _in_process(module, [str(size) for size in chosen.sizes or sizes])
        lines += ["", *part]
    text = "\n".join(lines) + "\n"
    if not chosen.only:
        README.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
