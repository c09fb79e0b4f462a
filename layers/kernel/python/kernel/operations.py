"""An operation: a function whose decorator says route, caller and grants; decorated, it is the Lambda handler.

    @api.post("/saveTag", uses=[read(TagTable), write(TagTable)])
    def save_tag(request: SaveTag) -> None:
        \"\"\"Create a tag of the channel, or replace its values.\"\"\"

Importing an operation has no effects; an incomplete declaration is refused while it is imported.
"""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast, get_type_hints, runtime_checkable
from urllib.parse import parse_qsl

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from kernel.auth import Auth, Caller, Cognito, Incoming, PartnerKey, Public
from kernel.bodies import is_form, spread_fields
from kernel.envelopes import Envelope, Response
from kernel.errors import REQUIRED, Denied, Fault, Flaw, Invalid, TooLarge, Unauthorized, Unreadable
from kernel.running import Running, current, logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kernel.grants import Grant

BODY_LIMIT = 128 * 1024
# Lambda answers with at most 6 MB; what the gateway would make of more is no envelope.
ANSWER_LIMIT = 6_200_000


Declared = Callable[[Callable[..., Any]], "Operation"]


class IncompleteDeclaration(TypeError):
    """An operation, job or worker lacks something that must be said."""


@runtime_checkable
class Admitted(Protocol):
    """A request that has more to prove than its tenant, such as that a channel is the tenant's."""

    def admit(self) -> None:
        """Raise a fault when the operation must not run."""


class Api:
    """The operations of one system: its envelope, and what holds for each operation unless it says otherwise."""

    def __init__(
        self,
        system: str,
        *,
        envelope: Envelope,
        auth: Auth,
        tenant: str,
        spread: bool = False,
        memory: int = 512,
        timeout: int = 10,
    ) -> None:
        """Declare a system.

        `tenant` is the body field (as the contract spells it) or the variable of the path that names the tenant. With
        `spread` parameters may come as JSON, as a form of either kind and in the query, where the body wins.
        """
        self.system = system
        self.envelope = envelope
        self.auth = auth
        self.tenant = tenant
        self.spread = spread
        self.memory = memory
        self.timeout = timeout

    def post(
        self,
        path: str,
        *,
        also: Iterable[str] = (),
        uses: Iterable[Grant] = (),
        auth: Auth | None = None,
        body_limit: int = BODY_LIMIT,
        memory: int | None = None,
        timeout: int | None = None,
        produces: str = "application/json",
        envelope: Envelope | None = None,
    ) -> Declared:
        """Declare a POST operation.

        `also` names further paths that lead here; `produces` the media type when the function returns a `Response`;
        `envelope` is for the one that looks different from the rest.
        """
        return self._declare(
            "POST",
            path,
            uses,
            auth=auth,
            also=also,
            body_limit=body_limit,
            memory=memory,
            timeout=timeout,
            produces=produces,
            envelope=envelope,
        )

    def get(
        self,
        path: str,
        *,
        uses: Iterable[Grant] = (),
        auth: Auth | None = None,
        produces: str = "application/json",
        envelope: Envelope | None = None,
    ) -> Declared:
        """Declare a GET operation; `{name}` in the path and parameters of the query are the function's arguments."""
        return self._declare("GET", path, uses, auth=auth, produces=produces, envelope=envelope)

    def put(
        self, path: str, *, uses: Iterable[Grant] = (), auth: Auth | None = None, envelope: Envelope | None = None
    ) -> Declared:
        """Declare a PUT operation: the whole of something, such as its state, is set."""
        return self._declare("PUT", path, uses, auth=auth, envelope=envelope)

    def patch(
        self, path: str, *, uses: Iterable[Grant] = (), auth: Auth | None = None, envelope: Envelope | None = None
    ) -> Declared:
        """Declare a PATCH operation: what the body names is changed, the rest stays."""
        return self._declare("PATCH", path, uses, auth=auth, envelope=envelope)

    def _declare(
        self,
        verb: str,
        path: str,
        uses: Iterable[Grant],
        *,
        auth: Auth | None,
        also: Iterable[str] = (),
        body_limit: int = BODY_LIMIT,
        memory: int | None = None,
        timeout: int | None = None,
        produces: str = "application/json",
        envelope: Envelope | None = None,
    ) -> Declared:
        def declare(function: Callable[..., Any]) -> Operation:
            return Operation(
                function,
                api=self,
                verb=verb,
                path=path,
                also=tuple(also),
                uses=tuple(uses),
                auth=auth or self.auth,
                body_limit=body_limit,
                memory=memory or self.memory,
                timeout=timeout or self.timeout,
                produces=produces,
                envelope=envelope or self.envelope,
            )

        return declare


