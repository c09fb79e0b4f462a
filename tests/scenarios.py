"""Builders of nodes as an editor sends them, and the engine's surroundings held in memory."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chatbot.engine import Conversation, Outcome, Scenario, Turn, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chatbot.engine import Outside

Json = dict[str, Any]

NOW = datetime(2024, 1, 28, 6, 41, 29, 6000, tzinfo=UTC)
RED = "red-filter"
BLUE = "blue-filter"
URL = "https://img.example.com/o.png"


def node(node_id: str, kind: str, template: Json, *, next: str = "", sort: int = 1, **more: Any) -> Json:
    return {
        "nodeId": node_id,
        "type": kind,
        "title": "",
        "level": "1",
        "sort": sort,
        "template": template,
        "nextNode": next,
        "nodeConst": {},
        "error": 0,
        **more,
    }


def text_node(node_id: str, text: str | None = None, **more: Any) -> Json:
    return node(node_id, "text", {"type": "text", "text": node_id if text is None else text}, **more)


def flex_node(node_id: str, text: str = "pick", *, kind: str = "flex", footer: Json | None = None, **more: Any) -> Json:
    return node(node_id, kind, bubble(text, **({"footer": footer} if footer else {})), **more)


def bubble(text: str, **more: Any) -> Json:
    return {"type": "bubble", "body": box({"type": "text", "text": text}), **more}


def box(*contents: Json) -> Json:
    return {"type": "box", "layout": "vertical", "contents": list(contents)}


def button(action: Json) -> Json:
    return {"type": "button", "action": action}


def say_action(text: str) -> Json:
    return {"type": "message", "label": "say", "text": text}


def picture_node(node_id: str, kind: str = "image", **more: Any) -> Json:
    return node(node_id, kind, {"type": kind, "originalContentUrl": URL, "previewImageUrl": URL}, **more)


def sticker_node(node_id: str, **more: Any) -> Json:
    return node(node_id, "sticker", {"type": "sticker", "packageId": "446", "stickerId": "1988"}, **more)


def imagemap_node(node_id: str, *areas: Json, layout: str = "A", **more: Any) -> Json:
    template = {
        "type": "imagemap",
        "layout": layout,
        "baseUrl": "https://img.example.com/map",
        "altText": "map",
        "baseSize": {"width": "1040", "height": "1040"},
        "areaOptions": list(areas) or [{"type": "message", "label": "A", "url": "", "text": "menu"}],
    }
    return node(node_id, "imagemap", template, **more)


def condition_node(node_id: str, *options: Json, kind: str = "bytag", **more: Any) -> Json:
    return node(node_id, "condition", {}, condition_config={"config_url": kind, "options": list(options)}, **more)


def to_node(node_id: str, *conditions: Json) -> Json:
    return _option(conditions, nextnodeType="nnode", nextNodeId=node_id, scenario_id="")


def to_scenario(scenario_id: str, *conditions: Json) -> Json:
    return _option(conditions, nextnodeType="snode", nextNodeId="", scenario_id=scenario_id)


def _option(conditions: Sequence[Json], **target: str) -> Json:
    return {"value": "", "multi_condition": list(conditions), **target}


def about_variable(name: str, expression: str, value: Any = "", **more: Any) -> Json:
    return {
        "source": "uservariable",
        "tag": "",
        "value": value,
        "uservariable": {"name": name},
        "range": {"start": "", "end": ""},
        "expression": expression,
        **more,
    }


def about_tag(name: str, expression: str, value: Any = "", *, color: str = RED, **more: Any) -> Json:
    return {"source": "tag", "tag": {"name": name, "color": color}, "value": value, "expression": expression, **more}


def about_follow_time(expression: str, value: Any = "", **more: Any) -> Json:
    return {"source": "followtime", "tag": None, "value": value, "expression": expression, **more}


def user_reply(
    *variables: str,
    checks: Sequence[tuple[str | None, Any]] = (),
    success: Json | None = None,
    failed: Json | None = None,
    compare: str = "",
    encryption: bool = False,
    erase: Sequence[str] = (),
) -> Json:
    """Returns the userAction of a node that waits; without arguments the one that editors send with every node."""
    unset = {"nextNodeId": "", "scenarioId": ""}
    return {
        "userReply": {
            "variable": {name: {"name": name} for name in variables},
            "validate": {
                "inputList": [{"type": kind, "value": value} for kind, value in checks or [(None, "")]],
                "success": {**unset, **(success or {})},
                "failed": {**unset, **(failed or {})},
            },
            "encryption": encryption,
            "selectCompare": compare,
            "lensCompare": [{"value": "<", "label": "lessThan"}],
        },
        "emptyVariable": {"variable": {name: {"name": name} for name in erase}},
    }


def period(start: str = "", end: str = "", *, enable: bool = True) -> Json:
    return {"enable": enable, "startTime": start, "endTime": end}


def tap(text: str, scenario_id: str = "", **more: Any) -> Json:
    return {"replacement_str": text, "scenarioId": scenario_id, **more}


@dataclass
class Saved:
    scenario: Scenario
    nodes: list[Json]
    trigger: str
    keywords: tuple[str, ...]


@dataclass
class Shelf:
    """The engine's library in memory; what was saved last stands at the end."""

    saved: dict[str, Saved] = field(default_factory=dict)
    saves: int = 0
    versions: dict[tuple[str, int], Scenario] = field(default_factory=dict)

    def save(self, scenario_id: str, *nodes: Json, trigger: str = "", keywords: Sequence[str] = ()) -> None:
        self.saves += 1
        self.saved.pop(scenario_id, None)
        made = self.versions[scenario_id, self.saves] = Scenario(scenario_id, self.saves, list(nodes))
        self.saved[scenario_id] = Saved(made, list(nodes), "keyword" if keywords else trigger, tuple(keywords))

    def delete(self, scenario_id: str) -> None:
        del self.saved[scenario_id]

    def scenario(self, scenario_id: str) -> Scenario | None:
        found = self.saved.get(scenario_id)
        return found and found.scenario

    def pinned(self, scenario_id: str, version: int) -> Scenario | None:
        return self.versions[scenario_id, version] if scenario_id in self.saved else None

    def for_keyword(self, folded: str) -> Scenario | None:
        matching = [
            (len(keyword), place, saved.scenario)
            for place, saved in enumerate(self.saved.values())
            for keyword in saved.keywords
            if fold(keyword) == folded
        ]
        return max(matching, key=lambda found: found[:2])[2] if matching else None

    def triggered_by(self, trigger: str) -> list[Scenario]:
        return [saved.scenario for saved in self.saved.values() if saved.trigger == trigger]


