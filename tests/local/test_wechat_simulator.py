import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.chat_double import ChatDouble, Failure, Sent
from local.line_http import Request
from local.wechat_simulator import TOKENS_A_DAY, Wechat, wechat_simulator
from tests.local.test_line_simulator import ask
from tests.local.test_messenger_simulator import Clock, control

ANN = "oAnn"
SEND = "/cgi-bin/message/custom/send"
TOKEN = "/cgi-bin/stable_token"
HELLO = {"msgtype": "text", "text": {"content": "你好"}}
URL = "https://example.com/a"
ARTICLE = {"title": "T", "description": "", "url": URL, "picurl": URL}
ASKED = {"grant_type": "client_credential", "appid": "wx1", "secret": "s1"}
DAY = 86_400

Json = dict[str, Any]


@pytest.fixture
def wechat() -> Iterator[ChatDouble]:
    with ChatDouble(Wechat({"wx1": "s1", "wx2": "s2"}), clock=Clock()) as double:
        yield double


def token_of(double: ChatDouble, **more: Any) -> str:
    return str(ask(double.url, "POST", TOKEN, {**ASKED, **more}, token=None)[1]["access_token"]).replace("+", "%2B")


def post(double: ChatDouble, body: Any, token: str | None = None) -> Json:
    token = token_of(double) if token is None else token
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    status, answer, _ = ask(double.url, "POST", f"{SEND}?access_token={token}", content, token=None)
    assert status == 200
    return dict(answer)


def send(double: ChatDouble, message: Json, user: str = ANN) -> int:
    return int(post(double, {"touser": user, **message})["errcode"])


def news(*articles: Json) -> Json:
    return {"msgtype": "news", "news": {"articles": list(articles)}}


class TestToken:
    def test_stays_the_same_until_five_minutes_before_its_end(self, wechat: ChatDouble) -> None:
        first = ask(wechat.url, "POST", TOKEN, ASKED, token=None)[:2]
        wechat.forward(6899)
        again = ask(wechat.url, "POST", TOKEN, ASKED, token=None)[1]
        wechat.forward(1)
        second = ask(wechat.url, "POST", TOKEN, ASKED, token=None)[1]

        assert first == (200, {"access_token": "token/wx1+0", "expires_in": 7200})
        assert again == {"access_token": "token/wx1+0", "expires_in": 301}
        assert second == {"access_token": "token/wx1+1", "expires_in": 7200}

    def test_the_old_one_lives_on_for_five_minutes(self, wechat: ChatDouble) -> None:
        old = token_of(wechat)
        new = token_of(wechat, force_refresh=True)
        body = {"touser": ANN, **HELLO}

        wechat.forward(299)
        assert [post(wechat, body, token)["errcode"] for token in (old, new)] == [0, 0]
        wechat.forward(1)
        assert [post(wechat, body, token)["errcode"] for token in (old, new)] == [42001, 0]
        wechat.forward(6900)
        assert post(wechat, body, new)["errcode"] == 42001

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"grant_type": "password"}, 40002),
            ({"appid": "wx3"}, 40013),
            ({"appid": ""}, 40013),
            ({"secret": "s2"}, 40125),
            ({"secret": None}, 40125),
        ],
    )
    def test_is_for_those_who_know_the_secret(self, wechat: ChatDouble, more: Json, code: int) -> None:
        status, answer, _ = ask(wechat.url, "POST", TOKEN, {**ASKED, **more}, token=None)

        assert (status, answer["errcode"]) == (200, code)
        assert "access_token" not in answer

    def test_two_apps_have_two(self, wechat: ChatDouble) -> None:
        assert token_of(wechat) != token_of(wechat, appid="wx2", secret="s2")

    def test_is_given_2000_times_a_day(self) -> None:
        double = ChatDouble(Wechat(), clock=Clock())
        asked = Request("POST", TOKEN, {}, {}, json.dumps(ASKED).encode(), too_large=False)

        answers = {double.platform.answer(asked, double).body for _ in range(TOKENS_A_DAY)}
        with double:
            assert [json.loads(answer)["expires_in"] for answer in answers] == [7200]
            assert ask(double.url, "POST", TOKEN, ASKED, token=None)[1]["errcode"] == 45009
            double.forward(DAY)
            assert ask(double.url, "POST", TOKEN, ASKED, token=None)[1]["expires_in"] == 7200

    def test_no_secret_is_kept_in_the_calls(self, wechat: ChatDouble) -> None:
        send(wechat, HELLO)

        calls = json.dumps(control(wechat, "calls"))
        assert TOKEN in calls
        assert "s1" not in calls
        assert "token/wx1" not in calls

    def test_without_secrets_every_app_gets_one(self) -> None:
        with wechat_simulator() as double:
            assert send(double, HELLO) == 0

    @pytest.mark.parametrize(("token", "code"), [("", 41001), ("guessed", 40001)])
    def test_is_needed(self, wechat: ChatDouble, token: str, code: int) -> None:
        assert post(wechat, {"touser": ANN, **HELLO}, token)["errcode"] == code
        assert ask(wechat.url, "GET", f"/cgi-bin/user/info?access_token={token}")[1]["errcode"] == code
        assert wechat.sent == []