class Operation:
    """One operation, callable with an API Gateway proxy event."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        api: Api,
        verb: str,
        path: str,
        also: tuple[str, ...],
        uses: tuple[Grant, ...],
        auth: Auth,
        body_limit: int,
        memory: int,
        timeout: int,
        produces: str,
        envelope: Envelope,
    ) -> None:
        self.name = function.__name__
        self.function = function
        self.api = api
        self.verb = verb
        self.path = path
        self.paths = (path, *also)
        self.auth = auth
        self.body_limit = body_limit
        self.memory = memory
        self.timeout = timeout
        self.produces = produces
        self.envelope = envelope
        self.description = described(function)
        hints = get_type_hints(function, include_extras=True)
        if "return" not in hints:
            raise IncompleteDeclaration(f"{self.name}: says not what it returns")
        self.returns = hints.pop("return")
        self.body_name = ""
        self.body: type[BaseModel] | None = None
        self.scalars: dict[str, TypeAdapter[Any]] = {}
        self.defaults: dict[str, Any] = {}
        self.wants_caller = "caller" in hints
        for parameter in inspect.signature(function).parameters.values():
            kind = hints.get(parameter.name)
            if kind is None:
                raise IncompleteDeclaration(f"{self.name}: parameter {parameter.name} has no type")
            if parameter.name == "caller":
                continue
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                if self.body is not None:
                    raise IncompleteDeclaration(f"{self.name}: takes two bodies")
                self.body_name, self.body = parameter.name, kind
            else:
                self.scalars[parameter.name] = TypeAdapter(kind)
                if parameter.default is not parameter.empty:
                    self.defaults[parameter.name] = parameter.default
        self._admits = self.body is not None and issubclass(self.body, Admitted)
        self._check_tenant()
        extra: tuple[Grant, ...] = getattr(self.body, "uses", ()) if self.body else ()
        self.uses = tuple(dict.fromkeys((*auth.uses, *extra, *uses)))

    def _check_tenant(self) -> None:
        for path in self.paths:
            if not path_is_plain(path):
                raise IncompleteDeclaration(f"{self.name}: {path!r} is no route")
        fields = self.body.model_fields.items() if self.body else ()
        self._tenant_field = next((name for name, field in fields if field.alias == self.api.tenant), "")
        named = self._tenant_field or f"{{{self.api.tenant}}}" in self.path
        if isinstance(self.auth, Cognito | PartnerKey) and not (named or self.wants_caller):
            raise IncompleteDeclaration(
                f"{self.name}: neither names the tenant ({self.api.tenant}) nor looks at its caller"
            )

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Answer one API Gateway proxy event; every fault leaves in the system's envelope."""
        with Running(self.name) as running:
            try:
                response = self._answer(event, running)
            except Fault as fault:
                response = self.envelope.fault(fault)
                running.facts["fault"] = fault.code
            except Exception:
                request_id = (event.get("requestContext") or {}).get("requestId", "")
                logger().exception("unexpected", operation=self.name, request_id=request_id)
                response = self.envelope.fault(Fault("Internal error"))
            running.status = response.status
        binary = isinstance(response.body, bytes)
        return {
            "statusCode": response.status,
            "headers": {"Content-Type": response.content_type, "Cache-Control": "no-store", **response.headers},
            "body": base64.b64encode(response.body).decode() if isinstance(response.body, bytes) else response.body,
            **({"isBase64Encoded": True} if binary else {}),
        }

    def _answer(self, event: dict[str, Any], running: Running) -> Response:
        incoming = _incoming(event, self.path)
        if len(incoming.body) > self.body_limit:
            raise TooLarge(f"The body is larger than {self.body_limit} bytes")
        caller = self.auth.identify(incoming)
        running.actor = getattr(caller, "id", "")
        running.tenant = getattr(caller, "tenant", "")
        arguments: dict[str, Any] = {"caller": caller} if self.wants_caller else {}
        arguments |= self._scalar_arguments(incoming)
        body = None if self.body is None else _parse(self.body, incoming, spread=self.api.spread)
        if isinstance(self.auth, Cognito | PartnerKey):
            self._check_caller(caller, body, incoming)
        if body is not None:
            if self._admits:
                cast("Admitted", body).admit()
            arguments[self.body_name] = body
        result = self.function(**arguments)
        response = result if isinstance(result, Response) else self.envelope.success(result)
        # A character takes at most six bytes there.
        if len(response.body) > ANSWER_LIMIT // 6 and answer_size(response.body) > ANSWER_LIMIT:
            raise Invalid("The answer is larger than 6 MB; ask for less")
        return response

    def _check_caller(self, caller: Caller, body: BaseModel | None, incoming: Incoming) -> None:
        """Refuse a caller who names somebody else's tenant; an operation that names none looks at him itself."""
        tenant = getattr(body, self._tenant_field) if self._tenant_field else incoming.path.get(self.api.tenant)
        if tenant is None:
            return
        current().tenant = str(tenant)
        if not caller.may(str(tenant)):
            raise Denied if isinstance(self.auth, Cognito) and self.auth.every else Unauthorized

    def _scalar_arguments(self, incoming: Incoming) -> dict[str, Any]:
        values: dict[str, Any] = {}
        flaws: list[Flaw] = []
        for name, adapter in self.scalars.items():
            # A path names a parameter as it is; the channels spell theirs like `hub.challenge`.
            key = name.lower()
            given = incoming.path.get(name, incoming.query.get(key, incoming.query.get(key.replace("_", "."))))
            if given is None and name in self.defaults:
                values[name] = self.defaults[name]
                continue
            try:
                values[name] = adapter.validate_python(given)
            except ValidationError as problem:
                flaws += [Flaw(name, REQUIRED if given is None else flaw.message) for flaw in flaws_of(problem)]
        if flaws:
            raise Invalid(flaws)
        return values


