"""Outgoing HTTP over kept connections; the one door to AWS and to the channels."""

from __future__ import annotations

import http.client
import select
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_kept = threading.local()
# Made by the vendor layer's build: the five roots that sign *.amazonaws.com, 45 ms faster to load than all.
_AMAZON_ROOTS = Path("/opt/python/amazon-roots.pem")


class Reply(NamedTuple):
    """What the other side answered; headers are found in any case.

    `repeated` tells that the request went out twice, because a kept connection closed without an answer.
    """

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    repeated: bool = False


class Unreachable(Exception):
    """No answer: `sent` tells whether the request may have been carried out."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class _Whole:
    """Sends head and body of a request in one packet, which `http.client` would send in two."""

    _held: list[bytes] | None = None

    def send(self, data: Any) -> None:
        """Keep the data while a request is put together, else send it."""
        if self._held is None:
            super().send(data)  # type: ignore[misc]  # mixed into the connections below
        else:
            self._held.append(data)

    def request(self, *args: Any, **how: Any) -> None:
        """Send a request whose body is bytes."""
        self._held = []
        try:
            super().request(*args, **how)  # type: ignore[misc]
            whole = b"".join(self._held)
        finally:
            self._held = None
        self.send(whole)


class _Plain(_Whole, http.client.HTTPConnection):
    pass


class _Encrypted(_Whole, http.client.HTTPSConnection):
    pass


def _connect(scheme: str, host: str, timeout: float) -> http.client.HTTPConnection:
    if scheme == "http":
        return _Plain(host, timeout=timeout)
    cafile = str(_AMAZON_ROOTS) if host.endswith(".amazonaws.com") and _AMAZON_ROOTS.exists() else None
    return _Encrypted(host, timeout=timeout, context=ssl.create_default_context(cafile=cafile))


def _dropped(kept: socket.socket) -> bool:
    """Tell whether an idle connection has something to read: its end, or words that answer no request."""
    waiting = select.poll()
    waiting.register(kept, select.POLLIN)
    return bool(waiting.poll(0))


def send(method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float = 5.0) -> Reply:
    """Send one request and read the whole answer; redirects are answers, not followed.

    A kept connection that the other side has closed is replaced before anything is sent. When it breaks under the
    request, that goes out once more on a new one. Nearly always it was closed before the request was read; as that
    cannot be known, the reply says `repeated`.
    """
    parts = urlsplit(url)
    connections: dict[tuple[str, str], http.client.HTTPConnection] = _kept.__dict__.setdefault("open", {})
    place = (parts.scheme, parts.netloc)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    repeated = False
    while True:
        connection = connections.get(place)
        if connection is None:
            connection = connections[place] = _connect(parts.scheme, parts.netloc, timeout)
        connection.timeout = timeout
        if connection.sock is not None and _dropped(connection.sock):
            connection.close()
        kept = connection.sock is not None
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        sent = False
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            sent = True
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read(), repeated)
        except BaseException as problem:
            # What is left of the request must not precede the next one.
            connections.pop(place, None)
            connection.close()
            if not isinstance(problem, OSError | http.client.HTTPException):
                if isinstance(problem, ValueError):
                    # The original quotes the header, which may be a credential.
                    raise ValueError(f"{parts.hostname}: a header holds what HTTP cannot carry") from None
                raise
            stale = isinstance(problem, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError))
            if not (kept and stale):
                reason = f"{parts.hostname}: {type(problem).__name__}: {problem}"
                raise Unreachable(reason, sent=sent or repeated) from problem
            repeated = sent
