"""saveTag cold and warm, beside the same operation on other tools; alternating runs, medians of CPU time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COLD_RUNS = 15
WARM_RUNS = 9


class Subject(NamedTuple):
    """A way of doing saveTag."""

    title: str
    module: str
    attribute: str


SUBJECTS = (
    Subject("Powertools resolver (validating) + PynamoDB", "benchmarks.peers.powertools_pynamodb", "handler"),
    Subject("FastAPI + Mangum + boto3", "benchmarks.peers.fastapi_boto3", "handler"),
    Subject("CityPass", "functions.chatbot.save_tag", "save_tag"),
)


class Figure(NamedTuple):
    """Medians of one subject: CPU milliseconds and loaded modules."""

    title: str
    cold: float
    warm: float
    modules: int


def environment(endpoint: str) -> dict[str, str]:
    """Return the environment of a function whose DynamoDB is at `endpoint`."""
    layers = [".", "layers/kernel/python", "layers/chatbot/python", "layers/membership/python"]
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / layer) for layer in layers),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "save_tag",
        "STAGE": "bench",
        "SYSTEM": "chatbot",
    }


def _run(subject: Subject, mode: str, endpoint: str) -> tuple[float, int]:
    command = [sys.executable, "-m", "benchmarks.subject", subject.module, subject.attribute, mode]
    done = subprocess.run(command, env=environment(endpoint), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{subject.title}: {done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    return result["ms"], result["modules"]


def measure() -> list[Figure]:
    """Return the figures of all subjects, measured in turn so that the machine's moods meet all of them."""
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.canned"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        cold: dict[Subject, list[float]] = {subject: [] for subject in SUBJECTS}
        warm: dict[Subject, list[float]] = {subject: [] for subject in SUBJECTS}
        modules: dict[Subject, int] = {}
        for subject in SUBJECTS:
            _run(subject, "cold", endpoint)  # fills the bytecode caches
        for _ in range(COLD_RUNS):
            for subject in SUBJECTS:
                cost, modules[subject] = _run(subject, "cold", endpoint)
                cold[subject].append(cost)
        for _ in range(WARM_RUNS):
            for subject in SUBJECTS:
                warm[subject].append(_run(subject, "warm", endpoint)[0])
    finally:
        server.terminate()
        server.wait()
    return [Figure(s.title, statistics.median(cold[s]), statistics.median(warm[s]), modules[s]) for s in SUBJECTS]
