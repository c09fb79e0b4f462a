"""What keeps the nodes of a scenario from running: every flaw, each with its path."""

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatbot.graph import LEVELS_LIMIT, NODES_LIMIT, flaws_of_nodes
from chatbot.nodes import normalised
from chatbot.replies import CHECKS
from chatbot.tags import TagColor
from kernel.errors import Flaw
from tests.scenarios import (
    RED,
    about_follow_time,
    about_tag,
    about_variable,
    box,
    bubble,
    button,
    condition_node,
    flex_node,
    imagemap_node,
    node,
    period,
    picture_node,
    say_action,
    sticker_node,
    tap,
    text_node,
    to_node,
    to_scenario,
    user_reply,
)

OWN = "own"
OTHER = "other"
EMOJI = {"productId": "5ac1bfd5040ab15980c9b435", "emojiId": "001"}
A_COLOR = f"must be {', '.join(map(repr, get_args(TagColor)))} or ''"
SAVE_SCENARIO = Path(__file__).resolve().parents[3] / "events" / "chatbot" / "save_scenario.json"


def flaws(*nodes, known=(OTHER,)):
    return flaws_of_nodes([normalised(one) if isinstance(one, dict) else one for one in nodes], OWN, known)


def flaw(path, message):
    return Flaw(f"nodes[0].{path}", message)


def without(made, *names):
    return {name: value for name, value in made.items() if name not in names}


def templated(kind, **template):
    return node("a", kind, template)


def text_with(*emojis, text="$ hello"):
    return templated("text", type="text", text=text, emojis=list(emojis))


def area(label="A", kind="message", **more):
    return {"type": kind, "label": label, "url": "", "text": "menu", **more}


def mapped(*areas, **changes):
    made = imagemap_node("a", *areas)
    made["template"] |= changes
    return made


def footed(*contents):
    return flex_node("a", footer=box(*contents))


def quick(*actions):
    return {"items": [{"type": "action", "action": action} for action in actions]}


def booked(**changes):
    window = {"start": "09:00", "end": "18:00"}
    return text_node(
        "a", reservations_config=[{"scenario_id": OTHER, "reservationtime": 1, "window": window} | changes]
    )


def cros(**more):
    return {"cros": {"enable": True, "responseSetting": {"success": {}, "failed": {}}, **more}}


