"""Operations: what a declaration must say, how a request is understood, and how every answer leaves."""

from __future__ import annotations

import base64
import enum
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pynamodb.attributes import UnicodeAttribute

from kernel import clock, operations, running, wire
from kernel import settings as kernel_settings
from kernel.auth import Caller, Cognito, PartnerKey, PartnerKeyTable, Public, Signature, Token
from kernel.envelopes import Response, json_text
from kernel.errors import Conflict, Fault, Flaw, Invalid, NotFound, TooMany
from kernel.grants import read, sign, write
from kernel.operations import (
    ANSWER_LIMIT,
    BODY_LIMIT,
    Admitted,
    Api,
    IncompleteDeclaration,
    Operation,
    answer_size,
    event_of,
    path_is_plain,
    public,
)
from kernel.tables import Put, Table, commit, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kernel.auth import Incoming

NOW = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)


class SampleEnvelope:
    """Answers `{"ok": …}` or `{"code": …, "message": …}`."""

    def success(self, result: Any) -> Response:
        return Response(200, json_text({"ok": result}))

    def fault(self, fault: Fault) -> Response:
        return Response(fault.status, json_text({"code": fault.code, "message": fault.message}))

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        return result

    def fault_schema(self) -> dict[str, Any]:
        return {}


api = Api("sample", envelope=SampleEnvelope(), auth=Cognito(), tenant="cityId")


class ShopTable(Table):
    name: ClassVar[str] = "shops"
    city = UnicodeAttribute(hash_key=True)


class CityRequest(BaseModel):
    model_config = ConfigDict(alias_generator=lambda name: "cityId" if name == "city" else name)
    city: str


class ShopRequest(CityRequest):
    uses: ClassVar[Any] = (read(ShopTable),)
    shop: str = "main"


class Refusing(CityRequest):
    refusal: str

    def admit(self) -> None:
        raise NotFound(self.refusal)


class Part(BaseModel):
    title: str
    count: int = 0


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


class Nested(BaseModel):
    parts: list[Part] = []
    by_name: dict[str, Part] = {}


class Form(BaseModel):
    name: str
    note: str = "none"
    size: int = 1


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@pytest.fixture
def function(environment: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """A running function that has just started; its logger has the test's own name, so that its lines come here."""
    monkeypatch.setenv("SYSTEM", hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16])
    kernel_settings.settings.cache_clear()
    running.logger.cache_clear()
    monkeypatch.setattr(running, "_cold", True)
    with clock.frozen(NOW):
        yield


@pytest.fixture
def logged(function: None, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def declared(handler: Callable[..., Any], *, path: str = "/try", **more: Any) -> Operation:
    return api.post(path, **{"auth": Public(), **more})(handler)


def answer(operation: Operation, body: Any = None, *, caller: str = "", **event: Any) -> tuple[int, Any]:
    made = operation({**event_of(operation, {} if body is None else body, caller=caller), **event}, None)
    assert made["headers"] == {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return made["statusCode"], json.loads(made["body"])


def refusal(message: str) -> tuple[int, Any]:
    return 400, {"code": "invalid", "message": message}


def unreadable(message: str) -> tuple[int, Any]:
    return 400, {"code": "unreadable", "message": message}


UNAUTHORIZED = (401, {"code": "unauthorized", "message": "Unauthorized"})


# ---- declarations


def undocumented() -> None: ...


def says_not_what_it_returns():
    """Do."""


def untyped(city) -> None:
    """Do."""


def untyped_caller(caller) -> None:
    """Do."""


def two_bodies(one: Form, other: Part) -> None:
    """Do."""


def no_body() -> None:
    """Do."""


def without_tenant(form: Form) -> None:
    """Do."""


def with_tenant(request: CityRequest) -> None:
    """Do."""


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (undocumented, "undocumented: has no docstring"),
        (says_not_what_it_returns, "says_not_what_it_returns: says not what it returns"),
        (untyped, "untyped: parameter city has no type"),
        (untyped_caller, "untyped_caller: parameter caller has no type"),
        (two_bodies, "two_bodies: takes two bodies"),
    ],
)
def test_an_incomplete_function_is_refused(handler, message):
    with pytest.raises(IncompleteDeclaration) as raised:
        api.post("/try", auth=Public())(handler)

    assert str(raised.value) == message


