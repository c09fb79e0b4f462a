"""What starts a scenario by itself, and how keywords are compared."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.engine import fold
from chatbot.scenarios import ScenarioHead, saved
from chatbot.tables import ScenarioTable
from chatbot.triggers import StoredScenarios, trigger_rows
from kernel import clock
from kernel.running import Running
from kernel.tables import Delete, Put, commit
from tests.scenarios import NOW, text_node

PARTITION = "#0001#channel"


def stored(scenario_id, trigger="", keywords=()):
    return ScenarioTable(
        account=PARTITION,
        scenario_id=scenario_id,
        scenario_name=scenario_id,
        icon_url_id="",
        trigger="keyword" if keywords else trigger,
        keywords=list(keywords),
        nodes=[],
        updated_at=NOW,
    )


def save(scenario_id, *nodes, minute=0, trigger="", keywords=()):
    trigger = "keyword" if keywords else trigger
    head = ScenarioHead(scenarioId=scenario_id, scenarioName="n", trigger=trigger, keywords=list(keywords))
    with clock.frozen(NOW + timedelta(minutes=minute)), Running("save_scenario") as running:
        running.tenant = running.actor = "0001"
        commit(*saved(PARTITION, head, list(nodes), ScenarioTable.find(PARTITION, scenario_id)))


def delete(scenario_id):
    commit(Delete(ScenarioTable, ScenarioTable.key(PARTITION, scenario_id)))


class TestFold:
    @pytest.mark.parametrize(
        ("keyword", "text"),
        [
            ("menu", "menu"),
            ("menu", "MENU"),
            ("MENU", "ｍｅｎｕ"),
            ("menu", "  Menu\n"),
            ("menu", "\u3000menu\u3000"),
            ("straße", "STRASSE"),
            ("ガイド", "ｶﾞｲﾄﾞ"),
            ("Ⅳ", "iv"),
            ("①", "1"),
            ("㍿", "株式会社"),
            ("café", "cafe\u0301"),
            ("Σ", "ς"),
            ("菜單", "菜單"),
        ],
    )
    def test_is_equal(self, keyword, text):
        assert fold(keyword) == fold(text)

    @pytest.mark.parametrize(
        ("keyword", "text"),
        [
            ("menu", "menus"),
            ("menu", "the menu"),
            ("menu", "me nu"),
            ("cafe", "café"),
            ("台北", "臺北"),
            ("菜單", "菜单"),
        ],
    )
    def test_differs(self, keyword, text):
        assert fold(keyword) != fold(text)

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(st.text(max_size=20))
    def test_folding_twice_changes_nothing(self, text):
        assert fold(fold(text)) == fold(text)
        assert fold(f" {text}\n") == fold(text)


class TestTriggerRows:
    def rows(self, **given):
        return [
            (row.trigger_key.split("#")[0], row.scenario_id, row.keyword) for row in trigger_rows(stored("s", **given))
        ]

    def test_one_for_each_keyword(self):
        assert self.rows(keywords=["menu", "help"]) == [("keyword", "s", "menu"), ("keyword", "s", "help")]

    def test_one_for_keywords_that_are_compared_alike_the_longest_of_them(self):
        assert self.rows(keywords=["Iv", "iv ", "Ⅳ", "ｉｖ"]) == [("keyword", "s", "iv ")]

    @pytest.mark.parametrize("trigger", ["follow", "error"])
    def test_one_for_follow_and_error(self, trigger):
        assert self.rows(trigger=trigger) == [(trigger, "s", "")]

    @pytest.mark.parametrize("trigger", ["selected", ""])
    def test_none_for_scenarios_that_never_start_by_themselves(self, trigger):
        assert self.rows(trigger=trigger) == []

    def test_keywords_of_other_triggers_count_for_nothing(self):
        row = stored("s", trigger="follow")
        row.keywords = ["menu"]

        assert [made.trigger_key for made in trigger_rows(row)] == ["follow#s"]

    def test_a_keyword_cannot_reach_into_the_key(self):
        (plain,) = trigger_rows(stored("s", keywords=["a"]))
        (tricky,) = trigger_rows(stored("a#s", keywords=["#"]))

        assert plain.trigger_key.count("#") == 2
        assert tricky.trigger_key.count("#") == 3
        assert plain.trigger_key.rpartition("#")[0] != tricky.trigger_key.rpartition("#")[0]


class TestStoredScenarios:
    def found(self, text):
        scenario = StoredScenarios(PARTITION).for_keyword(fold(text))
        return scenario and scenario.id

    def test_finds_the_scenario_of_a_keyword(self, cloud):
        save("s", keywords=["Ｍenu"])

        assert self.found("MENU") == "s"
        assert self.found("menus") is None
        assert self.found(" ") is None

    def test_the_longest_keyword_wins_then_the_last_saved(self, cloud):
        save("long", keywords=["株式会社"], minute=0)
        save("old", keywords=["㍿"], minute=1)
        save("new", keywords=["㍿"], minute=2)

        assert self.found("㍿") == "long"
        delete("long")
        assert self.found("㍿") == "new"

    @pytest.mark.parametrize("trigger", ["follow", "error"])
    def test_finds_all_of_follow_and_error_the_first_saved_first(self, cloud, trigger):
        save("b", trigger=trigger, minute=2)
        save("a", trigger=trigger, minute=3)
        save("c", trigger=trigger, minute=1)
        save("d", trigger="selected", minute=0)

        assert [scenario.id for scenario in StoredScenarios(PARTITION).triggered_by(trigger)] == ["c", "b", "a"]

    def test_a_trigger_without_scenario_is_passed_over(self, cloud):
        commit(*map(Put, trigger_rows(stored("gone", trigger="error"))))

        assert list(StoredScenarios(PARTITION).triggered_by("error")) == []

    def test_other_channels_are_other_channels(self, cloud):
        save("s", text_node("a"), keywords=["menu"])

        elsewhere = StoredScenarios("#0001#other")
        assert elsewhere.for_keyword("menu") is None
        assert elsewhere.scenario("s") is None

    def test_every_save_is_another_version_also_after_a_deletion(self, cloud):
        seen = []
        for minute in range(3):
            save("s", text_node("a"), minute=minute)
            seen.append(StoredScenarios(PARTITION).scenario("s").version)
        delete("s")
        save("s", text_node("a"), minute=3)

        assert [*seen, StoredScenarios(PARTITION).scenario("s").version] == [1, 2, 3, 4]

    def test_a_version_stays_as_its_save_left_it(self, cloud):
        for number in (1, 2, 3):
            save("s", text_node("a", f"text {number}"))

        for number in (1, 2, 3):
            for found in (
                StoredScenarios(PARTITION).pinned("s", number),
                StoredScenarios(PARTITION).saved("s", number),
            ):
                assert (found.id, found.version) == ("s", number)
                assert found.node("a")["template"]["text"] == f"text {number}"
        for library in (StoredScenarios(PARTITION), StoredScenarios("#0001#other")):
            assert library.pinned("s", 4) is library.saved("s", 4) is None
        assert StoredScenarios("#0001#other").saved("s", 1) is None

    def test_a_deleted_scenario_is_pinned_for_nobody_but_what_was_booked_is_still_found(self, cloud):
        save("s", text_node("a"))
        delete("s")

        assert StoredScenarios(PARTITION).scenario("s") is StoredScenarios(PARTITION).pinned("s", 1) is None
        assert StoredScenarios(PARTITION).saved("s", 1).node("a") == text_node("a")
