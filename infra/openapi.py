"""`python -m infra.openapi`: writes docs/api/<system>.json from the declarations; `--check` fails when one is stale."""

from __future__ import annotations

import base64
import json
import re
import sys
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, get_args
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from infra.discovery import ROOT, camel_case, declarations, systems
from kernel.auth import Cognito, PartnerKey, Public, Token
from kernel.bodies import FORM, MULTIPART, FilePart
from kernel.envelopes import Response
from kernel.errors import Conflict, Denied, Fault, Invalid, NotFound, TooLarge, TooMany, Unauthorized, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from infra.discovery import System
    from kernel.auth import Auth
    from kernel.envelopes import Envelope
    from kernel.operations import Operation

Json = dict[str, Any]

DOCUMENTS = ROOT / "docs" / "api"
EVENTS = ROOT / "events"

JSON_TYPE = "application/json"
_SCHEMAS = "#/components/schemas/"
_TEXT_TYPES = ("text/", JSON_TYPE, "application/xml")

_REASONS: dict[int, str] = {
    400: "The request is refused; the message names every flaw",
    401: "The caller did not prove who he is, or names somebody else",
    403: "The caller is known, but this is not his to do or to see",
    404: "What the request names does not exist",
    409: "The state of the thing does not allow this",
    413: "The body is too large",
    429: "Too many requests; try again later",
    500: "Something broke; the request may be tried again",
}
_FAULTS: Sequence[Fault] = (
    Invalid("invalid"),
    Unreadable("unreadable"),
    Unauthorized(),
    Denied(),
    NotFound("not found"),
    Conflict("conflict"),
    TooLarge("too large"),
    TooMany("too many"),
    Fault("fault"),
)

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_ID_TOKEN = {"idToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
_PARTNER_KEY = {"partnerKey": {"type": "apiKey", "in": "header", "name": "X-Partner-Key"}}


class _Schemas(NamedTuple):
    """What the document says of types: those of operations, by name and mode, and what they refer to."""

    of: dict[tuple[str, str], Json]
    definitions: Json

    def members(self, schema: Json) -> tuple[Json, list[str]]:
        """Return the members of a model, and which of them must be there."""
        model = self.definitions.get(str(schema.get("$ref", "")).removeprefix(_SCHEMAS), schema)
        return model.get("properties", {}), model.get("required", [])


def document(system: System) -> Json:
    """Return the OpenAPI document of a system."""
    schemas = _schemas(system)
    faults = _faults(system)
    paths: Json = {}
    routes = [(path, operation) for operation in system.operations for path in operation.paths]
    for path, operation in sorted(routes, key=lambda route: (route[0], route[1].verb)):
        paths.setdefault(path, {})[operation.verb.lower()] = _operation(operation, path, schemas, faults)
    needed = _referred(paths, schemas.definitions)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"CityPass {system.name}", "version": _version()},
        "paths": paths,
        "components": {
            "schemas": {
                **{name: envelope.fault_schema() for envelope, name in faults.items()},
                **{name: schemas.definitions[name] for name in sorted(needed)},
            },
            "responses": {
                f"{name}{status}": _fault(status, {"$ref": f"{_SCHEMAS}{name}"})
                for envelope, name in faults.items()
                for status in _fault_statuses(envelope)
            },
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


def _faults(system: System) -> dict[Envelope, str]:
    """Return the envelopes whose faults are described once for all operations, with the name of the description."""
    used = Counter(operation.envelope for operation in system.operations)
    others = [envelope for envelope, times in used.items() if times > 1 and envelope is not system.api.envelope]
    named = {envelope: type(envelope).__name__.removesuffix("Envelope") + "Fault" for envelope in others}
    return {system.api.envelope: "Fault", **dict(sorted(named.items(), key=lambda entry: entry[1]))}


def _referred(node: Any, definitions: Json) -> set[str]:
    """Return the names of the definitions that something needs, one through another."""
    found: set[str] = set()
    waiting = set(_names(node))
    while waiting:
        found |= waiting
        waiting = {name for one in waiting for name in _names(definitions[one])} - found
    return found


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for part in node:
            yield from _names(part)
    elif isinstance(node, dict):
        if str(node.get("$ref", "")).startswith(_SCHEMAS):
            yield node["$ref"].removeprefix(_SCHEMAS)
        for part in node.values():
            yield from _names(part)


def _operation(operation: Operation, path: str, schemas: _Schemas, faults: dict[Envelope, str]) -> Json:
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
    body = None if operation.body is None else schemas.of[(operation.name, "validation")]
    if body is not None and operation.verb == "GET":
        parameters += _query(body, schemas)
        body = None
    # A request model names the headers that are heeded beside it.
    parameters += [
        {"name": name, "in": "header", "required": False, "description": said, "schema": {"type": "string"}}
        for name, said in getattr(operation.body, "headers", {}).items()
    ]
    if parameters:
        described["parameters"] = parameters
    if body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation, body)}
    described["responses"] = _responses(operation, schemas, faults)
    described["security"] = _security(operation.auth)
    if not (isinstance(operation.auth, Cognito | PartnerKey | Public) or _token_header(operation.auth)):
        # OpenAPI has no words for proofs that are computed from the request.
        described["x-authentication"] = operation.auth.name
    return described


