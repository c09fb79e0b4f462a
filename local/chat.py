"""A chat with the demo bot in the terminal, over its real webhook and the LINE simulator.

Typed text is sent to the bot, a number takes the choice of that number; `/follow`, `/unfollow`, `/quit`.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlencode, urlsplit

from local import line_webhook
from local.flex_text import Choice, render

SETTINGS = Path(__file__).parent.parent / ".local"
NOT_RUNNING = "not running: make up"

# A cold worker takes a few seconds to its first answer, and hardly any to the next.
PATIENCE = 20.0
QUIET = 1.0


class NotRunningError(Exception):
    """The local stack, or a part of it, is not up."""


@dataclass(frozen=True)
class Stack:
    """Where the demo bot of the local stack listens, and its channel secret."""

    webhook: str
    secret: str
    simulator: str

    @classmethod
    def read(cls, folder: Path) -> "Stack":
        """Return what `make up` wrote into a folder."""
        try:
            base = json.loads((folder / "endpoints.json").read_text())["chatbot"]
            demo = json.loads((folder / "demo.json").read_text())["chatbot"]
            account = urlencode({"adminid": demo["adminId"], "accountid": demo["accountId"]})
            return cls(f"{base.rstrip('/')}/api/LineMessage/send?{account}", demo["accountSecret"], demo["simulator"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotRunningError(NOT_RUNNING) from error


@dataclass
class Chat:
    """One person's conversation: sends their events and writes what the bot answers to `out`."""

    stack: Stack
    name: str
    out: TextIO
    patience: float = PATIENCE
    quiet: float = QUIET
    choices: dict[int, Choice] = field(default_factory=dict)
    _seen: int = 0
    _blocked: bool = False

    @property
    def user_id(self) -> str:
        """The person's LINE user ID, the same for the same name."""
        return "U" + hashlib.sha256(self.name.encode()).hexdigest()[:32]

    def start(self) -> None:
        """Add the bot as a friend, past what it sent in earlier conversations."""
        self._seen = self._simulator("GET", f"messages?user={self.user_id}")["last"]
        self.follow()

    def follow(self) -> None:
        """Add or unblock the bot."""
        was_blocked, self._blocked = self._blocked, False
        self._simulator("POST", f"users/{self.user_id}", {"blocked": False, "displayName": self.name})
        self._send(line_webhook.follow_event(self.user_id, is_unblocked=was_blocked))

    def unfollow(self) -> None:
        """Block the bot: nothing it sends arrives any more."""
        self._blocked = True
        self._simulator("POST", f"users/{self.user_id}", {"blocked": True})
        self._deliver(line_webhook.unfollow_event(self.user_id))

    def say(self, typed: str) -> None:
        """Take the choice of that number, or send the text."""
        if self._blocked:
            self._write("you have blocked the bot: /follow")
            return
        choice = self.choices.get(int(typed)) if typed.isdecimal() else None
        if choice is None:
            self._send(line_webhook.text_event(self.user_id, typed))
        elif choice.kind == "message":
            self._send(line_webhook.text_event(self.user_id, choice.value))
        elif choice.kind == "postback":
            self._send(line_webhook.postback_event(self.user_id, choice.value))
        else:
            self._write(f"open {choice.value}")

    def _send(self, event: line_webhook.Event) -> None:
        self._simulator("POST", "reply-tokens", {"token": event["replyToken"], "user": self.user_id})
        if self._deliver(event):
            self._show_answers()

    def _deliver(self, event: line_webhook.Event) -> bool:
        try:
            status = line_webhook.deliver(self.stack.webhook, self.stack.secret, [event])
        except (OSError, http.client.HTTPException) as error:
            raise NotRunningError(NOT_RUNNING) from error
        if not 200 <= status < 300:
            self._write(f"the webhook answered {status}")
            return False
        return True

    def _show_answers(self) -> None:
        messages = self._arrived(self.patience)
        if not messages:
            self._write("(no answer)")
            return
        self.choices = {}
        while messages:
            for message in messages:
                first_number = len(self.choices) + 1
                rendered = render(message, first_number)
                self.choices.update(enumerate(rendered.choices, first_number))
                self._write(*rendered.lines)
            messages = self._arrived(self.quiet)

    def _arrived(self, wait: float) -> list[Mapping[str, Any]]:
        query = urlencode({"user": self.user_id, "after": self._seen, "wait": wait})
        answer = self._simulator("GET", f"messages?{query}")
        self._seen = answer["last"]
        return [delivery["message"] for delivery in answer["messages"]]

    def _simulator(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection(urlsplit(self.stack.simulator).netloc, timeout=60)
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, f"/_simulator/{path}", content, {"Content-Type": "application/json"})
            return json.load(connection.getresponse())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotRunningError(NOT_RUNNING) from error
        finally:
            connection.close()

    def _write(self, *lines: str) -> None:
        for line in lines:
            print(line, file=self.out, flush=True)


def converse(chat: Chat, typed: TextIO) -> None:
    """Carry on a conversation until `/quit` or the end of the input."""
    chat.start()
    for line in _lines(typed):
        match line.strip():
            case "":
                continue
            case "/quit":
                return
            case "/follow":
                chat.follow()
            case "/unfollow":
                chat.unfollow()
            case command if command.startswith("/"):
                print(f"unknown command {command}: /follow, /unfollow or /quit", file=chat.out)
            case text:
                chat.say(text)


def _lines(typed: TextIO) -> Iterator[str]:
    if not typed.isatty():
        yield from typed
        return
    # With readline, input() lets a person correct what they type.
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
    with contextlib.suppress(EOFError):
        while True:
            yield input("> ")


def main(arguments: Sequence[str] | None = None, settings: Path = SETTINGS, quiet: float = QUIET) -> int:
    """Chat with the demo bot of the local stack."""
    parser = argparse.ArgumentParser(prog="python -m local.chat", description=__doc__)
    parser.add_argument("--user", default="demo", help="who is chatting; another name is another person")
    name = parser.parse_args(arguments).user
    try:
        converse(Chat(Stack.read(settings), name, sys.stdout, quiet=quiet), sys.stdin)
    except NotRunningError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
