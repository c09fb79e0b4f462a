"""`make test` and `make lint`: every check in turn, each under its own header; the first that fails ends it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from local.steps import ROOT, duration


class Phase(NamedTuple):
    """One check: what it is called, and its command."""

    name: str
    arguments: tuple[str, ...]


_FAST = "tests --ignore=tests/e2e --ignore=tests/infra --ignore=tests/volume -n 2 --dist loadfile"
LINT = (
    Phase("format", ("ruff", "format", "--check", "--quiet", ".")),
    Phase("lint", ("ruff", "check", "--quiet", ".")),
    Phase("types", ("mypy",)),
)
TEST = (
    *LINT,
    Phase("unit and integration tests", ("pytest", *_FAST.split())),
    Phase("volume tests", ("pytest", "tests/volume")),
    Phase("infra tests", ("pytest", "tests/infra")),
    Phase("OpenAPI document is fresh", ("infra.openapi", "--check")),
    Phase("LINE schema is fresh", ("infra.line_schema", "--check")),
    Phase("end-to-end tests", ("pytest", "tests/e2e")),
)


def run(phases: Sequence[Phase]) -> int:
    """Run the phases in their order; return 0, or what the first failing one returned."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(_PATHS)}
    for phase in phases:
        print(f"\n== {phase.name}", flush=True)
        started = time.monotonic()
        command = [sys.executable, "-m", *phase.arguments]
        code = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
        if code:
            print(f"\nFAILED: {phase.name} ({' '.join(('python -m', *phase.arguments))})", file=sys.stderr, flush=True)
            return code
        # pytest ends with a line that says how long it took.
        if phase.arguments[0] != "pytest":
            print(f"   {duration(time.monotonic() - started)}", flush=True)
    return 0


_PATHS = (".", "layers/kernel/python", "layers/chatbot/python", "layers/membership/python")


def main(arguments: Sequence[str]) -> int:
    """Run the checks named: `lint` or `test`."""
    return run({"lint": LINT, "test": TEST}[arguments[0]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
