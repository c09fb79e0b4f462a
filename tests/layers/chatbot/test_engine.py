"""What an event of a user leads to."""

from datetime import UTC, datetime, timedelta

import pytest

from chatbot.engine import NODES_A_TURN, TAGS, TAPS, VARIABLE_CHARACTERS
from chatbot.graph import flaws_of_nodes
from tests.scenarios import (
    BLUE,
    NOW,
    RED,
    Shelf,
    Talk,
    about_follow_time,
    about_tag,
    about_variable,
    condition_node,
    flex_node,
    imagemap_node,
    node,
    period,
    picture_node,
    sticker_node,
    tap,
    text_node,
    to_node,
    to_scenario,
    user_reply,
)

ASK = {"userAction": user_reply("x")}


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def talk(shelf):
    return Talk(shelf)


def numbered(count, **more):
    """Returns that many text nodes, each leading to the next."""
    nodes = [text_node(f"n{place}", next=f"n{place + 1}", sort=place, **more) for place in range(count)]
    nodes[-1]["nextNode"] = ""
    return nodes


class TestTriggers:
    @pytest.mark.parametrize("text", ["menu", "MENU", " ｍｅｎｕ "])
    def test_a_keyword_starts_its_scenario(self, shelf, talk, text):
        shelf.save("s", text_node("a"), keywords=["Menu"])

        assert talk.say(text) == ["a"]

    @pytest.mark.parametrize("text", ["menus", "the menu", "m e n u", ""])
    def test_other_texts_start_the_error_scenarios(self, shelf, talk, text):
        shelf.save("s", text_node("a"), keywords=["menu"])
        shelf.save("e", text_node("sorry"), trigger="error")
        shelf.save("f", text_node("really"), trigger="error")

        assert talk.say(text) == ["sorry", "really"]

    def test_without_error_scenario_nothing_is_said(self, shelf, talk):
        shelf.save("s", text_node("a"), keywords=["menu"])

        assert talk.say("hello") == []
        assert talk.outcome.facts == {}

    def test_the_longest_keyword_comes_first_then_the_last_saved(self, shelf, talk):
        shelf.save("long", text_node("long"), keywords=["株式会社"])
        shelf.save("short", text_node("short"), keywords=["㍿"])
        assert talk.say("㍿") == ["long"]

        shelf.save("last", text_node("last"), keywords=["株式会社"])
        assert talk.say("㍿") == ["last"]

    def test_follow_starts_all_its_scenarios_until_one_waits(self, shelf, talk):
        shelf.save("1", text_node("a"), trigger="follow")
        shelf.save("2", text_node("b", **ASK), trigger="follow")
        shelf.save("3", text_node("c"), trigger="follow")

        assert talk.follow() == ["a", "b"]
        assert talk.awaited == "b"

    def test_error_scenarios_run_until_one_waits(self, shelf, talk):
        shelf.save("1", text_node("a", **ASK), trigger="error")
        shelf.save("2", text_node("b"), trigger="error")

        assert talk.say("hello") == ["a"]
        assert talk.awaited == "a"

    @pytest.mark.parametrize("trigger", ["selected", ""])
    def test_selected_and_unset_never_start_by_themselves(self, shelf, talk, trigger):
        shelf.save("s", text_node("a"), trigger=trigger)

        assert talk.say("selected") == talk.follow() == talk.show() == []

    def test_selected_is_reached_from_another_scenario(self, shelf, talk):
        shelf.save("s", text_node("b"), trigger="selected")
        shelf.save("k", text_node("a", nextScenario="s"), keywords=["go"])

        assert talk.say("go") == ["a", "b"]

    def test_a_scenario_without_nodes_says_nothing(self, shelf, talk):
        shelf.save("s", keywords=["menu"])
        shelf.save("e", text_node("sorry"), trigger="error")

        assert talk.say("menu") == []

    def test_pictures_and_the_like_start_the_error_scenarios(self, shelf, talk):
        shelf.save("e", text_node("sorry"), trigger="error")

        assert talk.show() == ["sorry"]


class TestOrder:
    def test_the_lowest_level_then_the_lowest_sort_opens(self, shelf, talk):
        shelf.save(
            "s",
            text_node("a", level="2", sort=1),
            text_node("b", level="10", sort=0),
            text_node("c", level="1", sort=20),
            text_node("d", level="1", sort=3),
            keywords=["go"],
        )

        assert talk.say("go") == ["d"]

    def test_levels_are_numbers(self, shelf, talk):
        shelf.save("s", text_node("a", level="10"), text_node("b", level="9"), keywords=["go"])

        assert talk.say("go") == ["b"]

    def test_nodes_follow_next_node_before_next_scenario(self, shelf, talk):
        shelf.save("other", text_node("z"))
        shelf.save("s", text_node("a", next="b", nextScenario="other"), text_node("b", sort=2), keywords=["go"])

        assert talk.say("go") == ["a", "b"]

    def test_the_next_scenario_opens_with_its_own_first_node(self, shelf, talk):
        shelf.save("other", text_node("y", sort=2), text_node("z", sort=1, next="y"))
        shelf.save("s", text_node("a", nextScenario="other"), keywords=["go"])

        assert talk.say("go") == ["a", "z", "y"]

    @pytest.mark.parametrize("target", [{"nextScenario": "gone"}, {"next": "gone"}])
    def test_a_target_that_is_gone_ends_the_flow(self, shelf, talk, target):
        shelf.save("s", text_node("a", **target), keywords=["go"])

        assert talk.say("go") == ["a"]
        assert talk.state.waiting is None

    def test_a_scenario_may_lead_to_itself_through_a_waiting_node(self, shelf, talk):
        shelf.save("s", text_node("a", "again?", nextScenario="s", **ASK), keywords=["go"])

        assert talk.say("go") == ["again?"]
        assert talk.say("yes") == ["again?"]


