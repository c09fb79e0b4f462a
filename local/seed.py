"""Fills a freshly deployed local stack with two demo tenants; what is there already stays as it is.

Both have a LINE channel; the first has the same bot on Messenger and WeChat too.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kernel.auth import PartnerKeyTable
from kernel.settings import resource_name
from local import demo_bot
from local.caller import Caller
from local.cloud import Cloud
from local.deployment import STAGE, System

WEBHOOK_PATH = "api/LineMessage/send"
_PATHS = {"line": WEBHOOK_PATH, "fb": "api/facebook", "wechat": "api/wechat"}
_OTHERS = {"messenger": "fb", "wechat": "wechat"}
ICON = "https://img.example.com/citypass.png"
PARTNER = "demo partner"


@dataclass(frozen=True)
class Tenant:
    """A demo tenant: its sign-in, its LINE channel and a partner's key for it."""

    adminId: str  # noqa: N815  the contract's spelling, as it stands in demo.json
    password: str
    accountId: str  # noqa: N815
    accountSecret: str  # noqa: N815
    accountToken: str  # noqa: N815
    partnerKey: str  # noqa: N815

    def webhook(self, base: str) -> str:
        """Return the address that LINE calls with the events of the channel."""
        return f"{base}/{WEBHOOK_PATH}?adminid={self.adminId}&accountid={self.accountId}"


@dataclass(frozen=True)
class Channel:
    """A channel of a demo tenant, as createAccount takes it; `appId` is WeChat's."""

    accountType: str  # noqa: N815
    accountId: str  # noqa: N815
    accountSecret: str  # noqa: N815
    accountToken: str  # noqa: N815
    appId: str  # noqa: N815

    def webhook(self, base: str, admin_id: str) -> str:
        """Return the address that the channel's platform calls."""
        return f"{base}/{_PATHS[self.accountType]}?adminid={admin_id}&accountid={self.accountId}"


@dataclass(frozen=True)
class Bot:
    """The content of a demo channel."""

    name: str
    tags: Iterable[Mapping[str, Any]]
    variables: Iterable[str]
    scenarios: Iterable[Mapping[str, Any]]


def tenants(kept: Mapping[str, Any], variables: Mapping[str, str] = os.environ) -> dict[str, Tenant]:
    """Return the demo tenants by their name in demo.json: those it holds, new ones for those it lacks.

    A real channel's `LINE_CHANNEL_SECRET` and `LINE_CHANNEL_ACCESS_TOKEN` take the place of made-up ones.
    """
    found = {}
    for name, admin_id in (("chatbot", "0001"), ("chatbotOther", "0002")):
        known = kept.get(name, {})
        fields = Tenant.__dataclass_fields__
        complete = all(isinstance(known.get(field), str) for field in fields)
        found[name] = Tenant(**{field: known[field] for field in fields}) if complete else _new_tenant(admin_id)
    if line := line_credentials(variables):
        secret, token = line
        found["chatbot"] = replace(found["chatbot"], accountSecret=secret, accountToken=token)
    return found


def other_channels(kept: Mapping[str, Any]) -> dict[str, Channel]:
    """Return the first tenant's other channels by their name in demo.json: those it holds, new ones for the rest."""
    found = {}
    for name, account_type in _OTHERS.items():
        known = kept.get("chatbot", {}).get(name)
        fields = Channel.__dataclass_fields__
        complete = isinstance(known, dict) and all(isinstance(known.get(field), str) for field in fields)
        found[name] = Channel(**{field: known[field] for field in fields}) if complete else _new_channel(account_type)
    return found


def line_credentials(variables: Mapping[str, str]) -> tuple[str, str] | None:
    """Return secret and access token of a real LINE channel, None when the environment lacks one of them."""
    secret, token = variables.get("LINE_CHANNEL_SECRET"), variables.get("LINE_CHANNEL_ACCESS_TOKEN")
    return (secret, token) if secret and token else None


def seed(
    cloud: Cloud,
    system: System,
    base: str,
    kept: Path,
    show: Callable[[str], None] = lambda detail: None,
    *,
    simulator: str | None,
) -> dict[str, Tenant]:
    """Bring both tenants into the chatbot and write their sign-ins to `kept`; safe to repeat."""
    known = json.loads(kept.read_text()) if kept.exists() else {}
    everybody, others = tenants(known), other_channels(known)
    # Written first: a sign-in that nobody knows would lock its tenant out.
    _write(kept, known, everybody, others, simulator)
    bots = {
        "chatbot": Bot("CityPass 城市通", demo_bot.TAGS, demo_bot.VARIABLES, demo_bot.scenarios()),
        "chatbotOther": Bot("另一個租戶 Another tenant", [], [], demo_bot.other_scenarios()),
    }
    for name, tenant in everybody.items():
        show(f"tenant {tenant.adminId}")
        add_operator(cloud, system, tenant.adminId, tenant.password)
        _add_partner_key(cloud, system, tenant)
        line = Channel("line", tenant.accountId, tenant.accountSecret, tenant.accountToken, "")
        for channel in (line, *(others.values() if name == "chatbot" else ())):
            _add_channel(base, tenant, channel, bots[name], kept.with_name("seeded.json"))
    return everybody


