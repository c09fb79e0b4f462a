"""LINE Login: tokens, LIFF apps, and ID tokens that prove who somebody is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from kernel import settings
from kernel.channels.faults import OverLimit, Refused, TryLater
from kernel.channels.line.login import LineLogin
from kernel.secrets import Secret
from local.line_simulator import LineSimulator
from tests.layers.kernel.test_wire import Server, answers, closes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANN = "U" + "a" * 32
CHANNEL = "1234567890"
PAGE = "https://chat.example.com/liff?segment=1"


@pytest.fixture
def line(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineSimulator]:
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        settings.settings.cache_clear()
        simulator.own_login_channel(CHANNEL, "s3cret")
        yield simulator


@pytest.fixture
def scripted(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        monkeypatch.setenv("LINE_API_ENDPOINT", server.url)
        settings.settings.cache_clear()
        yield server


@pytest.fixture
def login() -> LineLogin:
    return LineLogin(CHANNEL, Secret("s3cret"))


def test_a_token_is_asked_for_with_the_secret(scripted: Server, login: LineLogin) -> None:
    scripted.script = [answers({"token_type": "Bearer", "access_token": "eyJ", "expires_in": 899})]

    assert login.token() == Secret("eyJ")

    (request,) = scripted.requests
    assert request.line == "POST /oauth2/v3/token HTTP/1.1"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": [CHANNEL],
        "client_secret": ["s3cret"],
    }


def test_a_wrong_secret_is_refused_and_not_told(line: LineSimulator) -> None:
    with pytest.raises(Refused) as raised:
        LineLogin(CHANNEL, Secret("wr0ng")).token()

    assert raised.value.status == 400
    assert "wr0ng" not in str(raised.value)
    assert "wr0ng" not in str(line.calls)


def test_a_liff_app_is_made_listed_and_led_elsewhere(line: LineSimulator, login: LineLogin) -> None:
    assert login.liff_apps() == []
    liff_id = login.create_liff(PAGE, "Segment entry")
    login.update_liff(liff_id, "https://chat.example.com/other")

    assert login.liff_apps() == [
        {
            "liffId": liff_id,
            "view": {"type": "full", "url": "https://chat.example.com/other"},
            "description": "Segment entry",
            "scope": ["openid", "profile"],
            "botPrompt": "aggressive",
        }
    ]
    assert liff_id.startswith(f"{CHANNEL}-")


@pytest.mark.parametrize(
    ("view_url", "description"),
    [("http://chat.example.com", "x"), (f"{PAGE}#top", "x"), (PAGE, "LINE entry")],
)
def test_an_app_that_line_does_not_take_is_refused(
    line: LineSimulator, login: LineLogin, view_url: str, description: str
) -> None:
    with pytest.raises(Refused) as raised:
        login.create_liff(view_url, description)

    assert raised.value.status == 400
    assert line.liff_apps == {}


def test_a_channel_has_30_apps(line: LineSimulator, login: LineLogin) -> None:
    for _ in range(30):
        login.create_liff(PAGE, "entry")

    with pytest.raises(Refused) as raised:
        login.create_liff(PAGE, "entry")

    assert raised.value.status == 400
    assert len(line.liff_apps[CHANNEL]) == 30


def test_an_app_of_another_channel_is_not_known(line: LineSimulator, login: LineLogin) -> None:
    other = LineLogin("999", Secret("any")).create_liff(PAGE, "entry")

    with pytest.raises(Refused) as raised:
        login.update_liff(other, PAGE)

    assert raised.value.status == 404


def test_an_id_token_names_its_user(line: LineSimulator, login: LineLogin) -> None:
    line.own_id_token("genuine", ANN, CHANNEL)
    line.own_id_token("with nonce", ANN, CHANNEL, nonce="n1")

    assert login.verified_user("genuine") == ANN
    assert login.verified_user("with nonce", "n1") == ANN


@pytest.mark.parametrize(
    ("token", "nonce"), [("forged", None), ("", None), ("old", None), ("other", None), ("nonce", "n2"), ("plain", "n1")]
)
def test_an_id_token_that_is_not_genuine_names_nobody(
    line: LineSimulator, login: LineLogin, token: str, nonce: str | None
) -> None:
    line.own_id_token("old", ANN, CHANNEL, exp=1)
    line.own_id_token("other", ANN, "another channel")
    line.own_id_token("nonce", ANN, CHANNEL, nonce="n1")
    line.own_id_token("plain", ANN, CHANNEL)

    assert login.verified_user(token, nonce) is None
    assert [call.status for call in line.calls] == [400]


@pytest.mark.parametrize(
    "claims", [{"sub": ANN}, {"sub": ANN, "aud": "999"}, {"aud": CHANNEL}, {"sub": 1, "aud": CHANNEL}]
)
def test_claims_are_not_trusted_blindly(scripted: Server, login: LineLogin, claims: dict[str, Any]) -> None:
    scripted.script = [answers(claims)]

    assert login.verified_user("token") is None


@pytest.mark.parametrize(
    "call",
    [
        lambda login: login.token(),
        lambda login: login.create_liff(PAGE, "entry"),
        lambda login: login.update_liff("1-a", PAGE),
        lambda login: login.liff_apps(),
        lambda login: login.verified_user("token"),
    ],
)
@pytest.mark.parametrize(
    ("answer", "fault", "wait"),
    [
        (answers({}, 429, Retry_After="5"), OverLimit, 5.0),
        (answers({}, 503, Retry_After="6"), TryLater, 6.0),
        (answers(b"<html>"), TryLater, None),
        (closes, TryLater, None),
    ],
)
def test_every_call_says_when_line_is_busy_or_away(
    scripted: Server, login: LineLogin, call: Callable[[LineLogin], Any], answer: Any, fault: type[TryLater], wait: Any
) -> None:
    scripted.script = [answer]

    with pytest.raises(fault) as raised:
        call(login)

    assert (type(raised.value), raised.value.wait) == (fault, wait)


def test_an_app_needs_an_answer_that_names_it(scripted: Server, login: LineLogin) -> None:
    scripted.script = [answers({"access_token": "t"}), answers({})]

    with pytest.raises(TryLater):
        login.create_liff(PAGE, "entry")
    assert scripted.requests[1].headers["authorization"] == "Bearer t"
