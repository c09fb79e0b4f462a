"""`python -m infra.openapi`: writes docs/api/<system>.json from the declarations; `--check` fails when one is stale."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from infra.discovery import ROOT, camel_case, declarations, systems
from kernel.auth import Cognito, PartnerKey, Public
from kernel.envelopes import Response
from kernel.errors import Conflict, Fault, Invalid, NotFound, TooLarge, TooMany, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infra.discovery import System
    from kernel.auth import Auth
    from kernel.envelopes import Envelope
    from kernel.operations import Operation

Json = dict[str, Any]

DOCUMENTS = ROOT / "docs" / "api"
EVENTS = ROOT / "events"

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
_SCHEMAS = "#/components/schemas/"
_TEXT_TYPES = ("text/", JSON_TYPE, "application/xml")

_REASONS: dict[int, str] = {
    400: "The request is refused; the message names every flaw",
    401: "The caller did not prove who he is, or names somebody else",
    404: "What the request names does not exist",
    409: "The state of the thing does not allow this",
    413: "The body is too large",
    429: "Too many requests; try again later",
    500: "Something broke; the request may be tried again",
}
_FAULTS: Sequence[Fault] = (
    Invalid("invalid"),
    Unauthorized(),
    NotFound("not found"),
    Conflict("conflict"),
    TooLarge("too large"),
    TooMany("too many"),
    Fault("fault"),
)

_ID_TOKEN = {"idToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
_PARTNER_KEY = {"partnerKey": {"type": "apiKey", "in": "header", "name": "X-Partner-Key"}}


def document(system: System) -> Json:
    """Return the OpenAPI document of a system."""
    schemas, definitions = _schemas(system)
    envelope = system.api.envelope
    paths: Json = {}
    routes = [(path, operation) for operation in system.operations for path in operation.paths]
    for path, operation in sorted(routes, key=lambda route: (route[0], route[1].verb)):
        paths.setdefault(path, {})[operation.verb.lower()] = _operation(operation, path, schemas)
    statuses = _fault_statuses(envelope)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"CityPass {system.name}", "version": _version()},
        "paths": paths,
        "components": {
            "schemas": {"Fault": envelope.fault_schema(), **{name: definitions[name] for name in sorted(definitions)}},
            "responses": {f"Fault{status}": _fault(status, {"$ref": f"{_SCHEMAS}Fault"}) for status in statuses},
            "securitySchemes": _security_schemes(system),
        },
    }


def text(document: Json) -> str:
    """Return a document as it is committed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(documents: Path = DOCUMENTS) -> list[Path]:
    """Write the documents that are stale and return their files."""
    stale = _stale(documents)
    documents.mkdir(parents=True, exist_ok=True)
    for path, wanted in stale.items():
        path.write_text(wanted, encoding="utf-8")
    return list(stale)


def check(documents: Path = DOCUMENTS) -> list[Path]:
    """Return the files that do not say what the declarations say."""
    return list(_stale(documents))


def _stale(documents: Path) -> dict[Path, str]:
    wanted = {documents / f"{name}.json": text(document(declarations(name))) for name in systems()}
    return {
        path: content
        for path, content in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    }


def _operation(operation: Operation, path: str, schemas: dict[tuple[str, str], Json]) -> Json:
    summary, _, more = operation.description.partition("\n")
    described: Json = {"operationId": camel_case(operation.name), "summary": summary}
    if more.strip():
        described["description"] = more.strip()
    if path != operation.path:
        # An id names one operation of the document.
        described = {"summary": summary, "description": f"The same as {operation.verb} {operation.path}."}
    parameters = [_parameter(operation, name, path) for name in operation.scalars]
    # Proofs of who calls may be in the path too; the function itself takes no notice of them.
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{([^}]*)\}", path)
        if name not in operation.scalars
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        schema = schemas[(operation.name, "validation")]
        described["requestBody"] = {
            "required": True,
            "content": {media: {"schema": schema} for media in (JSON_TYPE, FORM_TYPE)},
        }
        example = _example(operation)
        if example is not None:
            described["requestBody"]["content"][JSON_TYPE]["example"] = example
    described["responses"] = _responses(operation, schemas)
    described["security"] = _security(operation.auth)
    if not isinstance(operation.auth, Cognito | PartnerKey | Public):
        # OpenAPI has no words for proofs that are computed from the request.
        described["x-authentication"] = operation.auth.name
    return described


def _parameter(operation: Operation, name: str, path: str) -> Json:
    adapter = operation.scalars[name]
    in_path = f"{{{name}}}" in path
    schema = adapter.json_schema(ref_template=_SCHEMAS + "{model}")
    if operation.defaults.get(name) is not None:
        schema["default"] = adapter.dump_python(operation.defaults[name], mode="json")
    return {
        "name": name,
        "in": "path" if in_path else "query",
        "required": in_path or not (name in operation.defaults or _takes_nothing(adapter)),
        "schema": schema,
    }


