"""LINE messages as Hypothesis makes them up: what chatbot.messages can hand to a channel, and worse."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

URL = "https://example.com/a"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"

characters = st.sampled_from(
    ["a", "測", " ", "\n", "🍎", FAMILY, "\u0301", "🇹🇼", "$", "]]>", "&", "\\", "\\u200d", "\x01", '"']
)
short_texts = st.lists(characters, min_size=1, max_size=30).map("".join)
long_texts = st.lists(characters, min_size=1, max_size=60).flatmap(
    lambda some: st.integers(1, 60).map(lambda times: "".join(some) * times)
)
texts = short_texts | long_texts
labels = st.lists(characters, max_size=12).map("".join)

actions = st.one_of(
    st.builds(lambda label, uri: {"type": "uri", "label": label, "uri": uri}, labels, st.sampled_from([
        URL, "http://example.com", "tel:1999", "line://nv/chat", "https://[", "https://example.com/測",
    ])),
    st.builds(lambda label, text: {"type": "message", "label": label, "text": text}, labels, short_texts),
    st.builds(
        lambda label, data: {"type": "postback", "label": label, "data": data}, labels, st.text("ab=", max_size=1100)
    ),
    st.just({"type": "datetimepicker", "label": "When", "data": "d", "mode": "date"}),
    st.just({"type": "camera", "label": "Photo"}),
)  # fmt: skip
quick_replies = st.lists(st.builds(lambda action: {"type": "action", "action": action}, actions), max_size=15)


def box(contents: list[Json]) -> Json:
    return {"type": "box", "layout": "vertical", "contents": contents}


components = st.recursive(
    st.one_of(
        texts.map(lambda text: {"type": "text", "text": text}),
        short_texts.map(lambda text: {"type": "text", "contents": [{"type": "span", "text": text}] * 2}),
        actions.map(lambda action: {"type": "button", "action": action}),
        st.builds(lambda action: {"type": "image", "url": URL, "action": action}, actions),
        st.just({"type": "separator"}),
    ),
    lambda inner: st.lists(inner, max_size=5).map(box),
    max_leaves=8,
)
heroes = st.sampled_from(
    [{}, {"hero": {"type": "image", "url": URL}}, {"hero": {"type": "video", "url": URL, "previewUrl": URL}}]
)
bubbles = st.builds(
    lambda hero, parts: {"type": "bubble", **hero, "body": box(parts)}, heroes, st.lists(components, max_size=6)
)
carousels = st.lists(bubbles, min_size=1, max_size=3).map(lambda some: {"type": "carousel", "contents": some})
flex = st.builds(
    lambda text, contents: {"type": "flex", "altText": text, "contents": contents}, texts, bubbles | carousels
)
area = {"x": 0, "y": 0, "width": 520, "height": 520}
imagemaps = st.builds(
    lambda text, goals: {
        "type": "imagemap",
        "baseUrl": URL,
        "altText": text,
        "baseSize": {"width": 1040, "height": 1040},
        "actions": [{**goal, "area": area} for goal in goals],
    },
    texts,
    st.lists(
        st.one_of(
            st.just({"type": "uri", "linkUri": URL}), short_texts.map(lambda text: {"type": "message", "text": text})
        ),
        max_size=5,
    ),
)


@st.composite
def plain(draw: st.DrawFn) -> Json:
    """A text, with emojis on some of its `$`."""
    text = draw(texts)
    places, units = [], 0
    for character in text:
        if character == "$" and len(places) < 20:
            places.append(units)
        units += len(character.encode("utf-16-le")) // 2
    emojis = [{"index": place, "productId": "p", "emojiId": "001"} for place in places]
    return {"type": "text", "text": text, **({"emojis": emojis} if emojis else {})}


media = st.sampled_from(
    [
        {"type": "image", "originalContentUrl": URL, "previewImageUrl": URL},
        {"type": "video", "originalContentUrl": URL, "previewImageUrl": URL},
        {"type": "sticker", "packageId": "1", "stickerId": "2"},
        {"type": "location", "title": "Taipei 101", "address": "Xinyi", "latitude": 25.0, "longitude": 121.5},
    ]
)
messages = st.builds(
    lambda message, items: {**message, **({"quickReply": {"items": items}} if items else {})},
    st.one_of(plain(), flex, imagemaps, media),
    quick_replies,
)

# Operators' generic templates are saved unchecked.
names = st.sampled_from(["attachment", "payload", "elements", "title", "subtitle", "buttons", "image_url"]) | (
    st.sampled_from(["default_action", "url", "type", "quickReply", "items", "action", "label", "text", "data", "uri"])
)
anything = st.recursive(
    st.one_of(st.none(), st.integers(), short_texts, st.sampled_from([URL, "web_url", "postback", "uri"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=25,
)
elements = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys(["title", "subtitle", "buttons", "default_action"], anything))
    | anything,
    max_size=3,
)
templates = st.builds(
    lambda some, parts: {**some, **parts, "type": "fb_generic"},
    st.dictionaries(names, anything, max_size=5),
    st.one_of(
        st.just({}),
        elements.map(lambda some: {"elements": some}),
        elements.map(lambda some: {"payload": {"elements": some}}),
    ),
)
