import json
import urllib.request

import pytest

from chatbot import bots
from chatbot.links import targets_of
from functions.chatbot.create_account import create_account
from functions.chatbot.export_bot import export_bot
from functions.chatbot.import_bot import import_bot
from kernel import settings
from local.line_simulator import LineSimulator
from tests.functions.chatbot.conftest import made
from tests.functions.chatbot.examples import FUNCTIONS, IDS, account_fields, documented, node, ok, refused, sample
from tests.functions.chatbot.test_menus import menu

TARGET = {"adminId": IDS["adminId"], "accountId": "be0lhwj8k9h-ypq0-nghy-tb9r-drt7d7ccb35d239"}
FIRST, SECOND = "22b0cc7e-26a3-11ee-90ac-a698574f3611", "33b0cc7e-26a3-11ee-90ac-a698574f3611"
TAG = {"name": "vip", "color": "red-filter", "values": ["a"]}


def result(answer):
    assert answer.status == 200, answer.body
    return answer.body["Result"]


def save(cloud, scenario_id, *nodes, **head):
    body = {
        **IDS,
        "scenario": {"scenarioId": scenario_id, "scenarioName": "name", "trigger": "", **head},
        "nodes": list(nodes),
    }
    assert cloud.call(FUNCTIONS["save_scenario"], body) == ok()


@pytest.fixture
def line(cloud, monkeypatch):
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        monkeypatch.setenv("LINE_DATA_API_ENDPOINT", simulator.url)
        settings.settings.cache_clear()
        yield simulator


def shop():
    """Return a node whose button leads to a shop and tells who followed it."""
    button = {"type": "button", "action": {"type": "uri", "label": "shop", "uri": "https://shop.example.com/"}}
    bubble = {"type": "bubble", "body": {"type": "box", "layout": "vertical", "contents": [button]}}
    return node("n", type="flex", title="shop", template=bubble, nodeConst={"trackClicks": True})


@pytest.fixture
def bot(cloud, account, line):
    """A channel that has one of everything, each naming the others, and its document as it is fetched."""
    assert cloud.call(FUNCTIONS["save_tag"], {**IDS, "tag": TAG}) == ok()
    assert cloud.call(FUNCTIONS["save_variable"], {**IDS, "accountVariable": ["a", "b"]}) == ok()
    form = result(cloud.call(FUNCTIONS["save_form"], {**IDS, "name": "form", "fields": [{"var_name": "a"}]}))["data"][
        "id"
    ]
    icon = {"name": "icon", "url": "https://img.example.com/i.png"}
    assert cloud.call(FUNCTIONS["save_icon_url"], {**IDS, "accountIconUrl": [icon]}) == ok()
    icon_id = result(cloud.call(FUNCTIONS["get_icon_url"], IDS))["data"][0]["id"]
    save(cloud, SECOND, shop())
    segment = documented(
        "save_user_segment", segmentName="buyers", mode="CVKey", cvKey={"orderId": "7"}, segmentUsers=[]
    )
    assert cloud.call(FUNCTIONS["save_user_segment"], segment) == ok()
    segment_id = cloud.rows("segments")[0]["segment_id"]
    option = {"value": segment_id, "nextnodeType": "snode", "scenario_id": SECOND, "multi_condition": []}
    condition = {"config_url": "bysegment", "options": [option]}
    save(
        cloud, FIRST,
        node("a", varForms=[form], nextNode="b"),
        node("b", 2, type="condition", template={}, condition_config=condition, nextScenario=SECOND),
        iconUrlId=icon_id, trigger="keyword", keywords=["hello"],
    )  # fmt: skip
    setting = documented("update_account_external_api_config")
    assert cloud.call(FUNCTIONS["update_account_external_api_config"], setting).status == 200
    assert cloud.call(FUNCTIONS["save_menu"], menu("menu", user_segment=[segment_id])) == ok()
    answer = export_bot(sample("export_bot"), None)
    return json.loads(fetched(json.loads(answer["body"])["Result"]["download_url"]))


def fetched(link):
    with urllib.request.urlopen(link) as answer:
        return answer.read()


