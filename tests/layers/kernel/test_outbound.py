"""Calls to addresses that tenants name: where they must not lead, and what hostile servers cannot do."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import socket
import socketserver
import ssl
import sys
import threading
import time
from ipaddress import IPv4Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kernel import outbound
from kernel.outbound import NoAnswer, NotAllowed, ask
from kernel.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message
    from pathlib import Path

    Step = Callable[["Connection"], None]

WAIT = 10.0
PUBLIC, OTHER_PUBLIC, PUBLIC_V6 = "93.184.215.14", "151.101.1.69", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
look_up = socket.getaddrinfo


class Request(NamedTuple):
    line: str
    headers: Message
    body: bytes


class Connection(socketserver.StreamRequestHandler):
    """Takes one request and does the next step of the server's script; the last one stays."""

    server: Server
    timeout = WAIT

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            line = self.rfile.readline().decode().strip()
            if line:
                headers = http.client.parse_headers(self.rfile)
                body = self.rfile.read(int(headers["content-length"] or 0))
                self.server.requests.append(Request(line, headers, body))
                script = self.server.script
                (script.pop(0) if len(script) > 1 else script[0])(self)


class Server(socketserver.ThreadingTCPServer):
    def __init__(self, *script: Step, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._failures: list[object] = []
        self._tls = tls
        super().__init__(("127.0.0.1", 0), Connection)
        self.port = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.005,))

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
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


def says(raw: bytes) -> Step:
    """Write these bytes and close."""

    def step(connection: Connection) -> None:
        connection.wfile.write(raw)

    return step


def answers(body: bytes = b"", status: int = 200, **headers: str) -> Step:
    told = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return says(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body)


def moved(to: str, status: int = 302) -> Step:
    return answers(status=status, Location=to)


def chunked(*chunks: bytes) -> bytes:
    told = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + told + b"0\r\n\r\n"


def drips(before: bytes, drop: bytes) -> Step:
    """Write a beginning, then a drop every 20 ms, for as long as somebody listens."""

    def step(connection: Connection) -> None:
        connection.wfile.write(before)
        while not connection.server.stopping.wait(0.02):
            connection.wfile.write(drop)

    return step


def pours(before: bytes, what: bytes) -> Step:
    """Write as fast as somebody reads."""

    def step(connection: Connection) -> None:
        connection.wfile.write(before)
        while not connection.server.stopping.is_set():
            connection.wfile.write(what)

    return step


def hangs(connection: Connection) -> None:
    connection.server.stopping.wait(WAIT)