@pytest.mark.parametrize("path", ["", "/", "try", "/try/", "/try?x=1"])
def test_a_path_that_is_no_route_is_refused(path):
    with pytest.raises(IncompleteDeclaration) as raised:
        api.post(path, auth=Public())(no_body)

    assert str(raised.value) == f"no_body: {path!r} is no route"
    assert not path_is_plain(path)


@pytest.mark.parametrize("auth", [None, Cognito(), PartnerKey()])
@pytest.mark.parametrize("handler", [no_body, without_tenant])
def test_a_signed_in_operation_must_name_its_tenant(auth, handler):
    with pytest.raises(IncompleteDeclaration) as raised:
        api.post("/try", auth=auth)(handler)

    assert str(raised.value) == f"{handler.__name__}: neither names the tenant (cityId) nor looks at its caller"


@pytest.mark.parametrize("auth", [Public(), Signature(lambda incoming: None), Token(lambda incoming: None)])
def test_other_proofs_need_no_tenant(auth):
    assert api.post("/try", auth=auth)(no_body).auth == auth


def test_a_declaration_takes_what_it_does_not_say_from_its_api():
    mine = Api("mine", envelope=SampleEnvelope(), auth=Cognito(), tenant="cityId", memory=256, timeout=7)

    operation = mine.post("/shops/{shop}")(with_tenant)

    assert (operation.name, operation.verb, operation.path) == ("with_tenant", "POST", "/shops/{shop}")
    assert (operation.auth, operation.memory, operation.timeout) == (Cognito(), 256, 7)
    assert (operation.body_limit, operation.produces, operation.description) == (
        BODY_LIMIT,
        "application/json",
        "Do.",
    )
    assert (operation.body, operation.body_name, operation.returns) == (CityRequest, "request", type(None))
    assert operation.uses == ()
    assert not public(operation)


def test_a_declaration_may_say_otherwise():
    operation = api.post("/try", auth=Public(), body_limit=9, timeout=3, produces="text/csv")(no_body)

    assert (operation.auth, operation.body_limit, operation.timeout, operation.produces) == (
        Public(),
        9,
        3,
        "text/csv",
    )
    assert (operation.body, operation.body_name, operation.scalars, operation.wants_caller) == (None, "", {}, False)
    assert public(operation)


def test_an_operation_may_have_more_room_and_further_paths():
    operation = api.post("/try", also=["/old/try", "/{city}/try"], auth=Public(), memory=1536)(no_body)

    assert (operation.path, operation.paths) == ("/try", ("/try", "/old/try", "/{city}/try"))
    assert operation.memory == 1536
    assert api.post("/try", auth=Public())(no_body).paths == ("/try",)


@pytest.mark.parametrize("path", ["", "/", "try", "/try/", "/try?x=1"])
def test_a_further_path_that_is_no_route_is_refused(path):
    with pytest.raises(IncompleteDeclaration) as raised:
        api.post("/try", also=["/fine", path], auth=Public())(no_body)

    assert str(raised.value) == f"no_body: {path!r} is no route"


def test_a_reading_operation_is_declared_with_its_parameters():
    def show_shop(shop: str, page: int = 1) -> Response:
        """Show a shop."""
        raise NotImplementedError

    mine = Api("mine", envelope=SampleEnvelope(), auth=Public(), tenant="cityId", memory=256, timeout=7)
    operation = mine.get("/shops/{shop}", uses=[read(ShopTable)], produces="image/png")(show_shop)

    assert (operation.name, operation.verb, operation.paths) == ("show_shop", "GET", ("/shops/{shop}",))
    assert (operation.auth, operation.memory, operation.timeout) == (Public(), 256, 7)
    assert (operation.produces, operation.uses, operation.body) == ("image/png", (read(ShopTable),), None)
    assert (list(operation.scalars), operation.defaults) == (["shop", "page"], {"page": 1})


def test_a_reading_operation_cannot_name_a_tenant_in_its_body():
    with pytest.raises(IncompleteDeclaration, match="neither names the tenant"):
        api.get("/try")(no_body)


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH"])
def test_a_tenant_may_be_named_in_the_path(verb):
    operation = getattr(api, verb.lower())("/cities/{cityId}", uses=[read(ShopTable)])(no_body)

    assert (operation.verb, operation.path, operation.auth) == (verb, "/cities/{cityId}", Cognito())
    assert (operation.uses, operation.envelope) == ((read(ShopTable),), api.envelope)


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch"])
def test_every_verb_may_have_a_proof_and_an_envelope_of_its_own(verb):
    other = SampleEnvelope()

    operation = getattr(api, verb)("/try", auth=Public(), envelope=other)(no_body)

    assert operation.auth == Public()
    assert operation.envelope is other