def names(cloud, ids):
    """Return what a channel has, without the ids that differ from channel to channel."""
    scenarios = result(cloud.call(FUNCTIONS["get_scenario"], ids))["data"]
    forms = result(cloud.call(FUNCTIONS["get_form"], ids))["data"]
    icons = result(cloud.call(FUNCTIONS["get_icon_url"], ids))["data"]
    segments = result(cloud.call(FUNCTIONS["get_user_segment"], ids))["data"]
    menus = result(cloud.call(FUNCTIONS["get_menu"], ids))["data"]
    links = [row["url"] for row in cloud.rows("links") if row["account"].endswith(ids["accountId"])]
    return {
        "menus": [(one["name"], one["area_opt"]) for one in menus],
        "links": links,
        "scenarios": sorted(len(one["nodes"]) for one in scenarios),
        "tags": result(cloud.call(FUNCTIONS["get_tag"], ids))["data"],
        "variables": result(cloud.call(FUNCTIONS["get_variable"], ids))["data"],
        "forms": [(one["name"], one["fields"]) for one in forms],
        "icons": [(one["name"], one["url"]) for one in icons],
        "segments": [(one["name"], one["mode"], one["cvKey"]) for one in segments],
    }


def test_a_bot_goes_into_another_channel_under_new_ids(cloud, bot):
    made(cloud, TARGET)

    answer = result(cloud.call(import_bot, {**TARGET, "bot": bot}))

    counts = {"scenarios": 2, "tags": 1, "variables": 2, "forms": 1, "icons": 1, "segments": 1, "menus": 1}
    assert {name: answer[name] for name in counts} == counts
    assert names(cloud, TARGET) == names(cloud, IDS)
    new = answer["ids"]
    assert len(new) == 5
    assert not set(new) & set(new.values())
    first = next(
        one for one in result(cloud.call(FUNCTIONS["get_scenario"], TARGET))["data"] if one["id"] == new[FIRST]
    )
    by_id = {one["nodeId"]: one for one in first["nodes"]}
    assert by_id["a"]["varForms"] == [new[bot["forms"][0]["id"]]]
    assert by_id["b"]["nextScenario"] == new[SECOND]
    option = by_id["b"]["condition_config"]["options"][0]
    assert (option["value"], option["scenario_id"]) == (new[bot["segments"][0]["id"]], new[SECOND])
    assert first["scenario"]["iconUrlId"] == new[bot["icons"][0]["id"]]
    (there,) = result(cloud.call(FUNCTIONS["get_menu"], TARGET))["data"]
    assert there["user_segment"] == [new[bot["segments"][0]["id"]]]


def test_the_same_bot_twice_is_there_once(cloud, bot):
    made(cloud, TARGET)
    once = result(cloud.call(import_bot, {**TARGET, "bot": bot}))
    before = names(cloud, TARGET)

    assert result(cloud.call(import_bot, {**TARGET, "bot": bot})) == once
    assert names(cloud, TARGET) == before
    # What is there already is no new version.
    assert len(cloud.rows("scenario-versions")) == 4


def test_a_segment_that_was_renamed_gives_its_name_back_when_it_is_imported_again(cloud, bot):
    made(cloud, TARGET)
    answer = result(cloud.call(import_bot, {**TARGET, "bot": bot}))
    segment_id = answer["ids"][bot["segments"][0]["id"]]
    renamed = documented(
        "save_user_segment", **TARGET, segmentId=segment_id, segmentName="other", mode="CVKey",
        cvKey={"orderId": "7"}, segmentUsers=[],
    )  # fmt: skip
    assert cloud.call(FUNCTIONS["save_user_segment"], renamed) == ok()

    assert cloud.call(import_bot, {**TARGET, "bot": bot}).status == 200

    assert cloud.call(FUNCTIONS["save_user_segment"], {**renamed, "segmentId": ""}) == ok()


def test_a_copied_channel_has_the_same_bot(cloud, bot):
    fields = account_fields(TARGET, accountClone=IDS["accountId"])

    assert cloud.call(create_account, fields) == ok()

    # Menus are LINE's, and not copied (createAccount, rules).
    assert names(cloud, TARGET) == {**names(cloud, IDS), "menus": []}
    accounts = {
        one["accountId"]: one for one in result(cloud.call(FUNCTIONS["get_account"], {"adminId": "0001"}))["accounts"]
    }
    assert accounts[TARGET["accountId"]]["setting"] == accounts[IDS["accountId"]]["setting"]


def test_segments_go_without_their_users(cloud, account):
    assert cloud.call(FUNCTIONS["save_user_segment"], documented("save_user_segment")) == ok()
    made(cloud, TARGET, accountClone=IDS["accountId"])

    [row] = [row for row in cloud.rows("segments") if row["account"].endswith(TARGET["accountId"])]
    assert row["members"] == 0


