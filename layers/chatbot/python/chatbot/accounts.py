"""Channels of operators: their data, their encrypted credentials, and copies of whole channels."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, StringConstraints

from chatbot import cros_settings
from chatbot.api import NULL_IS_BLANK, AccountId, AccountRequest, AdminRequest, View
from chatbot.tables import AccountIdTable, AccountTable
from kernel import audit, clock, ids
from kernel.errors import Flaw, Invalid, NotFound
from kernel.secrets import Secret, decrypt, encrypt
from kernel.tables import ConditionFailed, Put, commit, create, replace

if TYPE_CHECKING:
    from pynamodb.expressions.condition import Condition

AccountType = Literal["line", "wechat", "fb"]
WEBHOOK_PATHS = {"line": "/api/LineMessage/send", "fb": "/api/facebook", "wechat": "/api/wechat"}
ACCOUNTS_LIMIT = 100

# It travels in a header, where nothing but visible ASCII may stand.
Credential = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]*$", max_length=1000)]
# A copy that is not finished by then never will be: its function ends after 29 seconds.
_COPY_LIFE = timedelta(minutes=2)
# 32 bytes in base64 without its last sign, as WeChat's console shows it.
AesKey = Annotated[str, StringConstraints(pattern=r"^([0-9A-Za-z]{43})?$")]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^(https?://\S+)?$")]


class AccountFields(AdminRequest):
    """A channel's data as createAccount and updateAccount take it.

    `encodingAesKey` opens what WeChat sends in its encrypted mode; '' is no key, and absent keeps what is stored.
    """

    account_id: AccountId
    account_name: Annotated[str, StringConstraints(max_length=200)]
    account_type: AccountType
    account_icon: Url
    account_webhook_url: Annotated[str, StringConstraints(max_length=2000)]
    account_token: Credential = Field(repr=False)
    account_secret: Credential = Field(repr=False)
    app_id: Annotated[str, StringConstraints(max_length=200), NULL_IS_BLANK] = ""
    encoding_aes_key: AesKey | None = Field(None, repr=False)

    def check(self) -> None:
        """Refuse a webhook URL of another channel or SNS, and what WeChat needs: missing, or given elsewhere."""
        flaws = []
        try:
            parts = urlsplit(self.account_webhook_url)
        except ValueError:
            raise Invalid([Flaw("accountWebhookUrl", "is no URL")]) from None
        query = {name.lower(): value for name, value in parse_qsl(parts.query)}
        # The host is the deployment's; path and query are what tells channels apart (contract, createAccount quirks).
        if not parts.path.endswith(WEBHOOK_PATHS[self.account_type]):
            path = WEBHOOK_PATHS[self.account_type]
            flaws.append(Flaw("accountWebhookUrl", f"must have the path {path} for accountType {self.account_type}"))
        if query.get("adminid") != self.admin_id or query.get("accountid") != self.account_id:
            flaws.append(Flaw("accountWebhookUrl", "must carry the same adminid and accountid"))
        if self.account_type == "wechat" and not self.app_id:
            flaws.append(Flaw("appId", "is required for accountType wechat"))
        if self.account_type != "wechat" and self.encoding_aes_key:
            flaws.append(Flaw("encodingAesKey", "is only for accountType wechat"))
        if flaws:
            raise Invalid(flaws)


class NewAccount(AccountFields):
    """A channel to create; `accountClone` names the channel to copy, '' for none."""

    account_clone: Annotated[str, StringConstraints(max_length=64), NULL_IS_BLANK] = ""


class AccountUpdate(AccountFields, AccountRequest):
    """A channel's new data; LINE Login fields that are absent keep their value, '' clears it."""

    line_login_channel_id: Annotated[str, StringConstraints(max_length=200)] | None = None
    line_login_secret: Annotated[str, StringConstraints(max_length=1000)] | None = Field(None, repr=False)


class AccountView(View):
    """A channel with its credentials in clear, as the document has it; never log this."""

    account_id: str
    account_name: str
    account_type: str
    account_icon: str
    account_webhook_url: str
    account_token: str = Field(repr=False)
    account_secret: str = Field(repr=False)
    app_id: str
    setting: dict[str, Any]


class AccountsView(View):
    """All channels of an operator."""

    accounts: list[AccountView]


def _context(admin_id: str, account_id: str) -> dict[str, str]:
    return {"adminId": admin_id, "accountId": account_id}


def credentials(account: AccountTable) -> dict[str, Secret]:
    """Return accountToken, accountSecret and, when set, the LINE Login pair and WeChat's encodingAesKey.

    One decryption, then from memory.
    """
    sealed = decrypt(account.credentials, _context(account.admin_id, account.account_id))
    return {name: Secret(text) for name, text in json.loads(sealed.reveal()).items()}


def _sealed(fields: AccountFields, more: dict[str, str | None]) -> str:
    texts = {"accountToken": fields.account_token, "accountSecret": fields.account_secret}
    texts |= {name: value for name, value in more.items() if value}
    return encrypt(json.dumps(texts), _context(fields.admin_id, fields.account_id))