class TestAccepts:
    def test_the_documented_example(self):
        nodes = json.loads(json.loads(SAVE_SCENARIO.read_text(encoding="utf-8"))["body"])["nodes"]

        assert flaws(*nodes, known=()) == []

    @pytest.mark.parametrize(
        "template",
        [
            {"type": "sticker", "packageId": "446", "stickerId": "1988"},
            {
                "type": "imagemap",
                "layout": "B",
                "baseUrl": "https://res.example.com/images/ImageMap/0001/n4ud3h8n6-a9oa-l6f2-ct2i-555d20fb04c436/2355",
                "altText": "Hi test",
                "baseSize": {"width": "1040", "height": "1040"},
                "areaOptions": [
                    {"type": "uri", "label": "A", "url": "https://www.example.com/", "text": ""},
                    {"type": "message", "label": "B", "url": "", "text": "keyword1"},
                ],
            },
            {
                "type": "image",
                "originalContentUrl": "https://img.example.com/o.png",
                "previewImageUrl": "https://img.example.com/p.png",
            },
            {"type": "text", "text": "$ hello", "emojis": [{**EMOJI, "index": 0}]},
        ],
        ids=lambda template: template["type"],
    )
    def test_the_documented_templates(self, template):
        assert flaws(node("a", template["type"], template)) == []

    def test_the_documented_reservations_conditions_and_taps(self):
        scenario_id = "22b0cc7e-26a3-11ee-90ac-a698574f3611"
        node_id = "uhfdnektwyp-ylh7-0don-uhn2-ksp2d8eba8330"
        window = {"start": "09:00", "end": "18:00"}
        tag = {"color": "red-filter", "name": "tag name", "tagValue": "tag value"}
        nodes = [
            condition_node(
                "c",
                {
                    "value": "",
                    "scenario_id": "",
                    "nextNodeId": node_id,
                    "nextnodeType": "nnode",
                    "multi_condition": [about_variable("apply_count", "num_gt", "3")],
                },
            ),
            flex_node(
                node_id,
                reservations_config=[{"scenario_id": scenario_id, "reservationtime": 30, "window": window}],
                flex_config=[tap("keyword1", scenario_id, tag=tag, userVars=["employee_count"])],
            ),
        ]

        assert flaws(*nodes, known=[scenario_id]) == []

    def test_no_nodes(self):
        assert flaws() == []

    @pytest.mark.parametrize(
        "made",
        [
            text_node("a", level=1),
            text_node("a", level="0012"),
            text_node("a", sort=-(10**30)),
            text_node("a", nodeTag=None),
            text_node("a", nodeTag=[{}, {"name": "x"}, {"color": ""}]),
            *(text_node("a", nodeTag=[{"name": "x", "color": color}]) for color in get_args(TagColor)),
            text_node("a", userAction="", externalApi={}, condition_config={}, datetimeTrigger=None, flex_config=None),
            text_node("a", userAction={"userReply": None, "emptyVariable": {}}),
            text_node("a", varForms=[1, {"id": "f"}, "f"]),
            text_node("a", datetimeTrigger=period("2024-01-28 06:04:25", "2024-01-28 06:04:25")),
            text_node("a", datetimeTrigger=period("", "", enable=False)),
            text_node(
                "a", userAction=user_reply("x", checks=[(kind, "") for kind in CHECKS if kind not in ("Len", "RegExp")])
            ),
            text_node("a", userAction=user_reply(checks=[("Len", 5), (None, None)], compare="equal")),
            text_node("a", externalApi={"cors": {"enabled": False, "responseSetting": {"success": {}, "failed": {}}}}),
            text_node("a", nextNode=None, nextScenario=None),
            text_node("a", nextScenario=OTHER),
            templated("text", type="text", text="$", emojis={**EMOJI, "index": 0}),
            templated("text", type="text", text="😀$", emojis=[{**EMOJI, "index": 2}]),
            templated("text", type="text", text="x" * 5000),
            templated("text", type="text", text="{{name}}"),
            templated("text", type="text", text="{{name}}$", emojis=[{**EMOJI, "index": 8}]),
            templated("text", type="text", text="hi", quickReply=quick(say_action("{{name}}"))),
            templated("sticker", type="sticker"),
            templated("sticker", type="sticker", packageId=446, stickerId=1988),
            node("a", "fb_generic", {"anything": [1]}),
            node("a", "fb_generic", {}),
            picture_node("a", "video"),
            flex_node("a", kind="input"),
            flex_node("a", flex_config=[tap("", OTHER)]),
            booked(scenario_id="", window={"start": "", "end": ""}),
            flex_node("a", title=""),
            node("a", "flex", bubble("pick", quickReply=quick(say_action("yes")))),
            footed(button({"type": "uri", "label": "{{n}}", "uri": "https://example.com/{{n}}"})),
            mapped(baseSize={"width": 1040, "height": 1040}),
            condition_node("a", kind="bysegment"),
            condition_node("a", kind="https://example.com/ask"),
            condition_node("a", to_scenario(OTHER), to_node("")),
            condition_node("a", to_node("", about_tag("x", "has_value"), about_follow_time("no_value"))),
        ],
    )
    def test_what_editors_send(self, made):
        assert flaws(made) == []


