"""SMS codes that managers prove themselves with before money goes back: six digits, five minutes, used once."""

from __future__ import annotations

import hmac
import re
import secrets
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from kernel import clock, rates
from kernel.channels import sms
from kernel.channels.faults import OverLimit, TryLater
from kernel.channels.faults import Refused as ProviderRefused
from kernel.grants import read, sign, write
from kernel.running import current
from kernel.secrets import signing_key
from kernel.tables import Change, ConditionFailed, Delete, Put, commit
from membership.api import MOBILE
from membership.faults import Refused, Throttled, WrongSmsCode, throttled
from membership.postings import Step
from membership.tables import ManagerTable, SmsCodeTable

if TYPE_CHECKING:
    from membership.managers import Manager

VALID = timedelta(minutes=5)
WRONG_TRIES = 5
PAUSE = timedelta(seconds=60)
A_DAY = 10
_TOO_SOON = "短信发送太频繁，请稍后再试"
_NOT_SENT = "短信发送失败，请稍后再试"
_PERHAPS_SENT = "短信可能已发出，若未收到请一分钟后再试"
# What an operation needs that asks for a code with `proof`.
PROOF = (read(SmsCodeTable), write(SmsCodeTable), sign())


def send(manager: Manager) -> None:
    """Send a new code to the phone of the manager's account; the one before is void then.

    Raises Throttled when it is too soon, Refused without a mobile phone, when the provider does not take the message,
    and when nobody knows whether it did: then the code is good and the message counts.
    """
    account = ManagerTable.find(manager.manager_id)
    if account is None or not account.phone:
        raise Refused("账号没有绑定手机号")
    if not re.fullmatch(MOBILE, account.phone):
        raise Refused("账号绑定的手机号无效")
    counted = _counted(manager.manager_id, account.phone)
    code = f"{secrets.randbelow(10**6):06}"
    digest = _digest(manager.manager_id, code)
    row = SmsCodeTable(manager_id=manager.manager_id, code_digest=digest, expires=clock.now() + VALID)
    doubt = False
    try:
        sms.send(account.phone, code)
    except (OverLimit, ProviderRefused) as problem:
        counted.close()
        current().facts["sms"] = str(problem)
        raise (Throttled(_TOO_SOON) if isinstance(problem, OverLimit) else Refused(_NOT_SENT)) from None
    except TryLater as problem:
        current().facts["sms"] = str(problem)
        doubt = True
    # After the message, because the older code is good until there is a newer one; where two messages overtake each
    # other, the code that was made last stays.
    with suppress(ConditionFailed):
        commit(Put(row, SmsCodeTable.expires.does_not_exist() | (SmsCodeTable.expires <= row.expires)))
    if doubt:
        raise Refused(_PERHAPS_SENT)


def proof(manager: Manager, code: str) -> Step:
    """Return the write that uses up the code, to be committed with what it allows; a wrong code raises WrongSmsCode.

    Ask only after the request's claim was looked at, because a repetition comes with a code that is used up.
    """
    now = clock.now()
    key = SmsCodeTable.key(manager.manager_id)
    row = SmsCodeTable.find(manager.manager_id)
    if row is None or row.expires <= now or row.wrong_tries >= WRONG_TRIES:
        raise WrongSmsCode
    # Wrong and right codes that come together are decided in the order in which the table takes the two writes here.
    still_good = (SmsCodeTable.code_digest == row.code_digest) & (SmsCodeTable.wrong_tries < WRONG_TRIES)
    if hmac.compare_digest(row.code_digest, _digest(manager.manager_id, code)):
        return Step(Delete(SmsCodeTable, key, still_good & (SmsCodeTable.expires > now)), WrongSmsCode())
    # It may be used up meanwhile, or replaced by one that nobody has tried yet.
    with suppress(ConditionFailed):
        commit(Change(SmsCodeTable, key, [SmsCodeTable.wrong_tries.add(1)], still_good))
    raise WrongSmsCode


def _digest(manager_id: int, code: str) -> str:
    # A million codes are tried in a second by whoever reads the table, unless he lacks a key.
    return hmac.digest(signing_key(), f"sms-code\0{manager_id}\0{code}".encode(), "sha256").hex()


def _counted(manager_id: int, phone: str) -> ExitStack:
    """Count a message to an account and its phone, and return what takes that back when it is closed."""
    limits = (
        ("sms-account", str(manager_id), 1, PAUSE),
        ("sms-phone", phone, 1, PAUSE),
        ("sms-phone-day", phone, A_DAY, timedelta(days=1)),
    )
    with ExitStack() as counted:
        for what, who, limit, window in limits:
            with throttled(_TOO_SOON):
                rates.count(what, who, limit=limit, window=window)
            counted.callback(rates.take_back, what, who)
        return counted.pop_all()