class Internet:
    """What names resolve to, and which server stands behind a public address; nothing leaves this machine."""

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.servers: dict[str, Server | int] = {}
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self.connected: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int, *args: Any, **how: Any) -> list[Any]:
        self.asked.append(host)
        if host not in self.names:
            # Only spellings of addresses, as the C library reads them.
            return look_up(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        answered = self.names[host]
        now = answered.pop(0) if len(answered) > 1 else answered[0]
        return [found for text in now for found in look_up(text, port, type=socket.SOCK_STREAM)]


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Internet:
    """The network edge: names resolve as told, connections to public addresses reach local servers."""
    made = Internet()
    connect = socket.socket.connect

    def lead(self: socket.socket, address: Any) -> None:
        made.connected.append(address[:2])
        server = made.servers.get(address[0])
        if address[0] in made.silent:
            threading.Event().wait(self.gettimeout())
            raise TimeoutError
        if server is None:
            raise ConnectionRefusedError
        if self.family == socket.AF_INET6:
            raise OSError("no IPv6 here")
        connect(self, ("127.0.0.1", server if isinstance(server, int) else server.port))

    monkeypatch.setattr(socket, "getaddrinfo", made.resolve)
    monkeypatch.setattr(socket.socket, "connect", lead)
    return made


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STAGE", "test")
    monkeypatch.setenv("SYSTEM", "chatbot")
    monkeypatch.delenv("OUTBOUND_EXCEPTIONS", raising=False)
    settings.cache_clear()
    outbound._trust.cache_clear()
    yield
    settings.cache_clear()
    outbound._trust.cache_clear()


@pytest.fixture
def excepts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def allow(*servers: Server | str) -> None:
        entries = [entry if isinstance(entry, str) else f"127.0.0.1:{entry.port}" for entry in servers]
        monkeypatch.setenv("OUTBOUND_EXCEPTIONS", ", ".join(entries))
        settings.cache_clear()

    return allow


def told(answer: outbound.Answer) -> tuple[int, dict[str, str], bytes]:
    return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body


def reason(kind: type[Exception], *args: Any, **how: Any) -> str:
    with pytest.raises(kind) as raised:
        ask(*args, **how)
    return str(raised.value)


# What goes out and comes back


def test_sends_what_it_is_given_and_returns_the_whole_answer(internet):
    with Server(answers("Grüße".encode(), 201, X_One="1")) as server:
        internet.names["partner.example.com"] = [[PUBLIC]]
        internet.servers[PUBLIC] = server
        answer = ask("POST", "http://partner.example.com/a?b=c#d", body=b"{}", headers={"Content-Type": "text/x"})

    assert told(answer) == (201, {"content-length": "7", "x-one": "1"}, "Grüße".encode())
    (request,) = server.requests
    assert (request.line, request.body) == ("POST /a?b=c HTTP/1.1", b"{}")
    assert dict(request.headers) == {
        "Host": "partner.example.com",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "User-Agent": "CityPass",
        "Content-Type": "text/x",
        "Content-Length": "2",
    }
    assert internet.connected == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    ("method", "length"), [("GET", None), ("DELETE", None), ("HEAD", None), ("POST", "0"), ("PUT", "0"), ("PATCH", "0")]
)
def test_without_a_body_only_methods_that_want_one_tell_its_length(internet, method, length):
    with Server(answers()) as server:
        internet.servers[PUBLIC] = server
        answer = ask(method, f"http://{PUBLIC}", headers={"user-agent": "Mine"})

    assert answer.status == 200
    assert server.requests[0].line == f"{method} / HTTP/1.1"
    assert server.requests[0].headers["Content-Length"] == length
    assert server.requests[0].headers.get_all("User-Agent") == ["Mine"]


@pytest.mark.parametrize(
    ("url", "line", "host", "port"),
    [
        ("http://p.example.com:8080", "GET / HTTP/1.1", "p.example.com:8080", 8080),
        ("HTTP://P.Example.COM./x", "GET /x HTTP/1.1", "p.example.com", 80),
        ("http://p.example.com:/x", "GET /x HTTP/1.1", "p.example.com", 80),
        ("http://p.example.com:443/", "GET / HTTP/1.1", "p.example.com:443", 443),
        ("http://p.example.com?q=%20&r=[1]", "GET /?q=%20&r=[1] HTTP/1.1", "p.example.com", 80),
        ("http://p.example.com/查?城=市", "GET /%E6%9F%A5?%E5%9F%8E=%E5%B8%82 HTTP/1.1", "p.example.com", 80),
        ("http://例え.example/", "GET / HTTP/1.1", "xn--r8jz45g.example", 80),
    ],
)
def test_urls_are_read_like_this(internet, url, line, host, port):
    with Server(answers()) as server:
        internet.names = {"p.example.com": [[PUBLIC]], "xn--r8jz45g.example": [[PUBLIC]]}
        internet.servers[PUBLIC] = server
        ask("GET", url)

    assert (server.requests[0].line, server.requests[0].headers["Host"]) == (line, host)
    assert internet.connected == [(PUBLIC, port)]


def test_a_compressed_answer_stays_as_it_is(internet):
    with Server(answers(b"\x1f\x8b...", Content_Encoding="gzip")) as server:
        internet.servers[PUBLIC] = server
        assert ask("GET", f"http://{PUBLIC}/").body == b"\x1f\x8b..."


