"""Who may call an operation. There is no default of "open": every `Api` names one, operations may override it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pynamodb.attributes import UnicodeAttribute, UnicodeSetAttribute

from kernel import clock, grants, wire
from kernel.errors import Unauthorized
from kernel.settings import settings
from kernel.tables import Table, UtcTime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernel.grants import Grant


_KEYS_SECONDS = 300
# The tenant of those who may name every tenant.
EVERY = "*"


class Incoming(NamedTuple):
    """A request before it is understood; header and query names in lower case, `route` as the operation declares it."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    path: Mapping[str, str]
    body: bytes
    claims: Mapping[str, Any]
    source_ip: str
    route: str = ""


class Caller(NamedTuple):
    """Somebody who proved who he is, and the tenants he may name."""

    id: str
    tenants: frozenset[str]

    def may(self, tenant: str) -> bool:
        """Tell whether the caller may name this tenant."""
        return tenant in self.tenants or EVERY in self.tenants


class PartnerKeyTable(Table):
    """Keys of partner companies: only their digest is kept, each is bound to tenants and may expire."""

    name: ClassVar[str] = "partner-keys"
    key_digest = UnicodeAttribute(hash_key=True)
    partner = UnicodeAttribute()
    tenants = UnicodeSetAttribute()
    expires_at = UtcTime(null=True)
    created_at = UtcTime(null=True)

    @staticmethod
    def digest(key: str) -> str:
        """Return the digest under which a key is kept; keys are long random texts, so no salt is needed."""
        return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True)
class Cognito:
    """A Bearer id_token, checked by the gateway's authorizer.

    Operators are their own tenant; with `every` set, their tenants are their groups in the pool instead, and members
    of the group of that name may name every tenant.
    """

    every: str = ""
    name: ClassVar[str] = "cognito"
    uses: ClassVar[tuple[Grant, ...]] = ()

    def identify(self, incoming: Incoming) -> Caller:
        """Return the operator whose token the gateway accepted."""
        operator = _operator(incoming.claims)
        if not self.every:
            return operator
        groups = _groups(incoming.claims)
        return Caller(operator.id, groups - {EVERY} | ({EVERY} if self.every in groups else frozenset()))


@dataclass(frozen=True)
class Public:
    """No credential; the caller is known by his address only."""

    name: ClassVar[str] = "public"
    uses: ClassVar[tuple[Grant, ...]] = ()

    def identify(self, incoming: Incoming) -> Caller:
        """Return the address, which may name no tenant."""
        return Caller(incoming.source_ip, frozenset())


@dataclass(frozen=True)
class PartnerKey:
    """Either a partner's key in X-Partner-Key or a Bearer id_token, checked here instead of at the gateway."""

    name: ClassVar[str] = "partner_key"
    uses: ClassVar[tuple[Grant, ...]] = (grants.read(PartnerKeyTable),)

    def identify(self, incoming: Incoming) -> Caller:
        """Return the partner with the tenants of his key, or the operator of the token."""
        key = incoming.headers.get("x-partner-key")
        if key:
            row = PartnerKeyTable.find(PartnerKeyTable.digest(key))
            if row is None or (row.expires_at is not None and row.expires_at <= clock.now()):
                raise Unauthorized
            return Caller(f"partner:{row.partner}", frozenset(row.tenants or ()))
        scheme, _, token = incoming.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized
        return _operator(verified_claims(token.strip()))


@dataclass(frozen=True)
class Signature:
    """The request's own signature; `check` returns whose it is, or raises Unauthorized."""

    check: Callable[[Incoming], Any]
    uses: tuple[Grant, ...] = ()
    name: ClassVar[str] = "signature"

    def identify(self, incoming: Incoming) -> Any:
        """Return what the signature proves."""
        return self.check(incoming)


@dataclass(frozen=True)
class Token:
    """A token of ours inside the request; `check` returns what it says, or raises Unauthorized.

    `header` is where callers may put it, when that is the same for all operations.
    """

    check: Callable[[Incoming], Any]
    uses: tuple[Grant, ...] = ()
    header: str = ""
    name: ClassVar[str] = "token"

    def identify(self, incoming: Incoming) -> Any:
        """Return what the token says."""
        return self.check(incoming)


Auth = Cognito | Public | PartnerKey | Signature | Token


def _operator(claims: Mapping[str, Any]) -> Caller:
    name = claims.get("cognito:username")
    # Access tokens open nothing: the contracts say id_token.
    if not name or claims.get("token_use", "id") != "id":
        raise Unauthorized
    return Caller(str(name), frozenset({str(name)}))


def _groups(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the groups as API Gateway writes a claim that is a list: with commas between them."""
    said = claims.get("cognito:groups") or ""
    listed = said if isinstance(said, list) else str(said).split(",")
    return frozenset(name.strip() for name in listed) - {""}


def verified_claims(token: str) -> Mapping[str, Any]:
    """Return the claims of an id_token of the system's pool after checking signature, audience and times."""
    import jwt  # RSA is 60 ms of imports that only routes without the gateway's authorizer need

    try:
        header = jwt.get_unverified_header(token)
        key = _pool_keys(int(time.monotonic() // _KEYS_SECONDS)).get(header.get("kid", ""))
        if key is None:
            raise Unauthorized
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key=jwt.PyJWK(key).key,
            algorithms=["RS256"],
            audience=settings().pool_client_id,
            issuer=settings().pool_issuer,
            options={"require": ["exp", "aud", "iss"], "verify_iss": True},
        )
    except jwt.PyJWTError:
        raise Unauthorized from None
    return claims


@lru_cache(maxsize=1)
def _pool_keys(period: int) -> dict[str, Any]:
    """Return the keys of the pool, read anew in each period, because pools change them now and then."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    base = f"{endpoint.rstrip('/')}/{settings().pool_id}" if endpoint else settings().pool_issuer
    reply = wire.send("GET", f"{base}/.well-known/jwks.json", {})
    if reply.status != 200:
        raise RuntimeError(f"the pool's keys cannot be read: {reply.status}")
    return {key["kid"]: key for key in json.loads(reply.body)["keys"]}