def test_an_operation_that_looks_at_its_caller_needs_no_tenant():
    def look(caller: Caller) -> None:
        """Look."""

    assert api.get("/try")(look).wants_caller


def test_an_operation_may_do_what_its_proof_its_body_and_itself_declare_each_once():
    def open_shop(request: ShopRequest) -> None:
        """Open."""

    operation = api.post("/try", auth=PartnerKey(), uses=[write(ShopTable), read(ShopTable), sign()])(open_shop)

    assert [grant.text for grant in operation.uses] == ["read(partner-keys)", "read(shops)", "write(shops)", "sign()"]


def test_declaring_has_no_effects(monkeypatch):
    for name in ("STAGE", "SYSTEM", "AWS_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)

    assert declared(with_tenant, auth=Cognito()).name == "with_tenant"


# ---- binding


def test_binds_path_query_body_and_caller(function):
    def all_kinds(shop: str, limit: int, newest: bool, colour: Colour, form: Form, caller: Caller) -> dict[str, Any]:
        """Show."""
        return {
            "shop": shop, "limit": limit, "newest": newest, "colour": colour, "form": form, "caller": caller.id,
        }  # fmt: skip

    assert answer(
        declared(all_kinds),
        {"name": "测", "size": 2},
        pathParameters={"shop": "s 1"},
        queryStringParameters={"Limit": "20", "newest": "true", "COLOUR": "blue", "more": "ignored"},
        requestContext={"identity": {"sourceIp": "192.0.2.1"}},
    ) == (
        200,
        {
            "ok": {
                "shop": "s 1",
                "limit": 20,
                "newest": True,
                "colour": "blue",
                "form": {"name": "测", "note": "none", "size": 2},
                "caller": "192.0.2.1",
            }
        },
    )


def scalars(limit: Annotated[int, Field(ge=1)], kind: Literal["a", "b"], after: str | None) -> list[Any]:
    """Show."""
    return [limit, kind, after]


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ({}, {"limit": "3", "kind": "a"}, (200, {"ok": [3, "a", None]})),
        ({"limit": "4"}, {"limit": "3", "kind": "b", "after": ""}, (200, {"ok": [4, "b", ""]})),
        ({}, {}, refusal("limit is required; kind is required")),
        ({}, None, refusal("limit is required; kind is required")),
        ({}, {"limit": "x", "kind": "c"}, refusal(
            "limit must be a valid integer, unable to parse string as an integer; kind must be 'a' or 'b'"
        )),
        ({}, {"limit": "0", "kind": "a"}, refusal("limit must be greater than or equal to 1")),
        ({"Limit": "4"}, {"kind": "a"}, refusal("limit is required")),
    ],
)  # fmt: skip
def test_scalars_come_from_the_path_or_else_the_query(function, path, query, expected):
    assert answer(declared(scalars), pathParameters=path, queryStringParameters=query) == expected


def found(shop: str, page: Annotated[int, Field(ge=1)] = 1, kind: Colour | None = None) -> list[Any]:
    """Show."""
    return [shop, page, kind]


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ({"shop": "測"}, None, (200, {"ok": ["測", 1, None]})),
        ({"shop": "a"}, {"page": "2", "kind": "red"}, (200, {"ok": ["a", 2, "red"]})),
        ({"shop": "a"}, {"shop": "b", "other": "c"}, (200, {"ok": ["a", 1, None]})),
        ({"shop": "a"}, {"page": "0"}, refusal("page must be greater than or equal to 1")),
        ({"shop": "a"}, {"page": ""}, refusal("page must be a valid integer, unable to parse string as an integer")),
        ({}, {"page": "x"}, refusal(
            "shop is required; page must be a valid integer, unable to parse string as an integer"
        )),
    ],
)  # fmt: skip
def test_a_reading_operation_takes_its_path_and_its_query_or_their_defaults(function, path, query, expected):
    operation = api.get("/shops/{shop}", auth=Public())(found)

    given = {"httpMethod": "GET", "body": None, "pathParameters": path, "queryStringParameters": query}
    assert answer(operation, **given) == expected


@pytest.mark.parametrize("query", [{"hub.challenge": "1"}, {"HUB.Challenge": "1"}, {"hub_challenge": "1"}])
def test_a_parameter_may_be_spelled_with_dots(function, query):
    def verify(hub_challenge: str) -> str:
        """Verify."""
        return hub_challenge

    operation = api.get("/hook", auth=Public())(verify)

    assert answer(operation, queryStringParameters=query) == (200, {"ok": "1"})