# node, path below nodes[0], message
FLAWS = [
    (without(text_node("a"), "nodeId"), "nodeId", "is required"),
    (text_node("", "hi"), "nodeId", "has characters or a form that is not allowed here"),
    (text_node("a#b"), "nodeId", "has characters or a form that is not allowed here"),
    (text_node("a" * 65), "nodeId", "has characters or a form that is not allowed here"),
    (text_node("a") | {"nodeId": 7}, "nodeId", "must be a valid string"),
    (without(text_node("a"), "type"), "type", "is required"),
    (
        node("a", "audio", {}),
        "type",
        "must be 'condition', 'fb_generic', 'flex', 'imagemap', 'image', 'input', 'sticker', 'text' or 'video'",
    ),
    (without(text_node("a"), "title"), "title", "is required"),
    (text_node("a", title="t" * 1501), "title", "must have at most 1500 characters"),
    (without(text_node("a"), "level"), "level", "is required"),
    (text_node("a", level="first"), "level", "has characters or a form that is not allowed here"),
    (text_node("a", level=1.5), "level", "has characters or a form that is not allowed here"),
    (without(text_node("a"), "sort"), "sort", "is required"),
    (text_node("a", sort="1"), "sort", "must be a valid integer"),
    (text_node("a", sort=True), "sort", "must be a valid integer"),
    (without(text_node("a"), "template"), "template", "is required"),
    (node("a", "text", "hello"), "template", "must be an object"),
    (text_node("a", nodeTag=[{"name": "x", "color": "red"}]), "nodeTag[0].color", A_COLOR),
    (text_node("a", nodeTag=[{"name": 1}]), "nodeTag[0].name", "must be a valid string"),
    (text_node("a", next="b"), "nextNode", "names an unknown node"),
    (text_node("a", nextScenario="gone"), "nextScenario", "names an unknown scenario"),
    (text_node("a", nextNode=5), "nextNode", "must be a valid string"),
    (
        booked(reservationtime="30"),
        "reservations_config[0].reservationtime",
        "must be a valid integer",
    ),
    (
        booked(reservationtime=-1),
        "reservations_config[0].reservationtime",
        "must be greater than or equal to 0",
    ),
    (
        booked(window={"start": "24:00", "end": "18:00"}),
        "reservations_config[0].window.start",
        "has characters or a form that is not allowed here",
    ),
    (
        booked(scenario_id="gone"),
        "reservations_config[0].scenario_id",
        "names an unknown scenario",
    ),
    (
        text_node("a", datetimeTrigger=period("tomorrow")),
        "datetimeTrigger",
        "must be a time like 2024-01-28 06:04:25.693",
    ),
    (
        text_node("a", datetimeTrigger=period("2024-01-29 00:00:00", "2024-01-28 00:00:00")),
        "datetimeTrigger",
        "startTime is after endTime",
    ),
    (
        text_node("a", datetimeTrigger=period("0001-01-01 00:00:00+08:00")),
        "datetimeTrigger",
        "must be a time between the years 1 and 9999",
    ),
    (text_node("a", datetimeTrigger=period(enable="false")), "datetimeTrigger.enable", "must be a valid boolean"),
    (text_node("a", externalApi=cros(enable="off")), "externalApi.cros.enable", "must be a valid boolean"),
    (
        text_node("a", externalApi=cros(responseSetting={"failed": {"nextNodeId": "b"}})),
        "externalApi.cros.responseSetting.failed.nextNodeId",
        "names an unknown node",
    ),
    (
        text_node("a", externalApi=cros(responseSetting={"success": {"scenarioId": "gone"}})),
        "externalApi.cros.responseSetting.success.scenarioId",
        "names an unknown scenario",
    ),
    # Conditions
    (node("a", "condition", {}), "condition_config", "is required"),
    (node("a", "condition", {}, condition_config={}), "condition_config", "is required"),
    (node("a", "condition", {}, condition_config={"config_url": "bytag"}), "condition_config.options", "is required"),
    (condition_node("a", kind="bymood"), "condition_config", "config_url must be a URL, 'bysegment' or 'bytag'"),
    (
        condition_node("a", {"nextnodeType": "x"}),
        "condition_config.options[0].nextnodeType",
        "must be 'snode' or 'nnode'",
    ),
    (condition_node("a", to_node(""), to_node("b")), "condition_config.options[1].nextNodeId", "names an unknown node"),
    (condition_node("a", to_scenario("gone")), "condition_config.options[0].scenario_id", "names an unknown scenario"),
    (
        condition_node("a", to_node("", about_variable("x", "is"))),
        "condition_config.options[0].multi_condition[0].expression",
        "must be 'exactly_match', 'fuzzy_match', 'has_value', 'no_value', 'num_range', 'num_gt', 'num_lt' "
        "or 'date_range'",
    ),
    (
        condition_node("a", to_node("", about_variable("x", "has_value") | {"source": "serverpushtime"})),
        "condition_config.options[0].multi_condition[0].source",
        "must be 'tag', 'uservariable', 'followtime' or 'cvkey'",
    ),
    (
        condition_node("a", to_node("", about_variable("", "has_value"))),
        "condition_config.options[0].multi_condition[0]",
        "needs uservariable.name for source uservariable",
    ),
    (
        condition_node("a", to_node("", {"source": "uservariable", "expression": "has_value"})),
        "condition_config.options[0].multi_condition[0]",
        "needs uservariable.name for source uservariable",
    ),
    (
        condition_node("a", to_node("", {"source": "tag", "tag": "", "expression": "has_value"})),
        "condition_config.options[0].multi_condition[0]",
        "needs tag.name for source tag",
    ),
    (
        condition_node("a", to_node("", about_tag("x", "has_value", color="red"))),
        "condition_config.options[0].multi_condition[0].tag.color",
        A_COLOR,
    ),
    # Taps and replies
    (flex_node("a", flex_config=[tap("yes", "gone")]), "flex_config[0].scenarioId", "names an unknown scenario"),
    (flex_node("a", flex_config=[{}]), "flex_config[0].replacement_str", "is required"),
    (
        text_node("a", userAction=user_reply(success={"nextNodeId": "b"})),
        "userAction.userReply.validate.success.nextNodeId",
        "names an unknown node",
    ),
    (
        text_node("a", userAction=user_reply(failed={"scenarioId": "gone"})),
        "userAction.userReply.validate.failed.scenarioId",
        "names an unknown scenario",
    ),
    (
        text_node("a", userAction=user_reply(checks=[("Num", ""), ("Zip", "")])),
        "userAction.userReply.validate.inputList[1]",
        "type must be one of Eng, Num, Len, RegExp, Phone, Post, City",
    ),
    (
        text_node("a", userAction=user_reply(checks=[(None, ""), ("Len", "five")], compare="equal")),
        "userAction.userReply.validate.inputList[1].value",
        "must be a whole number of at most 5 digits for a Len check",
    ),
    (
        text_node("a", userAction=user_reply(checks=[("Len", "5")])),
        "userAction.userReply.selectCompare",
        "must be lessThan, moreThan or equal for a Len check",
    ),
    (
        text_node("a", userAction=user_reply(compare="longer")),
        "userAction.userReply.selectCompare",
        "must be 'lessThan', 'moreThan', 'equal' or ''",
    ),
    (
        text_node("a", userAction=user_reply(checks=[("RegExp", "[a")])),
        "userAction.userReply.validate.inputList[0].value",
        "is no pattern: unterminated character set at position 2",
    ),
    (
        text_node("a", userAction=user_reply("x") | {"emptyVariable": {"variable": ["x"]}}),
        "userAction.emptyVariable.variable",
        "must be an object",
    ),
    (
        text_node("a", userAction={"userReply": {"variable": {"x": {}}, "encryption": "false"}}),
        "userAction.userReply.encryption",
        "must be a valid boolean",
    ),
    # Templates
    (templated("text", type="bubble"), "template.type", "must be 'text' for a node of type text"),
    (templated("input", type="text", text="x"), "template.type", "must be 'bubble' for a node of type input"),
    (templated("video", type="image"), "template.type", "must be 'video' for a node of type video"),
    (templated("image"), "template.type", "must be 'image' for a node of type image"),
    (templated("text", type="text"), "template.text", "must be a string"),
    (templated("text", type="text", text=""), "template.text", "must not be empty"),
    (templated("text", type="text", text="x" * 5001), "template.text", "must be at most 5000 characters"),
    (templated("text", type="text", text="x" * 6000 + "{{name}}"), "template.text", "must be at most 5000 characters"),
    (text_with({**EMOJI, "index": 1}), "template.emojis[0].index", "must be the position of a $ in text"),
    (text_with({**EMOJI, "index": 5000}), "template.emojis[0].index", "must be the position of a $ in text"),
    (text_with({**EMOJI}), "template.emojis[0].index", "must be the place of its own $ in the text"),
    (text_with({**EMOJI, "index": "0"}), "template.emojis[0].index", "must be the place of its own $ in the text"),
    (text_with({**EMOJI, "index": True}), "template.emojis[0].index", "must be the place of its own $ in the text"),
    (text_with({**EMOJI, "index": 0}, 5), "template.emojis[1].index", "must be the place of its own $ in the text"),
    (
        text_with({**EMOJI, "index": 0}, {**EMOJI, "index": 0}),
        "template.emojis[1].index",
        "must be the place of its own $ in the text",
    ),
    (text_with({"index": 0, "productId": "p"}), "template.emojis[0].emojiId", "is required"),
    (
        text_with({**EMOJI, "index": 2}, {"index": 0, "productId": "p"}, text="$ $"),
        "template.emojis[1].emojiId",
        "is required",
    ),
    (templated("text", type="text", text="$", emojis="$"), "template.emojis", "must be an object or a list of objects"),
    (
        templated("image", type="image", originalContentUrl="https://a.example/b"),
        "template.previewImageUrl",
        "must be a string",
    ),
    (
        templated(
            "image", type="image", originalContentUrl="https://a.example/b", previewImageUrl="http://a.example/b"
        ),
        "template.previewImageUrl",
        "must be a URL that starts with https://",
    ),
    (
        templated(
            "video", type="video", originalContentUrl="https://a.example/片", previewImageUrl="https://a.example/b"
        ),
        "template.originalContentUrl",
        "must be percent-encoded",
    ),
    (templated("sticker", type="sticker", packageId={}, stickerId="1"), "template.packageId", "must be a string"),
    (
        templated("text", type="text", text="hi", quickReply=quick(*[say_action("x")] * 14)),
        "template.quickReply.items",
        "must hold 1 to 13 items",
    ),
    (
        node("a", "flex", bubble("pick", quickReply=quick({"type": "message", "text": "x"}))),
        "template.quickReply.items[0].action.label",
        "is required",
    ),
    (node("a", "flex", bubble("pick", editorKey=1)), "template.editorKey", "is not a property of a Flex bubble"),
    (
        node("a", "flex", bubble("pick", size="huge")),
        "template.size",
        "must be one of 'nano', 'micro', 'deca', 'hecto', 'kilo', 'mega', 'giga'",
    ),
    (flex_node("a", ""), "template.body.contents[0].text", "must not be empty"),
    (
        footed(button({"type": "uri", "label": "x", "uri": "{{link}}"})),
        "template.footer.contents[0].action.uri",
        "must be a URL that starts with http:// or https:// or line:// or tel:",
    ),
    (footed({"type": "text", "text": "x" * 40_000}), "template", "must be at most 30 KB of JSON"),
    # Imagemaps
    (mapped(layout="F"), "template.layout", "must be one of A, B, C, D, E"),
    (mapped(area("B")), "template.areaOptions[0].label", "must be one of A in layout A"),
    (mapped(area("E"), layout="E"), "template.areaOptions[0].label", "must be one of A, B, C, D in layout E"),
    (mapped(area("A"), area("A"), layout="B"), "template.areaOptions[1].label", "is there twice"),
    (mapped(area(["A"])), "template.areaOptions[0].label", "must be one of A in layout A"),
    (mapped(area(kind="call")), "template.areaOptions[0].type", "must be one of uri, message"),
    (mapped(area(kind="uri")), "template.areaOptions[0].url", "is required for type uri"),
    (mapped(area(text="")), "template.areaOptions[0].text", "is required for type message"),
    (mapped(area(text="x" * 401)), "template.areaOptions[0].text", "must be at most 400 characters"),
    (
        mapped(area(kind="uri", url="ftp://example.com")),
        "template.areaOptions[0].url",
        "must be a URL that starts with http:// or https:// or line:// or tel:",
    ),
    (mapped("A"), "template.areaOptions[0]", "must be an object"),
    (mapped(areaOptions=[]), "template.areaOptions", "must be a list with at least one area"),
    (mapped(areaOptions={}), "template.areaOptions", "must be a list with at least one area"),
    (mapped(baseSize={"width": "1040", "height": "520"}), "template.baseSize.height", "must be 1040"),
    (mapped(baseSize={"width": "1040", "height": True}), "template.baseSize.height", "must be 1040"),
    (mapped(baseUrl=None), "template.baseUrl", "must be a string"),
    (mapped(baseUrl="http://example.com/a"), "template.baseUrl", "must be a URL that starts with https://"),
    (mapped(altText="x" * 1501), "template.altText", "must be at most 1500 characters"),
]


