"""Calls to LINE, where what LINE answers decides; the whole conversation is tested with the simulator."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from kernel import clock, settings
from kernel.channels.line.client import LineClient, OverLimit, Profile, Refused, TryLater
from kernel.secrets import Secret
from tests.conftest import NOW
from tests.layers.kernel.test_wire import Server, answers

if TYPE_CHECKING:
    from collections.abc import Iterator

ANN = "Ucca1dab9cdaa6abf621f352b6a20e24b"
HELLO = [{"type": "text", "text": "hello"}]


@pytest.fixture
def line(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as made, clock.frozen(NOW):
        monkeypatch.setenv("LINE_API_ENDPOINT", made.url)
        settings.settings.cache_clear()
        yield made


@pytest.fixture
def client() -> LineClient:
    return LineClient(Secret("token"))


@pytest.mark.parametrize(
    ("answer", "profile"),
    [
        (answers({"displayName": "Ann", "pictureUrl": "https://p.example.com/a"}), ("Ann", "https://p.example.com/a")),
        (answers({"displayName": "Ann"}), ("Ann", "")),
        (answers({}, 404), None),
        (answers({}, 500), None),
        (answers(b"<html>"), None),
    ],
)
def test_a_profile_is_what_line_tells(line, client, answer, profile):
    line.script = [answer]

    assert client.profile(ANN) == (profile and Profile(*profile))
    assert line.requests[0].line == f"GET /v2/bot/profile/{ANN} HTTP/1.1"


def test_an_id_stays_one_part_of_the_address(line, client):
    line.script = [answers({}, 404)]

    client.profile("../info?x=")

    assert line.requests[0].line == "GET /v2/bot/profile/..%2Finfo%3Fx%3D HTTP/1.1"


@pytest.mark.parametrize(
    ("age", "statuses", "taken"),
    [
        (1, [200], True),
        (1, [400], False),
        (1, [500, 200], True),
        (1, [500, 400], True),
        (49, [500, 400], True),
        (50, [500, 400], False),
        (1200, [500, 400], False),
    ],
)
def test_a_refused_token_was_used_only_within_its_minute(line, client, age, statuses, taken):
    line.script = [answers({}, status) for status in statuses]

    assert client.reply("reply-token", HELLO, NOW - timedelta(seconds=age)) is taken
    assert len(line.requests) == len(statuses)


def test_a_reply_that_line_fails_on_three_times_is_tried_later(line, client):
    line.script = [answers({}, 500)] * 3

    with pytest.raises(TryLater):
        client.reply("reply-token", HELLO, NOW)


@pytest.mark.parametrize(
    ("status", "problem"), [(400, Refused), (401, TryLater), (403, TryLater), (429, OverLimit), (500, TryLater)]
)
def test_a_push_that_is_not_taken_says_why(line, client, status, problem):
    line.script = [answers({"message": "no"}, status)]

    with pytest.raises(problem) as raised:
        client.push(ANN, HELLO, "key")

    assert type(raised.value) is problem


@pytest.mark.parametrize("status", [200, 409])
def test_a_push_that_was_taken_before_is_taken(line, client, status):
    line.script = [answers({}, status)]

    client.push(ANN, HELLO, "123e4567-e89b-12d3-a456-426614174000")

    assert line.requests[0].headers["x-line-retry-key"] == "123e4567-e89b-12d3-a456-426614174000"
