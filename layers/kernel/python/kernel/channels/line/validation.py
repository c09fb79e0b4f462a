"""Tells what LINE would refuse in a message, before it is sent.

The shapes come from LINE's OpenAPI document (`schema`), the limits from its Messaging API reference
(https://developers.line.biz/en/reference/messaging-api/), whose sections the comments below name.
Where neither says anything, a value passes.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from kernel.channels.line.schema import SCHEMAS, Property, Schema
from kernel.errors import Flaw

MOST_FLAWS = 100
MOST_LEVELS = 40

# LINE says KB without saying which; the smaller one is safe either way.
BUBBLE_KILOBYTES = 30
CAROUSEL_KILOBYTES = 50


Json = dict[str, Any]
Check = Callable[[Any], Iterable[str]]
Whole = Callable[[Json, str], Iterator[Flaw]]

_CALL: Property = {"type": "array", "min": 1, "max": 5, "items": {"ref": "Message"}}


def flaws_of_messages(messages: object) -> list[Flaw]:
    """Return what is wrong with the messages of one call (Messaging API reference, Send reply message)."""
    return _first(_flaws(messages, _CALL, "", 1))


def flaws_of_message(message: object, path: str = "") -> list[Flaw]:
    """Return what is wrong with a message (Messaging API reference, Message objects)."""
    return _first(_flaws(message, {"ref": "Message"}, path, 1))


def flaws_of_flex_container(container: object, path: str = "") -> list[Flaw]:
    """Return what is wrong with a bubble or a carousel (Messaging API reference, Container)."""
    return _first(_flaws(container, {"ref": "FlexContainer"}, path, 1))


def flaws_of_quick_reply(quick_reply: object, path: str = "") -> list[Flaw]:
    """Return what is wrong with quick reply buttons (Messaging API reference, Quick reply)."""
    return _first(_flaws(quick_reply, {"ref": "QuickReply"}, path, 1))


def _first(flaws: Iterator[Flaw]) -> list[Flaw]:
    return list(islice(flaws, MOST_FLAWS))


# Walking the schemas


def _flaws(
    value: object,
    expected: Property,
    path: str,
    level: int,
    check: Check | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[Flaw]:
    if value is None:
        yield Flaw(path, "must not be null")
    elif level > MOST_LEVELS and isinstance(value, dict | list):
        yield Flaw(path, f"is nested deeper than {MOST_LEVELS} levels")
    elif "ref" in expected:
        yield from _flaws_of_object(value, SCHEMAS[expected["ref"]], expected["ref"], path, level)
    elif "items" in expected:
        least, most = size or (expected.get("min", 0), expected.get("max"))
        yield from _flaws_of_array(value, expected["items"], path, level, least, most)
    elif "values" in expected:
        yield from _flaws_of_map(value, expected["values"], path, level, size)
    else:
        for message in _CHECKS_OF_TYPE[expected["type"]](value, expected, check):
            yield Flaw(path, message)


def _flaws_of_array(
    value: object, item: Property, path: str, level: int, least: int, most: int | None
) -> Iterator[Flaw]:
    if not isinstance(value, list):
        yield Flaw(path, "must be an array")
        return
    if most is not None and not least <= len(value) <= most:
        yield Flaw(path, f"must hold {_range(least, most)} items")
    for index, element in enumerate(value[:most]):
        yield from _flaws(element, item, f"{path}[{index}]", level + 1)


def _flaws_of_map(
    value: object, member: Property, path: str, level: int, size: tuple[int, int] | None
) -> Iterator[Flaw]:
    if not isinstance(value, dict):
        yield Flaw(path, "must be an object")
        return
    if size and len(value) > size[1]:
        yield Flaw(path, f"must hold {_range(*size)} properties")
    for key, element in value.items():
        yield from _flaws(element, member, _at(path, key), level + 1)


def _flaws_of_object(value: object, schema: Schema, name: str, path: str, level: int) -> Iterator[Flaw]:
    row = _REFERENCE.get(name, _NOTHING_MORE)
    if not isinstance(value, dict):
        yield Flaw(path, "must be an object")
        return
    if "mapping" in schema:
        yield from _flaws_by_type(value, schema["mapping"], path, level)
    else:
        for key, member in value.items():
            expected = schema["properties"].get(key)
            if expected is None:
                yield Flaw(_at(path, key), f"is not a property of {schema['name']}")
            else:
                where = _at(path, key)
                yield from _flaws(member, expected, where, level + 1, row.checks.get(key), row.sizes.get(key))
        for key in dict.fromkeys(schema["required"] + row.required):
            if key not in value:
                yield Flaw(_at(path, key), "is required")
    for key, place in row.actions.items():
        yield from _flaws_of_place(value.get(key), place, _at(path, key))
    if row.whole:
        yield from row.whole(value, path)


def _flaws_by_type(value: Json, mapping: Mapping[str, str], path: str, level: int) -> Iterator[Flaw]:
    where = _at(path, "type")
    if "type" not in value:
        yield Flaw(where, "is required")
        return
    known: Property = {"type": "string", "enum": tuple(mapping)}
    unknown = next(_flaws(value["type"], known, where, level), None)
    if unknown:
        yield unknown
    else:
        name = mapping[value["type"]]
        yield from _flaws_of_object(value, SCHEMAS[name], name, path, level)


def _at(path: str, key: str) -> str:
    if key.isascii() and key.isidentifier() and len(key) <= 40:
        return f"{path}.{key}" if path else key
    return f"{path}[{key if len(key) <= 40 else key[:39] + '…'!r}]"


def _range(least: int, most: int) -> str:
    if least == most:
        return f"exactly {most}"
    return f"{least} to {most}" if least else f"at most {most}"


# Checks of one value


def _check_string(value: object, expected: Property, check: Check | None) -> Iterable[str]:
    if not isinstance(value, str):
        return ("must be a string",)
    try:
        value.encode()
    except UnicodeEncodeError:
        return ("must not hold half of a surrogate pair",)
    if "enum" in expected:
        return _one_of(*expected["enum"])(value)
    if check is None and "max" in expected:
        check = _text(expected["max"], least=expected.get("min", 0))
    return check(value) if check else ()


def _check_integer(value: object, expected: Property, check: Check | None) -> Iterable[str]:
    # To Python a bool is an int.
    if not isinstance(value, int) or isinstance(value, bool):
        return ("must be an integer",)
    bound = 2**31 if expected.get("format") == "int32" else 2**63
    if not -bound <= value < bound:
        return (f"must be between {-bound} and {bound - 1}",)
    return check(value) if check else ()


def _check_number(value: object, _expected: Property, check: Check | None) -> Iterable[str]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ("must be a number",)
    return check(value) if check else ()


def _check_boolean(value: object, _expected: Property, _check: Check | None) -> Iterable[str]:
    return () if isinstance(value, bool) else ("must be true or false",)


_CHECKS_OF_TYPE: dict[str, Callable[[object, Property, Check | None], Iterable[str]]] = {
    "string": _check_string,
    "integer": _check_integer,
    "number": _check_number,
    "boolean": _check_boolean,
}


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _one_of(*words: str) -> Check:
    expected = f"must be one of {_quoted(words)}" if len(words) > 1 else f"must be '{words[0]}'"
    return lambda word: () if word in words else (expected,)


def _between(low: float, high: float) -> Check:
    return lambda number: () if low <= number <= high else (f"must be between {low} and {high}",)


def _at_least(low: int) -> Check:
    return lambda number: () if number >= low else (f"must be at least {low}",)


def _exactly(number: int) -> Check:
    return lambda value: () if value == number else (f"must be {number}",)


# Character counting in a text, https://developers.line.biz/en/docs/messaging-api/text-character-count/


def _utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


# Unicode joins these to the character before though their category doesn't say so: zero width
# (non-)joiner, half-width kana voicing marks, Thai and Lao AM.
_JOINED = frozenset("\u200c\u200d\uff9e\uff9f\u0e33\u0eb3")


def _graphemes(text: str) -> int:
    """Count what one reads as one character, close to Unicode's extended grapheme clusters.

    These count as one: a base with its combining marks, variation selector, skin tone or tags; emojis
    around a zero width joiner; a pair of regional indicators; the jamo of a syllable; CR LF. Prepended
    marks and Indic conjuncts aren't joined, so such texts count higher than they read.
    """
    count = 0
    previous = ""
    pictograph = half_flag = False
    for character in text:
        code = ord(character)
        regional = 0x1F1E6 <= code <= 0x1F1FF
        joined = bool(previous) and (
            character in _JOINED
            or unicodedata.category(character) in ("Mn", "Mc", "Me")
            or 0x1F3FB <= code <= 0x1F3FF
            or 0xE0020 <= code <= 0xE007F
            or (0x1160 <= code <= 0x11FF and _is_hangul(previous))
            or (previous == "\u200d" and pictograph and _is_pictograph(character))
            or (regional and half_flag)
            or (previous == "\r" and character == "\n")
        )
        if not joined:
            count += 1
            pictograph = _is_pictograph(character)
        half_flag = regional and not joined
        previous = character
    return count


def _is_hangul(character: str) -> bool:
    return "\u1100" <= character <= "\u11ff" or "\uac00" <= character <= "\ud7a3"


def _is_pictograph(character: str) -> bool:
    # The range holds emojis that are younger than this Python's Unicode tables.
    return unicodedata.category(character) in ("So", "Sm") or 0x1F000 <= ord(character) <= 0x1FAFF


def _text(most: int, count: Callable[[str], int] = _utf16_units, least: int = 1) -> Check:
    # Nobody reads graphemes of that many code points, and counting them is slow.
    longest = 40 * most

    def check(text: str) -> Iterator[str]:
        if len(text) < least:
            yield "must not be empty"
        if len(text) > longest or (2 * len(text) > most and count(text) > most):
            yield f"must be at most {most} characters"

    return check


def _filled(text: str) -> Iterator[str]:
    if not text:
        yield "must not be empty"


def _word(most: int, symbols: str) -> Check:
    def check(text: str) -> Iterator[str]:
        yield from _text(most)(text)
        rest = text.translate(dict.fromkeys(map(ord, symbols)))
        if rest and not (rest.isascii() and rest.isalnum()):
            yield f"must be made of half-width letters, digits and {symbols}"

    return check


# About the encoding of a URL specified in a request body property

_HEX = frozenset("0123456789abcdefABCDEF")
_NEVER_IN_URLS = frozenset(' "<>\\^`{|}')


def _is_percent_encoded(url: str) -> bool:
    return (
        url.isascii()
        and url.isprintable()
        and _NEVER_IN_URLS.isdisjoint(url)
        and all(len(part) > 1 and _HEX.issuperset(part[:2]) for part in url.split("%")[1:])
    )


def _url(most: int, *starts: str) -> Check:
    def check(url: str) -> Iterator[str]:
        start = next((start for start in starts if url[: len(start)].lower() == start), None)
        if start is None or url[len(start) : len(start) + 1] in ("", "/", "?", "#"):
            yield f"must be a URL that starts with {' or '.join(starts)}"
        if len(url) > most:
            yield f"must be at most {most} characters"
        elif not _is_percent_encoded(url):
            yield "must be percent-encoded"

    return check


_MEDIA_URL = _url(2000, "https://")
_TAP_URL = _url(1000, "http://", "https://", "line://", "tel:")


# Common properties for messages; Quick reply; Customize icon and display name


def _sender_name(name: str) -> Iterator[str]:
    yield from _text(20)(name)
    words = "".join(character if character.isascii() and character.isalnum() else " " for character in name)
    if "line" in words.lower().split():
        yield "must not contain the word LINE"


# Text message; Text message (v2)

_MOST_TEXT = 5000
_MOST_EMOJIS = 20


def _emojis_on_dollars(message: Json, path: str) -> Iterator[Flaw]:
    text, emojis = message.get("text"), message.get("emojis")
    if not isinstance(text, str) or not isinstance(emojis, list):
        return
    units = text.encode("utf-16-le", "surrogatepass")
    for position, emoji in enumerate(emojis[:_MOST_EMOJIS]):
        index = emoji.get("index") if isinstance(emoji, dict) else None
        if type(index) is int and index >= 0 and units[2 * index : 2 * index + 2] != b"$\0":
            yield Flaw(f"{_at(path, 'emojis')}[{position}].index", "must be the position of a $ in text")


def _substituted(message: Json, path: str) -> Iterator[Flaw]:
    text, substitution = message.get("text"), message.get("substitution", {})
    if not isinstance(substitution, dict):
        return
    for key in substitution:
        if not (0 < len(key) <= 20 and key.isascii() and key.replace("_", "0").isalnum()):
            where = _at(_at(path, "substitution"), key)
            yield Flaw(where, "must be named with 1 to 20 half-width letters, digits and _")
    if not isinstance(text, str) or len(text) > _MOST_TEXT:
        return
    where = _at(path, "text")
    names, paired = _placeholders(text)
    if not paired:
        yield Flaw(where, "must pair { with }, and double those that are to be read")
    for name in dict.fromkeys(names):
        if name not in substitution:
            yield Flaw(where, f"must not name {name[:20]!r}, which substitution lacks")
    kinds = [member.get("type") for member in map(substitution.get, names) if isinstance(member, dict)]
    for kind in ("mention", "emoji"):
        if kinds.count(kind) > _MOST_EMOJIS:
            yield Flaw(where, f"must hold at most {_MOST_EMOJIS} {kind}s")


def _placeholders(text: str) -> tuple[list[str], bool]:
    names: list[str] = []
    position = 0
    while position < len(text):
        if text[position] not in "{}":
            position += 1
        elif text[position : position + 2] in ("{{", "}}"):
            position += 2
        else:
            end = text.find("}", position)
            if end <= position:
                return names, False
            names.append(text[position + 1 : end])
            position = end + 1
    return names, True


# Action objects; Specifications of the label


class _Place(NamedTuple):
    types: tuple[str, ...]
    label: int
    label_required: bool


_ANYWHERE = ("clipboard", "datetimepicker", "message", "postback", "uri")
_IN_QUICK_REPLY = _Place((*_ANYWHERE, "camera", "cameraRoll", "location"), 20, True)
_IN_TEMPLATE = _Place(_ANYWHERE, 20, True)
# The reference doesn't say whether the table's "required" holds for an action that shows no label.
_BEHIND_TEMPLATE = _Place(_ANYWHERE, 20, False)
_IN_IMAGE_CAROUSEL = _Place(_ANYWHERE, 12, False)
_IN_FLEX_BUTTON = _Place(_ANYWHERE, 40, True)
_IN_FLEX = _Place(_ANYWHERE, 40, False)
_IN_FLEX_VIDEO = _Place(("uri",), 40, False)


def _flaws_of_place(actions: object, place: _Place, path: str) -> Iterator[Flaw]:
    if isinstance(actions, list):
        for index, action in enumerate(actions):
            yield from _flaws_of_place(action, place, f"{path}[{index}]")
        return
    if not isinstance(actions, dict) or actions.get("type") not in _ACTIONS:
        return
    if actions["type"] not in place.types:
        for message in _one_of(*place.types)(actions["type"]):
            yield Flaw(_at(path, "type"), f"{message} here")
    label = actions.get("label")
    if isinstance(label, str):
        for message in _text(place.label, _graphemes, least=int(place.label_required))(label):
            yield Flaw(_at(path, "label"), message)
    elif place.label_required and "label" not in actions:
        yield Flaw(_at(path, "label"), "is required")


_ACTIONS = tuple(SCHEMAS["Action"]["mapping"])


def _displayed_once(action: Json, path: str) -> Iterator[Flaw]:
    if "displayText" in action and "text" in action:
        yield Flaw(_at(path, "text"), "must not stand beside displayText")


# Datetime picker action; Date and time format


def _is_date(text: str) -> bool:
    year, month, day = text[:4], text[5:7], text[8:]
    if text[4:5] + text[7:8] != "--" or not (year + month + day).isdecimal() or not text.isascii():
        return False
    leap = int(year) % 4 == 0 and (int(year) % 100 != 0 or int(year) % 400 == 0)
    days = {2: 29 if leap else 28, 4: 30, 6: 30, 9: 30, 11: 30}.get(int(month), 31)
    return 1900 <= int(year) <= 2100 and 1 <= int(month) <= 12 and len(day) == 2 and 1 <= int(day) <= days


def _is_time(text: str) -> bool:
    hour, minute = text[:2], text[3:]
    if text[2:3] != ":" or len(text) != 5 or not (hour + minute).isdecimal() or not text.isascii():
        return False
    return int(hour) <= 23 and int(minute) <= 59


def _is_date_and_time(text: str) -> bool:
    return text[10:11] in ("T", "t") and _is_date(text[:10]) and _is_time(text[11:])


_MOMENTS: dict[str, tuple[Callable[[str], bool], str]] = {
    "date": (_is_date, "must be a date from 1900 to 2100 such as 2026-01-31"),
    "time": (_is_time, "must be a time such as 23:59"),
    "datetime": (_is_date_and_time, "must be a date and time from 1900 to 2100 such as 2026-01-31T23:59"),
}


def _picked(action: Json, path: str) -> Iterator[Flaw]:
    mode = action.get("mode")
    if mode not in ("date", "time", "datetime"):
        return
    is_moment, expected = _MOMENTS[mode]
    moments = {key: action[key] for key in ("initial", "max", "min") if isinstance(action.get(key), str)}
    wrong = [key for key, moment in moments.items() if not is_moment(moment)]
    for key in wrong:
        yield Flaw(_at(path, key), expected)
    if not wrong and {"max", "min"} <= moments.keys() and moments["max"].upper() <= moments["min"].upper():
        yield Flaw(_at(path, "max"), "must be later than min")


# Template messages


def _template_text(most: int) -> Whole:
    alone, beside = _text(most, _graphemes), _text(60, _graphemes)

    def check(part: Json, path: str) -> Iterator[Flaw]:
        text = part.get("text")
        if isinstance(text, str):
            for message in (beside if "title" in part or "thumbnailImageUrl" in part else alone)(text):
                yield Flaw(_at(path, "text"), message)

    return check


def _columns_alike(template: Json, path: str) -> Iterator[Flaw]:
    listed = template.get("columns")
    columns = {
        f"{_at(path, 'columns')}[{index}]": column
        for index, column in enumerate(listed[:10] if isinstance(listed, list) else ())
        if isinstance(column, dict)
    }
    first = None
    for where, column in columns.items():
        if isinstance(column.get("actions"), list):
            first = column["actions"] if first is None else first
            if len(column["actions"]) != len(first):
                yield Flaw(_at(where, "actions"), "must hold as many items as in the first column")
    for key in ("thumbnailImageUrl", "title"):
        if any(key in column for column in columns.values()):
            for where, column in columns.items():
                if key not in column:
                    yield Flaw(_at(where, key), "is required as another column has one")


# Flex Message

_RGB = "#RRGGBB"
_RGBA = "#RRGGBBAA"


def _color(*examples: str) -> Check:
    expected = f"must be a color such as {' or '.join(examples)}"
    lengths = [len(example) for example in examples]

    def check(color: str) -> Iterator[str]:
        if not color.startswith("#") or len(color) not in lengths or not _HEX.issuperset(color[1:]):
            yield expected

    return check


def _is_decimal(text: str) -> bool:
    digits = text.replace(".", "", 1)
    return digits.isascii() and digits.isdigit()


def _size(*keywords: str, units: tuple[str, ...] = ("px",), negative: bool = False) -> Check:
    expected = f"must be a size such as {' or '.join(f'10{unit}' for unit in units)}"
    if keywords:
        expected += f", or one of {_quoted(keywords)}"

    def check(size: str) -> Iterator[str]:
        number = next((size.removesuffix(unit) for unit in units if size.endswith(unit)), "")
        if size not in keywords and not _is_decimal(number.removeprefix("-") if negative else number):
            yield expected

    return check


def _ratio(ratio: str) -> Iterator[str]:
    parts = ratio.split(":")
    width, height = map(float, parts) if len(parts) == 2 and all(map(_is_decimal, parts)) else (0, 0)
    if not (1 <= width <= 100_000 and 1 <= height <= 100_000):
        yield "must be a ratio such as 20:13, of numbers between 1 and 100000"
    elif height > 3 * width:
        yield "must not be more than three times as high as wide"


def _angle(angle: str) -> Iterator[str]:
    number = angle.removesuffix("deg")
    if number == angle or not _is_decimal(number) or float(number) >= 360:
        yield "must be an angle from 0deg to below 360deg"


def _percentage(percentage: str) -> Iterator[str]:
    number = percentage.removesuffix("%")
    if number == percentage or not _is_decimal(number) or float(number) > 100:
        yield "must be a percentage from 0% to 100%"


def _json_bytes(value: object) -> int:
    total = 0
    values = [value]
    while values:
        part = values.pop()
        if isinstance(part, str):
            total += 2 + len(part.encode("utf-8", "surrogatepass")) + sum(_ESCAPES.get(letter, 0) for letter in part)
        elif isinstance(part, dict):
            total += 2 + max(0, 2 * len(part) - 1)
            values.extend([*part, *part.values()])
        elif isinstance(part, list):
            total += 2 + max(0, len(part) - 1)
            values.extend(part)
        elif isinstance(part, int) and part.bit_length() > 64:
            # Python doesn't print an integer of more than 4300 digits.
            total += part.bit_length()
        else:
            total += len(repr(part))
    return total


_ESCAPES = {chr(code): 5 for code in range(32)} | dict.fromkeys('"\\\b\f\n\r\t', 1)


def _small(container: Json, path: str, kilobytes: int) -> Iterator[Flaw]:
    if _json_bytes(container) > 1000 * kilobytes:
        yield Flaw(path, f"must be at most {kilobytes} KB of JSON")


def _few_animated(container: Json, path: str) -> Iterator[Flaw]:
    animated = 0
    values: list[object] = [container]
    while values:
        part = values.pop()
        if isinstance(part, dict):
            animated += part.get("type") == "image" and part.get("animated") is True
            values.extend(part.values())
        elif isinstance(part, list):
            values.extend(part)
    if animated > 10:
        yield Flaw(path, "must hold at most 10 animated images")


def _component(component: object, types: tuple[str, ...], path: str, where: str) -> Iterator[Flaw]:
    if isinstance(component, dict) and component.get("type") in _COMPONENTS:
        for message in _one_of(*types)(component["type"]):
            yield Flaw(_at(path, "type"), f"{message} {where}")


_COMPONENTS = tuple(SCHEMAS["FlexComponent"]["mapping"])
_IN_BASELINE = ("icon", "text", "filler")
_IN_BOX = ("box", "button", "image", "text", "separator", "filler")


def _box(box: Json, path: str) -> Iterator[Flaw]:
    layout, contents = box.get("layout"), box.get("contents")
    if layout not in ("baseline", "horizontal", "vertical") or not isinstance(contents, list):
        return
    types = _IN_BASELINE if layout == "baseline" else _IN_BOX
    for index, component in enumerate(contents):
        yield from _component(component, types, f"{_at(path, 'contents')}[{index}]", f"in a {layout} box")


def _flex_text(text: Json, path: str) -> Iterator[Flaw]:
    if text.get("contents"):
        return
    if "text" not in text:
        yield Flaw(_at(path, "text"), "is required unless contents holds spans")
    elif text["text"] == "":
        yield Flaw(_at(path, "text"), "must not be empty")


def _video(video: Json, path: str) -> Iterator[Flaw]:
    yield from _component(video.get("altContent"), ("box", "image"), _at(path, "altContent"), "as altContent")


def _bubble(bubble: Json, path: str) -> Iterator[Flaw]:
    yield from _small(bubble, path, BUBBLE_KILOBYTES)
    hero = bubble.get("hero")
    yield from _component(hero, ("box", "image", "video"), _at(path, "hero"), "as hero")
    if _is_video(hero) and bubble.get("size") in ("nano", "micro", "deca", "hecto"):
        yield Flaw(_at(path, "size"), "must be one of 'kilo', 'mega', 'giga' around a video")


def _is_video(component: object) -> bool:
    return isinstance(component, dict) and component.get("type") == "video"


def _carousel(carousel: Json, path: str) -> Iterator[Flaw]:
    yield from _small(carousel, path, CAROUSEL_KILOBYTES)
    contents = carousel.get("contents")
    bubbles = contents[:12] if isinstance(contents, list) else []
    sizes = [bubble.get("size", "mega") for bubble in bubbles if isinstance(bubble, dict)]
    for index, bubble in enumerate(bubbles):
        if isinstance(bubble, dict):
            where = f"{_at(path, 'contents')}[{index}]"
            if bubble.get("size", "mega") != sizes[0]:
                yield Flaw(_at(where, "size"), "must be the size of the first bubble")
            if _is_video(bubble.get("hero")):
                yield Flaw(_at(_at(where, "hero"), "type"), "must be one of 'box', 'image' in a carousel")


# What the reference adds to each schema


class _Row(NamedTuple):
    required: tuple[str, ...] = ()
    checks: Mapping[str, Check] = {}
    sizes: Mapping[str, tuple[int, int]] = {}
    actions: Mapping[str, _Place] = {}
    whole: Whole | None = None


_NOTHING_MORE = _Row()

_COLOR = _color(_RGB, _RGBA)
_TEMPLATE_IMAGE: dict[str, Check] = {
    "imageAspectRatio": _one_of("rectangle", "square"),
    "imageSize": _one_of("cover", "contain"),
}
_TEMPLATE_PART: dict[str, Check] = {
    "thumbnailImageUrl": _MEDIA_URL,
    "imageBackgroundColor": _color(_RGB),
    "title": _text(40, _graphemes),
}

# Flex Message layout, https://developers.line.biz/en/docs/messaging-api/flex-message-layout/
_STEPS = ("xs", "sm", "md", "lg", "xl", "xxl")
_FONT_SIZES = ("xxs", *_STEPS, "3xl", "4xl", "5xl")
_GAP = _size("none", *_STEPS)
_FONT = _size(*_FONT_SIZES)
_LENGTH = _size(units=("px", "%"))
_PADDING = _size("none", *_STEPS, units=("px", "%"))
# LINE's own samples hold offsets such as -2px.
_OFFSET = _size("none", *_STEPS, units=("px", "%"), negative=True)
_PLACED: dict[str, Check] = {
    "margin": _GAP,
    **dict.fromkeys(("offsetTop", "offsetBottom", "offsetStart", "offsetEnd"), _OFFSET),
}
_STRETCHED: dict[str, Check] = {"flex": _at_least(0), **_PLACED}

_REFERENCE: dict[str, _Row] = {
    "QuickReply": _Row(("items",), sizes={"items": (1, 13)}),
    "QuickReplyItem": _Row(
        ("type", "action"),
        {"type": _one_of("action"), "imageUrl": _MEDIA_URL},
        actions={"action": _IN_QUICK_REPLY},
    ),
    "Sender": _Row(checks={"name": _sender_name, "iconUrl": _MEDIA_URL}),
    "TextMessage": _Row(
        checks={"text": _text(_MOST_TEXT), "quoteToken": _filled},
        sizes={"emojis": (0, _MOST_EMOJIS)},
        whole=_emojis_on_dollars,
    ),
    "Emoji": _Row(
        ("index", "productId", "emojiId"),
        {"index": _at_least(0), "productId": _filled, "emojiId": _filled},
    ),
    "TextMessageV2": _Row(
        checks={"text": _text(_MOST_TEXT), "quoteToken": _filled},
        sizes={"substitution": (0, 100)},
        whole=_substituted,
    ),
    "UserMentionTarget": _Row(checks={"userId": _filled}),
    "EmojiSubstitutionObject": _Row(checks={"productId": _filled, "emojiId": _filled}),
    "StickerMessage": _Row(checks={"packageId": _filled, "stickerId": _filled, "quoteToken": _filled}),
    "ImageMessage": _Row(checks={"originalContentUrl": _MEDIA_URL, "previewImageUrl": _MEDIA_URL}),
    "VideoMessage": _Row(
        checks={
            "originalContentUrl": _MEDIA_URL,
            "previewImageUrl": _MEDIA_URL,
            "trackingId": _word(100, "-.=,+*()%$&;:@{}!?<>[]"),
        }
    ),
    "AudioMessage": _Row(checks={"originalContentUrl": _MEDIA_URL, "duration": _at_least(0)}),
    "LocationMessage": _Row(
        checks={
            "title": _text(100),
            "address": _text(100),
            "latitude": _between(-90, 90),
            "longitude": _between(-180, 180),
        }
    ),
    "CouponMessage": _Row(checks={"couponId": _filled, "deliveryTag": _word(30, "_")}),
    "ImagemapMessage": _Row(
        checks={"baseUrl": _MEDIA_URL, "altText": _text(1500)},
        sizes={"actions": (0, 50)},
    ),
    "ImagemapBaseSize": _Row(checks={"width": _exactly(1040), "height": _at_least(1)}),
    "ImagemapVideo": _Row(
        ("originalContentUrl", "previewImageUrl", "area"),
        {"originalContentUrl": _MEDIA_URL, "previewImageUrl": _MEDIA_URL},
    ),
    "ImagemapExternalLink": _Row(("linkUri", "label"), {"linkUri": _TAP_URL, "label": _text(30)}),
    "ImagemapArea": _Row(checks={"x": _at_least(0), "y": _at_least(0), "width": _at_least(1), "height": _at_least(1)}),
    "URIImagemapAction": _Row(checks={"linkUri": _TAP_URL, "label": _text(100, least=0)}),
    "MessageImagemapAction": _Row(checks={"text": _text(400), "label": _text(100, least=0)}),
    "ClipboardImagemapAction": _Row(checks={"label": _text(100, least=0)}),
    "TemplateMessage": _Row(checks={"altText": _text(1500)}),
    "ButtonsTemplate": _Row(
        checks=_TEMPLATE_IMAGE | _TEMPLATE_PART,
        sizes={"actions": (1, 4)},
        actions={"actions": _IN_TEMPLATE, "defaultAction": _BEHIND_TEMPLATE},
        whole=_template_text(160),
    ),
    "ConfirmTemplate": _Row(
        checks={"text": _text(240, _graphemes)},
        sizes={"actions": (2, 2)},
        actions={"actions": _IN_TEMPLATE},
    ),
    "CarouselTemplate": _Row(checks=_TEMPLATE_IMAGE, sizes={"columns": (1, 10)}, whole=_columns_alike),
    "CarouselColumn": _Row(
        checks=_TEMPLATE_PART,
        sizes={"actions": (1, 3)},
        actions={"actions": _IN_TEMPLATE, "defaultAction": _BEHIND_TEMPLATE},
        whole=_template_text(120),
    ),
    "ImageCarouselTemplate": _Row(sizes={"columns": (1, 10)}),
    "ImageCarouselColumn": _Row(checks={"imageUrl": _MEDIA_URL}, actions={"action": _IN_IMAGE_CAROUSEL}),
    "FlexMessage": _Row(checks={"altText": _text(1500)}),
    "FlexContainer": _Row(whole=_few_animated),
    "FlexBubble": _Row(actions={"action": _IN_FLEX}, whole=_bubble),
    "FlexCarousel": _Row(sizes={"contents": (1, 12)}, whole=_carousel),
    "FlexBlockStyle": _Row(checks={"backgroundColor": _COLOR, "separatorColor": _COLOR}),
    "FlexBox": _Row(
        checks={
            **_STRETCHED,
            "spacing": _GAP,
            "backgroundColor": _COLOR,
            "borderColor": _COLOR,
            "borderWidth": _size("none", "light", "normal", "medium", "semi-bold", "bold"),
            "cornerRadius": _size("none", *_STEPS),
            **dict.fromkeys(("width", "maxWidth", "height", "maxHeight"), _LENGTH),
            **dict.fromkeys(("paddingAll", "paddingTop", "paddingBottom", "paddingStart", "paddingEnd"), _PADDING),
        },
        actions={"action": _IN_FLEX},
        whole=_box,
    ),
    "FlexBoxLinearGradient": _Row(
        ("angle", "startColor", "endColor"),
        {
            "angle": _angle,
            "startColor": _COLOR,
            "endColor": _COLOR,
            "centerColor": _COLOR,
            "centerPosition": _percentage,
        },
    ),
    "FlexButton": _Row(checks=_STRETCHED | {"color": _COLOR}, actions={"action": _IN_FLEX_BUTTON}),
    "FlexImage": _Row(
        checks={
            **_STRETCHED,
            "url": _MEDIA_URL,
            "size": _size(*_FONT_SIZES, "full", units=("px", "%")),
            "aspectRatio": _ratio,
            "backgroundColor": _COLOR,
        },
        actions={"action": _IN_FLEX},
    ),
    "FlexVideo": _Row(
        checks={"url": _MEDIA_URL, "previewUrl": _MEDIA_URL, "aspectRatio": _ratio},
        actions={"action": _IN_FLEX_VIDEO},
        whole=_video,
    ),
    "FlexIcon": _Row(checks={**_PLACED, "url": _MEDIA_URL, "size": _FONT, "aspectRatio": _ratio}),
    "FlexText": _Row(
        checks={
            **_STRETCHED,
            "size": _FONT,
            "color": _COLOR,
            "lineSpacing": _size(),
            "maxLines": _at_least(0),
        },
        actions={"action": _IN_FLEX},
        whole=_flex_text,
    ),
    "FlexSpan": _Row(checks={"size": _FONT, "color": _COLOR}),
    "FlexSeparator": _Row(checks={"margin": _GAP, "color": _COLOR}),
    "FlexFiller": _Row(checks={"flex": _at_least(0)}),
    "PostbackAction": _Row(
        ("data",),
        dict.fromkeys(("displayText", "text", "fillInText"), _text(300, _graphemes, least=0)),
        whole=_displayed_once,
    ),
    "MessageAction": _Row(("text",), {"text": _text(300, _graphemes)}),
    "URIAction": _Row(("uri",), {"uri": _TAP_URL}),
    "AltUri": _Row(checks={"desktop": _TAP_URL}),
    "DatetimePickerAction": _Row(("data", "mode"), whole=_picked),
}
