"""Sign-in with a password at the system's user pool, slowed down after repeated failures."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pynamodb.attributes import NumberAttribute, TTLAttribute, UnicodeAttribute

from kernel import aws, clock
from kernel.errors import TooMany, Unauthorized
from kernel.settings import settings
from kernel.tables import Change, ConditionFailed, Delete, Table, commit

if TYPE_CHECKING:
    from kernel.tables import Item

FAILURES_ALLOWED = 5
WINDOW = timedelta(minutes=15)
_REFUSED = {
    "NotAuthorizedException",
    "UserNotFoundException",
    "UserNotConfirmedException",
    "PasswordResetRequiredException",
    "InvalidParameterException",
}


class Tokens(NamedTuple):
    """What Cognito hands out; `expires_in` in seconds."""

    id_token: str
    access_token: str
    refresh_token: str
    expires_in: int


class SignInFailureTable(Table):
    """Failed sign-ins of one account from one address, forgotten after the window."""

    name: ClassVar[str] = "sign-in-failures"
    who = UnicodeAttribute(hash_key=True)
    failures = NumberAttribute()
    expires = TTLAttribute()


def sign_in(username: str, password: str, source_ip: str) -> Tokens:
    """Check a password; unknown account and wrong password are refused alike, the sixth failure in 15 minutes too.

    The count is per account and address, so that nobody can lock an operator out from elsewhere.
    """
    key = SignInFailureTable.key(hashlib.sha256(f"{username}\0{source_ip}".encode()).hexdigest())
    _count_attempt(key)
    try:
        answer = aws.call(
            "cognito-idp",
            "AdminInitiateAuth",
            {
                "AuthFlow": "ADMIN_USER_PASSWORD_AUTH",
                "UserPoolId": settings().pool_id,
                "ClientId": settings().pool_client_id,
                "AuthParameters": {"USERNAME": username, "PASSWORD": password},
            },
        )
    except aws.AwsError as error:
        if error.code not in _REFUSED:
            # Nobody was refused, so nothing counts against the account.
            commit(Change(SignInFailureTable, key, [SignInFailureTable.failures.set(SignInFailureTable.failures - 1)]))
            if error.code in ("TooManyRequestsException", "LimitExceededException"):
                raise TooMany("Too many sign-ins; try again later") from None
            raise
        answer = {}
    result = answer.get("AuthenticationResult")
    if not result:
        raise Unauthorized
    commit(Delete(SignInFailureTable, key))
    return Tokens(result["IdToken"], result["AccessToken"], result.get("RefreshToken", ""), int(result["ExpiresIn"]))


def _count_attempt(key: Item) -> None:
    """Count an attempt as failed before it is made, so that attempts made together are counted all the same."""
    now = clock.now()
    failures, expires = SignInFailureTable.failures, SignInFailureTable.expires
    first = [failures.set(1), expires.set(now + WINDOW)]
    # DynamoDB removes expired rows late, so the time is compared here.
    forgotten = failures.does_not_exist() | (expires <= now)
    try:
        commit(Change(SignInFailureTable, key, first, forgotten))
        return
    except ConditionFailed:
        pass
    allowed = (failures < FAILURES_ALLOWED) & (expires > now)
    try:
        commit(Change(SignInFailureTable, key, [failures.set(failures + 1)], allowed))
    except ConditionFailed:
        raise TooMany("Too many failed sign-ins; try again later") from None
