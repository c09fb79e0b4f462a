"""Nodes as LINE messages, with the user's variables filled into `{{name}}`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

Message = dict[str, Any]

PLACEHOLDER = re.compile(r"\{\{([^{}]{1,100})\}\}")
# Only what people read or what leads on is filled; ids, URLs of media and layout stay as saved.
_FILLED = frozenset(
    {"text", "altText", "label", "uri", "linkUri", "data", "displayText", "fillInText", "title", "subtitle", "payload"}
)
_LINKS = frozenset({"uri", "linkUri"})
_ORDER_ID = "OrderId"
# What an imagemap of 1040 x 1040 answers by layout (contract, saveScenario: geometry by decision).
IMAGEMAP_AREAS: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "A": {"A": (0, 0, 1040, 1040)},
    "B": {"A": (0, 0, 520, 1040), "B": (520, 0, 520, 1040)},
    "C": {"A": (0, 0, 1040, 520), "B": (0, 520, 1040, 520)},
    "D": {"A": (0, 0, 1040, 586), "B": (0, 586, 520, 454), "C": (520, 586, 520, 454)},
    "E": {
        "A": (0, 0, 520, 520),
        "B": (520, 0, 520, 520),
        "C": (0, 520, 520, 520),
        "D": (520, 520, 520, 520),
    },
}
_TEXT_UNITS = 5000
_ALT_TEXT_UNITS = 1500


def message_of(node: dict[str, Any]) -> Message | None:
    """Return the node as one LINE message, None when it shows nothing: a condition, or a sticker without ids.

    Only Messenger can show a generic template of its own (`fb_generic`). The template's structure must be sound (see
    graph.py); placeholders are still in place.
    """
    template = node["template"]
    match node["type"]:
        case "text":
            return _with_quick_reply(template, _text(template))
        case "input" | "flex":
            bubble = {name: value for name, value in template.items() if name != "quickReply"}
            return _with_quick_reply(template, {"type": "flex", "altText": _alt_text(node, bubble), "contents": bubble})
        case "image" | "video":
            names = ("type", "originalContentUrl", "previewImageUrl")
            return _with_quick_reply(template, {name: template[name] for name in names if name in template})
        case "sticker" if template.get("packageId") and template.get("stickerId"):
            sticker = {name: str(template[name]) for name in ("packageId", "stickerId")}
            return _with_quick_reply(template, {"type": "sticker", **sticker})
        case "imagemap":
            return _with_quick_reply(template, _imagemap(template))
        case "fb_generic" if template:
            return {**template, "type": "fb_generic"}
    return None


def _with_quick_reply(template: dict[str, Any], message: Message) -> Message:
    return {**message, "quickReply": template["quickReply"]} if "quickReply" in template else message


def _text(template: dict[str, Any]) -> Message:
    emojis = template.get("emojis") or []
    listed = [emojis] if isinstance(emojis, dict) else emojis
    message: Message = {"type": "text", "text": template["text"]}
    return {**message, "emojis": listed} if listed else message


def _alt_text(node: dict[str, Any], bubble: dict[str, Any]) -> str:
    """Return what notifications show: title, else the first text of the bubble."""
    return clipped(str(node.get("title") or _first_text(bubble) or "…"), _ALT_TEXT_UNITS)


def _first_text(value: Any) -> str:
    if isinstance(value, dict):
        if value.get("type") == "text" and isinstance(value.get("text"), str) and value["text"].strip():
            return str(value["text"])
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            if found := _first_text(inner):
                return found
    return ""


def _imagemap(template: dict[str, Any]) -> Message:
    size = template["baseSize"]
    areas = IMAGEMAP_AREAS[template["layout"]]
    actions = []
    for option in template["areaOptions"]:
        x, y, width, height = areas[option["label"]]
        goal = {"linkUri": option["url"]} if option["type"] == "uri" else {"text": option["text"]}
        area = {"x": x, "y": y, "width": width, "height": height}
        actions.append({"type": option["type"], **goal, "area": area})
    return {
        "type": "imagemap",
        "baseUrl": template["baseUrl"],
        "altText": template["altText"],
        "baseSize": {"width": int(size["width"]), "height": int(size["height"])},
        "actions": actions,
    }


def filled(message: Message, variable: Callable[[str], str]) -> Message:
    """Return the message with placeholders replaced by variables; an unknown variable leaves an empty place."""

    def text_of(match: re.Match[str]) -> str:
        return variable(match[1].strip())

    def fill(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: fill(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        if not isinstance(value, str) or name not in _FILLED or "{{" not in value:
            return value
        if name in _LINKS:
            # A '+' leads a telephone number; in a query it would mean a blank.
            safe = "+" if value.startswith("tel:") else ""
            return PLACEHOLDER.sub(lambda match: quote(text_of(match), safe=safe), value)
        # LINE refuses an empty text, so a place that became empty shows a blank.
        return PLACEHOLDER.sub(text_of, value) or " "

    if message.get("emojis"):
        return {**fill(message), **_filled_text(message, text_of)}
    result: Message = fill(message)
    return result


def with_order_id(message: Message, order_id: str) -> Message:
    """Return the message with the text OrderId replaced by an order's number, wherever people read it."""

    def fill(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: fill(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        if not isinstance(value, str) or name not in _FILLED:
            return value
        return value.replace(_ORDER_ID, quote(order_id, safe="") if name in _LINKS else order_id)

    result: Message = fill(message)
    return result


def _filled_text(message: Message, text_of: Callable[[re.Match[str]], str]) -> Message:
    """Fill a text with LINE emojis: their `index` counts UTF-16 units, so each moves with what stands before it."""
    units = message["text"].encode("utf-16-le", "surrogatepass")
    emojis = list(message["emojis"])
    pieces = []
    start = length = 0
    for place in sorted(range(len(emojis)), key=lambda place: emojis[place]["index"]):
        end = emojis[place]["index"] * 2
        pieces.append(PLACEHOLDER.sub(text_of, units[start:end].decode("utf-16-le", "surrogatepass")))
        length += len(pieces[-1].encode("utf-16-le", "surrogatepass")) // 2
        emojis[place] = {**emojis[place], "index": length}
        start = end
    pieces.append(PLACEHOLDER.sub(text_of, units[start:].decode("utf-16-le", "surrogatepass")))
    return {"text": "".join(pieces), "emojis": emojis}


def fitted(message: Message) -> Message:
    """Return the message with the end of its text or altText cut off where variables made it longer than LINE takes."""
    if message["type"] == "flex":
        return {**message, "altText": clipped(message["altText"], _ALT_TEXT_UNITS)}
    if message["type"] != "text":
        return message
    short = {**message, "text": clipped(message["text"], _TEXT_UNITS)}
    if "emojis" in message:
        kept = [emoji for emoji in message["emojis"] if emoji["index"] < _TEXT_UNITS]
        short["emojis"] = sorted(kept, key=lambda emoji: emoji["index"])
    return short


def clipped(text: str, units: int) -> str:
    """Return the text cut to at most `units` UTF-16 units, as LINE counts, never inside a character."""
    if len(text) * 2 <= units:
        return text
    return text.encode("utf-16-le", "surrogatepass")[: units * 2].decode("utf-16-le", errors="ignore")
