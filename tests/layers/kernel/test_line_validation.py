"""What LINE would refuse, said before it is sent."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from infra import line_schema
from kernel.channels.line.schema import SCHEMAS
from kernel.channels.line.validation import _REFERENCE as REFERENCE
from kernel.channels.line.validation import (
    Flaw,
    flaws_of_flex_container,
    flaws_of_message,
    flaws_of_messages,
    flaws_of_quick_reply,
)

Json = dict[str, Any]

URL = "https://example.com/a"
TAP = {"type": "uri", "label": "Open", "uri": URL}
SAY = {"type": "message", "label": "Yes", "text": "yes"}
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
APPLE = "\U0001f34e"


def text(content: str = "hello", **more: Any) -> Json:
    return {"type": "text", "text": content} | more


def quick(*actions: Json) -> Json:
    return {"items": [{"type": "action", "action": action} for action in actions]}


def imagemap(**more: Any) -> Json:
    return {
        "type": "imagemap",
        "baseUrl": URL,
        "altText": "map",
        "baseSize": {"width": 1040, "height": 585},
        "actions": [{"type": "uri", "linkUri": URL, "area": area()}],
    } | more


def area(**more: Any) -> Json:
    return {"x": 0, "y": 0, "width": 520, "height": 585} | more


def template(kind: str, **more: Any) -> Json:
    return {"type": "template", "altText": "choose", "template": {"type": kind} | more}


def buttons(**more: Any) -> Json:
    return template("buttons", **{"text": "Which?", "actions": [TAP]} | more)


def confirm(**more: Any) -> Json:
    return template("confirm", **{"text": "Sure?", "actions": [SAY, SAY]} | more)


def column(**more: Any) -> Json:
    return {"text": "One", "actions": [TAP]} | more


def carousel(*columns: Json, **more: Any) -> Json:
    return template("carousel", columns=list(columns), **more)


def pictures(*actions: Json) -> Json:
    return template("image_carousel", columns=[{"imageUrl": URL, "action": action} for action in actions])


def box(*contents: Any, layout: str = "vertical", **more: Any) -> Json:
    return {"type": "box", "layout": layout, "contents": list(contents)} | more


def bubble(*contents: Any, **more: Any) -> Json:
    return {"type": "bubble", "body": box(*contents)} | more


def bubbles(*contents: Json) -> Json:
    return {"type": "carousel", "contents": list(contents)}


def flex(contents: Json, **more: Any) -> Json:
    return {"type": "flex", "altText": "card", "contents": contents} | more


def image(**more: Any) -> Json:
    return {"type": "image", "url": URL} | more


def video(**more: Any) -> Json:
    return {"type": "video", "url": URL, "previewUrl": URL, "altContent": image()} | more


VALID: list[Json] = [
    text(),
    text("$ and \U0001f34e$", emojis=[{"index": i, "productId": "5ac1", "emojiId": "001"} for i in (0, 8)]),
    text(
        quoteToken="q3Plxr4AgKd",
        sender={"name": "Online desk", "iconUrl": URL},
        quickReply=quick(SAY, TAP, {"type": "camera", "label": "Camera"}, {"type": "location", "label": "Here"}),
    ),
    {
        "type": "textV2",
        "text": "Hi {user_1}, {{not me}} {laugh}",
        "substitution": {
            "user_1": {"type": "mention", "mentionee": {"type": "user", "userId": "U49585cd0d5"}},
            "laugh": {"type": "emoji", "productId": "5a8555cf", "emojiId": "002"},
            "unused": {"type": "mention", "mentionee": {"type": "all"}},
        },
    },
    {"type": "sticker", "packageId": "446", "stickerId": "1988"},
    {"type": "image", "originalContentUrl": URL, "previewImageUrl": "https://example.com/%E5%9C%96?a=b&c=%20#d"},
    {"type": "video", "originalContentUrl": URL, "previewImageUrl": URL, "trackingId": "a-.=,+*()%$&;:@{}!?<>[]9"},
    {"type": "audio", "originalContentUrl": URL, "duration": 60000},
    {"type": "location", "title": "City hall", "address": "1 Road", "latitude": 22.62, "longitude": 120},
    {"type": "coupon", "couponId": "01JYNW8JMQ", "deliveryTag": "winter_2025"},
    imagemap(
        actions=[
            {"type": "uri", "linkUri": "tel:07123456", "label": "", "area": area()},
            {"type": "message", "text": "hi", "label": "hi", "area": area(x=520)},
            {"type": "clipboard", "clipboardText": "3B48740B", "area": area()},
        ],
        video={
            "originalContentUrl": URL,
            "previewImageUrl": URL,
            "area": area(),
            "externalLink": {"linkUri": "http://example.com", "label": "See more"},
        },
    ),
    buttons(
        thumbnailImageUrl=URL,
        imageAspectRatio="square",
        imageSize="contain",
        imageBackgroundColor="#FFffFF",
        title="Menu",
        defaultAction={"type": "uri", "uri": "line://nv/chat"},
        actions=[
            {"type": "postback", "label": "Buy", "data": "", "displayText": "Buy", "inputOption": "openVoice"},
            {"type": "clipboard", "label": "Copy", "clipboardText": "A1"},
            {
                "type": "datetimepicker",
                "label": "When",
                "data": "d",
                "mode": "datetime",
                "initial": "2024-02-29t00:00",
                "min": "1900-01-01T00:00",
                "max": "2100-12-31t23:59",
            },
            TAP | {"altUri": {"desktop": "http://example.com/pc"}},
        ],
    ),
    confirm(),
    carousel(column(title="a", thumbnailImageUrl=URL), column(title="b", thumbnailImageUrl=URL), imageSize="cover"),
    pictures(SAY, {"type": "uri", "uri": URL}),
    flex(
        bubble(
            {"type": "text", "text": "Title", "size": "xl", "weight": "bold", "color": "#111111", "wrap": True},
            {"type": "text", "contents": [{"type": "span", "text": "a", "size": "23.5px", "color": "#11223344"}]},
            box(
                {"type": "icon", "url": URL, "size": "sm", "aspectRatio": "1.91:1"},
                {"type": "text", "text": "4.0", "flex": 0, "offsetTop": "-2px"},
                {"type": "filler"},
                layout="baseline",
                margin="md",
            ),
            {"type": "separator", "margin": "10px", "color": "#000000"},
            {"type": "button", "style": "primary", "height": "sm", "action": TAP, "adjustMode": "shrink-to-fit"},
            image(size="50%", aspectMode="cover", aspectRatio="1:3", action={"type": "uri", "uri": URL}),
            box(
                width="40%",
                height="30px",
                maxWidth="100%",
                paddingAll="23.5%",
                paddingTop="none",
                offsetEnd="-10%",
                position="absolute",
                cornerRadius="xxl",
                borderWidth="semi-bold",
                spacing="sm",
                justifyContent="space-evenly",
                background={
                    "type": "linearGradient",
                    "angle": "359.9deg",
                    "startColor": "#000000",
                    "endColor": "#00000000",
                    "centerColor": "#ffffff",
                    "centerPosition": "10%",
                },
            ),
            hero=video(aspectRatio="20:13", action=TAP),
            size="mega",
            direction="rtl",
            styles={"body": {"backgroundColor": "#00ffff", "separator": True, "separatorColor": "#000000"}},
        )
    ),
    flex(bubbles(bubble(size="nano"), bubble(size="nano", hero=image(size="full")))),
]


@pytest.mark.parametrize("message", VALID, ids=lambda message: message["type"])
def test_a_valid_message_has_no_flaws(message: Json) -> None:
    assert flaws_of_message(message) == []
    assert flaws_of_messages([message]) == []


def picker(mode: str, **moments: str) -> Json:
    return {"type": "datetimepicker", "label": "When", "data": "d", "mode": mode} | moments


def long_url(length: int) -> str:
    return URL + "a" * (length - len(URL))


def gradient(**more: Any) -> Json:
    return {
        "type": "linearGradient",
        "angle": "0deg",
        "startColor": "#000000",
        "endColor": "#000000",
    } | more


def bubble_of(size: int) -> Json:
    def padded(length: int) -> Json:
        return bubble({"type": "text", "text": '\u00e5\U0001f34e"\\\n\x01' + "a" * length, "flex": 0, "wrap": True})

    return padded(size - json_size(padded(0)))


def carousel_of(size: int) -> Json:
    first = bubble_of(25_000)
    return bubbles(first, bubble_of(size - json_size(bubbles(first)) - 1))


def json_size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


Border = tuple[Callable[[int], Json], int, str, str]

TOO_LONG = "must be at most {} characters"

BORDERS: dict[str, Border] = {
    "text": (lambda n: text("a" * n), 5000, "text", TOO_LONG),
    "text v2": (lambda n: {"type": "textV2", "text": "a" * n}, 5000, "text", TOO_LONG),
    "emojis": (
        lambda n: text("$", emojis=[{"index": 0, "productId": "p", "emojiId": "e"}] * n),
        20,
        "emojis",
        "must hold at most {} items",
    ),
    "mentions": (
        lambda n: {
            "type": "textV2",
            "text": "{a}" * n,
            "substitution": {"a": {"type": "mention", "mentionee": {"type": "all"}}},
        },
        20,
        "text",
        "must hold at most {} mentions",
    ),
    "emojis v2": (
        lambda n: {
            "type": "textV2",
            "text": "{a}" * n,
            "substitution": {"a": {"type": "emoji", "productId": "p", "emojiId": "e"}},
        },
        20,
        "text",
        "must hold at most {} emojis",
    ),
    "substitution": (
        lambda n: {
            "type": "textV2",
            "text": "a",
            "substitution": {f"k{i}": {"type": "mention", "mentionee": {"type": "all"}} for i in range(n)},
        },
        100,
        "substitution",
        "must hold at most {} properties",
    ),
    "quick reply": (
        lambda n: text(quickReply=quick(*[SAY] * n)),
        13,
        "quickReply.items",
        "must hold 1 to {} items",
    ),
    "quick reply label": (
        lambda n: text(quickReply=quick(SAY | {"label": "a" * n})),
        20,
        "quickReply.items[0].action.label",
        TOO_LONG,
    ),
    "quick reply icon": (
        lambda n: text(quickReply={"items": [{"type": "action", "imageUrl": long_url(n), "action": SAY}]}),
        2000,
        "quickReply.items[0].imageUrl",
        TOO_LONG,
    ),
    "sender name": (lambda n: text(sender={"name": "a" * n}), 20, "sender.name", TOO_LONG),
    "sender icon": (lambda n: text(sender={"iconUrl": long_url(n)}), 2000, "sender.iconUrl", TOO_LONG),
    "media URL": (
        lambda n: {"type": "audio", "originalContentUrl": long_url(n), "duration": 1},
        2000,
        "originalContentUrl",
        TOO_LONG,
    ),
    "tracking ID": (
        lambda n: {"type": "video", "originalContentUrl": URL, "previewImageUrl": URL, "trackingId": "a" * n},
        100,
        "trackingId",
        TOO_LONG,
    ),
    "location title": (
        lambda n: {"type": "location", "title": "a" * n, "address": "b", "latitude": 0, "longitude": 0},
        100,
        "title",
        TOO_LONG,
    ),
    "location address": (
        lambda n: {"type": "location", "title": "a", "address": "b" * n, "latitude": 0, "longitude": 0},
        100,
        "address",
        TOO_LONG,
    ),
    "latitude": (
        lambda n: {"type": "location", "title": "a", "address": "b", "latitude": n, "longitude": 0},
        90,
        "latitude",
        "must be between -90 and {}",
    ),
    "longitude": (
        lambda n: {"type": "location", "title": "a", "address": "b", "latitude": 0, "longitude": n},
        180,
        "longitude",
        "must be between -180 and {}",
    ),
    "delivery tag": (
        lambda n: {"type": "coupon", "couponId": "c", "deliveryTag": "a" * n},
        30,
        "deliveryTag",
        TOO_LONG,
    ),
    "imagemap altText": (lambda n: imagemap(altText="a" * n), 1500, "altText", TOO_LONG),
    "imagemap baseUrl": (lambda n: imagemap(baseUrl=long_url(n)), 2000, "baseUrl", TOO_LONG),
    "imagemap actions": (
        lambda n: imagemap(actions=[{"type": "uri", "linkUri": URL, "area": area()}] * n),
        50,
        "actions",
        "must hold at most {} items",
    ),
    "imagemap width": (
        lambda n: imagemap(baseSize={"width": n, "height": 1}),
        1040,
        "baseSize.width",
        "must be {}",
    ),
    "imagemap text": (
        lambda n: imagemap(actions=[{"type": "message", "text": "a" * n, "area": area()}]),
        400,
        "actions[0].text",
        TOO_LONG,
    ),
    "imagemap label": (
        lambda n: imagemap(actions=[{"type": "message", "text": "a", "label": "a" * n, "area": area()}]),
        100,
        "actions[0].label",
        TOO_LONG,
    ),
    "imagemap clipboard": (
        lambda n: imagemap(actions=[{"type": "clipboard", "clipboardText": "a" * n, "area": area()}]),
        1000,
        "actions[0].clipboardText",
        TOO_LONG,
    ),
    "imagemap link": (
        lambda n: imagemap(actions=[{"type": "uri", "linkUri": long_url(n), "area": area()}]),
        1000,
        "actions[0].linkUri",
        TOO_LONG,
    ),
    "imagemap video label": (
        lambda n: imagemap(
            video={
                "originalContentUrl": URL,
                "previewImageUrl": URL,
                "area": area(),
                "externalLink": {"linkUri": URL, "label": "a" * n},
            }
        ),
        30,
        "video.externalLink.label",
        TOO_LONG,
    ),
    "template altText": (lambda n: confirm() | {"altText": "a" * n}, 1500, "altText", TOO_LONG),
    "buttons text": (lambda n: buttons(text="a" * n), 160, "template.text", TOO_LONG),
    "buttons text with title": (
        lambda n: buttons(text="a" * n, title="t"),
        60,
        "template.text",
        TOO_LONG,
    ),
    "buttons text with image": (
        lambda n: buttons(text="a" * n, thumbnailImageUrl=URL),
        60,
        "template.text",
        TOO_LONG,
    ),
    "buttons title": (lambda n: buttons(title="a" * n), 40, "template.title", TOO_LONG),
    "buttons actions": (
        lambda n: buttons(actions=[TAP] * n),
        4,
        "template.actions",
        "must hold 1 to {} items",
    ),
    "template label": (
        lambda n: buttons(actions=[TAP | {"label": "a" * n}]),
        20,
        "template.actions[0].label",
        TOO_LONG,
    ),
    "confirm text": (lambda n: confirm(text="a" * n), 240, "template.text", TOO_LONG),
    "confirm actions": (
        lambda n: confirm(actions=[SAY] * n),
        2,
        "template.actions",
        "must hold exactly {} items",
    ),
    "carousel columns": (
        lambda n: carousel(*[column()] * n),
        10,
        "template.columns",
        "must hold 1 to {} items",
    ),
    "carousel text": (
        lambda n: carousel(column(text="a" * n)),
        120,
        "template.columns[0].text",
        TOO_LONG,
    ),
    "carousel text with title": (
        lambda n: carousel(column(text="a" * n, title="t")),
        60,
        "template.columns[0].text",
        TOO_LONG,
    ),
    "carousel title": (
        lambda n: carousel(column(title="a" * n)),
        40,
        "template.columns[0].title",
        TOO_LONG,
    ),
    "carousel actions": (
        lambda n: carousel(column(actions=[TAP] * n)),
        3,
        "template.columns[0].actions",
        "must hold 1 to {} items",
    ),
    "image carousel columns": (
        lambda n: pictures(*[SAY] * n),
        10,
        "template.columns",
        "must hold 1 to {} items",
    ),
    "image carousel label": (
        lambda n: pictures(SAY | {"label": "a" * n}),
        12,
        "template.columns[0].action.label",
        TOO_LONG,
    ),
    "message action text": (
        lambda n: buttons(actions=[SAY | {"text": "a" * n}]),
        300,
        "template.actions[0].text",
        TOO_LONG,
    ),
    "postback data": (
        lambda n: buttons(actions=[{"type": "postback", "label": "a", "data": "a" * n}]),
        300,
        "template.actions[0].data",
        TOO_LONG,
    ),
    "postback displayText": (
        lambda n: buttons(actions=[{"type": "postback", "label": "a", "data": "a", "displayText": "a" * n}]),
        300,
        "template.actions[0].displayText",
        TOO_LONG,
    ),
    "postback fillInText": (
        lambda n: buttons(actions=[{"type": "postback", "label": "a", "data": "a", "fillInText": "a" * n}]),
        300,
        "template.actions[0].fillInText",
        TOO_LONG,
    ),
    "clipboard text": (
        lambda n: buttons(actions=[{"type": "clipboard", "label": "a", "clipboardText": "a" * n}]),
        1000,
        "template.actions[0].clipboardText",
        TOO_LONG,
    ),
    "tap URL": (
        lambda n: buttons(actions=[TAP | {"uri": long_url(n)}]),
        1000,
        "template.actions[0].uri",
        TOO_LONG,
    ),
    "desktop URL": (
        lambda n: buttons(actions=[TAP | {"altUri": {"desktop": long_url(n)}}]),
        1000,
        "template.actions[0].altUri.desktop",
        TOO_LONG,
    ),
    "Flex altText": (lambda n: flex(bubble(), altText="a" * n), 1500, "altText", TOO_LONG),
    "Flex bubbles": (
        lambda n: flex(bubbles(*[bubble()] * n)),
        12,
        "contents.contents",
        "must hold 1 to {} items",
    ),
    "Flex label": (
        lambda n: flex(bubble({"type": "button", "action": TAP | {"label": "a" * n}})),
        40,
        "contents.body.contents[0].action.label",
        TOO_LONG,
    ),
    "Flex animated images": (
        lambda n: flex(bubbles(bubble(), bubble(*[image(animated=True)] * n))),
        10,
        "contents",
        "must hold at most {} animated images",
    ),
    "Flex ratio": (
        lambda n: flex(bubble(image(aspectRatio=f"33333:{n}"))),
        99999,
        "contents.body.contents[0].aspectRatio",
        "must not be more than three times as high as wide",
    ),
    "Flex ratio numbers": (
        lambda n: flex(bubble(image(aspectRatio=f"{n}:1"))),
        100000,
        "contents.body.contents[0].aspectRatio",
        "must be a ratio such as 20:13, of numbers between 1 and 100000",
    ),
    "Flex center position": (
        lambda n: flex({"type": "bubble", "body": box(background=gradient(centerPosition=f"{n}%"))}),
        100,
        "contents.body.background.centerPosition",
        "must be a percentage from 0% to 100%",
    ),
    "Flex angle": (
        lambda n: flex({"type": "bubble", "body": box(background=gradient(angle=f"{n}deg"))}),
        359,
        "contents.body.background.angle",
        "must be an angle from 0deg to below 360deg",
    ),
    "bubble size": (
        lambda n: flex(bubble_of(n)),
        30_000,
        "contents",
        "must be at most 30 KB of JSON",
    ),
    "carousel size": (
        lambda n: flex(carousel_of(n)),
        50_000,
        "contents",
        "must be at most 50 KB of JSON",
    ),
}


@pytest.mark.parametrize("border", BORDERS.values(), ids=BORDERS.keys())
def test_the_limit_passes_and_one_more_does_not(border: Border) -> None:
    message_of, limit, path, words = border

    assert flaws_of_message(message_of(limit)) == []
    assert flaws_of_message(message_of(limit + 1)) == [Flaw(path, words.format(limit))]


@pytest.mark.parametrize("count", [1, 5])
def test_one_to_five_messages_pass(count: int) -> None:
    assert flaws_of_messages([text()] * count) == []


@pytest.mark.parametrize("count", [0, 6])
def test_other_numbers_of_messages_do_not(count: int) -> None:
    assert flaws_of_messages([text()] * count) == [Flaw("", "must hold 1 to 5 items")]


def test_text_counts_utf16_units() -> None:
    assert flaws_of_message(text(APPLE * 2500)) == []
    assert flaws_of_message(text(APPLE * 2500 + "a")) == [Flaw("text", "must be at most 5000 characters")]


@pytest.mark.parametrize(
    "grapheme",
    [
        APPLE,
        FAMILY,
        "e\u0301",
        "\u2764\ufe0f",
        "1\ufe0f\u20e3",
        "\U0001f44d\U0001f3fd",
        "\U0001f9d1\U0001f3fb\u200d\U0001f91d\u200d\U0001f9d1\U0001f3ff",
        "\U0001f642\u200d\u2194\ufe0f",
        "\U0001f1f9\U0001f1fc",
        "\U0001f3f4\U000e0067\U000e0062\U000e007f",
        "\u1112\u1161\u11ab",
        "\uff76\uff9e",
        "\u0e01\u0e33",
        "\r\n",
    ],
    ids=ascii,
)
def test_labels_count_graphemes(grapheme: str) -> None:
    assert flaws_of_quick_reply(quick(SAY | {"label": grapheme * 20})) == []
    assert flaws_of_quick_reply(quick(SAY | {"label": grapheme * 21})) == [
        Flaw("items[0].action.label", "must be at most 20 characters")
    ]


@pytest.mark.parametrize("pair", ["ab", "a\u200d\u2764", "\u4e00\u1161", "\u3042\u3044"], ids=ascii)
def test_characters_that_stand_alone_count_alone(pair: str) -> None:
    label = pair * 10

    assert flaws_of_quick_reply(quick(SAY | {"label": label})) == []
    assert flaws_of_quick_reply(quick(SAY | {"label": label + "a"})) == [
        Flaw("items[0].action.label", "must be at most 20 characters")
    ]


def in_body(component: Any, flaw: str, words: str) -> tuple[Json, list[Flaw]]:
    return flex(bubble(component)), [Flaw(f"contents.body.contents[0]{flaw}", words)]


def label(content: str) -> Json:
    return {"type": "text", "text": "a", "size": content}


SIZES = "must be a size such as 10px, or one of 'xxs', 'xs', 'sm', 'md', 'lg', 'xl', 'xxl', '3xl', '4xl', '5xl'"
OFFSETS = "must be a size such as 10px or 10%, or one of 'none', 'xs', 'sm', 'md', 'lg', 'xl', 'xxl'"
COLORS = "must be a color such as #RRGGBB or #RRGGBBAA"
HTTPS = "must be a URL that starts with https://"
TAPS = "must be a URL that starts with http:// or https:// or line:// or tel:"
ANYWHERE = "must be one of 'clipboard', 'datetimepicker', 'message', 'postback', 'uri' here"

WRONG: dict[str, tuple[Any, list[Flaw]]] = {
    "no object": ([], [Flaw("", "must be an object")]),
    "null": (None, [Flaw("", "must not be null")]),
    "no type": ({"text": "a"}, [Flaw("type", "is required")]),
    "type of another kind": ({"type": ["text"]}, [Flaw("type", "must be a string")]),
    "unknown type": (
        {"type": "flexx"},
        [
            Flaw(
                "type",
                "must be one of 'text', 'textV2', 'sticker', 'image', 'video', 'audio', 'location', 'imagemap', "
                "'template', 'flex', 'coupon'",
            )
        ],
    ),
    "several at once": (
        {"type": "text", "text": "", "quoteToken": None, "altText": "a", "emojis": {}, "sender": {"name": 1}},
        [
            Flaw("text", "must not be empty"),
            Flaw("quoteToken", "must not be null"),
            Flaw("altText", "is not a property of a text message"),
            Flaw("emojis", "must be an array"),
            Flaw("sender.name", "must be a string"),
        ],
    ),
    "strange property": (text(**{"a b": 1}), [Flaw("['a b']", "is not a property of a text message")]),
    "long property": (
        text(**{"k" * 99: 1}),
        [Flaw(f"['{'k' * 39}\u2026']", "is not a property of a text message")],
    ),
    "half a surrogate pair": (text("\ud83c"), [Flaw("text", "must not hold half of a surrogate pair")]),
    "sender called LINE": (
        text(sender={"name": "Line\u5ba2\u670d"}),
        [Flaw("sender.name", "must not contain the word LINE")],
    ),
    "sender without a name": (text(sender={"name": ""}), [Flaw("sender.name", "must not be empty")]),
    "emoji off the dollar": (
        text(f"{APPLE}$", emojis=[{"index": 1, "productId": "p", "emojiId": "e"}]),
        [Flaw("emojis[0].index", "must be the position of a $ in text")],
    ),
    "emoji before the text": (
        text("$", emojis=[{"index": -1, "productId": "p", "emojiId": "e"}]),
        [Flaw("emojis[0].index", "must be at least 0")],
    ),
    "emoji without anything": (
        text("$", emojis=[{}, {"index": True, "productId": "", "emojiId": 1}]),
        [
            Flaw("emojis[0].index", "is required"),
            Flaw("emojis[0].productId", "is required"),
            Flaw("emojis[0].emojiId", "is required"),
            Flaw("emojis[1].index", "must be an integer"),
            Flaw("emojis[1].productId", "must not be empty"),
            Flaw("emojis[1].emojiId", "must be a string"),
        ],
    ),
    "unknown substitution": (
        {"type": "textV2", "text": "{a} {a}"},
        [Flaw("text", "must not name 'a', which substitution lacks")],
    ),
    "open brace": (
        {"type": "textV2", "text": "a {"},
        [Flaw("text", "must pair { with }, and double those that are to be read")],
    ),
    "closing brace": (
        {"type": "textV2", "text": "a } b"},
        [Flaw("text", "must pair { with }, and double those that are to be read")],
    ),
    "substitution's name": (
        {
            "type": "textV2",
            "text": "a",
            "substitution": {
                "a-b": {"type": "emoji", "productId": "p"},
                "c" * 21: {"type": "mention", "mentionee": {"type": "user"}},
            },
        },
        [
            Flaw("substitution['a-b'].emojiId", "is required"),
            Flaw(f"substitution.{'c' * 21}.mentionee.userId", "is required"),
            Flaw("substitution['a-b']", "must be named with 1 to 20 half-width letters, digits and _"),
            Flaw(f"substitution.{'c' * 21}", "must be named with 1 to 20 half-width letters, digits and _"),
        ],
    ),
    "media over http": (
        {"type": "image", "originalContentUrl": "http://example.com/a", "previewImageUrl": "https://"},
        [Flaw("originalContentUrl", HTTPS), Flaw("previewImageUrl", HTTPS)],
    ),
    "media not encoded": (
        {"type": "image", "originalContentUrl": URL + "\u5716", "previewImageUrl": URL + "?a=b c"},
        [Flaw("originalContentUrl", "must be percent-encoded"), Flaw("previewImageUrl", "must be percent-encoded")],
    ),
    "percent sign alone": (
        {"type": "image", "originalContentUrl": URL + "%2", "previewImageUrl": URL + "%zz"},
        [Flaw("originalContentUrl", "must be percent-encoded"), Flaw("previewImageUrl", "must be percent-encoded")],
    ),
    "tracking ID": (
        {"type": "video", "originalContentUrl": URL, "previewImageUrl": URL, "trackingId": "a_b"},
        [Flaw("trackingId", "must be made of half-width letters, digits and -.=,+*()%$&;:@{}!?<>[]")],
    ),
    "numbers": (
        {"type": "location", "title": "a", "address": "b", "latitude": True, "longitude": float("nan")},
        [Flaw("latitude", "must be a number"), Flaw("longitude", "must be between -180 and 180")],
    ),
    "number as a string": (
        imagemap(baseSize={"width": "1040", "height": 585.0}),
        [Flaw("baseSize.width", "must be an integer"), Flaw("baseSize.height", "must be an integer")],
    ),
    "number beyond 64 bits": (
        {"type": "audio", "originalContentUrl": URL, "duration": 2**63},
        [Flaw("duration", f"must be between {-(2**63)} and {2**63 - 1}")],
    ),
    "number beyond 32 bits": (
        flex(bubble({"type": "filler", "flex": 2**31})),
        [Flaw("contents.body.contents[0].flex", f"must be between {-(2**31)} and {2**31 - 1}")],
    ),
    "imagemap area": (
        imagemap(actions=[{"type": "message", "text": "", "area": area(x=-1, width=0)}]),
        [
            Flaw("actions[0].text", "must not be empty"),
            Flaw("actions[0].area.x", "must be at least 0"),
            Flaw("actions[0].area.width", "must be at least 1"),
        ],
    ),
    "imagemap video": (
        imagemap(video={"externalLink": {}}),
        [
            Flaw("video.externalLink.linkUri", "is required"),
            Flaw("video.externalLink.label", "is required"),
            Flaw("video.originalContentUrl", "is required"),
            Flaw("video.previewImageUrl", "is required"),
            Flaw("video.area", "is required"),
        ],
    ),
    "quick reply without items": (text(quickReply={}), [Flaw("quickReply.items", "is required")]),
    "quick reply with no item": (text(quickReply=quick()), [Flaw("quickReply.items", "must hold 1 to 13 items")]),
    "quick reply labels": (
        text(quickReply=quick({"type": "camera"}, SAY | {"label": ""}, TAP | {"label": 1})),
        [
            Flaw("quickReply.items[0].action.label", "is required"),
            Flaw("quickReply.items[1].action.label", "must not be empty"),
            Flaw("quickReply.items[2].action.label", "must be a string"),
        ],
    ),
    "quick reply item": (
        text(quickReply={"items": [{"type": "button", "action": SAY}, {}]}),
        [
            Flaw("quickReply.items[0].type", "must be 'action'"),
            Flaw("quickReply.items[1].type", "is required"),
            Flaw("quickReply.items[1].action", "is required"),
        ],
    ),
    "menu switch in a quick reply": (
        text(quickReply=quick({"type": "richmenuswitch", "label": "a", "data": "d", "richMenuAliasId": "b"})),
        [
            Flaw(
                "quickReply.items[0].action.type",
                "must be one of 'clipboard', 'datetimepicker', 'message', 'postback', 'uri', 'camera', "
                "'cameraRoll', 'location' here",
            )
        ],
    ),
    "camera in a template": (
        buttons(actions=[{"type": "camera", "label": "a"}]),
        [Flaw("template.actions[0].type", ANYWHERE)],
    ),
    "menu switch in Flex": (
        flex(bubble(action={"type": "richmenuswitch", "data": "d", "richMenuAliasId": "b"})),
        [Flaw("contents.action.type", ANYWHERE)],
    ),
    "tap elsewhere": (
        buttons(actions=[TAP | {"uri": "mailto:a@example.com"}], defaultAction={"type": "uri", "uri": "tel:"}),
        [Flaw("template.actions[0].uri", TAPS), Flaw("template.defaultAction.uri", TAPS)],
    ),
    "actions without their substance": (
        buttons(
            actions=[
                {"type": "postback", "label": "a"},
                {"type": "message", "label": "a"},
                {"type": "uri", "label": "a"},
                {"type": "datetimepicker", "label": "a"},
            ]
        ),
        [
            Flaw("template.actions[0].data", "is required"),
            Flaw("template.actions[1].text", "is required"),
            Flaw("template.actions[2].uri", "is required"),
            Flaw("template.actions[3].data", "is required"),
            Flaw("template.actions[3].mode", "is required"),
        ],
    ),
    "postback shown twice": (
        confirm(actions=[SAY, {"type": "postback", "label": "a", "data": "", "displayText": "a", "text": "a"}]),
        [Flaw("template.actions[1].text", "must not stand beside displayText")],
    ),
    "no such date": (
        confirm(actions=[picker("date", initial="2023-02-29"), picker("date", min="2101-01-01", max="2026-1-01")]),
        [
            Flaw("template.actions[0].initial", "must be a date from 1900 to 2100 such as 2026-01-31"),
            Flaw("template.actions[1].max", "must be a date from 1900 to 2100 such as 2026-01-31"),
            Flaw("template.actions[1].min", "must be a date from 1900 to 2100 such as 2026-01-31"),
        ],
    ),
    "no such time": (
        confirm(actions=[picker("time", initial="24:00"), picker("datetime", initial="2026-01-01 00:00")]),
        [
            Flaw("template.actions[0].initial", "must be a time such as 23:59"),
            Flaw(
                "template.actions[1].initial",
                "must be a date and time from 1900 to 2100 such as 2026-01-31T23:59",
            ),
        ],
    ),
    "latest before earliest": (
        confirm(actions=[SAY, picker("time", min="10:00", max="10:00")]),
        [Flaw("template.actions[1].max", "must be later than min")],
    ),
    "one button to confirm": (
        confirm(actions=[SAY]),
        [Flaw("template.actions", "must hold exactly 2 items")],
    ),
    "template texts": (
        buttons(text="", title="", imageBackgroundColor="#FFFFFF00", imageSize="fit"),
        [
            Flaw("template.title", "must not be empty"),
            Flaw("template.imageBackgroundColor", "must be a color such as #RRGGBB"),
            Flaw("template.imageSize", "must be one of 'cover', 'contain'"),
            Flaw("template.text", "must not be empty"),
        ],
    ),
    "columns of different make": (
        carousel(column(title="a"), column(actions=[TAP, TAP], thumbnailImageUrl=URL)),
        [
            Flaw("template.columns[1].actions", "must hold as many items as in the first column"),
            Flaw("template.columns[0].thumbnailImageUrl", "is required as another column has one"),
            Flaw("template.columns[1].title", "is required as another column has one"),
        ],
    ),
    "unknown Flex property": (
        flex(bubble(nodeId="n1")),
        [Flaw("contents.nodeId", "is not a property of a Flex bubble")],
    ),
    "header that is no box": (
        flex(bubble(header={"type": "text", "text": "a"})),
        [
            Flaw("contents.header.type", "must be 'box'"),
            Flaw("contents.header.text", "is not a property of a Flex box"),
            Flaw("contents.header.layout", "is required"),
            Flaw("contents.header.contents", "is required"),
        ],
    ),
    "hero that is a button": (
        flex(bubble(hero={"type": "button", "action": TAP})),
        [Flaw("contents.hero.type", "must be one of 'box', 'image', 'video' as hero")],
    ),
    "video in a box": in_body(
        video(),
        ".type",
        "must be one of 'box', 'button', 'image', 'text', 'separator', 'filler' in a vertical box",
    ),
    "icon in a vertical box": in_body(
        {"type": "icon", "url": URL},
        ".type",
        "must be one of 'box', 'button', 'image', 'text', 'separator', 'filler' in a vertical box",
    ),
    "image in a baseline box": in_body(
        box(image(), layout="baseline"),
        ".contents[0].type",
        "must be one of 'icon', 'text', 'filler' in a baseline box",
    ),
    "span in a box": in_body(
        {"type": "span", "text": "a"},
        ".type",
        "must be one of 'box', 'button', 'image', 'text', 'separator', 'filler' in a vertical box",
    ),
    "text in a text": in_body(
        {"type": "text", "contents": [{"type": "text", "text": "a"}]},
        ".contents[0].type",
        "must be 'span'",
    ),
    "empty Flex text": in_body({"type": "text", "text": "", "contents": []}, ".text", "must not be empty"),
    "no Flex text": in_body({"type": "text"}, ".text", "is required unless contents holds spans"),
    "button without a label": in_body(
        {"type": "button", "action": {"type": "uri", "uri": URL}}, ".action.label", "is required"
    ),
    "true as a string": in_body({"type": "text", "text": "a", "wrap": "true"}, ".wrap", "must be true or false"),
    "text size in percent": in_body(label("50%"), ".size", SIZES),
    "text size as full": in_body(label("full"), ".size", SIZES),
    "text size below nothing": in_body(label("-1px"), ".size", SIZES),
    "text size without unit": in_body(label("10"), ".size", SIZES),
    "text size of two points": in_body(label("1.2.3px"), ".size", SIZES),
    "offset in em": in_body(box(offsetTop="1em"), ".offsetTop", OFFSETS),
    "padding below nothing": in_body(box(paddingAll="-1px"), ".paddingAll", OFFSETS),
    "margin in percent": in_body(
        {"type": "separator", "margin": "5%"},
        ".margin",
        "must be a size such as 10px, or one of 'none', 'xs', 'sm', 'md', 'lg', 'xl', 'xxl'",
    ),
    "width as a keyword": in_body(box(width="md"), ".width", "must be a size such as 10px or 10%"),
    "flex below nothing": in_body({"type": "filler", "flex": -1}, ".flex", "must be at least 0"),
    "color by name": in_body({"type": "separator", "color": "red"}, ".color", COLORS),
    "short color": in_body({"type": "separator", "color": "#fff"}, ".color", COLORS),
    "color beyond f": in_body({"type": "separator", "color": "#00000g"}, ".color", COLORS),
    "enumerated": in_body(
        {"type": "text", "text": "a", "align": "left"}, ".align", "must be one of 'start', 'end', 'center'"
    ),
    "ratio": in_body(
        image(aspectRatio="16/9"), ".aspectRatio", "must be a ratio such as 20:13, of numbers between 1 and 100000"
    ),
    "gradient": (
        flex({"type": "bubble", "body": box(background={"type": "linearGradient", "angle": "360deg"})}),
        [
            Flaw("contents.body.background.angle", "must be an angle from 0deg to below 360deg"),
            Flaw("contents.body.background.startColor", "is required"),
            Flaw("contents.body.background.endColor", "is required"),
        ],
    ),
    "video in a small bubble": (
        flex({"type": "bubble", "size": "micro", "hero": video()}),
        [Flaw("contents.size", "must be one of 'kilo', 'mega', 'giga' around a video")],
    ),
    "video that says": (
        flex({"type": "bubble", "hero": video(action=SAY, altContent={"type": "filler"})}),
        [
            Flaw("contents.hero.action.type", "must be 'uri' here"),
            Flaw("contents.hero.altContent.type", "must be one of 'box', 'image' as altContent"),
        ],
    ),
    "video in a carousel": (
        flex(bubbles(bubble(hero=video()))),
        [Flaw("contents.contents[0].hero.type", "must be one of 'box', 'image' in a carousel")],
    ),
    "bubbles of two sizes": (
        flex(bubbles(bubble(), bubble(size="mega"), bubble(size="giga"))),
        [Flaw("contents.contents[2].size", "must be the size of the first bubble")],
    ),
    "carousel in a carousel": (
        flex(bubbles(bubbles())),
        [
            Flaw("contents.contents[0].type", "must be 'bubble'"),
            Flaw("contents.contents[0].contents", "is not a property of a Flex bubble"),
        ],
    ),
}


@pytest.mark.parametrize(("message", "flaws"), WRONG.values(), ids=WRONG.keys())
def test_every_flaw_is_told_with_its_place(message: Any, flaws: list[Flaw]) -> None:
    assert flaws_of_message(message) == flaws


def test_places_start_at_what_was_given() -> None:
    wrong = flex(bubble(box(box({"type": "text", "text": ""}))))

    assert flaws_of_messages([text(), wrong]) == [
        Flaw("[1].contents.body.contents[0].contents[0].contents[0].text", "must not be empty")
    ]
    assert flaws_of_message(wrong, "node.message") == [
        Flaw("node.message.contents.body.contents[0].contents[0].contents[0].text", "must not be empty")
    ]
    assert flaws_of_flex_container(wrong["contents"]) == [
        Flaw("body.contents[0].contents[0].contents[0].text", "must not be empty")
    ]
    assert flaws_of_flex_container({}, "template") == [Flaw("template.type", "is required")]
    assert flaws_of_quick_reply({"items": None}, "quick") == [Flaw("quick.items", "must not be null")]


# Hostile input


def nested(depth: int) -> Json:
    innermost = box()
    for _ in range(depth - 1):
        innermost = box(innermost)
    return {"type": "bubble", "body": innermost}


def test_nesting_ends_at_forty_levels() -> None:
    assert flaws_of_flex_container(nested(19)) == []
    assert flaws_of_flex_container(nested(20)) == [
        Flaw("body" + ".contents[0]" * 19 + ".contents", "is nested deeper than 40 levels")
    ]


def test_deep_nesting_is_refused_without_an_error() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    bottomless = nested(3_000)

    assert flaws_of_flex_container(bottomless | {"extra": deep}) == [
        Flaw("body" + ".contents[0]" * 19 + ".contents", "is nested deeper than 40 levels"),
        Flaw("extra", "is not a property of a Flex bubble"),
        Flaw("", "must be at most 30 KB of JSON"),
    ]
    assert flaws_of_messages(deep) == [Flaw("[0]", "must be an object")]


def test_a_hundred_flaws_are_enough() -> None:
    assert flaws_of_message(text(**{f"k{number}": number for number in range(100_000)})) == [
        Flaw(f"k{number}", "is not a property of a text message") for number in range(100)
    ]


def test_a_text_of_combining_marks_is_not_counted_to_its_end() -> None:
    assert flaws_of_quick_reply(quick(SAY | {"label": "a" + "\u0301" * 5_000_000})) == [
        Flaw("items[0].action.label", "must be at most 20 characters")
    ]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
WORDS = sorted({key for schema in SCHEMAS.values() for key in schema.get("properties", ())})
TYPES = sorted({kind for schema in SCHEMAS.values() for kind in schema.get("mapping", ())})
ANY_JSON = st.recursive(
    SCALARS | st.sampled_from(TYPES),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=5)
        | st.builds(
            lambda kind, more: more | {"type": kind},
            st.sampled_from(TYPES),
            st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
        )
    ),
    max_leaves=15,
)


def test_a_number_too_long_to_print_is_refused() -> None:
    assert flaws_of_flex_container({"type": "bubble", "size": 10**5000}) == [Flaw("size", "must be a string")]
    assert flaws_of_message({"type": "audio", "originalContentUrl": URL, "duration": 10**5000}) == [
        Flaw("duration", f"must be between {-(2**63)} and {2**63 - 1}")
    ]


@given(ANY_JSON)
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_json_value_gets_an_answer(value: Any) -> None:
    for flaws_of in (flaws_of_messages, flaws_of_message, flaws_of_flex_container, flaws_of_quick_reply):
        flaws = flaws_of(value)

        assert len(flaws) <= 100
        assert all(isinstance(flaw, Flaw) and flaw.message for flaw in flaws)
        assert all(word.isprintable() for flaw in flaws for word in flaw)


# Generated messages

letters = st.text(min_size=1, max_size=10)
colors = st.from_regex(r"\A#[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?\Z")
steps = st.sampled_from(["none", "xs", "xxl", "0px", "12.5px"])
urls = st.from_regex(r"\Ahttps://[a-z]{1,9}\.tw(?:/[a-z0-9%]{0})?(?:/[a-z0-9~]{1,5}){0,2}\Z")


def shaped(required: Json, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries(
        {key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in required.items()},
        optional=optional,
    )


actions = (
    shaped({"type": "message", "label": letters, "text": letters})
    | shaped({"type": "uri", "label": letters, "uri": urls}, altUri=shaped({}, desktop=urls))
    | shaped({"type": "postback", "label": letters, "data": letters}, displayText=letters)
    | shaped({"type": "clipboard", "label": letters, "clipboardText": letters})
)
placed = {"margin": steps, "offsetTop": steps, "position": st.sampled_from(["relative", "absolute"])}
components = st.recursive(
    shaped({"type": "text", "text": letters}, color=colors, wrap=st.booleans(), flex=st.integers(0, 9), **placed)
    | shaped({"type": "image", "url": urls}, animated=st.booleans(), action=actions, **placed)
    | shaped({"type": "button", "action": actions}, style=st.sampled_from(["primary", "link"]), **placed)
    | shaped({"type": "separator"}, color=colors),
    lambda inner: shaped(
        {"type": "box", "layout": st.sampled_from(["vertical", "horizontal"]), "contents": st.lists(inner, max_size=4)},
        spacing=steps,
        backgroundColor=colors,
        action=actions,
        **placed,
    ),
    max_leaves=8,
)
boxes = shaped({"type": "box", "layout": "vertical", "contents": st.lists(components, max_size=4)}, spacing=steps)
generated_bubbles = shaped({"type": "bubble", "body": boxes}, header=boxes, hero=boxes, action=actions)
templates = (
    shaped({"type": "buttons", "text": letters, "actions": st.lists(actions, min_size=1, max_size=4)}, title=letters)
    | shaped({"type": "confirm", "text": letters, "actions": st.tuples(actions, actions).map(list)})
    | shaped(
        {
            "type": "carousel",
            "columns": st.lists(
                shaped({"text": letters, "actions": st.tuples(actions).map(list)}), min_size=1, max_size=3
            ),
        }
    )
)
common = {
    "quickReply": shaped(
        {"items": st.lists(shaped({"type": "action", "action": actions}, imageUrl=urls), min_size=1, max_size=3)}
    ),
    "sender": shaped({}, iconUrl=urls),
}
messages = (
    shaped({"type": "text", "text": letters}, **common)
    | shaped({"type": "image", "originalContentUrl": urls, "previewImageUrl": urls}, **common)
    | shaped({"type": "template", "altText": letters, "template": templates}, **common)
    | shaped({"type": "flex", "altText": letters, "contents": generated_bubbles}, **common)
    | shaped(
        {
            "type": "flex",
            "altText": letters,
            "contents": shaped({"type": "carousel", "contents": st.lists(generated_bubbles, min_size=1, max_size=3)}),
        }
    )
    | st.sampled_from(VALID)
)


@given(st.lists(messages, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_generated_messages_pass(generated: list[Json]) -> None:
    assert flaws_of_messages(generated) == []


# An independent judge: LINE's document itself, read by jsonschema

DOCUMENT = yaml.safe_load(line_schema.DOCUMENT.read_text())["components"]["schemas"]


def judge_of(name: str) -> Draft202012Validator:
    """Return LINE's schema as JSON Schema, which has no discriminator: `X.any` stands for its subtypes."""
    definitions: Json = {}
    for key, source in DOCUMENT.items():
        definitions[key] = {"type": "object", "additionalProperties": False} | joined(source)
        if "discriminator" in source:
            subtypes = source["discriminator"]["mapping"]
            definitions[f"{key}.any"] = {
                "required": ["type"],
                "properties": {"type": {"enum": list(subtypes)}},
                "allOf": [
                    {
                        "if": {"properties": {"type": {"const": kind}}},
                        "then": {"$ref": f"#/$defs/{line_schema.target_of(subtype)}"},
                    }
                    for kind, subtype in subtypes.items()
                ],
            }
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})


