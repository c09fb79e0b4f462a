import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.chat_double import Call, ChatDouble, Failure, Sent
from local.messenger_simulator import Messenger, messenger_simulator
from tests.local.test_line_simulator import ask

ROOT = Path(__file__).parents[2]
ANN, BOB = "1001", "1002"
SEND = "/v23.0/me/messages"
HELLO = {"text": "hello"}
URL = "https://example.com/a"
BUTTON = {"type": "web_url", "title": "Open", "url": URL}
DAY = 86_400

Json = dict[str, Any]


class Clock:
    """A clock that stands at 1000 seconds."""

    def __call__(self) -> float:
        return 1000.0


@pytest.fixture
def messenger() -> Iterator[ChatDouble]:
    with ChatDouble(Messenger(), clock=Clock()) as double:
        yield double


def send(double: ChatDouble, message: Any, *, user: str = ANN, kind: str = "RESPONSE", **more: Any) -> tuple[int, Json]:
    body = {"recipient": {"id": user}, "messaging_type": kind, "message": message, **more}
    return ask(double.url, "POST", SEND, body)[:2]


def control(double: ChatDouble, path: str, body: Any = None) -> tuple[int, Json]:
    return ask(double.url, "GET" if body is None else "POST", f"/_simulator/{path}", body, token=None)[:2]


def codes(answer: Json) -> tuple[int, int | None]:
    return answer["error"]["code"], answer["error"].get("error_subcode")


def attachment(kind: str, **payload: Any) -> Json:
    return {"attachment": {"type": kind, "payload": payload}}


def generic(**element: Any) -> Json:
    return attachment("template", template_type="generic", elements=[element])


class TestSend:
    def test_reaches_the_person(self, messenger: ChatDouble) -> None:
        assert send(messenger, HELLO) == (200, {"recipient_id": ANN, "message_id": "m_1"})
        assert send(messenger, HELLO, user=BOB, kind="UPDATE") == (200, {"recipient_id": BOB, "message_id": "m_2"})

        assert messenger.sent == [Sent(1, ANN, HELLO), Sent(2, BOB, HELLO)]
        assert messenger.messages(BOB) == messenger.messages(after=1) == [Sent(2, BOB, HELLO)]

    @pytest.mark.parametrize(
        "message",
        [
            {"text": "a" * 2000},
            {"text": "🍎" * 1000, "quick_replies": [{"content_type": "text", "title": "T", "payload": "p"}] * 13},
            {"text": "a", "quick_replies": [{"content_type": "user_email"}]},
            attachment("image", url=URL),
            attachment("video", url=URL, is_reusable=True),
            generic(title="t" * 80, subtitle="s" * 80, image_url=URL, buttons=[BUTTON] * 3),
            generic(title="t", default_action={"type": "web_url", "url": URL}),
            generic(title="t", buttons=[{"type": "phone_number", "title": "Call", "payload": "+886212345678"}]),
            attachment("template", template_type="generic", elements=[{"title": "t", "subtitle": "s"}] * 10),
            attachment("template", template_type="button", text="t" * 640, buttons=[BUTTON]),
        ],
    )
    def test_takes_all_up_to_the_limits(self, messenger: ChatDouble, message: Json) -> None:
        assert send(messenger, message)[0] == 200
        assert messenger.sent == [Sent(1, ANN, message)]

    @pytest.mark.parametrize(
        "message",
        [
            None,
            {},
            {"text": ""},
            {"text": " \n"},
            {"text": 1},
            {"text": "a" * 2001},
            {"text": "🍎" * 1000 + "a"},
            {"text": "a", **attachment("image", url=URL)},
            {"text": "a", "emojis": []},
            {"text": "a", "quick_replies": []},
            {"text": "a", "quick_replies": [{"content_type": "text", "title": "T", "payload": "p"}] * 14},
            {"text": "a", "quick_replies": [{"content_type": "text", "title": "t" * 21, "payload": "p"}]},
            {"text": "a", "quick_replies": [{"content_type": "text", "title": "t", "payload": "p" * 1001}]},
            {"text": "a", "quick_replies": [{"content_type": "location"}]},
            attachment("sticker", url=URL),
            attachment("image", url="line://a"),
            attachment("image", url=URL, preview=URL),
            generic(title="t"),
            generic(title="t" * 81, subtitle="s"),
            generic(title="t", subtitle="s" * 81),
            generic(subtitle="s", image_url=URL),
            generic(title="t", text="more"),
            generic(title="t", image_url="a.png"),
            generic(title="t", default_action=BUTTON),
            generic(title="t", buttons=[BUTTON] * 4),
            generic(title="t", buttons=[]),
            generic(title="t", buttons=[{**BUTTON, "title": "t" * 21}]),
            generic(title="t", buttons=[{**BUTTON, "url": "tel:1999"}]),
            generic(title="t", buttons=[{"type": "postback", "title": "t", "payload": "p" * 1001}]),
            generic(title="t", buttons=[{"type": "message", "title": "t"}]),
            attachment("template", template_type="generic", elements=[{"title": "t", "subtitle": "s"}] * 11),
            attachment("template", template_type="button", text="t" * 641, buttons=[BUTTON]),
            attachment("template", template_type="button", text="t"),
            attachment("template", template_type="media"),
        ],
    )
    def test_refuses_what_is_over_them(self, messenger: ChatDouble, message: Json) -> None:
        status, answer = send(messenger, message)

        assert (status, codes(answer)) == (400, (100, None))
        assert messenger.sent == []

    @pytest.mark.parametrize(
        "more",
        [
            {"messaging_type": "UTILITY"},
            {"messaging_type": None},
            {"messaging_type": "MESSAGE_TAG"},
            {"messaging_type": "MESSAGE_TAG", "tag": "CONFIRMED_EVENT_UPDATE"},
            {"tag": "HUMAN_AGENT"},
            {"recipient": {"id": ""}},
            {"recipient": ANN},
            {"notification_type": "REGULAR"},
        ],
    )
    def test_refuses_what_surrounds_it(self, messenger: ChatDouble, more: Json) -> None:
        status, answer = send(messenger, HELLO, **more)

        assert (status, codes(answer)) == (400, (100, None))
        assert messenger.sent == []

    @pytest.mark.parametrize("body", [b"{", b"[]"])
    def test_refuses_what_is_no_object(self, messenger: ChatDouble, body: bytes) -> None:
        assert codes(ask(messenger.url, "POST", SEND, body)[1]) == (100, None)

    def test_the_token_belongs_into_the_header(self, messenger: ChatDouble) -> None:
        status, answer, _ = ask(messenger.url, "POST", f"{SEND}?access_token=t", {}, token=None)

        assert (status, codes(answer)) == (400, (2500, None))

    def test_other_paths_are_unknown(self, messenger: ChatDouble) -> None:
        assert codes(ask(messenger.url, "POST", "/v23.0/me/photos", {})[1]) == (2500, None)


