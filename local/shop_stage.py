"""A merchant's store with customers and their cards on the embedded DynamoDB, to work at the till at full speed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import multiprocessing
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from infra.discovery import declarations
from kernel import clock, running, secrets, settings, wire
from kernel.operations import Operation, event_of
from kernel.tables import Put, Table, schema, write_all
from local.cloud import REGION, Cloud, free_port
from membership import managers
from membership.tables import (
    EventTable,
    ManagerTable,
    MerchantTable,
    ProductTable,
    SessionTable,
    StoreTable,
)

MERCHANT, STORE, MANAGER = 12, 3, 21
STORED_VALUE, ACTIVITY, EVENT = 3, 4, 9
TOKEN = "7171d718-0c30-4fd0-9a6b-53a865be71a5"  # noqa: S105  the contract's example
# What the event of the activity card takes and gives, in cents.
PAID, GIVEN = 20000, 20000
_BUCKET = "files"
_KEPT = (settings.settings, running.logger, secrets.signing_key)


class Request(NamedTuple):
    """What somebody asks for at the till: an operation, its parameters and his Idempotency-Key."""

    operation: str
    fields: Mapping[str, Any]
    key: str


class Told(NamedTuple):
    """What he was answered, and after how many seconds."""

    request: Request
    body: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Stage:
    """A store that is open."""

    cloud: Cloud

    def ask(self, operation: str, key: str = "", **fields: Any) -> dict[str, Any]:
        """Call an operation as the store's manager and return the body of its answer."""
        return _answered(Request(operation, fields, key or str(uuid.uuid4())))

    def do(self, operation: str, **fields: Any) -> None:
        """Call an operation that has to succeed."""
        body = self.ask(operation, **fields)
        if body["errCode"] != 0:
            raise RuntimeError(f"{operation}: {body}")

    def card(self, phone: str, product: int, *, paid: int = 0, given: int = 0, lots: int = 0) -> None:
        """Open a card; one without lots holds what was paid and given, in cents, another so many lots of the event."""
        self.do("open_card", phone=phone, membershipCardId=product)
        if product == STORED_VALUE and paid:
            self.do("recharge_card", **recharge(phone, product, paid, given))
        for _ in range(lots):
            self.do("recharge_card", **recharge(phone, product))

    def at_once(self, requests: Sequence[Request], callers: int) -> list[Told]:
        """Let so many processes, which begin together, ask for everything; each asks for one thing at a time."""
        context = multiprocessing.get_context("fork")
        together = context.Barrier(callers)
        answers = context.SimpleQueue()
        processes = [
            context.Process(target=_call, args=(requests[place::callers], together, answers))
            for place in range(callers)
        ]
        for process in processes:
            process.start()
        told = [one for _ in processes for one in answers.get()]
        for process in processes:
            process.join()
        return told

    def rows(self, table: type[Table]) -> list[Any]:
        """Return all rows of a table."""
        pages = self.cloud.dynamodb().get_paginator("scan").paginate(TableName=table.physical_name())
        return [table.of_item(_on_the_wire(item)) for page in pages for item in page["Items"]]


def _on_the_wire(item: Any) -> Any:
    """Return a row of boto3 as DynamoDB writes it: bytes are base64 there."""
    import base64

    return {
        name: {"B": base64.b64encode(value["B"]).decode()} if "B" in value else value for name, value in item.items()
    }


def recharge(phone: str, product: int, paid: int = PAID, given: int = GIVEN) -> dict[str, Any]:
    """Return the parameters of a recharge; an activity card is recharged under its event."""
    event = {"eventId": EVENT} if product == ACTIVITY else {}
    money = {"recharge": f"{paid / 100:.2f}", "send": f"{given / 100:.2f}"}
    return {"phone": phone, "cardId": product, **money, "image": "/item/proof.png", **event}


def payment(phone: str, product: int, cents: int) -> dict[str, Any]:
    """Return the parameters of a payment."""
    return {"phone": phone, "cardId": product, "expense": f"{cents / 100:.2f}", "password": _password(phone)}


