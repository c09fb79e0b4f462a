"""Fills a freshly deployed local stack with two demo tenants; what is there already stays as it is."""

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
    everybody = tenants(known)
    # Written first: a sign-in that nobody knows would lock its tenant out.
    _write(kept, everybody, simulator)
    bots = {
        "chatbot": Bot("CityPass 城市通", demo_bot.TAGS, demo_bot.VARIABLES, demo_bot.scenarios()),
        "chatbotOther": Bot("另一個租戶 Another tenant", [], [], demo_bot.other_scenarios()),
    }
    for name, tenant in everybody.items():
        show(f"tenant {tenant.adminId}")
        _add_operator(cloud, system, tenant)
        _add_partner_key(cloud, system, tenant)
        _add_channel(base, tenant, bots[name], kept.with_name("seeded.json"))
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


def _write(kept: Path, everybody: Mapping[str, Tenant], simulator: str | None) -> None:
    written: dict[str, Any] = {name: asdict(tenant) for name, tenant in everybody.items()}
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


def _add_operator(cloud: Cloud, system: System, tenant: Tenant) -> None:
    cognito = cloud.cognito()
    try:
        cognito.admin_get_user(UserPoolId=system.pool_id, Username=tenant.adminId)
    except cognito.exceptions.UserNotFoundException:
        cognito.admin_create_user(UserPoolId=system.pool_id, Username=tenant.adminId, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(
        UserPoolId=system.pool_id, Username=tenant.adminId, Password=tenant.password, Permanent=True
    )


def _add_partner_key(cloud: Cloud, system: System, tenant: Tenant) -> None:
    row = PartnerKeyTable(
        key_digest=PartnerKeyTable.digest(tenant.partnerKey),
        partner=PARTNER,
        tenants={tenant.adminId},
        created_at=datetime.now(UTC),
    )
    table = resource_name(PartnerKeyTable.name, stage=STAGE, system=system.name)
    cloud.dynamodb().put_item(TableName=table, Item=row.item())


def _add_channel(base: str, tenant: Tenant, bot: Bot, seeded: Path) -> None:
    caller = Caller(base)
    caller.sign_in(tenant.adminId, tenant.password)
    wanted = {
        "accountId": tenant.accountId,
        "accountName": bot.name,
        "accountType": "line",
        "accountIcon": ICON,
        "accountWebhookUrl": tenant.webhook(base),
        "accountToken": tenant.accountToken,
        "accountSecret": tenant.accountSecret,
    }
    accounts = caller.result("getAccount")["accounts"]
    found = next((account for account in accounts if account["accountId"] == tenant.accountId), None)
    if found is None:
        caller.result("createAccount", **wanted, accountClone="")
    elif not wanted.items() <= found.items():
        caller.result("updateAccount", **wanted)
    # A developer may have changed the demo bot by hand; only a new version of it is worth overwriting that.
    digests = json.loads(seeded.read_text()) if seeded.exists() else {}
    content = [list(bot.tags), list(bot.variables), list(bot.scenarios)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if found is not None and digests.get(tenant.accountId) == digest:
        return
    channel = {"accountId": tenant.accountId}
    for tag in bot.tags:
        caller.result("saveTag", **channel, tag=tag)
    if bot.variables:
        caller.result("saveVariable", **channel, accountVariable=bot.variables)
    for scenario in bot.scenarios:
        caller.result("saveScenario", **channel, **scenario)
    write_json(seeded, {**digests, tenant.accountId: digest})
