"""Sign-in with a password at the system's user pool, slowed down after repeated failures; making its users."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from kernel import aws, rates
from kernel.errors import Conflict, TooMany, Unauthorized
from kernel.settings import settings

FAILURES_ALLOWED = 5
WINDOW = timedelta(minutes=15)
_WHAT = "sign-in"
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


class UserExists(Conflict):
    """The pool has a user of this name already."""

    code = "user_exists"


def sign_in(username: str, password: str, source_ip: str = "") -> Tokens:
    """Check a password; unknown account and wrong password are refused alike, the sixth failure in 15 minutes too.

    Failures count per account and address, so that nobody can lock an operator out from elsewhere; without an address
    they count per account, wherever they come from.
    """
    who = f"{username}\0{source_ip}"
    # Counted before it is tried, so that attempts made together are counted all the same.
    rates.count(_WHAT, who, limit=FAILURES_ALLOWED, window=WINDOW)
    try:
        answer = _pool(
            "AdminInitiateAuth",
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            ClientId=settings().pool_client_id,
            AuthParameters={"USERNAME": username, "PASSWORD": password},
        )
    except aws.AwsError as error:
        if error.code not in _REFUSED:
            # Nobody was refused, so nothing counts against the account.
            rates.take_back(_WHAT, who)
            if error.code in ("TooManyRequestsException", "LimitExceededException"):
                raise TooMany("Too many sign-ins; try again later") from None
            raise
        answer = {}
    result = answer.get("AuthenticationResult")
    if not result:
        raise Unauthorized
    rates.forget(_WHAT, who)
    return Tokens(result["IdToken"], result["AccessToken"], result.get("RefreshToken", ""), int(result["ExpiresIn"]))


def forget_failures(username: str) -> None:
    """Count the failed sign-ins of an account anew, where they count wherever they come from."""
    rates.forget(_WHAT, f"{username}\0")


def add_user(username: str, password: str) -> None:
    """Make a user of the pool who may sign in at once; one of that name raises UserExists."""
    try:
        _pool("AdminCreateUser", Username=username, MessageAction="SUPPRESS")
    except aws.AwsError as error:
        if error.code == "UsernameExistsException":
            raise UserExists(f"There is a user {username} already") from None
        raise
    set_password(username, password)


def set_password(username: str, password: str) -> None:
    """Give a user of the pool another password."""
    _pool("AdminSetUserPassword", Username=username, Password=password, Permanent=True)


def _pool(action: str, **request: Any) -> dict[str, Any]:
    return aws.call("cognito-idp", action, {"UserPoolId": settings().pool_id, **request})