def _query(schema: Json, schemas: _Schemas) -> list[Json]:
    """Return the members of a model as parameters, as they come to operations without a body."""
    members, required = schemas.members(schema)
    found = []
    for name, member in members.items():
        described: Json = {"name": name, "in": "query", "required": name in required}
        if "description" in member:
            described["description"] = member["description"]
        schema = {key: part for key, part in member.items() if key != "description"}
        found.append({**described, "schema": schema})
    return found


def _content(operation: Operation, schema: Json) -> Json:
    """Return how a body may be written: a file comes in a form of parts, anything else in JSON or a plain form."""
    assert operation.body is not None
    files = [field.is_required() for field in operation.body.model_fields.values() if _is_file(field.annotation)]
    media = [] if any(files) else [JSON_TYPE, FORM]
    content: Json = {one: {"schema": schema} for one in (*media, *([MULTIPART] if files else []))}
    example = _example(operation) if media else None
    if example is not None:
        content[JSON_TYPE]["example"] = example
    return content


def _is_file(kind: Any) -> bool:
    return kind is FilePart or any(map(_is_file, get_args(kind)))


def _parameter(operation: Operation, name: str, path: str) -> Json:
    adapter = operation.scalars[name]
    in_path = f"{{{name}}}" in path
    schema = _bounded(adapter.json_schema(ref_template=_SCHEMAS + "{model}"))
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


def _responses(operation: Operation, schemas: _Schemas, shared: dict[Envelope, str]) -> Json:
    envelope = operation.envelope
    if operation.returns is Response:
        # Bytes have no schema (OpenAPI 3.1, considerations for file uploads).
        text = operation.produces.startswith(_TEXT_TYPES)
        content: Json = {operation.produces: {"schema": {"type": "string"}} if text else {}}
    else:
        result = schemas.of[(operation.name, "serialization")]
        content = {JSON_TYPE: {"schema": envelope.success_schema(result, schemas.definitions)}}
    success = {str(envelope.success(None).status): {"description": "Done", "content": content}}
    if envelope in shared:
        faults: Json = {
            str(status): {"$ref": f"#/components/responses/{shared[envelope]}{status}"}
            for status in _fault_statuses(envelope)
        }
    else:
        schema = envelope.fault_schema()
        faults = {str(status): _fault(status, schema) for status in _fault_statuses(envelope)}
    # Some envelopes refuse with the status of a success; what the body says then is in the schema of that.
    return success | {status: fault for status, fault in faults.items() if status not in success}


def _fault(status: int, schema: Json) -> Json:
    return {"description": _REASONS.get(status, "The request is refused"), "content": {JSON_TYPE: {"schema": schema}}}


def _fault_statuses(envelope: Envelope) -> list[int]:
    return sorted({envelope.fault(fault).status for fault in _FAULTS})


def _schemas(system: System) -> _Schemas:
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
    return _Schemas(_bounded(found), _bounded(definitions))


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        # pydantic would make one of each field's name, which says nothing more.
        return False


def _bounded(node: Any) -> Any:
    """Write bounds in the words of JSON schema, where pydantic keeps its own: behind a validator."""
    if isinstance(node, list):
        return [_bounded(part) for part in node]
    if not isinstance(node, dict):
        return node
    # A member of a model may have such a name, but is a schema.
    bounds = {_BOUNDS[key]: part for key, part in node.items() if key in _BOUNDS and not isinstance(part, dict)}
    rest = {key: _bounded(part) for key, part in node.items() if key not in _BOUNDS or isinstance(part, dict)}
    return rest | bounds


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
        case Token() if auth.header:
            return [{_token_scheme(auth.header): []}]
        case _:
            return []


def _security_schemes(system: System) -> Json:
    auths = [operation.auth for operation in system.operations]
    schemes: Json = {}
    if any(isinstance(auth, Cognito | PartnerKey) for auth in auths):
        schemes |= _ID_TOKEN
    if any(isinstance(auth, PartnerKey) for auth in auths):
        schemes |= _PARTNER_KEY
    for header in sorted({_token_header(auth) for auth in auths} - {""}):
        schemes[_token_scheme(header)] = {
            "type": "apiKey",
            "in": "header",
            "name": header,
            "description": "A parameter of this name does as well, where the operation has one",
        }
    return schemes


def _token_header(auth: Auth) -> str:
    return auth.header if isinstance(auth, Token) else ""


def _token_scheme(header: str) -> str:
    return camel_case(header.lower().replace("-", "_"))


def _example(operation: Operation) -> Any:
    path = EVENTS / operation.api.system / f"{operation.name}.json"
    if not path.is_file():
        return None
    event = json.loads(path.read_text(encoding="utf-8"))
    if not event.get("body"):
        return None
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    media_type = headers.get("content-type", "")
    if media_type.startswith(MULTIPART):
        return None
    body = base64.b64decode(event["body"]).decode() if event.get("isBase64Encoded") else event["body"]
    if media_type.startswith(FORM):
        return dict(parse_qsl(body, keep_blank_values=True))
    return json.loads(body)


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
