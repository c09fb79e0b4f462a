"""The configuration of a function, from its environment."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import TYPE_CHECKING

import pytest

from kernel.settings import SettingMissing, Settings, environment_name, resource_name, settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment that sets nothing but what must be set."""
    for field in fields(Settings):
        monkeypatch.delenv(environment_name(field.name), raising=False)
    monkeypatch.setenv("STAGE", "test")
    monkeypatch.setenv("SYSTEM", "chatbot")
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_what_has_a_default_need_not_be_set():
    assert settings() == Settings(
        stage="test",
        system="chatbot",
        region="us-east-1",
        pool_id="",
        pool_client_id="",
        pool_issuer="",
        key_id="",
        certificate_key_id="",
        signing_secret="",
        sms_secret="",
        files_bucket="",
        public_url="",
        time_zone="+08:00",
        line_api_endpoint="https://api.line.me",
        line_data_api_endpoint="https://api-data.line.me",
        messenger_api_endpoint="https://graph.facebook.com",
        wechat_api_endpoint="https://api.weixin.qq.com",
        sms_api_endpoint="https://dysmsapi.aliyuncs.com",
        outbound_exceptions="",
    )


@pytest.mark.parametrize("name", ["STAGE", "SYSTEM"])
def test_what_must_be_set_is_named_when_it_is_missing(monkeypatch, name):
    monkeypatch.delenv(name)

    with pytest.raises(SettingMissing) as raised:
        settings()

    assert str(raised.value) == f"{name} is not set"


def test_every_setting_comes_from_its_variable(monkeypatch):
    names = {field.name: environment_name(field.name) for field in fields(Settings)}
    for name, variable in names.items():
        monkeypatch.setenv(variable, f"the {name}")

    assert settings() == Settings(**{name: f"the {name}" for name in names})
    assert names["region"] == "AWS_REGION"
    assert names["pool_client_id"] == "POOL_CLIENT_ID"


def test_settings_are_read_once(monkeypatch):
    first = settings()
    monkeypatch.setenv("STAGE", "other")

    assert settings() is first


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        settings().stage = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ({}, "citypass-test-chatbot-tags"),
        ({"stage": "prod"}, "citypass-prod-chatbot-tags"),
        ({"system": "ecard"}, "citypass-test-ecard-tags"),
        ({"stage": "prod", "system": "ecard"}, "citypass-prod-ecard-tags"),
    ],
)
def test_a_resource_is_named_for_its_stage_and_system(how, name):
    assert resource_name("tags", **how) == name


def test_a_name_that_is_told_everything_asks_no_environment(monkeypatch):
    monkeypatch.delenv("STAGE")
    monkeypatch.delenv("SYSTEM")

    assert resource_name("tags", stage="prod", system="ecard") == "citypass-prod-ecard-tags"