def show_form(form: Form) -> Form:
    """Show."""
    return form


def show_nested(nested: Nested) -> Nested:
    """Show."""
    return nested


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded;charset=UTF-8"]
)
def test_a_form_is_a_body(function, content_type):
    headers = {"CONTENT-TYPE": content_type}

    sent = answer(declared(show_form), "name=%E6%B8%AC+1&note=&size=3&size=4&more=x", headers=headers)

    assert sent == (200, {"ok": {"name": "測 1", "note": "", "size": 4}})
    assert answer(declared(show_form), "note=1", headers=headers) == refusal("name is required")
    as_json = answer(declared(show_form), ' {"name": "測 1", "note": "", "size": 4}', headers=headers)
    assert as_json == sent
    assert answer(declared(show_form), "", headers=headers) == refusal("name is required")


@pytest.mark.parametrize("headers", [None, {}, {"content-type": "text/plain"}, {"Content-Type": "application/json"}])
def test_any_other_body_is_json(function, headers):
    assert answer(declared(show_form), {"name": "測"}, headers=headers) == (
        200,
        {"ok": {"name": "測", "note": "none", "size": 1}},
    )


@pytest.mark.parametrize(
    ("body", "headers"),
    [('{"name": "測"}', {}), ("name=%E6%B8%AC", {"content-type": "application/x-www-form-urlencoded"})],
)
def test_a_body_may_arrive_in_base64(function, body, headers):
    encoded = base64.b64encode(body.encode()).decode()

    sent = answer(declared(show_form), encoded, headers=headers, isBase64Encoded=True)

    assert sent == (200, {"ok": {"name": "測", "note": "none", "size": 1}})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        *((body, refusal) for body in ("", None, "{", "name=x", '{"name": "\\ud800"}')),
        *((body, unreadable) for body in ('{"name": NaN}', '{"name": "x", "size": Infinity}')),
    ],
)
def test_a_body_that_is_no_json_is_refused(function, body, said):
    operation = declared(show_form)
    event = {**event_of(operation, ""), "body": body}

    made = operation(event, None)

    assert (made["statusCode"], json.loads(made["body"])) == said("The body is not valid JSON")


@pytest.mark.parametrize("body", ["[]", "1", '"text"', "null", "true"])
def test_a_body_that_is_no_object_is_refused(function, body):
    assert answer(declared(show_form), body) == refusal("The body must be a JSON object")


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity and more"])
def test_words_in_texts_are_no_numbers(function, word):
    assert answer(declared(show_form), {"name": word})[1]["ok"]["name"] == word


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/x-www-form-urlencoded", b"name=\xff", "The body is not UTF-8 text"),
        ("application/x-www-form-urlencoded", b'{"name": "\xff"}', "The body is not valid JSON"),
        ("application/json", b'{"name": "\xff"}', "The body is not valid JSON"),
    ],
)
def test_a_body_that_is_no_text_is_refused(function, content_type, body, message):
    encoded = base64.b64encode(body).decode()

    said = answer(declared(show_form), encoded, headers={"content-type": content_type}, isBase64Encoded=True)

    assert said in (refusal(message), unreadable(message))


def test_all_flaws_are_told_with_their_places(function):
    body = {"parts": [{"title": "a"}, {"count": "x"}, 7], "by_name": {"one": {"title": 1}, "two": []}}

    assert answer(declared(show_nested), body) == refusal(
        "parts[1].title is required; "
        "parts[1].count must be a valid integer, unable to parse string as an integer; "
        "parts[2] must be an object; "
        "by_name.one.title must be a valid string; "
        "by_name.two must be an object"
    )


class Judged(BaseModel):
    text: Annotated[str, StringConstraints(min_length=2, max_length=3, pattern="^[a-z]+$")] = "ab"
    texts: list[str] = Field(default=["a"], min_length=1, max_length=2)
    own: str = ""
    number: int | None = None

    @field_validator("own")
    @classmethod
    def _own(cls, value: str) -> str:
        if value:
            raise ValueError("is not to our liking")
        return value


