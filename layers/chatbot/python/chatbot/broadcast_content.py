"""What a scenario says when it is broadcast: the same messages for everybody, or messages for each person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from chatbot.engine import Conversation, Turn
from chatbot.messages import PLACEHOLDER, message_of
from chatbot.nodes import external_call, usable, waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from chatbot.engine import Library, Scenario
    from chatbot.messages import Message

# personal: each person gets messages of his own; common: all get the same; recorded: all get the same, and what the
# nodes record or ask is kept for each.
Way = Literal["personal", "common", "recorded"]


class Content(NamedTuple):
    """How a scenario is broadcast, and the messages that all get; `personal` ones are those of an unknown person."""

    way: Way
    messages: list[Message]


def content_of(
    scenario: Scenario, library: Library, now: datetime, dress: Callable[[Message, dict[str, Any], Scenario], Message]
) -> Content:
    """Return what the scenario says at this moment; `dress` adds its sender."""
    turn = Turn(Conversation(), library, _NoVault(), now, dress=dress)
    messages = turn.start(scenario).messages
    way: Way = "common"
    for node in _way_of(scenario, library, now):
        if _personal(node):
            return Content("personal", messages)
        if _records(node):
            way = "recorded"
    return Content(way, messages)


class _NoVault:
    """Has no variables to keep: nothing is known of the person the content is made for."""

    def seal(self, name: str, text: str) -> str:
        return text

    def reveal(self, name: str, sealed: str) -> str:
        return sealed


def _way_of(scenario: Scenario, library: Library, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield the nodes that are passed one after the other, up to the first that may lead elsewhere."""
    node = scenario.entry(now)
    seen: set[tuple[str, str]] = set()
    while node is not None and (scenario.id, node["nodeId"]) not in seen:
        seen.add((scenario.id, node["nodeId"]))
        if usable(node, now):
            yield node
            if _personal(node) or waits(node):
                return
        if node.get("nextNode"):
            node = scenario.node(node["nextNode"])
            continue
        following = library.scenario(node["nextScenario"]) if node.get("nextScenario") else None
        if following is None:
            return
        scenario, node = following, following.entry(now)


def _personal(node: dict[str, Any]) -> bool:
    """Tell whether the node depends on the person: a condition, a variable, a call, a link with his name in it."""
    if node["type"] == "condition" or external_call(node).get("enable"):
        return True
    if any((node.get("nodeConst") or {}).get(name) for name in ("trackClicks", "ecsite", "chichatcatBox")):
        return True
    return PLACEHOLDER.search(json.dumps(message_of(node), ensure_ascii=False)) is not None


def _records(node: dict[str, Any]) -> bool:
    erases = ((node.get("userAction") or {}).get("emptyVariable") or {}).get("variable")
    tagged = any(tag.get("name") for tag in node.get("nodeTag") or [])
    others = ("flex_config", "reservations_config", "varForms")
    return waits(node) or bool(erases) or tagged or any(node.get(name) for name in others)
