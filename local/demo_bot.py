"""What the demo bot says: the help desk of a city pass, as bodies of saveTag, saveVariable and saveScenario."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

REGISTERED = {"name": "已報名", "color": "bg-success"}
VIP = {"name": "VIP", "color": "bg-warning"}
INTEREST = {"name": "興趣", "color": "skyblue-filter"}
INTEREST_VALUES = ["咖啡", "展覽"]
TAGS: list[Json] = [
    {**REGISTERED, "values": []},
    {**VIP, "values": []},
    {**INTEREST, "values": INTEREST_VALUES},
]
VARIABLES = ["name", "people", "phone"]

_TEAL = "#0F766E"
_GREY = "#6B7280"

WELCOME = "5b1f0a10-8f4e-11ef-9cd2-0242ac120002"
MENU = "5b1f0a11-8f4e-11ef-9cd2-0242ac120002"
REGISTER = "5b1f0a12-8f4e-11ef-9cd2-0242ac120002"
INFO = "5b1f0a13-8f4e-11ef-9cd2-0242ac120002"
MINE = "5b1f0a14-8f4e-11ef-9cd2-0242ac120002"
NOT_UNDERSTOOD = "5b1f0a15-8f4e-11ef-9cd2-0242ac120002"
INTERESTS = "5b1f0a17-8f4e-11ef-9cd2-0242ac120002"
NOTED = "5b1f0a18-8f4e-11ef-9cd2-0242ac120002"
HELLO = "5b1f0a16-8f4e-11ef-9cd2-0242ac120002"

GREETING = "歡迎加入 CityPass 城市通！☕🏛\n一張通行證，走遍城裡的咖啡館與展館。"
ASK_NAME = "請問怎麼稱呼您？"
ASK_PEOPLE = "{{name}} 您好！這次有幾位一起來？請輸入數字。"
ASK_PEOPLE_AGAIN = "這不是數字喔，請輸入人數，例如 3。"
ASK_PHONE = "請留下聯絡電話，例如 0912-345-678。"
ASK_PHONE_AGAIN = "電話號碼看起來不對，請再輸入一次，例如 0912-345-678。"
VIP_TEXT = "五位以上享有 VIP 專人接待，我們會先為您留位。"
CONFIRMED = "報名完成 Registered"
OPENING_HOURS = "📍 城市通服務台：市政大樓一樓\n🕘 每日 09:00–18:00，週一休館\n☎ 02-1234-5678"
ASK_INTEREST = "您對什麼有興趣？"
NOTED_TEXT = "已記下您的興趣，有新消息就通知您。"
MY_VIP = "{{name}}，您是 VIP：{{people}} 位，專人接待。"
MY_REGISTERED = "{{name}}，您已報名 {{people}} 位。"
MY_NOTHING = "您還沒有報名。"
SORRY = "不好意思，我沒聽懂。您可以點選下面的按鈕，或輸入「選單」。"


def scenarios() -> list[Json]:
    """Return the demo bot's scenarios in an order in which each names only those before it."""
    return [_menu(), _welcome(), _register(), _info(), _noted(), _interests(), _my_pass(), _not_understood()]


def other_scenarios() -> list[Json]:
    """Return the scenarios of the second tenant's bot, which answers the same word in its own way."""
    hello = _node("hello", "Hello", _text("這是另一個租戶的機器人。"))
    return [_scenario(HELLO, "Hello", "keyword", [hello], ["menu", "hello"])]


def _welcome() -> Json:
    greeting = _node("welcome-greeting", "Greeting", _text(GREETING), nextScenario=MENU)
    return _scenario(WELCOME, "Welcome 歡迎", "follow", [greeting])


def _menu() -> Json:
    bubble = {
        "type": "bubble",
        "size": "kilo",
        "header": _box(
            [_label("CityPass 城市通", size="xl", weight="bold", color="#FFFFFF")],
            backgroundColor=_TEAL,
            paddingAll="lg",
        ),
        "body": _box([_label("今天想做什麼？", color=_GREY)]),
        "footer": _box(
            [
                _button("報名 Register", "報名", style="primary", color=_TEAL),
                _button("資訊 Info", "資訊", style="secondary"),
                _button("興趣 Interests", "興趣", style="secondary"),
                _button("我的報名 My pass", "我的報名", style="secondary"),
            ],
            spacing="sm",
        ),
    }
    menu = _node("menu-bubble", "選單 Menu", bubble, type="flex")
    return _scenario(MENU, "Menu 選單", "keyword", [menu], ["menu", "選單", "主選單"])


def _register() -> Json:
    nodes = [
        _node(
            "register-name",
            "Name",
            _text(ASK_NAME),
            nextNode="register-people",
            userAction={"userReply": _reply("name"), "emptyVariable": _variables("name", "people", "phone")},
        ),
        _question("people", ASK_PEOPLE, "Num", right="register-phone", wrong="register-people-again"),
        _question("people-again", ASK_PEOPLE_AGAIN, "Num", right="register-phone", wrong="register-people-again"),
        _question("phone", ASK_PHONE, "Phone", right="register-size", wrong="register-phone-again", secret=True),
        _question(
            "phone-again",
            ASK_PHONE_AGAIN,
            "Phone",
            right="register-size",
            wrong="register-phone-again",
            secret=True,
        ),
        _choice(
            "register-size",
            "Five or more?",
            [(_variable("people", "num_gt", "4"), "register-vip")],
            otherwise="register-done",
        ),
        _node("register-vip", "VIP", _text(VIP_TEXT), nodeTag=[VIP], nextNode="register-done"),
        _node(
            "register-done",
            CONFIRMED,
            {
                "type": "bubble",
                "body": _box(
                    [
                        _label(CONFIRMED, size="lg", weight="bold", color=_TEAL),
                        {"type": "separator", "margin": "md"},
                        _row("姓名", "{{name}}"),
                        _row("人數", "{{people}}"),
                        _row("電話", "{{phone}}"),
                    ],
                    spacing="sm",
                ),
            },
            type="flex",
            nodeTag=[REGISTERED],
        ),
    ]
    return _scenario(REGISTER, "Register 報名", "keyword", nodes, ["register", "報名"])


