"""What requests bring, wherever it stands: a probe operation of a system that spreads its parameters."""

import base64
import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from kernel.auth import Incoming, Public
from kernel.bodies import FilePart, is_form, spread_fields
from kernel.envelopes import Response, json_text
from kernel.errors import Fault, Unreadable
from kernel.operations import Api, event_of

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=B"
NO_TEXT = "The body is not UTF-8 text"
NONSENSE = "The body is not what its Content-Type says, or no JSON object"


def incoming(body=b"", content_type=None, query=None):
    headers = {} if content_type is None else {"content-type": content_type}
    return Incoming(headers, query or {}, {}, body, {}, "203.0.113.7")


def part(name, data=b"x", more=""):
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"


END = b"--B--\r\n"
READ = {
    "nothing": (b"", None, {}),
    "blanks": (b" \r\n", JSON, {}),
    "JSON": (
        b'{"a": 1, "b": [true, null], "c": {"d": "\xe5\x80\xbc"}}',
        JSON,
        {"a": 1, "b": [True, None], "c": {"d": "值"}},
    ),
    "JSON without a name": (b'{"a": 1}', None, {"a": 1}),
    "JSON called text": (b'{"a": 1}', "text/plain; charset=utf-8", {"a": 1}),
    "JSON called a form": (b' {"a": 1}', FORM, {"a": 1}),
    "JSON twice": (b'{"a": 1, "a": 2}', JSON, {"a": 2}),
    "form": (b"a=1&b=%E5%80%BC+2&c=", FORM, {"a": "1", "b": "值 2", "c": ""}),
    "form with a parameter": (b"a=1", f"{FORM.upper()}; charset=UTF-8", {"a": "1"}),
    "form twice": (b"a=1&a=2", FORM, {"a": "2"}),
    "multipart": (part("a") + part("名", "值".encode()) + END, MULTIPART, {"a": "x", "名": "值"}),
    "multipart in capitals": (part("a") + END, "Multipart/Form-Data; Boundary=B", {"a": "x"}),
    "multipart without fields": (END, MULTIPART, {}),
    "an empty field": (part("a", b"") + END, MULTIPART, {"a": ""}),
    "a file": (
        part("a", b"\xff\0\r\n--", '; filename="p.jpg"') + part("b") + END,
        MULTIPART,
        {"a": FilePart("a", "p.jpg", b"\xff\0\r\n--"), "b": "x"},
    ),
    "an empty file": (part("a", b"", '; filename=""') + END, MULTIPART, {"a": FilePart("a", "", b"")}),
    "a file with a name that is no text": (
        b'--B\r\nContent-Disposition: form-data; name="a"; filename="\xff"\r\n\r\nx\r\n' + END,
        MULTIPART,
        {"a": FilePart("a", "�", b"x")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_bodies_are_read(name):
    body, content_type, found = READ[name]

    assert spread_fields(incoming(body, content_type), ()) == found


def test_a_large_file_is_read_whole():
    data = bytes(range(256)) * 12_000

    found = spread_fields(incoming(part("a", data, '; filename="p"') + END, MULTIPART), ())

    assert found == {"a": FilePart("a", "p", data)}


UNREADABLE = {
    "a list": (b"[1]", JSON, NONSENSE),
    "a text": (b'"a"', JSON, NONSENSE),
    "null": (b"null", JSON, NONSENSE),
    "half JSON": (b'{"a": 1', JSON, NONSENSE),
    "two of them": (b'{"a": 1}{}', JSON, NONSENSE),
    "NaN": (b'{"a": NaN}', JSON, NONSENSE),
    "half a character in JSON": (b'{"a": "\xe5"}', JSON, NONSENSE),
    "half a pair in JSON": (b'{"a": "\\ud83d"}', JSON, NONSENSE),
    "deep JSON": (b"[" * 100_000, JSON, NONSENSE),
    "a form called JSON": (b"a=1", JSON, NONSENSE),
    "half a character in a form": (b"a=\xe5", FORM, NO_TEXT),
    "half a character escaped": (b"a=%E5", FORM, NO_TEXT),
    "half a character in a part": (part("a", b"\xe5") + END, MULTIPART, NO_TEXT),
    "no parts": (b"a=1", MULTIPART, NONSENSE),
    "no boundary": (part("a") + END, "multipart/form-data", NONSENSE),
    "another boundary": (part("a") + END, "multipart/form-data; boundary=C", NONSENSE),
    "no end": (part("a"), MULTIPART, NONSENSE),
    "half a part": (part("a", b"x", '; filename="p"')[:-3], MULTIPART, NONSENSE),
    "a part without name": (b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, MULTIPART, NONSENSE),
    "a part without heading": (b"--B\r\n\r\nx\r\n" + END, MULTIPART, NONSENSE),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_bodies_that_cannot_be_read(name):
    body, content_type, message = UNREADABLE[name]

    with pytest.raises(Unreadable) as raised:
        spread_fields(incoming(body, content_type), ())
    assert (raised.value.status, raised.value.code, raised.value.message) == (400, "unreadable", message)


def test_the_body_wins_over_the_query_which_is_asked_by_name():
    found = spread_fields(
        incoming(b"a=body", FORM, {"a": "query", "pagenum": "2", "strange": "x"}), ["a", "pageNum", "b"]
    )

    assert found == {"a": "body", "pageNum": "2"}


def test_what_counts_as_a_form():
    assert is_form(incoming(b"a=1", FORM))
    assert is_form(incoming(b"", f"{FORM};charset=utf-8"))
    assert not is_form(incoming(b'\n{"a": 1}', FORM))
    assert not is_form(incoming(b"a=1", MULTIPART))
    assert not is_form(incoming(b"a=1"))


# ---- through an operation


class Probe(BaseModel):
    """What the probe is asked."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_n", "N"))

    page_num: int
    name: str = ""


class Plain:
    """An envelope that adds nothing."""

    def success(self, result: Any) -> Response:
        return Response(200, json_text(result))

    def fault(self, fault: Fault) -> Response:
        return Response(fault.status, json_text({"code": fault.code, "message": fault.message}))

    def success_schema(self, result: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
        return result

    def fault_schema(self) -> dict[str, Any]:
        return {}


api = Api("probe", envelope=Plain(), auth=Public(), tenant="merchant", spread=True)


@api.post("/probe")
def probe(request: Probe) -> Any:
    """Answer what was asked."""
    return request.model_dump()


def asked(body=b"", content_type=JSON, query=None):
    event = event_of(probe, "")
    event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True, "queryStringParameters": query}
    event["headers"] = {"content-type": content_type}
    answer = probe(event, None)
    return answer["statusCode"], json.loads(answer["body"])


@pytest.fixture(autouse=True)
def running(environment):
    """An operation reports itself, and asks the environment where it runs."""


@pytest.mark.parametrize(
    ("body", "content_type", "query"),
    [
        (b'{"pageNum": 2, "name": "a"}', JSON, None),
        (b"pageNum=2&name=a", FORM, None),
        (part("pageNum", b"2") + part("name", b"a") + END, MULTIPART, None),
        (b"", JSON, {"pageNum": "2", "name": "a"}),
        (b'{"name": "a"}', JSON, {"pageNum": "2", "name": "b"}),
        (b"pageNum=2", FORM, {"pageNum": "3", "name": "a"}),
    ],
    ids=["JSON", "form", "multipart", "query", "both", "the body wins"],
)
def test_an_operation_takes_its_parameters_from_anywhere(body, content_type, query):
    assert asked(body, content_type, query) == (200, {"page_num": 2, "name": "a"})


def test_wrong_types_are_the_callers_and_named(subtests):
    wrong = {
        b"{}": "pageNum is required",
        b'{"pageNum": "x"}': "pageNum must be a valid integer, unable to parse string as an integer",
        b'{"pageNum": {}}': "pageNum must be a valid integer",
        b'{"pageNum": 1, "name": 1}': "name must be a valid string",
    }
    for body, message in wrong.items():
        with subtests.test(body):
            assert asked(body) == (400, {"code": "invalid", "message": message})


def test_what_cannot_be_read_is_told_apart_from_what_is_wrong():
    assert asked(b"{") == (400, {"code": "unreadable", "message": NONSENSE})
    assert asked(b"a=%ff", FORM) == (400, {"code": "unreadable", "message": NO_TEXT})
