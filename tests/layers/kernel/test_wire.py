"""Requests over connections that are kept, lost, cut, slow or not to be trusted."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import select
import socket
import socketserver
import ssl
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kernel import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message
    from pathlib import Path

    Step = Callable[["Connection"], bool]

WAIT = 10.0
AMAZON = "dynamodb.us-east-1.amazonaws.com"


class Request(NamedTuple):
    """What arrived: on which connection, counted from 1, and how many bytes came at once."""

    connection: int
    line: str
    headers: Message
    body: bytes
    at_once: int


class Connection(socketserver.StreamRequestHandler):
    """Answers each request with the next step of the server's script; a step tells whether the connection stays."""

    server: Server
    timeout = WAIT

    def handle(self) -> None:
        self.server.opened.append(self.connection)
        number = len(self.server.opened)
        with contextlib.suppress(OSError):
            while request := self._request(number):
                self.server.requests.append(request)
                if not self.server.script.pop(0)(self):
                    return

    def _request(self, number: int) -> Request | None:
        at_once = len(self.rfile.peek())
        line = self.rfile.readline().decode().strip()
        if not line:
            return None
        headers = http.client.parse_headers(self.rfile)
        body = self.rfile.read(int(headers["content-length"] or 0))
        return Request(number, line, headers, body, at_once)


class Server(socketserver.ThreadingTCPServer):
    """A server that does what its script says, a step a request."""

    def __init__(self, *script: Step, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        self.opened: list[socket.socket] = []
        self.stopping = threading.Event()
        self._failures: list[object] = []
        self._tls = tls
        super().__init__(("127.0.0.1", 0), Connection)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.005,))

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        for connection in self.opened:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        assert self._failures == []

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with contextlib.suppress(OSError), self._tls.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self._failures.append(sys.exc_info()[1])


def answers(body: Any = b"", status: int = 200, *, stays: bool = True, **headers: str) -> Step:
    """Answer as told; `stays=False` closes afterwards without having said so."""

    def step(connection: Connection) -> bool:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n" for name, value in {"Content-Length": str(len(content)), **told}.items()]
        connection.wfile.write(f"HTTP/1.1 {status} Said\r\n{''.join(lines)}\r\n".encode() + content)
        return stays

    return step


def closes(connection: Connection) -> bool:
    """Read the request and close without a word."""
    return False


def resets(connection: Connection) -> bool:
    """Read the request and break the connection."""
    connection.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.rfile.close()
    connection.connection.close()
    return False


def hangs(connection: Connection) -> bool:
    """Read the request and never answer."""
    connection.server.stopping.wait(WAIT)
    return False


def cuts(connection: Connection) -> bool:
    """Close in the middle of the answer."""
    connection.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal")
    return False


def babbles(connection: Connection) -> bool:
    """Answer with something that is not HTTP."""
    connection.wfile.write(b"220 mail.example.com ESMTP\r\n")
    return False


def in_turn(*steps: Step) -> Step:
    """Do several steps on one request."""

    def step(connection: Connection) -> bool:
        return [one(connection) for one in steps][-1]

    return step


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    yield
    for connection in wire._kept.__dict__.pop("open", {}).values():
        connection.close()


def kept_socket(server: Server) -> socket.socket:
    return wire._kept.open["http", f"127.0.0.1:{server.port}"].sock


def await_arrival(server: Server) -> None:
    """Wait until what the server did to the idle connection has arrived here."""
    assert select.select([kept_socket(server)], [], [], WAIT)[0]


def told(reply: wire.Reply) -> tuple[int, dict[str, str], bytes, bool]:
    """A reply with its headers as plain values."""
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return reply.status, headers, reply.body, reply.repeated


def test_sends_what_it_is_given_and_returns_the_whole_answer():
    with Server(answers("Grüße".encode(), 201, X_Amzn_RequestId="R1", Content_Type="text/plain")) as server:
        reply = wire.send("PUT", f"{server.url}/a/b?c=d&e=%20", {"X-One": "1", "host": "elsewhere"}, b"body")

    (request,) = server.requests
    assert request.line == "PUT /a/b?c=d&e=%20 HTTP/1.1"
    assert sorted((name.lower(), value) for name, value in request.headers.items()) == [
        ("accept-encoding", "identity"),
        ("content-length", "4"),
        ("host", "elsewhere"),
        ("x-one", "1"),
    ]
    assert request.body == b"body"
    headers = {"content-length": "7", "x-amzn-requestid": "R1", "content-type": "text/plain"}
    assert told(reply) == (201, headers, "Grüße".encode(), False)


