"""The access token of a WeChat account: one for all who send for it, kept encrypted in a row of its own."""

from __future__ import annotations

from datetime import timedelta

from chatbot.accounts import credentials
from chatbot.tables import AccountTable, ChannelTokenTable, account_key
from kernel import clock
from kernel.channels.wechat.client import WechatClient
from kernel.secrets import decrypt, encrypt
from kernel.tables import Delete, Put, commit


class StoredToken:
    """Where the token of one account is kept."""

    def __init__(self, account: AccountTable) -> None:
        # A channel that is given another app must not go on with the token of the old one.
        self._key = f"{account_key(account.admin_id, account.account_id)}#{account.app_id}"
        self._context = {"adminId": account.admin_id, "accountId": account.account_id, "purpose": "channel token"}

    def get(self) -> str | None:
        """Return the token, None when there is none or its time is over."""
        row = ChannelTokenTable.find(self._key)
        if row is None or row.valid_until <= clock.now():
            return None
        return decrypt(row.token, self._context).reveal()

    def put(self, token: str, expires_in: int) -> None:
        """Keep a token for so many seconds."""
        until = clock.now() + timedelta(seconds=expires_in)
        sealed = encrypt(token, self._context)
        commit(Put(ChannelTokenTable(account=self._key, token=sealed, valid_until=until, expires=until)))

    def drop(self) -> None:
        """Forget the token, because WeChat no longer takes it."""
        commit(Delete(ChannelTokenTable, ChannelTokenTable.key(self._key)))


def client_of(account: AccountTable) -> WechatClient:
    """Return the calls of a WeChat account."""
    return WechatClient(account.app_id, credentials(account)["accountSecret"], StoredToken(account))