def answer_size(body: str | bytes) -> int:
    """Return the bytes that a body takes in a function's answer, where it is a text inside JSON."""
    if isinstance(body, bytes):
        return len(body) * 4 // 3 + 4
    return len(json.dumps(body, ensure_ascii=False).encode())


def described(function: Callable[..., Any]) -> str:
    """Return the docstring of a declared function; it is the description that callers read, so it must be there."""
    text = inspect.getdoc(function)
    if not text:
        raise IncompleteDeclaration(f"{function.__name__}: has no docstring")
    return text


def path_is_plain(path: str) -> bool:
    """Tell whether `path` is a route: starts with a slash, no query, no trailing slash."""
    return path.startswith("/") and "?" not in path and not path.endswith("/")


def _incoming(event: Mapping[str, Any], route: str) -> Incoming:
    body = event.get("body") or ""
    context = event.get("requestContext") or {}
    return Incoming(
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        query={name.lower(): value for name, value in (event.get("queryStringParameters") or {}).items()},
        path=event.get("pathParameters") or {},
        body=base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(),
        claims=(context.get("authorizer") or {}).get("claims") or {},
        source_ip=(context.get("identity") or {}).get("sourceIp") or "",
        route=route,
    )


def _parse(model: type[BaseModel], incoming: Incoming, *, spread: bool) -> BaseModel:
    try:
        if spread:
            names = [field.alias or name for name, field in model.model_fields.items()]
            return model.model_validate(spread_fields(incoming, names))
        if is_form(incoming):
            return model.model_validate(dict(parse_qsl(incoming.body.decode(), keep_blank_values=True)))
        if b"NaN" in incoming.body or b"Infinity" in incoming.body:
            # pydantic takes these for numbers, but JSON has none such, and they could not be given back.
            from_json(incoming.body, allow_inf_nan=False)
        return model.model_validate_json(incoming.body)
    except ValidationError as problem:
        raise Invalid(flaws_of(problem)) from None
    except UnicodeDecodeError:
        raise Unreadable("The body is not UTF-8 text") from None
    except ValueError:
        raise Unreadable("The body is not valid JSON") from None


def flaws_of(problem: ValidationError) -> list[Flaw]:
    """Return what pydantic found as flaws with paths like `nodes[3].template.body`."""
    flaws = []
    for error in problem.errors(include_url=False, include_context=False, include_input=False):
        kind, message = error["type"], error["msg"]
        path = ""
        for part in error["loc"]:
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
        if kind == "json_invalid":
            flaws.append(Flaw("", "The body is not valid JSON"))
        elif kind in ("model_type", "model_attributes_type", "dict_type"):
            flaws.append(Flaw(path, "must be an object" if path else "The body must be a JSON object"))
        elif kind == "missing":
            flaws.append(Flaw(path, REQUIRED))
        elif kind == "string_pattern_mismatch":
            flaws.append(Flaw(path, "has characters or a form that is not allowed here"))
        else:
            text = message.removeprefix("Value error, ").replace("Input should be", "must be")
            text = text.partition(" after validation, not ")[0]
            for subject in ("String should", "List should", "Value should"):
                text = text.replace(subject, "must")
            flaws.append(Flaw(path, text))
    return flaws


def public(operation: Operation) -> bool:
    """Tell whether an operation may be called without any credential."""
    return isinstance(operation.auth, Public)


def event_of(operation: Operation, body: Any, *, caller: str = "", groups: Iterable[str] = ()) -> dict[str, Any]:
    """Return the proxy event that the gateway would make of a call; for local calls, benchmarks and tests."""
    context: dict[str, Any] = {"requestId": "local", "identity": {"sourceIp": "127.0.0.1"}}
    if caller:
        claims = {"cognito:username": caller, "token_use": "id"}
        context["authorizer"] = {"claims": claims | ({"cognito:groups": ",".join(groups)} if groups else {})}
    return {
        "httpMethod": operation.verb,
        "path": operation.path,
        "headers": {"Content-Type": "application/json"},
        "queryStringParameters": None,
        "pathParameters": None,
        "body": body if isinstance(body, str) else json.dumps(body, ensure_ascii=False),
        "isBase64Encoded": False,
        "requestContext": context,
    }
