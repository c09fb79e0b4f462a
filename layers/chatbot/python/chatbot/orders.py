"""Orders that partners write back, proved by the token that came with the user who ordered."""

from __future__ import annotations

import base64
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from chatbot.tables import ConversationTable, OrderTable, account_key
from kernel import clock
from kernel.envelopes import Response, json_text
from kernel.errors import Conflict, Fault, Invalid, Unauthorized
from kernel.signed import seal, unseal
from kernel.tables import Change, ConditionFailed, commit, create, existing_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel.auth import Incoming

TOKEN_LIFE = timedelta(days=90)
ORDERS_KEPT = 50
_PURPOSE = "order"
_TOKEN_LENGTH = 4000
_ATTEMPTS = 5


class PartnerEnvelope:
    """`{}` for what was taken, else a JSON string that says why not (contract, api/penglue/send)."""

    def success(self, result: Any) -> Response:
        """Return an empty object, whatever the result."""
        return Response(200, "{}")

    def fault(self, fault: Fault) -> Response:
        """Return the documented word for the fault; only what may be tried again keeps a status of its own."""
        if fault.status == 401:
            return Response(401, json_text("Unauthorized"))
        if fault.status == 429 or fault.status >= 500:
            return Response(fault.status, json_text(fault.message))
        return Response(400, json_text("Already Exist" if isinstance(fault, AlreadyExists) else "Bad Request"))

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema of an empty object."""
        return {"type": "object", "maxProperties": 0}

    def fault_schema(self) -> dict[str, Any]:
        """Return the schema of a text."""
        return {"type": "string", "minLength": 1}


class AlreadyExists(Conflict):
    """The partner has written this order back before."""

    def __init__(self) -> None:
        super().__init__("Already Exist")


class Claims(NamedTuple):
    """What a token says: whose order or click it is, and from where he came."""

    admin_id: str
    account_id: str
    user_id: str
    node_id: str
    scenario_id: str

    @property
    def partition(self) -> str:
        """The key under which everything of the channel is stored."""
        return account_key(self.admin_id, self.account_id)


def _day(text: str) -> str:
    date.fromisoformat(text)
    return text


Line = Annotated[str, StringConstraints(max_length=200)]


class Order(BaseModel):
    """An order as partners send it: numbers count as texts, and queries lose the capitals of the names."""

    model_config = ConfigDict(coerce_numbers_to_str=True, hide_input_in_errors=True)

    order_id: Annotated[Line, StringConstraints(strip_whitespace=True, min_length=1), Field(alias="orderid")]
    product_id: Annotated[Line, Field(alias="productid")]
    label: Annotated[Line, Field(alias="pscenario")]
    cv_date: Annotated[
        str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$"), AfterValidator(_day), Field(alias="cvdate")
    ]


class Proved(NamedTuple):
    """An order and what its token says."""

    order: Order
    claims: Claims


def token(admin_id: str, account_id: str, user_id: str, node_id: str, scenario_id: str) -> str:
    """Return the token by which a partner names a user of ours, for 90 days (contract, key_formats.order_token).

    It is base64 of base64url, ends with up to two '=', and holds neither '+' nor '/'.
    """
    claims = {
        "lid": user_id,
        "nodeid": node_id,
        # The documents' spelling, and the right one.
        "senarioid": scenario_id,
        "scenarioid": scenario_id,
        "adminId": admin_id,
        "accountId": account_id,
        "iat": int(clock.now().timestamp()),
    }
    return base64.b64encode(seal(_PURPOSE, claims).encode()).decode()


def claims_of(given: Any) -> Claims:
    """Return what a token says; Invalid when it cannot be read, Unauthorized when it is not ours or too old."""
    if not isinstance(given, str) or not 0 < len(given) <= _TOKEN_LENGTH:
        raise Invalid("token is required")
    text = (unquote(given) if "%" in given else given).strip().rstrip("=")
    if not text:
        raise Invalid("token is required")
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("ascii")
        base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise Invalid("token cannot be read") from None
    # Base64 spells the same bytes in several ways; only the one that went out comes back.
    if base64.b64encode(sealed.encode()).decode().rstrip("=") != text:
        raise Unauthorized
    try:
        said = unseal(_PURPOSE, sealed, "token")
    except Invalid:
        raise Unauthorized from None
    if said["iat"] + TOKEN_LIFE.total_seconds() <= clock.now().timestamp():
        raise Unauthorized
    scenario_id = said.get("senarioid") or said.get("scenarioid") or ""
    return Claims(said["adminId"], said["accountId"], said["lid"], said["nodeid"], scenario_id)


def fields_of(incoming: Incoming) -> dict[str, Any]:
    """Return what a partner sent, in whichever of the three ways: query, form or JSON; names in lower case."""
    sent: dict[str, Any] = dict(incoming.query)
    body = incoming.body.strip()
    try:
        if body.startswith(b"{"):
            sent |= from_json(body, allow_inf_nan=False)
        elif body:
            sent |= parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise Invalid("The body is neither JSON nor a form") from None
    return {name.lower(): value for name, value in sent.items()}


def proved(incoming: Incoming) -> Proved:
    """Return the order of a request with what its token says; who proves nothing learns nothing of the rest."""
    sent = fields_of(incoming)
    claims = claims_of(sent.get("token"))
    try:
        return Proved(Order.model_validate(sent), claims)
    except ValidationError:
        raise Invalid("The order lacks a field, or has one that is not allowed") from None


def record(proved: Proved, source: str) -> None:
    """Store an order, once for each partner, and its number with the user, where conditions find it.

    The order of somebody who has no conversation, because his data was erased since, is stored without him.
    """
    order, claims = proved
    row = OrderTable(
        account=claims.partition,
        place=f"{order.order_id}#{source}",
        order_id=order.order_id,
        source=source,
        user_id="",
        product_id=order.product_id,
        label=order.label,
        cv_date=order.cv_date,
        node_id=claims.node_id,
        scenario_id=claims.scenario_id,
    )
    for attempt in range(1, _ATTEMPTS + 1):
        conversation = ConversationTable.find(claims.partition, claims.user_id)
        row.user_id = "" if conversation is None else claims.user_id
        noted = [] if conversation is None else [_noted(conversation, order.order_id)]
        try:
            commit(create(row), *noted)
            return
        except ConditionFailed as problem:
            if problem.index == 0:
                raise AlreadyExists from None
            # The user said something at the same moment.
            if attempt == _ATTEMPTS:
                raise Fault("The order could not be stored; send it again") from None


def _noted(conversation: ConversationTable, order_id: str) -> Change:
    """Return the write that puts an order's number to the user's, the latest last."""
    version = ConversationTable.version
    others = [other for other in conversation.orders or [] if other != order_id]
    changes = [
        ConversationTable.orders.set([*others, order_id][-ORDERS_KEPT:]),
        version.set(conversation.version + 1),
    ]
    return Change(ConversationTable, conversation.own_key(), changes, version == conversation.version)


def known_user(claims: Claims) -> str:
    """Return whose token it is, '' when nothing is known of him any more: a token outlives the erasing of its user."""
    key = ConversationTable.key(claims.partition, claims.user_id)
    return claims.user_id if existing_keys(ConversationTable, [key]) else ""
