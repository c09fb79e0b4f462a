"""A double of LINE's Messaging API over HTTP; `api` and `api-data` share its one port.

It answers as LINE's reference (https://developers.line.biz/en/reference/messaging-api/, here `ref#…`)
and OpenAPI document say, keeps what it was asked and delivers into memory.
"""

import argparse
import base64
import contextlib
import dataclasses
import hashlib
import json
import re
import socket
import socketserver
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

from local.line_webhook import BOT_USER_ID

DEFAULT_PORT = 8791
MAX_BODY = 2 * 1024 * 1024
MAX_WAIT = 25.0

Outcome = int | Literal["closed", "timeout"]
Validator = Callable[[object], Sequence[tuple[str, str]]]

_RETRYABLE = {"/v2/bot/message/push", "/v2/bot/message/multicast"}
# Quoting an imagemap, a sound or a place isn't possible (docs/messaging-api/get-quote-tokens).
_QUOTABLE = {"text", "textV2", "sticker", "image", "video", "template", "flex"}
_RECIPIENT = re.compile(r"[UCR][0-9a-f]{32}")
_USER = re.compile(r"U[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PROFILE = re.compile(r"/v2/bot/profile/([^/]+)")
_CONTENT = re.compile(r"/v2/bot/message/([^/]+)/content")
_MESSAGES_OF_STATUS = {
    429: "The API rate limit has been exceeded. Try again later.",
    500: "Internal server error",
}


@dataclass(frozen=True)
class Call:
    """One call of the Messaging API; its access token shows only as a fingerprint."""

    request_id: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    status: Outcome
    retry_key: str | None
    token: str | None

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Delivery:
    """One message that reached one person; `user` is None when its reply token was nobody's."""

    seq: int
    user: str | None
    via: Literal["reply", "push", "multicast"]
    message_id: str
    message: Mapping[str, Any]


@dataclass(frozen=True)
class Person:
    """What the simulator knows of one user ID."""

    blocked: bool = False
    unknown: bool = False
    display_name: str | None = None

    @property
    def reachable(self) -> bool:
        """Whether messages arrive and the profile can be read."""
        return not (self.blocked or self.unknown)


@dataclass(frozen=True)
class Content:
    """One answer of the content endpoint: 200 with bytes, 202, 404 or 410 (ref#get-content)."""

    status: int = 200
    data: bytes = b""
    content_type: str = "image/jpeg"


@dataclass
class _Failure:
    path: str
    status: Outcome
    times: int
    accept: bool
    message: str | None
    retry_after: int | None


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    too_large: bool

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers.items() if key.lower() == name), None)

    @property
    def token(self) -> str | None:
        scheme, _, token = (self.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        return hashlib.sha256(token.encode()).hexdigest()[:12]

    @property
    def retry_key(self) -> str | None:
        key = self.header("x-line-retry-key")
        return key if key is None else key.lower()


@dataclass(frozen=True)
class _Answer:
    status: Outcome
    body: bytes
    headers: Mapping[str, str]


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, **more: object) -> None:
        super().__init__(message)
        self.answer = _json(status, {"message": message, **more}, headers)


