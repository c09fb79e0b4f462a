"""Channels that have everything the documented requests talk about, and how the documented callers call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest

from kernel.settings import settings
from local.line_simulator import LineSimulator
from local.sms_simulator import sms_simulator
from tests.contract import membership
from tests.contract.chatbot import operation_of, request_of
from tests.functions.chatbot.conftest import made
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    OTHER_IDS,
    PARTNER_KEY,
    add_operator,
    furnish,
    inhabit,
    node,
    ok,
    sample,
    scenario,
    webhook_url,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Answer, Cloud

SECRET, TOKEN = b"fake-channel-secret", "fake-channel-token="


def _named(name: str) -> dict[str, str]:
    """Return the query of a sample, which names its channel."""
    query: dict[str, str] = sample(name)["queryStringParameters"]
    return query


def ids_of(name: str) -> dict[str, str]:
    """Return the channel that the sample of a webhook names."""
    return {"adminId": "0001", "accountId": _named(name)["accountid"]}


def signed(name: str, body: Any) -> dict[str, Any]:
    """Return headers and query of a channel's call, signed for this body."""
    raw = (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)).encode()
    query = {key: value for key, value in _named(name).items() if key in ("adminid", "accountid")}
    if name == "receive_line_events":
        signature = base64.b64encode(hmac.digest(SECRET, raw, "sha256")).decode()
        return {"headers": {"X-Line-Signature": signature}, "query": query}
    if name == "receive_messenger_events":
        return {
            "headers": {"X-Hub-Signature-256": "sha256=" + hmac.digest(SECRET, raw, "sha256").hex()},
            "query": query,
        }
    query |= {"timestamp": "1706421933", "nonce": "1320562132"}
    parts = "".join(sorted([TOKEN, query["timestamp"], query["nonce"]])).encode()
    return {"query": {**query, "signature": hashlib.sha1(parts).hexdigest()}}


@pytest.fixture
def line(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineSimulator]:
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        monkeypatch.setenv("LINE_DATA_API_ENDPOINT", simulator.url)
        settings.cache_clear()
        yield simulator


@pytest.fixture
def ask(cloud: Cloud, line: LineSimulator) -> Callable[..., Answer]:
    """Call a documented operation as its callers do; changes to the documented request may leave fields out (`...`)."""
    made(cloud, IDS)
    made(cloud, OTHER_IDS, accountToken="foreign-token", accountSecret="foreign-secret")
    page = ids_of("receive_messenger_events")
    made(cloud, page, accountType="fb", accountWebhookUrl=webhook_url(page, "/api/facebook"))
    wechat = ids_of("receive_wechat_events")
    made(cloud, wechat, accountType="wechat", appId="wx1", accountWebhookUrl=webhook_url(wechat, "/api/wechat"))
    furnish()
    inhabit()
    head = {"trigger": "keyword", "keywords": ["keyword2"]}
    saved = scenario("21626a18-bd9c-11ee-9576-5e3d17951793", node("n"), **head)
    assert cloud.call(FUNCTIONS["save_scenario"], saved) == ok()
    add_operator(cloud, "account id", "password")

    def call(name: str, /, body: Any = None, **how: Any) -> Answer:
        operation = operation_of(name)
        sent = request_of(name) if body is None else body
        usual: dict[str, Any] = {}
        if operation.auth.name == "partner_key":
            usual = {"caller": "", "headers": {"X-Partner-Key": PARTNER_KEY}}
        elif operation.auth.name == "signature":
            usual = {"caller": "", **signed(operation.name, sent)}
        elif operation.auth.name != "cognito":
            usual = {"caller": ""}
        return cloud.call(operation, sent, **{**usual, **how})

    return call


@pytest.fixture
def shop(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[membership.Shop]:
    """A shop of the membership contract's examples, with somebody who delivers its SMS."""
    with sms_simulator(keys={"id": "secret"}) as double:
        monkeypatch.setenv("SMS_API_ENDPOINT", double.url)
        settings.cache_clear()
        yield membership.Shop(cloud, monkeypatch)
