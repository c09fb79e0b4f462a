"""The OpenAPI documents: what callers read, made from what runs."""

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from infra import openapi
from infra.discovery import ROOT, declarations, systems
from kernel.auth import Cognito
from membership.api import BACK_OFFICE

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
                for status in (400, 401, 403, 404, 409, 413, 429, 500)
            },
        },
        "security": [{"idToken": []}],
    }


def test_schemas_are_shared(document):
    schemas = document["components"]["schemas"]

    assert list(schemas) == ["Fault", "StaffFault", "Drawing", "Event", "Letter", "Named", "Part"]
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
        "xSession": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Session",
            "description": "A parameter of this name does as well, where the operation has one",
        },
    }


def test_a_token_with_a_place_of_its_own_is_a_security_scheme(document):
    changed = document["paths"]["/things/{thing_id}"]["patch"]

    assert changed["security"] == [{"xSession": []}]
    assert "x-authentication" not in changed


def test_the_model_of_an_operation_without_a_body_is_its_query(document):
    searched = document["paths"]["/staff/things"]["get"]

    assert "requestBody" not in searched
    assert searched["parameters"] == [
        {"name": "owner", "in": "query", "required": True, "description": "Whose", "schema": {"type": "string"}},
        {
            "name": "part",
            "in": "query",
            "required": False,
            "schema": {"anyOf": [PART, {"type": "null"}], "default": None},
        },
        {
            "name": "limit",
            "in": "query",
            "required": False,
            "schema": {"type": "integer", "default": 50, "maximum": 100},
        },
    ]


def test_verbs_that_share_a_path(document):
    replaced, changed = (document["paths"]["/things/{thing_id}"][verb] for verb in ("put", "patch"))

    place = {"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}}
    assert replaced["parameters"] == changed["parameters"] == [place]
    assert replaced["requestBody"]["content"].keys() == {"application/json", "application/x-www-form-urlencoded"}


def test_a_file_comes_in_a_form_of_parts(document):
    changed, sent = (
        document["paths"][path][verb]["requestBody"]["content"]
        for path, verb in (("/things/{thing_id}", "patch"), ("/letters", "post"))
    )

    assert changed == {"multipart/form-data": {"schema": {"$ref": "#/components/schemas/Drawing"}}}
    assert list(sent) == ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"]
    drawing = document["components"]["schemas"]["Drawing"]["properties"]
    assert drawing == {"label": {"type": "string"}, "file": {"type": "string", "format": "binary"}}


def test_faults_of_an_envelope_of_several_operations_are_described_once(document):
    searched = document["paths"]["/staff/things"]["get"]["responses"]

    assert searched["403"] == {"$ref": "#/components/responses/StaffFault403"}
    fault = document["components"]["responses"]["StaffFault403"]
    assert fault["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/StaffFault"}}}


class TakesApart:
    """Wants to see the members of a result."""

    def success_schema(self, result, definitions):
        return definitions[result["$ref"].rpartition("/")[2]]["properties"]


def test_what_nothing_refers_to_any_more_is_left_out(sample_system, monkeypatch):
    envelope = sample_system.api.envelope
    monkeypatch.setattr(envelope, "success_schema", TakesApart().success_schema, raising=False)
    (found,) = (one for one in sample_system.operations if one.name == "find_things")

    document = openapi.document(replace(sample_system, operations=(found,)))

    success = document["paths"]["/partner/things"]["post"]["responses"]["200"]
    assert success["content"] == {"application/json": {"schema": {"label": {"type": "string"}}}}
    assert list(document["components"]["schemas"]) == ["Fault", "Named"]


def successes(document, path):
    """Return the kinds of answer of HTTP 200 by their members."""
    responses = document["paths"][path]["post"]["responses"]
    return [schema["properties"] for schema in responses["200"]["content"]["application/json"]["schema"]["anyOf"]]


@pytest.fixture(scope="module")
def membership():
    return openapi.document(declarations("membership"))