def joined(source: Json) -> Json:
    parts = [
        joined(DOCUMENT[line_schema.target_of(part["$ref"])] if "$ref" in part else part)
        for part in source.get("allOf", [])
    ]
    return {
        "required": source.get("required", []) + [key for part in parts for key in part["required"]],
        "properties": {key: value for part in parts for key, value in part["properties"].items()}
        | {key: referring(value) for key, value in source.get("properties", {}).items()},
    }


def referring(source: Any) -> Any:
    if not isinstance(source, dict):
        return source
    if "$ref" in source:
        target = line_schema.target_of(source["$ref"])
        return {"$ref": f"#/$defs/{target}{'.any' if 'discriminator' in DOCUMENT[target] else ''}"}
    return {key: referring(value) for key, value in source.items()}


JUDGE = judge_of("Message.any")


def places_in(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(inner for key, member in members for inner in places_in(member, (*place, key)))]


def changed(message: Json, place: tuple[Any, ...], change: str, value: Any) -> Json:
    message = copy.deepcopy(message)
    holder: Any = message
    for key in place[:-1]:
        holder = holder[key]
    if not place:
        return message | {"surplus": value}
    if change == "remove":
        del holder[place[-1]]
    elif change == "add" and isinstance(holder, dict):
        holder[value if isinstance(value, str) else "surplus"] = value
    else:
        holder[place[-1]] = value
    return message


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_passes_here_passes_lines_own_schema(data: st.DataObject) -> None:
    message = data.draw(messages)
    wrong = changed(
        message,
        data.draw(st.sampled_from(places_in(message))),
        data.draw(st.sampled_from(["replace", "remove", "add"])),
        data.draw(SCALARS | st.sampled_from([*TYPES, *WORDS, [], {}, "10px", "#000000", URL])),
    )

    assert flaws_of_message(wrong) or JUDGE.is_valid(wrong)


