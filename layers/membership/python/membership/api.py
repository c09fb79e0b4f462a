"""The API of membership cards: its envelope, who may call, and what its requests have in common."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from kernel import clock
from kernel.auth import Cognito, Token
from kernel.envelopes import Response, json_text
from kernel.errors import REQUIRED, Conflict, Denied, Invalid, NotFound, TooLarge, TooMany, Unauthorized, Unreadable
from kernel.grants import read, write
from kernel.operations import Api
from membership import managers
from membership.faults import Coded
from membership.money import MARK, with_amounts
from membership.tables import ManagerTable, SessionTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel.errors import Fault

T = TypeVar("T")
SHANGHAI = timezone(timedelta(hours=8))
PAGE_SIZE = 14
LARGEST_PAGE = 100
# Marks the schema of what the envelope takes apart.
_BESIDE = "x-beside"
_TEXT = {"type": "string"}


class Done(NamedTuple):
    """What a write answers: the documented text, and `data` where it has any."""

    msg: str
    data: Any = None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the text alone."""
        return {_BESIDE: True, "properties": {"msg": _TEXT}}


DoneWithText = Annotated[Done, WithJsonSchema({_BESIDE: True, "properties": {"msg": _TEXT, "data": _TEXT}})]


class Paged(BaseModel, Generic[T]):
    """A page whose numbers stand in the envelope, beside the data (contract, pagination)."""

    model_config = ConfigDict(json_schema_extra={_BESIDE: True})
    data: T
    total: int
    pages: int
    page_num: int = Field(serialization_alias="pageNum")
    page_size: int = Field(serialization_alias="pageSize")