class Safe:
    """A vault that turns texts around, which is enough to tell sealed from open."""

    def seal(self, name: str, text: str) -> str:
        return f"{name}:{text[::-1]}"

    def reveal(self, name: str, sealed: str) -> str:
        assert sealed.startswith(f"{name}:")
        return sealed.removeprefix(f"{name}:")[::-1]


@dataclass
class Talk:
    """One user talking; what is remembered of him goes through JSON before every turn, as in the table."""

    shelf: Shelf
    state: Conversation = field(default_factory=Conversation)
    now: datetime = NOW
    follow_time: datetime | None = None
    outcome: Outcome = field(default_factory=lambda: Outcome([], {}))
    kind: type[Conversation] = Conversation
    orders: Sequence[str] = ()
    outside: Outside | None = None

    def say(self, text: str, action: str = "") -> list[str]:
        return self._take(lambda turn: turn.say(text, action))

    def show(self) -> list[str]:
        return self._take(Turn.show)

    def follow(self) -> list[str]:
        return self._take(Turn.follow)

    def unfollow(self) -> list[str]:
        return self._take(Turn.unfollow)

    def start(self, scenario_id: str) -> list[str]:
        scenario = self.shelf.scenario(scenario_id)
        assert scenario is not None
        return self._take(lambda turn: turn.start(scenario))

    @property
    def awaited(self) -> str | None:
        return self.state.waiting and self.state.waiting["nodeId"]

    def _take(self, act: Callable[[Turn], Outcome]) -> list[str]:
        self.state = self.kind(**json.loads(json.dumps(asdict(self.state))))
        turn = Turn(
            self.state,
            self.shelf,
            Safe(),
            self.now,
            follow_time=self.follow_time,
            orders=self.orders,
            outside=self.outside,
        )
        self.outcome = act(turn)
        return [words(message) for message in self.outcome.messages]


def words(message: Json) -> str:
    """Returns what of a message tells it from others: its text, else its altText, else its type."""
    return str(message.get("text") or message.get("altText") or message["type"])