def test_the_judge_refuses_what_lines_schema_refuses() -> None:
    accepted = [name for name, (message, _) in WRONG.items() if JUDGE.is_valid(message)]

    assert set(WRONG) - set(accepted) >= {
        "no type",
        "unknown type",
        "several at once",
        "number as a string",
        "unknown Flex property",
        "header that is no box",
        "enumerated",
    }


def test_the_judge_takes_the_valid_messages() -> None:
    assert [message for message in VALID if not JUDGE.is_valid(message)] == []


@pytest.mark.filterwarnings("ignore")
def test_lines_sdk_reads_the_valid_messages() -> None:
    from linebot.v3.messaging import Message

    for message in VALID:
        assert type(Message.from_dict(message)).__name__ == SCHEMAS["Message"]["mapping"][message["type"]]


# The compiled schema


def test_the_compiled_schema_is_fresh() -> None:
    assert line_schema.main(["--check"]) == 0


def test_a_stale_schema_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(line_schema, "MODULE", tmp_path / "schema.py")

    assert line_schema.main(["--check"]) == 1
    assert capsys.readouterr().err == "schema.py is stale: run python -m infra.line_schema\n"

    assert line_schema.main([]) == 0
    assert line_schema.main(["--check"]) == 0


def test_a_new_keyword_of_lines_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="the keyword multipleOf is new here"):
        line_schema.compile_property({"type": "integer", "multipleOf": 2})