def _new_tenant(admin_id: str) -> Tenant:
    return Tenant(
        adminId=admin_id,
        password=new_password(),
        accountId=new_account_id(),
        accountSecret=secrets.token_hex(16),
        accountToken=secrets.token_hex(64),
        partnerKey=secrets.token_urlsafe(32),
    )


def _new_channel(account_type: str) -> Channel:
    return Channel(
        accountType=account_type,
        accountId=new_account_id(),
        accountSecret=secrets.token_hex(16),
        accountToken=secrets.token_hex(16),
        appId=f"wx{secrets.token_hex(8)}" if account_type == "wechat" else "",
    )


def new_password() -> str:
    """Return a strong password that every rule about kinds of characters accepts."""
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "-_.+")
    drawn = [secrets.choice(kind) for kind in kinds] + [secrets.choice("".join(kinds)) for _ in range(16)]
    secrets.SystemRandom().shuffle(drawn)
    return "".join(drawn)


def new_account_id() -> str:
    """Return an accountId of the shape that clients of the platform make."""
    letters = string.ascii_lowercase + string.digits
    return "-".join("".join(secrets.choice(letters) for _ in range(length)) for length in (9, 4, 4, 4, 14))


def _write(
    kept: Path,
    known: Mapping[str, Any],
    everybody: Mapping[str, Tenant],
    others: Mapping[str, Channel],
    simulator: str | None,
) -> None:
    # What the other systems' tenants sign in with stands there too.
    written: dict[str, Any] = {**known, **{name: asdict(tenant) for name, tenant in everybody.items()}}
    written["chatbot"] |= {name: asdict(channel) for name, channel in others.items()}
    if simulator:
        written["chatbot"]["simulator"] = simulator
    write_json(kept, written)


def write_json(path: Path, value: Any) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600)
    beside.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def add_operator(cloud: Cloud, system: System, username: str, password: str) -> None:
    """Make a user of the system's pool, or give the one that is there this password."""
    cognito = cloud.cognito()
    try:
        cognito.admin_get_user(UserPoolId=system.pool_id, Username=username)
    except cognito.exceptions.UserNotFoundException:
        cognito.admin_create_user(UserPoolId=system.pool_id, Username=username, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=system.pool_id, Username=username, Password=password, Permanent=True)


def _add_partner_key(cloud: Cloud, system: System, tenant: Tenant) -> None:
    row = PartnerKeyTable(
        key_digest=PartnerKeyTable.digest(tenant.partnerKey),
        partner=PARTNER,
        tenants={tenant.adminId},
        created_at=datetime.now(UTC),
    )
    table = resource_name(PartnerKeyTable.name, stage=STAGE, system=system.name)
    cloud.dynamodb().put_item(TableName=table, Item=row.item())


def _add_channel(base: str, tenant: Tenant, channel: Channel, bot: Bot, seeded: Path) -> None:
    caller = Caller(base)
    caller.sign_in(tenant.adminId, tenant.password)
    wanted = {
        **asdict(channel),
        "accountName": bot.name,
        "accountIcon": ICON,
        "accountWebhookUrl": channel.webhook(base, tenant.adminId),
    }
    accounts = caller.result("getAccount")["accounts"]
    found = next((account for account in accounts if account["accountId"] == channel.accountId), None)
    if found is None:
        caller.result("createAccount", **wanted, accountClone="")
    elif not wanted.items() <= found.items():
        caller.result("updateAccount", **wanted)
    # A developer may have changed the demo bot by hand; only a new version of it is worth overwriting that.
    digests = json.loads(seeded.read_text()) if seeded.exists() else {}
    content = [list(bot.tags), list(bot.variables), list(bot.scenarios)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if found is not None and digests.get(channel.accountId) == digest:
        return
    ids = {"accountId": channel.accountId}
    for tag in bot.tags:
        caller.result("saveTag", **ids, tag=tag)
    if bot.variables:
        caller.result("saveVariable", **ids, accountVariable=bot.variables)
    for scenario in bot.scenarios:
        caller.result("saveScenario", **ids, **scenario)
    write_json(seeded, {**digests, channel.accountId: digest})