def changed(bot, **changes):
    return {**json.loads(json.dumps(bot)), **changes}


def test_refuses_what_does_not_fit(cloud, bot, refuses):
    made(cloud, TARGET)
    segment = documented("save_user_segment", **TARGET, segmentName="buyers", mode="CVKey", cvKey={"orderId": "1"})
    assert cloud.call(FUNCTIONS["save_user_segment"], segment) == ok()
    place = next(place for place, one in enumerate(bot["scenarios"]) if len(one["nodes"]) == 2)
    lost = changed(bot, segments=[])
    lost["scenarios"][place]["nodes"][0]["nextNode"] = "nowhere"
    odd = changed(bot, segments=[])
    odd["scenarios"][place]["nodes"][1]["condition_config"]["options"] = 5
    [segment], [form], [tag], [one_menu] = bot["segments"], bot["forms"], bot["tags"], bot["menus"]
    empty = {"scenarios": [], "forms": [], "icons": [], "segments": [], "menus": []}

    def only(**parts):
        return {**TARGET, "bot": changed(bot, **{**empty, "tags": [], **parts})}

    refuses(
        import_bot,
        [
            ({**TARGET, "bot": bot}, "bot.segments[0].name already exists in this channel"),
            ({**TARGET, "bot": lost}, f"bot.scenarios[{place}].nodes[0].nextNode names an unknown node"),
            (
                {**TARGET, "bot": odd},
                f"bot.scenarios[{place}].nodes[1].condition_config.options must be a valid list",
            ),
            ({**TARGET, "bot": {**bot, "format": "other"}}, "bot.format must be 'citypass-bot'"),
            (TARGET, "bot is required"),
            (only(tags=[tag, tag]), "bot.tags[1].name is there twice"),
            (only(forms=[form, form]), "bot.forms[1].id is there twice"),
            (
                only(segments=[{**segment, "name": "x"}, {**segment, "id": "other", "name": " x "}]),
                "bot.segments[1].name is there twice",
            ),
            (
                only(forms=[{**form, "fields": ["c"]}]),
                "bot.forms[0].fields[0] is no variable of the bot or the channel",
            ),
            (
                only(segments=[{**segment, "name": "x", "orderId": ""}]),
                "bot.segments[0].orderId is required for mode CVKey",
            ),
            (
                only(segments=[{**segment, "name": "x", "mode": "Conditions"}]),
                "bot.segments[0].conditions is required for mode Conditions",
            ),
            (
                only(menus=[{**one_menu, "layout": "C"}]),
                "bot.menus[0].area_opt.D is no area of layout C",
            ),
        ],
    )


def test_conditions_are_stored_as_they_are_understood(cloud, bot):
    made(cloud, TARGET)
    condition = {"source": "uservariable", "uservariable": "a", "expression": "has_value"}
    segment = {**bot["segments"][0], "name": " x ", "mode": "Conditions", "conditions": [condition]}

    assert cloud.call(import_bot, {**TARGET, "bot": {**bot, "segments": [segment], "menus": []}}).status == 200

    (listed,) = result(cloud.call(FUNCTIONS["get_user_segment"], TARGET))["data"]
    assert (listed["name"], listed["conditions"][0]["uservariable"]) == ("x", {"name": "a"})


def test_links_of_an_imported_bot_lead_somewhere(cloud, bot):
    made(cloud, TARGET)
    assert cloud.call(import_bot, {**TARGET, "bot": bot}).status == 200

    assert [row["url"] for row in cloud.rows("links")] == 2 * targets_of([shop()])


def test_the_sample_is_answered(cloud, account):
    answer = import_bot(sample("import_bot"), None)

    assert json.loads(answer["body"])["Result"]["scenarios"] == 1


def test_a_copy_that_broke_off_is_cleared(cloud, bot):
    bots.clear(IDS["adminId"], IDS["accountId"])

    left = cloud.everything()
    for name in (
        "scenarios",
        "scenario-versions",
        "triggers",
        "tags",
        "variables",
        "forms",
        "icons",
        "segments",
        "names",
    ):
        assert left[name] == [], name


def test_nobody_fetches_the_bot_of_another(cloud, account, foreign):
    assert cloud.call(export_bot, IDS, caller="0002").status == 401
    assert cloud.call(export_bot, {**IDS, "accountId": foreign.ids["accountId"]}) == refused("accountId not found")
