"""What the doubles of Messenger and WeChat share: a port, people with their windows, scripted failures, memory.

Over HTTP it is told and asked under `/_simulator/`: GET messages?user=&after=&wait= and calls; POST reset, clock
{"forward": seconds}, users/{id} {"name", "picture", "unknown", "blocked", "heard": event or null} and failures
{"path", "code", "subcode", "status", "times", "accept", "message", "retryAfter"}.
"""

import argparse
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from local.line_http import Answer, Outcome, Request, Server, json_answer

MAX_WAIT = 25.0

# What a person may do, with how many seconds it opens and for how many messages (None: any number).
Windows = Mapping[str, tuple[float, int | None]]


@dataclass(frozen=True)
class Call:
    """One call of the platform; credentials are left out."""

    method: str
    path: str
    body: str
    status: Outcome


@dataclass(frozen=True)
class Sent:
    """One message that reached one person."""

    seq: int
    user: str
    message: Mapping[str, Any]


@dataclass
class Person:
    """What the double knows of one user; `heard` holds when he did what, and how many messages answered that."""

    name: str = ""
    picture: str = ""
    unknown: bool = False
    blocked: bool = False
    heard: dict[str, tuple[float, int]] = field(default_factory=dict)


@dataclass
class Failure:
    """A failure to come: the platform's code or an HTTP status or an ending, with `accept` after the work is done."""

    path: str
    code: int | None = None
    subcode: int | None = None
    status: Outcome | None = None
    times: int = 1
    accept: bool = False
    message: str = "Scripted failure"
    retry_after: int | None = None


class RefusedError(Exception):
    """Ends a call with the platform's answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode())
        self.answer = answer


class Platform(Protocol):
    """The rules of one platform."""

    def answer(self, request: Request, double: "ChatDouble") -> Answer:
        """Do what a call asks; RefusedError ends it."""

    def failed(self, failure: Failure) -> Answer:
        """Return a scripted failure in the platform's shape."""


