from typing import Any

import pytest

from local.flex_text import Choice, Rendered, render


def say(label: str, text: str) -> dict[str, str]:
    return {"type": "message", "label": label, "text": text}


def pick(label: str, data: str) -> dict[str, str]:
    return {"type": "postback", "label": label, "data": data}


def open_link(label: str, uri: str) -> dict[str, str]:
    return {"type": "uri", "label": label, "uri": uri}


def flex(contents: dict[str, Any]) -> dict[str, Any]:
    return {"type": "flex", "altText": "not shown", "contents": contents}


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ({"type": "text", "text": "one\n\ntwo"}, ["one", "", "two"]),
        ({"type": "textV2", "text": "hi {name}"}, ["hi {name}"]),
        ({"type": "sticker", "packageId": "446", "stickerId": "1988"}, ["[sticker] 446/1988"]),
        (
            {"type": "image", "originalContentUrl": "https://a/b.jpg", "previewImageUrl": "https://a/p.jpg"},
            ["[image] https://a/b.jpg"],
        ),
        ({"type": "video", "originalContentUrl": "https://a/b.mp4"}, ["[video] https://a/b.mp4"]),
        (
            {"type": "audio", "originalContentUrl": "https://a/b.m4a", "duration": 9},
            ["[audio] https://a/b.m4a"],
        ),
        ({"type": "location", "title": "101", "address": "Xinyi"}, ["[location] 101, Xinyi"]),
        ({"type": "coupon", "couponId": "c1"}, ["[coupon]"]),
    ],
)
def test_messages_without_choices(message: dict[str, Any], lines: list[str]) -> None:
    assert render(message) == Rendered(lines, [])


def test_quick_replies_come_last_and_numbers_go_on() -> None:
    message = {
        "type": "text",
        "text": "Where to?",
        "quickReply": {
            "items": [
                {"type": "action", "action": say("North", "go north")},
                {"type": "action", "action": pick("South", "to=south")},
                {"type": "action", "action": {"type": "camera", "label": "Photo"}},
                {"type": "action", "action": open_link("Map", "https://a/map")},
            ]
        },
    }

    assert render(message, first_number=4) == Rendered(
        ["Where to?", "[4] North", "[5] South", "[-] Photo (camera)", "[6] Map -> https://a/map"],
        [
            Choice("North", "message", "go north"),
            Choice("South", "postback", "to=south"),
            Choice("Map", "uri", "https://a/map"),
        ],
    )


def test_imagemap() -> None:
    message = {
        "type": "imagemap",
        "altText": "Two halves",
        "baseUrl": "https://a/map",
        "actions": [
            {"type": "message", "text": "left", "area": {}},
            {"type": "uri", "linkUri": "https://a/right", "area": {}},
        ],
    }

    assert render(message) == Rendered(
        ["[image] Two halves: https://a/map", "[1] left", "[2] link -> https://a/right"],
        [Choice("left", "message", "left"), Choice("link", "uri", "https://a/right")],
    )


class TestTemplates:
    def test_buttons(self) -> None:
        template = {
            "type": "buttons",
            "thumbnailImageUrl": "https://a/t.jpg",
            "title": "Pass",
            "text": "One day",
            "defaultAction": {"type": "uri", "uri": "https://a/pass"},
            "actions": [say("Buy", "buy"), {"type": "datetimepicker", "label": "Day", "mode": "date"}],
        }

        assert render({"type": "template", "altText": "x", "template": template}) == Rendered(
            [
                "[image] https://a/t.jpg",
                "Pass",
                "One day",
                "[1] Pass -> https://a/pass",
                "[2] Buy",
                "[-] Day (datetimepicker)",
            ],
            [Choice("Pass", "uri", "https://a/pass"), Choice("Buy", "message", "buy")],
        )

    def test_confirm(self) -> None:
        template = {
            "type": "confirm",
            "text": "Sure?",
            "actions": [pick("Yes", "y"), {"type": "postback", "displayText": "No", "data": "n"}],
        }

        assert render({"type": "template", "altText": "x", "template": template}) == Rendered(
            ["Sure?", "[1] Yes", "[2] No"], [Choice("Yes", "postback", "y"), Choice("No", "postback", "n")]
        )

    def test_carousel(self) -> None:
        template = {
            "type": "carousel",
            "columns": [
                {"title": "Zoo", "text": "Animals", "actions": [say("Go", "zoo")]},
                {"text": "Sea", "actions": [say("Go", "sea")]},
            ],
        }

        assert render({"type": "template", "altText": "x", "template": template}) == Rendered(
            ["--- 1/2 ---", "Zoo", "Animals", "[1] Go", "--- 2/2 ---", "Sea", "[2] Go"],
            [Choice("Go", "message", "zoo"), Choice("Go", "message", "sea")],
        )

    def test_image_carousel(self) -> None:
        template = {
            "type": "image_carousel",
            "columns": [{"imageUrl": "https://a/1.jpg", "action": pick("First", "1")}],
        }

        assert render({"type": "template", "altText": "x", "template": template}) == Rendered(
            ["--- 1/1 ---", "[image] https://a/1.jpg", "[1] First"], [Choice("First", "postback", "1")]
        )