class LineSimulator:
    """A running Messaging API at `url`, used as a context manager; port 0 takes a free port.

    `validate` gets a call's messages and returns what is wrong as path (`[0].text`) and words; without
    it the platform's own rules judge. `monthly_limit` caps how many people push and multicast reach.
    """

    def __init__(self, *, port: int = 0, validate: Validator | None = None, monthly_limit: int | None = None) -> None:
        self._validate = validate or _flaws_of_messages
        self._monthly_limit = monthly_limit
        self._changed = threading.Condition()
        self._closing = False
        self._seq = 0
        self._requests = 0
        self._message_ids = 0
        self._forget()
        self._server = _Server(port, self._respond)
        self._thread = threading.Thread(target=self._accept, name="line-simulator")
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """Every call of the Messaging API, in the order in which they were answered."""
        with self._changed:
            return list(self._calls)

    @property
    def sent(self) -> list[Delivery]:
        """Every message that reached somebody, in order."""
        with self._changed:
            return list(self._deliveries)

    def messages(self, user: str | None = None, after: int = 0, wait: float = 0.0) -> list[Delivery]:
        """Return what was delivered (to `user`) after a sequence number, waiting for it if need be."""
        return self._read(user, after, wait)[0]

    def set_person(
        self,
        user_id: str,
        *,
        blocked: bool | None = None,
        unknown: bool | None = None,
        display_name: str | None = None,
    ) -> None:
        """Set what is given of a user ID's state; the rest stays."""
        with self._changed:
            person = self._person(user_id)
            self._people[user_id] = Person(
                person.blocked if blocked is None else blocked,
                person.unknown if unknown is None else unknown,
                person.display_name if display_name is None else display_name,
            )

    def fail(
        self,
        path: str,
        status: Outcome,
        *,
        times: int = 1,
        accept: bool = False,
        message: str | None = None,
        retry_after: int | None = 1,
    ) -> None:
        """Let the next `times` calls of a path (`*` matches anything) fail, with `accept` after the work.

        "closed" ends the connection without an answer, "timeout" keeps it open without one.
        """
        if not isinstance(status, int) and status not in ("closed", "timeout"):
            raise ValueError(f"status is neither a number, closed nor timeout: {status}")
        with self._changed:
            self._failures.append(_Failure(path, status, times, accept, message, retry_after))

    def own_reply_token(self, token: str, user_id: str) -> None:
        """Say whom a reply with this token reaches."""
        with self._changed:
            self._token_owners[token] = user_id

    def expire_reply_tokens(self, *tokens: str) -> None:
        """Let replies with these tokens be refused, as LINE does a minute after the webhook."""
        with self._changed:
            self._spent_tokens.update(tokens)

    def script_content(self, message_id: str, *answers: Content) -> None:
        """Set what getting a message's content answers, one after the other; the last one stays."""
        with self._changed:
            self._contents[message_id] = deque(answers)

    def reset(self) -> None:
        """Forget all calls, messages, people, failures and tokens; numbers go on counting up."""
        with self._changed:
            self._forget()

    def _forget(self) -> None:
        self._calls: list[Call] = []
        self._deliveries: list[Delivery] = []
        self._people: dict[str, Person] = {}
        self._failures: list[_Failure] = []
        self._token_owners: dict[str, str] = {}
        self._spent_tokens: set[str] = set()
        self._accepted: dict[tuple[str | None, str | None], tuple[str, dict[str, Any]]] = {}
        self._contents: dict[str, deque[Content]] = {}
        self._reached = 0

    def _accept(self) -> None:
        while not self._closing:
            self._server.handle_request()

    def _respond(self, request: _Request) -> _Answer:
        if request.path.startswith("/_simulator/"):
            try:
                return self._control(request)
            except _RefusedError as refused:
                return refused.answer
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                return _json(400, {"message": f"not understood: {error}"})
        with self._changed:
            self._requests += 1
            request_id = str(uuid.UUID(int=self._requests))
            failure = self._take_failure(request.path)
        if failure is None or failure.accept:
            try:
                answer = self._answer(request, request_id)
            except _RefusedError as refused:
                answer = refused.answer
        if failure is not None and (not failure.accept or answer.status in (200, 202)):
            answer = _scripted(failure)
        answer = dataclasses.replace(answer, headers={**answer.headers, "x-line-request-id": request_id})
        shown = {key: value for key, value in request.headers.items() if key.lower() != "authorization"}
        with self._changed:
            self._calls.append(
                Call(
                    request_id=request_id,
                    method=request.method,
                    path=request.path,
                    headers=shown,
                    body=request.body.decode(errors="replace"),
                    status=answer.status,
                    retry_key=request.retry_key,
                    token=request.token,
                )
            )
        return answer

    def _take_failure(self, path: str) -> _Failure | None:
        failure = next((one for one in self._failures if fnmatchcase(path, one.path)), None)
        if failure is not None:
            failure.times -= 1
            if failure.times <= 0:
                self._failures.remove(failure)
        return failure

    def _answer(self, request: _Request, request_id: str) -> _Answer:
        if request.token is None:
            raise _RefusedError(
                401,
                "Authentication failed due to the following reason: invalid token. "
                "Confirm that the access token in the authorization header is valid.",
            )
        if request.too_large:
            raise _RefusedError(413, "Request exceeds the max size of 2MB")
        key = request.retry_key
        if key is not None and (request.path not in _RETRYABLE or not _UUID.fullmatch(key)):
            raise _RefusedError(400, "The retry key is invalid")
        match request.method, request.path:
            case "POST", "/v2/bot/message/reply":
                return self._reply(_fields(request))
            case "POST", "/v2/bot/message/push":
                return self._push(request, request_id)
            case "POST", "/v2/bot/message/multicast":
                return self._multicast(request, request_id)
            case "POST", "/v2/bot/chat/loading/start":
                return _loading(_fields(request))
            case "GET", "/v2/bot/info":
                return _json(
                    200,
                    {
                        "userId": BOT_USER_ID,
                        "basicId": "@simulated",
                        "displayName": "Simulated bot",
                        "chatMode": "bot",
                        "markAsReadMode": "auto",
                    },
                )
            case "GET", "/v2/bot/message/quota":
                if self._monthly_limit is None:
                    return _json(200, {"type": "none"})
                return _json(200, {"type": "limited", "value": self._monthly_limit})
            case "GET", "/v2/bot/message/quota/consumption":
                return _json(200, {"totalUsage": self._reached})
            case "GET", path if profile := _PROFILE.fullmatch(path):
                return self._profile(profile[1])
            case "GET", path if content := _CONTENT.fullmatch(path):
                return self._content(content[1])
        raise _RefusedError(404, "Not found")

    def _reply(self, fields: Mapping[str, Any]) -> _Answer:
        token = fields.get("replyToken")
        if not isinstance(token, str) or not token:
            raise _flawed([("replyToken", "May not be empty")])
        messages = self._valid_messages(fields)
        with self._changed:
            if token in self._spent_tokens:
                raise _RefusedError(400, "Invalid reply token")
            self._spent_tokens.add(token)
            return _json(200, {"sentMessages": self._deliver([self._token_owners.get(token)], messages, "reply")})

    def _push(self, request: _Request, request_id: str) -> _Answer:
        fields = _fields(request)
        recipient = fields.get("to")
        if not isinstance(recipient, str) or not _RECIPIENT.fullmatch(recipient):
            raise _invalid_property("'to'")
        messages = self._valid_messages(fields)
        with self._changed:
            self._refuse_accepted(request)
            if self._person(recipient).unknown:
                raise _RefusedError(400, "Failed to send messages")
            self._count_reached([recipient])
            sent = {"sentMessages": self._deliver([recipient], messages, "push")}
            self._remember(request, request_id, sent)
        return _json(200, sent)

    def _multicast(self, request: _Request, request_id: str) -> _Answer:
        fields = _fields(request)
        recipients = fields.get("to")
        if not isinstance(recipients, list) or not 1 <= len(recipients) <= 500:
            raise _flawed([("to", "Size must be between 1 and 500")])
        for index, recipient in enumerate(recipients):
            if not isinstance(recipient, str) or not _USER.fullmatch(recipient):
                raise _invalid_property(f"to[{index}]")
        messages = self._valid_messages(fields)
        with self._changed:
            self._refuse_accepted(request)
            self._count_reached(recipients)
            self._deliver(recipients, messages, "multicast")
            self._remember(request, request_id, {})
        return _json(200, {})

    def _valid_messages(self, fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        messages = fields.get("messages")
        if flaws := self._validate(messages):
            raise _flawed([(f"messages{path}", message) for path, message in flaws])
        return cast("list[Mapping[str, Any]]", messages)

    def _refuse_accepted(self, request: _Request) -> None:
        accepted = self._accepted.get((request.token, request.retry_key))
        if accepted is not None:
            accepted_id, sent = accepted
            raise _RefusedError(
                409,
                "The retry key is already accepted",
                {"x-line-accepted-request-id": accepted_id},
                **sent,
            )

    def _remember(self, request: _Request, request_id: str, sent: dict[str, Any]) -> None:
        if request.retry_key is not None:
            # Two channels may happen to use the same key.
            self._accepted[request.token, request.retry_key] = (request_id, sent)

    def _count_reached(self, recipients: Sequence[str]) -> None:
        reached = sum(self._person(recipient).reachable for recipient in recipients)
        if self._monthly_limit is not None and self._reached + reached > self._monthly_limit:
            raise _RefusedError(429, "You have reached your monthly limit.")
        self._reached += reached

    def _deliver(
        self,
        recipients: Sequence[str | None],
        messages: Sequence[Mapping[str, Any]],
        via: Literal["reply", "push", "multicast"],
    ) -> list[dict[str, str]]:
        sent = []
        for message in messages:
            self._message_ids += 1
            entry = {"id": str(461230966842064896 + self._message_ids)}
            if message.get("type") in _QUOTABLE:
                entry["quoteToken"] = f"quote-{self._message_ids}"
            sent.append(entry)
        for recipient in recipients:
            if recipient is not None and not self._person(recipient).reachable:
                continue
            for message, entry in zip(messages, sent, strict=True):
                self._seq += 1
                self._deliveries.append(Delivery(self._seq, recipient, via, entry["id"], message))
        self._changed.notify_all()
        return sent

    def _person(self, user_id: str) -> Person:
        return self._people.get(user_id, Person())

    def _profile(self, user_id: str) -> _Answer:
        if not _USER.fullmatch(user_id):
            raise _RefusedError(400, "The value for the 'userId' parameter is invalid")
        with self._changed:
            person = self._person(user_id)
        if not person.reachable:
            raise _RefusedError(404, "Not found")
        return _json(
            200,
            {
                "userId": user_id,
                "displayName": person.display_name or f"Person {user_id[1:7]}",
                "pictureUrl": f"https://profile.example.com/{user_id}",
                "language": "en",
            },
        )

    def _content(self, message_id: str) -> _Answer:
        with self._changed:
            answers = self._contents.get(message_id)
            if not answers:
                raise _RefusedError(404, "not found")
            content = answers.popleft() if len(answers) > 1 else answers[0]
        if content.status == 200:
            return _Answer(200, content.data, {"Content-Type": content.content_type})
        if content.status == 202:
            return _json(202, {})
        raise _RefusedError(content.status, {404: "not found", 410: "Gone"}.get(content.status, "refused"))

    def _read(self, user: str | None, after: int, wait: float) -> tuple[list[Delivery], int]:
        found: list[Delivery] = []

        def arrived() -> bool:
            found[:] = [one for one in self._deliveries if one.seq > after and user in (None, one.user)]
            return bool(found) or self._closing

        with self._changed:
            self._changed.wait_for(arrived, timeout=min(wait, MAX_WAIT))
            return found, self._seq

    def _control(self, request: _Request) -> _Answer:
        if request.method == "GET":
            match request.path:
                case "/_simulator/messages":
                    query = request.query
                    found, last = self._read(
                        query.get("user"), int(query.get("after", "0")), float(query.get("wait", "0"))
                    )
                    return _json(200, {"messages": [_delivery_view(one) for one in found], "last": last})
                case "/_simulator/calls":
                    return _json(200, {"calls": [_call_view(call) for call in self.calls]})
            raise _RefusedError(404, "no such control endpoint")
        fields = _fields(request) if request.body else {}
        match request.path.removeprefix("/_simulator/").split("/"):
            case ["reset"]:
                self.reset()
            case ["users", user_id]:
                self.set_person(user_id, **_snake_case(fields))
            case ["failures"]:
                self.fail(**_snake_case(fields))
            case ["reply-tokens"]:
                self.own_reply_token(fields["token"], fields["user"])
            case ["reply-tokens", "expire"]:
                self.expire_reply_tokens(*fields["tokens"])
            case ["contents", message_id]:
                self.script_content(
                    message_id,
                    *(
                        Content(
                            one.get("status", 200),
                            base64.b64decode(one.get("base64", "")),
                            one.get("contentType", "image/jpeg"),
                        )
                        for one in fields["answers"]
                    ),
                )
            case _:
                raise _RefusedError(404, "no such control endpoint")
        return _json(200, {})


class _Server(ThreadingHTTPServer):
    # Closing waits for the threads, so that none outlives its test.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, port: int, respond: Callable[[_Request], _Answer]) -> None:
        self.respond = respond
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer asks DNS for the name of 127.0.0.1 here, which takes seconds on some networks.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that gave up waiting is what "timeout" is there to provoke.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def _serve(self) -> None:
        answer = self.server.respond(self._request())
        if isinstance(answer.status, int):
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            return
        self.close_connection = True
        if answer.status == "timeout":
            # Comes back when the client hangs up or the simulator closes.
            self.connection.recv(1)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  http.server looks for these names

    def _request(self) -> _Request:
        length = int(self.headers.get("Content-Length", "0"))
        too_large = length > MAX_BODY
        if too_large:
            # Unread bytes would reset the connection before the client sees the 413.
            while length > 0 and (part := self.rfile.read(min(length, 65536))):
                length -= len(part)
        address = urlsplit(self.path)
        return _Request(
            method=self.command,
            path=unquote(address.path),
            query={key: values[-1] for key, values in parse_qs(address.query).items()},
            headers=dict(self.headers.items()),
            body=b"" if too_large else self.rfile.read(length),
            too_large=too_large,
        )

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the calls can be read at /_simulator/calls."""


def _flaws_of_messages(messages: object) -> Sequence[tuple[str, str]]:
    # Imported late: a simulator with a validator of its own needs no kernel on its path.
    from kernel.channels.line.validation import flaws_of_messages

    return flaws_of_messages(messages)


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> _Answer:
    return _Answer(
        status,
        json.dumps(body, ensure_ascii=False).encode(),
        {"Content-Type": "application/json", **(headers or {})},
    )


def _fields(request: _Request) -> Mapping[str, Any]:
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise _RefusedError(415, f"The content type, {content_type}, is not supported")
    try:
        fields = json.loads(request.body)
    except ValueError as error:
        raise _RefusedError(400, "The request body could not be parsed as JSON (line: -, column: -)") from error
    if not isinstance(fields, dict):
        raise _RefusedError(400, "The request body could not be parsed as JSON (line: 1, column: 1)")
    return fields


def _flawed(flaws: Sequence[tuple[str, str]]) -> _RefusedError:
    return _RefusedError(
        400,
        f"The request body has {len(flaws)} error(s)",
        details=[{"message": message, "property": path} for path, message in flaws],
    )


def _invalid_property(name: str) -> _RefusedError:
    return _RefusedError(400, f"The property, {name}, in the request body is invalid (line: -, column: -)")


def _loading(fields: Mapping[str, Any]) -> _Answer:
    chat_id, seconds = fields.get("chatId"), fields.get("loadingSeconds", 20)
    flaws = []
    if not isinstance(chat_id, str) or not _USER.fullmatch(chat_id):
        flaws.append(
            (
                "chatId",
                "Only user id is acceptable, please confirm if there are any group/room ids or illegal ids.",
            )
        )
    if type(seconds) is not int or not 5 <= seconds <= 60:
        flaws.append(("loadingSeconds", "Must be between 5 and 60"))
    if type(seconds) is not int or seconds % 5:
        flaws.append(("loadingSeconds", "must be a multiple of five"))
    if flaws:
        raise _flawed(flaws)
    return _json(202, {})


def _scripted(failure: _Failure) -> _Answer:
    if not isinstance(failure.status, int):
        return _Answer(failure.status, b"", {})
    message = failure.message or _MESSAGES_OF_STATUS.get(failure.status, "Scripted failure")
    headers = {}
    if failure.status == 429 and failure.retry_after is not None:
        headers["Retry-After"] = str(failure.retry_after)
    return _json(failure.status, {"message": message}, headers)


def _snake_case(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), key): fields[key] for key in fields}


def _delivery_view(delivery: Delivery) -> dict[str, Any]:
    return {
        "seq": delivery.seq,
        "user": delivery.user,
        "via": delivery.via,
        "messageId": delivery.message_id,
        "message": delivery.message,
    }


def _call_view(call: Call) -> dict[str, Any]:
    return {
        "requestId": call.request_id,
        "method": call.method,
        "path": call.path,
        "headers": call.headers,
        "body": call.body,
        "status": call.status,
        "retryKey": call.retry_key,
        "token": call.token,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator on a port until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m local.line_simulator", description=main.__doc__)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    port = parser.parse_args(arguments).port
    sys.path.insert(0, str(Path(__file__).parent.parent / "layers" / "kernel" / "python"))
    try:
        simulator = LineSimulator(port=port)
    except OSError as error:
        sys.exit(f"can't listen on port {port}: {error.strerror}")
    with contextlib.suppress(KeyboardInterrupt), simulator:
        print(f"LINE simulator on {simulator.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
