"""What an owner keeps a few of and looks after by hand: listed, read, made and changed in the same way everywhere.

Each thing is a row with a number of its own; whoever changes it wins only when nobody else did meanwhile, and every
change leaves its entry in the audit trail. What differs is the table and the models of requests and answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, Field

from kernel import audit, clock, numbering
from kernel.errors import Conflict, NotFound
from kernel.signed import seal, unseal
from kernel.tables import Change, Table, Version, commit, create

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pynamodb.indexes import GlobalSecondaryIndex

    from kernel.tables import Write

T = TypeVar("T")
U = TypeVar("U")
Row = TypeVar("Row", bound=Table)
PAGE = 50
Limit = Annotated[int, Field(ge=1, le=100)]


class Listing(BaseModel, Generic[T]):
    """Some of a list, and the cursor of what follows, None behind the last."""

    items: list[T]
    cursor: str | None


class Found(NamedTuple, Generic[T]):
    """Some rows of a list, and the cursor of what follows, None behind the last."""

    rows: list[T]
    cursor: str | None

    def listing(self, view: Callable[[T], U]) -> Listing[U]:
        """Return the rows as they go out."""
        return Listing[Any](items=[view(row) for row in self.rows], cursor=self.cursor)


@dataclass(frozen=True)
class Catalogue(Generic[Row]):
    """The things of one kind: `thing` is what people call one, `most` how many an owner may have.

    Their table's hash key is the owner and its range key the number, unless an `index` has these keys instead.
    """

    table: type[Row]
    thing: str
    most: int | None = None
    index: type[GlobalSecondaryIndex[Any]] | None = None

    def page(self, owner: Any, limit: int, cursor: str) -> Found[Row]:
        """Return an owner's things in the order of their numbers, those behind the cursor."""
        purpose = f"{self.table.name}#{owner}"
        after = unseal(purpose, cursor, "cursor") if cursor else None
        page = self.table.query(owner, index=self.index, limit=limit, after=after)
        return Found(page.rows, None if page.last_key is None else seal(purpose, page.last_key))

    def get(self, owner: Any, number: int) -> Row:
        """Return one thing of an owner; raises NotFound."""
        row = self.table.find(owner, number)
        if row is None:
            raise self.missing()
        return row

    def missing(self) -> NotFound:
        """Return what to raise about a thing that is not there, or not this owner's."""
        return NotFound(f"There is no such {self.thing}")

    def next_number(self) -> int:
        """Take the number of a new thing; numbers count over all owners."""
        return numbering.take(self.table.name)

    def add(self, owner: Any, row: Row, *also: Write, tenant: str = "") -> None:
        """Store a new thing with everything else that belongs to it, or nothing of it."""
        if self.most is not None:
            first, second = self.table.keys()
            fields = [first] if second is None else [first, second]
            held = self.table.query_items(owner, index=self.index, fields=fields, limit=self.most)
            if len(held.rows) >= self.most:
                raise Conflict(f"There are {self.most} of {self.table.name} already, which is the most")
        commit(create(row), *also, self._noted(row, None, tenant))

    def change(self, row: Row, changes: Mapping[str, Any], *also: Write, version: int | None = None) -> Row:
        """Set attributes of a thing that was read before and return it; raises Conflict when it changed meanwhile.

        `version` is the one that whoever asks for the change has seen, when he says it.
        """
        attributes = row.get_attributes()
        name, attribute = next((n, a) for n, a in attributes.items() if isinstance(a, Version))
        seen = getattr(row, name)
        if version is not None and version != seen:
            raise Conflict("It was changed by somebody else meanwhile")
        before = dict(row.attribute_values)
        named = {field: value for field, value in changes.items() if getattr(row, field) != value}
        if not named and not also:
            return row
        named[name] = (seen or 0) + 1
        if "updated_at" in attributes:
            named["updated_at"] = clock.now()
        for field, value in named.items():
            setattr(row, field, value)
        # Only what changes is written: counters in the same row go on meanwhile.
        actions = [
            attributes[field].remove() if value is None else attributes[field].set(value)
            for field, value in named.items()
        ]
        unchanged = attribute.does_not_exist() if seen is None else attribute == seen
        commit(Change(self.table, row.own_key(), actions, unchanged), *also, self._noted(row, before))
        return row

    def _noted(self, row: Row, before: Any, tenant: str = "") -> Write:
        *_, number = (next(iter(value.values())) for value in row.own_key().values())
        return audit.entry(f"{self.table.name}/{number}", before=before, after=row.attribute_values, tenant=tenant)
