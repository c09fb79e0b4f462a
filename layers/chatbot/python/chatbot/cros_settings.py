"""The connection of a channel to the external service CROS; its key is kept encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from chatbot.api import AccountRequest
from kernel import audit, secrets
from kernel.tables import commit, replace

if TYPE_CHECKING:
    from chatbot.tables import AccountTable

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Cros(BaseModel):
    """Address, client id and key of the service, and the variables it is sent: parameter name to variable name.

    Each is taken in both spellings of the documents. The address may be any text: a call to what is no URL fails then.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    endpoint: Annotated[Text, Field(validation_alias=AliasChoices("endpoint", "endPoint"))]
    key: Annotated[Text, Field(repr=False)]
    clientid: Annotated[Text, Field(validation_alias=AliasChoices("clientid", "clientId"))]
    params: Annotated[
        dict[Name, Name], BeforeValidator(lambda value: {} if value is None else value), Field(max_length=50)
    ] = {}


class Setting(BaseModel):
    """The external settings of a channel."""

    model_config = ConfigDict(hide_input_in_errors=True)

    cros: Annotated[Cros, Field(validation_alias=AliasChoices("cros", "cors"))]


class SettingRequest(AccountRequest):
    """The external settings to save."""

    setting: Setting


def save(request: SettingRequest) -> None:
    """Replace the connection of a channel as a whole."""
    account = request.account
    before = account.setting
    account.setting = _sealed({**before, "cros": request.setting.cros.model_dump()}, account, account.account_id)
    commit(replace(account), audit.entry(f"setting {account.account_id}", before=before, after=account.setting))


def of(account: AccountTable) -> dict[str, Any]:
    """Return the settings of a channel as getAccount shows them, the key in clear; {} when there are none."""
    setting: dict[str, Any] = dict(account.setting)
    cros = setting.get("cros")
    if isinstance(cros, dict) and isinstance(cros.get("key"), dict):
        context = _context(account, account.account_id)
        setting["cros"] = {**cros, "key": secrets.decrypt(cros["key"]["sealed"], context).reveal()}
    return setting


def copied(source: AccountTable, account_id: str) -> dict[str, Any]:
    """Return the settings of a channel as another one of the operator keeps them: the key sealed for that one."""
    return _sealed(of(source), source, account_id)


def _sealed(setting: dict[str, Any], account: AccountTable, account_id: str) -> dict[str, Any]:
    cros = setting.get("cros")
    if not isinstance(cros, dict) or not isinstance(cros.get("key"), str):
        return setting
    sealed = secrets.encrypt(cros["key"], _context(account, account_id))
    return {**setting, "cros": {**cros, "key": {"sealed": sealed}}}


def _context(account: AccountTable, account_id: str) -> dict[str, str]:
    return {"adminId": account.admin_id, "accountId": account_id, "setting": "cros.key"}
