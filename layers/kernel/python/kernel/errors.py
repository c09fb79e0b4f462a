"""Faults: what the domain raises when it cannot do what was asked. They know no HTTP body."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


REQUIRED = "is required"


class Flaw(NamedTuple):
    """One thing wrong with the input: where (`nodes[3].title`, '' for the whole) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}" if self.path else self.message


class Fault(Exception):
    """Something the caller can be told; `code` is stable, the message is a short English sentence."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "fault"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(Fault):
    """The input is wrong; all flaws at once."""

    status = 400
    code = "invalid"
    SHOWN = 100

    def __init__(self, flaws: str | Iterable[Flaw]) -> None:
        self.flaws = [Flaw("", flaws)] if isinstance(flaws, str) else list(flaws)
        text = "; ".join(str(flaw) for flaw in self.flaws[: self.SHOWN])
        more = len(self.flaws) - self.SHOWN
        super().__init__(f"{text}; and {more} more" if more > 0 else text)

    @property
    def lacks_something(self) -> bool:
        """Whether something that is required is not there."""
        return any(flaw.message == REQUIRED for flaw in self.flaws)


class Unreadable(Invalid):
    """The request cannot even be read: broken JSON, a form that is none."""

    code = "unreadable"


class Unauthorized(Fault):
    """The caller did not prove who he is, or is not the one the request names."""

    status = 401
    code = "unauthorized"

    def __init__(self, message: str = "Unauthorized") -> None:
        super().__init__(message)


class Denied(Fault):
    """The caller is known, but this is not his to do or to see."""

    status = 403
    code = "denied"

    def __init__(self, message: str = "Permission denied") -> None:
        super().__init__(message)


class NotFound(Fault):
    """What the request names does not exist for this caller."""

    status = 404
    code = "not_found"


class Conflict(Fault):
    """The state of the thing does not allow this, or somebody else changed it meanwhile."""

    status = 409
    code = "conflict"


class TooLarge(Fault):
    """The body is over the operation's limit."""

    status = 413
    code = "too_large"


class TooMany(Fault):
    """The caller has to slow down."""

    status = 429
    code = "too_many"
