"""The conversation: what an event of a user leads to. Pure: knows no AWS and no channel.

A turn runs nodes until one waits for the user, the flow ends, or 50 nodes ran.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from chatbot import conditions
from chatbot.messages import Message, filled, fitted, message_of, with_order_id
from chatbot.nodes import (
    checks_of,
    external_call,
    forms_of,
    in_order,
    replaces_order_id,
    reply_handling,
    usable,
    waits,
)
from chatbot.replies import passes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

NODES_A_TURN = 50
# What is remembered of a user is one item of 400 KB; a character takes up to four bytes.
VARIABLE_CHARACTERS = 60_000
TAGS = 300
TAPS = 100


_TAP_MEMBERS = ("scenarioId", "tag", "tagValue", "userVars")


class Scenario:
    """A scenario ready to run; `version` tells one save from the next, `icon_id` who speaks."""

    def __init__(self, scenario_id: str, version: int, nodes: list[dict[str, Any]], icon_id: str = "") -> None:
        self.id = scenario_id
        self.version = version
        self.icon_id = icon_id
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

    def pinned(self, scenario_id: str, version: int) -> Scenario | None:
        """Return the scenario as that save left it, None when it is gone."""

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


class ExternalAnswer(NamedTuple):
    """How the call of the external service ended, and the number of the order that it made."""

    ok: bool
    order_id: str


class Outside(Protocol):
    """What a turn asks beyond the conversation itself."""

    def in_segment(self, segment: str, subject: conditions.Subject) -> bool:
        """Tell whether the user is in the segment with this id or name."""

    def answer_of(self, url: str, variable: Callable[[str], str]) -> str | None:
        """Return what a condition's URL answers, None when it does not."""

    def call_external(self, node_id: str, variable: Callable[[str], str]) -> ExternalAnswer:
        """Call the channel's external service for a node."""


class Nowhere:
    """A world without segments, URLs and external service."""

    def in_segment(self, segment: str, subject: conditions.Subject) -> bool:
        """Know no segment."""
        return False

    def answer_of(self, url: str, variable: Callable[[str], str]) -> str | None:
        """Get no answer."""
        return None

    def call_external(self, node_id: str, variable: Callable[[str], str]) -> ExternalAnswer:
        """Fail."""
        return ExternalAnswer(ok=False, order_id="")