class TestMessages:
    def test_every_type_of_node_is_sent_as_its_message(self, shelf, talk):
        nodes = [
            text_node("a", next="b"),
            flex_node("b", kind="input", title="input", next="c", sort=2),
            flex_node("c", title="flex", next="d", sort=3),
            picture_node("d", next="e", sort=4),
            picture_node("e", "video", next="f", sort=5),
            imagemap_node("f", next="g", sort=6),
            sticker_node("g", sort=7),
        ]
        shelf.save("s", *nodes, keywords=["go"])

        assert talk.say("go") == ["a", "input", "flex", "image", "video", "map", "sticker"]
        types = ["text", "flex", "flex", "image", "video", "imagemap", "sticker"]
        assert [message["type"] for message in talk.outcome.messages] == types

    @pytest.mark.parametrize(
        "hidden", [node("b", "fb_generic", {}, next="c"), node("b", "sticker", {"type": "sticker"}, next="c")]
    )
    def test_what_line_cannot_show_is_passed_over_and_reported(self, shelf, talk, hidden):
        shelf.save("s", text_node("a", next="b"), hidden, text_node("c"), keywords=["go"])

        assert talk.say("go") == ["a", "c"]
        assert talk.outcome.facts == {"not shown": "b"}

    def test_placeholders_show_variables(self, shelf, talk):
        shelf.save("s", text_node("a", "Hi {{ name }}{{unknown}}!"), keywords=["go"])
        talk.state.variables = {"name": "Ann"}

        assert talk.say("go") == ["Hi Ann!"]

    def test_a_text_that_variables_made_too_long_is_cut(self, shelf, talk):
        shelf.save("s", text_node("a", "{{x}}{{x}}"), keywords=["go"])
        talk.state.variables = {"x": "y" * 4000}

        assert talk.say("go") == ["y" * 5000]

    def test_the_node_reached_last_is_remembered(self, shelf, talk):
        shelf.save("s", text_node("a", next="b"), condition_node("b"), keywords=["go"])
        talk.say("go")

        assert talk.state.node_id == "b"

    def test_a_node_whose_external_call_fails_goes_on_where_that_leads(self, shelf, talk):
        def call(**targets):
            return {"externalApi": {"cros": {"enable": True, "responseSetting": targets}}}

        shelf.save(
            "s",
            text_node("a", next="b", **call(success={"nextNodeId": "d"}, failed={"nextNodeId": "c"})),
            text_node("b"),
            text_node("c", next="e", **call(success={"nextNodeId": "d"}, failed={})),
            text_node("d"),
            text_node("e"),
            keywords=["go"],
        )

        assert talk.say("go") == ["a", "c", "e"]


class TestPeriods:
    BEFORE, AFTER = "2024-01-28 06:41:29.005", "2024-01-28 06:41:29.007"
    EXACT = "2024-01-28 06:41:29.006"

    @pytest.mark.parametrize(
        ("trigger", "used"),
        [
            (period(), True),
            (period(BEFORE, AFTER), True),
            (period(EXACT, EXACT), True),
            (period("2024-01-28T14:41:29.006+08:00"), True),
            (period(AFTER), False),
            (period("", BEFORE), False),
            (period(AFTER, AFTER), False),
            (period(AFTER, enable=False), True),
            ({}, True),
            (None, True),
        ],
    )
    def test_a_node_is_used_within_its_period_only(self, shelf, talk, trigger, used):
        shelf.save("s", text_node("a", next="b", datetimeTrigger=trigger), text_node("b", sort=2), keywords=["go"])

        assert talk.say("go") == (["a", "b"] if used else ["b"])

    def test_a_node_in_the_middle_is_passed_over_with_all_it_does(self, shelf, talk):
        over = period("", self.BEFORE)
        middle = text_node("b", next="c", datetimeTrigger=over, nodeTag=[{"name": "t", "color": RED}], **ASK)
        shelf.save("s", text_node("a", next="b"), middle, text_node("c"), keywords=["go"])

        assert talk.say("go") == ["a", "c"]
        assert talk.state.tags == []
        assert talk.awaited is None

    def test_a_scenario_none_of_whose_nodes_is_usable_says_nothing(self, shelf, talk):
        shelf.save("s", text_node("a", datetimeTrigger=period(self.AFTER)), keywords=["go"])

        assert talk.say("go") == []

    def test_the_first_usable_node_opens_at_another_time(self, shelf, talk):
        shelf.save(
            "s",
            text_node("early", datetimeTrigger=period("", self.EXACT)),
            text_node("late", datetimeTrigger=period(self.AFTER), sort=2),
            keywords=["go"],
        )

        assert talk.say("go") == ["early"]
        talk.now = NOW + timedelta(milliseconds=1)
        assert talk.say("go") == ["late"]

    def test_a_period_that_is_over_ends_the_wait_for_nobody(self, shelf, talk):
        shelf.save(
            "s",
            text_node("a", next="b", datetimeTrigger=period("", self.EXACT), **ASK),
            text_node("b"),
            keywords=["go"],
        )
        talk.say("go")
        talk.now = NOW + timedelta(days=1)

        assert talk.say("answer") == ["b"]
        assert talk.state.variables == {"x": "answer"}


