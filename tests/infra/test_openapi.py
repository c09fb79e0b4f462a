"""The OpenAPI documents: what callers read, made from what runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from infra import openapi
from infra.discovery import ROOT, declarations, systems

NAMED = {"$ref": "#/components/schemas/Named"}
PART = {"$ref": "#/components/schemas/Part"}


@pytest.fixture(scope="module")
def document(sample_system):
    return openapi.document(sample_system)


@pytest.mark.parametrize("system", systems())
def test_document_of_a_system_is_valid(system):
    OpenAPIV31SpecValidator(openapi.document(declarations(system))).validate()


@pytest.mark.parametrize("system", systems())
def test_every_operation_is_in_it(system):
    paths = openapi.document(declarations(system))["paths"]

    found = {(path, verb.upper()) for path, verbs in paths.items() for verb in verbs}
    operations = declarations(system).operations
    assert found == {(path, operation.verb) for operation in operations for path in operation.paths}


def test_committed_documents_are_fresh():
    assert [str(path) for path in openapi.check()] == []


def test_small_document_is_valid(document):
    OpenAPIV31SpecValidator(document).validate()


def test_operation_with_parameters(document):
    assert document["paths"]["/things/{thing_id}/parts"]["post"] == {
        "operationId": "listParts",
        "summary": "List the parts of a thing.",
        "description": "The latest comes first.",
        "parameters": [
            {"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}},
            {
                "name": "colour",
                "in": "query",
                "required": False,
                "schema": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": NAMED},
                "application/x-www-form-urlencoded": {"schema": NAMED},
            },
        },
        "responses": {
            "200": {
                "description": "Done",
                "content": {"application/json": {"schema": {"type": "array", "items": PART}}},
            },
            **{
                str(status): {"$ref": f"#/components/responses/Fault{status}"}
                for status in (400, 401, 404, 409, 413, 429, 500)
            },
        },
        "security": [{"idToken": []}],
    }


def test_schemas_are_shared(document):
    schemas = document["components"]["schemas"]

    assert list(schemas) == ["Fault", "Event", "Named", "Part"]
    assert schemas["Named"] == {
        "description": "Whose it is.",
        "properties": {"tenant": {"type": "string"}},
        "required": ["tenant"],
        "title": "Named",
        "type": "object",
    }


def test_query_parameter_that_must_be_there(document):
    (day,) = document["paths"]["/hook"]["post"]["parameters"]

    assert day == {"name": "day", "in": "query", "required": True, "schema": {"type": "integer"}}


def test_response_of_another_media_type(document):
    success = document["paths"]["/hook"]["post"]["responses"]["200"]

    assert success["content"] == {"text/plain": {"schema": {"type": "string"}}}


def test_reading_operation_with_parameters(document):
    shown = document["paths"]["/images/{thing_id}/{size}"]["get"]

    assert shown["operationId"] == "showImage"
    assert "requestBody" not in shown
    assert shown["security"] == []
    assert shown["parameters"] == [
        {"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "size", "in": "path", "required": True, "schema": {"type": "integer"}},
        {"name": "rotate", "in": "query", "required": False, "schema": {"type": "boolean", "default": False}},
    ]


def test_a_proof_in_the_path_is_a_parameter(document):
    fetched = document["paths"]["/exports/{ticket}"]["get"]

    assert fetched["parameters"] == [{"name": "ticket", "in": "path", "required": True, "schema": {"type": "string"}}]
    assert fetched["x-authentication"] == "token"


def test_bytes_have_a_media_type_and_no_schema(document):
    success = document["paths"]["/images/{thing_id}/{size}"]["get"]["responses"]["200"]

    assert success == {"description": "Done", "content": {"image/png": {}}}


def test_one_path_has_an_operation_for_each_verb(document):
    hook = document["paths"]["/hook"]

    assert {verb: described["operationId"] for verb, described in hook.items()} == {
        "get": "verifyHook",
        "post": "takeEvents",
    }


def test_further_paths_say_whose_they_are(document):
    first, plain, other = (
        document["paths"][path]["post"] for path in ("/calls/{channel}", "/call", "/partner/{partner}/call")
    )

    assert (first["operationId"], first["summary"]) == ("takeCall", "Take a call.")
    for further in (plain, other):
        assert "operationId" not in further
        assert further["summary"] == "Take a call."
        assert further["description"] == "The same as POST /calls/{channel}."
        assert further["responses"] == first["responses"]
    places = [{one["name"]: one["in"] for one in path["parameters"]} for path in (first, plain, other)]
    assert places == [
        {"channel": "path", "partner": "query"},
        {"channel": "query", "partner": "query"},
        {"channel": "query", "partner": "path"},
    ]


def test_an_operation_may_answer_in_an_envelope_of_its_own(document):
    responses = document["paths"]["/redeem"]["post"]["responses"]

    schemas = {status: one["content"]["application/json"]["schema"] for status, one in responses.items()}
    assert schemas == {
        "200": {"type": "object", "properties": {"done": {"type": "null"}}},
        "400": {"type": "object", "required": ["problem"]},
        "500": {"type": "object", "required": ["problem"]},
    }


def test_who_may_call(document):
    post = {path: verbs["post"] for path, verbs in document["paths"].items() if "post" in verbs}

    assert post["/partner/things"]["security"] == [{"partnerKey": []}, {"idToken": []}]
    assert post["/login"]["security"] == []
    assert (post["/hook"]["security"], post["/hook"]["x-authentication"]) == ([], "signature")
    assert post["/redeem"]["x-authentication"] == "token"
    assert document["components"]["securitySchemes"] == {
        "idToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "partnerKey": {"type": "apiKey", "in": "header", "name": "X-Partner-Key"},
    }


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/json"}, '{"label": "red"}'),
        ({"content-type": "application/x-www-form-urlencoded"}, "label=red"),
    ],
)
def test_example_is_the_sample_event(sample_system, tmp_path, monkeypatch, headers, body):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "redeem.json").write_text(json.dumps({"headers": headers, "body": body}))
    monkeypatch.setattr(openapi, "EVENTS", tmp_path)

    content = openapi.document(sample_system)["paths"]["/redeem"]["post"]["requestBody"]["content"]

    assert content["application/json"]["example"] == {"label": "red"}


def test_definitions_inside_a_schema_are_lifted():
    definitions = {"Known": {"type": "string"}}
    inner = {"$defs": {"Known": {"type": "string"}, "New": {"$ref": "#/$defs/Known"}}, "items": {"$ref": "#/$defs/New"}}

    assert openapi._lift(inner, definitions) == {"items": {"$ref": "#/components/schemas/New"}}
    assert definitions["New"] == {"$ref": "#/components/schemas/Known"}
    with pytest.raises(ValueError, match="two different schemas have the name Known"):
        openapi._lift({"$defs": {"Known": {"type": "integer"}}}, definitions)


def test_stale_and_written_anew(tmp_path):
    wanted = [tmp_path / f"{system}.json" for system in systems()]
    assert openapi.check(tmp_path) == wanted

    assert openapi.write(tmp_path) == wanted

    assert openapi.check(tmp_path) == []
    text = wanted[0].read_text(encoding="utf-8")
    assert text.startswith('{\n  "openapi": "3.1.0",\n')
    assert text.endswith("}\n")
    wanted[0].write_text(text + " ", encoding="utf-8")
    assert openapi.check(tmp_path) == wanted[:1]


def test_check_fails_when_stale(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(openapi, "ROOT", tmp_path)
    monkeypatch.setattr(openapi, "check", lambda: [tmp_path / "docs" / "api" / "chatbot.json"])

    assert openapi.main(["--check"]) == 1
    assert "docs/api/chatbot.json is stale: make openapi" in capsys.readouterr().err


def test_output_does_not_depend_on_the_hash_seed():
    program = "from infra import openapi as o, discovery as d; print(o.text(o.document(d.declarations('chatbot'))))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PATH": str(Path(sys.executable).parent)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(outputs) == 1