@dataclass
class Conversation:
    """All that is remembered of a user in a channel; JSON through and through.

    `variables` holds text, or {"sealed": …}; `waiting` names the node whose reply is awaited and the version of
    its scenario; `taps` what the actions of the Flex messages shown last mean, by folded text; `booked` the times of
    reservations by what booked them, `parked` those that came due while the user did not follow; `choices` what the
    numbers 1, 2, 3… stand for where a channel shows no buttons.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    tags: list[dict[str, str]] = field(default_factory=list)
    waiting: dict[str, Any] | None = None
    taps: dict[str, dict[str, Any]] = field(default_factory=dict)
    node_id: str = ""
    booked: dict[str, str] = field(default_factory=dict)
    parked: list[dict[str, Any]] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)


class Booking(NamedTuple):
    """A later send that a node asks for: `name` tells what booked it, so that the same node books once."""

    name: str
    scenario_id: str
    minutes: int
    window: dict[str, str]


class Outcome(NamedTuple):
    """What a turn sends, what it leaves to record, and what happened on the way, for the log.

    `changes` are the values that variables got, in order; `forms` names the forms that may be complete now.
    """

    messages: list[Message]
    facts: dict[str, Any]
    changes: list[tuple[str, Any]] = []  # noqa: RUF012  a tuple's defaults are never changed
    bookings: list[Booking] = []  # noqa: RUF012
    forms: list[str] = []  # noqa: RUF012


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
        orders: Sequence[str] = (),
        outside: Outside | None = None,
        dress: Callable[[Message, dict[str, Any], Scenario], Message] | None = None,
    ) -> None:
        """Take up a conversation; `dress` gives a message what depends on whom and where it is sent."""
        self._state = conversation
        self._library = library
        self._vault = vault
        self._now = now
        self._follow_time = follow_time
        self._orders = orders
        self._outside = outside or Nowhere()
        self._dress = dress
        self._order_id = ""
        self._messages: list[Message] = []
        self._changes: list[tuple[str, Any]] = []
        self._bookings: dict[str, Booking] = {}
        self._forms: list[str] = []
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
                self._facts["ended"] = "the scenario was deleted"
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

    def start(self, scenario: Scenario) -> Outcome:
        """Send a scenario that nobody asked for; what is awaited stays awaited unless the scenario asks itself."""
        self._run(self._entry(scenario))
        return self._finish()

    def _finish(self) -> Outcome:
        # Older messages stay on the screen and can still be tapped.
        taps = {name: tap for name, tap in self._state.taps.items() if name not in self._taps} | self._taps
        self._state.taps = dict(list(taps.items())[-TAPS:])
        bookings = list(self._bookings.values())
        return Outcome(self._messages, self._facts, self._changes, bookings, list(dict.fromkeys(self._forms)))

    def _awaited(self, waiting: Mapping[str, Any]) -> _Place | None:
        # A flow goes on as it began, whatever was saved since.
        scenario = self._library.pinned(waiting["scenarioId"], waiting["version"])
        if scenario is None:
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
            self._forms += forms_of(node)
            called = self._after_call(place)
            self._run(called or self._target(scenario, validate.get("success")) or self._onward(place))
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
            self._enter(scenario, node)
            if node["type"] == "condition":
                place = self._branch(place)
                continue
            called = None
            waiting = waits(node)
            if not waiting and replaces_order_id(node):
                # The message names the order, so the order comes first; without one there is nothing to show.
                called = self._after_call(place)
                if not self._order_id:
                    place = called or self._onward(place)
                    continue
            self._show(scenario, node)
            if waiting:
                self._state.waiting = {"scenarioId": scenario.id, "version": scenario.version, "nodeId": node["nodeId"]}
                return
            self._forms += forms_of(node)
            if not replaces_order_id(node):
                called = self._after_call(place)
            place = called or self._onward(place)

    def _show(self, scenario: Scenario, node: dict[str, Any]) -> None:
        message = message_of(node)
        if message is None:
            self._facts["not shown"] = node["nodeId"]
            return
        message = filled(message, self._variable)
        if self._order_id:
            message = with_order_id(message, self._order_id)
        if self._dress is not None:
            message = self._dress(message, node, scenario)
        self._messages.append(fitted(message))

    def _after_call(self, place: _Place) -> _Place | None:
        """Call the external service when the node says so; return where its answer leads, None for straight on."""
        call = external_call(place.node)
        if not call.get("enable"):
            return None
        answer = self._outside.call_external(place.node["nodeId"], self._variable)
        if answer.ok and answer.order_id and replaces_order_id(place.node):
            self._order_id = answer.order_id
        self._facts["external"] = "ok" if answer.ok else "failed"
        ends = call.get("responseSetting") or {}
        return self._target(place.scenario, ends.get("success" if answer.ok else "failed"))

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

    def _enter(self, scenario: Scenario, node: dict[str, Any]) -> None:
        self._state.node_id = node["nodeId"]
        erase = ((node.get("userAction") or {}).get("emptyVariable") or {}).get("variable") or {}
        for name in erase:
            self._state.variables.pop(name, None)
        for tag in node.get("nodeTag") or []:
            if tag.get("name"):
                self._add_tag(tag)
        for place, booked in enumerate(node.get("reservations_config") or []):
            if booked.get("scenario_id"):
                name = f"{scenario.id}/{node['nodeId']}/{place}"
                window = {side: str(booked["window"].get(side) or "") for side in ("start", "end")}
                self._bookings[name] = Booking(name, booked["scenario_id"], booked["reservationtime"], window)
        for tap in node.get("flex_config") or []:
            if tap.get("replacement_str"):
                known = {name: tap[name] for name in _TAP_MEMBERS if tap.get(name)}
                self._taps[fold(tap["replacement_str"])] = {**known, "nodeId": node["nodeId"]}

    def _branch(self, place: _Place) -> _Place | None:
        config = place.node["condition_config"]
        matches = self._matching(config["config_url"])
        for option in config["options"]:
            if matches(option):
                node_id = option.get("nextNodeId") if option["nextnodeType"] == "nnode" else None
                scenario_id = option.get("scenario_id") if option["nextnodeType"] == "snode" else None
                if not node_id and not scenario_id:
                    break
                return self._target(place.scenario, {"nextNodeId": node_id, "scenarioId": scenario_id})
        return self._onward(place)

    def _matching(self, kind: str) -> Callable[[dict[str, Any]], bool]:
        """Return what tells whether an option matches: by tags and variables, by segment, or by what a URL answers."""
        subject = conditions.Subject(self._state.tags, self._variable, self._follow_time, self._orders)
        if kind == "bytag":
            return lambda option: conditions.all_hold(option.get("multi_condition") or [], subject)
        if kind == "bysegment":
            return lambda option: bool(option.get("value")) and self._outside.in_segment(str(option["value"]), subject)
        answer = self._outside.answer_of(kind, self._variable)
        return lambda option: answer is not None and answer.strip() == str(option.get("value") or "").strip()

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
        self._changes.append((name, value))

    def _add_tag(self, tag: Mapping[str, Any], value: str = "") -> None:
        name, color = tag["name"], tag.get("color") or ""
        kept = [old for old in self._state.tags if (old["name"], old["color"]) != (name, color)]
        old_value = next((o.get("value", "") for o in self._state.tags if (o["name"], o["color"]) == (name, color)), "")
        self._state.tags = [*kept, {"name": name, "color": color, "value": value or old_value}][-TAGS:]
