"""Renders LINE messages as plain lines for a terminal (shapes: LINE's ref#message-objects)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_Part = Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """Something a person can tap: text to send, postback data to send, or a link to open."""

    label: str
    kind: Literal["message", "postback", "uri"]
    value: str


@dataclass(frozen=True)
class Rendered:
    """A message as lines, and its choices; a line names a choice as `[number]`."""

    lines: list[str]
    choices: list[Choice]


def render(message: Mapping[str, Any], first_number: int = 1) -> Rendered:
    """Return a message as text, its choices numbered from `first_number` on."""
    choices = _Choices(first_number)
    lines = _message(message, choices)
    for item in _parts(message.get("quickReply", {}).get("items")):
        lines += choices.line(item.get("action"))
    return Rendered(lines, choices.taken)


@dataclass
class _Choices:
    first_number: int
    taken: list[Choice] = field(default_factory=list)

    def line(self, action: _Part | None, fallback: str = "") -> list[str]:
        if not action:
            return []
        kind = action.get("type")
        label = action.get("label") or fallback
        if kind == "message":
            return self._add("message", label, action.get("text", ""))
        if kind == "postback":
            return self._add("postback", label or action.get("displayText", ""), action.get("data", ""))
        if kind == "uri":
            # An imagemap calls its address linkUri.
            address = action.get("uri") or action.get("linkUri", "")
            return [f"{line} -> {address}" for line in self._add("uri", label or "link", address)]
        return [f"[-] {label or kind} ({kind})"]

    def _add(self, kind: Literal["message", "postback", "uri"], label: str, value: str) -> list[str]:
        self.taken.append(Choice(label or value, kind, value))
        return [f"[{self.first_number + len(self.taken) - 1}] {label or value}"]


def _message(message: _Part, choices: _Choices) -> list[str]:
    match message.get("type"):
        case "text" | "textV2":
            return _lines(message.get("text"))
        case "sticker":
            return [f"[sticker] {message.get('packageId')}/{message.get('stickerId')}"]
        case "image" | "video" | "audio" as kind:
            return [f"[{kind}] {message.get('originalContentUrl')}"]
        case "location":
            return [f"[location] {message.get('title')}, {message.get('address')}"]
        case "imagemap":
            lines = [f"[image] {message.get('altText')}: {message.get('baseUrl')}"]
            for action in _parts(message.get("actions")):
                lines += choices.line(action)
            return lines
        case "template":
            return _template(message.get("template", {}), choices)
        case "flex":
            return _container(message.get("contents", {}), choices)
        case kind:
            return [f"[{kind}]"]


def _template(template: _Part, choices: _Choices) -> list[str]:
    columns = _parts(template.get("columns"))
    if not columns:
        return _column(template, choices)
    lines = []
    for number, column in enumerate(columns, 1):
        lines += [_card(number, len(columns)), *_column(column, choices)]
    return lines


def _column(column: _Part, choices: _Choices) -> list[str]:
    image = column.get("thumbnailImageUrl") or column.get("imageUrl")
    lines = [f"[image] {image}"] if image else []
    lines += _lines(column.get("title")) + _lines(column.get("text"))
    lines += choices.line(column.get("defaultAction"), column.get("title") or column.get("text") or "")
    # An image carousel's column has one action, all others several.
    for action in (column.get("action"), *_parts(column.get("actions"))):
        lines += choices.line(action)
    return lines


def _container(container: _Part, choices: _Choices) -> list[str]:
    if container.get("type") != "carousel":
        return _bubble(container, choices)
    bubbles = _parts(container.get("contents"))
    lines = []
    for number, bubble in enumerate(bubbles, 1):
        lines += [_card(number, len(bubbles)), *_bubble(bubble, choices)]
    return lines


def _bubble(bubble: _Part, choices: _Choices) -> list[str]:
    lines = []
    for block in ("header", "hero", "body", "footer"):
        if block in bubble:
            lines += _component(bubble[block], choices)
    return lines + choices.line(bubble.get("action"))


def _component(component: _Part, choices: _Choices) -> list[str]:
    match component.get("type"):
        case "box":
            lines = _box(component, choices)
        case "text":
            spans = "".join(span.get("text", "") for span in _parts(component.get("contents")))
            text = spans or component.get("text", "")
            if action := component.get("action"):
                # The text is what a person taps; its action's label is never shown.
                return choices.line({**action, "label": text})
            lines = _lines(text)
        case "image":
            lines = [f"[image] {component.get('url')}"]
        case "video":
            lines = [f"[video] {component.get('url')}"]
        case "separator":
            lines = ["---"]
        case _:
            # Buttons are nothing but their action; icons, fillers and spacers say nothing.
            lines = []
    return lines + choices.line(component.get("action"))


def _box(box: _Part, choices: _Choices) -> list[str]:
    rendered = [_component(component, choices) for component in _parts(box.get("contents"))]
    if box.get("layout") in ("horizontal", "baseline") and all(len(lines) <= 1 for lines in rendered):
        row = "  ".join(line for lines in rendered for line in lines)
        return [row] if row else []
    return [line for lines in rendered for line in lines]


def _card(number: int, total: int) -> str:
    return f"--- {number}/{total} ---"


def _lines(text: str | None) -> list[str]:
    return text.splitlines() if text else []


def _parts(parts: Iterable[_Part] | None) -> list[_Part]:
    return list(parts or [])