class TestReplies:
    def asked(self, shelf, talk, *variables, go_on=True, **how):
        """Saves a scenario that asks, and starts it."""
        targets = [text_node(name) for name in ("next", "good", "bad")]
        shelf.save("elsewhere", text_node("there"))
        shelf.save("k", text_node("menu"), keywords=["menu"])
        shelf.save("e", text_node("sorry"), trigger="error")
        ask = text_node("ask", next="next" if go_on else "", sort=0, userAction=user_reply(*variables, **how))
        shelf.save("s", ask, *targets, keywords=["go"])
        assert talk.say("go") == ["ask"]
        assert talk.awaited == "ask"

    def test_a_reply_is_stored_and_the_flow_goes_on(self, shelf, talk):
        shelf.save(
            "s",
            text_node("a", next="b", userAction=user_reply("name", "again")),
            text_node("b", "{{name}}/{{again}}"),
            keywords=["go"],
        )
        talk.say("go")

        assert talk.say(" Ann ") == [" Ann / Ann "]
        assert talk.state.variables == {"name": " Ann ", "again": " Ann "}
        assert talk.state.waiting is None

    def test_an_awaited_reply_comes_before_keywords(self, shelf, talk):
        shelf.save("s", text_node("a", next="b", **ASK), text_node("b"), keywords=["go"])
        talk.say("go")

        assert talk.say("go") == ["b"]
        assert talk.state.variables == {"x": "go"}

    @pytest.mark.parametrize(
        ("success", "failed", "reply", "shown"),
        [
            ({"nextNodeId": "good"}, {"nextNodeId": "bad"}, "5", "good"),
            ({"nextNodeId": "good"}, {"nextNodeId": "bad"}, "five", "bad"),
            ({"scenarioId": "elsewhere"}, {}, "5", "there"),
            ({}, {"scenarioId": "elsewhere"}, "five", "there"),
            ({"nextNodeId": "good", "scenarioId": "elsewhere"}, {}, "5", "good"),
            ({}, {"nextNodeId": "bad", "scenarioId": "elsewhere"}, "five", "bad"),
            ({}, {}, "5", "next"),
            ({}, {}, "five", "next"),
            ({"scenarioId": "gone"}, {}, "5", "next"),
            ({}, {"scenarioId": "gone"}, "five", "next"),
        ],
    )
    def test_leads_to_success_or_failed_else_onward(self, shelf, talk, success, failed, reply, shown):
        self.asked(shelf, talk, checks=[("Num", "")], success=success, failed=failed)

        assert talk.say(reply) == [shown]

    def test_only_a_reply_that_passes_is_stored(self, shelf, talk):
        shelf.save("s", text_node("a", userAction=user_reply("x", checks=[("Num", "")])), keywords=["go"])
        talk.say("go")

        talk.say("five")
        assert talk.state.variables == {}
        talk.say("5")
        assert talk.state.variables == {"x": "5"}

    def test_a_failed_reply_that_leads_nowhere_is_awaited_again(self, shelf, talk):
        self.asked(shelf, talk, go_on=False, checks=[("Num", "")], success={"nextNodeId": "good"})

        assert talk.say("five") == ["sorry"]
        assert talk.awaited == "ask"
        assert talk.say("5") == ["good"]

    def test_a_failed_reply_that_leads_nowhere_may_be_a_keyword(self, shelf, talk):
        self.asked(shelf, talk, go_on=False, checks=[("Num", "")])

        assert talk.say("menu") == ["menu"]
        assert talk.state.waiting is None
        assert talk.say("5") == ["sorry"]

    def test_a_reply_that_ends_the_flow_says_nothing(self, shelf, talk):
        self.asked(shelf, talk, go_on=False, checks=[("Num", "")])

        assert talk.say("5") == []
        assert talk.state.waiting is None

    def test_a_failed_reply_may_lead_back_to_its_question(self, shelf, talk):
        self.asked(shelf, talk, checks=[("Num", "")], failed={"nextNodeId": "ask"})

        assert talk.say("five") == talk.say("menu") == ["ask"]
        assert talk.say("5") == ["next"]

    @pytest.mark.parametrize(
        ("kind", "value", "compare", "good", "bad"),
        [
            ("Eng", "", "", "abc", "123"),
            ("Num", "", "", "１２", "abc"),
            ("Len", "3", "equal", "abc", "abcd"),
            ("Len", 3, "lessThan", "ab", "abc"),
            ("Len", "3", "moreThan", "abcd", "abc"),
            ("RegExp", "^a+$", "", "aaa", "aab"),
            ("Phone", "", "", "08-1234-343", "nope"),
            ("Post", "", "", "106", "1061"),
            ("City", "", "", "台北市", "Taipei"),
        ],
    )
    def test_all_seven_checks(self, shelf, talk, kind, value, compare, good, bad):
        ends = {"success": {"nextNodeId": "good"}, "failed": {"nextNodeId": "bad"}}
        self.asked(shelf, talk, checks=[(kind, value)], compare=compare, **ends)
        assert talk.say(good) == ["good"]

        talk.say("go")
        assert talk.say(bad) == ["bad"]

    def test_a_check_without_type_checks_nothing(self, shelf, talk):
        self.asked(shelf, talk, checks=[(None, ""), ("Num", "")], failed={"nextNodeId": "bad"})

        assert talk.say("5") == ["next"]

    @pytest.mark.parametrize(
        "action", [None, {}, "", user_reply(), user_reply(compare="equal"), user_reply(erase=["x"])]
    )
    def test_user_actions_that_ask_nothing_do_not_wait(self, shelf, talk, action):
        shelf.save("s", text_node("a", next="b", userAction=action), text_node("b"), keywords=["go"])

        assert talk.say("go") == ["a", "b"]

    def test_pictures_leave_the_reply_awaited(self, shelf, talk):
        self.asked(shelf, talk, "x")

        assert talk.show() == ["sorry"]
        assert talk.awaited == "ask"
        assert talk.say("answer") == ["next"]

    def test_a_scenario_for_pictures_that_waits_takes_over(self, shelf, talk):
        shelf.save("s", text_node("a", **ASK), keywords=["go"])
        shelf.save("e", text_node("what?", userAction=user_reply("y")), trigger="error")
        talk.say("go")

        assert talk.show() == ["what?"]
        talk.say("that")
        assert talk.state.variables == {"y": "that"}

    def test_a_condition_never_waits(self, shelf, talk):
        shelf.save("s", condition_node("a", next="b", **ASK), text_node("b"), keywords=["go"])

        assert talk.say("go") == ["b"]