class TestFlex:
    def test_blocks_of_a_bubble_from_top_to_bottom(self) -> None:
        bubble = {
            "type": "bubble",
            "footer": {
                "type": "box",
                "layout": "vertical",
                "contents": [{"type": "button", "action": say("Buy", "b")}],
            },
            "body": {
                "type": "box",
                "layout": "vertical",
                "contents": [
                    {"type": "text", "contents": [{"type": "span", "text": "One "}, {"type": "span", "text": "day"}]},
                    {"type": "separator"},
                    {"type": "filler"},
                    {"type": "text", "text": "two\nlines", "wrap": True},
                ],
            },
            "hero": {"type": "image", "url": "https://a/h.jpg", "action": {"type": "uri", "uri": "https://a/hero"}},
            "header": {"type": "box", "layout": "vertical", "contents": [{"type": "text", "text": "Pass"}]},
        }

        assert render(flex(bubble)) == Rendered(
            [
                "Pass",
                "[image] https://a/h.jpg",
                "[1] link -> https://a/hero",
                "One day",
                "---",
                "two",
                "lines",
                "[2] Buy",
            ],
            [
                Choice("link", "uri", "https://a/hero"),
                Choice("Buy", "message", "b"),
            ],
        )

    def test_rows_stay_rows(self) -> None:
        row = {
            "type": "box",
            "layout": "baseline",
            "contents": [
                {"type": "icon", "url": "https://a/star.png"},
                {"type": "text", "text": "Price"},
                {"type": "text", "text": "$100"},
            ],
        }
        buttons = {
            "type": "box",
            "layout": "horizontal",
            "contents": [
                {"type": "button", "action": say("Yes", "y")},
                {"type": "button", "action": say("No", "n")},
            ],
        }
        body = {"type": "box", "layout": "vertical", "contents": [row, buttons]}

        assert render(flex({"type": "bubble", "body": body})) == Rendered(
            ["Price  $100", "[1] Yes  [2] No"], [Choice("Yes", "message", "y"), Choice("No", "message", "n")]
        )

    def test_columns_with_several_lines_come_one_after_the_other(self) -> None:
        columns = {
            "type": "box",
            "layout": "horizontal",
            "contents": [
                {"type": "box", "layout": "vertical", "contents": [{"type": "text", "text": "a\nb"}]},
                {"type": "text", "text": "c"},
            ],
        }

        assert render(flex({"type": "bubble", "body": columns})).lines == ["a", "b", "c"]

    def test_whatever_can_be_tapped_is_a_choice(self) -> None:
        bubble = {
            "type": "bubble",
            "hero": {"type": "video", "url": "https://a/v.mp4", "previewUrl": "https://a/p.jpg"},
            "body": {
                "type": "box",
                "layout": "vertical",
                "action": pick("", "box"),
                "contents": [{"type": "text", "text": "Book now", "action": say("for screen readers", "book")}],
            },
            "action": pick("Anywhere", "bubble"),
        }

        assert render(flex(bubble)) == Rendered(
            ["[video] https://a/v.mp4", "[1] Book now", "[2] box", "[3] Anywhere"],
            [
                Choice("Book now", "message", "book"),
                Choice("box", "postback", "box"),
                Choice("Anywhere", "postback", "bubble"),
            ],
        )

    def test_carousel(self) -> None:
        def bubble(text: str) -> dict[str, Any]:
            return {
                "type": "bubble",
                "body": {"type": "box", "layout": "vertical", "contents": [{"type": "text", "text": text}]},
            }

        carousel = {"type": "carousel", "contents": [bubble("one"), bubble("two")]}

        assert render(flex(carousel)) == Rendered(["--- 1/2 ---", "one", "--- 2/2 ---", "two"], [])
