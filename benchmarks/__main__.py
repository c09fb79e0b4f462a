"""`make bench`: measure, print, and write benchmarks/README.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import messages, save_tag
from infra.discovery import declarations, systems

README = Path(__file__).parent / "README.md"
HEAD = """# Measurements

Written by `make bench`; trust the ratios, not the milliseconds. CPU time of the measured process alone: DynamoDB is a
server of canned answers for saveTag, the embedded cloud for messages. Runs alternate between the subjects; medians.
"""


def _modules() -> list[tuple[str, str, int]]:
    """Return (system, function, loaded modules after import) of every function."""
    code = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(len(sys.modules))"
    counts = []
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
            counts.append((system, function.name, json.loads(done.stdout)))
    return counts


def main() -> None:
    """Measure everything and write the tables."""
    print("saveTag cold and warm, three subjects in turn …", flush=True)
    figures = save_tag.measure()
    base = figures[0]
    lines = [HEAD, f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}.", ""]
    lines += ["## saveTag: account and tag read, tag and audit entry written in one transaction", ""]
    lines += ["| | cold, ms | ratio | warm call, ms | ratio | modules |", "|---|---|---|---|---|---|"]
    for title, cold, warm, modules in figures:
        ratios = f"{cold / base.cold:.2f} | {warm:.2f} | {warm / base.warm:.2f}"
        lines.append(f"| {title} | {cold:.0f} | {ratios} | {modules} |")
    print("an inbound LINE text, 300 times …", flush=True)
    cost = messages.measure()
    lines += ["", "## One inbound LINE text answered with three nodes", ""]
    lines += ["| webhook, ms | worker, ms | DynamoDB requests | read units | write units |", "|---|---|---|---|---|"]
    lines.append(
        f"| {cost.webhook_ms:.2f} | {cost.worker_ms:.2f} | {cost.requests:.0f}"
        f" | {cost.read_units:.1f} | {cost.write_units:.1f} |"
    )
    print("modules of each function …", flush=True)
    lines += ["", "## Modules loaded by each function", "", "| system | function | modules |", "|---|---|---|"]
    lines += [f"| {system} | {name} | {count} |" for system, name, count in _modules()]
    text = "\n".join(lines) + "\n"
    README.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