def test_every_rule_of_the_reference_meets_a_property_of_the_schema() -> None:
    astray = {
        (name, key)
        for name, row in REFERENCE.items()
        for key in [*row.required, *row.checks, *row.sizes, *row.actions]
        if key not in SCHEMAS[name]["properties"]
    }

    assert astray == set()


def test_every_action_has_its_place() -> None:
    unplaced = {
        (name, key)
        for name, schema in SCHEMAS.items()
        for key, expected in schema.get("properties", {}).items()
        if "Action" in (expected.get("ref"), expected.get("items", {}).get("ref"))
        and key not in REFERENCE[name].actions
    }

    assert unplaced == set()


def test_importing_it_costs_one_module_beside_its_own() -> None:
    # Lambda's runtime and every model have loaded typing before.
    program = (
        "import sys, typing; before = set(sys.modules)\n"
        f"sys.path.insert(0, {str(line_schema.KERNEL / 'python')!r})\n"
        "import kernel.channels.line.validation\n"
        "print(*sorted(set(sys.modules) - before))"
    )

    ran = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=True, text=True)

    assert ran.stdout.split() == [
        "__future__",
        "kernel",
        "kernel.channels",
        "kernel.channels.line",
        "kernel.channels.line.schema",
        "kernel.channels.line.validation",
        "kernel.errors",
        "unicodedata",
    ]