class TestFlaws:
    @pytest.mark.parametrize(("made", "path", "message"), FLAWS, ids=[str(case[1]) for case in FLAWS])
    def test_is_named_with_its_path(self, made, path, message):
        assert flaws(made) == [flaw(path, message)]

    @pytest.mark.parametrize("made", [None, 1, "node", [], [{}]])
    def test_what_is_no_object(self, made):
        assert flaws(made) == [Flaw("nodes[0]", "must be an object")]

    def test_several_in_one_template(self):
        made = node("a", "input", {"type": "bubble", "body": {"type": "text", "emojis": [{}]}})

        assert flaws(made) == [
            flaw("template.body.type", "must be 'box'"),
            flaw("template.body.emojis", "is not a property of a Flex box"),
            flaw("template.body.layout", "is required"),
            flaw("template.body.contents", "is required"),
        ]

    def test_a_node_id_that_is_there_before(self):
        assert flaws(text_node("a"), text_node("b"), text_node("a"), sticker_node("a")) == [
            Flaw("nodes[2].nodeId", "is already the id of nodes[0]"),
            Flaw("nodes[3].nodeId", "is already the id of nodes[0]"),
        ]

    def test_too_many_nodes(self):
        nodes = [text_node(f"n{number}") for number in range(NODES_LIMIT + 1)]

        assert flaws(*nodes) == [Flaw("nodes", "must be at most 300 nodes")]
        assert flaws(*nodes[:-1]) == []

    def test_all_at_once(self):
        nodes = [
            text_node("a", "", next="nowhere", sort="1"),
            node("b", "audio", {}, nextScenario="gone"),
            7,
            text_node(
                "a",
                level="x",
                userAction=user_reply(checks=[("Len", "x"), ("RegExp", "(")], failed={"nextNodeId": "c"}),
            ),
            mapped(area("B", kind="uri"), area("C"), layout="A", baseUrl=1) | {"nodeId": "m"},
        ]

        assert [one.path for one in flaws(*nodes)] == [
            "nodes[0].sort",
            "nodes[0].template.text",
            "nodes[0].nextNode",
            "nodes[1].type",
            "nodes[1].nextScenario",
            "nodes[2]",
            "nodes[3].level",
            "nodes[3].userAction.userReply.validate.inputList[0].value",
            "nodes[3].userAction.userReply.selectCompare",
            "nodes[3].userAction.userReply.validate.inputList[1].value",
            "nodes[3].nodeId",
            "nodes[3].userAction.userReply.validate.failed.nextNodeId",
            "nodes[4].template.baseUrl",
            "nodes[4].template.areaOptions[0].label",
            "nodes[4].template.areaOptions[0].url",
            "nodes[4].template.areaOptions[1].label",
        ]

    def test_a_flawed_node_is_still_a_target(self):
        assert flaws(text_node("a", next="b"), text_node("b", "")) == [
            Flaw("nodes[1].template.text", "must not be empty")
        ]