class TestVariables:
    def test_are_erased_when_a_node_runs(self, shelf, talk):
        shelf.save("s", text_node("a", "[{{x}}{{y}}]", userAction=user_reply(erase=["x", "unknown"])), keywords=["go"])
        talk.state.variables = {"x": "1", "y": "2"}

        assert talk.say("go") == ["[2]"]
        assert talk.state.variables == {"y": "2"}

    def test_are_sealed_when_the_node_says_so_and_shown_in_clear(self, shelf, talk):
        ask = text_node("a", next="b", userAction=user_reply("id", encryption=True))
        shelf.save("s", ask, text_node("b", "got {{id}}"), keywords=["go"])
        talk.say("go")

        assert talk.say("A123") == ["got A123"]
        assert talk.state.variables == {"id": {"sealed": "id:321A"}}

    def test_are_compared_in_clear(self, shelf, talk):
        ask = text_node("a", next="c", userAction=user_reply("age", encryption=True))
        choice = condition_node("c", to_node("b", about_variable("age", "num_gt", "17")))
        shelf.save("s", ask, choice, text_node("b", "adult"), keywords=["go"])
        talk.say("go")

        assert talk.say("18") == ["adult"]

    def test_survive_the_flow_and_leaving(self, shelf, talk):
        shelf.save("s", text_node("a", "{{x}}"), keywords=["go"])
        talk.state.variables = {"x": "1"}
        talk.unfollow()
        talk.follow()

        assert talk.say("go") == ["1"]


class TestTags:
    def test_are_collected_from_nodes_once_each(self, shelf, talk):
        tags = [{"name": "a", "color": RED}, {"name": "a", "color": BLUE}, {"name": ""}, {}, {"name": "b"}]
        shelf.save("s", text_node("n", nodeTag=tags), keywords=["go"])
        talk.say("go")
        talk.say("go")

        assert talk.state.tags == [
            {"name": "a", "color": RED, "value": ""},
            {"name": "a", "color": BLUE, "value": ""},
            {"name": "b", "color": "", "value": ""},
        ]

    def test_of_conditions_are_collected_too(self, shelf, talk):
        shelf.save("s", condition_node("c", nodeTag=[{"name": "a", "color": RED}]), keywords=["go"])
        talk.say("go")

        assert talk.state.tags == [{"name": "a", "color": RED, "value": ""}]

    def test_keep_their_value_when_a_node_adds_them_again(self, shelf, talk):
        shelf.save("s", text_node("n", nodeTag=[{"name": "a", "color": RED}]), keywords=["go"])
        talk.state.tags = [{"name": "a", "color": RED, "value": "gold"}, {"name": "b", "color": RED, "value": ""}]
        talk.say("go")

        assert talk.state.tags == [
            {"name": "b", "color": RED, "value": ""},
            {"name": "a", "color": RED, "value": "gold"},
        ]