def test_proxies_of_the_environment_are_ignored(internet, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Server(answers(b"direct")) as server:
        internet.servers[PUBLIC] = server
        assert ask("GET", f"http://{PUBLIC}/").body == b"direct"


def test_a_body_of_some_size_arrives_whole(internet):
    body = bytes(range(256)) * 8192
    with Server(answers()) as server:
        internet.servers[PUBLIC] = server
        ask("PUT", f"http://{PUBLIC}/", body=body)

    assert server.requests[0].body == body


# Which URLs are refused before anybody is asked


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "the URL is no http or https URL"),
        ("endPoint", "the URL is no http or https URL"),
        ("ftp://p.example.com/", "the URL is no http or https URL"),
        ("file:///etc/passwd", "the URL is no http or https URL"),
        ("gopher://p.example.com/", "the URL is no http or https URL"),
        ("//p.example.com/", "the URL is no http or https URL"),
        ("http:p.example.com", "the URL is no http or https URL"),
        ("http://", "the URL is no http or https URL"),
        ("http:///path", "the URL is no http or https URL"),
        ("http://[::1", "the URL is no http or https URL"),
        ("http://user:secret@p.example.com/", "the URL holds credentials"),
        ("http://p.example.com@10.0.0.1/", "the URL holds credentials"),
        ("http://@p.example.com/", "the URL holds credentials"),
        ("http://p.example.com\\@10.0.0.1/", "the URL holds spaces, backslashes or control characters"),
        ("http://p.example.com/a b", "the URL holds spaces, backslashes or control characters"),
        ("http://p.example.com/\r\nX: 1", "the URL holds spaces, backslashes or control characters"),
        ("http://p.exa\tmple.com/", "the URL holds spaces, backslashes or control characters"),
        ("http://p.example.com/\x00", "the URL holds spaces, backslashes or control characters"),
        ("http://p.example.com/\ud800", "the URL holds spaces, backslashes or control characters"),
        ("http://[fe80::1%25eth0]/", "the URL names no host"),
        ("http://[::1]x/", "the URL names no host"),
        ("http://[::1]x:80/", "the URL names no host"),
        ("http://p.example.com:80:90/", "the URL names no host"),
        ("http://p.example.com:٨٠/", "the URL names no host"),
        ("http://%31%30.0.0.1/", "the URL names no host"),
        ("http://p..example.com/", "the URL names no host"),
        ("http://.example.com/", "the URL names no host"),
        ("http://p$example.com/", "the URL names no host"),
        (f"http://{'a' * 64}.example.com/", "the URL names no host"),
        (f"http://{'a.' * 127}aa/", "the URL names no host"),
        ("http://p.example.com:22/", "p.example.com: port 22 may not be called"),
        ("http://p.example.com:0/", "p.example.com: port 0 may not be called"),
        ("http://p.example.com:1023/", "p.example.com: port 1023 may not be called"),
        ("http://p.example.com:65536/", "p.example.com: port 65536 may not be called"),
    ],
)
def test_these_urls_are_refused(internet, url, why):
    assert reason(NotAllowed, "GET", url) == why
    assert internet.asked == []


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"X-Key": "a\r\nX-Other: b"}, "a header holds what HTTP cannot carry"),
        ({"X-Key": "a\n"}, "a header holds what HTTP cannot carry"),
        ({"X-Key": "a\x00"}, "a header holds what HTTP cannot carry"),
        ({"X-Key": "ключ"}, "a header holds what HTTP cannot carry"),
        ({"X-Key\r\nX-Other": "a"}, "a header holds what HTTP cannot carry"),
        ({"X Key": "a"}, "a header holds what HTTP cannot carry"),
        ({"X-Key:": "a"}, "a header holds what HTTP cannot carry"),
        ({"": "a"}, "a header holds what HTTP cannot carry"),
        ({"Host": "10.0.0.1"}, "the header Host may not be set"),
        ({"content-length": "0"}, "the header content-length may not be set"),
        ({"Transfer-Encoding": "chunked"}, "the header Transfer-Encoding may not be set"),
        ({"Connection": "keep-alive"}, "the header Connection may not be set"),
        ({"Accept-Encoding": "gzip"}, "the header Accept-Encoding may not be set"),
    ],
)
def test_these_headers_are_refused(internet, headers, why):
    assert reason(NotAllowed, "GET", "http://p.example.com/", headers=headers) == why
    assert internet.asked == []


