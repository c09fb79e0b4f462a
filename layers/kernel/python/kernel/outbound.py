"""Calls to addresses that tenants name; none of them leads into a private network.

Who names the address may also own the name's DNS and the server behind it, so both count as hostile: what the name
resolves to is checked, exactly the checked address is connected to, and time and size of an answer are bounded.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import time
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from queue import Empty, SimpleQueue
from threading import Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from kernel.settings import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    Address = IPv4Address | IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_OPEN_PORTS = 1024
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
_WITH_BODY = {"POST", "PUT", "PATCH"}
_REDIRECTS = {301, 302, 303, 307, 308}
_HEAD_LIMIT = 32 * 1024
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

# URL parsers disagree about these, or drop them silently.
_UNCLEAR = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@%]{1,253}))(?::([0-9]{0,5}))?")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
# What frames the message or names its receiver is decided here alone.
_OWN_HEADERS = {
    "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip

# https://www.iana.org/assignments/iana-ipv4-special-registry, with multicast and 240/4. They are written out, because
# `is_global` calls multicast global and its list depends on the version of Python.
_SPECIAL_V4 = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
# Only this part of IPv6 is given out for public use, and of it not the documentation's addresses, nor 2001::/23
# (Teredo among it) and 6to4, whose packets end at an IPv4 address that the sender chooses.
_PUBLIC_V6 = ip_network("2000::/3")
_SPECIAL_V6 = tuple(ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = ip_network("64:ff9b::/96")


class Answer(NamedTuple):
    """What the other side answered, whatever the status; headers are found in any case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class NotAllowed(Exception):
    """The address, or where it redirects to, may not be called; says why, without path, query or resolved address."""


class NoAnswer(Exception):
    """Nobody there, not in time, too much or no HTTP; the request may have been carried out."""


class _TooLarge(Exception):
    pass


class _Place(NamedTuple):
    scheme: str
    host: str
    port: int
    target: str

    @property
    def named(self) -> str:
        """The host as it stands in URLs."""
        return f"[{self.host}]" if ":" in self.host else self.host


class _Reading(io.RawIOBase):
    """Reads from a connection until a moment and, all in all, hardly more than `room` bytes."""

    def __init__(self, line: socket.socket, until: float) -> None:
        self._line = line
        self._until = until
        self.room = _HEAD_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.room <= 0:
            raise _TooLarge
        self._line.settimeout(_left(self._until))
        count = self._line.recv_into(buffer)
        self.room -= count
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """Stand in for the socket that `HTTPResponse` reads from."""
        return io.BufferedReader(self)


def ask(
    method: str,
    url: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] = _NO_HEADERS,
    timeout: float = 5.0,
    limit: int = 64 * 1024,
    redirects: int = 2,
) -> Answer:
    """Send one request to an address that a tenant named and return the answer, decompressing nothing.

    Allowed are http and https on ports 80, 443 and from 1024 up, at names all of whose addresses are public.
    `timeout` seconds bound the whole call, from resolving to the last byte; `limit` bounds the body of the answer.
    Redirects are followed `redirects` times within the same host and port, or from http to https of the same host.
    Raises NotAllowed or NoAnswer.
    """
    until = time.monotonic() + timeout
    place = _place(url)
    sent = _checked(method, headers)
    for _ in range(redirects + 1):
        answer = _exchange(place, method, sent, body, limit, until)
        ahead = answer.headers["Location"]
        if answer.status not in _REDIRECTS or ahead is None:
            return answer
        url, place = _onward(url, place, ahead)
        # https://www.rfc-editor.org/rfc/rfc9110#section-15.4
        if (answer.status == 303 and method != "HEAD") or (answer.status in (301, 302) and method == "POST"):
            method, body = "GET", b""
            sent = {name: value for name, value in sent.items() if not name.lower().startswith("content-")}
    raise NoAnswer(f"{place.host}: redirects more than {redirects} times")


def _place(url: str) -> _Place:
    if _UNCLEAR.search(url):
        raise NotAllowed("the URL holds spaces, backslashes or control characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise NotAllowed("the URL is no http or https URL") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc:
        raise NotAllowed("the URL is no http or https URL")
    if "@" in parts.netloc:
        raise NotAllowed("the URL holds credentials")
    found = _PLACE.fullmatch(parts.netloc)
    if not found:
        raise NotAllowed("the URL names no host")
    host = found[1].lower() if found[1] else _ascii(found[2])
    port = int(found[3] or _DEFAULT_PORTS[parts.scheme])
    if not (port in _DEFAULT_PORTS.values() or _OPEN_PORTS <= port < 65536):
        raise NotAllowed(f"{host}: port {port} may not be called")
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return _Place(parts.scheme, host, port, quote(target, safe=_PRINTABLE))


def _ascii(host: str) -> str:
    try:
        # Without the dot that ends a complete name: certificates do not have it.
        name = host.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):
        raise NotAllowed("the URL names no host")
    return name