class ChatDouble:
    """A platform that runs at `url` between `start` and `stop`, or as a context manager; port 0 takes a free port.

    Windows are strict, so tell with `heard` what a person did. Somebody never mentioned before counts as having just
    written.
    """

    def __init__(self, platform: Platform, *, port: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.platform = platform
        self._clock = clock
        self._forwarded = 0.0
        self._changed = threading.Condition(threading.RLock())
        self._closing = False
        self._seq = 0
        self._forget()
        self._server = Server(port, self._respond)
        self._thread = threading.Thread(target=self._accept, name="chat-double")
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End all connections and give the port back."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        # The accepting thread sleeps until somebody connects.
        with contextlib.suppress(ConnectionError):
            socket.create_connection(("127.0.0.1", self._server.server_port)).close()
        self._thread.join()
        self._server.close()

    @property
    def calls(self) -> list[Call]:
        """Every call of the platform, in the order in which they were answered."""
        with self._changed:
            return list(self._calls)

    @property
    def sent(self) -> list[Sent]:
        """Every message that reached somebody, in order."""
        return self.messages()

    def messages(self, user: str | None = None, after: int = 0, wait: float = 0.0) -> list[Sent]:
        """Return what was sent (to `user`) after a sequence number, waiting for it if need be."""
        found: list[Sent] = []

        def arrived() -> bool:
            found[:] = [one for one in self._sent if one.seq > after and user in (None, one.user)]
            return bool(found) or self._closing

        with self._changed:
            self._changed.wait_for(arrived, timeout=min(wait, MAX_WAIT))
            return found

    def now(self) -> float:
        """Return the double's time, in seconds since the epoch."""
        return self._clock() + self._forwarded

    def forward(self, seconds: float) -> None:
        """Put the double's time on, so that windows and tokens end."""
        with self._changed:
            self._forwarded += seconds

    def person(self, user: str) -> Person:
        """Return what is known of somebody; changes of it hold."""
        with self._changed:
            if user not in self._people:
                self._people[user] = Person(heard={"message": (self.now(), 0)})
            return self._people[user]

    def heard(self, user: str, event: str = "message") -> None:
        """Say that somebody did something now that opens a window."""
        self.person(user).heard[event] = (self.now(), 0)

    def silence(self, user: str) -> None:
        """Say that all windows of somebody are over."""
        self.person(user).heard.clear()

    def fail(self, failure: Failure) -> None:
        """Let the next `times` calls of a path (`*` matches anything) fail."""
        if failure.code is None and failure.status is None:
            raise ValueError("a failure needs a code or a status")
        with self._changed:
            self._failures.append(failure)

    def reset(self) -> None:
        """Forget all calls, messages, people and failures; numbers go on counting up."""
        with self._changed:
            self._forget()

    def spend(self, user: str, windows: Windows) -> Literal["open", "closed", "used up"]:
        """Use one message of a window that is open for somebody, else tell why none is."""
        heard = self.person(user).heard
        found = [name for name, (life, _) in windows.items() if name in heard and self.now() - heard[name][0] < life]
        for name in found:
            at, used = heard[name]
            most = windows[name][1]
            if most is None or used < most:
                heard[name] = (at, used + 1)
                return "open"
        return "used up" if found else "closed"

    def deliver(self, user: str, message: Mapping[str, Any]) -> int:
        """Keep a message that reached somebody and return its number."""
        self._seq += 1
        self._sent.append(Sent(self._seq, user, message))
        self._changed.notify_all()
        return self._seq

    def _forget(self) -> None:
        self._calls: list[Call] = []
        self._sent: list[Sent] = []
        self._people: dict[str, Person] = {}
        self._failures: list[Failure] = []

    def _accept(self) -> None:
        while not self._closing:
            self._server.handle_request()

    def _respond(self, request: Request) -> Answer:
        if request.path.startswith("/_simulator/"):
            try:
                return json_answer(200, self._control(request))
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                return json_answer(400, {"message": f"not understood: {error}"})
        with self._changed:
            answer = self._answer(request)
            # The body of a token call is the app's secret.
            body = "" if request.path.endswith("token") else request.body.decode(errors="replace")
            self._calls.append(Call(request.method, request.path, body, answer.status))
        return answer

    def _answer(self, request: Request) -> Answer:
        failure = next((one for one in self._failures if fnmatchcase(request.path, one.path)), None)
        if failure is not None:
            failure.times -= 1
            if failure.times <= 0:
                self._failures.remove(failure)
            if not failure.accept:
                return self._failed(failure)
        try:
            answer = self.platform.answer(request, self)
        except RefusedError as refused:
            return refused.answer
        return answer if failure is None else self._failed(failure)

    def _failed(self, failure: Failure) -> Answer:
        if isinstance(failure.status, str):
            return Answer(failure.status, b"", {})
        answer = self.platform.failed(failure)
        retry = {} if failure.retry_after is None else {"Retry-After": str(failure.retry_after)}
        return Answer(failure.status or answer.status, answer.body, {**answer.headers, **retry})

    def _control(self, request: Request) -> Mapping[str, Any]:
        place = request.path.removeprefix("/_simulator/").split("/")
        if request.method == "GET" and place == ["messages"]:
            query = request.query
            found = self.messages(query.get("user"), int(query.get("after", "0")), float(query.get("wait", "0")))
            return {"messages": [vars(one) for one in found], "last": self._seq}
        if request.method == "GET" and place == ["calls"]:
            return {"calls": [vars(one) for one in self.calls]}
        fields = json.loads(request.body) if request.body else {}
        match place:
            case ["reset"]:
                self.reset()
            case ["clock"]:
                self.forward(float(fields["forward"]))
            case ["failures"]:
                names = {"retryAfter": "retry_after"}
                self.fail(Failure(**{names.get(name, name): value for name, value in fields.items()}))
            case ["users", user]:
                self._set_person(user, fields)
            case _:
                raise ValueError("no such control endpoint")
        return {}

    def _set_person(self, user: str, fields: Mapping[str, Any]) -> None:
        if strange := set(fields) - {"name", "picture", "unknown", "blocked", "heard"}:
            raise ValueError(f"no property of a person: {', '.join(sorted(strange))}")
        with self._changed:
            person = self.person(user)
            for name in ("name", "picture", "unknown", "blocked"):
                setattr(person, name, fields.get(name, getattr(person, name)))
            if fields.get("heard"):
                self.heard(user, str(fields["heard"]))
            elif "heard" in fields:
                self.silence(user)


def run(make: Callable[[int], ChatDouble], name: str, default_port: int, arguments: Sequence[str] | None) -> None:
    """Run a double on the port of the command line until it is interrupted."""
    parser = argparse.ArgumentParser(description=f"Run the {name} simulator until it is interrupted.")
    parser.add_argument("--port", type=int, default=default_port)
    port = parser.parse_args(arguments).port
    try:
        double = make(port)
    except OSError as error:
        sys.exit(f"can't listen on port {port}: {error.strerror}")
    with contextlib.suppress(KeyboardInterrupt), double:
        print(f"{name} simulator on {double.url}", flush=True)
        threading.Event().wait()
