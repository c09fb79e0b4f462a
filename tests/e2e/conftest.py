"""A private copy of the local stack: own ports, state in a temporary folder, LINE's double in this process."""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from local.caller import Caller
from local.chat_double import ChatDouble
from local.cloud import Cloud, free_port
from local.demo import Person
from local.demo_shop import Counter
from local.line_simulator import LineSimulator
from local.messenger_simulator import messenger_simulator
from local.seed import WEBHOOK_PATH, Tenant, new_account_id
from local.steps import ROOT
from local.up import bring_up
from local.wechat_simulator import wechat_simulator

SPEC = ROOT / "layers" / "kernel" / "spec" / "line" / "messaging-api.yml"


@dataclass(frozen=True)
class Stack:
    """The deployed stack, its demo tenants, and the double of LINE that it talks to."""

    cloud: Cloud
    base: str
    tenants: Mapping[str, Tenant]
    simulator: LineSimulator
    endpoints: Mapping[str, str]
    shop: Counter

    def operator(self, name: str = "chatbot") -> Caller:
        """Return a demo tenant's operator, signed in."""
        caller = Caller(self.base)
        caller.sign_in(self.tenants[name].adminId, self.tenants[name].password)
        return caller


@dataclass(frozen=True)
class Channel:
    """A channel of the first demo tenant, made for one test."""

    stack: Stack
    operator: Caller
    account_id: str
    secret: str

    @property
    def webhook_operation(self) -> str:
        """The webhook's path below the API, with its query."""
        return f"{WEBHOOK_PATH}?adminid={self.operator.admin_id}&accountid={self.account_id}"

    def result(self, operation: str, **fields: Any) -> Any:
        """Call an operation about this channel that has to succeed."""
        return self.operator.result(operation, accountId=self.account_id, **fields)

    def save(self, *nodes: Mapping[str, Any], trigger: str = "keyword", keywords: tuple[str, ...] = ()) -> str:
        """Save a scenario of these nodes, in their order, and return its id."""
        scenario_id = f"{secrets.token_hex(4)}-8f4e-11ef-9cd2-0242ac120002"
        head = {"scenarioId": scenario_id, "scenarioName": "Test", "trigger": trigger, "keywords": list(keywords)}
        filled = [{"level": "1", "sort": n, "title": "t", "nodeConst": {}, **node} for n, node in enumerate(nodes)]
        assert self.result("saveScenario", scenario=head, nodes=filled) is None
        return scenario_id

    def person(self, name: str = "Rex") -> Person:
        """Return somebody new who talks to this channel."""
        return Person(self.stack.simulator.url, f"{self.stack.base}/{self.webhook_operation}", self.secret, name)


@pytest.fixture(scope="session")
def simulator() -> Iterator[LineSimulator]:
    with LineSimulator() as running:
        yield running


@pytest.fixture(scope="session")
def messenger() -> Iterator[ChatDouble]:
    with messenger_simulator() as running:
        yield running


@pytest.fixture(scope="session")
def wechat() -> Iterator[ChatDouble]:
    with wechat_simulator() as running:
        yield running


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, simulator: LineSimulator, messenger: ChatDouble, wechat: ChatDouble
) -> Iterator[Stack]:
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), *(free_port() for _ in range(6)))
    endpoints = dict.fromkeys(("LINE_API_ENDPOINT", "LINE_DATA_API_ENDPOINT"), simulator.url)
    endpoints |= {"MESSENGER_API_ENDPOINT": messenger.url, "WECHAT_API_ENDPOINT": wechat.url}
    endpoints |= {"SMS_API_ENDPOINT": cloud.sms_url}
    try:
        demo = bring_up(cloud, endpoints, simulator=simulator.url)
        base = json.loads((cloud.folder / "endpoints.json").read_text())["chatbot"]
        yield Stack(cloud, base, demo.tenants, simulator, endpoints, Counter.read(cloud.folder))
    finally:
        cloud.stop()


@pytest.fixture(scope="session")
def _operator(stack: Stack) -> Caller:
    return stack.operator()


@pytest.fixture
def channel(stack: Stack, _operator: Caller) -> Channel:
    account_id, secret = new_account_id(), secrets.token_hex(16)
    channel = Channel(stack, _operator, account_id, secret)
    channel.result(
        "createAccount",
        accountName="Test",
        accountType="line",
        accountIcon="",
        accountWebhookUrl=f"{stack.base}/{channel.webhook_operation}",
        accountToken=secrets.token_hex(32),
        accountSecret=secret,
        accountClone="",
    )
    return channel


@pytest.fixture(autouse=True)
def _only_valid_calls(simulator: LineSimulator, line_flaws: Callable[..., list[str]]) -> Iterator[None]:
    """Judge every call of LINE that a test led to by LINE's own OpenAPI document."""
    before = len(simulator.calls)
    yield
    flaws = {f"{call.method} {call.path}": line_flaws(call) for call in simulator.calls[before:]}
    assert {place: found for place, found in flaws.items() if found} == {}


@pytest.fixture(scope="session")
def line_flaws() -> Callable[..., list[str]]:
    """Return what tells where a call differs from LINE's OpenAPI document."""
    document = _with_discriminators(yaml.safe_load(SPEC.read_text()))
    registry = Registry().with_resource("urn:line", Resource.from_contents(document, default_specification=DRAFT202012))
    routes = [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), methods) for path, methods in document["paths"].items()]

    def flaws(call: Any) -> list[str]:
        known = [methods for pattern, methods in routes if pattern.fullmatch(call.path)]
        operation = next((methods[call.method.lower()] for methods in known if call.method.lower() in methods), None)
        if operation is None:
            return ["is no operation of LINE's"]
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            # Nothing is sent, or a picture, which the simulator looks at itself.
            return []
        validator = Draft202012Validator({"$ref": f"urn:line{schema['$ref']}"}, registry=registry)
        errors = validator.iter_errors(call.json)
        return [f"{error.json_path}: {error.message}" for error in errors]

    return flaws


def _with_discriminators(document: dict[str, Any]) -> dict[str, Any]:
    """Say in JSON Schema what OpenAPI's discriminators mean: the type decides which schema holds."""
    schemas = document["components"]["schemas"]
    deciding = {name: schema.pop("discriminator") for name, schema in schemas.items() if "discriminator" in schema}
    for name, discriminator in deciding.items():
        plain = f"#/components/schemas/{name}"
        for target in discriminator["mapping"].values():
            _rename(schemas[target.rpartition("/")[2]].get("allOf", []), plain, f"{plain}Plain")
        schemas[f"{name}Plain"] = schemas[name]
        kind = discriminator["propertyName"]
        choices = [
            {"if": {"properties": {kind: {"const": word}}}, "then": {"$ref": target}}
            for word, target in discriminator["mapping"].items()
        ]
        known = {"properties": {kind: {"enum": list(discriminator["mapping"])}}, "required": [kind]}
        schemas[name] = {"type": "object", "allOf": [known, *choices]}
        for target in discriminator["mapping"].values():
            schemas[target.rpartition("/")[2]]["unevaluatedProperties"] = False
    return document


def _rename(parts: list[dict[str, Any]], old: str, new: str) -> None:
    for part in parts:
        if part.get("$ref") == old:
            part["$ref"] = new


@pytest.fixture(scope="session")
def project() -> Path:
    return ROOT
