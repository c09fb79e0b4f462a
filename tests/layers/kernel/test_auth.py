"""Who may call: tokens of the pool, keys of partners, signatures, tokens of ours, and nobody by default."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kernel import auth, clock, wire
from kernel import settings as kernel_settings
from kernel.auth import EVERY, Caller, Cognito, Incoming, PartnerKey, PartnerKeyTable, Public, Signature, Token
from kernel.envelopes import Response, json_text
from kernel.errors import Fault, Unauthorized
from kernel.grants import read, sign
from kernel.operations import Api, event_of
from kernel.tables import Put, commit, schema
from tests.layers.kernel.test_wire import Server, answers, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOW = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)
# Tokens are judged by the machine's clock, so they are long gone or good for centuries.
FAR = int(datetime(2400, 1, 1, tzinfo=UTC).timestamp())
PAST = int(datetime(2001, 1, 1, tzinfo=UTC).timestamp())
POOL = "us-east-1_pool"
ISSUER = f"https://cognito-idp.us-east-1.amazonaws.com/{POOL}"
CLAIMS = {"cognito:username": "0001", "token_use": "id", "aud": "client", "iss": ISSUER, "exp": FAR, "iat": PAST}


def incoming(headers: dict[str, str] | None = None, claims: dict[str, Any] | None = None) -> Incoming:
    return Incoming(headers or {}, query={}, path={}, body=b"", claims=claims or {}, source_ip="192.0.2.1")


def bearer(token: str) -> Incoming:
    return incoming({"authorization": f"Bearer {token}"})


# ---- what the gateway has checked


@pytest.mark.parametrize("claims", [{"cognito:username": "0001"}, {"cognito:username": "0001", "token_use": "id"}])
def test_an_operator_is_who_his_token_says(claims):
    assert Cognito().identify(incoming(claims=claims)) == Caller("0001", frozenset({"0001"}))


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"cognito:username": ""},
        {"sub": "0001"},
        {"username": "0001", "token_use": "access"},
        {"cognito:username": "0001", "token_use": "access"},
        {"cognito:username": "0001", "token_use": ""},
    ],
)
def test_other_claims_open_nothing(claims):
    with pytest.raises(Unauthorized):
        Cognito().identify(incoming(claims=claims))


@pytest.mark.parametrize(
    ("groups", "tenants"),
    [
        (None, set()),
        ("", set()),
        ("12", {"12"}),
        ("12,13", {"12", "13"}),
        ("12, 13 ,", {"12", "13"}),
        (["12", "13"], {"12", "13"}),
        ("platform", {"platform", EVERY}),
        ("12,platform", {"12", "platform", EVERY}),
        ("*", set()),
        ("*,12", {"12"}),
        ("platforms", {"platforms"}),
    ],
)
def test_the_tenants_of_an_operator_may_be_his_groups(groups, tenants):
    claims = {"cognito:username": "ann", "token_use": "id", "cognito:groups": groups}

    assert Cognito(every="platform").identify(incoming(claims=claims)) == Caller("ann", frozenset(tenants))
    # Where tenants are operators, groups say nothing.
    assert Cognito().identify(incoming(claims=claims)) == Caller("ann", frozenset({"ann"}))


@pytest.mark.parametrize("claims", [{"cognito:groups": "platform"}, {**CLAIMS, "token_use": "access"}])
def test_groups_alone_open_nothing(claims):
    with pytest.raises(Unauthorized):
        Cognito(every="platform").identify(incoming(claims=claims))


def test_a_caller_may_name_his_tenants_or_every_one():
    assert Caller("ann", frozenset({"12"})).may("12")
    assert not Caller("ann", frozenset({"12"})).may("13")
    assert not Caller("ann", frozenset()).may("")
    assert Caller("ann", frozenset({EVERY})).may("13")


def test_a_public_caller_is_an_address_that_may_name_no_tenant():
    assert Public().identify(incoming(claims={"cognito:username": "0001"})) == Caller("192.0.2.1", frozenset())


# ---- keys of partners


@pytest.fixture
def partner_keys(environment: str) -> Iterator[Any]:
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("dynamodb", endpoint_url=environment, region_name="us-east-1")
    client.create_table(TableName=PartnerKeyTable.physical_name(), **schema(PartnerKeyTable))
    with clock.frozen(NOW):
        yield client
    client.close()


def grant_key(key: str, **more: Any) -> None:
    values = {"partner": "bus", "tenants": {"0001", "0002"}, **more}
    commit(Put(PartnerKeyTable(key_digest=PartnerKeyTable.digest(key), **values)))


def identified(key: str) -> Caller:
    return PartnerKey().identify(incoming({"x-partner-key": key}))


def test_a_partner_is_who_his_key_says(partner_keys):
    grant_key("the-key")

    assert identified("the-key") == Caller("partner:bus", frozenset({"0001", "0002"}))


def test_the_key_itself_is_not_kept(partner_keys):
    grant_key("the-key")

    (item,) = partner_keys.scan(TableName=PartnerKeyTable.physical_name())["Items"]
    assert item["key_digest"] == {"S": hashlib.sha256(b"the-key").hexdigest()}
    assert "the-key" not in json.dumps(item)


@pytest.mark.parametrize("key", ["the-kez", "the-key ", "THE-KEY", "測試"])
def test_an_unknown_key_opens_nothing(partner_keys, key):
    grant_key("the-key")

    with pytest.raises(Unauthorized):
        identified(key)


def test_a_key_ends_when_it_expires(partner_keys):
    grant_key("the-key", expires_at=NOW)

    with clock.frozen(NOW - timedelta(milliseconds=1)):
        assert identified("the-key").id == "partner:bus"
    for late in (timedelta(0), timedelta(milliseconds=1), timedelta(days=1)):
        with clock.frozen(NOW + late), pytest.raises(Unauthorized):
            identified("the-key")


def test_a_key_without_tenants_names_none(partner_keys):
    grant_key("the-key", tenants=set())

    assert identified("the-key") == Caller("partner:bus", frozenset())


def test_a_partner_key_operation_may_read_the_keys(environment):
    assert PartnerKeyTable.physical_name() == "citypass-test-chatbot-partner-keys"
    assert PartnerKey().uses == (read(PartnerKeyTable),)
    assert (Cognito().uses, Public().uses) == ((), ())


# ---- tokens that are checked here


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def other_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_set(**keys: rsa.RSAPrivateKey) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm
    return {
        "keys": [
            {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "alg": "RS256", "use": "sig"}
            for name, key in keys.items()
        ]
    }


@pytest.fixture
def pool(environment: str, monkeypatch: pytest.MonkeyPatch, private_key: rsa.RSAPrivateKey) -> Iterator[Server]:
    """A user pool that publishes one key, once."""
    monkeypatch.setenv("POOL_ID", POOL)
    monkeypatch.setenv("POOL_CLIENT_ID", "client")
    monkeypatch.setenv("POOL_ISSUER", ISSUER)
    monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: 900.0))
    with Server(answers(key_set(k1=private_key))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        kernel_settings.settings.cache_clear()
        yield server


def token(key: Any, *, kid: Any = "k1", without: str = "", **claims: Any) -> str:
    content = {name: value for name, value in {**CLAIMS, **claims}.items() if name != without}
    return jwt.encode(content, key, "RS256", headers={"kid": kid} if kid is not None else {})


@pytest.mark.parametrize(("scheme", "ending"), [("Bearer", ""), ("bearer", "/"), ("BEARER", "")])
def test_an_operator_s_token_is_checked_against_the_pool(pool, private_key, monkeypatch, scheme, ending):
    monkeypatch.setenv("AWS_ENDPOINT_URL", pool.url + ending)
    request = incoming({"authorization": f"{scheme}  {token(private_key)} "})

    assert PartnerKey().identify(request) == Caller("0001", frozenset({"0001"}))
    assert pool.requests[0].line == f"GET /{POOL}/.well-known/jwks.json HTTP/1.1"


def test_the_keys_of_the_pool_are_fetched_once(pool, private_key):
    for name in ("0001", "0002", "0003"):
        caller = PartnerKey().identify(bearer(token(private_key, **{"cognito:username": name})))
        assert caller == Caller(name, frozenset({name}))

    assert len(pool.requests) == 1


def test_the_keys_of_the_pool_are_read_anew_after_a_while(pool, private_key, other_key, monkeypatch):
    seconds = [900.0]
    monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    pool.script.append(answers(key_set(k2=other_key)))
    old, new = bearer(token(private_key)), bearer(token(other_key, kid="k2"))

    assert PartnerKey().identify(old).id == "0001"
    seconds[0] = 1199.9
    with pytest.raises(Unauthorized):
        PartnerKey().identify(new)
    assert len(pool.requests) == 1
    seconds[0] = 1200.0
    assert PartnerKey().identify(new).id == "0001"
    with pytest.raises(Unauthorized):
        PartnerKey().identify(old)
    assert len(pool.requests) == 2


def test_in_the_cloud_the_keys_are_at_the_issuer(pool, private_key, monkeypatch):
    issuer = f"{pool.url}/the-issuer"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("POOL_ISSUER", issuer)
    kernel_settings.settings.cache_clear()

    assert PartnerKey().identify(bearer(token(private_key, iss=issuer))).id == "0001"
    assert pool.requests[0].line == "GET /the-issuer/.well-known/jwks.json HTTP/1.1"


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another"},
        {"iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_other"},
        {"exp": PAST},
        {"nbf": FAR},
        {"iat": FAR},
        {"token_use": "access"},
        {"cognito:username": ""},
        {"without": "exp"},
        {"without": "aud"},
        {"without": "iss"},
        {"without": "cognito:username"},
        {"kid": "k2"},
        {"kid": None},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_opens_nothing(pool, private_key, change):
    with pytest.raises(Unauthorized):
        PartnerKey().identify(bearer(token(private_key, **change)))


def test_a_token_of_another_key_opens_nothing(pool, other_key):
    with pytest.raises(Unauthorized):
        PartnerKey().identify(bearer(token(other_key)))


def part(value: Any) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_token_that_nobody_signed_opens_nothing(pool):
    for algorithm in ("none", "None", "NONE"):
        with pytest.raises(Unauthorized):
            PartnerKey().identify(bearer(f"{part({'alg': algorithm, 'kid': 'k1'})}.{part(CLAIMS)}."))


def test_the_public_key_is_no_secret_to_sign_with(pool, private_key):
    public = private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f"{part({'alg': 'HS256', 'kid': 'k1', 'typ': 'JWT'})}.{part(CLAIMS)}"
    signature = urlsafe_b64encode(hmac.digest(public, text.encode(), "sha256")).decode().rstrip("=")

    with pytest.raises(Unauthorized):
        PartnerKey().identify(bearer(f"{text}.{signature}"))


def test_a_token_whose_claims_were_changed_opens_nothing(pool, private_key):
    head, _, signature = token(private_key).split(".")
    changed = part({**CLAIMS, "cognito:username": "0002"})

    with pytest.raises(Unauthorized):
        PartnerKey().identify(bearer(f"{head}.{changed}.{signature}"))


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer 測.試.字", "Basic dTpw", "token"]
)
def test_what_is_no_token_opens_nothing(pool, authorization):
    with pytest.raises(Unauthorized):
        PartnerKey().identify(incoming({"authorization": authorization}))


def test_without_any_credential_nothing_opens(pool):
    for headers in ({}, {"x-partner-key": ""}):
        with pytest.raises(Unauthorized):
            PartnerKey().identify(incoming(headers))


def test_a_pool_that_does_not_answer_is_asked_again(pool, private_key, monkeypatch):
    pool.script = [answers(b"<html>", 503), answers(b"{}"), answers(key_set(k1=private_key))]
    good = bearer(token(private_key))
    with monkeypatch.context() as away:
        away.setattr("socket.create_connection", refuse)
        with pytest.raises(wire.Unreachable):
            PartnerKey().identify(good)
    with pytest.raises(RuntimeError, match=r"^the pool's keys cannot be read: 503$"):
        PartnerKey().identify(good)
    with pytest.raises(KeyError):
        PartnerKey().identify(good)

    assert PartnerKey().identify(good).id == "0001"
    assert auth._pool_keys.cache_info().currsize == 1


# ---- proofs of a system's own


class PlainEnvelope:
    """Answers the result itself, or the code of the fault."""

    def success(self, result: Any) -> Response:
        return Response(200, json_text(result))

    def fault(self, fault: Fault) -> Response:
        return Response(fault.status, json_text(fault.code))

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        return result

    def fault_schema(self) -> dict[str, Any]:
        return {}


api = Api("sample", envelope=PlainEnvelope(), auth=Cognito(), tenant="cityId")


def check_signature(request: Incoming) -> str:
    """Return who signed the body."""
    expected = hmac.digest(b"shared", request.body, "sha256").hex()
    if not hmac.compare_digest(request.headers.get("x-signature", ""), expected):
        raise Unauthorized
    return request.query["who"]


def check_token(request: Incoming) -> dict[str, str]:
    """Return what the token in the path says."""
    if request.path.get("token") != "good":
        raise Unauthorized
    return {"says": request.path["token"]}


@api.post("/webhook", auth=Signature(check_signature, uses=(sign(),)))
def take_webhook(caller: str) -> str:
    """Take a webhook."""
    return caller


@api.post("/links/{token}", auth=Token(check_token, uses=(sign(),)))
def open_link(caller: dict[str, str]) -> dict[str, str]:
    """Open a link."""
    return caller


def answer(operation: Any, **event: Any) -> tuple[int, Any]:
    made = operation({**event_of(operation, ""), **event}, None)
    return made["statusCode"], json.loads(made["body"])


def test_a_signature_proves_what_its_check_says(environment):
    signature = hmac.digest(b"shared", '{"測":1}'.encode(), "sha256").hex()
    event = {"body": '{"測":1}', "queryStringParameters": {"Who": "line"}}

    assert answer(take_webhook, headers={"X-Signature": signature}, **event) == (200, "line")
    assert answer(take_webhook, headers={"X-Signature": "another"}, **event) == (401, "unauthorized")
    assert answer(take_webhook, headers=None, **event) == (401, "unauthorized")
    assert (take_webhook.auth.name, take_webhook.uses) == ("signature", (sign(),))


def test_a_token_of_ours_proves_what_its_check_says(environment):
    assert answer(open_link, pathParameters={"token": "good"}) == (200, {"says": "good"})
    assert answer(open_link, pathParameters={"token": "bad"}) == (401, "unauthorized")
    assert answer(open_link, pathParameters=None) == (401, "unauthorized")
    assert (open_link.auth.name, open_link.uses) == ("token", (sign(),))


def test_every_proof_has_its_name():
    assert [kind.name for kind in (Cognito, Public, PartnerKey, Signature, Token)] == [
        "cognito",
        "public",
        "partner_key",
        "signature",
        "token",
    ]
