"""Tags of a channel."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from chatbot.api import Body, ListRequest, ListView, View
from chatbot.tables import TagTable
from kernel import audit, clock
from kernel.errors import NotFound
from kernel.tables import Delete, Put, commit

TagColor = Literal[
    "bg-danger",
    "red-filter",
    "pink-filter",
    "orange-filter",
    "bg-warning",
    "yellow-filter",
    "bg-success",
    "dark-green-filter",
    "green-filter",
    "bg-info",
    "teal-filter",
    "primary-filter",
    "blue-filter",
    "skyblue-filter",
    "darkpurple-filter",
    "purple-filter",
    "bg-secondary",
    "grey-filter",
]
COLORS: frozenset[str] = frozenset(get_args(TagColor))


class TagName(Body):
    """What identifies a tag: name and colour."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    color: TagColor


class Tag(TagName):
    """A tag with its possible values."""

    values: list[Annotated[str, StringConstraints(max_length=300)]] = Field(max_length=200)


class TagView(View):
    """A tag as it is listed."""

    name: str
    color: str
    values: list[str]


class TagList(ListView):
    """A page of tags."""

    data: list[TagView]


_PAGE = 1000


def save(partition: str, tag: Tag) -> None:
    """Create a tag, or replace the values of the one with the same name and colour."""
    place = f"{tag.color}#{tag.name}"
    before = TagTable.find(partition, place)
    row = TagTable(account=partition, colour_and_name=place, tag_name=tag.name, color=tag.color, values=tag.values)
    row.created_at = before.created_at if before else clock.now()
    row.updated_at = clock.now()
    commit(Put(row), _audit(tag, before=before.values if before else None, after=tag.values))


def delete(partition: str, tag: TagName) -> None:
    """Delete the tag with this name and colour."""
    place = f"{tag.color}#{tag.name}"
    before = TagTable.find(partition, place)
    if before is None:
        raise NotFound("tag is not a tag of this channel")
    commit(Delete(TagTable, before.own_key()), _audit(tag, before=before.values, after=None))


def page(request: ListRequest) -> TagList:
    """Return a page of at most 1000 tags of a channel, ordered by colour and name."""
    rows, last_key = TagTable.query(request.partition, limit=_PAGE, after=request.start("tags"), consistent=True)
    return TagList(
        data=[TagView(name=row.tag_name, color=row.color, values=row.values) for row in rows],
        last_evaluated_key=request.next_key("tags", last_key),
    )


def _audit(tag: TagName, *, before: list[str] | None, after: list[str] | None) -> Put:
    return audit.entry(f"tag {tag.color} {tag.name}", before=before, after=after)