def judge(judged: Judged) -> None:
    """Judge."""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"text": "a"}, "text must have at least 2 characters"),
        ({"text": "abcd"}, "text must have at most 3 characters"),
        ({"text": "AB"}, "text has characters or a form that is not allowed here"),
        ({"texts": []}, "texts must have at least 1 item"),
        ({"texts": ["a", "b", "c"]}, "texts must have at most 2 items"),
        ({"own": "x"}, "own is not to our liking"),
        ({"number": "x"}, "number must be a valid integer, unable to parse string as an integer"),
        ({"text": None, "texts": "x"}, "text must be a valid string; texts must be a valid array"),
    ],
)
def test_flaws_speak_of_the_field(function, body, message):
    assert answer(declared(judge), body) == refusal(message)


def test_a_body_of_the_limit_passes_and_a_larger_one_does_not(function):
    asked: list[Incoming] = []
    operation = declared(show_form, auth=Signature(asked.append), body_limit=20)
    too_large = (413, {"code": "too_large", "message": "The body is larger than 20 bytes"})

    assert answer(operation, '{"name": "12345678"}')[0] == 200
    assert answer(operation, '{"name": "123456789"}') == too_large
    assert answer(operation, '{"name": "測測測1"}') == too_large
    # Base64 is how it travels, not how long it is.
    encoded = base64.b64encode(b'{"name": "12345678"}').decode()
    assert len(encoded) > 20
    assert answer(operation, encoded, isBase64Encoded=True)[0] == 200
    assert len(asked) == 2


def test_bodies_are_limited_without_being_asked(function):
    fitting = '{"name": "' + "x" * (BODY_LIMIT - 12) + '"}'
    assert answer(declared(show_form), fitting)[0] == 200
    assert answer(declared(show_form), fitting + " ")[0] == 413


json_objects = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


def echo(anything: Anything) -> Anything:
    """Give back."""
    return anything


@settings(deadline=None)
@given(json_objects)
def test_what_is_taken_can_be_given_back(body):
    incoming = operations._incoming({"body": json.dumps(body)}, "/try")

    parsed = operations._parse(Anything, incoming, spread=False)

    assert json.loads(json_text(echo(parsed))) == body


# ---- tenants


def show_city(request: CityRequest, caller: Caller) -> list[str]:
    """Show."""
    current = running.current()
    return [request.city, caller.id, current.tenant, current.actor, current.operation]


def test_a_caller_names_his_own_tenant_only(function):
    operation = api.post("/try")(show_city)

    assert answer(operation, {"cityId": "0001"}, caller="0001") == (
        200,
        {"ok": ["0001", "0001", "0001", "0001", "show_city"]},
    )
    assert answer(operation, {"cityId": "0002"}, caller="0001") == UNAUTHORIZED
    assert answer(operation, {"cityId": ""}, caller="0001") == UNAUTHORIZED
    assert answer(operation, {"cityId": "0001"}) == UNAUTHORIZED
    assert answer(operation, {"city": "0001"}, caller="0001") == refusal("cityId is required")


def show_one(cityId: str, caller: Caller) -> list[str]:
    """Show."""
    return [cityId, caller.id, running.current().tenant]


def show_caller(caller: Caller) -> list[Any]:
    """Show."""
    return [caller.id, running.current().tenant, caller.may("0001"), caller.may("0002")]


DENIED = (403, {"code": "denied", "message": "Permission denied"})
BACK_OFFICE = Cognito(every="platform")


@pytest.mark.parametrize("verb", ["get", "put", "patch"])
def test_the_tenant_of_the_path_is_the_caller_s(function, verb):
    operation = getattr(api, verb)("/cities/{cityId}")(show_one)

    def said(city: str, caller: str) -> tuple[int, Any]:
        return answer(operation, caller=caller, pathParameters={"cityId": city})

    assert said("0001", "0001") == (200, {"ok": ["0001", "0001", "0001"]})
    assert said("0002", "0001") == UNAUTHORIZED
    assert said("", "0001") == UNAUTHORIZED
    assert answer(operation, caller="", pathParameters={"cityId": "0001"}) == UNAUTHORIZED


def test_with_groups_the_tenants_are_the_groups_and_what_is_not_allowed_is_denied(function):
    operation = api.get("/cities/{cityId}", auth=BACK_OFFICE)(show_one)

    def said(city: str, *groups: str) -> tuple[int, Any]:
        event = {**event_of(operation, "", caller="ann", groups=groups), "pathParameters": {"cityId": city}}
        made = operation(event, None)
        return made["statusCode"], json.loads(made["body"])

    assert said("0001", "0001", "0003") == (200, {"ok": ["0001", "ann", "0001"]})
    assert said("0002", "platform") == (200, {"ok": ["0002", "ann", "0002"]})
    assert said("0002", "0001") == DENIED
    assert said("0002") == DENIED
    # A name is no group, and a tenant that is called like everybody is one tenant.
    assert said("ann") == DENIED
    assert said("0002", "*") == DENIED
    assert answer(operation, pathParameters={"cityId": "0001"}) == UNAUTHORIZED


