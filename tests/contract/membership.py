"""The contract of membership cards: what it documents, a shop in which its examples hold, how an answer differs."""

from __future__ import annotations

import base64
import functools
import io
import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import yaml

from infra.discovery import declarations
from kernel import clock, sign_in
from kernel.numbering import CounterTable
from kernel.operations import event_of
from kernel.tables import Put, commit
from membership import managers, pay_passwords, sms_codes
from membership.tables import ManagerNameTable, ManagerTable, SessionTable, SmsCodeTable
from tests.bank import Bank
from tests.shops import (
    ACTIVITY,
    CASHIER,
    EVENT_200,
    IMAGE,
    OTHER_MERCHANT,
    PASSWORD,
    PHONE,
    STORED_VALUE,
    customer,
    furnish,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from kernel.operations import Operation
    from tests.conftest import Cloud

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT.parent / "shared" / "contracts" / "membership.yaml"
ABSENT = "the contracts are not beside this checkout (../shared/contracts)"
DOCUMENT: dict[str, Any] = (
    yaml.safe_load(CONTRACT.read_text(encoding="utf-8")) if CONTRACT.is_file() else {"operations": []}
)
DOCUMENTED = {operation["name"]: operation for operation in DOCUMENT["operations"]}
TOKEN = "7171d718-0c30-4fd0-9a6b-53a865be71a5"
CODE = "123456"
SIGN_IN_DIGEST = "E10ADC3949BA59ABBE56E057F20F883E"
# What another merchant has.
FOREIGN = {
    "user": 1007, "card": 1004, "event": 1009, "coupon": 1001, "lot": 1010, "num": 1010,
    "recharge": 71019110108100, "expense": 71119110108101,
}  # fmt: skip
FOREIGN_PHONE = "13800001007"
BOUNDARY = "----boundary7MA4YWxk"

# The documented requests that are not sent as they stand: why not, and what is sent instead.
ADAPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "upload_image": ("its file is a placeholder", {}),
}


@functools.cache
def functions() -> dict[str, Operation]:
    """Return all operations by name."""
    return {operation.name: operation for operation in declarations("membership").operations}


class Told(NamedTuple):
    """An answer with its text; amounts in `body` are `Amount`, as the text has them."""

    status: int
    body: Any
    text: str
    content_type: str


class Amount(str):
    """A number with decimals, as it was written."""


def example_of(name: str) -> dict[str, Any]:
    """Return the documented request."""
    example: dict[str, Any] = DOCUMENTED[name]["request_example"]
    return example