class TestTaps:
    def shown(self, shelf, talk, *taps, **more):
        shelf.save("there", text_node("z", "there"))
        shelf.save("f", flex_node("a", flex_config=list(taps), **more), keywords=["go"])
        assert talk.say("go") == ["pick"]

    def test_lead_to_their_scenario(self, shelf, talk):
        self.shown(shelf, talk, tap("Yes", "there"))

        assert talk.say(" ｙｅｓ") == ["there"]

    def test_go_on_working_when_something_else_is_shown(self, shelf, talk):
        self.shown(shelf, talk, tap("yes", "there"))
        shelf.save("k", text_node("k"), keywords=["menu"])
        shelf.save("g", flex_node("b", flex_config=[tap("no", "there")]), keywords=["other"])

        assert talk.say("yes") == ["there"]
        assert talk.say("menu") == ["k"]
        assert talk.say("yes") == ["there"]
        assert talk.say("other") == ["pick"]
        assert talk.say("yes") == ["there"]
        assert talk.say("no") == ["there"]

    def test_mean_what_the_latest_message_says(self, shelf, talk):
        self.shown(shelf, talk, tap("yes", "there"))
        shelf.save("elsewhere", text_node("z", "elsewhere"))
        shelf.save("g", flex_node("b", flex_config=[tap("YES", "elsewhere")]), keywords=["other"])
        talk.say("other")

        assert talk.say("yes") == ["elsewhere"]

    def test_are_remembered_up_to_a_hundred_the_oldest_forgotten(self, shelf, talk):
        self.shown(shelf, talk, *[tap(f"tap {number}", "there") for number in range(TAPS)])
        shelf.save("g", flex_node("b", flex_config=[tap("one more", "there")]), keywords=["other"])
        talk.say("other")

        assert len(talk.state.taps) == TAPS
        said = [talk.say(text) for text in ("tap 0", "tap 1", "one more")]
        assert said == [[], ["there"], ["there"]]

    def test_without_text_mean_nothing(self, shelf, talk):
        self.shown(shelf, talk, tap("", "there"))

        assert talk.state.taps == {}
        assert talk.say("") == []

    def test_may_say_something_else_than_their_button(self, shelf, talk):
        self.shown(shelf, talk, tap("when", "there", userVars=["date"]))

        assert talk.say("2024-01-28", action="When") == ["there"]
        assert talk.state.variables == {"date": "2024-01-28"}

    @pytest.mark.parametrize(
        "given",
        [
            {"tag": {"name": "t", "color": RED, "tagValue": "gold"}},
            {"tag": {"name": "t", "color": RED}, "tagValue": "gold"},
            {"tag": {"name": "t", "color": RED, "tagValue": "silver"}, "tagValue": "gold"},
        ],
    )
    def test_record_their_tag_with_its_value(self, shelf, talk, given):
        self.shown(shelf, talk, tap("yes", "there", **given))
        talk.say("yes")

        assert talk.state.tags == [{"name": "t", "color": RED, "value": "gold"}]

    def test_a_tag_value_that_is_a_number_can_be_compared(self, shelf, talk):
        choice = condition_node("c", to_node("b", about_tag("t", "num_gt", 4)))
        shelf.save("there", choice, text_node("b", "more than four"))
        shelf.save(
            "f",
            flex_node("a", flex_config=[tap("yes", "there", tag={"name": "t", "color": RED, "tagValue": 5})]),
            keywords=["go"],
        )
        talk.say("go")

        assert talk.say("yes") == ["more than four"]
        assert talk.state.tags == [{"name": "t", "color": RED, "value": "5"}]

    def test_store_their_text_in_variables(self, shelf, talk):
        self.shown(shelf, talk, tap("yes", "there", userVars=["answer", 5, {"name": "x"}, "copy"]))
        talk.say("Yes")

        assert talk.state.variables == {"answer": "Yes", "copy": "Yes"}

    def test_record_even_when_they_lead_nowhere_and_the_text_is_tried_on(self, shelf, talk):
        self.shown(shelf, talk, tap("menu", "", userVars=["answer"]), tap("gone", "gone"), tap("noted", ""))
        shelf.save("k", text_node("menu"), keywords=["menu"])
        shelf.save("e", text_node("sorry"), trigger="error")

        assert talk.say("menu") == ["menu"]
        assert talk.state.variables == {"answer": "menu"}
        assert talk.say("gone") == ["sorry"]
        assert talk.say("noted") == []

    def test_come_before_keywords(self, shelf, talk):
        self.shown(shelf, talk, tap("menu", "there"))
        shelf.save("k", text_node("menu"), keywords=["menu"])

        assert talk.say("menu") == ["there"]

    def test_of_the_awaited_node_come_before_its_checks(self, shelf, talk):
        action = user_reply("x", checks=[("Num", "")], failed={"scenarioId": "there"})
        shelf.save("skipped", text_node("z", "skipped"))
        self.shown(shelf, talk, tap("skip", "skipped"), userAction=action)

        assert talk.say("skip") == ["skipped"]
        assert talk.state.waiting is None
        assert talk.state.variables == {}

    def test_of_other_nodes_do_not_take_an_awaited_reply_away(self, shelf, talk):
        self.shown(shelf, talk, tap("yes", "there"), next="b")
        shelf.save(
            "f",
            flex_node("a", flex_config=[tap("yes", "there")], next="b"),
            text_node("b", sort=2, **ASK),
            keywords=["go"],
        )
        talk.say("go")

        assert talk.say("yes") == []
        assert talk.state.variables == {"x": "yes"}

    def test_of_all_nodes_of_a_turn_are_remembered(self, shelf, talk):
        shelf.save("there", text_node("z", "there"))
        shelf.save(
            "f",
            flex_node("a", flex_config=[tap("one", "there")], next="b"),
            flex_node("b", flex_config=[tap("two", "there")], sort=2),
            keywords=["go"],
        )
        talk.say("go")

        assert talk.say("one") == talk.say("two") == ["there"]


