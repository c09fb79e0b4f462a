"""The HTTP of the LINE simulator: requests in, answers out, on one port; it knows no endpoint."""

import contextlib
import hashlib
import json
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

MAX_BODY = 2 * 1024 * 1024
USER = re.compile(r"U[0-9a-f]{32}")

Outcome = int | Literal["closed", "timeout"]


@dataclass(frozen=True)
class Request:
    """One request; `too_large` says that its body was over the limit and is left out."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    too_large: bool

    def header(self, name: str) -> str | None:
        """Return a header by its name in lower case."""
        return next((value for key, value in self.headers.items() if key.lower() == name), None)

    @property
    def token(self) -> str | None:
        """The fingerprint of the bearer token, which stands for the channel."""
        scheme, _, token = (self.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        return fingerprint(token)

    @property
    def content_type(self) -> str:
        """The media type of the body, without parameters, in lower case."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @property
    def retry_key(self) -> str | None:
        """The retry key in lower case, as LINE compares it."""
        key = self.header("x-line-retry-key")
        return key if key is None else key.lower()


@dataclass(frozen=True)
class Answer:
    """One answer; its status may be an ending without one."""

    status: Outcome
    body: bytes
    headers: Mapping[str, str]


class RefusedError(Exception):
    """Ends a call with an error answer in LINE's shape."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, **more: object) -> None:
        super().__init__(message)
        self.answer = json_answer(status, {"message": message, **more}, headers)


class Server(ThreadingHTTPServer):
    """Listens on the port from the start; `close` ends all connections and waits for their threads."""

    # Closing waits for the threads, so that none outlives its test.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, port: int, respond: Callable[[Request], Answer]) -> None:
        self.respond = respond
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        """Take the port."""
        # HTTPServer asks DNS for the name of 127.0.0.1 here, which takes seconds on some networks.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection, then start its thread."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, then end it."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong here, not a client that left."""
        # A client that gave up waiting is what "timeout" is there to provoke.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """End all connections and stop listening."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

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

    def _request(self) -> Request:
        length = int(self.headers.get("Content-Length", "0"))
        too_large = length > MAX_BODY
        if too_large:
            # Unread bytes would reset the connection before the client sees the 413.
            while length > 0 and (part := self.rfile.read(min(length, 65536))):
                length -= len(part)
        address = urlsplit(self.path)
        return Request(
            method=self.command,
            path=unquote(address.path),
            query={key: values[-1] for key, values in parse_qs(address.query).items()},
            headers=dict(self.headers.items()),
            body=b"" if too_large else self.rfile.read(length),
            too_large=too_large,
        )

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the calls can be read at /_simulator/calls."""


def fingerprint(secret: str) -> str:
    """Return what stands for a secret in everything that can be read."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


def json_answer(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is JSON."""
    return Answer(
        status,
        json.dumps(body, ensure_ascii=False).encode(),
        {"Content-Type": "application/json", **(headers or {})},
    )


def fields_of(request: Request) -> Mapping[str, Any]:
    """Return the JSON object of a request's body."""
    if request.content_type != "application/json":
        raise RefusedError(415, f"The content type, {request.content_type}, is not supported")
    try:
        fields = json.loads(request.body)
    except ValueError as error:
        raise RefusedError(400, "The request body could not be parsed as JSON (line: -, column: -)") from error
    if not isinstance(fields, dict):
        raise RefusedError(400, "The request body could not be parsed as JSON (line: 1, column: 1)")
    return fields


def flawed(flaws: Sequence[tuple[str, str]]) -> RefusedError:
    """Return the refusal that lists flaws, each a path and words."""
    return RefusedError(
        400,
        f"The request body has {len(flaws)} error(s)",
        details=[{"message": message, "property": path} for path, message in flaws],
    )


def invalid_property(name: str) -> RefusedError:
    """Return the refusal of a property whose value cannot be one."""
    return RefusedError(400, f"The property, {name}, in the request body is invalid (line: -, column: -)")
