"""Calls of CROS and of the URLs of conditions, against a service that answers as told."""

from __future__ import annotations

import socket

import pytest

from chatbot import external
from chatbot.external import CrosAnswer, CrosError, answer_of, cros
from kernel.settings import settings
from local.cros_double import CrosDouble, Order


@pytest.fixture
def excepts(monkeypatch):
    """Lets a socket's port be called although private, and returns its URL."""
    monkeypatch.setenv("STAGE", "test")
    monkeypatch.setenv("SYSTEM", "chatbot")

    def allow(bound):
        place = f"127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("OUTBOUND_EXCEPTIONS", place)
        settings.cache_clear()
        return f"http://{place}/"

    yield allow
    settings.cache_clear()


@pytest.fixture
def service(monkeypatch, excepts):
    with CrosDouble() as double:
        monkeypatch.setenv("OUTBOUND_EXCEPTIONS", f"127.0.0.1:{double.port}")
        settings.cache_clear()
        yield double


def at(endpoint):
    return {"cros": {"endpoint": endpoint, "key": "k", "clientid": "c"}}


def setting(service, **more):
    endpoint = f"{service.url}/api/cros/v1/place_order?secret=1"
    return {"cros": {"endpoint": endpoint, "key": "fake-cros-key", "clientid": "2015010004", **more}}


def call(service, values=None, **more):
    return cros(setting(service, **more), (values or {}).get, user_id="U1", key="event-1/node-1")