class TestConditions:
    def choose(self, shelf, talk, *options, **more):
        shelf.save("other", text_node("z", "other"))
        nodes = [text_node(name, sort=2) for name in ("b", "c", "d")]
        shelf.save("s", condition_node("a", *options, **more), *nodes, keywords=["go"])
        return talk.say("go")

    YES, NO = about_variable("x", "no_value"), about_variable("x", "has_value")

    def test_the_first_branch_that_holds_wins(self, shelf, talk):
        options = [to_node("b", self.NO), to_node("c", self.YES), to_node("d", self.YES)]

        assert self.choose(shelf, talk, *options) == ["c"]

    def test_a_branch_may_lead_to_a_scenario(self, shelf, talk):
        assert self.choose(shelf, talk, to_scenario("other", self.YES)) == ["other"]

    def test_the_type_of_a_branch_says_which_target_counts(self, shelf, talk):
        assert self.choose(shelf, talk, {**to_scenario("other", self.YES), "nextNodeId": "b"}) == ["other"]
        assert self.choose(shelf, talk, {**to_node("b", self.YES), "scenario_id": "other"}) == ["b"]

    @pytest.mark.parametrize("options", [[], [to_node("b", NO)], [to_node("b")], [to_node("b", YES, NO)]])
    def test_without_match_the_flow_goes_on(self, shelf, talk, options):
        assert self.choose(shelf, talk, *options, next="d") == ["d"]
        assert self.choose(shelf, talk, *options, nextScenario="other") == ["other"]
        assert self.choose(shelf, talk, *options) == []

    def test_a_branch_that_leads_nowhere_lets_the_flow_go_on(self, shelf, talk):
        assert self.choose(shelf, talk, to_node("", self.YES), to_node("b", self.YES), next="d") == ["d"]
        assert self.choose(shelf, talk, to_scenario("", self.YES), next="d") == ["d"]

    @pytest.mark.parametrize("kind", ["bysegment", "https://example.com/ask"])
    def test_segments_and_urls_that_do_not_answer_match_nothing(self, shelf, talk, kind):
        assert self.choose(shelf, talk, to_node("b", self.YES), kind=kind, next="d") == ["d"]

    def test_a_branch_to_a_scenario_that_is_gone_ends_the_flow(self, shelf, talk):
        assert self.choose(shelf, talk, to_scenario("gone", self.YES), next="d") == []

    def test_see_tags_variables_and_the_follow_time(self, shelf, talk):
        talk.state.tags = [{"name": "vip", "color": RED, "value": "gold"}]
        talk.state.variables = {"age": "18"}
        talk.follow_time = datetime(2024, 1, 28, 6, 4, 25, tzinfo=UTC)
        conditions = [
            about_tag("vip", "exactly_match", "gold"),
            about_variable("age", "num_range", range={"start": "18", "end": ""}),
            about_follow_time("date_range", range={"start": "2024-01-28", "end": "2024-01-28"}),
        ]

        assert self.choose(shelf, talk, to_node("b", *conditions)) == ["b"]
        talk.state.variables["age"] = "17"
        assert talk.say("go") == []

    def test_see_what_the_same_turn_collected(self, shelf, talk):
        choice = condition_node("c", to_node("b", about_tag("t", "has_value")), sort=2)
        shelf.save(
            "s",
            text_node("a", next="c", nodeTag=[{"name": "t", "color": RED}]),
            choice,
            text_node("b"),
            keywords=["go"],
        )

        assert talk.say("go") == ["a", "b"]


