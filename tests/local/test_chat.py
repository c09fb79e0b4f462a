import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from local import chat, line_webhook
from local.chat import Chat, NotRunningError, Stack, converse
from local.line_simulator import LineSimulator

ANN = "U" + "a" * 32
SECRET = "channel-secret"
WEBHOOK_PATH = "/api/LineMessage/send?adminid=0001&accountid=f09y-desn"


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def quick_reply(*actions: dict[str, str]) -> dict[str, Any]:
    return {"items": [{"type": "action", "action": action} for action in actions]}


MENU = text(
    "What would you like?",
    quickReply=quick_reply(
        {"type": "message", "label": "A pass", "text": "buy a pass"},
        {"type": "postback", "label": "Help", "data": "node=help"},
        {"type": "uri", "label": "Site", "uri": "https://a/site"},
    ),
)


class Bot:
    """A bot behind a webhook: unless `late`, it answers before its webhook does, so that nobody waits."""

    def __init__(self, line: LineSimulator, answers: Callable[[Any], list[dict[str, Any]]]) -> None:
        self.events: list[Any] = []
        self.paths: list[str] = []
        self.signed: list[bool] = []
        self.status = 200
        self.late = False
        bot = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bot.paths.append(self.path)
                bot.signed.append(self.headers["X-Line-Signature"] == line_webhook.signature(SECRET, body))
                (event,) = json.loads(body)["events"]
                bot.events.append(event)
                if bot.late:
                    self._accept()
                if messages := answers(event):
                    reply(line, event["replyToken"], messages)
                if not bot.late:
                    self._accept()

            def _accept(self) -> None:
                self.send_response(bot.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Bot":
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def reply(line: LineSimulator, token: str, messages: list[dict[str, Any]]) -> None:
    connection = HTTPConnection(line.url.removeprefix("http://"), timeout=30)
    headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
    body = json.dumps({"replyToken": token, "messages": messages})
    connection.request("POST", "/v2/bot/message/reply", body, headers)
    assert connection.getresponse().status == 200
    connection.close()


def answers(event: Any) -> list[dict[str, Any]]:
    """What the bot of these tests answers."""
    match event:
        case {"type": "follow", "follow": {"isUnblocked": unblocked}}:
            return [text("Welcome back!" if unblocked else "Welcome!"), MENU]
        case {"type": "message", "message": {"text": "silence"}}:
            return []
        case {"type": "message", "message": {"text": words}}:
            return [text(f"You said: {words}")]
        case {"type": "postback", "postback": {"data": data}}:
            return [text(f"You picked: {data}")]
    return []


@pytest.fixture
def line() -> Iterator[LineSimulator]:
    with LineSimulator(validate=lambda messages: []) as simulator:
        yield simulator


@pytest.fixture
def bot(line: LineSimulator) -> Iterator[Bot]:
    with Bot(line, answers) as running:
        yield running


def settings(folder: Path, webhook: str, simulator: str) -> Path:
    """Writes what `make up` writes."""
    folder.mkdir(exist_ok=True)
    (folder / "endpoints.json").write_text(json.dumps({"chatbot": webhook}))
    demo = {
        "adminId": "0001",
        "password": "p",
        "accountId": "f09y-desn",
        "accountSecret": SECRET,
        "partnerKey": "k",
        "simulator": simulator,
    }
    (folder / "demo.json").write_text(json.dumps({"chatbot": demo}))
    return folder


@pytest.fixture
def stack(tmp_path: Path, line: LineSimulator, bot: Bot) -> Stack:
    return Stack.read(settings(tmp_path, bot.url + "/", line.url))


def talk(stack: Stack, *typed: str, name: str = "ann") -> list[str]:
    """Returns the lines that a conversation shows."""
    out = io.StringIO()
    converse(Chat(stack, name, out, patience=0, quiet=0), io.StringIO("".join(f"{line}\n" for line in typed)))
    return out.getvalue().splitlines()


WELCOME = ["Welcome!", "What would you like?", "[1] A pass", "[2] Help", "[3] Site -> https://a/site"]


class TestConversation:
    def test_starts_with_a_follow(self, stack: Stack, bot: Bot, line: LineSimulator) -> None:
        assert talk(stack) == WELCOME
        (event,) = bot.events
        assert (event["type"], event["follow"]) == ("follow", {"isUnblocked": False})
        assert (bot.paths, bot.signed) == ([WEBHOOK_PATH], [True])
        user = event["source"]["userId"]
        assert {delivery.user for delivery in line.sent} == {user}
        assert re.fullmatch("U[0-9a-f]{32}", user)

    def test_sends_what_is_typed(self, stack: Stack, bot: Bot) -> None:
        assert talk(stack, "hello 你好", "", "99") == [*WELCOME, "You said: hello 你好", "You said: 99"]
        assert [event["type"] for event in bot.events] == ["follow", "message", "message"]
        assert all(bot.signed)

    def test_takes_choices_by_their_number(self, stack: Stack, bot: Bot) -> None:
        assert talk(stack, "3", "2") == [*WELCOME, "open https://a/site", "You picked: node=help"]
        assert talk(stack, "1")[-1] == "You said: buy a pass"
        assert [event["type"] for event in bot.events] == ["follow", "postback", "follow", "message"]

    def test_choices_go_with_the_next_answer(self, stack: Stack) -> None:
        assert talk(stack, "hi", "1") == [*WELCOME, "You said: hi", "You said: 1"]

    def test_says_when_nothing_comes(self, stack: Stack) -> None:
        assert talk(stack, "silence", "3") == [*WELCOME, "(no answer)", "open https://a/site"]

    def test_waits_for_answers(self, stack: Stack, bot: Bot) -> None:
        bot.late = True
        out = io.StringIO()

        Chat(stack, "ann", out, patience=25, quiet=0).start()

        assert out.getvalue().splitlines() == WELCOME

    def test_commands(self, stack: Stack, bot: Bot) -> None:
        assert talk(stack, "/unfollow", "hello", "/follow", "/dance", "/quit", "never sent") == [
            *WELCOME,
            "you have blocked the bot: /follow",
            "Welcome back!",
            *WELCOME[1:],
            "unknown command /dance: /follow, /unfollow or /quit",
        ]
        assert [event["type"] for event in bot.events] == ["follow", "unfollow", "follow"]
        assert "replyToken" not in bot.events[1]

    def test_blocking_is_known_to_the_simulator(self, stack: Stack, bot: Bot, line: LineSimulator) -> None:
        talk(stack, "/unfollow")
        user = bot.events[0]["source"]["userId"]
        assert profile(line, user) == (404, {"message": "Not found"})
        talk(stack)
        status, answer = profile(line, user)
        assert (status, answer["displayName"]) == (200, "ann")

    def test_people_see_only_their_own(self, stack: Stack, bot: Bot) -> None:
        talk(stack, name="ann")
        assert talk(stack, "hello", name="bob") == [*WELCOME, "You said: hello"]
        ann, bob, also_bob = (event["source"]["userId"] for event in bot.events)
        assert ann != bob == also_bob

    def test_earlier_conversations_are_not_shown_again(self, stack: Stack) -> None:
        talk(stack, "hello")
        assert talk(stack) == WELCOME

    def test_tells_what_the_webhook_refused(self, stack: Stack, bot: Bot) -> None:
        bot.status = 401
        assert talk(stack) == ["the webhook answered 401"]


class TestNotRunning:
    def test_without_settings(self, tmp_path: Path) -> None:
        with pytest.raises(NotRunningError, match=r"^not running: make up$"):
            Stack.read(tmp_path)

    @pytest.mark.parametrize("content", ["{}", "{", "[]", '{"chatbot": 1}'])
    def test_with_broken_settings(self, tmp_path: Path, content: str) -> None:
        settings(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:1")
        (tmp_path / "demo.json").write_text(content)
        with pytest.raises(NotRunningError):
            Stack.read(tmp_path)

    def test_without_simulator(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        settings(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:1")
        assert chat.main([], tmp_path) == 1
        assert capsys.readouterr() == ("", "not running: make up\n")

    def test_without_webhook(self, tmp_path: Path, line: LineSimulator, capsys: pytest.CaptureFixture[str]) -> None:
        settings(tmp_path, "http://127.0.0.1:1", line.url)
        assert chat.main([], tmp_path) == 1
        assert capsys.readouterr() == ("", "not running: make up\n")


def test_takes_its_lines_from_a_pipe(tmp_path: Path, line: LineSimulator, bot: Bot) -> None:
    folder = settings(tmp_path, bot.url, line.url)
    program = (
        "import pathlib, sys; from local import chat; "
        "sys.exit(chat.main(['--user', 'ann'], pathlib.Path(sys.argv[1]), quiet=0))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        cwd=Path(__file__).parents[2],
        input="1\n/quit\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [*WELCOME, "You said: buy a pass"]


def profile(line: LineSimulator, user: str) -> tuple[int, Any]:
    connection = HTTPConnection(line.url.removeprefix("http://"), timeout=30)
    connection.request("GET", f"/v2/bot/profile/{user}", headers={"Authorization": "Bearer t"})
    response = connection.getresponse()
    answer = response.status, json.load(response)
    connection.close()
    return answer


class TestWebhook:
    COMMON: dict[str, Any] = {"clock": lambda: 1706745600.123, "random_bytes": lambda size: b"\xab" * size}

    def test_signature_is_the_one_of_lines_example(self) -> None:
        # docs/messaging-api/verify-webhook-signature
        body = b'{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":[]}'
        secret = "8c570fa6dd201bb328f1c1eac23a96d8"

        assert line_webhook.webhook_body([], "U8e742f61d673b39c7fff3cecb7536ef0") == body
        assert line_webhook.signature(secret, body) == "GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs="

    def test_lines_own_kit_accepts_and_reads_the_events(self) -> None:
        from linebot.v3.webhook import SignatureValidator, WebhookParser
        from linebot.v3.webhooks import (
            FollowEvent,
            MessageEvent,
            PostbackEvent,
            UnfollowEvent,
            UnsendEvent,
        )

        events = [
            line_webhook.text_event(ANN, "你好"),
            line_webhook.postback_event(ANN, "a=1", params={"date": "2026-01-01"}),
            line_webhook.follow_event(ANN),
            line_webhook.unfollow_event(ANN),
            line_webhook.unsend_event(ANN, "325708"),
        ]
        body = line_webhook.webhook_body(events)
        signature = line_webhook.signature(SECRET, body)

        assert SignatureValidator(SECRET).validate(body.decode(), signature)
        assert not SignatureValidator("other").validate(body.decode(), signature)
        read = WebhookParser(SECRET).parse(body.decode(), signature)
        assert [type(event) for event in read] == [
            MessageEvent,
            PostbackEvent,
            FollowEvent,
            UnfollowEvent,
            UnsendEvent,
        ]
        assert read[0].message.text == "你好"

    def test_text_event(self) -> None:
        assert line_webhook.text_event(ANN, "hi", **self.COMMON) == {
            "type": "message",
            "mode": "active",
            "timestamp": 1706745600123,
            "source": {"type": "user", "userId": ANN},
            "webhookEventId": "01HNGZE63VNENTQAXBNENTQAXB",
            "deliveryContext": {"isRedelivery": False},
            "message": {
                "type": "text",
                "id": "48320974825434027",
                "quoteToken": "ab" * 16,
                "text": "hi",
            },
            "replyToken": "ab" * 16,
        }

    def test_everything_can_be_set(self) -> None:
        event = line_webhook.text_event(
            ANN,
            "hi",
            message_id="1",
            quote_token="q",
            webhook_event_id="01FZ74A0TDDPYRVKNK77XKC3ZR",
            reply_token="r",
            timestamp=7,
            is_redelivery=True,
        )
        assert event == {
            "type": "message",
            "mode": "active",
            "timestamp": 7,
            "source": {"type": "user", "userId": ANN},
            "webhookEventId": "01FZ74A0TDDPYRVKNK77XKC3ZR",
            "deliveryContext": {"isRedelivery": True},
            "message": {"type": "text", "id": "1", "quoteToken": "q", "text": "hi"},
            "replyToken": "r",
        }

    @pytest.mark.parametrize(
        ("event", "content"),
        [
            (line_webhook.postback_event(ANN, "a=1"), {"type": "postback", "postback": {"data": "a=1"}}),
            (
                line_webhook.postback_event(ANN, "a", params={"date": "2026-01-01"}),
                {"type": "postback", "postback": {"data": "a", "params": {"date": "2026-01-01"}}},
            ),
            (
                line_webhook.follow_event(ANN, is_unblocked=True),
                {"type": "follow", "follow": {"isUnblocked": True}},
            ),
        ],
    )
    def test_other_events_that_can_be_replied_to(self, event: Any, content: Any) -> None:
        assert {key: event[key] for key in content} == content
        assert re.fullmatch("[0-9a-f]{32}", event["replyToken"])

    @pytest.mark.parametrize(
        ("event", "kind"),
        [
            (line_webhook.unfollow_event(ANN), "unfollow"),
            (line_webhook.unsend_event(ANN, "1"), "unsend"),
            (line_webhook.text_event(ANN, "hi", mode="standby"), "message"),
        ],
    )
    def test_events_without_a_reply_token(self, event: Any, kind: str) -> None:
        assert event["type"] == kind
        assert "replyToken" not in event

    def test_event_ids_are_ulids(self) -> None:
        # The example of https://github.com/ulid/spec; as a UUID it is 01563e3a-b5d3-d676-4c61-efb99302bd5b.
        event = line_webhook.follow_event(
            ANN, timestamp=0x01563E3AB5D3, random_bytes=lambda size: bytes.fromhex("d6764c61efb99302bd5b")[:size]
        )
        assert event["webhookEventId"] == "01ARZ3NDEKTSV4RRFFQ69G5FAV"

    def test_event_ids_are_unique(self) -> None:
        ids = {line_webhook.follow_event(ANN)["webhookEventId"] for _ in range(100)}
        assert len(ids) == 100
        assert all(re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", one) for one in ids)

    def test_bot_has_a_user_id(self) -> None:
        assert re.fullmatch("U[0-9a-f]{32}", line_webhook.BOT_USER_ID)
