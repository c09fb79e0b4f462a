"""Configuration of the running function, read from its environment at first use."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from functools import cache


@dataclass(frozen=True)
class Settings:
    """Every variable a function may be given; infra sets exactly these names, in upper case.

    A field without default must be set; the error names it.
    """

    stage: str
    system: str
    region: str = "us-east-1"
    pool_id: str = ""
    pool_client_id: str = ""
    pool_issuer: str = ""
    key_id: str = ""
    certificate_key_id: str = ""
    signing_secret: str = ""
    sms_secret: str = ""
    files_bucket: str = ""
    public_url: str = ""
    time_zone: str = "+08:00"
    line_api_endpoint: str = "https://api.line.me"
    line_data_api_endpoint: str = "https://api-data.line.me"
    messenger_api_endpoint: str = "https://graph.facebook.com"
    wechat_api_endpoint: str = "https://api.weixin.qq.com"
    sms_api_endpoint: str = "https://dysmsapi.aliyuncs.com"
    # Comma separated host:port that tenants may name although private: local stacks and tests, never a real stage.
    outbound_exceptions: str = ""


class SettingMissing(RuntimeError):
    """A setting that has no default is not in the environment."""


_ENVIRONMENT_NAMES = {"region": "AWS_REGION"}


def environment_name(field: str) -> str:
    """Return the environment variable of a field of `Settings`."""
    return _ENVIRONMENT_NAMES.get(field, field.upper())


@cache
def settings() -> Settings:
    """Return the settings of this process."""
    values = {}
    for field in fields(Settings):
        value = os.environ.get(environment_name(field.name))
        if value is not None:
            values[field.name] = value
        elif field.name in ("stage", "system"):
            raise SettingMissing(f"{environment_name(field.name)} is not set")
    return Settings(**values)


def resource_name(name: str, *, stage: str | None = None, system: str | None = None) -> str:
    """Return the physical name of a table, queue or alias: `citypass-{stage}-{system}-{name}`."""
    return f"citypass-{stage or settings().stage}-{system or settings().system}-{name}"
