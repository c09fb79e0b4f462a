import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.cloud import alone, free_port
from local.demo import Person
from local.line_webhook import follow_event

READS = ("getAccount", "getScenario", "getUsersList", "getChatHistory", "getVariable", "getTag")


@pytest.fixture
def waiting_person(channel: Any) -> Person:
    """Somebody whom the bot of the channel has just asked for a name."""
    reply = {"variable": {"name": {"name": "name"}}, "validate": {}, "encryption": True}
    ask = {"nodeId": "ask", "type": "text", "template": {"type": "text", "text": "名字？"}, "nextNode": "done"}
    done = {"nodeId": "done", "type": "text", "template": {"type": "text", "text": "{{name}}，又見面了"}}
    channel.save({**ask, "userAction": {"userReply": reply}}, done, trigger="follow")
    person: Person = channel.person()
    person.send(follow_event(person.user_id))
    assert [message["text"] for message in person.sees(1)] == ["名字？"]
    return person


def test_everything_survives_a_restart(channel: Any, waiting_person: Person) -> None:
    before = {name: channel.result(name) for name in READS}
    cloud = channel.stack.cloud

    with alone(cloud.folder):
        assert cloud.emulator.stop() is True
        assert cloud.start() is True

    assert {name: channel.result(name) for name in READS} == before
    waiting_person.say("小明")
    assert [message["text"] for message in waiting_person.sees(1)] == ["小明，又見面了"]


def test_everything_survives_a_crash(channel: Any, waiting_person: Person) -> None:
    before = {name: channel.result(name) for name in READS}
    cloud = channel.stack.cloud
    asked = time.time()
    _wait(lambda: _saved_since(cloud.folder / "state" / "dynamodb.json", asked), "MiniStack saved nothing")

    os.kill(json.loads((cloud.folder / "ministack.pid").read_text())["pid"], signal.SIGKILL)
    _wait(lambda: not cloud.emulator.running, "MiniStack lives on")
    assert cloud.start() is True

    assert {name: channel.result(name) for name in READS} == before
    waiting_person.say("小明")
    assert [message["text"] for message in waiting_person.sees(1)] == ["小明，又見面了"]


def test_everything_survives_a_move_to_another_port(channel: Any, waiting_person: Person) -> None:
    cloud = channel.stack.cloud
    elsewhere = replace(cloud, port=free_port())
    cloud.emulator.stop()
    try:
        elsewhere.start()
        waiting_person.webhook = waiting_person.webhook.replace(cloud.endpoint, elsewhere.endpoint)
        assert waiting_person.say("小明") == 200
        assert [message["text"] for message in waiting_person.sees(1)] == ["小明，又見面了"]
    finally:
        elsewhere.emulator.stop()
        cloud.start()


def _saved_since(file: Path, moment: float) -> bool:
    return file.exists() and file.stat().st_mtime > moment


def _wait(ready: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
