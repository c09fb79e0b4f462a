"""What the back office's requests and answers have in common: plain names, real HTTP statuses, whole lists of ids."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from membership.api import SHANGHAI, Id, View, camel, iso_utc, plain_text
from membership.catalogue import ACTIVE

# How many stores, cards, events, coupons and accounts a merchant may have of each.
MOST = 200
DISABLED = 0


def _plain_number(value: Any) -> Any:
    # Other spellings of a number, such as 012, would name another tenant than they are checked as.
    if not (isinstance(value, str) and value.isascii() and value.isdecimal() and not value.startswith("0")):
        raise ValueError("must be a whole number")
    return value


def _moment(value: Any) -> Any:
    """Take a date for its midnight, and a time without a zone for Shanghai's; years 2000 to 2999."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        # Python's own words quote what was sent, and that goes into files and logs.
        raise ValueError("must be a time such as 2020-04-30 00:00:00") from None
    if not 2000 <= moment.year <= 2999:
        raise ValueError("must be in the years 2000 to 2999")
    return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)


def _tidy(value: Any) -> Any:
    """Return what was sent with blank texts as none."""
    if isinstance(value, str):
        return plain_text(value).strip() or None
    return [_tidy(each) for each in value] if isinstance(value, list) else value


# An id in a path.
Number = Annotated[int, BeforeValidator(_plain_number), Field(ge=1, le=2**53)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Prose = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
# Each once, in the order that was given.
Ids = Annotated[list[Id], Field(max_length=MOST), AfterValidator(lambda ids: list(dict.fromkeys(ids)))]
StateName = Literal["active", "disabled"]


def unchanged(alias: str | None = None) -> Any:
    """Return the default of a field that may be left out of a change, but not be emptied."""
    return Field(alias=alias, default_factory=lambda: None)


class Fields(BaseModel):
    """What a request sets; an empty text is none, and a name that is not known is refused."""

    model_config = ConfigDict(
        alias_generator=camel, extra="forbid", hide_input_in_errors=True, coerce_numbers_to_str=True
    )

    @model_validator(mode="before")
    @classmethod
    def _without_marks(cls, given: Any) -> Any:
        return {name: _tidy(value) for name, value in given.items()} if isinstance(given, dict) else given


class Patch(Fields):
    """What a PATCH changes: what it does not name stays, null empties; `version` is the one that was looked at."""

    version: Id | None = None

    def named(self) -> dict[str, Any]:
        """Return the attributes that are named, by the names of the table."""
        return self.model_dump(exclude_unset=True, exclude={"version"})


class NewState(Fields):
    """The state that something is put into."""

    state: StateName


class Record(View):
    """What every thing of the back office shows beside its own fields."""

    id: int
    version: int | None
    created: str | None
    updated: str | None


def stamps(row: Any) -> dict[str, Any]:
    """Return the fields that every record shows."""
    return {
        "id": row.id,
        "version": row.version,
        "created": iso_utc(row.created_at) if row.created_at else None,
        "updated": iso_utc(row.updated_at) if row.updated_at else None,
    }


def state_of(flag: int) -> StateName:
    """Return the state that a row's flag stands for."""
    return "active" if flag == ACTIVE else "disabled"


def flag_of(state: StateName) -> int:
    """Return the flag of a state."""
    return ACTIVE if state == "active" else DISABLED


def masked(text: str | None, start: int = 0) -> str | None:
    """Return personal data as lists show it: the first `start` characters and the last four, if that hides any."""
    if text is None:
        return None
    hidden = len(text) - start - 4
    return text[:start] + "*" * hidden + text[-4:] if hidden > 0 else "*" * len(text)