def _info() -> Json:
    hours = _node("info-hours", "Opening hours", _text(OPENING_HOURS), nextNode="info-sticker")
    sticker = _node(
        "info-sticker", "Sticker", {"type": "sticker", "packageId": "446", "stickerId": "1988"}, type="sticker"
    )
    return _scenario(INFO, "Info 資訊", "keyword", [hours, sticker], ["info", "資訊"])


def _interests() -> Json:
    meanings = [
        {"replacement_str": said, "scenarioId": NOTED, "tag": {**INTEREST, "tagValue": said}, "userVars": []}
        for said in INTEREST_VALUES
    ]
    question = _text(ASK_INTEREST, {said: said for said in INTEREST_VALUES})
    asked = _node("interests-question", "Interests", question, flex_config=meanings)
    return _scenario(INTERESTS, "Interests 興趣", "keyword", [asked], ["interests", "興趣"])


def _noted() -> Json:
    return _scenario(NOTED, "Interest noted 已記下興趣", "selected", [_node("noted", "Noted", _text(NOTED_TEXT))])


def _my_pass() -> Json:
    nodes = [
        _choice(
            "my-kind",
            "Registered?",
            [(_tagged(VIP), "my-vip"), (_tagged(REGISTERED), "my-registered")],
            otherwise="my-nothing",
        ),
        _node("my-vip", "VIP", _text(MY_VIP)),
        _node("my-registered", "Registered", _text(MY_REGISTERED)),
        _node("my-nothing", "Not registered", _text(MY_NOTHING, {"報名 Register": "報名"})),
    ]
    return _scenario(MINE, "My pass 我的報名", "keyword", nodes, ["my pass", "我的報名"])


def _not_understood() -> Json:
    choices = {"選單 Menu": "選單", "報名 Register": "報名", "資訊 Info": "資訊"}
    return _scenario(NOT_UNDERSTOOD, "Not understood 沒聽懂", "error", [_node("sorry", "Sorry", _text(SORRY, choices))])


def _scenario(scenario_id: str, name: str, trigger: str, nodes: Iterable[Json], keywords: Sequence[str] = ()) -> Json:
    head = {"scenarioId": scenario_id, "scenarioName": name, "iconUrlId": "", "trigger": trigger}
    ordered = [{**node, "sort": place} for place, node in enumerate(nodes, 1)]
    return {"scenario": {**head, "keywords": list(keywords)}, "nodes": ordered}


def _node(node_id: str, title: str, template: Json, *, type: str = "text", **more: Any) -> Json:
    return {
        "nodeId": node_id,
        "type": type,
        "title": title,
        "level": "1",
        "template": template,
        "nodeConst": {"ecsite": False, "chichatcatBox": False},
        "error": 0,
        **more,
    }


def _question(name: str, text: str, check: str, *, right: str, wrong: str, secret: bool = False) -> Json:
    reply = _reply(name.removesuffix("-again"), check, right, wrong, secret=secret)
    return _node(f"register-{name}", name.capitalize(), _text(text), userAction={"userReply": reply})


def _reply(variable: str, check: str | None = None, right: str = "", wrong: str = "", *, secret: bool = False) -> Json:
    return {
        **_variables(variable),
        "validate": {
            "inputList": [{"type": check, "value": ""}],
            "success": {"nextNodeId": right, "scenarioId": ""},
            "failed": {"nextNodeId": wrong, "scenarioId": ""},
        },
        "encryption": secret,
        "selectCompare": "",
        "lensCompare": [],
    }


def _choice(node_id: str, title: str, branches: Iterable[tuple[Json, str]], *, otherwise: str) -> Json:
    options = [
        {"value": "", "scenario_id": "", "nextNodeId": target, "nextnodeType": "nnode", "multi_condition": [condition]}
        for condition, target in branches
    ]
    config = {"config_url": "bytag", "options": options}
    return _node(node_id, title, {}, type="condition", condition_config=config, nextNode=otherwise)


def _variable(name: str, expression: str, value: str) -> Json:
    return {"source": "uservariable", "uservariable": {"name": name}, "expression": expression, "value": value}


def _tagged(tag: Mapping[str, str]) -> Json:
    return {"source": "tag", "tag": dict(tag), "expression": "has_value", "value": ""}


def _variables(*names: str) -> Json:
    return {"variable": {name: {"name": name} for name in names}}


def _text(text: str, choices: Mapping[str, str] | None = None) -> Json:
    template: Json = {"type": "text", "text": text}
    if choices:
        actions = [{"type": "message", "label": label, "text": said} for label, said in choices.items()]
        template["quickReply"] = {"items": [{"type": "action", "action": action} for action in actions]}
    return template


def _box(contents: Sequence[Json], **more: Any) -> Json:
    return {"type": "box", "layout": "vertical", "contents": list(contents), **more}


def _label(text: str, **more: Any) -> Json:
    return {"type": "text", "text": text, "wrap": True, **more}


def _row(label: str, value: str) -> Json:
    contents = [_label(label, color=_GREY, flex=2), _label(value, flex=5)]
    return {"type": "box", "layout": "baseline", "contents": contents}


def _button(label: str, text: str, **more: Any) -> Json:
    return {"type": "button", "action": {"type": "message", "label": label, "text": text}, "height": "sm", **more}