def test_a_method_cannot_carry_a_request(internet):
    assert reason(NotAllowed, "GET / HTTP/1.1\r\nX: 1\r\n\r\nPOST", f"http://{PUBLIC}/") == "the method is unknown"
    assert internet.asked == []


# Which addresses are refused

FORBIDDEN_V4 = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
    "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.9", "192.0.0.170", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255",
]  # fmt: skip
FORBIDDEN_V6 = [
    "::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808", "100::1", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:db8::1",
    "2002:a00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "4000::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip
SPELLINGS = [
    "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "0", "0x0",
    "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "10.1", "１２７。０。０。１", "①②⑦.0.0.1", "127.0.0.1.",
]  # fmt: skip


@pytest.mark.parametrize("host", [*FORBIDDEN_V4, *SPELLINGS, *(f"[{text}]" for text in FORBIDDEN_V6)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_an_address_leads_inside(internet, scheme, host):
    assert reason(NotAllowed, "GET", f"{scheme}://{host}/").endswith(": is not a public address")
    assert internet.connected == []


@pytest.mark.parametrize("address", [*FORBIDDEN_V4, *FORBIDDEN_V6])
def test_no_name_leads_inside(internet, address):
    internet.names["p.example.com"] = [[address]]

    assert reason(NotAllowed, "GET", "http://p.example.com/") == "p.example.com: is not a public address"
    assert internet.connected == []


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
        "192.0.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.255", PUBLIC_V6, "2001:4860:4860::8888", "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)  # fmt: skip
def test_neighbours_of_the_special_ranges_are_called(internet, address):
    internet.names["p.example.com"] = [[address]]

    assert reason(NoAnswer, "GET", "http://p.example.com/") == "p.example.com: cannot be reached"
    assert [ip_address(host) for host, _ in internet.connected] == [ip_address(address)]


V4_SPECIAL = [*outbound._SPECIAL_V4]


@st.composite
def inside(draw: st.DrawFn) -> IPv4Address:
    network = draw(st.sampled_from(V4_SPECIAL))
    return network[draw(st.integers(0, network.num_addresses - 1))]


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """Any private IPv4 address in any spelling or mapped form."""
    number = int(draw(inside()))
    form = draw(st.sampled_from(["parts", "::ffff:", "64:ff9b::", "2002:", "2001:0:", "::"]))
    if form == "2002:":
        return f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::{draw(st.integers(0, 0xFFFF)):x}]"
    if form == "2001:0:":
        # Teredo holds the client's address inverted.
        inverted = number ^ 0xFFFFFFFF
        return f"[2001:0:808:808:0:0:{inverted >> 16:x}:{inverted & 0xFFFF:x}]"
    if form != "parts":
        tail = draw(st.sampled_from([str(IPv4Address(number)), f"{number >> 16:x}:{number & 0xFFFF:x}"]))
        return f"[{form}{tail}]"
    count = draw(st.integers(1, 4))
    parts = [number >> (24 - 8 * place) & 0xFF for place in range(count - 1)]
    parts.append(number & (1 << (8 * (5 - count))) - 1)
    return ".".join(draw(st.sampled_from(["{}", "{:#x}", "{:#X}", "0{:o}", "000{:o}"])).format(part) for part in parts)


@given(spelled(), st.sampled_from(["http", "https"]))
@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
def test_any_private_address_is_refused_however_it_is_written(internet, host, scheme):
    with pytest.raises(NotAllowed):
        ask("GET", f"{scheme}://{host}/")
    assert internet.connected == []


def test_the_spellings_are_read_as_they_are_meant(internet):
    # Else the tests above would pass because nothing understands them.
    for host, number in {"0x7f.1": "127.0.0.1", "017700000001": "127.0.0.1", "2852039166": "169.254.169.254"}.items():
        assert internet.resolve(host, 80)[0][4] == (number, 80)


def test_the_network_of_the_machine_itself_is_refused_without_any_double():
    assert reason(NotAllowed, "GET", "http://localhost:8080/") == "localhost: is not a public address"


@pytest.mark.parametrize("answered", [[PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "fd00::1"], [PUBLIC, "::1"]])
def test_one_private_address_among_public_ones_forbids_all(internet, answered):
    internet.names["p.example.com"] = [answered]

    assert reason(NotAllowed, "GET", "http://p.example.com/") == "p.example.com: is not a public address"
    assert internet.connected == []


def test_the_address_that_was_checked_is_the_one_that_is_called(internet):
    internet.names["p.example.com"] = [[PUBLIC], ["127.0.0.1"]]
    with Server(answers(b"public")) as public, Server(answers(b"private")) as private:
        internet.servers = {PUBLIC: public, "127.0.0.1": private}
        answer = ask("GET", "http://p.example.com/")

    assert answer.body == b"public"
    assert internet.asked == ["p.example.com"]
    assert internet.connected == [(PUBLIC, 80)]
    assert private.requests == []


def test_the_next_address_is_tried_when_one_is_down(internet):
    internet.names["p.example.com"] = [[PUBLIC_V6, OTHER_PUBLIC, PUBLIC]]
    with Server(answers(b"here")) as server:
        internet.servers = {PUBLIC: server}
        assert ask("GET", "http://p.example.com/").body == b"here"

    assert [host for host, _ in internet.connected] == [PUBLIC_V6, OTHER_PUBLIC, PUBLIC]


def test_an_address_that_says_nothing_leaves_time_for_the_next(internet):
    internet.names["p.example.com"] = [[OTHER_PUBLIC, PUBLIC]]
    internet.silent = {OTHER_PUBLIC}
    with Server(answers(b"here")) as server:
        internet.servers = {PUBLIC: server}
        assert ask("GET", "http://p.example.com/", timeout=1).body == b"here"
    internet.silent = {OTHER_PUBLIC, PUBLIC}
    assert reason(NoAnswer, "GET", "http://p.example.com/", timeout=0.1) == "p.example.com: did not answer in time"


# Exceptions of local stacks


def test_an_excepted_place_is_called_although_private(excepts):
    with Server(answers(b"local")) as server, Server(answers(b"other")) as other:
        excepts("other.example.com:8080", server)
        assert ask("GET", f"http://127.0.0.1:{server.port}/").body == b"local"
        assert reason(NotAllowed, "GET", f"http://127.0.0.1:{other.port}/") == "127.0.0.1: is not a public address"

    assert server.requests[0].headers["Host"] == f"127.0.0.1:{server.port}"
    assert other.requests == []


def test_an_exception_is_the_name_and_not_what_it_resolves_to(excepts, internet):
    internet.names["p.example.com"] = [["127.0.0.1"]]
    with Server(answers()) as server:
        internet.servers["127.0.0.1"] = server
        excepts(f"127.0.0.1:{server.port}", "Inside.example.com:8080", "[::1]:8080")
        internet.names["inside.example.com"] = [["127.0.0.1"]]
        assert reason(NotAllowed, "GET", f"http://p.example.com:{server.port}/").endswith("not a public address")
        assert ask("GET", "http://INSIDE.example.com:8080/").status == 200
        assert reason(NoAnswer, "GET", "http://[::1]:8080/") == "::1: cannot be reached"
        assert reason(NotAllowed, "GET", "http://[::1]:8081/") == "::1: is not a public address"


# Redirects


@pytest.mark.parametrize(
    ("method", "status", "then", "body"),
    [
        ("POST", 301, "GET", b""),
        ("POST", 302, "GET", b""),
        ("POST", 303, "GET", b""),
        ("POST", 307, "POST", b"{}"),
        ("POST", 308, "POST", b"{}"),
        ("PUT", 301, "PUT", b"{}"),
        ("PUT", 303, "GET", b""),
        ("GET", 302, "GET", b""),
        ("HEAD", 303, "HEAD", b""),
    ],
)
def test_a_redirect_within_the_host_is_followed(internet, method, status, then, body):
    sent = b"{}" if method in ("POST", "PUT") else b""
    with Server(moved("/b?c=d", status), answers()) as server:
        internet.names["p.example.com"] = [[PUBLIC]]
        internet.servers[PUBLIC] = server
        headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
        answer = ask(method, "http://p.example.com/a", body=sent, headers=headers)

    assert answer.status == 200
    _, second = server.requests
    assert (second.line, second.body) == (f"{then} /b?c=d HTTP/1.1", body)
    assert second.headers["Authorization"] == "Bearer key"
    assert (second.headers["Content-Type"] is None) == (then == "GET" and method != "GET")
    assert internet.asked == ["p.example.com", "p.example.com"]


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("http://q.example.com/", "p.example.com: redirects to another host"),
        ("//q.example.com/", "p.example.com: redirects to another host"),
        ("http://p.example.com.q.example.com/", "p.example.com: redirects to another host"),
        ("http://169.254.169.254/latest/meta-data/", "p.example.com: redirects to another host"),
        ("http://p.example.com:8080/", "p.example.com: redirects to another service of the host"),
        ("http://p.example.com:22/", "p.example.com: port 22 may not be called"),
        ("http://p.example.com@10.0.0.1/", "the URL holds credentials"),
        ("file:///etc/passwd", "the URL is no http or https URL"),
        ("http://[", "p.example.com: redirects to no URL"),
    ],
)
def test_other_redirects_are_refused(internet, to, why):
    with Server(moved(to), answers()) as server:
        internet.names = {"p.example.com": [[PUBLIC]], "q.example.com": [[OTHER_PUBLIC]]}
        internet.servers = {PUBLIC: server, OTHER_PUBLIC: server}
        assert reason(NotAllowed, "GET", "http://p.example.com/", headers={"Authorization": "Bearer key"}) == why

    assert len(server.requests) == 1


