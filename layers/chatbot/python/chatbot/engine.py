"""The conversation: what an event of a user leads to. Pure: knows no AWS and no channel.

A turn runs nodes until one waits for the user, the flow ends, or 50 nodes ran.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from chatbot import conditions
from chatbot.messages import Message, filled, fitted, message_of
from chatbot.nodes import checks_of, in_order, reply_handling, usable, waits
from chatbot.replies import passes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

NODES_A_TURN = 50
# What is remembered of a user is one item of 400 KB; a character takes up to four bytes.
VARIABLE_CHARACTERS = 60_000
TAGS = 300
TAPS = 100


_TAP_MEMBERS = ("scenarioId", "tag", "tagValue", "userVars")


class Scenario:
    """A scenario ready to run; `version` tells one save from the next."""

    def __init__(self, scenario_id: str, version: str, nodes: list[dict[str, Any]]) -> None:
        self.id = scenario_id
        self.version = version
        self._ordered = in_order(nodes)
        self._by_id = {node["nodeId"]: node for node in nodes}

    def node(self, node_id: str) -> dict[str, Any] | None:
        """Return the node with this id."""
        return self._by_id.get(node_id)

    def entry(self, now: datetime) -> dict[str, Any] | None:
        """Return the node that opens the scenario: the first usable one by level and sort."""
        return next((node for node in self._ordered if usable(node, now)), None)


class Library(Protocol):
    """Where the engine finds scenarios."""

    def scenario(self, scenario_id: str) -> Scenario | None:
        """Return the scenario with this id, None when it is gone."""

    def for_keyword(self, folded: str) -> Scenario | None:
        """Return the scenario whose keyword folds to this text: the longest keyword, then the last saved."""

    def triggered_by(self, trigger: str) -> Iterable[Scenario]:
        """Return the scenarios that `follow` or `error` starts, the first saved first."""


class Vault(Protocol):
    """Keeps variables whose node says `encryption`."""

    def seal(self, name: str, text: str) -> str:
        """Return the text encrypted."""

    def reveal(self, name: str, sealed: str) -> str:
        """Return the text again."""


@dataclass
class Conversation:
    """All that is remembered of a user in a channel; JSON through and through.

    `variables` holds text, or {"sealed": …}; `waiting` names the node whose reply is awaited and the version of
    its scenario; `taps` what the actions of the Flex messages shown last mean, by folded text.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    tags: list[dict[str, str]] = field(default_factory=list)
    waiting: dict[str, Any] | None = None
    taps: dict[str, dict[str, Any]] = field(default_factory=dict)
    node_id: str = ""


class Outcome(NamedTuple):
    """What a turn sends, and what happened on the way, for the log."""

    messages: list[Message]
    facts: dict[str, Any]


class _Place(NamedTuple):
    scenario: Scenario
    node: dict[str, Any]