class TestPeople:
    def test_windows(self, messenger: ChatDouble) -> None:
        messenger.heard(ANN)
        messenger.forward(DAY - 1)
        assert send(messenger, HELLO)[0] == 200

        messenger.forward(1)
        assert codes(send(messenger, HELLO)[1]) == (10, 2018278)
        assert send(messenger, HELLO, kind="MESSAGE_TAG", tag="HUMAN_AGENT")[0] == 200

        messenger.forward(6 * DAY)
        assert codes(send(messenger, HELLO, kind="MESSAGE_TAG", tag="HUMAN_AGENT")[1]) == (10, 2018278)

        messenger.heard(ANN)
        assert send(messenger, HELLO)[0] == 200
        messenger.silence(ANN)
        assert codes(send(messenger, HELLO)[1]) == (10, 2018278)

    @pytest.mark.parametrize(("state", "expected"), [("unknown", (100, 2018001)), ("blocked", (551, 1545041))])
    def test_who_cannot_be_reached(self, messenger: ChatDouble, state: str, expected: tuple[int, int]) -> None:
        control(messenger, f"users/{ANN}", {state: True})

        assert codes(send(messenger, HELLO)[1]) == expected
        assert codes(ask(messenger.url, "GET", f"/v23.0/{ANN}?fields=name")[1]) == (100, 33)
        assert messenger.sent == []

    def test_profile(self, messenger: ChatDouble) -> None:
        control(messenger, f"users/{ANN}", {"name": "Ann", "picture": URL})

        assert ask(messenger.url, "GET", f"/v23.0/{ANN}?fields=name,profile_pic")[:2] == (
            200,
            {"name": "Ann", "profile_pic": URL, "id": ANN},
        )
        assert ask(messenger.url, "GET", f"/v23.0/{BOB}?fields=name")[1] == {"name": "Person 1002", "id": BOB}