def circle(place, *names):
    ring = " → ".join([*names, names[0]])
    return [Flaw(f"nodes[{place}]", f"closes a circle that never waits for the user: {ring}")]


WAITS = {"userAction": user_reply("x")}


class TestCircles:
    def test_through_the_next_node(self):
        assert flaws(text_node("a", next="a")) == circle(0, "a")
        assert flaws(text_node("a", next="b"), text_node("b", next="c"), text_node("c", next="b")) == circle(
            2, "b", "c"
        )

    def test_through_a_branch(self):
        nodes = [condition_node("a", to_node("b", about_variable("x", "has_value"))), text_node("b", next="a")]

        assert flaws(*nodes) == circle(1, "a", "b")

    def test_through_a_branch_to_the_own_scenario(self):
        assert flaws(text_node("a", next="b"), condition_node("b", to_scenario(OWN), sort=2)) == circle(1, "a", "b")

    def test_through_the_own_scenario(self):
        assert flaws(text_node("b", nextScenario=OWN, sort=2), text_node("a", next="b", sort=1)) == circle(1, "b", "a")

    def test_through_a_failing_call(self):
        call = cros(responseSetting={"failed": {"nextNodeId": "a"}})

        assert flaws(text_node("a", next="b"), text_node("b", externalApi=call)) == circle(1, "a", "b")

    def test_through_a_condition_that_carries_a_reply_as_editors_send_it(self):
        for choice in (condition_node("a", to_node("b"), **WAITS), condition_node("a", next="b", **WAITS)):
            assert flaws(choice, text_node("b", next="a")) == circle(1, "a", "b")

    def test_past_a_waiting_node_whose_period_may_be_over(self):
        timed = text_node("b", next="a", datetimeTrigger=period("", "2024-01-28 00:00:00"), **WAITS)

        assert flaws(text_node("a", next="b"), timed) == circle(1, "a", "b")

    def test_into_the_own_scenario_whose_first_node_may_not_be_usable(self):
        nodes = [
            text_node("a", datetimeTrigger=period("2024-01-28 00:00:00"), **WAITS),
            text_node("b", next="c", sort=2),
            text_node("c", nextScenario=OWN, sort=3),
        ]

        assert flaws(*nodes) == circle(2, "b", "c")

    def test_each_of_several(self):
        nodes = [text_node("a", next="a"), text_node("b", next="c"), text_node("c", next="b")]

        assert flaws(*nodes) == circle(0, "a") + circle(2, "b", "c")

    @pytest.mark.parametrize(
        "nodes",
        [
            [text_node("a", next="b", **WAITS), text_node("b", next="a")],
            [text_node("a", next="a", userAction=user_reply(checks=[("Num", "")]))],
            [text_node("a", next="b"), text_node("b", userAction=user_reply(failed={"nextNodeId": "a"}))],
            [text_node("a", nextScenario=OWN, **WAITS)],
            [text_node("a", nextScenario=OTHER)],
            [text_node("a", next="c"), text_node("b", next="c"), text_node("c")],
            [flex_node("a", flex_config=[tap("again", OWN)])],
            [
                text_node(
                    "a", externalApi={"cros": {"enable": False, "responseSetting": {"failed": {"nextNodeId": "a"}}}}
                )
            ],
            [text_node("a", condition_config={"config_url": "bytag", "options": [to_node("a")]})],
            [
                text_node(
                    "a",
                    datetimeTrigger=period("2024-01-28 00:00:00"),
                    userAction=user_reply(checks=[("Num", "")], failed={"nextNodeId": "a"}),
                )
            ],
            [text_node("a", "first"), text_node("b", nextScenario=OWN, sort=2)],
        ],
    )
    def test_that_wait_or_are_none(self, nodes):
        assert flaws(*nodes) == []

    def test_are_not_looked_for_while_a_node_is_unsound(self):
        assert flaws(text_node("a", next="a"), text_node("b", "")) == [
            Flaw("nodes[1].template.text", "must not be empty")
        ]

    def test_a_ring_of_all_nodes_and_a_net_of_them(self):
        ring = [text_node(f"n{number}", next=f"n{(number + 1) % 300}") for number in range(300)]
        net = [
            condition_node(f"n{number}", *(to_node(f"n{other}") for other in range(number + 1, min(number + 90, 300))))
            for number in range(300)
        ]

        assert flaws(*ring) == circle(299, *(f"n{number}" for number in range(300)))
        assert flaws(*net) == []


