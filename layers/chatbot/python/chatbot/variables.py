"""The variable names of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StringConstraints

from chatbot.api import AccountRequest, View
from chatbot.tables import VariableTable
from kernel import audit
from kernel.errors import Conflict, Flaw, Invalid
from kernel.tables import commit, replace

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES_LIMIT = 1000
_ATTEMPTS = 4
VariableName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class VariableNames(AccountRequest):
    """Names to add or to remove."""

    account_variable: Annotated[list[VariableName], Field(min_length=1, max_length=NAMES_LIMIT)]


class VariableList(View):
    """The names in the order of their creation."""

    data: list[str]


def names(partition: str) -> list[str]:
    """Return the names in the order of their creation."""
    row = VariableTable.find(partition)
    return list(row.names) if row else []


def add(partition: str, wanted: list[str]) -> None:
    """Add names; those already there stay where they are."""

    def added(known: list[str]) -> list[str]:
        after = list(dict.fromkeys([*known, *wanted]))
        if len(after) > NAMES_LIMIT:
            raise Invalid([Flaw("accountVariable", f"would make more than {NAMES_LIMIT} variables")])
        return after

    _change(partition, added)


def remove(partition: str, unwanted: list[str]) -> None:
    """Remove names, all of which must be there; values already collected stay in the history."""

    def removed(known: list[str]) -> list[str]:
        flaws = [
            Flaw(f"accountVariable[{place}]", "is not a variable of this channel")
            for place, name in enumerate(unwanted)
            if name not in known
        ]
        if flaws:
            raise Invalid(flaws)
        return [name for name in known if name not in unwanted]

    _change(partition, removed)


def _change(partition: str, change: Callable[[list[str]], list[str]]) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        row = VariableTable.find(partition) or VariableTable(account=partition, names=[])
        before = list(row.names)
        row.names = change(before)
        if row.names == before:
            return
        try:
            commit(replace(row), audit.entry("variables", before=before, after=row.names))
            return
        except Conflict:
            # Somebody else saved names at the same moment; both changes shall hold.
            if attempt == _ATTEMPTS:
                raise
