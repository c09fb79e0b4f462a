"""The versions of a scenario: every save makes one, and none is ever lost or changed."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from chatbot import versions
from functions.chatbot.diff_scenario_versions import diff_scenario_versions
from functions.chatbot.get_scenario_versions import get_scenario_versions
from functions.chatbot.roll_back_scenario import roll_back_scenario
from kernel import clock
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOW,
    audited,
    node,
    ok,
    refused,
    sample,
    scenario,
)

ID = "0b55ee90-bb79-11ee-b1cb-3289ab88e76e"
ASKED = {**IDS, "scenarioId": ID}


def save(cloud, body):
    assert cloud.call(FUNCTIONS["save_scenario"], body) == ok()


@pytest.fixture
def three(cloud, account):
    """Three versions of a scenario, a minute apart; the latest starts by a keyword."""
    saved = [
        scenario(ID, node("a"), scenarioName="first"),
        scenario(ID, node("a", nextNode="b"), node("b", 2), scenarioName="second", trigger="follow"),
        scenario(ID, node("b"), scenarioName="third", trigger="keyword", keywords=["go"]),
    ]
    for minute, body in enumerate(saved):
        with clock.frozen(NOW + timedelta(minutes=minute)):
            save(cloud, body)
    return saved


def listed(cloud, **more):
    return cloud.call(get_scenario_versions, {**ASKED, **more}).body["Result"]


def current(cloud):
    """Return head and nodes of the one scenario as getScenario lists it."""
    (one,) = cloud.call(FUNCTIONS["get_scenario"], IDS).body["Result"]["data"]
    return one["scenario"], one["nodes"]


def version(number, name, trigger, nodes, minute):
    return {
        "version": number,
        "scenarioName": name,
        "trigger": trigger,
        "nodesCount": nodes,
        "savedBy": "0001",
        "createTime": f"2024-01-28 06:{41 + minute}:29.006",
    }


def test_lists_who_saved_which_version_when_the_latest_first(three, cloud):
    answer = get_scenario_versions(sample("get_scenario_versions"), None)

    assert (answer["statusCode"], json.loads(answer["body"])["Result"]) == (
        200,
        {
            "data": [
                version(3, "third", "keyword", 1, 2),
                version(2, "second", "follow", 2, 1),
                version(1, "first", "", 1, 0),
            ]
        },
    )
    assert cloud.call(get_scenario_versions, ASKED).body["Result"] == json.loads(answer["body"])["Result"]


def test_a_long_list_comes_in_pages(three, cloud, monkeypatch):
    monkeypatch.setattr(versions, "_PAGE", 2)
    first = listed(cloud)
    second = listed(cloud, lastEvaluatedKey=first["lastEvaluatedKey"])

    assert [one["version"] for one in first["data"] + second["data"]] == [3, 2, 1]
    assert "lastEvaluatedKey" not in second
    save(cloud, scenario("other", node("a")))
    # A key of one scenario opens no list of another.
    no_key = refused("lastEvaluatedKey is not a key of this list")
    other = {**IDS, "scenarioId": "other", "lastEvaluatedKey": first["lastEvaluatedKey"]}
    assert cloud.call(get_scenario_versions, other) == no_key


def test_tells_where_two_versions_differ(three, cloud):
    answer = diff_scenario_versions(sample("diff_scenario_versions"), None)

    wanted = [
        {"path": "scenario.scenarioName", "before": "first", "after": "second"},
        {"path": "scenario.trigger", "before": "", "after": "follow"},
        {"path": "nodes.a.nextNode", "before": None, "after": "b"},
        {"path": "nodes.b", "before": None, "after": node("b", 2)},
    ]
    assert (answer["statusCode"], json.loads(answer["body"])["Result"]) == (200, {"data": wanted, "complete": True})
    back = cloud.call(diff_scenario_versions, {**ASKED, "version": 2, "otherVersion": 1}).body["Result"]["data"]
    turned = [{**one, "before": one["after"], "after": one["before"]} for one in wanted]
    assert sorted(back, key=lambda one: one["path"]) == sorted(turned, key=lambda one: one["path"])
    same = cloud.call(diff_scenario_versions, {**ASKED, "version": 3, "otherVersion": 3})
    assert same == ok({"data": [], "complete": True})


def test_the_order_of_nodes_is_no_difference(cloud, account):
    save(cloud, scenario(ID, node("a"), node("b", 2)))
    save(cloud, scenario(ID, node("b", 2), node("a")))

    same = {"data": [], "complete": True}
    assert cloud.call(diff_scenario_versions, {**ASKED, "version": 1, "otherVersion": 2}) == ok(same)


def test_a_long_difference_is_cut(three, cloud, monkeypatch):
    monkeypatch.setattr(versions, "_CHANGES", 3)

    found = cloud.call(diff_scenario_versions, {**ASKED, "version": 1, "otherVersion": 2}).body["Result"]
    assert (len(found["data"]), found["complete"]) == (3, False)


def test_rolling_back_makes_a_new_version(three, cloud):
    with clock.frozen(NOW + timedelta(minutes=3)):
        answer = roll_back_scenario(sample("roll_back_scenario"), None)

    assert (answer["statusCode"], json.loads(answer["body"])) == (200, ok()[1])
    head, nodes = current(cloud)
    assert (head["scenarioName"], head["trigger"], head["keywords"], nodes) == ("first", "", [], [node("a")])
    assert listed(cloud)["data"][0] == version(4, "first", "", 1, 3)
    assert len(listed(cloud)["data"]) == 4
    # What started the third version starts nothing any more, and what started the second does again after its return.
    assert cloud.rows("triggers") == []
    assert cloud.call(roll_back_scenario, {**ASKED, "version": 2}) == ok()
    assert [row["trigger_key"] for row in cloud.rows("triggers")] == [f"follow#{ID}"]
    assert cloud.call(diff_scenario_versions, {**ASKED, "version": 2, "otherVersion": 5}).body["Result"]["data"] == []


def test_rolling_back_is_audited(three, cloud):
    with clock.frozen(NOW + timedelta(minutes=3)):
        assert cloud.call(roll_back_scenario, {**ASKED, "version": 1}) == ok()

    (entry,) = audited(cloud, f"scenario {ID} back to version 1")
    saves = audited(cloud, f"scenario {ID}")
    assert (entry["operation"], entry["tenant"], entry["actor"]) == ("roll_back_scenario", "0001", "0001")
    assert (entry["before"], entry["after"]) == (saves[2]["after"], saves[0]["after"])


def test_what_does_not_fit_any_more_is_not_brought_back(three, cloud, refuses):
    save(cloud, scenario("other", node("z")))
    save(cloud, scenario(ID, node("a", nextScenario="other")))
    save(cloud, scenario(ID, node("a")))
    assert cloud.call(FUNCTIONS["delete_scenario"], {**IDS, "scenarioId": "other"}) == ok()

    refuses(roll_back_scenario, [({**ASKED, "version": 4}, "nodes[0].nextScenario names an unknown scenario")])


def test_versions_survive_a_deletion_and_their_numbers_go_on(three, cloud, refuses):
    assert cloud.call(FUNCTIONS["delete_scenario"], ASKED) == ok()

    assert [one["version"] for one in listed(cloud)["data"]] == [3, 2, 1]
    assert cloud.call(diff_scenario_versions, {**ASKED, "version": 1, "otherVersion": 3}).status == 200
    refuses(roll_back_scenario, [({**ASKED, "version": 1}, "scenarioId not found")])
    outdated = "scenario was saved since: version 0 is the latest, yours began at version 3; "
    again = {**scenario(ID, node("new")), "baseVersion": 3}
    refuses(FUNCTIONS["save_scenario"], [(again, outdated + "save again with force to replace it")])
    save(cloud, {**again, "baseVersion": 0})
    assert [one["version"] for one in listed(cloud)["data"]] == [4, 3, 2, 1]
    assert cloud.call(roll_back_scenario, {**ASKED, "version": 3}) == ok()
    assert current(cloud)[0]["scenarioName"] == "third"


def test_refuses(three, cloud, foreign, refuses):
    unknown = {**IDS, "scenarioId": "unknown"}
    refuses(
        get_scenario_versions,
        [
            (unknown, "scenarioId not found"),
            (IDS, "scenarioId is required"),
            ({**ASKED, "scenarioId": ""}, "scenarioId must have at least 1 character"),
            ({**ASKED, "lastEvaluatedKey": "x"}, "lastEvaluatedKey is not a key of this list"),
        ],
    )
    refuses(
        diff_scenario_versions,
        [
            ({**ASKED, "version": 4, "otherVersion": 1}, "version is no version of this scenario"),
            ({**ASKED, "version": 1, "otherVersion": 4}, "otherVersion is no version of this scenario"),
            ({**unknown, "version": 1, "otherVersion": 1}, "version is no version of this scenario"),
            ({**ASKED, "version": 0, "otherVersion": 1}, "version must be greater than or equal to 1"),
            (ASKED, "version is required; otherVersion is required"),
        ],
    )
    refuses(
        roll_back_scenario,
        [
            ({**ASKED, "version": 4}, "version is no version of this scenario"),
            ({**ASKED, "version": 10**30}, "version must be less than or equal to 1000000000"),
            ({**unknown, "version": 1}, "scenarioId not found"),
            (ASKED, "version is required"),
        ],
    )
    theirs = {**foreign.ids, "scenarioId": ID, "version": 1, "otherVersion": 1}
    refuses(get_scenario_versions, [(theirs, "scenarioId not found")], caller="0002")
    refuses(diff_scenario_versions, [(theirs, "version is no version of this scenario")], caller="0002")
    refuses(roll_back_scenario, [(theirs, "scenarioId not found")], caller="0002")