class TestFailures:
    def test_before_and_after_the_work(self, messenger: ChatDouble) -> None:
        messenger.fail(Failure("*/messages", code=613, message="slow", times=2, retry_after=5))
        messenger.fail(Failure("*", code=1200, accept=True))

        status, answer, headers = ask(
            messenger.url, "POST", SEND, {"recipient": {"id": ANN}, "messaging_type": "RESPONSE", "message": HELLO}
        )
        assert (status, codes(answer), headers["retry-after"]) == (400, (613, None), "5")
        assert codes(send(messenger, HELLO)[1]) == (613, None)
        assert messenger.sent == []

        assert codes(send(messenger, HELLO)[1]) == (1200, None)
        assert len(messenger.sent) == 1
        assert send(messenger, HELLO)[0] == 200

    def test_a_refused_call_stays_refused(self, messenger: ChatDouble) -> None:
        messenger.fail(Failure("*", code=1200, accept=True))

        assert codes(send(messenger, {})[1]) == (100, None)

    @pytest.mark.parametrize("status", ["closed", "timeout"])
    def test_no_answer(self, messenger: ChatDouble, status: Any) -> None:
        messenger.fail(Failure("*", status=status))

        with pytest.raises((ConnectionError, TimeoutError)):
            ask(messenger.url, "POST", SEND, {}, timeout=0.2)

    def test_needs_something_to_answer(self, messenger: ChatDouble) -> None:
        with pytest.raises(ValueError, match="a code or a status"):
            messenger.fail(Failure("*"))


class TestControl:
    def test_messages_and_calls(self, messenger: ChatDouble) -> None:
        send(messenger, HELLO)
        send(messenger, {})

        sent = {"seq": 1, "user": ANN, "message": HELLO}
        assert control(messenger, f"messages?user={ANN}&after=0&wait=1") == (200, {"messages": [sent], "last": 1})
        assert control(messenger, "messages?after=1") == (200, {"messages": [], "last": 1})
        calls = control(messenger, "calls")[1]["calls"]
        assert [(call["method"], call["path"], call["status"]) for call in calls] == [
            ("POST", SEND, 200),
            ("POST", SEND, 400),
        ]

    def test_waits_for_a_message(self, messenger: ChatDouble) -> None:
        found: list[Any] = []
        waiting = threading.Thread(target=lambda: found.append(control(messenger, "messages?wait=20")))
        waiting.start()

        send(messenger, HELLO)
        waiting.join()

        assert found == [(200, {"messages": [{"seq": 1, "user": ANN, "message": HELLO}], "last": 1})]

    def test_windows_failures_and_reset(self, messenger: ChatDouble) -> None:
        assert control(messenger, f"users/{ANN}", {"heard": None}) == (200, {})
        assert codes(send(messenger, HELLO)[1]) == (10, 2018278)
        control(messenger, f"users/{ANN}", {"heard": "message"})
        assert send(messenger, HELLO)[0] == 200
        control(messenger, "clock", {"forward": DAY})
        assert codes(send(messenger, HELLO)[1]) == (10, 2018278)
        failure = {"path": "*", "code": 4, "times": 9, "retryAfter": 1}
        assert control(messenger, "failures", failure) == (200, {})
        assert codes(send(messenger, HELLO)[1]) == (4, None)

        control(messenger, "reset", {})

        assert send(messenger, HELLO) == (200, {"recipient_id": ANN, "message_id": "m_2"})
        assert messenger.calls == [Call("POST", SEND, messenger.calls[0].body, 200)]

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("nothing", None),
            ("nothing", {}),
            ("clock", {}),
            ("users/1", {"nickname": "A"}),
            ("failures", {"path": "*"}),
            ("failures", {"path": "*", "code": 1, "reason": "?"}),
            ("messages?after=x", None),
        ],
    )
    def test_says_what_it_does_not_understand(self, messenger: ChatDouble, path: str, body: Any) -> None:
        status, answer = control(messenger, path, body)

        assert status == 400
        assert answer["message"].startswith("not understood: ")


def test_starts_and_stops() -> None:
    double = messenger_simulator()
    double.start()
    assert send(double, HELLO)[0] == 200
    double.stop()

    with pytest.raises(ConnectionRefusedError):
        send(double, HELLO)


@pytest.mark.parametrize(("module", "name"), [("messenger", "Messenger"), ("wechat", "WeChat")])
def test_runs_as_a_program(module: str, name: str) -> None:
    command = [sys.executable, "-m", f"local.{module}_simulator", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said, _, url = process.stdout.readline().strip().rpartition(" on ")
            assert said == f"{name} simulator"
            assert ask(url, "GET", "/_simulator/calls")[:2] == (200, {"calls": []})
        finally:
            process.terminate()


@pytest.mark.parametrize("module", ["messenger", "wechat"])
def test_a_taken_port_is_said(messenger: ChatDouble, module: str) -> None:
    port = messenger.url.rpartition(":")[2]
    command = [sys.executable, "-m", f"local.{module}_simulator", "--port", port]

    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert process.returncode == 1
    assert process.stderr == f"can't listen on port {port}: Address already in use\n"
