"""The chatbot's API: its envelope, who may call, and what its requests have in common."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import from_json

from chatbot.tables import AccountTable, account_key
from kernel.auth import Cognito
from kernel.envelopes import Response, json_text
from kernel.errors import NotFound
from kernel.grants import Grant, read
from kernel.operations import Api
from kernel.signed import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel.errors import Fault
    from kernel.tables import Item

# '#' separates the parts of composite keys (contract, id_formats).
AdminId = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^#\s]+( [^#\s]+)*$")]
AccountId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
# For optional texts: null says the same as ''.
NULL_IS_BLANK = BeforeValidator(lambda value: "" if value is None else value)


_TEXT = {"type": "string"}
_REMARKED = {"type": "null", "description": "with remarks"}


class Remarks(NamedTuple):
    """Sentences on what was done, though not as the caller may expect."""

    texts: list[str]


Remarked = Annotated[Remarks | None, WithJsonSchema(_REMARKED)]


class ChatbotEnvelope:
    """`{ErrorCode, ErrorMessage, Result}`; the HTTP status equals ErrorCode (contract, envelope).

    The contract knows 200, 400 and 401, so every fault of the request is a 400. Only what the caller may
    simply try again keeps its own number: 429 and 500.
    """

    def success(self, result: Any) -> Response:
        """Return code 200 with the result, null when there is none; remarks stand beside a result of null."""
        if isinstance(result, Remarks):
            remarked = {"ErrorCode": 200, "ErrorMessage": "ok", "Result": None, "Warnings": result.texts}
            return Response(200, json_text(remarked))
        return Response(200, json_text({"ErrorCode": 200, "ErrorMessage": "ok", "Result": result}))

    def fault(self, fault: Fault) -> Response:
        """Return the fault's code and message; a 401 says no more than Unauthorized."""
        code = fault.status if fault.status in (401, 429) or fault.status >= 500 else 400
        message = "Unauthorized" if code == 401 else fault.message
        return Response(code, json_text({"ErrorCode": code, "ErrorMessage": message, "Result": None}))

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema of a success."""
        schema = _schema({"const": 200}, {"const": "ok"}, result)
        if result == _REMARKED:
            schema["properties"] |= {"Result": {"type": "null"}, "Warnings": {"type": "array", "items": _TEXT}}
        return schema

    def fault_schema(self) -> dict[str, Any]:
        """Return the schema of a fault."""
        return _schema({"enum": [400, 401, 429, 500]}, {"type": "string", "minLength": 1}, {"type": "null"})


def _schema(code: dict[str, Any], message: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["ErrorCode", "ErrorMessage", "Result"],
        "properties": {"ErrorCode": {"type": "integer", **code}, "ErrorMessage": message, "Result": result},
    }


class BareEnvelope(ChatbotEnvelope):
    """The envelope without Result, neither on success nor on failure (contract, envelope)."""

    def success(self, result: Any) -> Response:
        """Return code 200; there is never a result."""
        return _without_result(super().success(None))

    def fault(self, fault: Fault) -> Response:
        """Return the fault's code and message."""
        return _without_result(super().fault(fault))

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema of a success."""
        return _bare(super().success_schema(result, definitions))

    def fault_schema(self) -> dict[str, Any]:
        """Return the schema of a fault."""
        return _bare(super().fault_schema())


def _without_result(response: Response) -> Response:
    body = from_json(response.body)
    del body["Result"]
    return response._replace(body=json_text(body))


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {name: inner for name, inner in schema["properties"].items() if name != "Result"}
    return {**schema, "required": list(properties), "properties": properties}


api = Api("chatbot", envelope=ChatbotEnvelope(), auth=Cognito(), tenant="adminId")


def camel(name: str) -> str:
    """Return the contract's spelling of a field: `account_id` is `accountId`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


class Body(BaseModel):
    """What comes in, in the contract's spelling; unknown fields are ignored."""

    model_config = ConfigDict(alias_generator=camel, hide_input_in_errors=True)


class View(BaseModel):
    """What goes out, in the contract's spelling."""

    model_config = ConfigDict(alias_generator=camel, validate_by_name=True, hide_input_in_errors=True)


class AdminRequest(Body):
    """A request of an operator; the kernel checks `adminId` against the caller."""

    admin_id: AdminId


class AccountRequest(AdminRequest):
    """A request about one channel, which must belong to the operator."""

    uses: ClassVar[tuple[Grant, ...]] = (read(AccountTable),)
    account_id: AccountId

    @cached_property
    def account(self) -> AccountTable:
        """The channel; unknown and foreign ones are refused alike."""
        found = AccountTable.find(self.admin_id, self.account_id)
        if found is None:
            raise NotFound("accountId not found")
        return found

    @property
    def partition(self) -> str:
        """The key under which everything of the channel is stored."""
        return account_key(self.account.admin_id, self.account.account_id)

    def admit(self) -> None:
        """Refuse a channel that is not the operator's, before the operation runs."""
        _ = self.account


class ListRequest(AccountRequest):
    """A request for a list of a channel; the documents know no paging here, so the key is our addition.

    A list longer than one page answers with `lastEvaluatedKey`; sent back, it brings the next page.
    """

    last_evaluated_key: str | None = None

    def start(self, name: str) -> Item | None:
        """Return where the list `name` goes on, None for its first page."""
        if not self.last_evaluated_key:
            return None
        item: Item = unseal(self._purpose(name), self.last_evaluated_key, "lastEvaluatedKey")
        return item

    def next_key(self, name: str, last_key: Item | None) -> str | None:
        """Return the key of the next page as the caller sees it."""
        return None if last_key is None else seal(self._purpose(name), last_key)

    def _purpose(self, name: str) -> str:
        return f"{name}{self.partition}"


class ListView(View):
    """A list; `lastEvaluatedKey` is there only when there may be a further page."""

    last_evaluated_key: str | None = Field(default=None, exclude_if=lambda value: value is None)