def fold(text: str) -> str:
    """Return text as keywords are compared: NFKC (width), case folded, trimmed."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


class Turn:
    """One turn of one user; changes the conversation it is given."""

    def __init__(
        self,
        conversation: Conversation,
        library: Library,
        vault: Vault,
        now: datetime,
        *,
        follow_time: datetime | None = None,
    ) -> None:
        self._state = conversation
        self._library = library
        self._vault = vault
        self._now = now
        self._follow_time = follow_time
        self._messages: list[Message] = []
        self._taps: dict[str, dict[str, Any]] = {}
        self._left = NODES_A_TURN
        self._action = ""
        self._about = ""
        self._visits: set[tuple[str, str]] = set()
        self._facts: dict[str, Any] = {}

    def follow(self) -> Outcome:
        """Answer a new follower; whatever was awaited of him before is over."""
        self._state.waiting = None
        self._start_triggered("follow")
        return self._finish()

    def unfollow(self) -> Outcome:
        """End the flow; tags and variables stay."""
        self._state.waiting = None
        return self._finish()

    def say(self, text: str, action: str = "") -> Outcome:
        """Answer a text: first what is awaited, then what was shown to be tapped, then keywords, then error.

        `action` is what the tapped button stands for when that is not the text, as with a picked date.
        """
        self._action = fold(action or text)
        waiting, self._state.waiting = self._state.waiting, None
        question = None
        if waiting is not None:
            place = self._awaited(waiting)
            if place is None:
                self._facts["ended"] = "the scenario was changed or deleted"
            elif self._reply(place, text):
                return self._finish()
            else:
                question = waiting
        tap = self._state.taps.get(self._action)
        if tap is not None and self._tap(tap, text):
            return self._finish()
        if tap is None or tap.get("scenarioId"):
            self._otherwise(text, question)
        elif not self._start_keyword(text):
            # It was there to be recorded; that it leads nowhere is no mistake of the user.
            self._state.waiting = question
        return self._finish()

    def show(self) -> Outcome:
        """Answer something that is no text: the error scenarios; what is awaited stays awaited."""
        waiting, self._state.waiting = self._state.waiting, None
        self._start_triggered("error")
        if self._state.waiting is None:
            self._state.waiting = waiting
        return self._finish()

    def _finish(self) -> Outcome:
        # Older messages stay on the screen and can still be tapped.
        taps = {name: tap for name, tap in self._state.taps.items() if name not in self._taps} | self._taps
        self._state.taps = dict(list(taps.items())[-TAPS:])
        return Outcome(self._messages, self._facts)

    def _awaited(self, waiting: Mapping[str, Any]) -> _Place | None:
        scenario = self._library.scenario(waiting["scenarioId"])
        if scenario is None or scenario.version != waiting["version"]:
            return None
        node = scenario.node(waiting["nodeId"])
        return None if node is None else _Place(scenario, node)

    def _otherwise(self, text: str, waiting: dict[str, Any] | None) -> None:
        """Try keywords, then error; a reply that led nowhere stays awaited unless something else began."""
        if self._start_keyword(text):
            return
        self._start_triggered("error")
        if self._state.waiting is None:
            self._state.waiting = waiting

    def _start_keyword(self, text: str) -> bool:
        scenario = self._library.for_keyword(fold(text))
        if scenario is None:
            return False
        self._run(self._entry(scenario))
        return True

    def _start_triggered(self, trigger: str) -> None:
        for scenario in self._library.triggered_by(trigger):
            self._run(self._entry(scenario))
            if self._state.waiting is not None or self._left == 0:
                break

    def _reply(self, place: _Place, text: str) -> bool:
        """Take the text as the awaited reply; False when it leads nowhere."""
        scenario, node = place
        tap = self._state.taps.get(self._action)
        if tap is not None and tap["nodeId"] == node["nodeId"] and self._tap(tap, text):
            return True
        reply = reply_handling(node)
        validate = reply.get("validate") or {}
        if passes(text, checks_of(reply), reply.get("selectCompare") or ""):
            for name in reply.get("variable") or {}:
                self._set_variable(name, text, sealed=bool(reply.get("encryption")))
            self._run(self._target(scenario, validate.get("success")) or self._onward(place))
            return True
        onward = self._target(scenario, validate.get("failed")) or self._onward(place)
        if onward is None:
            return False
        self._run(onward)
        return True

    def _tap(self, tap: dict[str, Any], text: str) -> bool:
        """Record what a tapped action means and go where it leads; False when it leads nowhere."""
        tag = tap.get("tag") or {}
        if tag.get("name"):
            self._add_tag(tag, value=str(tap.get("tagValue") or tag.get("tagValue") or ""))
        for name in tap.get("userVars") or []:
            if isinstance(name, str):
                self._set_variable(name, text, sealed=False)
        scenario = self._library.scenario(tap["scenarioId"]) if tap.get("scenarioId") else None
        if scenario is None:
            return False
        self._run(self._entry(scenario))
        return True

    def _run(self, place: _Place | None) -> None:
        while place is not None:
            if self._left == 0:
                self._facts["cut"] = f"{place.scenario.id}/{place.node['nodeId']}"
                return
            self._left -= 1
            if self._been_here(place):
                self._facts["cut"] = f"{place.scenario.id}/{place.node['nodeId']}"
                return
            if not usable(place.node, self._now):
                place = self._onward(place)
                continue
            scenario, node = place
            self._enter(node)
            if node["type"] == "condition":
                place = self._branch(place)
                continue
            message = message_of(node)
            if message is None:
                self._facts["not shown"] = node["nodeId"]
            else:
                self._messages.append(fitted(filled(message, self._variable)))
            if waits(node):
                self._state.waiting = {"scenarioId": scenario.id, "version": scenario.version, "nodeId": node["nodeId"]}
                return
            call = (node.get("externalApi") or {}).get("cros") or {}
            if call.get("enable"):
                failed = self._target(scenario, (call.get("responseSetting") or {}).get("failed"))
                place = failed or self._onward(place)
                continue
            place = self._onward(place)

    def _been_here(self, place: _Place) -> bool:
        """Tell whether the turn runs in a circle: a node comes again and nothing about the user has changed since."""
        visit = (place.scenario.id, place.node["nodeId"])
        about = json.dumps([self._state.variables, self._state.tags], sort_keys=True)
        if about != self._about:
            self._about = about
            self._visits.clear()
        if visit in self._visits:
            return True
        self._visits.add(visit)
        return False

    def _enter(self, node: dict[str, Any]) -> None:
        self._state.node_id = node["nodeId"]
        erase = ((node.get("userAction") or {}).get("emptyVariable") or {}).get("variable") or {}
        for name in erase:
            self._state.variables.pop(name, None)
        for tag in node.get("nodeTag") or []:
            if tag.get("name"):
                self._add_tag(tag)
        for tap in node.get("flex_config") or []:
            if tap.get("replacement_str"):
                known = {name: tap[name] for name in _TAP_MEMBERS if tap.get(name)}
                self._taps[fold(tap["replacement_str"])] = {**known, "nodeId": node["nodeId"]}

    def _branch(self, place: _Place) -> _Place | None:
        config = place.node["condition_config"]
        subject = conditions.Subject(self._state.tags, self._variable, self._follow_time)
        for option in config["options"]:
            if config["config_url"] == "bytag" and conditions.all_hold(option.get("multi_condition") or [], subject):
                node_id = option.get("nextNodeId") if option["nextnodeType"] == "nnode" else None
                scenario_id = option.get("scenario_id") if option["nextnodeType"] == "snode" else None
                if not node_id and not scenario_id:
                    break
                return self._target(place.scenario, {"nextNodeId": node_id, "scenarioId": scenario_id})
        return self._onward(place)

    def _onward(self, place: _Place) -> _Place | None:
        node = place.node
        ahead = {"nextNodeId": node.get("nextNode"), "scenarioId": node.get("nextScenario")}
        return self._target(place.scenario, ahead)

    def _target(self, scenario: Scenario, target: Mapping[str, Any] | None) -> _Place | None:
        """Return where a target leads: its node, else its scenario, None when unset or gone."""
        target = target or {}
        if target.get("nextNodeId"):
            node = scenario.node(target["nextNodeId"])
            return None if node is None else _Place(scenario, node)
        if target.get("scenarioId"):
            other = scenario if target["scenarioId"] == scenario.id else self._library.scenario(target["scenarioId"])
            return None if other is None else self._entry(other)
        return None

    def _entry(self, scenario: Scenario) -> _Place | None:
        node = scenario.entry(self._now)
        return None if node is None else _Place(scenario, node)

    def _variable(self, name: str) -> str:
        value = self._state.variables.get(name, "")
        return self._vault.reveal(name, value["sealed"]) if isinstance(value, dict) else str(value)

    def _set_variable(self, name: str, text: str, *, sealed: bool) -> None:
        value = {"sealed": self._vault.seal(name, text)} if sealed else text
        others = sum(len(key) + len(str(old)) for key, old in self._state.variables.items() if key != name)
        if others + len(name) + len(str(value)) > VARIABLE_CHARACTERS:
            self._facts["variables full"] = name
            return
        self._state.variables[name] = value

    def _add_tag(self, tag: Mapping[str, Any], value: str = "") -> None:
        name, color = tag["name"], tag.get("color") or ""
        kept = [old for old in self._state.tags if (old["name"], old["color"]) != (name, color)]
        old_value = next((o.get("value", "") for o in self._state.tags if (o["name"], o["color"]) == (name, color)), "")
        self._state.tags = [*kept, {"name": name, "color": color, "value": value or old_value}][-TAGS:]