def test_a_redirect_is_resolved_and_checked_anew(internet):
    internet.names["p.example.com"] = [[PUBLIC], ["10.0.0.1"]]
    with Server(moved("/again"), answers()) as server:
        internet.servers = {PUBLIC: server, "10.0.0.1": server}
        assert reason(NotAllowed, "GET", "http://p.example.com/") == "p.example.com: is not a public address"

    assert internet.connected == [(PUBLIC, 80)]


def test_an_exception_does_not_reach_other_ports(excepts):
    with Server(answers()) as inner, Server(moved("/")) as server:
        server.script = [moved(f"http://127.0.0.1:{inner.port}/")]
        excepts(server)
        why = reason(NotAllowed, "GET", f"http://127.0.0.1:{server.port}/")

    assert why == "127.0.0.1: redirects to another service of the host"
    assert inner.requests == []


@pytest.mark.parametrize("redirects", [0, 1, 3])
def test_a_loop_ends(internet, redirects):
    with Server(moved("/")) as server:
        internet.servers[PUBLIC] = server
        why = reason(NoAnswer, "GET", f"http://{PUBLIC}/", redirects=redirects)

    assert why == f"{PUBLIC}: redirects more than {redirects} times"
    assert len(server.requests) == redirects + 1


def test_what_only_looks_like_a_redirect_is_an_answer(internet):
    with Server(answers(status=302), answers(status=304, Location="/"), answers(status=200, Location="/")) as server:
        internet.servers[PUBLIC] = server
        assert [ask("GET", f"http://{PUBLIC}/").status for _ in range(3)] == [302, 304, 200]