def _checked(method: str, headers: Mapping[str, str]) -> dict[str, str]:
    if method not in _METHODS:
        raise NotAllowed("the method is unknown")
    for name, value in headers.items():
        # The value may be a credential, so nothing is quoted.
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise NotAllowed("a header holds what HTTP cannot carry")
        if name.lower() in _OWN_HEADERS:
            raise NotAllowed(f"the header {name} may not be set")
    named = any(name.lower() == "user-agent" for name in headers)
    return dict(headers) if named else {"User-Agent": "CityPass", **headers}


def _onward(url: str, place: _Place, ahead: str) -> tuple[str, _Place]:
    """Return where a redirect leads, as URL and place; credentials of the request go there, so it is the same host."""
    try:
        url = urljoin(url, ahead)
    except ValueError:
        raise NotAllowed(f"{place.host}: redirects to no URL") from None
    onward = _place(url)
    if onward.host != place.host:
        raise NotAllowed(f"{place.host}: redirects to another host")
    upgraded = (place.scheme, onward.scheme) == ("http", "https")
    if not upgraded and (onward.scheme, onward.port) != (place.scheme, place.port):
        raise NotAllowed(f"{place.host}: redirects to another service of the host")
    return url, onward


def _exchange(place: _Place, method: str, headers: dict[str, str], body: bytes, limit: int, until: float) -> Answer:
    try:
        line = _connected(_allowed(place, until), until)
        try:
            if place.scheme == "https":
                line.settimeout(_left(until))
                line = _trust().wrap_socket(line, server_hostname=place.host)
            _send(line, _head(place, method, headers, body) + body, until)
            return _read(line, method, limit, until)
        finally:
            line.close()
    except (OSError, ValueError, http.client.HTTPException, _TooLarge) as problem:
        # http.client raises ValueError for some of what is no HTTP.
        raise NoAnswer(f"{place.host}: {_reason(problem)}") from problem


def _reason(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "did not answer in time"
    if isinstance(problem, _TooLarge):
        return "answered too much"
    if isinstance(problem, socket.gaierror):
        return "has no address"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return "has no valid certificate"
    if isinstance(problem, OSError):
        return "cannot be reached"
    return "answered with broken HTTP"


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _allowed(place: _Place, until: float) -> list[tuple[int, Any]]:
    """Resolve the host, once, and return the socket addresses to connect to; one that is not public forbids all."""
    found = _resolved(place, until)
    excepted = {entry.strip().lower() for entry in settings().outbound_exceptions.split(",")}
    if f"{place.named}:{place.port}" not in excepted:
        for family, address in found:
            if family not in (socket.AF_INET, socket.AF_INET6) or not _public(ip_address(address[0])):
                raise NotAllowed(f"{place.host}: is not a public address")
    return found


def _resolved(place: _Place, until: float) -> list[tuple[int, Any]]:
    answered: SimpleQueue[Any] = SimpleQueue()

    def look_up() -> None:
        try:
            answered.put(socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as problem:
            answered.put(problem)

    # getaddrinfo takes as long as the name's servers like; the thread it is left in ends with it.
    Thread(target=look_up, daemon=True).start()
    try:
        found = answered.get(timeout=_left(until))
    except Empty:
        raise TimeoutError from None
    if isinstance(found, Exception) or not found:
        raise socket.gaierror from found or None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _public(address: Address) -> bool:
    # `is_global` adds what later versions of Python come to know.
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None:
            special = address not in _PUBLIC_V6 or any(address in network for network in _SPECIAL_V6)
            return not special and address.is_global
        address = inner
    return address.is_global and not any(address in network for network in _SPECIAL_V4)


def _connected(addresses: list[tuple[int, Any]], until: float) -> socket.socket:
    last: OSError | None = None
    for place, (family, address) in enumerate(addresses):
        line = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A host of which one address is down is still reached in time.
            line.settimeout(_left(until) / (len(addresses) - place))
            line.connect(address)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as problem:
            line.close()
            last = problem
        else:
            return line
    raise last or OSError


def _head(place: _Place, method: str, headers: dict[str, str], body: bytes) -> bytes:
    host = place.named if place.port == _DEFAULT_PORTS[place.scheme] else f"{place.named}:{place.port}"
    lines = {"Host": host, "Accept-Encoding": "identity", "Connection": "close", **headers}
    if body or method in _WITH_BODY:
        lines["Content-Length"] = str(len(body))
    told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {place.target} HTTP/1.1\r\n{told}\r\n".encode("ascii")


def _send(line: socket.socket, data: bytes, until: float) -> None:
    rest = memoryview(data)
    while rest:
        line.settimeout(_left(until))
        rest = rest[line.send(rest) :]


def _read(line: socket.socket, method: str, limit: int, until: float) -> Answer:
    reading = _Reading(line, until)
    answer = http.client.HTTPResponse(reading, method=method)  # type: ignore[arg-type]  # it asks only for makefile
    answer.begin()
    if answer.status < 200:
        raise http.client.HTTPException
    if answer.length is not None and answer.length > limit:
        raise _TooLarge
    # Chunks may take as much for their framing as for what they hold; http.client itself reads on without end after
    # a chunk of size -1.
    reading.room = 2 * limit + _HEAD_LIMIT
    content = answer.read(limit + 1)
    if len(content) > limit:
        raise _TooLarge
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return Answer(answer.status, answer.headers, content)
