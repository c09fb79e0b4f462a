"""The LIFF app of a channel: one for all its segments, because LINE gives a LINE Login channel 30 at most.

The segment stands in the link's query (LIFF server API; LIFF documentation, Opening a LIFF app).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from chatbot.accounts import credentials
from chatbot.tables import AccountTable
from kernel import audit, clock
from kernel.channels.faults import Refused, TryLater
from kernel.channels.line.login import LineLogin
from kernel.errors import Flaw, Invalid
from kernel.settings import settings
from kernel.tables import Change, ConditionFailed, commit

if TYPE_CHECKING:
    from chatbot.tables import SegmentTable

# LINE refuses names with "LINE" in them, and a channel may be called like that.
_DESCRIPTION = "Join"


def url(account: AccountTable, segment: SegmentTable) -> str:
    """Return the link that leads users into a segment, '' when it is no entry or the channel has no LIFF app."""
    if not segment.scenario_id or not account.liff_id:
        return ""
    return f"https://liff.line.me/{account.liff_id}?segment={quote(segment.segment_id)}"


def login_of(account: AccountTable) -> LineLogin | None:
    """Return the channel's LINE Login, None when its operator did not set one up."""
    if account.account_type != "line":
        return None
    secrets = credentials(account)
    channel_id, secret = (secrets.get(name) for name in ("lineLoginChannelId", "lineLoginSecret"))
    return LineLogin(channel_id.reveal(), secret) if channel_id and secret else None


def give(account: AccountTable) -> None:
    """Give a channel with LINE Login its LIFF app unless it has one; refused when LINE does not make it."""
    if account.liff_id:
        return
    login = login_of(account)
    if login is None:
        return
    try:
        liff_id = login.create_liff(_view_url(account), _DESCRIPTION)
    except Refused as problem:
        reason = f"LINE refuses to make the channel's LIFF app ({problem.status}); check the LINE Login channel"
        raise Invalid([Flaw("scenarioId", f"cannot be set: {reason}")]) from None
    except TryLater:
        raise Invalid([Flaw("scenarioId", "cannot be set now: LINE does not answer; try again later")]) from None
    key = AccountTable.key(account.admin_id, account.account_id)
    changes = [
        AccountTable.liff_id.set(liff_id),
        AccountTable.version.set(AccountTable.version + 1),
        AccountTable.updated_at.set(clock.now()),
    ]
    entry = audit.entry(f"account {account.account_id}", before={"liff_id": None}, after={"liff_id": liff_id})
    try:
        # By itself, so that the app is not lost when the segment cannot be saved after all.
        commit(Change(AccountTable, key, changes, AccountTable.liff_id.does_not_exist()), entry)
    except ConditionFailed:
        # Somebody else made one at the same moment, and links lead to that.
        return
    account.liff_id = liff_id


def _view_url(account: AccountTable) -> str:
    return f"{settings().public_url}/liff/{quote(account.admin_id, safe='')}/{account.account_id}"
