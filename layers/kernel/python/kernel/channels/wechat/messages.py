"""Our messages as bodies of WeChat's customer service messages: texts, and news with exactly one article.

WeChat takes few messages after each of a person's own, so a message of ours becomes as few as possible. What can be
tapped in LINE becomes a numbered line; `choices` tells what each number stands for.
"""

from __future__ import annotations

from kernel.channels.cards import Card, Choice, Message, cards, elements, plain_text, quick_choices, web
from kernel.channels.pieces import clipped, octets, split

# The reference names no limits but the error codes say that there are some; these are the strictest in use.
TEXT_BYTES = 2048
TITLE = 64
DESCRIPTION = 120
STICKER = "🙂"
PICTURE = "🖼"
# JSON can write these only as \uXXXX, which WeChat shows to people as it stands.
_CONTROLS = dict.fromkeys(place for place in range(32) if chr(place) not in "\t\n\r")


def translated(message: Message) -> list[Message]:
    """Return the bodies, without `touser`, that show one of our messages, in order; [] when it shows nothing here.

    Takes LINE message objects as chatbot.messages makes them, and `{"type": "fb_generic", …}` with an operator's
    generic template.
    """
    shown: list[Message] = []
    lines: list[str] = []
    match message["type"]:
        case "text":
            lines.append(plain_text(message))
        case "image" if web(message["originalContentUrl"]):
            picture = message["originalContentUrl"]
            shown.append(_news(PICTURE, "", picture, message.get("previewImageUrl") or picture))
        case "video" if web(message["originalContentUrl"]):
            lines.append(message["originalContentUrl"])
        case "sticker":
            lines.append(STICKER)
        case "flex" | "imagemap" | "fb_generic":
            for card in cards(message):
                article = _article(card)
                shown += [article] if article else []
                lines += _lines(card)
        case _:
            lines.append(str(message.get("altText") or ""))
    lines += [f"{choice.label}: {choice.value}" for choice in quick_choices(message)[0] if choice.kind == "link"]
    lines += [f"{number}. {choice.label}" for number, choice in enumerate(choices(message), 1)]
    text = "\n".join(line for line in lines if line).translate(_CONTROLS)
    return shown + [_text(part) for part in split(text, TEXT_BYTES, octets) if part.strip()]


def choices(message: Message) -> list[Choice]:
    """Return what the numbers 1, 2, 3… of a message stand for: texts to be said or data to come back."""
    found = [choice for card in cards(message) for choice in card.choices] + quick_choices(message)[0]
    return list(dict.fromkeys(choice for choice in found if choice.kind != "link"))


def losses(message: Message) -> list[str]:
    """Return what of a message WeChat cannot show, in short sentences; [] when nothing is lost."""
    _, lost = quick_choices(message)
    found = cards(message)
    lost += [sentence for card in found for sentence in card.lost]
    match message["type"]:
        case "text":
            lost += ["LINE emojis are left out."] if message.get("emojis") else []
        case "image":
            lost.append("The picture is shown as an article that opens it.")
        case "video":
            lost.append("The video is shown as a link.")
        case "sticker":
            lost.append(f"The sticker is shown as {STICKER}.")
        case "imagemap":
            lost += ["The areas of the picture become lines of text."] if message.get("actions") else []
        case "fb_generic" if not elements(message):
            lost.append("The template has no elements, so nothing is shown.")
        case "flex" | "fb_generic":
            lost += ["Each card becomes an article of its own."] if len(found) > 1 else []
        case kind:
            lost.append(f"A message of type {kind} is shown as its text alone.")
    if choices(message):
        lost.append("What can be tapped becomes numbered lines of text.")
    return list(dict.fromkeys(lost))


def _article(card: Card) -> Message | None:
    if not card.picture:
        return None
    title, rest = _heads(card)
    # A picture without a link opens itself.
    url = next((choice.value for choice in card.choices if choice.kind == "link"), card.picture)
    return _news(clipped(title, TITLE, len), clipped(rest, DESCRIPTION, len), url, card.picture)


def _heads(card: Card) -> tuple[str, str]:
    texts = [text for text in (text.translate(_CONTROLS).strip() for text in card.texts) if text]
    return (texts or [PICTURE])[0], "\n".join(texts[1:])


def _lines(card: Card) -> list[str]:
    """Return the lines of a card that its article does not show: all of its texts when they are cut there."""
    links = [f"{choice.label}: {choice.value}" for choice in card.choices if choice.kind == "link"]
    if not card.picture:
        return card.texts + links
    title, rest = _heads(card)
    whole = len(title) <= TITLE and len(rest) <= DESCRIPTION
    return ([] if whole else card.texts) + links[1:]


def _news(title: str, description: str, url: str, picture: str) -> Message:
    article = {"title": title, "description": description, "url": url, "picurl": picture}
    return {"msgtype": "news", "news": {"articles": [article]}}


def _text(text: str) -> Message:
    return {"msgtype": "text", "text": {"content": text}}
