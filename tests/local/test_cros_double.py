"""The double of CROS: what it answers and keeps."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.cros_double import CrosDouble, Order

EMPTY = {"errors": [{"msg": "'account_id' in request parameter is empty.", "code": "E0001"}]}


@pytest.fixture
def double():
    with CrosDouble() as made:
        yield made


def place(url, body, **headers):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", "/order", raw, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, said


def told(answer):
    status, body = answer
    return status, json.loads(body)


def test_orders_are_numbered_and_repetitions_known(double):
    order = {"account_id": "1"}

    assert told(place(double.url, order, Idempotency_Key="a")) == (200, {"orderId": "CROS-000001"})
    assert told(place(double.url, order, Idempotency_Key="b")) == (200, {"orderId": "CROS-000002"})
    assert told(place(double.url, order, Idempotency_Key="a")) == (200, {"orderId": "CROS-000001"})
    assert told(place(double.url, order)) == (200, {"orderId": "CROS-000003"})


def test_requests_are_kept(double):
    place(double.url, {"account_id": "1"}, X_Api_Key="k")
    place(double.url, b"no JSON")

    first, second = double.requests
    assert (first.path, first.headers["x-api-key"], first.body) == ("/order", "k", {"account_id": "1"})
    assert second == Order("/order", second.headers, None)


@pytest.mark.parametrize("body", [b"no JSON", [], {}, {"account_id": ""}])
def test_without_account_id_it_refuses_as_the_document_shows(double, body):
    assert told(place(double.url, body)) == (400, EMPTY)


def test_errors_and_answers_can_be_told(double):
    double.fail("sold out", "E0042")
    assert told(place(double.url, {"account_id": "1"})) == (
        400,
        {"errors": [{"msg": "sold out", "code": "E0042"}]},
    )
    double.answer(b"<html>", status=502)
    assert place(double.url, {"account_id": "1"}) == (502, b"<html>")
    double.reset()
    assert double.requests == []
    assert told(place(double.url, {"account_id": "1"})) == (200, {"orderId": "CROS-000001"})


def test_runs_as_a_process():
    command = [sys.executable, "-m", "local.cros_double", "--port", "0"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().removeprefix("CROS double on ").strip()
            answer = told(place(url, {"account_id": "1"}))
        finally:
            process.terminate()
    assert answer == (200, {"orderId": "CROS-000001"})


def test_shows_what_it_was_asked():
    with CrosDouble() as double:
        place(double.url, {"account_id": "1"})
        with urllib.request.urlopen(f"{double.url}/_simulator/requests") as answer:
            assert json.load(answer) == [{"path": "/order", "body": {"account_id": "1"}}]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(double.url)


def test_says_when_its_port_is_taken():
    command = [sys.executable, "-m", "local.cros_double", "--port"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run([*command, port], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert ended.returncode == 1
    assert ended.stderr == f"can't listen on port {port}: Address already in use\n"


def test_leaves_no_thread_behind():
    before = threading.active_count()
    double = CrosDouble()
    double.start()
    place(double.url, {})
    double.stop()
    assert threading.active_count() == before
