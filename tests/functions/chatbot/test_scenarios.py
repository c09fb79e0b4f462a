"""Scenarios saved, listed and deleted; which nodes can run is tested with their graph."""

import json
import random
import re
from datetime import timedelta

import pytest

from chatbot import scenarios
from chatbot.tables import ScenarioTable
from functions.chatbot.delete_scenario import delete_scenario
from functions.chatbot.get_scenario import get_scenario
from functions.chatbot.save_scenario import save_scenario
from kernel import aws, clock
from kernel.operations import answer_size
from kernel.tables import Change, commit
from tests.functions.chatbot.examples import (
    IDS,
    JSON,
    NOT_ALLOWED,
    NOW,
    PARTITION,
    SHOWN_NOW,
    audited,
    documented,
    node,
    ok,
    refused,
    scenario,
)

EXAMPLE = documented("save_scenario")
ID = EXAMPLE["scenario"]["scenarioId"]
OTHER = "22b0cc7e-26a3-11ee-90ac-a698574f3611"
LATER = NOW + timedelta(minutes=1)
SHOWN_LATER = "2024-01-28 06:42:29.006"


def save(cloud, *bodies):
    for body in bodies:
        assert cloud.call(save_scenario, body) == ok()


def listed(cloud, ids=IDS):
    return cloud.call(get_scenario, ids, caller=ids["adminId"]).body["Result"]["data"]


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def view(body, created=SHOWN_NOW, updated=SHOWN_NOW, **head):
    shown = {"iconUrlId": "", "keywords": [], **body["scenario"], **head}
    return {
        "id": shown["scenarioId"],
        "scenario": shown,
        "nodes": body["nodes"],
        "createTime": created,
        "updateTime": updated,
    }


def test_the_documented_scenario_comes_back_as_it_was_saved(cloud, account):
    assert cloud.call(save_scenario, EXAMPLE) == ok()
    assert cloud.call(get_scenario, IDS) == ok({"data": [view(EXAMPLE)]})


def test_lists_the_documented_answer(cloud, account):
    empty = scenario("21626a18-bd9c-11ee-9576-5e3d17951793", scenarioName="C00010")
    save(cloud, empty)

    head = {"iconUrlId": "", "trigger": "", "keywords": []}
    names = {"scenarioId": "21626a18-bd9c-11ee-9576-5e3d17951793", "scenarioName": "C00010"}
    times = {"createTime": SHOWN_NOW, "updateTime": SHOWN_NOW}
    wanted = {"id": names["scenarioId"], "scenario": {**names, **head}, "nodes": [], **times}
    assert cloud.call(get_scenario, IDS) == ok({"data": [wanted]})


def test_replaces_a_known_id_and_creates_an_unknown_one(cloud, account, foreign):
    save(cloud, EXAMPLE, scenario(OTHER))
    new = scenario(ID, node("a"), trigger="follow", scenarioName="new")
    with clock.frozen(LATER):
        save(cloud, new)

    assert listed(cloud) == [view(scenario(OTHER)), view(new, updated=SHOWN_LATER)]
    assert listed(cloud, foreign.ids) == []
    # The keyword starts nothing any more.
    assert [(row["trigger_key"], row["scenario_id"]) for row in cloud.rows("triggers")] == [(f"follow#{ID}", ID)]