def test_asks_for_the_root_when_the_address_names_no_path():
    with Server(answers(), answers()) as server:
        wire.send("GET", server.url, {})
        wire.send("GET", f"{server.url}?a=1", {})

    assert [request.line for request in server.requests] == ["GET / HTTP/1.1", "GET /?a=1 HTTP/1.1"]


def test_head_and_body_leave_together():
    with Server(answers()) as server:
        wire.send("POST", server.url, {}, b"x" * 1000)

    (request,) = server.requests
    assert request.at_once > 1000
    assert request.body == b"x" * 1000


@pytest.mark.parametrize("status", [204, 302, 304, 404, 500])
def test_every_status_is_an_answer(status):
    with Server(answers(b"", status, Location="http://127.0.0.1:1/")) as server:
        reply = wire.send("GET", server.url, {})

    assert (reply.status, reply.headers["location"], reply.body) == (status, "http://127.0.0.1:1/", b"")
    assert len(server.requests) == 1


def test_keeps_the_connection():
    with Server(*[answers()] * 5) as server:
        for _ in range(5):
            wire.send("POST", server.url, {}, b"1")

    assert [request.connection for request in server.requests] == [1] * 5


def test_each_place_and_each_thread_has_its_own_connection():
    def elsewhere() -> None:
        wire.send("GET", one.url, {})
        wire._kept.open["http", f"127.0.0.1:{one.port}"].close()

    with Server(*[answers()] * 3) as one, Server(answers()) as other:
        wire.send("GET", one.url, {})
        wire.send("GET", other.url, {})
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        wire.send("GET", one.url, {})

    assert [request.connection for request in one.requests] == [1, 2, 1]
    assert [request.connection for request in other.requests] == [1]


def test_opens_a_new_connection_after_one_that_was_announced_to_close():
    with Server(answers(Connection="close", stays=False), answers()) as server:
        wire.send("POST", server.url, {}, b"1")
        reply = wire.send("POST", server.url, {}, b"2")

    assert [(request.connection, request.body) for request in server.requests] == [(1, b"1"), (2, b"2")]
    assert not reply.repeated


def test_a_request_on_a_new_connection_is_not_repeated_although_there_was_one_before():
    with Server(answers(Connection="close", stays=False), closes) as server:
        wire.send("POST", server.url, {}, b"1")
        with pytest.raises(wire.Unreachable) as raised:
            wire.send("POST", server.url, {}, b"2")

    assert raised.value.sent
    assert [request.body for request in server.requests] == [b"1", b"2"]


@pytest.mark.parametrize("end", [closes, resets])
def test_an_idle_connection_that_was_closed_is_replaced_before_anything_is_sent(end):
    with Server(in_turn(answers(), end), answers(b"again")) as server:
        wire.send("POST", server.url, {}, b"1")
        await_arrival(server)
        reply = wire.send("POST", server.url, {}, b"2")

    assert told(reply) == (200, {"content-length": "5"}, b"again", False)
    assert [(request.connection, request.body) for request in server.requests] == [(1, b"1"), (2, b"2")]


def test_words_on_an_idle_connection_answer_no_later_request():
    answered = threading.Event()

    def wait(connection: Connection) -> bool:
        return answered.wait(WAIT)

    with Server(in_turn(answers(b"one"), wait, answers(b"late", 408)), answers(b"two")) as server:
        wire.send("GET", server.url, {})
        answered.set()
        await_arrival(server)
        reply = wire.send("GET", server.url, {})

    assert (reply.status, reply.body) == (200, b"two")
    assert [request.connection for request in server.requests] == [1, 2]


@pytest.mark.parametrize("end", [closes, resets])
def test_a_kept_connection_that_breaks_under_a_request_makes_it_repeated_once(end):
    with Server(answers(), end, answers(b"there")) as server:
        wire.send("POST", server.url, {}, b"1")
        reply = wire.send("POST", server.url, {}, b"2")

    assert told(reply) == (200, {"content-length": "5"}, b"there", True)
    assert [(request.connection, request.body) for request in server.requests] == [(1, b"1"), (1, b"2"), (2, b"2")]


