import asyncio
import importlib
import inspect
import json
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from kernel.auth import Cognito, Incoming
from local.emulator import claims_of, complete_gateway, customised, mend_queues, saving

POOL = "us-east-1_abc"
ISSUER = f"https://cognito-idp.us-east-1.amazonaws.com/{POOL}"
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEY = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(PRIVATE.public_key())), "kid": "one", "alg": "RS256"}
DEFAULT = (401, {"Content-Type": "application/json"}, b'{"message": "Unauthorized"}')


def token(kid: str = "one", key: Any = PRIVATE, **claims: Any) -> str:
    standard = {"iss": ISSUER, "exp": int(time.time()) + 60, "token_use": "id", "cognito:username": "0001"}
    return jwt.encode(standard | claims, key, algorithm="RS256", headers={"kid": kid})


@pytest.mark.parametrize("prefix", ["Bearer ", "bearer ", ""])
def test_an_id_token_of_the_pool_names_its_claims(prefix: str) -> None:
    claims = claims_of(prefix + token(level=3, known=True), [POOL], [KEY])

    assert claims is not None
    assert (claims["cognito:username"], claims["token_use"], claims["level"]) == ("0001", "id", "3")
    assert claims["known"] == "true"


@pytest.mark.parametrize(("groups", "text"), [(["12", "platform"], "12,platform"), (["12"], "12"), ([], "")])
def test_groups_stand_in_one_text_with_commas_between(groups: list[str], text: str) -> None:
    claims = claims_of(token(**{"cognito:groups": groups}), [POOL], [KEY])

    assert claims is not None
    assert claims["cognito:groups"] == text


def test_an_operator_s_groups_are_his_tenants_as_the_function_sees_them() -> None:
    claims = claims_of(token(**{"cognito:groups": ["12", "13"]}), [POOL], [KEY])

    assert claims is not None
    caller = Cognito(every="platform").identify(Incoming({}, {}, {}, b"", claims, ""))
    assert (caller.id, caller.tenants) == ("0001", {"12", "13"})


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer ",
        "nonsense",
        token(kid="other"),
        token(key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        token(iss="https://cognito-idp.us-east-1.amazonaws.com/us-east-1_other"),
        token(token_use="access"),
        token(exp=int(time.time()) - 60),
        jwt.encode({"iss": ISSUER, "exp": int(time.time()) + 60, "token_use": "id"}, "", algorithm="none"),
    ],
)
def test_anything_else_proves_nothing(given: str) -> None:
    assert claims_of(given, [POOL], [KEY]) is None


def test_a_declared_answer_takes_the_place_of_the_gateways() -> None:
    declared = {
        "statusCode": "400",
        "responseParameters": {"gatewayresponse.header.Content-Type": "'application/json; charset=utf-8'"},
        "responseTemplates": {"application/json": '{"ErrorCode":400}'},
    }

    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert customised(declared, DEFAULT) == (400, headers, b'{"ErrorCode":400}')
    assert customised(None, DEFAULT) == DEFAULT
    assert customised({"responseParameters": {}, "responseTemplates": {}}, DEFAULT) == DEFAULT


def test_a_declared_answer_tells_the_time_of_the_request() -> None:
    template = '{"time":$context.requestTimeEpoch,"errCode":1002}'
    declared = {"responseParameters": {}, "responseTemplates": {"application/json": template}}
    before = time.time_ns() // 1_000_000

    body = json.loads(customised(declared, DEFAULT)[2])

    assert before <= body.pop("time") <= time.time_ns() // 1_000_000
    assert body == {"errCode": 1002}


def gateway(answers: dict[str, Any]) -> Any:
    """A stand-in with the names that are replaced in MiniStack's module."""

    async def authorize(*_: Any) -> tuple[None, None]:
        return None, None

    module = SimpleNamespace(
        _gateway_responses={"api": answers},
        _authorizers_v1={"api": {"auth": {"providerARNs": [f"arn:aws:cognito-idp:us-east-1:0:userpool/{POOL}"]}}},
        _header_ci=lambda headers, name: headers.get(name, ""),
        _gw_error=lambda status, message: (status, {}, message.encode()),
        _authorize_request_v1=authorize,
        _media_type_matches=lambda media_type, binary: bool(media_type) and media_type in (binary or ()),
    )

    async def execute(api_id: str, status: int) -> Any:
        return (502, {}, b"crashed") if status == 502 else module._gw_error(403, "Missing Authentication Token")

    module._handle_execute_in_scope = execute
    complete_gateway(module, SimpleNamespace(_JWKS_KEY=KEY))
    return module


