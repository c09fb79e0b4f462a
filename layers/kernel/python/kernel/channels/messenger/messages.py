"""Our messages as Messenger shows them; limits by the Send API's reference, lengths counted in UTF-16 units.

A tap comes back as a postback's or a quick reply's payload: the text that a LINE button would say, or its data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.channels.cards import Card, Choice, Message, cards, elements, plain_text, quick_choices, web
from kernel.channels.pieces import clipped, split, utf16

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = 2000
TITLE = 80
SUBTITLE = 80
ELEMENTS = 10
BUTTONS = 3
BUTTON_TITLE = 20
BUTTON_TEXT = 640
PAYLOAD = 1000
QUICK_REPLIES = 13
QUICK_REPLY_TITLE = 20
STICKER = "🙂"
_NOTHING_TO_SAY = "…"


def translated(message: Message) -> list[Message]:
    """Return the Messenger message objects, in order, that show one of our messages; [] when it shows nothing here.

    Takes LINE message objects as chatbot.messages makes them, and `{"type": "fb_generic", …}` with an operator's
    generic template, which goes out as it is.
    """
    choices, _ = quick_choices(message)
    links = [choice for choice in choices if choice.kind == "link"]
    quick = [_quick_reply(choice) for choice in choices if choice.kind != "link" and _carried(choice)]
    # A quick reply of Messenger opens nothing, so links are written out.
    lines = "\n".join(_line(choice) for choice in links)
    if message["type"] == "text":
        shown = _texts("\n".join(filter(None, [plain_text(message), lines])))
    else:
        shown = [*_shown(message), *_texts(lines)]
    if quick:
        shown = shown or [{"text": _NOTHING_TO_SAY}]
        shown[-1] = {**shown[-1], "quick_replies": quick[:QUICK_REPLIES]}
    return shown


def losses(message: Message) -> list[str]:
    """Return what of a message Messenger cannot show, in short sentences; [] when nothing is lost."""
    choices, lost = quick_choices(message)
    quick = [choice for choice in choices if choice.kind != "link"]
    if len(quick) < len(choices):
        lost.append("Quick replies that open a link are shown as text.")
    if len(quick) > QUICK_REPLIES:
        lost.append(f"Of {len(quick)} quick replies only {QUICK_REPLIES} are shown.")
    lost += _cut_titles(quick, QUICK_REPLY_TITLE)
    match message["type"]:
        case "text":
            lost += ["LINE emojis are left out."] if message.get("emojis") else []
        case "image" | "video":
            pass
        case "sticker":
            lost.append(f"The sticker is shown as {STICKER}.")
        case "flex" | "imagemap":
            for card in cards(message):
                lost += [*card.lost, *_cut_titles(card.choices, BUTTON_TITLE)]
                tall = card.texts and (card.picture or card.choices) and _element(card) is None
                if message["type"] == "flex" and tall:
                    lost.append("A card with more than fits is shown as picture, text and buttons.")
            if message["type"] == "imagemap" and message.get("actions"):
                lost.append("The areas of the picture become buttons below it.")
        case "fb_generic":
            count = len(elements(message))
            lost += [] if count else ["The template has no elements, so nothing is shown."]
            lost += [f"The template has {count} elements, but Messenger takes {ELEMENTS}."] if count > ELEMENTS else []
        case kind:
            lost.append(f"A message of type {kind} is shown as its text alone.")
    return list(dict.fromkeys(lost))


def _shown(message: Message) -> list[Message]:
    match message["type"]:
        case "image" | "video" as kind:
            address = message["originalContentUrl"]
            return [_attachment(kind, {"url": address})] if web(address) else []
        case "sticker":
            return [{"text": STICKER}]
        case "flex":
            return [part for card in cards(message) for part in _card(card)]
        case "imagemap":
            # A template would crop the picture.
            return [part for card in cards(message) for part in _apart(card)]
        case "fb_generic":
            return _operators(message)
    return _texts(str(message.get("altText") or ""))


def _operators(message: Message) -> list[Message]:
    if not elements(message):
        return []
    if isinstance(message.get("attachment"), dict):
        return [{"attachment": message["attachment"]}]
    payload = message.get("payload")
    if not isinstance(payload, dict):
        payload = {name: value for name, value in message.items() if name not in ("type", "quickReply")}
    return [_attachment("template", {"template_type": "generic", **payload})]


def _card(card: Card) -> list[Message]:
    element = _element(card)
    if element is None:
        return _apart(card)
    return [_attachment("template", {"template_type": "generic", "elements": [element]})]


def _element(card: Card) -> Message | None:
    """Return a card as element of a generic template, None when that would not show all of it."""
    title, subtitle = (card.texts or [""])[0], "\n".join(card.texts[1:])
    buttons = _buttons(card.choices)
    fits = utf16(title) <= TITLE and utf16(subtitle) <= SUBTITLE and len(buttons) <= BUTTONS
    if not title or not fits or not (buttons or card.picture):
        return None
    element: Message = {"title": title}
    element |= {"subtitle": subtitle} if subtitle else {}
    element |= {"image_url": card.picture} if card.picture else {}
    return element | ({"buttons": buttons} if buttons else {})


def _apart(card: Card) -> list[Message]:
    """Return a card as its picture, its texts, and its buttons below as many of the texts as these take."""
    shown = [_attachment("image", {"url": card.picture})] if card.picture else []
    text, buttons = "\n".join(card.texts), _buttons(card.choices)
    if buttons and utf16(text) > BUTTON_TEXT:
        shown += _texts(text)
        text = ""
    if not buttons:
        return shown + _texts(text)
    for start in range(0, len(buttons), BUTTONS):
        payload = {"template_type": "button", "text": text or _NOTHING_TO_SAY}
        shown.append(_attachment("template", {**payload, "buttons": buttons[start : start + BUTTONS]}))
        text = ""
    return shown


def _buttons(choices: Sequence[Choice]) -> list[Message]:
    return [_button(choice) for choice in choices if _carried(choice)]


def _button(choice: Choice) -> Message:
    title = clipped(choice.label, BUTTON_TITLE, utf16)
    if choice.kind == "link":
        return {"type": "web_url", "title": title, "url": choice.value}
    return {"type": "postback", "title": title, "payload": choice.value}


def _quick_reply(choice: Choice) -> Message:
    title = clipped(choice.label, QUICK_REPLY_TITLE, utf16)
    return {"content_type": "text", "title": title, "payload": choice.value}


def _carried(choice: Choice) -> bool:
    """Tell whether a choice's payload fits; LINE's own limit is lower, but variables may have made it longer."""
    return choice.kind == "link" or utf16(choice.value) <= PAYLOAD


def _cut_titles(choices: Sequence[Choice], limit: int) -> list[str]:
    long = [choice.label for choice in choices if utf16(choice.label) > limit]
    return [f"The button '{label}' is cut to {limit} characters." for label in long]


def _texts(text: str) -> list[Message]:
    # A text of blanks is refused.
    return [{"text": part} for part in split(text, TEXT, utf16) if part.strip()]


def _line(choice: Choice) -> str:
    return f"{choice.label}: {choice.value}"


def _attachment(kind: str, payload: Message) -> Message:
    return {"attachment": {"type": kind, "payload": payload}}