def _password(phone: str) -> str:
    return hashlib.md5(phone[-6:].encode(), usedforsecurity=False).hexdigest()


def _hang_up() -> None:
    for connection in wire._kept.__dict__.pop("open", {}).values():
        connection.close()


def _call(requests: Sequence[Request], together: Any, answers: Any) -> None:
    # A connection serves one process.
    wire._kept.__dict__.pop("open", None)
    together.wait()
    told = []
    for request in requests:
        begun = time.perf_counter()
        body = _answered(request)
        told.append(Told(request, body, time.perf_counter() - begun))
    _hang_up()
    answers.put(told)


@functools.cache
def operations() -> dict[str, Operation]:
    """Return the operations of membership cards by name."""
    return {operation.name: operation for operation in declarations("membership").operations}


def event(operation: Operation, request: Request) -> dict[str, Any]:
    """Return the event of a request of the store's manager."""
    made = event_of(operation, {"token": TOKEN, **request.fields})
    made["headers"]["Idempotency-Key"] = request.key
    return made


def _answered(request: Request) -> dict[str, Any]:
    operation = operations()[request.operation]
    with contextlib.redirect_stdout(io.StringIO()):
        answer = operation(event(operation, request), None)
    body: dict[str, Any] = json.loads(answer["body"])
    return body


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Start an emulator in the folder, with a store that has a manager, two kinds of cards and an event."""
    cloud = Cloud(folder, free_port())
    # Writing its state down would take turns with answering.
    quick = {**cloud.emulator.environment, "PERSIST_STATE": "0", "S3_PERSIST": "0"}
    emulator = dataclasses.replace(cloud.emulator, environment=quick)
    with ExitStack() as stack:
        (folder / "tmp").mkdir(exist_ok=True)
        emulator.start()
        stack.callback(emulator.stop)
        stack.enter_context(_environment(cloud))
        for table in declarations("membership").tables:
            cloud.dynamodb().create_table(TableName=table.physical_name(), **schema(table))
        _furnish()
        yield Stage(cloud)


@contextmanager
def _environment(cloud: Cloud) -> Iterator[None]:
    import boto3

    before = dict(os.environ)
    os.environ.update(
        cloud.clients_environment() | {"STAGE": "bench", "SYSTEM": "membership", "AWS_DEFAULT_REGION": REGION}
    )
    keys = boto3.client("secretsmanager", endpoint_url=cloud.endpoint, region_name=REGION)
    os.environ["SIGNING_SECRET"] = keys.create_secret(Name="signing", SecretString="s" * 64)["ARN"]
    boto3.client("s3", endpoint_url=cloud.endpoint, region_name=REGION).create_bucket(Bucket=_BUCKET)
    os.environ["FILES_BUCKET"] = _BUCKET
    for kept in _KEPT:
        kept.cache_clear()
    try:
        yield
    finally:
        _hang_up()
        os.environ.clear()
        os.environ.update(before)
        for kept in _KEPT:
            kept.cache_clear()


def _furnish() -> None:
    now = clock.now()
    every: dict[str, Any] = {"merchant_id": MERCHANT, "created_at": now, "updated_at": now, "version": 1}
    rights = [operation.path.removeprefix("/web/") for operation in operations().values()]
    rows: list[Table] = [
        MerchantTable(id=MERCHANT, merchant_name="merchant", version=1),
        StoreTable(id=STORE, store_name="store", **every),
        ManagerTable(id=MANAGER, store_id=STORE, username="cashier", permissions=rights, **every),
        EventTable(id=EVENT, title="event", recharge=PAID, gift=GIVEN, admin_id=19, type=1, status=10, **every),
        *(
            ProductTable(
                id=product, title="card", store_ids=[STORE], event_ids=[EVENT], admin_id=19, type=kind, **every
            )
            for product, kind in ((STORED_VALUE, 10), (ACTIVITY, 11))
        ),
        SessionTable(
            token_digest=managers.token_digest(TOKEN), manager_id=MANAGER, generation=1, client=1, used_at=now,
            expires=now + timedelta(days=7),
        ),
    ]  # fmt: skip
    write_all(map(Put, rows))
