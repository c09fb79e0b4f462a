"""A double of CROS over HTTP, which takes orders from conversations; keeps what it was asked in memory.

The platform calls it only when its address is among the OUTBOUND_EXCEPTIONS, because it is a private one.
GET /_simulator/requests shows what it was asked.
"""

import argparse
import contextlib
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

DEFAULT_PORT = 8794


@dataclass(frozen=True)
class Order:
    """One request; header names in lower case, `body` read as JSON, None when it is none."""

    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class _Answer:
    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class CrosDouble:
    """A running CROS at `url`, used as a context manager or with start and stop; port 0 takes a free port.

    Every order gets the next number, a repetition (same Idempotency-Key) the one it had. One without account_id is
    refused in the words of the document's example.
    """

    def __init__(self, *, port: int = 0) -> None:
        self._changed = threading.Lock()
        self._orders: list[Order] = []
        self._numbers: dict[str, str] = {}
        self._answer: _Answer | None = None
        self._server = _Server(port, self._respond, lambda: self.requests)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="cros-double")
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def requests(self) -> list[Order]:
        """Every request, in the order in which they were answered."""
        with self._changed:
            return list(self._orders)

    def fail(self, msg: str, code: str = "", *, status: int = 400) -> None:
        """Answer every request with this error from now on."""
        self.answer({"errors": [{"msg": msg, "code": code}]}, status=status)

    def answer(self, body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer every request like this from now on: bytes as they are, anything else as JSON."""
        with self._changed:
            self._answer = _Answer(status, body, headers or {})

    def reset(self) -> None:
        """Forget all requests, numbers and errors."""
        with self._changed:
            self._orders.clear()
            self._numbers.clear()
            self._answer = None

    def _respond(self, order: Order) -> _Answer:
        with self._changed:
            self._orders.append(order)
            if self._answer is not None:
                return self._answer
            if not isinstance(order.body, dict) or not order.body.get("account_id"):
                return _Answer(
                    400, {"errors": [{"msg": "'account_id' in request parameter is empty.", "code": "E0001"}]}
                )
            key = order.headers.get("idempotency-key", f"without {len(self._orders)}")
            return _Answer(200, {"orderId": self._numbers.setdefault(key, f"CROS-{len(self._numbers) + 1:06}")})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, respond: Callable[[Order], _Answer], asked: Callable[[], Sequence[Order]]) -> None:
        self.respond = respond
        self.asked = asked
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0

    def do_GET(self) -> None:
        if self.path != "/_simulator/requests":
            self.send_error(404)
            return
        self._send(_Answer(200, [{"path": one.path, "body": one.body} for one in self.server.asked()]))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"] or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(self.server.respond(Order(self.path, headers, body)))

    def _send(self, answer: _Answer) -> None:
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        kind = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in (kind | dict(answer.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the requests are kept."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the double on a port until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m local.cros_double", description=main.__doc__)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    port = parser.parse_args(arguments).port
    try:
        double = CrosDouble(port=port)
    except OSError as error:
        sys.exit(f"can't listen on port {port}: {error.strerror}")
    with contextlib.suppress(KeyboardInterrupt), double:
        print(f"CROS double on {double.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
