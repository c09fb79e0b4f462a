"""The chatbot's contract: what it documents, what is sent for it, and how an answer differs from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from chatbot import orders
from chatbot.liff import Entrance, token_of
from tests.functions.chatbot.examples import FUNCTIONS, IDS, PARTITION, USER_ID, documented

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel.operations import Operation

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT.parent / "shared" / "contracts" / "chatbot.yaml"
ABSENT = "the contracts are not beside this checkout (../shared/contracts)"
DOCUMENT: dict[str, Any] = (
    yaml.safe_load(CONTRACT.read_text(encoding="utf-8")) if CONTRACT.is_file() else {"operations": []}
)
DOCUMENTED = {operation["name"]: operation for operation in DOCUMENT["operations"]}

# Our names of operations that the document calls by their paths, or writes with other capitals.
_NAMES = {
    "getReportCSV": "get_report_csv",
    "api/penglue/send": "receive_penglue_order",
    "api/chichatcat/send": "receive_chichatcat_order",
    "api/userclick/send": "receive_user_click",
    "api/LineMessage/send": "receive_line_events",
    "api/facebook": "receive_messenger_events",
    "api/wechat": "receive_wechat_events",
}


def operation_of(name: str) -> Operation:
    """Return the operation that a documented name means."""
    snake = re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)
    return FUNCTIONS[_NAMES.get(name, snake)]


def _order_token() -> dict[str, Any]:
    return {"token": orders.token(*IDS.values(), USER_ID, "node", "scenario")}


def _entrance() -> dict[str, Any]:
    return {"token": token_of(Entrance(*IDS.values(), documented("delete_user_segment")["segmentId"]))}


# The documented requests that cannot be answered as they stand: why not, and what is sent instead.
ADAPTED: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "getUsersList": (
        "its key is of another channel than its accountId, which the quirks have refused",
        lambda: {"lastEvaluatedKey": {**_KEY, "adm_acc_id": {"S": PARTITION}}},
    ),
    "imgMapfile": ("its img is no picture", lambda: {"img": documented("img_mapfile")["img"]}),
    "saveMenu": ("its image_b64 is no picture", lambda: {"image_b64": documented("save_menu")["image_b64"]}),
    "api/penglue/send": ("its token is made up", _order_token),
    "api/chichatcat/send": ("its token is made up", _order_token),
    "api/userclick/send": ("its token is made up", _order_token),
    "userSegmentRegisterViaLiff": ("its token is made up", _entrance),
}
# Tokens are of their moment, so samples keep the documented ones.
TOKENS = {name for name, (reason, _) in ADAPTED.items() if "token" in reason}
_KEY = DOCUMENTED["getUsersList"]["request_example"]["lastEvaluatedKey"] if DOCUMENTED else {}


def example_of(name: str) -> Any:
    """Return the documented request; retired operations have none, so they get what every operation gets."""
    operation = DOCUMENTED[name]
    return operation.get("request_example") or operation.get("proposed_request_example") or dict(IDS)


def request_of(name: str) -> Any:
    """Return the documented request as it can be answered."""
    example = example_of(name)
    return {**example, **ADAPTED[name][1]()} if name in ADAPTED else example


_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_FORMATS = {
    "YYYY-MM-DD HH:MM:SS.ZZZ": rf"{_TIME}\.\d{{3}}",
    "YYYY-MM-DD HH:MM:SS": _TIME,
    "ISO 8601 with Z": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "URI": r"https?://\S+",
    "UUID": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "richmenu-<32 hex>": r"richmenu-[0-9a-f]{32}",
    "id_formats.nodeId": r"[0-9A-Za-z_-]+",
    "#{adminId}#{accountId}": r"#[^#]+#[0-9A-Za-z_-]+",
    "#{userId}#{YYYY-MM-DD HH:MM:SS.ZZZ}": rf"#[^#]+#{_TIME}\.\d{{3}}",
}
# Stored as it came, whatever it is (getIconUrl and updateAccountExternalApiConfig, quirks).
_ANY_TEXT = {"Result.data[].url", "Result.accounts[].setting.cros.endpoint"}
# {} when nothing is set (getAccount, rules).
_MAY_BE_EMPTY = {"Result.accounts[].setting"}
_TYPES = {"string": str, "integer": int, "number": int, "boolean": bool, "array": list, "object": dict}
_UNSET: tuple[Any, ...] = ("", None, {}, [])


def allowed(field: dict[str, Any]) -> set[str] | None:
    """Return the values that a field may have, None for any."""
    if "enum" in field:
        return set(field["enum"])
    enum = DOCUMENT["enums"][field["enum_ref"]] if "enum_ref" in field else {"open": True}
    if enum.get("open"):
        return None
    # A configuration may be a URL, which the contract writes as a kind of its own.
    return None if "<a URL>" in enum["values"] else {*enum["values"], *enum.get("also_seen", {})}


def flaws(value: Any, field: dict[str, Any], path: str, *, saved: bool = False) -> Iterator[str]:
    """Yield where a value differs from its documented field: keys, types, formats and enums, all the way down.

    What was saved comes back as it was, so there a field may be absent that a request may leave out, and unset ones
    may be of any kind.
    """
    if (value is None and (field.get("nullable") or field["type"] == "null")) or (saved and value in _UNSET):
        return
    wanted = _TYPES.get(field["type"])
    if field["type"] != "any" and (
        wanted is None or not isinstance(value, wanted) or isinstance(value, bool) is not (wanted is bool)
    ):
        yield f"{path} is no {field['type']}: {value!r}"
        return
    place = re.sub(r"\[\d+\]", "[]", path)
    enum = allowed(field)
    if enum is not None and value not in enum:
        yield f"{path} is not in its enumeration: {value!r}"
    pattern = _FORMATS.get(field.get("format", ""))
    if pattern and place not in _ANY_TEXT and not re.fullmatch(pattern, value):
        yield f"{path} is not written as {field['format']}: {value!r}"
    if isinstance(value, dict):
        yield from _flaws_of_members(value, field, path, saved=saved)
    if isinstance(value, list):
        inner = field.get("items")
        if "items_ref" in field:
            inner, saved = _referred(field["items_ref"]), True
        for number, item in enumerate(value) if inner else ():
            yield from flaws(item, inner, f"{path}[{number}]", saved=saved)


def _flaws_of_members(value: dict[str, Any], field: dict[str, Any], path: str, *, saved: bool) -> Iterator[str]:
    rest = field.get("additional_properties")
    if rest and isinstance(rest["value"], dict):
        for name, inner in value.items():
            yield from flaws(inner, rest["value"], f"{path}.{name}", saved=saved)
    if "fields" not in field:
        return
    known = {inner["name"]: inner for inner in field["fields"]}
    yield from (f"{path}.{name} is not documented" for name in value.keys() - known.keys() if not rest)
    needed = {name for name, inner in known.items() if inner.get("required") or not saved}
    if value or re.sub(r"\[\d+\]", "[]", path) not in _MAY_BE_EMPTY:
        yield from (f"{path}.{name} is missing" for name in needed - value.keys())
    for name in value.keys() & known.keys():
        yield from flaws(value[name], known[name], f"{path}.{name}", saved=saved)


def _referred(place: str) -> dict[str, Any]:
    """Return the items that a reference means: operation, request or response, then the names of fields."""
    name, part, *names = place.split(".")
    fields = DOCUMENTED[name][part]["fields"]
    for inner in names:
        field = next(field for field in fields if field["name"] == inner)
        fields = field.get("fields", [])
    items: dict[str, Any] = field["items"]
    return items


def required_places(fields: list[dict[str, Any]], value: Any, place: tuple[str | int, ...] = ()) -> Iterator[Any]:
    """Yield where in a request the required fields stand, in lists those of the first item."""
    for field in fields:
        here = (*place, field["name"])
        if not isinstance(value, dict) or field["name"] not in value:
            continue
        if field.get("required"):
            yield here
        given = value[field["name"]]
        yield from required_places(field.get("fields", []), given, here)
        if isinstance(given, list) and given:
            yield from required_places(field.get("items", {}).get("fields", []), given[0], (*here, 0))


def without(value: Any, place: tuple[str | int, ...]) -> Any:
    """Return a request without what stands at a place."""
    first, *rest = place
    if isinstance(value, list):
        return [without(item, tuple(rest)) if number == first else item for number, item in enumerate(value)]
    if not rest:
        return {name: inner for name, inner in value.items() if name != first}
    return {name: without(inner, tuple(rest)) if name == first else inner for name, inner in value.items()}


def spelled(place: tuple[str | int, ...]) -> str:
    """Return a place as refusals name it: `nodes[0].type`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