class TestLimits:
    def test_fifty_nodes_run_in_a_turn(self, shelf, talk):
        shelf.save("s", *numbered(NODES_A_TURN), keywords=["go"])

        assert talk.say("go") == [f"n{place}" for place in range(50)]
        assert talk.outcome.facts == {}

    def test_the_fifty_first_is_cut_off_and_named(self, shelf, talk):
        shelf.save("s", *numbered(NODES_A_TURN + 1), keywords=["go"])

        assert talk.say("go") == [f"n{place}" for place in range(50)]
        assert talk.outcome.facts == {"cut": "s/n50"}
        assert talk.state.waiting is None

    def test_circles_over_scenarios_end_there(self, shelf, talk):
        shelf.save("a", text_node("a", nextScenario="b"), keywords=["go"])
        shelf.save("b", text_node("b", nextScenario="a"))

        assert talk.say("go") == ["a", "b"]
        assert talk.outcome.facts == {"cut": "a/a"}

    def test_circles_that_change_something_go_on_until_they_do_not(self, shelf, talk):
        shelf.save("a", text_node("a", nextScenario="b", userAction=user_reply(erase=["x"])), keywords=["go"])
        shelf.save("b", text_node("b", nextScenario="a", nodeTag=[{"name": "t", "color": RED}]))
        talk.state.variables = {"x": "1"}

        assert talk.say("go") == ["a", "b", "a", "b"]
        assert talk.outcome.facts == {"cut": "a/a"}

    def test_nodes_that_say_nothing_count_as_well(self, shelf, talk):
        shelf.save("a", condition_node("a", nextScenario="b"), keywords=["go"])
        shelf.save("b", text_node("b", datetimeTrigger=period("", "2024-01-01 00:00:00"), nextScenario="a"))
        shelf.save("c", condition_node("c", to_scenario("a", about_variable("x", "no_value"))), keywords=["branch"])

        assert talk.say("go") == []
        shelf.save("b", condition_node("b", nextScenario="a"))
        assert talk.say("branch") == []
        assert "cut" in talk.outcome.facts

    def test_all_error_scenarios_share_the_limit(self, shelf, talk):
        shelf.save("a", *numbered(30), trigger="error")
        shelf.save("b", *numbered(30), trigger="error")

        assert talk.say("what") == [f"n{place}" for place in (*range(30), *range(20))]
        assert talk.outcome.facts == {"cut": "b/n20"}

    def test_variables_are_kept_up_to_their_limit(self, shelf, talk):
        ask = text_node("a", next="b", userAction=user_reply("new"))
        shelf.save("s", ask, text_node("b", "[{{new}}]"), keywords=["go"])
        talk.state.variables = {"old": "y" * (VARIABLE_CHARACTERS - 10)}

        talk.say("go")
        assert talk.say("12345") == ["[]"]
        assert talk.outcome.facts == {"variables full": "new"}
        talk.say("go")
        assert talk.say("1234") == ["[1234]"]
        assert talk.outcome.facts == {}

    def test_tags_are_kept_up_to_their_limit_the_oldest_forgotten(self, shelf, talk):
        shelf.save("s", text_node("a", nodeTag=[{"name": "new", "color": RED}]), keywords=["go"])
        talk.state.tags = [{"name": str(number), "color": RED, "value": ""} for number in range(TAGS)]
        talk.say("go")

        assert [tag["name"] for tag in talk.state.tags] == [*map(str, range(1, TAGS)), "new"]

    def test_the_next_turn_starts_anew(self, shelf, talk):
        shelf.save("s", *numbered(NODES_A_TURN + 1), keywords=["go"])
        talk.say("go")

        assert len(talk.say("go")) == 50