# Time


@pytest.mark.parametrize(
    "step",
    [
        hangs,
        drips(b"", b"H"),
        drips(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"x"),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drips(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        drips(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silence", "status", "headers", "length", "chunks", "until close", "continue"],
)
def test_the_whole_call_has_a_deadline(internet, step):
    with Server(step) as server:
        internet.servers[PUBLIC] = server
        began = time.monotonic()
        why = reason(NoAnswer, "GET", f"http://{PUBLIC}/", timeout=0.2)
        took = time.monotonic() - began

    assert why == f"{PUBLIC}: did not answer in time"
    assert 0.2 <= took < 2


def test_redirects_share_the_deadline(internet):
    def slowly(connection: Connection) -> None:
        connection.server.stopping.wait(0.15)
        moved("/")(connection)

    with Server(slowly) as server:
        internet.servers[PUBLIC] = server
        why = reason(NoAnswer, "GET", f"http://{PUBLIC}/", timeout=0.4, redirects=100)

    assert why == f"{PUBLIC}: did not answer in time"
    assert len(server.requests) <= 3


def test_a_server_that_reads_nothing_does_not_hold_the_call(internet):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        internet.servers[PUBLIC] = deaf.getsockname()[1]
        why = reason(NoAnswer, "PUT", f"http://{PUBLIC}/", body=bytes(32 * 1024 * 1024), timeout=0.2)

    assert why == f"{PUBLIC}: did not answer in time"


def test_a_server_that_reads_slowly_does_not_hold_the_call(internet):
    over = threading.Event()

    def sip() -> None:
        with slow.accept()[0] as connection, contextlib.suppress(OSError):
            while not over.wait(0.005) and connection.recv(64 * 1024):
                pass

    with socket.create_server(("127.0.0.1", 0)) as slow:
        thread = threading.Thread(target=sip)
        thread.start()
        internet.servers[PUBLIC] = slow.getsockname()[1]
        began = time.monotonic()
        why = reason(NoAnswer, "PUT", f"http://{PUBLIC}/", body=bytes(64 * 1024 * 1024), timeout=0.3)
        took = time.monotonic() - began
        over.set()
        thread.join()

    assert why == f"{PUBLIC}: did not answer in time"
    assert took < 2


def test_resolving_counts_too(monkeypatch):
    over = threading.Event()

    def slow(*args: Any, **how: Any) -> list[Any]:
        over.wait(WAIT)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    why = reason(NoAnswer, "GET", "http://p.example.com/", timeout=0.2)
    took = time.monotonic() - began
    over.set()

    assert why == "p.example.com: did not answer in time"
    assert took < 2


# Size


@pytest.mark.parametrize("size", [0, 1, 100])
def test_what_is_just_within_the_limit_comes_whole(internet, size):
    body = b"x" * size
    with Server(
        answers(body), says(chunked(*([body] if body else []))), says(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    ) as server:
        internet.servers[PUBLIC] = server
        assert [ask("GET", f"http://{PUBLIC}/", limit=100).body for _ in range(3)] == [body] * 3


def test_small_chunks_are_not_too_much(internet):
    with Server(says(chunked(*[b"x"] * 10_000))) as server:
        internet.servers[PUBLIC] = server
        assert ask("GET", f"http://{PUBLIC}/").body == b"x" * 10_000


@pytest.mark.parametrize(
    "step",
    [
        answers(b"x" * 101),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        says(chunked(b"x" * 60, b"x" * 41)),
        says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101),
        pours(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096),
        pours(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
        pours(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 60_000 + b"\r\nx\r\n"),
        pours(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", b"x" * 4096),
        pours(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: 1\r\n" * 100),
        says(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(90)) + b"\r\n"),
        pours(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    ],
    ids=[
        "length", "only declared", "chunks", "until close", "endless", "endless chunks", "chunk extensions",
        "negative chunk", "trailers", "headers", "continue",
    ],
)  # fmt: skip
def test_too_much_is_not_read(internet, step):
    with Server(step) as server:
        internet.servers[PUBLIC] = server
        assert reason(NoAnswer, "GET", f"http://{PUBLIC}/", limit=100) == f"{PUBLIC}: answered too much"


# Broken answers


@pytest.mark.parametrize(
    "raw",
    [
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 twohundred OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhallo\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 101 + b"\r\n",
    ],
)
def test_what_is_no_whole_answer_is_none(internet, raw):
    with Server(says(raw)) as server:
        internet.servers[PUBLIC] = server
        assert reason(NoAnswer, "GET", f"http://{PUBLIC}/") == f"{PUBLIC}: answered with broken HTTP"


def test_nobody_there(internet):
    internet.names["empty.example.com"] = [[]]
    with Server(says(b"")) as server:
        internet.servers[PUBLIC] = server
        assert reason(NoAnswer, "GET", f"http://{PUBLIC}/?key=secret") == f"{PUBLIC}: cannot be reached"
    assert reason(NoAnswer, "GET", f"http://{OTHER_PUBLIC}/") == f"{OTHER_PUBLIC}: cannot be reached"
    assert reason(NoAnswer, "GET", "http://gone.example.com/") == "gone.example.com: has no address"
    assert reason(NoAnswer, "GET", "http://empty.example.com/") == "empty.example.com: has no address"


@given(
    st.sampled_from(
        [
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ]
    ),
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from([b"\r\n", b"\n", b": ", b"Content-Length", b"-1", b"5", b"0", b"HTTP/1.1", b"\x00", b";"]),
        ),
        max_size=12,
    ),
)
@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
def test_no_answer_breaks_the_caller(internet, before, parts):
    with Server(says(before + b"".join(parts))) as server:
        internet.servers[PUBLIC] = server
        with contextlib.suppress(NoAnswer):
            assert len(ask("GET", f"http://{PUBLIC}/", limit=100, redirects=0).body) <= 100


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for p.example.com that signs itself: the file, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "p.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("p.example.com")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path_factory.mktemp("tls") / "p.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context


@pytest.fixture
def tls_server(certificate: tuple[Path, ssl.SSLContext], internet: Internet) -> Iterator[Server]:
    with Server(answers(b"safe"), tls=certificate[1]) as server:
        internet.names = {"p.example.com": [[PUBLIC]], "q.example.com": [[PUBLIC]]}
        internet.servers[PUBLIC] = server
        yield server


def test_a_certificate_nobody_signed_is_refused(tls_server, internet):
    assert reason(NoAnswer, "GET", "https://p.example.com/") == "p.example.com: has no valid certificate"
    assert tls_server.requests == []
    assert internet.connected == [(PUBLIC, 443)]


def test_a_trusted_certificate_holds_for_its_name_alone(tls_server, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    names: list[str | None] = []
    certificate[1].sni_callback = lambda _, name, __: names.append(name)

    answer = ask("POST", "https://p.example.com/a", body=json.dumps({}).encode())

    assert (answer.status, answer.body) == (200, b"safe")
    assert tls_server.requests[0].headers["Host"] == "p.example.com"
    assert reason(NoAnswer, "GET", "https://q.example.com/") == "q.example.com: has no valid certificate"
    assert reason(NoAnswer, "GET", f"https://{PUBLIC}/") == f"{PUBLIC}: has no valid certificate"
    assert len(tls_server.requests) == 1
    assert names == ["p.example.com", "q.example.com", None]


def test_from_http_a_redirect_may_lead_to_https_and_never_back(tls_server, certificate, internet, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    internet.names["p.example.com"] = [[OTHER_PUBLIC], [PUBLIC]]
    with Server(moved("https://p.example.com/")) as plain:
        internet.servers[OTHER_PUBLIC] = plain
        assert ask("GET", "http://p.example.com/").body == b"safe"

    tls_server.script = [moved("http://p.example.com/")]
    why = reason(NotAllowed, "GET", "https://p.example.com/")

    assert why == "p.example.com: redirects to another service of the host"
    assert internet.connected == [(OTHER_PUBLIC, 80), (PUBLIC, 443), (PUBLIC, 443)]


def test_a_handshake_that_never_ends_is_given_up(internet):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        internet.servers[PUBLIC] = deaf.getsockname()[1]
        why = reason(NoAnswer, "GET", f"https://{PUBLIC}/", timeout=0.2)

    assert why == f"{PUBLIC}: did not answer in time"


def test_all_special_ranges_are_covered_by_the_samples():
    covered = {network for network in V4_SPECIAL for text in FORBIDDEN_V4 if IPv4Address(text) in network}

    assert covered == set(V4_SPECIAL)
    assert ip_network("169.254.0.0/16") in covered