def test_the_numbers_of_a_page_stand_beside_its_data(membership):
    page, fault = successes(membership, "/web/manage/v3/store/list")

    assert page["data"]["items"].keys() == {"$ref"}
    assert page == {
        "errCode": {"const": 0},
        "result": {"const": 0},
        "data": {"type": "array", "items": page["data"]["items"]},
        **{number: {"type": "integer"} for number in ("total", "pages", "pageNum", "pageSize")},
        "time": {"type": "integer"},
    }
    assert fault == {
        "errCode": {"type": "integer"},
        "result": {"const": 1},
        "msg": {"type": "string", "minLength": 1},
        "time": {"type": "integer"},
    }
    assert not [name for name in membership["components"]["schemas"] if name.startswith("Paged")]


def test_a_list_that_may_come_whole_or_in_pages(membership):
    whole, page, _ = successes(membership, "/web/manage/v3/card/store_card")

    assert list(whole) == ["errCode", "result", "data", "time"]
    assert list(page) == ["errCode", "result", "data", "total", "pages", "pageNum", "pageSize", "time"]
    assert page["data"]["items"] == whole["data"]["items"]


def test_a_write_answers_a_text(membership):
    done, _ = successes(membership, "/web/manage/v3/userCard/add")

    assert list(done) == ["errCode", "result", "msg", "time"]


def test_the_back_office_answers_in_its_own_statuses(membership):
    office = [operation for operation in declarations("membership").operations if operation.envelope is BACK_OFFICE]

    assert len(office) > 10
    for operation in office:
        described = membership["paths"][operation.path][operation.verb.lower()]
        assert described["security"] == ([{"idToken": []}] if isinstance(operation.auth, Cognito) else [])
        assert described["responses"]["403"] == {"$ref": "#/components/responses/BackOfficeFault403"}


def test_a_manager_s_token_is_a_header_or_a_parameter(membership):
    opened = membership["paths"]["/web/manage/v3/userCard/add"]["post"]

    assert opened["security"] == [{"token": []}]
    assert "token" in membership["components"]["schemas"]["OpenCard"]["properties"]
    scheme = membership["components"]["securitySchemes"]["token"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "token")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/json"}, '{"label": "red"}'),
        ({"content-type": "application/x-www-form-urlencoded"}, "label=red"),
        ({"content-type": "application/x-www-form-urlencoded"}, b"label=red"),
    ],
)
def test_example_is_the_sample_event(sample_system, tmp_path, monkeypatch, headers, body):
    encoded = isinstance(body, bytes)
    text = base64.b64encode(body).decode() if encoded else body
    event = {"headers": headers, "body": text, "isBase64Encoded": encoded}
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "redeem.json").write_text(json.dumps(event))
    monkeypatch.setattr(openapi, "EVENTS", tmp_path)

    content = openapi.document(sample_system)["paths"]["/redeem"]["post"]["requestBody"]["content"]

    assert content["application/json"]["example"] == {"label": "red"}


@pytest.mark.parametrize(
    "event",
    [
        {"headers": None, "body": None},
        {"headers": {"Content-Type": "multipart/form-data; boundary=x"}, "body": "/9j/4A==", "isBase64Encoded": True},
    ],
)
@pytest.mark.parametrize("name", ["search_things", "change_thing", "send_letter"])
def test_a_sample_without_a_body_or_with_a_file_is_no_example(sample_system, tmp_path, monkeypatch, name, event):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / f"{name}.json").write_text(json.dumps(event))
    monkeypatch.setattr(openapi, "EVENTS", tmp_path)

    assert '"example"' not in openapi.text(openapi.document(sample_system))


def test_bounds_are_written_in_the_words_of_json_schema():
    within = {"type": "integer", "ge": 1, "lt": 9, "maximum": 100}
    named = {"properties": {"le": within, "gt": {"gt": 0.5, "le": 2}}, "enum": ["ge"]}

    assert openapi._bounded([named]) == [
        {
            "properties": {
                "le": {"type": "integer", "minimum": 1, "exclusiveMaximum": 9, "maximum": 100},
                "gt": {"exclusiveMinimum": 0.5, "maximum": 2},
            },
            "enum": ["ge"],
        }
    ]


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