@pytest.mark.parametrize("end", [closes, resets, cuts, babbles])
def test_a_repeated_request_is_given_up_as_sent(end):
    with Server(answers(), closes, end) as server:
        wire.send("POST", server.url, {}, b"1")
        with pytest.raises(wire.Unreachable) as raised:
            wire.send("POST", server.url, {}, b"2")

    assert raised.value.sent
    assert [request.body for request in server.requests] == [b"1", b"2", b"2"]


def test_a_request_whose_repetition_found_nobody_may_have_been_carried_out(monkeypatch):
    with Server(answers(), closes) as server:
        wire.send("POST", server.url, {}, b"1")
        monkeypatch.setattr(socket, "create_connection", refuse)
        with pytest.raises(wire.Unreachable) as raised:
            wire.send("POST", server.url, {}, b"2")

    assert raised.value.sent


def refuse(*_: Any, **__: Any) -> socket.socket:
    raise ConnectionRefusedError(111, "Connection refused")


def test_a_request_that_could_not_leave_a_kept_connection_does_not_count_as_repeated(monkeypatch):
    with Server(in_turn(answers(), resets), answers()) as server:
        wire.send("POST", server.url, {}, b"1")
        await_arrival(server)
        # The connection breaks between the look at it and the request.
        monkeypatch.setattr(wire, "_dropped", lambda kept: False)
        reply = wire.send("POST", server.url, {}, b"2")

    assert not reply.repeated
    assert [request.body for request in server.requests] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (closes, "RemoteDisconnected: Remote end closed connection without response"),
        (resets, "ConnectionResetError: [Errno 104] Connection reset by peer"),
        (hangs, "TimeoutError: timed out"),
        (cuts, "IncompleteRead: IncompleteRead(3 bytes read, 7 more expected)"),
        (babbles, "BadStatusLine: 220 mail.example.com ESMTP\r\n"),
    ],
)
def test_a_request_without_an_answer_may_have_been_carried_out_and_is_not_repeated(step, reason):
    with Server(step) as server:
        with pytest.raises(wire.Unreachable) as raised:
            wire.send("POST", server.url, {}, b"1", timeout=0.1 if step is hangs else WAIT)
        assert wire._kept.open == {}

    assert raised.value.sent
    assert str(raised.value) == f"127.0.0.1: {reason}"
    assert len(server.requests) == 1


@pytest.mark.parametrize("step", [hangs, cuts, babbles])
def test_other_trouble_on_a_kept_connection_is_not_repeated(step):
    with Server(answers(), step) as server:
        wire.send("POST", server.url, {}, b"1")
        with pytest.raises(wire.Unreachable) as raised:
            wire.send("POST", server.url, {}, b"2", timeout=0.1 if step is hangs else WAIT)

    assert raised.value.sent
    assert [request.body for request in server.requests] == [b"1", b"2"]


def test_an_answer_that_comes_too_late_answers_no_later_request():
    waited = threading.Event()

    def late(connection: Connection) -> bool:
        waited.wait(WAIT)
        return answers(b"late")(connection)

    with Server(late, answers(b"next")) as server:
        with pytest.raises(wire.Unreachable):
            wire.send("GET", f"{server.url}/one", {}, timeout=0.05)
        waited.set()
        reply = wire.send("GET", f"{server.url}/two", {})

    assert reply.body == b"next"
    assert [(request.connection, request.line) for request in server.requests] == [
        (1, "GET /one HTTP/1.1"),
        (2, "GET /two HTTP/1.1"),
    ]


@pytest.mark.parametrize("problem", [ConnectionRefusedError, TimeoutError, socket.gaierror])
def test_without_a_connection_nothing_was_sent(monkeypatch, problem):
    def fail(*_: Any, **__: Any) -> socket.socket:
        raise problem("no way")

    monkeypatch.setattr(socket, "create_connection", fail)
    with pytest.raises(wire.Unreachable) as raised:
        wire.send("POST", "http://nowhere.example:1234/", {}, b"1")

    assert not raised.value.sent
    assert str(raised.value) == f"nowhere.example: {problem.__name__}: no way"


