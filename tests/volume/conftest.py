"""The tests at full size: the embedded DynamoDB in a process of its own, LINE's double in this one."""

import pytest

from chatbot import broadcast_runs
from local.broadcast_stage import stage
from local.line_simulator import LineSimulator

FOLLOWERS = 20_000


@pytest.fixture
def line():
    # What a broadcast sends was validated when it was saved, and is the same 40 times.
    with LineSimulator(validate=lambda messages: []) as simulator:
        yield simulator


@pytest.fixture
def ready(line, tmp_path, monkeypatch):
    """A channel with its followers, whose queues hand out every message twice."""
    # Only what runs in the worker's own thread can be interrupted.
    monkeypatch.setattr(broadcast_runs, "_WRITERS", 1)
    with stage(tmp_path, line.url, FOLLOWERS, times=2) as made:
        yield made