def nested(levels):
    value = "x"
    for _ in range(levels):
        value = {"contents": [value]}
    return value


_LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_SOUND = [
    text_node("a", "$", nodeTag=[{"name": "x", "color": RED}]),
    templated("text", type="text", text="$", emojis=[{**EMOJI, "index": 0}]),
    flex_node("a", flex_config=[tap("x", OWN, tag={"name": "x"})], userAction=user_reply("x", checks=[("Num", "")])),
    imagemap_node("a"),
    picture_node("a"),
    sticker_node("a"),
    condition_node("a", to_node("a", about_variable("x", "num_gt", "1"), about_tag("x", "has_value"))),
    text_node("a", externalApi=cros(), datetimeTrigger=period("2024-01-28 00:00:00")),
]


def _words(value):
    """Returns all names and texts that stand in a JSON value."""
    if isinstance(value, dict):
        return set(value) | _words(list(value.values()))
    if isinstance(value, list):
        return set().union(*map(_words, value))
    return {value} if isinstance(value, str) else set()


_WORD = st.sampled_from(sorted(_words(_SOUND) | {OTHER, "RegExp", "Len", "equal", "bysegment", "uri", "{{x}}", "("}))
_JSON = st.recursive(
    _LEAF | _WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORD, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def damaged(draw):
    """Draws a sound node in which one part, however deep, was replaced by any JSON."""
    made = json.loads(json.dumps(draw(st.sampled_from(_SOUND))))
    part = made
    while True:
        names = list(part) if isinstance(part, dict) else list(range(len(part)))
        name = draw(st.sampled_from(names))
        if not isinstance(part[name], dict | list) or not part[name] or draw(st.integers(0, 3)) == 0:
            part[name] = draw(_JSON)
            return made
        part = part[name]


class TestHostileInput:
    def check(self, nodes):
        found = flaws_of_nodes(nodes, OWN, [OTHER])

        assert all(isinstance(one, Flaw) and isinstance(one.path, str) and one.message for one in found)
        assert all(one.path == "nodes" or one.path.startswith("nodes[") for one in found)
        return found

    @settings(deadline=None, derandomize=True, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(_JSON | st.dictionaries(_WORD, _JSON, max_size=12), max_size=4))
    def test_any_json(self, nodes):
        self.check(nodes)

    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(st.lists(damaged(), min_size=1, max_size=2))
    def test_sound_nodes_with_one_part_damaged(self, nodes):
        self.check([normalised(one) for one in nodes])

    @pytest.mark.parametrize(
        "where", ["template", "nodeConst", "varForms", "userAction", "nodeTag", "condition_config"]
    )
    def test_deep_nesting(self, where):
        made = flex_node("a") | {where: nested(5000)}

        assert self.check([made]) == [Flaw("nodes[0]", f"is nested deeper than {LEVELS_LIMIT} levels")]

    def test_nesting_up_to_the_limit_is_judged(self):
        made = text_node("a", nodeConst=nested(LEVELS_LIMIT // 2 - 1))

        assert self.check([made]) == []

    @pytest.mark.parametrize(
        "made",
        [
            text_node("a", "x" * 1_000_000),
            text_node("a", "{{" * 100_000),
            text_node("a", "{{" + " " * 1_000_000),
            text_node("a", nodeTag=[{"name": "x"}] * 20_000),
            text_node("a", userAction=user_reply(checks=[("Num", "")] * 20_000)),
            flex_node("a", footer=box(*[{"type": "text", "text": "x"}] * 10_000)),
            flex_node("a", flex_config=[tap("x")] * 20_000),
            condition_node("a", *[to_node("")] * 20_000),
            imagemap_node("a", *[area()] * 10_000),
            templated("text", type="text", text="$" * 10_000, emojis=[{**EMOJI, "index": n} for n in range(10_000)]),
        ],
        ids=[
            "text",
            "braces",
            "blanks",
            "tags",
            "checks",
            "contents",
            "taps",
            "branches",
            "areas",
            "emojis",
        ],
    )
    def test_huge_parts(self, made):
        assert self.check([made]) != []

    @pytest.mark.parametrize("known", [[], [OTHER], {OTHER}, (OTHER, "more")])
    def test_takes_any_collection_of_known_scenarios(self, known):
        found = flaws_of_nodes([text_node("a", nextScenario=OTHER)], OWN, known)

        assert found == ([] if known else [flaw("nextScenario", "names an unknown scenario")])


def test_normalised_emits_the_spellings_of_the_examples():
    given = text_node("a", level=2, externalApi={"cors": {"enabled": True, "others": {}}, "more": 1})
    del given["error"]

    made = normalised(given)

    assert made["level"] == "2"
    assert made["externalApi"] == {"cros": {"enable": True, "others": {}}, "more": 1}
    assert made["error"] == 0
    assert normalised(made) == made
    assert given["level"] == 2