def test_makes_an_id_when_none_is_given(cloud, account):
    absent = scenario("")
    del absent["scenario"]["scenarioId"]

    save(cloud, scenario(""), scenario(None), absent, absent)

    made = [one["id"] for one in listed(cloud)]
    # Version 1, of the time of the call: 06:41:29.006 in steps of 100 ns, as in the document's own ids.
    assert len(set(made)) == 4
    assert all(re.fullmatch(r"441e[0-9a-f]{4}-bda8-11ee-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in made)
    assert [one["scenario"]["scenarioId"] for one in listed(cloud)] == made


CROS = {"enable": False, "responseSetting": {"success": {"nextNodeId": "", "scenarioId": ""}, "failed": {}}}
EMOJI = {"index": 0, "productId": "5ac1bfd5040ab15980c9b435", "emojiId": "001"}
# What is sent for a node, and what comes back where that is something else.
SPELLINGS = {
    "cors": ({"externalApi": {"cors": CROS}}, {"externalApi": {"cros": CROS}}),
    "enabled": ({"externalApi": {"cors": {"enabled": True}}}, {"externalApi": {"cros": {"enable": True}}}),
    "a level that is a number": ({"level": 2}, {"level": "2"}),
    "no error": ({"error": ...}, {"error": 0}),
    "another error": ({"error": 3}, {}),
    "fields nobody knows": ({"unknown": {"a": [1, None, 1.5, True, "中"]}}, {}),
    "unset in every way": (
        {
            "condition_config": {}, "reservations_config": [], "nextScenario": "", "nextNode": "", "flex_config": [],
            "userAction": None, "externalApi": "", "varForms": [], "nodeTag": None, "subtitle": None,
            "datetimeTrigger": {"enable": False, "startTime": "", "endTime": ""},
        },
        {},
    ),
    "a tag that is ''": (
        {
            "type": "condition", "template": {},
            "condition_config": {"config_url": "bytag", "options": [
                {"value": "", "scenario_id": OTHER, "nextNodeId": "", "nextnodeType": "snode", "multi_condition": [
                    {"source": "uservariable", "tag": "", "value": "3", "uservariable": {"name": "apply_count"},
                     "range": {"start": "", "end": ""}, "expression": "num_gt"},
                    {"source": "tag", "tag": {"name": "a", "color": "red-filter"}, "expression": "has_value"},
                    {"source": "followtime", "tag": None, "range": {"start": "2024-01-01", "end": None},
                     "expression": "date_range"},
                ]},
            ]},
        },
        {},
    ),
    "emojis as an object": ({"template": {"type": "text", "text": "$ hello", "emojis": EMOJI}}, {}),
    "emojis as a list": ({"template": {"type": "text", "text": "$ hello", "emojis": [EMOJI]}}, {}),
    "a sticker": ({"type": "sticker", "template": {"type": "sticker", "packageId": "446", "stickerId": "1988"}}, {}),
    "a sticker without ids": ({"type": "sticker", "template": {"type": "sticker"}}, {}),
    "an image": (
        {"type": "image", "template": {
            "type": "image", "originalContentUrl": "https://img.example.com/o.png",
            "previewImageUrl": "https://img.example.com/p.png",
        }},
        {},
    ),
    "an imagemap": (
        {"type": "imagemap", "template": {
            "type": "imagemap", "layout": "B", "baseUrl": "https://res.example.com/images/ImageMap/0001/a/b",
            "altText": "Hi test", "baseSize": {"width": "1040", "height": 1040},
            "areaOptions": [
                {"type": "uri", "label": "A", "url": "https://www.example.com/", "text": ""},
                {"type": "message", "label": "B", "text": "keyword1"},
            ],
        }},
        {},
    ),
    "ways to other scenarios": (
        {
            "nextScenario": OTHER,
            "reservations_config": [
                {"scenario_id": OTHER, "reservationtime": 30, "window": {"start": "09:00", "end": "18:00"}}
            ],
            "flex_config": [
                {"replacement_str": "keyword1", "scenarioId": OTHER, "userVars": ["employee_count"],
                 "tag": {"color": "red-filter", "name": "tag name", "tagValue": "tag value"}},
            ],
        },
        {},
    ),
}  # fmt: skip


STICKER = "nodes[0] shows nothing: a sticker needs packageId and stickerId"


def warning(*texts):
    """Return the whole answer of a save of what the channel cannot show as it was made."""
    return (200, {"ErrorCode": 200, "ErrorMessage": "ok", "Result": None, "Warnings": list(texts)}, JSON)


def test_accepts_and_emits(cloud, account, subtests):
    save(cloud, scenario(OTHER))
    for number, (name, (sent, emitted)) in enumerate(SPELLINGS.items()):
        body = scenario(f"id-{number:02}", {k: v for k, v in node("node", **sent).items() if v is not ...})
        with subtests.test(name):
            warned = name == "a sticker without ids"
            assert cloud.call(save_scenario, body) == (warning(STICKER) if warned else ok())
            (saved,) = (one for one in listed(cloud) if one["id"] == f"id-{number:02}")
            assert saved["nodes"] == [node("node", **{**sent, **emitted})]


def test_keywords_belong_to_the_trigger_keyword(cloud, account):
    keywords = [" Keyword1 ", "ＫＥＹＷＯＲＤ1", "關鍵字", "#a#"]
    save(cloud, scenario("keyword", trigger="keyword", keywords=keywords))
    save(cloud, scenario("selected", trigger="selected", keywords=["left over"], iconUrlId=None))
    save(cloud, scenario("error", trigger="error", keywords=None))

    heads = [one["scenario"] for one in listed(cloud)]
    assert [(head["trigger"], head["keywords"]) for head in heads] == [
        ("error", []),
        ("keyword", ["Keyword1", "ＫＥＹＷＯＲＤ1", "關鍵字", "#a#"]),
        ("selected", []),
    ]
    # Two spellings of one keyword are one way to start.
    started = [(row["scenario_id"], row["keyword"]) for row in cloud.rows("triggers")]
    assert sorted(started) == [("error", ""), ("keyword", "#a#"), ("keyword", "Keyword1"), ("keyword", "關鍵字")]


def test_leaves_audit_rows(cloud, account):
    save(cloud, EXAMPLE)
    with clock.frozen(LATER):
        save(cloud, EXAMPLE)
    with clock.frozen(LATER + timedelta(minutes=1)):
        assert cloud.call(delete_scenario, {**IDS, "scenarioId": ID}) == ok()

    rows = audited(cloud, f"scenario {ID}")
    state = rows[0]["after"]
    known = {"tenant": "0001", "actor": "0001", "subject": f"scenario {ID}"}
    saved, deleted = {**known, "operation": "save_scenario"}, {**known, "operation": "delete_scenario"}
    assert rows == [
        {**saved, "after": state, "created_at": "2024-01-28T06:41:29.006Z"},
        {**saved, "before": state, "after": state, "created_at": "2024-01-28T06:42:29.006Z"},
        {**deleted, "before": state, "created_at": "2024-01-28T06:43:29.006Z"},
    ]


def test_deletes_a_scenario_with_what_starts_it(cloud, account, foreign, refuses):
    save(cloud, scenario(OTHER, trigger="keyword", keywords=["keyword1"]), EXAMPLE)

    assert cloud.call(delete_scenario, {**IDS, "scenarioId": ID}) == ok()

    assert [one["id"] for one in listed(cloud)] == [OTHER]
    assert [row["scenario_id"] for row in cloud.rows("triggers")] == [OTHER]
    refuses(
        delete_scenario,
        [
            ({**IDS, "scenarioId": ID}, "scenarioId not found"),
            ({**IDS, "scenarioId": "keyword1"}, "scenarioId not found"),
            ({**IDS, "scenarioId": ""}, "scenarioId must have at least 1 character"),
            ({**IDS, "scenarioId": "a" * 65}, "scenarioId must have at most 64 characters"),
        ],
    )
    refuses(delete_scenario, [({**foreign.ids, "scenarioId": OTHER}, "scenarioId not found")], caller="0002")


def test_says_what_the_channel_cannot_show(cloud, account):
    nodes = [
        node("sticker", type="sticker", template={"type": "sticker"}, nextNode="generic"),
        node("generic", 2, type="fb_generic", template={"elements": [{"title": "a"}]}),
        node("text", 3),
    ]
    body = scenario("s", *nodes)

    line_has_none = "nodes[1] shows nothing: LINE has no generic template"
    assert cloud.call(save_scenario, body) == warning(STICKER, line_has_none)
    # It is saved all the same.
    assert listed(cloud) == [view(body)]


def test_a_save_of_an_outdated_version_is_refused(cloud, account, refuses):
    for number in (0, 1):
        assert cloud.call(save_scenario, {**scenario(ID, node(f"n{number}")), "baseVersion": number}) == ok()

    def outdated(base):
        text = f"version 2 is the latest, yours began at version {base}; save again with force to replace it"
        return ({**scenario(ID, node("mine")), "baseVersion": base}, f"scenario was saved since: {text}")

    refuses(save_scenario, [outdated(base) for base in (0, 1, 3)])
    one = ({**scenario(ID), "baseVersion": -1}, "baseVersion must be greater than or equal to 0")
    refuses(save_scenario, [one])
    assert cloud.call(save_scenario, {**scenario(ID, node("mine")), "baseVersion": 1, "force": True}) == ok()
    assert [one["nodes"] for one in listed(cloud)] == [[node("mine")]]
    # Who says nothing of a version replaces the latest.
    assert cloud.call(save_scenario, scenario(ID, node("again"))) == ok()
    assert [int(row["revision"]) for row in cloud.rows("scenario-versions")] == [1, 2, 3, 4]


def test_registers_where_tracked_links_lead(cloud, account):
    uri = {"type": "uri", "label": "go", "uri": "https://shop.example.com/a"}
    button = {"type": "box", "layout": "vertical", "contents": [{"type": "button", "action": uri}]}
    template = {"type": "bubble", "footer": button}
    tracked = node("a", type="flex", template=template, nodeConst={"trackClicks": True})

    save(cloud, scenario("untracked", node("a", type="flex", template=template)))
    assert cloud.rows("links") == []
    save(cloud, scenario("tracked", tracked))
    assert [row["url"] for row in cloud.rows("links")] == ["https://shop.example.com/a"]
    assert [one["nodes"] for one in listed(cloud) if one["id"] == "tracked"] == [[tracked]]


TRIGGERS = "scenario.trigger must be 'selected', 'keyword', 'follow', 'error' or ''"
NODE_TYPES = "'condition', 'fb_generic', 'flex', 'imagemap', 'image', 'input', 'sticker', 'text' or 'video'"
IMAGEMAP = SPELLINGS["an imagemap"][0]


def imagemap(**changes):
    return node("node", **{**IMAGEMAP, "template": {**IMAGEMAP["template"], **changes}})


HEADS = {
    "scenario.scenarioName is required; scenario.trigger is required": {},
    "scenario.scenarioName must have at most 200 characters": {"scenarioName": "n" * 201, "trigger": ""},
    "scenario.keywords is required for trigger keyword": {"scenarioName": "a", "trigger": "keyword"},
    "scenario.keywords[0] must have at least 1 character": {"scenarioName": "a", "trigger": "", "keywords": [" "]},
    TRIGGERS: {"scenarioName": "a", "trigger": "Follow"},
    f"scenario.scenarioId {NOT_ALLOWED}": {
        "scenarioName": "a", "trigger": "", "scenarioId": "a#b",
    },
    "scenario.iconUrlId must be a valid string": {"scenarioName": "a", "trigger": "", "iconUrlId": 0},
}  # fmt: skip
NODES = {
    "nodes[0] must be an object": ["node"],
    **{
        f"nodes[0].{field} is required": [{k: v for k, v in node("a").items() if k != field}]
        for field in ("nodeId", "type", "title", "level", "sort", "template")
    },
    f"nodes[0].type must be {NODE_TYPES}": [node("a", type="audio")],
    "nodes[0].sort must be a valid integer": [node("a", sort="1")],
    "nodes[0].template.type must be 'text' for a node of type text": [node("a", template={"type": "bubble"})],
    "nodes[0].template.type must be 'bubble' for a node of type input": [node("a", type="input")],
    "nodes[1].nodeId is already the id of nodes[0]": [node("a"), node("a", 2)],
    "nodes[0].nextNode names an unknown node": [node("a", nextNode="b")],
    "nodes[0].nextScenario names an unknown scenario": [node("a", nextScenario=OTHER)],
    "nodes[0].condition_config is required": [node("a", type="condition", template={})],
    "nodes[0].template.areaOptions[1].label must be one of A in layout A": [imagemap(layout="A")],
    "nodes[0].template.layout must be one of A, B, C, D, E": [imagemap(layout="F")],
    "nodes[0].template.baseSize.width must be 1040; nodes[0].template.baseSize.height must be 1040": [
        imagemap(baseSize={"width": 1041})
    ],
}


def test_refuses(cloud, account, refuses):
    cases = [({**EXAMPLE, "scenario": head}, message) for message, head in HEADS.items()]
    cases += [(scenario("a", *nodes), message) for message, nodes in NODES.items()]
    # One answer names everything, head and nodes.
    everything = scenario("a", node("a", nextNode="b"), "c", trigger="x", scenarioName=1)
    flaws = ["scenario.scenarioName must be a valid string", TRIGGERS]
    flaws += ["nodes[0].nextNode names an unknown node", "nodes[1] must be an object"]
    refuses(save_scenario, [*cases, (everything, "; ".join(flaws))])


def test_a_scenario_of_another_channel_is_unknown(cloud, account, foreign, refuses):
    theirs = scenario(OTHER) | foreign.ids
    assert cloud.call(save_scenario, theirs, caller="0002") == ok()

    refuses(
        save_scenario,
        [(scenario(ID, node("a", nextScenario=OTHER)), "nodes[0].nextScenario names an unknown scenario")],
    )


def test_takes_large_scenarios_as_far_as_a_row_goes(cloud, account, refuses):
    letters = random.Random(1).choices("0123456789abcdef", k=3_000_000)
    texts = ["".join(letters[start : start + 4000]) for start in range(0, len(letters), 4000)]
    nodes = [node(f"n{place}", place, template={"type": "text", "text": text}) for place, text in enumerate(texts)]

    # 150 KB: more than other operations take.
    save(cloud, scenario("large", *nodes[:40]))

    assert listed(cloud)[0]["nodes"] == nodes[:40]
    too_large = "nodes are too large together; spread them over several scenarios"
    refuses(save_scenario, [(scenario("larger", *nodes[:250]), too_large)])
    many = [node(f"n{number}") for number in range(301)]
    refuses(save_scenario, [(scenario("many", *many), "nodes must be at most 300 nodes")])


def test_a_long_list_comes_in_pages(cloud, account, monkeypatch):
    save(cloud, *(scenario(str(number), node("a" * 20)) for number in range(5)))

    def pages():
        found, key = [], ""
        while key is not None:
            result = cloud.call(get_scenario, {**IDS, "lastEvaluatedKey": key}).body["Result"]
            key = result.pop("lastEvaluatedKey", None)
            found.append("".join(one["id"] for one in result["data"]))
        return found

    assert pages() == ["01234"]
    monkeypatch.setattr(scenarios, "_PAGE", 2)
    assert pages() == ["01", "23", "4"]
    monkeypatch.setattr(scenarios, "_PAGE", 200)
    monkeypatch.setattr(scenarios, "_PAGE_BYTES", int(3.5 * answer_size(compact(listed(cloud)[0]))))
    assert pages() == ["012", "34"]
    # A scenario alone may be larger than a page.
    monkeypatch.setattr(scenarios, "_PAGE_BYTES", 1)
    assert pages() == list("01234")
    no_key = refused("lastEvaluatedKey is not a key of this list")
    assert cloud.call(get_scenario, {**IDS, "lastEvaluatedKey": "x"}) == no_key


@pytest.mark.parametrize("operation", [save_scenario, delete_scenario], ids=lambda operation: operation.name)
def test_a_change_in_between_is_not_lost(cloud, account, operation):
    save(cloud, EXAMPLE)
    key = ScenarioTable.key(PARTITION, ID)

    def meanwhile(call):
        if call.action == "GetItem" and call.payload["TableName"] == ScenarioTable.physical_name():
            commit(Change(ScenarioTable, key, [ScenarioTable.version.set(2)]))

    aws.observers.append(meanwhile)
    answer = cloud.call(operation, {**EXAMPLE, "scenarioId": ID})
    aws.observers.remove(meanwhile)

    assert answer == refused("changed by somebody else meanwhile, or already there")
    assert listed(cloud) == [view(EXAMPLE)]
    assert len(audited(cloud, f"scenario {ID}")) == 1
