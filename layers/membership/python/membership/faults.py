"""What the contract answers with a code of its own (envelope, error_codes); messages are for the people at the till."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from kernel.errors import Fault, TooMany

if TYPE_CHECKING:
    from collections.abc import Iterator


class Coded(Fault):
    """A fault with an errCode of the contract; `status` is what the back office answers."""

    status = 409
    code = "refused"
    err_code: ClassVar[int] = 1


class Refused(Coded):
    """A rule of the business is broken; the message says which."""


class Missing(Coded):
    """What the request names is not there, where the contract has no code of its own for it."""

    status = 404
    code = "missing"


class NoSuchUser(Coded):
    """There is no such manager, or no customer with this phone number or id."""

    status = 404
    code = "no_such_user"
    err_code = 1005

    def __init__(self, message: str = "用户不存在") -> None:
        super().__init__(message)


class WrongSmsCode(Coded):
    """The SMS code is wrong, expired, used already or was never sent."""

    code = "wrong_sms_code"
    err_code = 1006

    def __init__(self, message: str = "短信验证码错误") -> None:
        super().__init__(message)


class Throttled(Coded):
    """The caller has to wait."""

    status = 429
    code = "throttled"


@contextmanager
def throttled(message: str) -> Iterator[None]:
    """Say in the caller's words that something was done too often."""
    try:
        yield
    except TooMany:
        raise Throttled(message) from None