def call(
    name: str, fields: dict[str, Any], *, way: str = "json", headers: dict[str, str] | None = None, text: str = ""
) -> Told:
    """Call a documented operation; `way` is how its parameters travel: json, form, multipart or query.

    `text` is a body that is no request at all.
    """
    operation = functions()[name]
    event = event_of(operation, "")
    given = {key: value for key, value in fields.items() if value is not ...}
    if name == "upload_image" and way != "query":
        way = "multipart"
    texts = {key: value if isinstance(value, bytes) else _text(value) for key, value in given.items()}
    match way:
        case "json":
            event["body"] = json.dumps(given, ensure_ascii=False)
        case "form":
            event["headers"]["Content-Type"] = "application/x-www-form-urlencoded"
            event["body"] = urlencode(texts)
        case "multipart":
            event["headers"]["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
            event["body"] = base64.b64encode(_parts(texts)).decode()
            event["isBase64Encoded"] = True
        case "query":
            event["queryStringParameters"] = texts
    if text:
        event["body"] = text
    event["headers"] |= headers or {}
    answer = operation(event, None)
    body = json.loads(answer["body"], parse_float=Amount)
    return Told(answer["statusCode"], body, answer["body"], answer["headers"]["Content-Type"])


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _parts(fields: dict[str, Any]) -> bytes:
    whole = b""
    for name, value in fields.items():
        file = '; filename="proof.jpg"\r\nContent-Type: image/jpeg' if isinstance(value, bytes) else ""
        data = value if isinstance(value, bytes) else value.encode()
        whole += (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
        )
    return whole + f"--{BOUNDARY}--\r\n".encode()


def request_of(name: str) -> dict[str, Any]:
    """Return the documented request as it is sent."""
    fields = example_of(name)
    return {**fields, "file": _picture()} if name == "upload_image" else {**fields, **ADAPTED.get(name, ("", {}))[1]}


@functools.cache
def _picture() -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.new("RGB", (4, 4)).save(target, "JPEG")
    return target.getvalue()


@contextmanager
def at(moment: str) -> Iterator[None]:
    """Hold the time at a moment that the examples show, in UTC, with the examples' session in use."""
    time = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    with clock.frozen(time):
        session()
        yield


def session(manager_id: int = CASHIER, token: str = TOKEN) -> None:
    """Let a token be a manager's."""
    now = clock.now()
    digest = managers.token_digest(token)
    row = SessionTable(
        token_digest=digest, manager_id=manager_id, generation=1, client=1, used_at=now, expires=now + timedelta(days=7)
    )
    commit(Put(row))


def sms_code(manager_id: int = CASHIER) -> None:
    """Let the examples' code be the one that a manager was sent last."""
    until = clock.now() + sms_codes.VALID
    digest = sms_codes._digest(manager_id, CODE)
    commit(Put(SmsCodeTable(manager_id=manager_id, code_digest=digest, expires=until)))


class Shop:
    """A shop in which the examples hold; every request finds it as it was."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bank = Bank(cloud)
        self.bank.open(monkeypatch)
        _found()
        self._begun = self._ready()
        _open()
        self._usual = self._ready()
        with at("2019-12-21T01:00:00"):
            _do("spend_from_card", cardId=ACTIVITY, expense=600, password=PASSWORD)
        self._used_up = self._ready()

    def _ready(self) -> Any:
        session()
        sms_code()
        return self.bank.snapshot()

    def first(self, name: str) -> None:
        """Make everything as it was before anybody asked for anything: as the example of an operation has it."""
        states = {"open_card": self._begun, "confirm_cash_back": self._used_up}
        self.bank.restore(states.get(name, self._usual))

    def code(self) -> None:
        """Send the examples' code once more."""
        sms_code()

    def ask(self, name: str, fields: dict[str, Any], **how: Any) -> Told:
        """Call a documented operation for the first time."""
        self.first(name)
        return call(name, fields, **how)

    def refused(self, name: str, fields: dict[str, Any], **how: Any) -> tuple[int, str]:
        """Return errCode and msg of a request that has to be refused; nothing may have been written."""
        self.first(name)
        before = self._kept()
        told = call(name, fields, **how)
        assert told.status == 200, told.text
        assert told.body.keys() == {"errCode", "result", "msg", "time"}, told.text
        assert told.body["result"] == 1
        assert told.body["msg"]
        assert self._kept() == before
        return told.body["errCode"], told.body["msg"]

    def _kept(self) -> dict[str, list[str]]:
        """What a refusal may not touch: everything but counters, and limits on trying."""
        aside = ("counters", "rates", "sms-codes")
        return {name: sorted(map(str, rows)) for name, rows in self.bank.items().items() if not name.endswith(aside)}


def _found() -> None:
    """Bring about the examples' shop, so that cards, orders and records will get the examples' numbers."""
    furnish()
    furnish(OTHER_MERCHANT)
    customer()
    _account()
    _open_elsewhere()
    # The number that was given last of everything that is counted.
    last = {
        "users": 7, "cards": 6, "lots": 8, "recharges": 48, "expenses": 31, "refunds": 3,
        "card-numbers#19121420": 22, "card-numbers#19121421": 28, "orders#19122016": 9,
    }  # fmt: skip
    for sequence, number in last.items():
        commit(Put(CounterTable(sequence=sequence, last=number)))


def _open() -> None:
    """Bring about what the examples speak of, at their moments."""
    event = {"cardId": ACTIVITY, "recharge": 200, "send": 200, "eventId": EVENT_200, "image": IMAGE}
    with at("2019-12-14T12:57:08"):
        _do("open_card", membershipCardId=ACTIVITY)
    with at("2019-12-14T13:04:41"):
        _do("open_card", membershipCardId=STORED_VALUE)
    with at("2019-12-20T08:42:46"):
        _do("recharge_card", **event)
    with at("2019-12-20T08:43:19"):
        _do("recharge_card", **event)
    commit(Put(CounterTable(sequence="orders#19122016", last=13)))
    with at("2019-12-20T08:54:10"):
        _do("spend_from_card", cardId=ACTIVITY, expense=200, password=PASSWORD)
    with at("2019-12-20T09:20:00"):
        _do("spend_from_card", cardId=ACTIVITY, expense=1, password=PASSWORD)
    with at("2019-12-20T09:27:33"):
        sms_code()
        _do("refund_expense", orderNo=71119122017100, code=CODE)
    with at("2020-02-10T06:16:51"):
        _do("give_coupon", couponId=1, quantity=5)
    with at("2020-02-25T04:46:20"):
        _do("recharge_card", cardId=STORED_VALUE, recharge=200, send=0, image=IMAGE)
        _do("add_invoice", userId=7, cardId=STORED_VALUE, amount=10, image=IMAGE)
    with at("2020-02-25T04:46:31"):
        _do("add_invoice", userId=7, cardId=STORED_VALUE, amount=90, image=IMAGE)


def _open_elsewhere() -> None:
    """Another merchant's customer with everything that has an id, so that somebody may ask for it."""
    for sequence in ("cards", "lots", "holdings"):
        commit(Put(CounterTable(sequence=sequence, last=FOREIGN["lot"] - 1)))
    customer(FOREIGN["user"], FOREIGN_PHONE, merchant_id=OTHER_MERCHANT)
    event = {"recharge": 200, "send": 200, "eventId": FOREIGN["event"], "image": IMAGE}
    card = {"phone": FOREIGN_PHONE, "cardId": FOREIGN["card"]}
    digest = pay_passwords.default_digest(FOREIGN_PHONE)
    with clock.frozen(datetime(2019, 11, 1, tzinfo=UTC)):
        session(CASHIER + 1000)
        _do("open_card", phone=FOREIGN_PHONE, membershipCardId=FOREIGN["card"])
        _do("recharge_card", **card, **event)
        _do("spend_from_card", **card, expense=1, password=digest)
        _do("give_coupon", phone=FOREIGN_PHONE, couponId=FOREIGN["coupon"], quantity=1)
    commit(Put(CounterTable(sequence="holdings", last=0)))


def _do(name: str, **fields: Any) -> None:
    who = {} if {"userId", "orderNo"} & fields.keys() else {"phone": PHONE}
    answer = call(name, {"token": TOKEN, **who, **fields})
    if answer.body["errCode"] != 0:
        raise AssertionError(f"{name}: {answer.text}")


def _account() -> None:
    """The account that signs in as the examples do."""
    row = ManagerTable(id=2, merchant_id=12, store_id=3, username="test", version=1)
    commit(Put(row), Put(ManagerNameTable(username="test", manager_id=2)))
    for manager_id in (2, CASHIER):
        sign_in.add_user(managers.pool_name(manager_id), managers.cognito_password(SIGN_IN_DIGEST))


_LOCAL = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_FORMATS = {
    "iso_utc": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000",
    "local": _LOCAL,
    "epoch_millis": r"\d{13}",
    "id_list": r"(\d+(,\d+)*)?",
    "UUID v4": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "order_number": r"71[01]\d{8}\d{3,}",
    "card_number": r"79\d{8}\d{3,}",
    "image_path": r"/item/\d{6}/[0-9a-f-]{36}\.(jpg|jpeg|png)",
    "#RRGGBB": r"#[0-9A-F]{6}",
    "URL": r"https?://\S+",
    "HTML": r"(?s).+",
    "JSON text": r"\{.*\}",
    "names joined by '/', with a trailing '/', in storeIds order": r"([^/]+/)+",
}
_KINDS = {"string": str, "integer": int, "long": int, "money": Amount, "array": list, "object": dict}


def flaws(value: Any, field: dict[str, Any], path: str) -> Iterator[str]:
    """Yield where a value differs from its documented field: members, types, nulls, formats, enums, two decimals."""
    if field.get("type") == "one_of":
        variant = next(iter(_fitting(value, field)), None)
        yield from [f"{path} is none of the variants"] if variant is None else flaws(value, variant, path)
        return
    if value is None:
        if not field.get("nullable"):
            yield f"{path} is null"
        return
    kind = _KINDS[field.get("type", "object")]
    if not isinstance(value, kind) or isinstance(value, bool) or (kind is str and isinstance(value, Amount)):
        yield f"{path} is no {field['type']}: {value!r}"
        return
    if kind is Amount and not re.fullmatch(r"-?\d+\.\d\d", value):
        yield f"{path} has not two decimals: {value}"
    pattern = _FORMATS.get(field.get("format", ""))
    if field.get("format") and pattern is None:
        yield f"{path}: the check does not know the format {field['format']}"
    if pattern and not re.fullmatch(pattern, str(value)):
        yield f"{path} is not written as {field['format']}: {value!r}"
    if "enum" in field and value not in DOCUMENT["enums"][field["enum"]]["values"]:
        yield f"{path} is not in its enumeration: {value!r}"
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from flaws(item, field["items"], f"{path}[{number}]")
    if isinstance(value, dict) and "fields" in field:
        known = {inner["name"]: inner for inner in field["fields"]}
        yield from (f"{path}.{name} is not documented" for name in value.keys() - known.keys())
        yield from (f"{path}.{name} is missing" for name in known.keys() - value.keys())
        for name in value.keys() & known.keys():
            yield from flaws(value[name], known[name], f"{path}.{name}")


def _fitting(value: Any, field: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for variant in field["variants"].values():
        name, _, wanted = variant["when"].partition(" = ")
        if isinstance(value, dict) and str(value.get(name)) == wanted:
            yield variant