class TestSend:
    @pytest.mark.parametrize(
        "message",
        [
            HELLO,
            {"msgtype": "text", "text": {"content": "測" * 682 + "ab"}},
            {"msgtype": "text", "text": {"content": "\\u6e2c"}},
            {"msgtype": "image", "image": {"media_id": "m"}},
            news(ARTICLE),
            news({**ARTICLE, "title": "測" * 64, "description": "測" * 120}),
        ],
    )
    def test_takes_all_up_to_the_limits(self, wechat: ChatDouble, message: Json) -> None:
        assert post(wechat, {"touser": ANN, **message}) == {"errcode": 0, "errmsg": "ok"}
        assert wechat.sent == [Sent(1, ANN, message)]

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ({"touser": "", **HELLO}, 40003),
            ({**HELLO}, 40003),
            ({"touser": ANN}, 40008),
            ({"touser": ANN, "msgtype": "template", "template": {}}, 40008),
            ({"touser": ANN, "msgtype": "text"}, 47001),
            ({"touser": ANN, **HELLO, "more": 1}, 47001),
            ([], 47001),
            (b"{", 47001),
            (json.dumps({"touser": ANN, **HELLO}).encode(), 47001),
            ({"touser": ANN, "msgtype": "text", "text": {"content": " "}}, 44004),
            ({"touser": ANN, "msgtype": "text", "text": {"content": "測" * 683}}, 45002),
            ({"touser": ANN, "msgtype": "image", "image": {"media_id": ""}}, 40007),
            ({"touser": ANN, "msgtype": "image", "image": {"media_id": URL}}, 40007),
            ({"touser": ANN, **news()}, 44003),
            ({"touser": ANN, **news(ARTICLE, ARTICLE)}, 45008),
            ({"touser": ANN, **news({**ARTICLE, "title": ""})}, 44003),
            ({"touser": ANN, **news({**ARTICLE, "title": "t" * 65})}, 45003),
            ({"touser": ANN, **news({**ARTICLE, "description": "d" * 121})}, 45004),
            ({"touser": ANN, **news({**ARTICLE, "url": ""})}, 45005),
            ({"touser": ANN, **news({**ARTICLE, "picurl": "a.png"})}, 45006),
            ({"touser": ANN, **news({**ARTICLE, "more": 1})}, 47001),
        ],
    )
    def test_refuses_all_else(self, wechat: ChatDouble, message: Any, code: int) -> None:
        assert post(wechat, message)["errcode"] == code
        assert wechat.sent == []

    def test_must_be_posted(self, wechat: ChatDouble) -> None:
        assert ask(wechat.url, "GET", f"{SEND}?access_token={token_of(wechat)}")[1]["errcode"] == 43002

    def test_other_paths_are_unknown(self, wechat: ChatDouble) -> None:
        assert ask(wechat.url, "POST", "/cgi-bin/token", {})[0] == 404


class TestWindows:
    def test_five_messages_in_48_hours(self, wechat: ChatDouble) -> None:
        wechat.heard(ANN)

        assert [send(wechat, HELLO) for _ in range(6)] == [0, 0, 0, 0, 0, 45047]
        wechat.heard(ANN)
        wechat.forward(2 * DAY - 1)
        assert send(wechat, HELLO) == 0
        wechat.forward(1)
        assert send(wechat, HELLO) == 45015

    @pytest.mark.parametrize("event", ["follow", "menu", "scan"])
    def test_three_messages_in_a_minute(self, wechat: ChatDouble, event: str) -> None:
        wechat.silence(ANN)
        assert send(wechat, HELLO) == 45015

        wechat.heard(ANN, event)
        assert [send(wechat, HELLO) for _ in range(4)] == [0, 0, 0, 45047]
        wechat.heard(ANN, event)
        wechat.forward(60)
        assert send(wechat, HELLO) == 45015

    def test_windows_add_up(self, wechat: ChatDouble) -> None:
        wechat.heard(ANN)
        wechat.heard(ANN, "follow")

        assert [send(wechat, HELLO) for _ in range(9)] == [0] * 8 + [45047]

    def test_what_is_refused_uses_up_nothing(self, wechat: ChatDouble) -> None:
        assert [send(wechat, news()) for _ in range(6)] == [44003] * 6
        assert send(wechat, HELLO) == 0


class TestPeople:
    def test_profile(self, wechat: ChatDouble) -> None:
        asked = f"/cgi-bin/user/info?access_token={token_of(wechat)}&openid="

        assert ask(wechat.url, "GET", asked + ANN)[1] == {"subscribe": 1, "openid": ANN, "language": "zh_TW"}
        control(wechat, f"users/{ANN}", {"blocked": True})
        assert ask(wechat.url, "GET", asked + ANN)[1] == {"subscribe": 0, "openid": ANN}
        control(wechat, f"users/{ANN}", {"unknown": True})
        assert ask(wechat.url, "GET", asked + ANN)[1]["errcode"] == 40003

    @pytest.mark.parametrize(("state", "code"), [("unknown", 40003), ("blocked", 45015)])
    def test_who_cannot_be_reached(self, wechat: ChatDouble, state: str, code: int) -> None:
        control(wechat, f"users/{ANN}", {state: True})

        assert send(wechat, HELLO) == code
        assert wechat.sent == []


class TestFailures:
    def test_before_and_after_the_work(self, wechat: ChatDouble) -> None:
        wechat.fail(Failure("*/send", code=-1))
        wechat.fail(Failure("*/send", code=45011, accept=True))

        assert send(wechat, HELLO) == -1
        assert wechat.sent == []
        assert send(wechat, HELLO) == 45011
        assert len(wechat.sent) == 1

    def test_a_status(self, wechat: ChatDouble) -> None:
        wechat.fail(Failure("*", status=503, retry_after=7))

        status, body, headers = ask(wechat.url, "POST", TOKEN, ASKED, token=None)

        assert (status, body, headers["retry-after"]) == (503, b"", "7")
