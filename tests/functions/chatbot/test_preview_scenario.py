"""Previews: what users would see, and nothing that they, or anybody else, would notice."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from functions.chatbot.preview_scenario import preview_scenario
from kernel import aws
from local.cros_double import CrosDouble
from tests.chats import ANN, IDS, talking
from tests.functions.chatbot.examples import FUNCTIONS, ok, refused, sample
from tests.functions.chatbot.examples import IDS as EXAMPLE_IDS
from tests.functions.chatbot.examples import node as example_node
from tests.functions.chatbot.examples import scenario as example
from tests.layers.chatbot.test_engine_properties import SCENARIOS, TAPS, sound
from tests.scenarios import (
    about_variable,
    condition_node,
    flex_node,
    tap,
    text_node,
    to_node,
    user_reply,
)

maybe = st.sampled_from


@pytest.fixture
def chat(cloud, monkeypatch):
    with talking(cloud, monkeypatch) as made:
        yield made


def preview(chat, *inputs, **more):
    """Return the steps of a preview."""
    given = [one if isinstance(one, dict) else {"type": "text", "text": one} for one in inputs]
    return chat.operate("preview_scenario", inputs=given, **more)["data"]


def said(steps):
    return [[message.get("text") or message.get("altText") for message in step["messages"]] for step in steps]


def test_takes_the_sample(cloud, account):
    choice = example_node(
        "c",
        2,
        type="condition",
        template={},
        condition_config={
            "config_url": "bytag",
            "options": [to_node("adult", about_variable("age", "num_gt", "17"))],
        },
        nextNode="child",
    )
    reply = {"userReply": {"variable": {"age": {"name": "age"}}}}
    nodes = [
        example_node(
            "ask", userAction=reply, nextNode="c", template={"type": "text", "text": "{{employee_count}}, age?"}
        ),
        choice,
        example_node("adult", 3),
        example_node("child", 4),
    ]
    scenario_id = json.loads(sample("preview_scenario")["body"])["scenarioId"]
    assert cloud.call(FUNCTIONS["save_scenario"], example(scenario_id, *nodes)) == ok()

    answer = preview_scenario(sample("preview_scenario"), None)

    known = {"tags": [], "booked": [], "facts": {}}
    asked = {"employee_count": "3"}
    text = {"type": "text", "text": "18", "action": ""}
    assert (answer["statusCode"], json.loads(answer["body"])["Result"]) == (
        200,
        {
            "data": [
                {
                    "input": None,
                    "messages": [{"type": "text", "text": "3, age?"}],
                    "variables": asked,
                    "nodeId": "ask",
                    "waiting": "ask",
                    **known,
                },
                {
                    "input": text,
                    "messages": [{"type": "text", "text": "adult"}],
                    "variables": {**asked, "age": "18"},
                    "nodeId": "adult",
                    "waiting": "",
                    **known,
                },
            ],
            "warnings": [],
        },
    )


class TestDrafts:
    def test_run_without_being_saved(self, chat):
        chat.save("s", text_node("old"), keywords=["go"])
        before = chat.cloud.everything()
        draft = {"scenarioId": "s", "scenarioName": "s", "trigger": "keyword", "keywords": ["new"]}

        steps = preview(chat, "new", "go", scenario=draft, nodes=[text_node("draft")], started=False)
        assert said(steps) == [["draft"], []]
        assert chat.cloud.everything() == before
        assert chat.say(ANN, "go") == ["old"]

    def test_take_the_place_of_what_is_stored(self, chat):
        chat.save("s", text_node("old"), trigger="error")
        chat.save("t", text_node("t", nextScenario="s"), keywords=["t"])
        draft = {"scenarioId": "s", "scenarioName": "s", "trigger": "error"}

        steps = preview(chat, "t", "what", {"type": "other"}, scenario=draft, nodes=[text_node("draft")])
        assert said(steps) == [["draft"], ["t", "draft"], ["draft"], ["draft"]]

    def test_of_a_new_scenario_follow_and_lead_on(self, chat):
        chat.save("t", text_node("t"))
        draft = {"scenarioId": "", "scenarioName": "s", "trigger": "follow"}
        nodes = [text_node("hello", nextScenario="t")]

        steps = preview(chat, {"type": "follow"}, {"type": "unfollow"}, scenario=draft, nodes=nodes, started=False)
        assert said(steps) == [["hello", "t"], []]

    def test_are_refused_with_every_flaw(self, chat, refuses):
        draft = {"scenarioId": "", "scenarioName": 1, "trigger": ""}
        flaws = "scenario.scenarioName must be a valid string; nodes[0].nextNode names an unknown node"
        body = {**IDS, "scenario": draft, "nodes": [text_node("a", next="gone")]}
        refuses(preview_scenario, [(body, flaws)])

    def test_say_what_the_channel_cannot_show(self, chat):
        draft = {"scenarioId": "", "scenarioName": "s", "trigger": ""}
        generic = {**text_node("a"), "type": "fb_generic", "template": {"elements": [{"title": "a"}]}}

        answer = chat.operate("preview_scenario", scenario=draft, nodes=[generic])
        assert answer["warnings"] == ["nodes[0] shows nothing: LINE has no generic template"]


class TestWorld:
    def test_segments_urls_and_the_service_are_as_the_request_says(self, chat):
        with CrosDouble() as double:
            out = {"cros": {"enable": True, "responseSetting": {}, "others": {"orderIdReplace": True}}}
            nodes = [
                condition_node("a", {**to_node("vip"), "value": "vips"}, kind="bysegment", next="none"),
                text_node("none", next="b", sort=2),
                text_node("vip", next="b", sort=3),
                condition_node("b", {**to_node("yes"), "value": "yes"}, kind=f"{double.url}/ask", next="order", sort=4),
                text_node("yes", next="order", sort=5),
                text_node("order", "order OrderId", externalApi=out, sort=6),
            ]
            chat.save("s", *nodes)
            calls = []
            aws.observers.append(calls.append)
            plain = preview(chat, scenarioId="s")
            world = {
                "segments": ["vips"],
                "urls": {f"{double.url}/ask": "yes"},
                "external": {"ok": True, "orderId": "7"},
            }
            told = preview(chat, scenarioId="s", **world)
            aws.observers.remove(calls.append)

            assert said(plain) == [["none"]]
            assert said(told) == [["vip", "yes", "order 7"]]
            assert double.requests == []
        assert chat.line.calls == []
        assert {call.action for call in calls} <= {"GetItem", "BatchGetItem", "Query"}

    def test_variables_are_readable_and_bookings_told(self, chat):
        chat.save("later", text_node("z"))
        booked = [{"scenario_id": "later", "reservationtime": 30, "window": {"start": "", "end": ""}}]
        ask = text_node("ask", next="got", userAction=user_reply("id", encryption=True), reservations_config=booked)
        chat.save("s", ask, text_node("got", "got {{id}}"), keywords=["go"])

        first, second = preview(chat, "A123456789", scenarioId="s")
        assert first["booked"] == ["later in 30 min"]
        assert second["variables"] == {"id": "A123456789"}
        assert said([second]) == [["got A123456789"]]
        assert chat.cloud.rows("due") == chat.cloud.rows("variable-history") == chat.cloud.rows("turns") == []

    def test_taps_are_actions(self, chat):
        chat.save("there", text_node("z", "on {{when}}"))
        chat.save("s", flex_node("f", flex_config=[tap("when", "there", userVars=["when"])]))

        steps = preview(chat, {"type": "text", "text": "2024-01-28", "action": "when"}, scenarioId="s")
        assert said(steps) == [["pick"], ["on 2024-01-28"]]


def test_refuses(chat, refuses):
    chat.save("s", text_node("a"))
    refuses(
        preview_scenario,
        [
            ({**IDS}, "scenarioId or scenario is required"),
            ({**IDS, "scenarioId": "gone"}, "scenarioId not found"),
            (
                {**IDS, "scenarioId": "s", "inputs": [{}] * 51},
                "inputs must have at most 50 items",
            ),
            (
                {**IDS, "scenarioId": "s", "inputs": [{"type": "x"}]},
                "inputs[0].type must be 'text', 'follow', 'unfollow' or 'other'",
            ),
            (
                {**IDS, "scenarioId": "s", "inputs": [{"text": "x" * 5001}]},
                "inputs[0].text must have at most 5000 characters",
            ),
        ],
    )
    theirs = {**EXAMPLE_IDS, "adminId": "0002", "scenarioId": "s"}
    assert chat.cloud.call(preview_scenario, theirs, caller="0002").status != 200
    assert chat.cloud.call(preview_scenario, {**IDS, "scenarioId": "s"}, caller="0002") == refused("Unauthorized", 401)


def lasting(drawn):
    """Leaves out what a preview imagines: the service outside, and segments."""
    for one in drawn:
        one["externalApi"] = {}
    return drawn


inputs = st.lists(maybe(("s0", "S1", "hello", "5", "106", *TAPS, "", "{{x}}", None)), min_size=1, max_size=4)


@limits(
    deadline=None,
    derandomize=True,
    max_examples=30,
    # What is shrunk goes through all tables each time.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(
    graphs=st.tuples(*(sound(one, SCENARIOS[:2]).map(lasting) for one in SCENARIOS[:2])),
    trigger=maybe(("keyword", "error", "follow")),
    texts=inputs,
)
def test_it_shows_what_the_conversation_says(chat, graphs, trigger, texts):
    """Anybody new who says the same is sent the same, and the same is known of him."""
    # All that the graphs name has to be there while they are saved.
    for scenario_id in (*SCENARIOS[:2], "gone"):
        chat.save(scenario_id)
    for scenario_id, nodes in zip(SCENARIOS[:2], graphs, strict=True):
        by_keyword = scenario_id == "s0" or trigger == "keyword"
        chat.save(
            scenario_id, *nodes, trigger="" if by_keyword else trigger, keywords=[scenario_id] if by_keyword else ()
        )
    user = f"U{chat.line.last + len(chat.cloud.rows('conversations')):032x}"
    inputs = [{"type": "other"} if text is None else {"type": "text", "text": text} for text in texts]
    shown = preview(chat, *inputs, scenarioId="s0", started=False)

    for step, text in zip(shown, texts, strict=True):
        before = len(chat.line.sent)
        event = chat.media(user, "sticker") if text is None else chat.text(user, text)
        assert chat.send(event) == 0
        # LINE adds ids of its own, and generic templates are left out on LINE.
        wanted = [message for message in step["messages"] if message["type"] != "fb_generic"]
        assert [delivery.message for delivery in chat.line.sent[before:]] == wanted
        state = chat.state(user)
        opened = {name: value for name, value in state["variables"].items() if isinstance(value, str)}
        assert {name: step["variables"][name] for name in opened} == opened
        assert set(step["variables"]) == set(state["variables"])
        assert step["tags"] == state["tags"]
        assert step["nodeId"] == state["node_id"]
        assert step["waiting"] == ((state["waiting"] or {}).get("nodeId") or "")