def test_the_timeout_is_the_one_of_the_call(monkeypatch):
    asked = []
    connect = socket.create_connection

    def note(address: Any, timeout: float, *rest: Any) -> socket.socket:
        asked.append(timeout)
        return connect(address, timeout, *rest)

    monkeypatch.setattr(socket, "create_connection", note)
    with Server(answers(), answers()) as server:
        wire.send("GET", server.url, {}, timeout=7)
        first = kept_socket(server).gettimeout()
        wire.send("GET", server.url, {}, timeout=3)
        second = kept_socket(server).gettimeout()

    assert (asked, first, second) == ([7], 7, 3)


@pytest.mark.parametrize("header", ["the-token\r\nX-More: b", "the-token 測"])
@pytest.mark.parametrize("kept", [False, True])
def test_a_header_that_cannot_be_sent_leaves_nothing_behind_and_is_not_quoted(kept, header):
    with Server(answers(), answers(b"clean")) as server:
        if kept:
            wire.send("POST", server.url, {}, b"1")
        with pytest.raises(ValueError, match="header") as raised:
            wire.send("POST", server.url, {"X-Token": header}, b"2")
        assert str(raised.value) == "127.0.0.1: a header holds what HTTP cannot carry"
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__
        reply = wire.send("POST", server.url, {"X-Token": "c"}, b"3")

    assert reply.body == (b"clean" if kept else b"")
    assert [request.body for request in server.requests] == ([b"1", b"3"] if kept else [b"3"])
    assert server.requests[-1].headers.get_all("x-token") == ["c"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Roots that nobody else trusts, and what a server needs to be two hosts under them."""
    folder = tmp_path_factory.mktemp("tls")
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate(root_key, root_key, "Root", x509.BasicConstraints(ca=True, path_length=0))
    names = x509.SubjectAlternativeName([x509.DNSName(AMAZON), x509.DNSName("api.line.me")])
    leaf = _certificate(key, root_key, "Leaf", names)
    pem = serialization.Encoding.PEM
    roots = folder / "roots.pem"
    roots.write_bytes(root.public_bytes(pem))
    chain = folder / "leaf.pem"
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(plain + leaf.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return roots, context


def _certificate(
    key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, name: str, extension: x509.ExtensionType
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2400, 1, 1, tzinfo=datetime.UTC))
        .add_extension(extension, critical=False)
        .sign(signer, hashes.SHA256())
    )


@pytest.fixture
def tls_server(authority: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that every host name leads to."""
    connect = socket.create_connection
    with Server(answers(b"safe"), answers(b"safe"), tls=authority[1]) as server:
        monkeypatch.setattr(
            socket, "create_connection", lambda address, *how: connect(("127.0.0.1", server.port), *how)
        )
        yield server


def test_amazon_is_trusted_by_the_roots_of_the_vendor_layer(tls_server, authority, monkeypatch):
    monkeypatch.setattr(wire, "_AMAZON_ROOTS", authority[0])

    assert [wire.send("GET", f"https://{AMAZON}/", {}).body for _ in range(2)] == [b"safe", b"safe"]
    assert [request.connection for request in tls_server.requests] == [1, 1]


@pytest.mark.parametrize("host", ["api.line.me", f"{AMAZON}.api.line.me"])
def test_nobody_else_is(tls_server, authority, monkeypatch, host):
    monkeypatch.setattr(wire, "_AMAZON_ROOTS", authority[0])

    with pytest.raises(wire.Unreachable, match="CERTIFICATE_VERIFY_FAILED") as raised:
        wire.send("POST", f"https://{host}/", {}, b"1")

    assert not raised.value.sent
    assert tls_server.requests == []


def test_the_host_must_be_the_one_that_was_asked_for(tls_server, authority, monkeypatch):
    monkeypatch.setattr(wire, "_AMAZON_ROOTS", authority[0])

    with pytest.raises(wire.Unreachable, match="Hostname mismatch") as raised:
        wire.send("POST", "https://sqs.us-east-1.amazonaws.com/", {}, b"1")

    assert not raised.value.sent
    assert tls_server.requests == []


def test_without_the_vendor_layer_the_machine_s_roots_decide(tls_server, authority, monkeypatch, tmp_path):
    monkeypatch.setattr(wire, "_AMAZON_ROOTS", tmp_path / "missing.pem")

    with pytest.raises(wire.Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        wire.send("GET", f"https://{AMAZON}/", {})

    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    assert wire.send("GET", f"https://{AMAZON}/", {}).body == b"safe"
