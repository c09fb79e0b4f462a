"""MiniStack with what it lacks to stand in for AWS.

* Its API Gateway keeps Cognito authorizers and gateway responses, but heeds neither: every caller would be let
  through to the functions unnamed, and unknown routes would answer in API Gateway's own words.
* A caller or body of no stated media type is text to it even where an API takes everything for bytes.
* It writes its state only when it is stopped in an orderly way: a crash would take the data with it.
* It finds queues by an address with its port in it: on another port, kept queues would never be read. And what
  was taken from a queue when it stopped stays taken, with all that waits behind it, until a time-out of minutes.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

Answer = tuple[int, dict[str, str], bytes]

_QUIET_SECONDS = 2.0
_MISSING_TOKEN = "Missing Authentication Token"  # noqa: S105  the words of an answer
_REQUEST_MILLIS = "$context.requestTimeEpoch"
_api: ContextVar[str] = ContextVar("api", default="")


def claims_of(authorization: str, pools: list[str], keys: list[dict[str, Any]]) -> dict[str, str] | None:
    """Return the claims of an id_token of one of the pools as functions see them, None when it proves nothing."""
    import jwt

    token = authorization.strip()
    if token.lower().startswith("bearer "):
        token = token[7:].strip()
    try:
        wanted = jwt.get_unverified_header(token).get("kid")
        key = next((key for key in keys if key["kid"] == wanted), None)
        if key is None:
            return None
        claims = jwt.decode(
            token,
            key=jwt.PyJWK(key).key,
            algorithms=["RS256"],
            options={"require": ["exp", "iss"], "verify_aud": False},
        )
    except jwt.PyJWTError:
        return None
    issuers = [f"https://cognito-idp.{pool.partition('_')[0]}.amazonaws.com/{pool}" for pool in pools]
    # A method without scopes takes id_tokens only.
    if claims["iss"] not in issuers or claims.get("token_use") != "id":
        return None
    return {name: _claim(value) for name, value in claims.items()}


def _claim(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def customised(response: Mapping[str, Any] | None, default: Answer) -> Answer:
    """Return a gateway response as its declaration says, the default when there is none."""
    if response is None:
        return default
    headers = dict(default[1])
    for name, value in response["responseParameters"].items():
        if name.startswith("gatewayresponse.header."):
            headers[name.removeprefix("gatewayresponse.header.")] = value.strip("'")
    template = response["responseTemplates"].get("application/json")
    now = str(time.time_ns() // 1_000_000)
    body = default[2] if template is None else template.replace(_REQUEST_MILLIS, now).encode()
    return int(response.get("statusCode") or default[0]), headers, body


def complete_gateway(gateway: Any, cognito: Any) -> None:
    """Let the modules of API Gateway heed authorizers, gateway responses and APIs that take everything for bytes."""
    plain_error: Callable[[int, str], Answer] = gateway._gw_error
    plain_authorize: Callable[..., Awaitable[tuple[Any, Any]]] = gateway._authorize_request_v1
    plain_execute: Callable[..., Awaitable[Answer]] = gateway._handle_execute_in_scope
    plain_matches: Callable[[str | None, list[str] | None], bool] = gateway._media_type_matches

    def answer(kind: str, default: Answer) -> Answer:
        kept = gateway._gateway_responses.get(_api.get(), {})
        group = "DEFAULT_4XX" if default[0] < 500 else "DEFAULT_5XX"
        return customised(kept.get(kind) or kept.get(group), default)

    def error(status: int, message: str) -> Answer:
        kinds = {401: "UNAUTHORIZED", 403: "ACCESS_DENIED", 500: "AUTHORIZER_CONFIGURATION_ERROR"}
        kind = "MISSING_AUTHENTICATION_TOKEN" if message == _MISSING_TOKEN else kinds[status]
        return answer(kind, plain_error(status, message))

    async def authorize(api_id: str, stage: str, method: Mapping[str, Any], *more: Any) -> tuple[Any, Any]:
        if method.get("authorizationType") != "COGNITO_USER_POOLS":
            return await plain_authorize(api_id, stage, method, *more)
        authorizer = gateway._authorizers_v1.get(api_id, {})[method["authorizerId"]]
        pools = [arn.rpartition("/")[2] for arn in authorizer["providerARNs"]]
        headers = more[3]
        claims = claims_of(gateway._header_ci(headers, "authorization"), pools, [cognito._JWKS_KEY])
        return (error(401, "Unauthorized"), None) if claims is None else (None, {"claims": claims})

    async def execute(api_id: str, *more: Any) -> Answer:
        _api.set(api_id)
        result = await plain_execute(api_id, *more)
        # A function that could not run at all has no answer of its own.
        return answer("INTEGRATION_FAILURE", result) if result[0] == 502 else result

    def matches(media_type: str | None, binary: list[str] | None) -> bool:
        return "*/*" in (binary or ()) or plain_matches(media_type, binary)

    gateway._media_type_matches = matches
    gateway._gw_error = error
    gateway._authorize_request_v1 = authorize
    gateway._handle_execute_in_scope = execute


def mend_queues(sqs: Any) -> None:
    """Let SQS know its queues by the same addresses on every port, and hand out again what nobody holds any more."""
    # Callers are told the address at which they asked, whatever this says.
    sqs.DEFAULT_PORT = "4566"
    sqs._CANONICAL_NETLOC = f"{sqs.DEFAULT_HOST}:{sqs.DEFAULT_PORT}"
    for _, queue in sqs._queues.all_items():
        for message in queue["messages"]:
            if message.get("receipt_handle"):
                message["visible_at"] = 0


def saving(server: Any, save: Callable[[], None], quiet: float = _QUIET_SECONDS) -> Callable[..., Awaitable[None]]:
    """Return the server with its state saved whenever nobody called for a while after somebody did."""
    plain: Callable[..., Awaitable[None]] = server
    last_call: float | None = None

    async def save_when_quiet() -> None:
        nonlocal last_call
        while True:
            await asyncio.sleep(quiet)
            if last_call is not None and time.monotonic() - last_call >= quiet:
                last_call = None
                save()

    async def serve(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        nonlocal last_call
        if scope["type"] != "lifespan":
            await plain(scope, receive, send)
            last_call = time.monotonic()
            return
        task = asyncio.create_task(save_when_quiet())
        try:
            await plain(scope, receive, send)
        finally:
            task.cancel()

    return serve


def main() -> None:
    """Run MiniStack until it is told to stop."""
    server: Any = importlib.import_module("ministack.app")
    persistence: Any = importlib.import_module("ministack.core.persistence")
    gateway, cognito, sqs = (
        importlib.import_module(f"ministack.services.{name}") for name in ("apigateway_v1", "cognito", "sqs")
    )
    complete_gateway(gateway, cognito)
    mend_queues(sqs)
    # It names every file it writes.
    logging.getLogger("persistence").setLevel(logging.WARNING)
    server.app = saving(server.app, lambda: persistence.save_all(server._build_persistence_save_dict()))
    server.main()


if __name__ == "__main__":
    main()