class Copying(Protocol):
    """Copies the configuration of a channel under an accountId that is not in use yet."""

    def clear(self, admin_id: str, account_id: str) -> None:
        """Remove what an earlier copy, broken off, left under the accountId."""

    def copy(self, source: AccountTable, account_id: str) -> None:
        """Copy scenarios, tags and variables of the source."""


def add(new: NewAccount, copying: Copying) -> None:
    """Register a channel, as a copy of another when asked.

    A copy takes many writes, so the accountId is claimed first; the channel appears when everything is there.
    """
    new.check()
    claimed = AccountIdTable.find(new.account_id)
    if claimed is not None and (claimed.copied_since is None or claimed.copied_since > clock.now() - _COPY_LIFE):
        raise Invalid([Flaw("accountId", "already exists")])
    if len(_of_operator(new.admin_id)) >= ACCOUNTS_LIMIT:
        raise Invalid(f"An operator has at most {ACCOUNTS_LIMIT} channels")
    row = AccountTable(admin_id=new.admin_id, account_id=new.account_id, setting={})
    _take(row, new)
    source = None
    if new.account_clone:
        source = AccountTable.find(new.admin_id, new.account_clone)
        if source is None:
            raise NotFound("accountClone not found")
        row.setting = cros_settings.copied(source, new.account_id)
    row.credentials = _sealed(new, {"encodingAesKey": new.encoding_aes_key})
    done = AccountIdTable(account_id=new.account_id, admin_id=new.admin_id)
    unclaimed: Condition = AccountIdTable.account_id.does_not_exist()
    try:
        if source is not None or claimed is not None:
            unclaimed = _claim(done, claimed)
            copying.clear(new.admin_id, new.account_id)
            if source is not None:
                copying.copy(source, new.account_id)
        entry = audit.entry(f"account {row.account_id}", before=None, after=_digestible(row))
        commit(Put(done, unclaimed), create(row), entry)
    except ConditionFailed:
        raise Invalid([Flaw("accountId", "already exists")]) from None


def _claim(done: AccountIdTable, broken: AccountIdTable | None) -> Condition:
    """Take the accountId for a copy; return what is true as long as nobody else took it after us."""
    claim = AccountIdTable(account_id=done.account_id, admin_id=done.admin_id, copied_since=clock.now())
    claim.claim = ids.ordered_id()
    free = AccountIdTable.account_id.does_not_exist() if broken is None else AccountIdTable.claim == broken.claim
    commit(Put(claim, free))
    return AccountIdTable.claim == claim.claim


def update(fields: AccountUpdate) -> None:
    """Replace a channel's data and credentials; its type stays."""
    account = fields.account
    fields.check()
    if fields.account_type != account.account_type:
        raise Invalid([Flaw("accountType", "cannot be changed")])
    before = _digestible(account)
    given = {"lineLoginChannelId": fields.line_login_channel_id, "lineLoginSecret": fields.line_login_secret}
    if account.account_type == "wechat":
        given["encodingAesKey"] = fields.encoding_aes_key
    if None in given.values():
        stored = credentials(account)
        kept = {name: stored[name].reveal() for name in given if name in stored}
        given = {name: kept.get(name) if value is None else value for name, value in given.items()}
    _take(account, fields)
    account.credentials = _sealed(fields, given)
    commit(
        replace(account),
        audit.entry(f"account {account.account_id}", before=before, after=_digestible(account)),
    )


def _take(account: AccountTable, fields: AccountFields) -> None:
    account.account_name = fields.account_name
    account.account_type = fields.account_type
    # The document shows icon URLs with a copy-and-paste residue behind .png.
    account.account_icon = fields.account_icon.removesuffix("EndFragment")
    account.account_webhook_url = fields.account_webhook_url
    account.app_id = fields.app_id


def _digestible(account: AccountTable) -> dict[str, Any]:
    """Return what the audit trail digests; credentials are ciphertext, which shows a change and nothing else."""
    names = ("account_name", "account_type", "account_icon", "account_webhook_url", "app_id", "credentials", "setting")
    return {name: getattr(account, name) for name in names}


def _of_operator(admin_id: str) -> list[AccountTable]:
    return [AccountTable.of_item(item) for item in AccountTable.every_item(admin_id, consistent=True)]


def listed(admin_id: str) -> AccountsView:
    """Return all channels of an operator; there are at most 100."""
    views = []
    for account in _of_operator(admin_id):
        secrets = credentials(account)
        views.append(
            AccountView(
                account_id=account.account_id,
                account_name=account.account_name,
                account_type=account.account_type,
                account_icon=account.account_icon,
                account_webhook_url=account.account_webhook_url,
                account_token=secrets["accountToken"].reveal(),
                account_secret=secrets["accountSecret"].reveal(),
                app_id=account.app_id,
                setting=cros_settings.of(account),
            )
        )
    return AccountsView(accounts=views)
