"""Pictures that the bot shows beside its messages."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import uuid4

from pydantic import Field, StringConstraints

from chatbot.api import AccountRequest, Body, ListRequest, ListView, View
from chatbot.tables import IconTable
from kernel import audit
from kernel.errors import Flaw, Invalid
from kernel.tables import Delete, Write, commit, create, rows_of

# An icon and its audit entry are two of the hundred writes that a transaction takes.
AT_ONCE = 50
_PAGE = 1000
_LINE = re.compile(r"(?<![0-9A-Za-z])LINE(?![0-9A-Za-z])", re.IGNORECASE | re.ASCII)
# Blanks, and the joiner of emojis when what it joins is cut off.
_LOOSE = " \u200d"


class NewIcon(Body):
    """A picture to add, by an absolute URL."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    url: Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://[^\s/?#][^\s]*$")]


class NewIcons(AccountRequest):
    """Pictures to add."""

    account_icon_url: Annotated[list[NewIcon], Field(min_length=1, max_length=AT_ONCE)]


class IconId(Body):
    """A picture by id."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class IconIds(AccountRequest):
    """Pictures to delete."""

    account_icon_url: Annotated[list[IconId], Field(min_length=1, max_length=AT_ONCE)]


class IconView(View):
    """A picture as it is listed."""

    id: str
    name: str
    url: str


class IconList(ListView):
    """A page of pictures."""

    data: list[IconView]


def save(request: NewIcons) -> None:
    """Add pictures, each under a new id."""
    writes: list[Write] = []
    for icon in request.account_icon_url:
        row = IconTable(account=request.partition, icon_id=str(uuid4()), icon_name=icon.name, url=icon.url)
        writes += [create(row), audit.entry(f"icon {row.icon_id}", before=None, after=_state(row))]
    commit(*writes)


def page(request: ListRequest) -> IconList:
    """Return a page of at most 1000 pictures of a channel, ordered by id."""
    rows, last_key = IconTable.query(request.partition, limit=_PAGE, after=request.start("icons"), consistent=True)
    return IconList(
        data=[IconView(id=row.icon_id, name=row.icon_name, url=row.url) for row in rows],
        last_evaluated_key=request.next_key("icons", last_key),
    )


def delete(request: IconIds) -> None:
    """Delete pictures, all of which must be there; scenarios that name them show the channel's own."""
    wanted = [icon.id for icon in request.account_icon_url]
    keys = [IconTable.key(request.partition, icon_id) for icon_id in dict.fromkeys(wanted)]
    found = {row.icon_id: row for row in map(IconTable.of_item, rows_of(IconTable, keys))}
    flaws = [
        Flaw(f"accountIconUrl[{place}].id", "is not an icon of this channel")
        for place, icon_id in enumerate(wanted)
        if icon_id not in found
    ]
    if flaws:
        raise Invalid(flaws)
    writes: list[Write] = []
    for row in found.values():
        writes.append(Delete(IconTable, row.own_key(), IconTable.icon_id.exists()))
        writes.append(audit.entry(f"icon {row.icon_id}", before=_state(row), after=None))
    commit(*writes)


def sender(partition: str, icon_id: str) -> dict[str, Any] | None:
    """Return the picture as LINE's `sender` of a message, None when it is gone or LINE would not take its URL."""
    # Whoever sends messages has loaded this already; whoever keeps pictures need not.
    from kernel.channels.line.validation import flaws_of_message

    row = IconTable.find(partition, icon_id, consistent=False) if 0 < len(icon_id) <= 64 else None
    if row is None:
        return None

    def taken(given: dict[str, str]) -> bool:
        return not flaws_of_message({"type": "text", "text": "x", "sender": given})

    picture = {"iconUrl": row.url}
    if not taken(picture):
        return None
    # LINE takes 20 UTF-16 units, and not the word LINE.
    name = " ".join(_LINE.sub(" ", row.icon_name).split())
    for length in range(len(name), 0, -1):
        named = {"name": name[:length].rstrip(_LOOSE), **picture}
        if taken(named):
            return named
    return picture


def _state(row: IconTable) -> dict[str, str]:
    return {"name": row.icon_name, "url": row.url}