def test_a_body_s_tenant_is_denied_alike(function):
    operation = api.post("/try", auth=BACK_OFFICE)(show_city)

    event = event_of(operation, {"cityId": "0001"}, caller="ann", groups=["0002"])
    assert operation(event, None)["statusCode"] == 403
    assert operation(event_of(operation, {"cityId": "0002"}, caller="ann", groups=["0002"]), None)["statusCode"] == 200


def test_an_operation_without_tenant_looks_at_its_caller_itself(function):
    operation = api.get("/try", auth=BACK_OFFICE)(show_caller)

    def said(*groups: str) -> Any:
        return json.loads(operation(event_of(operation, "", caller="ann", groups=groups), None)["body"])["ok"]

    assert said("0001") == ["ann", "", True, False]
    assert said("platform") == ["ann", "", True, True]
    assert said() == ["ann", "", False, False]


def test_a_partner_names_the_tenants_of_his_key_only(function, environment):
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("dynamodb", endpoint_url=environment, region_name="us-east-1")
    client.create_table(TableName=PartnerKeyTable.physical_name(), **schema(PartnerKeyTable))
    client.close()
    digest = PartnerKeyTable.digest("the-key")
    commit(Put(PartnerKeyTable(key_digest=digest, partner="bus", tenants={"0001", "0002"})))
    operation = api.post("/try", auth=PartnerKey())(show_city)
    key = {"X-Partner-Key": "the-key"}

    for city in ("0001", "0002"):
        expected = [city, "partner:bus", city, "partner:bus", "show_city"]
        assert answer(operation, {"cityId": city}, headers=key) == (200, {"ok": expected})
    assert answer(operation, {"cityId": "0003"}, headers=key) == UNAUTHORIZED
    assert answer(operation, {"cityId": "0001"}, headers={"X-Partner-Key": "another"}) == UNAUTHORIZED


def refused_before(request: Refusing) -> None:
    """Never run."""
    raise AssertionError("it ran")


def test_a_request_with_more_to_prove_is_asked_after_its_tenant(function):
    operation = api.post("/try")(refused_before)
    body = {"cityId": "0001", "refusal": "No such shop"}

    assert issubclass(Refusing, Admitted)
    assert answer(operation, body, caller="0001") == (404, {"code": "not_found", "message": "No such shop"})
    assert answer(operation, body, caller="0002") == UNAUTHORIZED


def test_what_a_signature_proves_is_the_caller(function):
    def check(incoming: Incoming) -> dict[str, Any]:
        known = {"query": incoming.query["a"], "header": incoming.headers["x-a"], "route": incoming.route}
        return {"body": incoming.body.decode(), **known}

    def show(form: Form, caller: dict[str, str]) -> dict[str, str]:
        """Show."""
        return caller

    sent = answer(
        declared(show, auth=Signature(check)), '{"name":"x"}', headers={"X-A": "1"}, queryStringParameters={"A": "2"}
    )

    assert sent == (200, {"ok": {"body": '{"name":"x"}', "query": "2", "header": "1", "route": "/try"}})


# ---- answers


def crash(form: Form) -> None:
    """Crash."""
    raise ZeroDivisionError("the reason")


def raising(fault: BaseException) -> Operation:
    def refuse(form: Form) -> None:
        """Refuse."""
        raise fault

    return declared(refuse)


def test_a_result_leaves_in_the_envelope(function):
    def see() -> dict[str, Any]:
        """See."""
        return {"part": Part(title="測"), "at": NOW, "none": None}

    operation = declared(see)

    assert operation(event_of(operation, ""), None) == {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"},
        "body": '{"ok":{"part":{"title":"測","count":0},"at":"2024-01-28T06:04:25.693000Z","none":null}}',
    }


class OldEnvelope(SampleEnvelope):
    def success(self, result: Any) -> Response:
        return Response(201, json_text([result]))

    def fault(self, fault: Fault) -> Response:
        return Response(599, json_text([fault.code]))