def said(text: str) -> dict[str, Any]:
    return {"statusCode": "400", "responseParameters": {}, "responseTemplates": {"application/json": text}}


def test_the_gateways_own_answers_are_the_declared_ones() -> None:
    module = gateway({"MISSING_AUTHENTICATION_TOKEN": said("no such route"), "DEFAULT_5XX": said("broken")})

    assert asyncio.run(module._handle_execute_in_scope("api", 403)) == (400, {}, b"no such route")
    assert asyncio.run(module._handle_execute_in_scope("api", 502)) == (400, {}, b"broken")
    assert asyncio.run(module._handle_execute_in_scope("other", 403)) == (403, {}, b"Missing Authentication Token")


def test_a_method_with_a_pool_wants_its_token() -> None:
    module = gateway({})
    method = {"authorizationType": "COGNITO_USER_POOLS", "authorizerId": "auth"}

    def authorize(method: dict[str, str], headers: dict[str, str]) -> Any:
        return asyncio.run(module._authorize_request_v1("api", "local", method, "POST", "/x", {}, headers))

    error, context = authorize(method, {"authorization": f"Bearer {token()}"})
    assert error is None
    assert context["claims"]["cognito:username"] == "0001"
    assert authorize(method, {}) == ((401, {}, b"Unauthorized"), None)
    assert authorize({"authorizationType": "NONE"}, {}) == (None, None)


@pytest.mark.parametrize("media_type", [None, "", "*/*", "text/html", "image/png"])
def test_an_api_that_takes_everything_for_bytes_does_so_whatever_is_sent_or_accepted(media_type: str | None) -> None:
    module = gateway({})

    assert module._media_type_matches(media_type, ["*/*"]) is True
    assert module._media_type_matches(media_type, ["image/png"]) is (media_type == "image/png")
    assert module._media_type_matches(media_type, None) is False


def test_queues_keep_their_address_and_hand_out_again_what_nobody_holds() -> None:
    taken = {"receipt_handle": "r", "visible_at": 9e9}
    delayed = {"receipt_handle": None, "visible_at": 9e9}
    queues = SimpleNamespace(all_items=lambda: [(("0", "us-east-1", "q"), {"messages": [taken, delayed]})])
    sqs = SimpleNamespace(DEFAULT_HOST="localhost", DEFAULT_PORT="5001", _CANONICAL_NETLOC="x", _queues=queues)

    mend_queues(sqs)

    assert (sqs.DEFAULT_PORT, sqs._CANONICAL_NETLOC) == ("4566", "localhost:4566")
    assert (taken["visible_at"], delayed["visible_at"]) == (0, 9e9)


def test_the_state_is_saved_when_it_is_quiet_again() -> None:
    saves: list[int] = []

    async def plain(scope: dict[str, str], receive: Any, send: Any) -> None:
        await asyncio.sleep(0.4 if scope["type"] == "lifespan" else 0)

    async def day() -> list[int]:
        served = saving(plain, lambda: saves.append(1), quiet=0.05)
        life = asyncio.create_task(served({"type": "lifespan"}, None, None))
        await asyncio.sleep(0.12)
        quiet = len(saves)
        await served({"type": "http"}, None, None)
        await life
        return [quiet, len(saves)]

    assert asyncio.run(day()) == [0, 1]


def test_ministack_still_has_what_is_replaced() -> None:
    module: Any = importlib.import_module("ministack.services.apigateway_v1")
    names = list(inspect.signature(module._authorize_request_v1).parameters)

    assert names[:7] == ["api_id", "stage_name", "method_obj", "method", "request_path", "resource", "headers"]
    assert next(iter(inspect.signature(module._handle_execute_in_scope).parameters)) == "api_id"
    assert list(inspect.signature(module._gw_error).parameters) == ["status", "message"]
    assert list(inspect.signature(module._media_type_matches).parameters) == ["media_type", "binary_media_types"]
    assert list(inspect.signature(module._header_ci).parameters) == ["headers", "name"]
