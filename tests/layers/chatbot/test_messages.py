"""Nodes as LINE messages, filled with what is known of the user."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.messages import IMAGEMAP_AREAS, clipped, filled, fitted, message_of
from kernel.channels.line.validation import flaws_of_message
from tests.scenarios import (
    URL,
    box,
    bubble,
    button,
    condition_node,
    flex_node,
    imagemap_node,
    node,
    picture_node,
    say_action,
    sticker_node,
    text_node,
)

QUICK = {"items": [{"type": "action", "action": say_action("{{name}}")}]}
EMOJI = {"productId": "5ac1bfd5040ab15980c9b435", "emojiId": "001"}
ASTRAL = "\U0001f600"


def fill(message, **variables):
    return filled(message, lambda name: variables.get(name, ""))


def text(content, *indexes):
    message = {"type": "text", "text": content}
    return {**message, "emojis": [{**EMOJI, "index": index} for index in indexes]} if indexes else message


def indexes(message):
    return [emoji["index"] for emoji in message["emojis"]]


def units(string):
    return len(string.encode("utf-16-le")) // 2


class TestMessageOf:
    def test_text(self):
        assert message_of(text_node("a", "hello")) == {"type": "text", "text": "hello"}

    @pytest.mark.parametrize("given", [[{**EMOJI, "index": 0}], {**EMOJI, "index": 0}])
    def test_text_with_emojis_as_list_or_object(self, given):
        made = message_of(node("a", "text", {"type": "text", "text": "$ hello", "emojis": given}))

        assert made == {"type": "text", "text": "$ hello", "emojis": [{**EMOJI, "index": 0}]}

    @pytest.mark.parametrize("given", [[], {}, None, ""])
    def test_text_without_emojis(self, given):
        assert message_of(node("a", "text", {"type": "text", "text": "hello", "emojis": given})) == text("hello")

    @pytest.mark.parametrize("kind", ["input", "flex"])
    def test_bubble(self, kind):
        made = message_of(flex_node("a", "pick", kind=kind, title="Choose"))

        assert made == {"type": "flex", "altText": "Choose", "contents": bubble("pick")}
        assert flaws_of_message(made) == []

    @pytest.mark.parametrize(
        ("body", "title", "alt"),
        [
            (box({"type": "text", "text": "first"}, {"type": "text", "text": "second"}), "", "first"),
            (box(box({"type": "text", "text": "  "}), {"type": "text", "text": "deep"}), "", "deep"),
            (box({"type": "separator"}), "", "…"),
            (box({"type": "text", "text": "first"}), "t" * 2000, "t" * 1500),
        ],
    )
    def test_bubbles_have_the_title_or_their_first_text_as_alt_text(self, body, title, alt):
        made = message_of(node("a", "flex", {"type": "bubble", "body": body}, title=title))

        assert made["altText"] == alt

    @pytest.mark.parametrize("kind", ["image", "video"])
    def test_image_and_video(self, kind):
        made = message_of(picture_node("a", kind))

        assert made == {"type": kind, "originalContentUrl": URL, "previewImageUrl": URL}
        assert flaws_of_message(made) == []

    def test_sticker(self):
        assert message_of(sticker_node("a")) == {"type": "sticker", "packageId": "446", "stickerId": "1988"}

    def test_sticker_with_numbers(self):
        made = message_of(node("a", "sticker", {"type": "sticker", "packageId": 446, "stickerId": 1988}))

        assert made == {"type": "sticker", "packageId": "446", "stickerId": "1988"}

    @pytest.mark.parametrize(
        "ids", [{}, {"packageId": "446"}, {"stickerId": "1988"}, {"packageId": "", "stickerId": ""}]
    )
    def test_a_sticker_without_ids_cannot_be_shown(self, ids):
        assert message_of(node("a", "sticker", {"type": "sticker", **ids})) is None

    def test_conditions_and_empty_templates_show_nothing(self):
        assert message_of(condition_node("a")) is None
        assert message_of(node("a", "fb_generic", {})) is None

    def test_a_generic_template_of_messenger_stays_what_it_is(self):
        template = {"elements": [{"title": "{{x}}"}]}

        assert message_of(node("a", "fb_generic", template)) == {"type": "fb_generic", **template}

    @pytest.mark.parametrize("layout", IMAGEMAP_AREAS)
    def test_imagemap_of_every_layout(self, layout):
        options = [{"type": "message", "label": label, "text": label} for label in IMAGEMAP_AREAS[layout]]
        made = message_of(imagemap_node("a", *options, layout=layout))

        assert made["baseSize"] == {"width": 1040, "height": 1040}
        assert sum(a["area"]["width"] * a["area"]["height"] for a in made["actions"]) == 1040 * 1040
        assert flaws_of_message(made) == []

    def test_imagemap(self):
        uri = {"type": "uri", "label": "A", "url": "https://www.example.com/", "text": ""}
        say = {"type": "message", "label": "C", "url": "", "text": "keyword1"}

        assert message_of(imagemap_node("a", uri, say, layout="D")) == {
            "type": "imagemap",
            "baseUrl": "https://img.example.com/map",
            "altText": "map",
            "baseSize": {"width": 1040, "height": 1040},
            "actions": [
                {
                    "type": "uri",
                    "linkUri": "https://www.example.com/",
                    "area": {"x": 0, "y": 0, "width": 1040, "height": 586},
                },
                {
                    "type": "message",
                    "text": "keyword1",
                    "area": {"x": 520, "y": 586, "width": 520, "height": 454},
                },
            ],
        }

    @pytest.mark.parametrize(
        "made",
        [
            text_node("a"),
            flex_node("a"),
            picture_node("a"),
            picture_node("a", "video"),
            sticker_node("a"),
            imagemap_node("a"),
        ],
    )
    def test_every_message_may_carry_quick_replies(self, made):
        made["template"]["quickReply"] = QUICK
        message = message_of(made)

        assert message["quickReply"] == QUICK
        assert "quickReply" not in message.get("contents", {})
        assert fill(message, name="Ann")["quickReply"]["items"][0]["action"] == say_action("Ann")


class TestFilled:
    @pytest.mark.parametrize(
        ("template", "shown"),
        [
            ("Hi {{name}}!", "Hi Ann!"),
            ("Hi {{ name }}!", "Hi Ann!"),
            ("{{name}}{{name}}", "AnnAnn"),
            ("{{ who is it? }}", "nobody"),
            ("{{name}", "{{name}"),
            ("{name}", "{name}"),
            ("{{}}", "{{}}"),
            ("{{{name}}}", "{Ann}"),
            ("{{na{me}}", "{{na{me}}"),
            ("[{{unknown}}]", "[]"),
            ("{{unknown}}", " "),
            ("{{brace}}", "{{name}}"),
            ("{{" + "n" * 101 + "}}", "{{" + "n" * 101 + "}}"),
        ],
    )
    def test_replaces_placeholders(self, template, shown):
        filled_in = fill(text(template), name="Ann", brace="{{name}}", **{"who is it?": "nobody"})

        assert filled_in == text(shown)

    def test_blanks_after_an_opening_are_read_at_once(self):
        long = "{{" + " " * 4990

        assert fill(text(long)) == text(long)

    def test_fills_what_is_read_and_what_leads_on_and_leaves_the_rest(self):
        action = {"type": "postback", "label": "{{v}}", "data": "{{v}}", "displayText": "{{v}}", "fillInText": "{{v}}"}
        link = {"type": "uri", "label": "{{v}}", "uri": "https://example.com/{{v}}?q={{v}}"}
        template = bubble("{{v}}", footer=box(button(action), button(link), {"type": "image", "url": "{{v}}"}))
        contents = fill(message_of(node("a", "flex", template, title="{{v}}")), v="né+1")

        assert contents["altText"] == "né+1"
        assert contents["contents"]["body"] == box({"type": "text", "text": "né+1"})
        assert contents["contents"]["footer"] == box(
            button({"type": "postback", "label": "né+1", "data": "né+1", "displayText": "né+1", "fillInText": "né+1"}),
            button({"type": "uri", "label": "né+1", "uri": "https://example.com/n%C3%A9%2B1?q=n%C3%A9%2B1"}),
            {"type": "image", "url": "{{v}}"},
        )

    def test_a_telephone_number_keeps_its_plus(self):
        call = {"type": "uri", "label": "call", "uri": "tel:{{phone}}"}

        made = fill({"type": "flex", "altText": "a", "contents": bubble("b", footer=box(button(call)))}, phone="+886 2")

        assert made["contents"]["footer"]["contents"][0]["action"]["uri"] == "tel:+886%202"

    def test_fills_imagemaps(self):
        uri = {"type": "uri", "label": "A", "url": "https://example.com/?n={{v}}"}
        say = {"type": "message", "label": "B", "text": "{{v}}"}
        made = fill(message_of(imagemap_node("a", uri, say, layout="B")), v="a&b")

        assert [action.get("linkUri") or action["text"] for action in made["actions"]] == [
            "https://example.com/?n=a%26b",
            "a&b",
        ]

    def test_leaves_the_template_as_it_was(self):
        message = text("{{v}} $", 6)

        fill(message, v="long value")

        assert message == text("{{v}} $", 6)


class TestEmojis:
    @pytest.mark.parametrize(
        ("template", "places", "value", "shown", "moved"),
        [
            ("$ hello", [0], "", "$ hello", [0]),
            ("{{v}}$", [5], "Ann", "Ann$", [3]),
            ("{{v}}$", [5], "", "$", [0]),
            ("{{v}}$", [5], ASTRAL, f"{ASTRAL}$", [2]),
            (f"{ASTRAL}{{{{v}}}}$", [7], "", f"{ASTRAL}$", [2]),
            ("$ {{v}} $ {{v}} $", [0, 8, 16], "a longer text", "$ a longer text $ a longer text $", [0, 16, 32]),
            ("$ {{v}} $", [8, 0], "x", "$ x $", [4, 0]),
            ("$$", [0, 1], "x", "$$", [0, 1]),
            ("{{v}} $ {{v}}", [6], "$$", "$$ $ $$", [3]),
            ("{{v}} is $", [9], "中文", "中文 is $", [6]),
        ],
    )
    def test_move_with_the_text_before_them(self, template, places, value, shown, moved):
        made = fill(text(template, *places), v=value)

        assert made["text"] == shown
        assert indexes(made) == moved
        assert flaws_of_message(made) == []

    def test_are_sent_in_their_order_and_without_those_that_were_cut_off(self):
        template = "{{v}}$ and $"
        made = fitted(fill(text(template, 11, 5), v="x" * 4994))

        assert made == {**text("x" * 4994 + "$ and ", 4994)}
        assert flaws_of_message(made) == []

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(
        pieces=st.lists(st.sampled_from(["$", "{{v}}", "{{w}}", "a", ASTRAL, "中", "{", "}"]), min_size=1, max_size=30),
        v=st.text(alphabet=f"ab${ASTRAL}中", max_size=400),
    )
    def test_always_stand_on_their_own_sign(self, pieces, v):
        template = "".join(pieces)
        places = [units("".join(pieces[:place])) for place, piece in enumerate(pieces) if piece == "$"][:20]
        sent = fitted(fill(text(template, *places), v=v))

        if places:
            assert [sent["text"].encode("utf-16-le")[2 * index :][:2] for index in indexes(sent)] == [b"$\0"] * len(
                places
            )
        assert flaws_of_message(sent) == []


class TestFitted:
    def test_cuts_texts_at_5000_units(self):
        assert fitted(text("x" * 5001)) == text("x" * 5000)
        assert fitted(text("x" * 5000)) == text("x" * 5000)

    def test_never_cuts_a_character_apart(self):
        assert fitted(text("x" + ASTRAL * 2500)) == text("x" + ASTRAL * 2499)

    def test_cuts_alt_texts_at_1500_units(self):
        message = {"type": "flex", "altText": ASTRAL * 751, "contents": bubble("a")}

        assert fitted(message) == {**message, "altText": ASTRAL * 750}

    @pytest.mark.parametrize("made", [picture_node("a"), sticker_node("a"), imagemap_node("a")])
    def test_leaves_other_messages_alone(self, made):
        assert fitted(message_of(made)) == message_of(made)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.text(max_size=30), st.integers(min_value=0, max_value=40))
def test_clipped_is_the_longest_whole_start(string, limit):
    short = clipped(string, limit)

    assert string.startswith(short)
    assert units(short) <= limit
    assert short == string or units(string[: len(short) + 1]) > limit