def test_an_operation_may_have_an_envelope_of_its_own(function):
    def judge(form: Form) -> str:
        """Judge."""
        if form.name == "crash":
            raise ZeroDivisionError
        return form.name

    operation = declared(judge, envelope=OldEnvelope())

    assert answer(operation, {"name": "fine"}) == (201, ["fine"])
    assert answer(operation, {}) == (599, ["invalid"])
    assert answer(operation, {"name": "crash"}) == (599, ["fault"])
    assert answer(declared(judge), {"name": "fine"}) == (200, {"ok": "fine"})


def test_a_response_leaves_as_it_is(function):
    def export() -> Response:
        """Export."""
        return Response(202, "a,b\n", "text/csv; charset=utf-8")

    operation = declared(export, produces="text/csv")

    assert operation(event_of(operation, ""), None) == {
        "statusCode": 202,
        "headers": {"Content-Type": "text/csv; charset=utf-8", "Cache-Control": "no-store"},
        "body": "a,b\n",
    }


def test_bytes_leave_in_base64_with_the_headers_they_ask_for(function):
    def show() -> Response:
        """Show."""
        return Response(200, b"\x89PNG\xff", "image/png", {"Cache-Control": "public, max-age=60", "ETag": '"1"'})

    operation = api.get("/image", auth=Public(), produces="image/png")(show)

    assert operation(event_of(operation, ""), None) == {
        "statusCode": 200,
        "headers": {"Content-Type": "image/png", "Cache-Control": "public, max-age=60", "ETag": '"1"'},
        "body": base64.b64encode(b"\x89PNG\xff").decode(),
        "isBase64Encoded": True,
    }


def test_a_text_may_have_headers_of_its_own(function):
    def lead() -> Response:
        """Lead on."""
        return Response(302, "", "text/plain", {"Location": "https://example.com/"})

    operation = api.get("/lead", auth=Public())(lead)

    made = operation(event_of(operation, ""), None)
    assert (made["statusCode"], made["body"]) == (302, "")
    assert made["headers"] == {
        "Content-Type": "text/plain",
        "Cache-Control": "no-store",
        "Location": "https://example.com/",
    }
    assert "isBase64Encoded" not in made


def test_bytes_that_lambda_would_not_carry_are_refused(function):
    def show(length: int) -> Response:
        """Show."""
        return Response(200, bytes(length), "image/png")

    operation = api.get("/image", auth=Public(), produces="image/png")(show)
    most = (ANSWER_LIMIT - 4) * 3 // 4
    event = event_of(operation, "")

    fits = operation({**event, "queryStringParameters": {"length": str(most)}}, None)

    assert fits["statusCode"] == 200
    assert ANSWER_LIMIT - 8 < len(fits["body"]) <= ANSWER_LIMIT
    assert answer(operation, queryStringParameters={"length": str(most + 3)}) == refusal(
        "The answer is larger than 6 MB; ask for less"
    )


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (NotFound("No shop"), (404, {"code": "not_found", "message": "No shop"})),
        (Conflict("Taken"), (409, {"code": "conflict", "message": "Taken"})),
        (TooMany("Slower"), (429, {"code": "too_many", "message": "Slower"})),
        (Invalid([Flaw("a[0]", "is bad"), Flaw("", "All bad")]), refusal("a[0] is bad; All bad")),
        (Fault("Known"), (500, {"code": "fault", "message": "Known"})),
    ],
)
def test_a_fault_leaves_in_the_envelope_and_is_no_news(logged, fault, expected):
    assert answer(raising(fault), {"name": "x"}) == expected

    (line,) = logged()
    assert (line["status"], line["fault"]) == (expected[0], fault.code)


def test_a_crash_is_logged_once_and_tells_the_caller_nothing(logged):
    assert answer(declared(crash), {"name": "x"}, requestContext={"requestId": "R-1"}) == (
        500,
        {"code": "fault", "message": "Internal error"},
    )

    news, line = logged()
    assert {name: news[name] for name in ("level", "message", "operation", "request_id", "exception_name")} == {
        "level": "ERROR",
        "message": "unexpected",
        "operation": "crash",
        "request_id": "R-1",
        "exception_name": "ZeroDivisionError",
    }
    assert news["exception"].endswith("ZeroDivisionError: the reason")
    assert (line["status"], line["Errors"], line["Refusals"]) == (500, [1.0], [0.0])
    assert "fault" not in line


