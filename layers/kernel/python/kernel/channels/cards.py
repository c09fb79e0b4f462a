"""LINE messages taken apart, for channels that show the same with fewer means: a picture, texts and choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

Message = dict[str, Any]

# LINE fetches the picture of an imagemap under its widths (Messaging API reference, Imagemap message).
_IMAGEMAP_WIDTH = 1040
_UNNAMED = "…"


class Choice(NamedTuple):
    """What a person can choose: a link to open, a text to say, or data that comes back."""

    label: str
    kind: Literal["link", "text", "data"]
    value: str


class Card(NamedTuple):
    """One card: its picture's address or "", texts and choices in reading order, and what of it has no place here."""

    picture: str
    texts: list[str]
    choices: list[Choice]
    lost: list[str]


def plain_text(message: Message) -> str:
    """Return the text of a text message without the `$` that stand for LINE emojis (`index` counts UTF-16 units)."""
    units = message["text"].encode("utf-16-le", "surrogatepass")
    for index in sorted({emoji["index"] for emoji in message.get("emojis") or []}, reverse=True):
        if units[index * 2 : index * 2 + 2] == b"$\0":
            units = units[: index * 2] + units[index * 2 + 2 :]
    return str(units.decode("utf-16-le", "replace"))


def quick_choices(message: Message) -> tuple[list[Choice], list[str]]:
    """Return the quick replies of a message, and what of them has no place outside LINE."""
    choices, lost = [], []
    for item in _objects(_object(message.get("quickReply")).get("items")):
        choice = _choice(_object(item.get("action")))
        if isinstance(choice, Choice):
            choices.append(choice)
        else:
            lost.append(choice)
    return choices, lost


def cards(message: Message) -> list[Card]:
    """Return the cards of a flex message, an imagemap or a Facebook generic template; of any other message none."""
    match message["type"]:
        case "flex":
            contents = message["contents"]
            return [_bubble(one) for one in (contents["contents"] if contents["type"] == "carousel" else [contents])]
        case "imagemap":
            picture = f"{message['baseUrl']}/{_IMAGEMAP_WIDTH}"
            actions = message.get("actions") or []
            texts = [message["altText"]] if message["altText"].strip() else []
            return [Card(picture, texts + _numbers(actions), *_choices(actions))]
        case "fb_generic":
            return [_element(one) for one in _objects(elements(message))]
    return []


def elements(message: Message) -> list[Any]:
    """Return the elements of a Facebook generic template, given bare, as payload or as attachment.

    Nobody has checked it: its parts may be anything.
    """
    payload = _object((_object(message.get("attachment")) or message).get("payload")) or message
    found = payload.get("elements")
    return found if isinstance(found, list) else []


def web(address: Any) -> bool:
    """Tell whether an address opens in a browser."""
    try:
        parts = urlsplit(address)
    except (ValueError, AttributeError, TypeError):
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _object(value: Any) -> Message:
    return value if isinstance(value, dict) else {}


def _objects(values: Any) -> list[Message]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _choices(actions: list[Message]) -> tuple[list[Choice], list[str]]:
    found = [_choice(action) for action in actions if not _number(action)]
    lost = [one for one in found if isinstance(one, str)]
    return list(dict.fromkeys(one for one in found if isinstance(one, Choice))), lost


def _numbers(actions: list[Message]) -> list[str]:
    """Return a line for each action that calls a telephone: written out, a number can be dialled everywhere."""
    found = [(str(action.get("label") or "").strip(), _number(action)) for action in actions]
    return list(dict.fromkeys(f"{label}: {number}" if label else number for label, number in found if number))


def _number(action: Message) -> str:
    address = str(action.get("uri") or action.get("linkUri") or "")
    return address[4:].strip() if address.startswith("tel:") else ""


def _choice(action: Message) -> Choice | str:
    """Return what an action offers, or a sentence on why it is lost."""
    kind = action.get("type")
    label = str(action.get("label") or action.get("displayText") or "").strip()
    match kind:
        case "uri":
            address = str(action.get("uri") or action.get("linkUri") or "")
            if web(address):
                return Choice(label or str(urlsplit(address).hostname), "link", address)
            return f"The link '{label or address}' opens nothing outside LINE and is left out."
        case "message" if text := str(action.get("text") or "").strip():
            return Choice(label or text, "text", text)
        case "postback" if data := str(action.get("data") or ""):
            return Choice(label or _UNNAMED, "data", data)
    return f"The action '{label or kind}' of type {kind} has no counterpart and is left out."


def _bubble(bubble: Message) -> Card:
    parts = [part for block in ("header", "hero", "body", "footer") for part in _components(bubble.get(block))]
    texts = [text for text in map(_text, parts) if text]
    hero = bubble.get("hero") or {}
    pictures = [_picture(part) for part in ([hero] if hero.get("type") in ("image", "video") else []) + parts]
    pictures = list(dict.fromkeys(filter(web, pictures)))
    actions: list[Message] = []
    for part in [*parts, bubble]:
        if isinstance(part.get("action"), dict):
            # What can be tapped and has no label is named by what stands in it.
            inside = next(iter(texts), "") if part is bubble else next(filter(None, map(_text, _components(part))), "")
            actions.append({**part["action"], "label": part["action"].get("label") or inside})
    choices, lost = _choices(actions)
    if any(part.get("type") == "video" for part in parts):
        lost.append("The video of a card is shown as its preview picture.")
    if len(pictures) > 1:
        lost.append(f"Of {len(pictures)} pictures of a card only one is shown.")
    return Card(pictures[0] if pictures else "", texts + _numbers(actions), choices, lost)


def _components(part: Any) -> Iterator[Message]:
    if not isinstance(part, dict):
        return
    yield part
    # The contents of a text are spans, which are part of it.
    if part.get("type") != "text":
        for inner in part.get("contents") or []:
            yield from _components(inner)


def _text(part: Message) -> str:
    if part.get("type") != "text":
        return ""
    spans = "".join(str(span.get("text") or "") for span in part.get("contents") or [])
    return (spans or str(part.get("text") or "")).strip()


def _picture(part: Message) -> str:
    return str((part.get("type") == "image" and part.get("url")) or part.get("previewUrl") or "")


def _element(element: Message) -> Card:
    tap = _object(element.get("default_action"))
    actions = [{"type": "uri", "uri": tap.get("url"), "label": element.get("title")}] if tap else []
    for button in _objects(element.get("buttons")):
        match button.get("type"):
            case "web_url":
                actions.append({"type": "uri", "uri": button.get("url"), "label": button.get("title")})
            case "postback":
                actions.append({"type": "postback", "data": button.get("payload"), "label": button.get("title")})
            case kind:
                actions.append({"type": kind, "label": button.get("title")})
    choices, lost = _choices(actions)
    given = [element.get("title"), element.get("subtitle")]
    texts = [text.strip() for text in given if isinstance(text, str) and text.strip()]
    picture = str(element.get("image_url") or "")
    return Card(picture if web(picture) else "", texts, choices, lost)