def _takes_nothing(adapter: TypeAdapter[Any]) -> bool:
    try:
        adapter.validate_python(None)
    except ValidationError:
        return False
    return True


def _responses(operation: Operation, schemas: dict[tuple[str, str], Json]) -> Json:
    envelope = operation.envelope
    if operation.returns is Response:
        # Bytes have no schema (OpenAPI 3.1, considerations for file uploads).
        text = operation.produces.startswith(_TEXT_TYPES)
        content: Json = {operation.produces: {"schema": {"type": "string"}} if text else {}}
    else:
        content = {JSON_TYPE: {"schema": envelope.success_schema(schemas[(operation.name, "serialization")])}}
    success = {str(envelope.success(None).status): {"description": "Done", "content": content}}
    if envelope is operation.api.envelope:
        faults: Json = {
            str(status): {"$ref": f"#/components/responses/Fault{status}"} for status in _fault_statuses(envelope)
        }
    else:
        schema = envelope.fault_schema()
        faults = {str(status): _fault(status, schema) for status in _fault_statuses(envelope)}
    # Some partners' envelopes refuse with the status of a success; what its body says then is in its schema.
    return success | {status: fault for status, fault in faults.items() if status not in success}


def _fault(status: int, schema: Json) -> Json:
    return {"description": _REASONS.get(status, "The request is refused"), "content": {JSON_TYPE: {"schema": schema}}}


def _fault_statuses(envelope: Envelope) -> list[int]:
    return sorted({envelope.fault(fault).status for fault in _FAULTS})


def _schemas(system: System) -> tuple[dict[tuple[str, str], Json], Json]:
    inputs: list[tuple[Any, Any, TypeAdapter[Any]]] = []
    for operation in system.operations:
        if operation.body is not None:
            inputs.append((operation.name, "validation", TypeAdapter(operation.body)))
        if operation.returns is not Response:
            inputs.append((operation.name, "serialization", TypeAdapter(operation.returns)))
    schemas, shared = TypeAdapter.json_schemas(
        inputs, ref_template=_SCHEMAS + "{model}", schema_generator=_WithoutTitles
    )
    definitions: Json = {}
    _lift({"$defs": shared.get("$defs", {})}, definitions)
    found = {(str(name), str(mode)): _lift(schema, definitions) for (name, mode), schema in schemas.items()}
    return found, definitions


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        # pydantic would make one of each field's name, which says nothing more.
        return False


def _lift(node: Any, definitions: Json) -> Any:
    """Move the definitions that models bring along, with `WithJsonSchema`, to where the document keeps all of them."""
    if isinstance(node, list):
        return [_lift(part, definitions) for part in node]
    if not isinstance(node, dict):
        return node
    for name, schema in node.get("$defs", {}).items():
        lifted = _lift(schema, definitions)
        if definitions.setdefault(name, lifted) != lifted:
            raise ValueError(f"two different schemas have the name {name}")
    rest = {key: _lift(part, definitions) for key, part in node.items() if key != "$defs"}
    if str(rest.get("$ref", "")).startswith("#/$defs/"):
        rest["$ref"] = _SCHEMAS + rest["$ref"].removeprefix("#/$defs/")
    return rest


def _security(auth: Auth) -> list[Json]:
    match auth:
        case Cognito():
            return [{"idToken": []}]
        case PartnerKey():
            return [{"partnerKey": []}, {"idToken": []}]
        case _:
            return []


def _security_schemes(system: System) -> Json:
    auths = [operation.auth for operation in system.operations]
    schemes: Json = {}
    if any(isinstance(auth, Cognito | PartnerKey) for auth in auths):
        schemes |= _ID_TOKEN
    if any(isinstance(auth, PartnerKey) for auth in auths):
        schemes |= _PARTNER_KEY
    return schemes


def _example(operation: Operation) -> Any:
    path = EVENTS / operation.api.system / f"{operation.name}.json"
    if not path.is_file():
        return None
    event = json.loads(path.read_text(encoding="utf-8"))
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if headers.get("content-type", "").startswith(FORM_TYPE):
        return dict(parse_qsl(event["body"], keep_blank_values=True))
    return json.loads(event["body"])


def _version() -> str:
    project: Json = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def main(arguments: Sequence[str]) -> int:
    """Write the documents, or with `--check` fail when one is stale."""
    if list(arguments) == ["--check"]:
        stale = check()
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: make openapi", file=sys.stderr)
        return 1 if stale else 0
    for path in write():
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
