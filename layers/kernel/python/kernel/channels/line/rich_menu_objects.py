"""Tells what LINE would refuse in a rich menu, before it is made (Messaging API reference, Rich menu object)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel.channels.line.validation import (
    MOST_FLAWS,
    Check,
    _at,
    _at_least,
    _between,
    _flaws,
    _flaws_of_place,
    _graphemes,
    _Place,
    _text,
)
from kernel.errors import Flaw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kernel.channels.line.schema import Property

MOST_AREAS = 20
# No label shows here; phones read it to people who cannot see the picture.
_IN_RICH_MENU = _Place(("clipboard", "datetimepicker", "message", "postback", "richmenuswitch", "uri"), 20, False)
_LEAST_RATIO = 1.45


class _Value(NamedTuple):
    expected: Property
    check: Check | None = None


_INTEGER: Property = {"type": "integer", "format": "int32"}
_MENU = {
    "size": None,
    "selected": _Value({"type": "boolean"}),
    "name": _Value({"type": "string"}, _text(300, _graphemes)),
    "chatBarText": _Value({"type": "string"}, _text(14, _graphemes)),
    "areas": None,
}
_SIZE = {"width": _Value(_INTEGER, _between(800, 2500)), "height": _Value(_INTEGER, _at_least(250))}
_AREA = {"bounds": None, "action": None}
_BOUNDS = {
    "x": _Value(_INTEGER, _at_least(0)),
    "y": _Value(_INTEGER, _at_least(0)),
    "width": _Value(_INTEGER, _at_least(1)),
    "height": _Value(_INTEGER, _at_least(1)),
}


def flaws_of_rich_menu(menu: object) -> list[Flaw]:
    """Return what is wrong with a rich menu, without an id, as `RichMenus.create` takes it."""
    return list(islice(_flaws_of_menu(menu), MOST_FLAWS))


def _flaws_of_menu(menu: object) -> Iterator[Flaw]:
    yield from _flaws_of_part(menu, "a rich menu", _MENU, "")
    if not isinstance(menu, dict):
        return
    size = menu.get("size")
    if "size" in menu:
        yield from _flaws_of_size(size)
    if "areas" not in menu:
        return
    areas = menu["areas"]
    if not isinstance(areas, list):
        yield Flaw("areas", "must be an array")
        return
    if len(areas) > MOST_AREAS:
        yield Flaw("areas", f"must hold at most {MOST_AREAS} items")
    for index, area in enumerate(areas[:MOST_AREAS]):
        yield from _flaws_of_area(area, size, f"areas[{index}]")


def _flaws_of_part(part: object, name: str, properties: Mapping[str, _Value | None], path: str) -> Iterator[Flaw]:
    """Check an object whose properties are all required; those without a value to expect are checked by the caller."""
    if not isinstance(part, dict):
        yield Flaw(path, "must be an object")
        return
    for key in part:
        if key not in properties:
            yield Flaw(_at(path, key), f"is not a property of {name}")
    for key, value in properties.items():
        if key not in part:
            yield Flaw(_at(path, key), "is required")
        elif value is not None:
            yield from _flaws(part[key], value.expected, _at(path, key), 1, value.check)


def _flaws_of_size(size: object) -> Iterator[Flaw]:
    yield from _flaws_of_part(size, "a size", _SIZE, "size")
    width, height = _integers(size, "width", "height")
    if width and height and width < _LEAST_RATIO * height:
        yield Flaw("size", f"must be at least {_LEAST_RATIO} times as wide as high")


def _flaws_of_area(area: object, size: object, path: str) -> Iterator[Flaw]:
    yield from _flaws_of_part(area, "an area", _AREA, path)
    if not isinstance(area, dict):
        return
    if "bounds" in area:
        yield from _flaws_of_bounds(area["bounds"], size, f"{path}.bounds")
    if "action" in area:
        yield from _flaws_of_action(area["action"], f"{path}.action")


def _flaws_of_bounds(bounds: object, size: object, path: str) -> Iterator[Flaw]:
    yield from _flaws_of_part(bounds, "bounds", _BOUNDS, path)
    for start, length in (("x", "width"), ("y", "height")):
        (whole,) = _integers(size, length)
        first, long = _integers(bounds, start, length)
        if whole is not None and first is not None and long is not None and first + long > whole:
            yield Flaw(f"{path}.{length}", f"must end inside the picture, which is {whole} in {length}")


def _flaws_of_action(action: object, path: str) -> Iterator[Flaw]:
    yield from _flaws(action, {"ref": "Action"}, path, 1)
    yield from _flaws_of_place(action, _IN_RICH_MENU, path)
    if isinstance(action, dict) and action.get("type") == "richmenuswitch":
        for key in ("richMenuAliasId", "data"):
            if key not in action:
                yield Flaw(_at(path, key), "is required")
        alias = action.get("richMenuAliasId")
        if isinstance(alias, str) and not _is_alias(alias):
            yield Flaw(_at(path, "richMenuAliasId"), "must be made of 1 to 32 of a-z, 0-9, _ and -")


def _is_alias(text: str) -> bool:
    return 0 < len(text) <= 32 and _ALIAS.issuperset(text)


_ALIAS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


def _integers(part: Any, *keys: str) -> list[int | None]:
    values = (part.get(key) if isinstance(part, dict) else None for key in keys)
    return [value if type(value) is int else None for value in values]
