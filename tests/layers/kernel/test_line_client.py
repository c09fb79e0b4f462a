"""Calls to LINE, where what LINE answers decides; the whole conversation is tested with the simulator."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from kernel import clock, settings
from kernel.channels import faults
from kernel.channels.line.client import LineClient, OverLimit, Profile, Quota, Refused, TryLater
from kernel.secrets import Secret
from tests.conftest import NOW
from tests.layers.kernel.test_wire import Server, answers, closes

if TYPE_CHECKING:
    from collections.abc import Iterator

ANN = "Ucca1dab9cdaa6abf621f352b6a20e24b"
HELLO = [{"type": "text", "text": "hello"}]
KEY = "123e4567-e89b-12d3-a456-426614174000"


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


def test_a_call_lost_after_the_tokens_minute_did_not_use_it(line, client):
    line.script = [answers({}, 500), answers({}, 500), answers({}, 400)]

    assert client.reply("reply-token", HELLO, NOW - timedelta(seconds=50)) is False


@pytest.mark.parametrize("lost", [answers({}, 500), closes])
@pytest.mark.parametrize(
    ("statuses", "calls"),
    [([429, 400], 3), ([429, 200], 3), ([401, 400], 3), ([429, 429], 3), ([401, 401], 3), ([403, 404], 3), ([400], 2)],
)
def test_a_reply_whose_answer_was_lost_is_never_asked_to_be_pushed(line, client, lost, statuses, calls):
    line.script = [lost, *(answers({}, status) for status in statuses)]

    assert client.reply("reply-token", HELLO, NOW) is True
    assert len(line.requests) == calls
    assert len({request.body for request in line.requests}) == 1


def test_a_reply_whose_answers_are_all_lost_or_failures_is_tried_later(line, client):
    line.script = [closes, answers({}, 429), answers({}, 503, Retry_After="9")]

    with pytest.raises(TryLater) as raised:
        client.reply("reply-token", HELLO, NOW)

    assert (type(raised.value), raised.value.wait) == (TryLater, 9.0)


@pytest.mark.parametrize(
    ("status", "problem"), [(401, TryLater), (403, TryLater), (404, Refused), (413, Refused), (429, OverLimit)]
)
def test_a_reply_that_was_surely_not_sent_says_why(line, client, status, problem):
    line.script = [answers({"message": "no"}, status)]

    with pytest.raises(problem) as raised:
        client.reply("reply-token", HELLO, NOW)

    assert type(raised.value) is problem
    assert len(line.requests) == 1


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


@pytest.mark.parametrize(
    ("status", "asked", "wait"),
    [
        (429, {"Retry_After": "7"}, 7.0),
        (429, {}, None),
        (503, {"Retry_After": "120"}, 120.0),
        (503, {"Retry_After": "Sun, 28 Jan 2024 06:41:29 GMT"}, None),
        (500, {"Retry_After": "-1"}, None),
    ],
)
def test_says_how_long_line_asks_to_wait(line, client, status, asked, wait):
    line.script = [answers({}, status, **asked)]

    with pytest.raises(TryLater) as raised:
        client.push(ANN, HELLO, KEY)

    assert raised.value.wait == wait


def test_the_faults_are_those_of_all_channels():
    assert (TryLater, OverLimit, Refused, Profile) == (
        faults.TryLater,
        faults.OverLimit,
        faults.Refused,
        faults.Profile,
    )


@pytest.mark.parametrize("status", [200, 409])
def test_a_multicast_that_was_taken_before_is_taken(line, client, status):
    line.script = [answers({}, status)]

    client.multicast([ANN, ANN.upper()], HELLO, KEY)

    (request,) = line.requests
    assert request.line == "POST /v2/bot/message/multicast HTTP/1.1"
    assert request.headers["x-line-retry-key"] == KEY
    assert json.loads(request.body) == {"to": [ANN, ANN.upper()], "messages": HELLO}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (answers({}, 400), Refused),
        (answers({}, 401), TryLater),
        (answers({}, 429), OverLimit),
        (answers({}, 500), TryLater),
        (closes, TryLater),
    ],
)
def test_a_multicast_that_is_not_taken_says_why(line, client, answer, problem):
    line.script = [answer]

    with pytest.raises(problem) as raised:
        client.multicast([ANN], HELLO, KEY)

    assert type(raised.value) is problem


@pytest.mark.parametrize("number", [0, 501])
def test_a_multicast_is_for_one_to_500(line, client, number):
    with pytest.raises(ValueError, match=f"a call takes 1 to 500 users, not {number}"):
        client.multicast([ANN] * number, HELLO, KEY)

    assert line.requests == []


@pytest.mark.parametrize(
    ("limit", "quota"), [({"type": "none"}, Quota(None, 12)), ({"type": "limited", "value": 1000}, Quota(1000, 12))]
)
def test_the_quota_is_what_line_tells(line, client, limit, quota):
    line.script = [answers(limit), answers({"totalUsage": 12})]

    assert client.quota() == quota
    assert [request.line for request in line.requests] == [
        "GET /v2/bot/message/quota HTTP/1.1",
        "GET /v2/bot/message/quota/consumption HTTP/1.1",
    ]


@pytest.mark.parametrize(
    "script",
    [
        [closes],
        [answers({}, 500)],
        [answers({}, 401)],
        [answers(b"<html>")],
        [answers([])],
        [answers({"type": "none"}), answers({}, 429)],
        [answers({"type": "none"}), answers({})],
        [answers({"type": "limited"}), answers({"totalUsage": 12})],
    ],
)
def test_a_quota_that_line_does_not_tell_is_asked_later(line, client, script):
    line.script = script

    with pytest.raises(TryLater):
        client.quota()


@pytest.mark.parametrize("status", [200, 409])
def test_a_push_that_was_taken_before_is_taken(line, client, status):
    line.script = [answers({}, status)]

    client.push(ANN, HELLO, KEY)

    assert line.requests[0].headers["x-line-retry-key"] == KEY