class TestChangesInFlight:
    @pytest.fixture(autouse=True)
    def waiting(self, shelf, talk):
        shelf.save("e", text_node("sorry"), trigger="error")
        shelf.save("k", text_node("menu"), keywords=["menu"])
        shelf.save("there", text_node("there"))
        self.nodes = [
            flex_node("ask", flex_config=[tap("yes", "there")], next="thanks", **ASK),
            text_node("thanks", sort=2),
        ]
        shelf.save("s", *self.nodes, keywords=["go"])
        assert talk.say("go") == ["pick"]

    def edit(self, shelf):
        shelf.save("s", text_node("ask", "new question"), text_node("thanks", "new thanks", sort=2), keywords=["go"])

    def edit_twice(self, shelf):
        self.edit(shelf)
        shelf.save("s", text_node("other"))

    def empty(self, shelf):
        shelf.save("s")

    def roll_back(self, shelf):
        self.edit(shelf)
        shelf.save("s", *self.nodes, keywords=["go"])

    def delete(self, shelf):
        shelf.delete("s")

    def edit_and_delete(self, shelf):
        self.edit(shelf)
        shelf.delete("s")

    def recreate(self, shelf):
        shelf.delete("s")
        shelf.save("s", text_node("new"))

    STAYS = (edit, edit_twice, empty, roll_back, recreate)
    ENDS = (delete, edit_and_delete)

    @pytest.mark.parametrize("change", STAYS)
    def test_the_flow_goes_on_as_it_began(self, shelf, talk, change):
        change(self, shelf)

        assert talk.say("answer") == ["thanks"]
        assert talk.outcome.facts == {}
        assert talk.state.waiting is None
        assert talk.state.variables == {"x": "answer"}

    def test_who_comes_later_gets_what_was_saved_last(self, shelf, talk):
        self.edit(shelf)
        assert talk.say("answer") == ["thanks"]

        assert talk.say("go") == ["new question"]

    @pytest.mark.parametrize("change", ENDS)
    def test_the_flow_ends_with_the_error_scenario_when_it_is_deleted(self, shelf, talk, change):
        change(self, shelf)

        assert talk.say("answer") == ["sorry"]
        assert talk.outcome.facts == {"ended": "the scenario was deleted"}
        assert talk.state.waiting is None
        assert talk.state.variables == {}

    @pytest.mark.parametrize("change", ENDS)
    def test_a_keyword_works_at_once_after_a_deletion(self, shelf, talk, change):
        change(self, shelf)

        assert talk.say("menu") == ["menu"]
        assert talk.state.waiting is None

    @pytest.mark.parametrize("change", STAYS)
    def test_an_awaited_reply_still_comes_before_keywords(self, shelf, talk, change):
        change(self, shelf)

        assert talk.say("menu") == ["thanks"]
        assert talk.state.variables == {"x": "menu"}

    @pytest.mark.parametrize("change", [*STAYS, *ENDS])
    def test_what_was_shown_can_still_be_tapped(self, shelf, talk, change):
        change(self, shelf)

        assert talk.say("yes") == ["there"]

    def test_a_flow_stays_on_its_version_from_question_to_question(self, shelf, talk):
        def nodes(version):
            return [
                text_node("one", f"first {version}", next="two", userAction=user_reply("a")),
                text_node("two", f"second {version}", next="three", userAction=user_reply("b"), sort=2),
                text_node("three", f"third {version}", sort=3),
            ]

        shelf.save("long", *nodes("old"), keywords=["long"])
        talk.state.waiting = None
        said = [talk.say("long")]
        for version in ("new", "newer"):
            shelf.save("long", *nodes(version), keywords=["long"])
            said.append(talk.say("answer"))

        assert said == [["first old"], ["second old"], ["third old"]]
        assert talk.say("long") == ["first newer"]

    def test_a_flow_that_leads_back_to_its_own_scenario_stays_on_its_version(self, shelf, talk):
        def nodes(text):
            return [text_node("a", text, nextScenario="loop", userAction=user_reply("a"))]

        shelf.save("loop", *nodes("old"), keywords=["loop"])
        talk.state.waiting = None
        assert talk.say("loop") == ["old"]
        shelf.save("loop", *nodes("new"), keywords=["loop"])

        assert talk.say("answer") == ["old"]

    def test_changes_elsewhere_do_not_matter(self, shelf, talk):
        shelf.save("there", text_node("there", "changed"))
        shelf.save("k", text_node("menu"))

        assert talk.say("menu") == ["thanks"]
        assert talk.state.variables == {"x": "menu"}

    @pytest.mark.parametrize("change", [*STAYS, *ENDS])
    def test_pictures_and_following_are_answered_as_ever(self, shelf, talk, change):
        change(self, shelf)

        assert talk.show() == ["sorry"]
        assert talk.follow() == []
        assert talk.state.waiting is None


class TestFollowing:
    def test_a_new_follow_ends_the_flow(self, shelf, talk):
        shelf.save("s", text_node("a", **ASK), keywords=["go"])
        shelf.save("f", text_node("welcome"), trigger="follow")
        talk.say("go")

        assert talk.follow() == ["welcome"]
        assert talk.state.waiting is None

    def test_leaving_ends_the_flow_silently_and_keeps_what_is_known(self, shelf, talk):
        shelf.save("s", text_node("a", nodeTag=[{"name": "t", "color": RED}], **ASK), keywords=["go"])
        talk.say("go")

        assert talk.unfollow() == []
        assert talk.state.waiting is None
        assert talk.state.tags == [{"name": "t", "color": RED, "value": ""}]


def test_the_builders_build_sound_nodes():
    nodes = [
        *numbered(3),
        flex_node("f", flex_config=[tap("x", "own")]),
        picture_node("p"),
        picture_node("v", "video"),
        sticker_node("s"),
        imagemap_node("i"),
        condition_node("c", to_node("n0", about_variable("x", "has_value"), about_tag("t", "no_value"))),
        text_node("w", datetimeTrigger=period(), **ASK),
    ]

    assert flaws_of_nodes(nodes, "own", []) == []