class MembershipEnvelope:
    """`{errCode, result, msg, data, time}`; what the business decides is HTTP 200 (contract, envelope)."""

    def success(self, result: Any) -> Response:
        """Return errCode 0 with the data, or with the text of a write, or with the numbers of a page."""
        more: dict[str, Any] = {"data": result}
        if isinstance(result, Done):
            more = {"msg": result.msg} | ({} if result.data is None else {"data": result.data})
        elif isinstance(result, Paged):
            more = {
                "data": result.data,
                "total": result.total,
                "pages": result.pages,
                "pageNum": result.page_num,
                "pageSize": result.page_size,
            }
        return _response(200, {"errCode": 0, "result": 0, **more})

    def fault(self, fault: Fault) -> Response:
        """Return the code that the contract has for the fault, and no data."""
        status, code, message = _told(fault)
        return _response(status, {"errCode": code, "result": 1, "msg": message})

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema of a success, or of a refusal that is no failure to HTTP."""
        return {"anyOf": [*_success_schemas(result, definitions), self.fault_schema()]}

    def fault_schema(self) -> dict[str, Any]:
        """Return the schema of a fault."""
        return _schema({"type": "integer"}, {"const": 1}, {"msg": {"type": "string", "minLength": 1}})


class BackOfficeEnvelope(MembershipEnvelope):
    """The same members for the back office, where HTTP's own statuses hold (docs/decisions/0009)."""

    def fault(self, fault: Fault) -> Response:
        """Return the fault with its own status; errCode is the contract's where it has one, else the status."""
        code = fault.err_code if isinstance(fault, Coded) else fault.status
        return _response(fault.status, {"errCode": code, "result": 1, "msg": fault.message})

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema of a success."""
        found = _success_schemas(result, definitions)
        return found[0] if len(found) == 1 else {"anyOf": found}


def _told(fault: Fault) -> tuple[int, int, str]:
    """Return HTTP status, errCode and message."""
    match fault:
        case Coded():
            return 200, fault.err_code, fault.message
        case Unauthorized():
            return 200, 1002, "需要登录"
        case Denied():
            return 200, 1003, "没有权限"
        case Unreadable():
            return 400, 400, fault.message
        case Invalid() if fault.lacks_something:
            missing = [flaw.path for flaw in fault.flaws if flaw.message == REQUIRED]
            return 200, 4, f"缺少参数：{'、'.join(missing)}"
        case Invalid():
            return 200, 1, f"参数错误：{fault.message}"
        case NotFound():
            return 404, 404, fault.message
        case TooMany():
            return 429, 429, fault.message
        case TooLarge():
            return 200, 1, "请求内容过大"
        case Conflict():
            return 200, 1, "数据刚刚被修改，请重试"
        case _:
            return (200, 1, fault.message) if fault.status < 500 else (500, 500, fault.message)


def _response(status: int, body: dict[str, Any]) -> Response:
    moment = clock.now()
    body["time"] = clock.millis(moment)
    return Response(status, with_amounts(json_text(body)))


def _success_schemas(result: dict[str, Any], definitions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas of a success, one for each kind of result; what stands beside the data is taken apart."""

    def described(kind: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = definitions.get(str(kind.get("$ref", "")).rpartition("/")[2], kind)
        return found

    kinds = result.get("anyOf", [])
    if any(described(kind).get(_BESIDE) for kind in kinds):
        return [schema for kind in kinds for schema in _success_schemas(kind, definitions)]
    members = described(result)["properties"] if described(result).get(_BESIDE) else {"data": result}
    return [_schema({"const": 0}, {"const": 0}, members)]


def _schema(code: dict[str, Any], result: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["errCode", "result", *more, "time"],
        "properties": {"errCode": code, "result": result, **more, "time": {"type": "integer"}},
    }


def iso_utc(moment: datetime) -> str:
    """Return `2019-12-20T08:43:19.000+0000`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def local(moment: datetime) -> str:
    """Return `2020-02-13 13:38:53`, the time in Shanghai."""
    return moment.astimezone(SHANGHAI).replace(tzinfo=None).isoformat(" ", "seconds")


def day_of(moment: datetime) -> str:
    """Return the day in Shanghai, `20191220`."""
    return moment.astimezone(SHANGHAI).strftime("%Y%m%d")


def id_list(ids: list[int]) -> str:
    """Return ids as the contract joins them: `3,4`."""
    return ",".join(map(str, ids))


def camel(name: str) -> str:
    """Return the contract's spelling of a field: `user_id` is `userId`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _whole(value: Any) -> Any:
    # pydantic takes true for 1.
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


# The bounds come first: they are then the number's own, also in its schema.
Whole = Annotated[int, Field(ge=-(2**53), le=2**53), BeforeValidator(_whole)]
Id = Annotated[int, Field(ge=1, le=2**53), BeforeValidator(_whole)]
# The numbers of mainland China's mobile phones.
MOBILE = r"^1[0-9]{10}$"
Phone = Annotated[str, StringConstraints(pattern=MOBILE)]
# Upper and lower case are the same digest.
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{32}$", to_lower=True)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]


# Line ends and tabs are texts' own; the other control characters are nobody's writing.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def plain_text(text: str) -> str:
    """Return a text without control characters, and without what would be taken for an amount in an answer."""
    return _CONTROLS.sub("", text.replace(MARK, ""))


def _tidy(value: Any) -> Any:
    return plain_text(value) if isinstance(value, str) else value


class Body(BaseModel):
    """What comes in, in the contract's spelling; an empty value is none, unknown ones are ignored."""

    model_config = ConfigDict(alias_generator=camel, hide_input_in_errors=True, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, given: Any) -> Any:
        """Take an empty text for a missing one, as forms send what was not filled in."""
        if not isinstance(given, dict):
            return given
        tidied = {name: _tidy(value) for name, value in given.items()}
        return {name: value for name, value in tidied.items() if value is not None and value != ""}


class View(BaseModel):
    """What goes out, in the contract's spelling."""

    model_config = ConfigDict(alias_generator=camel, validate_by_name=True, hide_input_in_errors=True)


class ManagerRequest(Body):
    """A request of a manager who has signed in."""

    token: str | None = Field(
        default=None, description="The session's token; it may stand in the header `token` or `Authorization` instead"
    )


class OnceRequest(ManagerRequest):
    """A request whose repetition is answered as the first time (`repeats.once`)."""

    headers: ClassVar[dict[str, str]] = {
        "Idempotency-Key": "The same request with the same key is carried out once, another one is refused. Without a"
        " key, the same request of the same manager within three seconds counts as a repetition."
    }


class PageRequest(ManagerRequest):
    """A request for one page of a list; numbers that are too small or too large are moved to the nearest allowed."""

    page_num: Annotated[Whole, Field(description="From 1")] = 1
    page_size: Annotated[Whole, Field(description="1 to 100")] = PAGE_SIZE

    @property
    def number(self) -> int:
        """The page, from 1."""
        return max(self.page_num, 1)

    @property
    def size(self) -> int:
        """The rows of a page."""
        return min(max(self.page_size, 1), LARGEST_PAGE)

    def page(self, data: T, total: int) -> Paged[T]:
        """Return the page with the numbers that belong beside it."""
        return Paged[Any](
            data=data, total=total, pages=-(-total // self.size), page_num=self.number, page_size=self.size
        )


MANAGER = Token(managers.identify, uses=(read(SessionTable), write(SessionTable), read(ManagerTable)), header="token")
# The back office: members of the pool's group `platform` work for every merchant, others for those in their groups.
OPERATOR = Cognito(every="platform")
BACK_OFFICE = BackOfficeEnvelope()

api = Api("membership", envelope=MembershipEnvelope(), auth=MANAGER, tenant="merchant", spread=True)