@pytest.mark.parametrize("event", [{"requestContext": None}, {}])
def test_an_event_without_context_is_answered_all_the_same(logged, event):
    made = declared(crash)({"body": '{"name": "x"}', **event}, None)

    assert made["statusCode"] == 500
    assert logged()[0]["request_id"] == ""


def test_an_answer_that_cannot_be_written_is_a_crash(logged):
    def see() -> Any:
        """See."""
        return object()

    assert answer(declared(see)) == (500, {"code": "fault", "message": "Internal error"})

    assert [line.get("message") for line in logged()] == ["unexpected", None]


def test_leaving_is_not_caught(function):
    with pytest.raises(KeyboardInterrupt):
        answer(raising(KeyboardInterrupt()), {"name": "x"})


@pytest.mark.parametrize(
    ("character", "size"),
    [("x", 1), ("測", 3), ("👪", 4), ('"', 2), ("\n", 2), ("\0", 6)],
    ids=["one byte", "three bytes", "four bytes", "quoted", "a line", "written as six bytes"],
)
def test_an_answer_that_lambda_would_not_carry_is_refused(function, character, size):
    def export(length: int) -> Response:
        """Export."""
        return Response(200, character * length)

    operation = declared(export)
    # Lambda carries the body as a text in JSON, between quotation marks.
    most = (ANSWER_LIMIT - 2) // size
    event = event_of(operation, "")

    fits = operation({**event, "queryStringParameters": {"length": str(most)}}, None)

    assert (fits["statusCode"], len(fits["body"])) == (200, most)
    assert answer(operation, queryStringParameters={"length": str(most + 1)}) == refusal(
        "The answer is larger than 6 MB; ask for less"
    )


# ---- the line in the log


def visit(request: CityRequest) -> str:
    """Visit."""
    commit(Put(ShopTable(city=request.city)))
    assert ShopTable.find(request.city) is not None
    return "the-result"


def test_an_invocation_leaves_one_line_that_tells_no_content(logged, environment):
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("dynamodb", endpoint_url=environment, region_name="us-east-1")
    client.create_table(TableName=ShopTable.physical_name(), **schema(ShopTable))
    client.close()
    operation = api.post("/try")(visit)
    headers = {"Authorization": "Bearer the-token", "X-Partner-Key": "the-key"}
    body = {"cityId": "0001", "note": "the-body"}

    assert answer(operation, body, caller="0001", headers=headers) == (200, {"ok": "the-result"})
    assert answer(operation, body, caller="0002", headers=headers) == UNAUTHORIZED

    first, second = logged()
    assert {name: value for name, value in first.items() if name not in ("_aws", "Duration", "service")} == {
        "operation": "visit",
        "status": 200,
        "caller": "0001",
        "cold": True,
        "dynamodb_calls": 2,
        "dynamodb_units": 1.5,
        "Errors": [0.0],
        "Refusals": [0.0],
    }
    assert {name: value for name, value in second.items() if name not in ("_aws", "Duration", "service")} == {
        "operation": "visit",
        "status": 401,
        "caller": "0002",
        "cold": False,
        "dynamodb_calls": 0,
        "dynamodb_units": 0.0,
        "fault": "unauthorized",
        "Errors": [0.0],
        "Refusals": [1.0],
    }
    for line in (first, second):
        text = json.dumps(line)
        assert not any(word in text for word in ("the-token", "the-key", "the-body", "the-result"))


def test_no_answer_is_larger_than_lambda_carries():
    assert ANSWER_LIMIT < 6 * 1024 * 1024
    assert answer_size('a"\n測') == len('"a\\"\\n測"'.encode())


def test_the_event_of_a_call_is_the_gateway_s():
    operation = declared(show_form, path="/shops")

    assert event_of(operation, {"name": "測"}, caller="0001") == {
        "httpMethod": "POST",
        "path": "/shops",
        "headers": {"Content-Type": "application/json"},
        "queryStringParameters": None,
        "pathParameters": None,
        "body": '{"name": "測"}',
        "isBase64Encoded": False,
        "requestContext": {
            "requestId": "local",
            "identity": {"sourceIp": "127.0.0.1"},
            "authorizer": {"claims": {"cognito:username": "0001", "token_use": "id"}},
        },
    }
    assert event_of(operation, "a=b")["body"] == "a=b"
    in_groups = event_of(operation, "", caller="0001", groups=["12", "platform"])["requestContext"]["authorizer"]
    assert in_groups["claims"]["cognito:groups"] == "12,platform"
    assert "authorizer" not in event_of(operation, "")["requestContext"]