class TestCros:
    def test_an_order_is_placed(self, service):
        values = {"員工數": "12", "name": "王小明"}
        params = {"value": "員工數", "name": "name", "count": "not collected"}

        made = cros(setting(service, params=params), lambda name: values.get(name, ""), user_id="U1", key="e1/n1")

        assert made == CrosAnswer(True, "CROS-000001", [])
        (order,) = service.requests
        assert order.path == "/api/cros/v1/place_order?secret=1"
        assert order.body == {
            "account_id": "2015010004",
            "user_id": "U1",
            "value": "12",
            "name": "王小明",
            "count": "",
        }
        told = ("content-type", "x-api-key", "idempotency-key")
        assert {name: order.headers[name] for name in told} == {
            "content-type": "application/json",
            "x-api-key": "fake-cros-key",
            "idempotency-key": "e1/n1",
        }

    def test_params_come_before_what_is_always_sent(self, service):
        # The document's example fills user_id from a variable.
        call(service, {"a": "0912345678"}, params={"user_id": "a"})

        assert service.requests[0].body == {"account_id": "2015010004", "user_id": "0912345678"}

    def test_a_repetition_is_told_by_its_key(self, service):
        assert [call(service).order_id, call(service).order_id] == ["CROS-000001", "CROS-000001"]

    def test_the_other_spellings_of_the_setting(self, service):
        made = cros({"cors": {"endPoint": service.url, "key": "k", "clientId": "c"}}, str, user_id="U1", key="1")

        assert made.ok
        assert service.requests[0].body == {"account_id": "c", "user_id": "U1"}

    def test_the_documented_error(self, service):
        made = call(service, clientid="")

        assert made == CrosAnswer(False, "", [CrosError("'account_id' in request parameter is empty.", "E0001")])

    @pytest.mark.parametrize(
        ("body", "order_id"),
        [
            ({"orderId": "A1"}, "A1"),
            ({"order_id": 17}, "17"),
            ({"orderid": " A1 "}, "A1"),
            ({"data": {"orderId": "A1"}}, "A1"),
            ({"result": {"order_id": "A1"}}, "A1"),
            ({"orderId": "", "data": {"orderId": "A2"}}, "A2"),
            ({"orderId": "x" * 300}, "x" * 200),
            ({"orderId": ["A1"], "data": [], "result": None}, ""),
            ({"orderId": True}, ""),
            ({"orderId": "A\ud800"}, "A?"),
            ({"orderId": "A1", "errors": [], "error": None}, "A1"),
            ({"orderId": "A1", "msg": "ok", "code": 0}, "A1"),
            ({"orderId": "A1", "message": "done", "code": "Success"}, "A1"),
            ({"orderId": "A1", "code": "E0001"}, "A1"),
            ({"msg": "thank you"}, ""),
            ([], ""),
            (None, ""),
            (b"", ""),
            (b"thank you", ""),
            (b"\xff", ""),
            (b"[" * 60_000, ""),
        ],
    )
    def test_successes(self, service, body, order_id):
        service.answer(body, status=201)

        assert call(service) == CrosAnswer(True, order_id, [])

    @pytest.mark.parametrize("status", [200, 400, 500])
    @pytest.mark.parametrize(
        ("body", "errors"),
        [
            ({"errors": [{"msg": "no", "code": "E1"}, {"message": "nor", "code": 2}]}, [("no", "E1"), ("nor", "2")]),
            ({"errors": ["no", {"msg": "nor"}]}, [("no", ""), ("nor", "")]),
            ({"errors": {"msg": "no", "code": "E1"}}, [("no", "E1")]),
            ({"error": {"message": "no", "code": "E1"}}, [("no", "E1")]),
            ({"error": "no"}, [("no", "")]),
            ({"error": True, "msg": "no", "code": "E1"}, [("no", "E1")]),
            ({"msg": "no", "code": "E1"}, [("no", "E1")]),
            ({"message": "no", "code": 4}, [("no", "4")]),
            ({"errors": [{"msg": "x" * 600, "code": "E" * 60}]}, [("x" * 500, "E" * 50)]),
            ({"errors": [{"msg": str(n), "code": ""} for n in range(30)]}, [(str(n), "") for n in range(20)]),
        ],
    )
    def test_errors_pass_through(self, service, status, body, errors):
        service.answer(body, status=status)

        assert call(service) == CrosAnswer(False, "", [CrosError(*error) for error in errors])

    @pytest.mark.parametrize(
        ("status", "body", "msg"),
        [
            (404, b"<html>not found</html>", "answered with status 404"),
            (500, b"", "answered with status 500"),
            (503, {}, "answered with status 503"),
            (403, {"message": "Forbidden"}, "Forbidden"),
            (200, {"errors": {"value": ["is missing"]}}, "an error with status 200"),
            (422, {"errors": [{"field": "value"}]}, "an error with status 422"),
            (304, b"", "answered with status 304"),
        ],
    )
    def test_other_failures_have_one_error(self, service, status, body, msg):
        service.answer(body, status=status)

        assert call(service) == CrosAnswer(False, "", [CrosError(msg, "")])

    def test_an_error_with_an_order_number_is_an_error(self, service):
        service.answer({"orderId": "A1", "errors": [{"msg": "no", "code": "E1"}]})

        assert call(service) == CrosAnswer(False, "A1", [CrosError("no", "E1")])

    @pytest.mark.parametrize(
        ("more", "msg"),
        [
            ({"endpoint": "endPoint"}, "the URL is no http or https URL"),
            ({"endpoint": ""}, "the URL is no http or https URL"),
            ({"endpoint": "http://10.0.0.1/order?key=secret"}, "10.0.0.1: is not a public address"),
            ({"endpoint": "http://u:secret@cros.example.com/"}, "the URL holds credentials"),
            ({"key": "a\r\nX-Other: b"}, "a header holds what HTTP cannot carry"),
        ],
    )
    def test_a_call_that_cannot_be_made_is_an_error(self, service, more, msg):
        assert call(service, **more) == CrosAnswer(False, "", [CrosError(msg, "")])
        assert service.requests == []

    @pytest.mark.parametrize("empty", [{}, {"cros": None}, {"cros": {}}])
    def test_without_a_setting_nothing_is_called(self, service, empty):
        made = cros(empty, str, user_id="U1", key="1")

        assert made == CrosAnswer(False, "", [CrosError("the URL is no http or https URL", "")])

    def test_nobody_there(self, excepts):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            made = cros(at(excepts(unused)), str, user_id="U1", key="1")

        assert made == CrosAnswer(False, "", [CrosError("127.0.0.1: cannot be reached", "")])

    def test_silence_is_an_error(self, excepts, monkeypatch):
        monkeypatch.setattr(external, "SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            made = cros(at(excepts(silent)), str, user_id="U1", key="1")

        assert made == CrosAnswer(False, "", [CrosError("127.0.0.1: did not answer in time", "")])

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_orders_nothing(self, service, status):
        service.answer(b"", status=status, headers={"Location": "/login"})

        assert call(service) == CrosAnswer(False, "", [CrosError("127.0.0.1: redirects more than 0 times", "")])
        assert len(service.requests) == 1

    def test_too_long_an_answer_is_an_error(self, service):
        service.answer(b" " * 70_000)

        assert call(service) == CrosAnswer(False, "", [CrosError("127.0.0.1: answered too much", "")])


class TestAnswerOfAUrl:
    def test_asks_with_the_user_and_the_variables(self, service):
        service.answer(" 會員\r\n".encode())

        assert answer_of(f"{service.url}/ask?a=b", user_id="U1", variables={"員工數": "12"}) == "會員"
        (order,) = service.requests
        assert isinstance(order, Order)
        assert order.path == "/ask?a=b"
        assert order.headers["content-type"] == "application/json"
        assert order.body == {"userId": "U1", "variables": {"員工數": "12"}}

    @pytest.mark.parametrize(
        ("status", "body", "text"),
        [
            (200, b"yes", "yes"),
            (201, b"\xef\xbb\xbfyes", "yes"),
            (204, b"", ""),
            (200, b"  \n", ""),
            (200, b'"yes"', '"yes"'),
            (200, "好".encode() * 1000, "好" * 1000),
            (200, b" " + b"x" * 1001, "x" * 1000),
            (200, b"\xff", None),
            (200, b"x" * 70_000, None),
            (304, b"", None),
            (400, b"yes", None),
            (500, b"yes", None),
        ],
    )
    def test_its_text_is_the_answer(self, service, status, body, text):
        service.answer(body, status=status)

        assert answer_of(service.url, user_id="U1", variables={}) == text

    @pytest.mark.parametrize("url", ["", "no URL", "http://169.254.169.254/latest/meta-data/", "http://[::1]:8080/"])
    def test_what_may_not_be_asked_has_no_answer(self, service, url):
        assert answer_of(url, user_id="U1", variables={}) is None
        assert service.requests == []

    def test_silence_is_no_answer(self, excepts, monkeypatch):
        monkeypatch.setattr(external, "SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            assert answer_of(excepts(silent), user_id="U1", variables={}) is None


def test_both_wait_as_long_as_the_contract_says():
    assert external.SECONDS == 5.0
