"""Whether the nodes of a scenario can run: all flaws at once, each with its path."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chatbot.messages import IMAGEMAP_AREAS, filled, message_of
from chatbot.nodes import TEMPLATE_TYPES, Node, checks_of, in_order, reply_handling, waits
from chatbot.replies import flaws_of_check
from kernel.channels.line.validation import flaws_of_flex_container, flaws_of_message, flaws_of_quick_reply
from kernel.errors import Flaw
from kernel.operations import flaws_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

NODES_LIMIT = 300
# Far more than LINE takes; all that reads a node may then simply recurse.
LEVELS_LIMIT = 64


def flaws_of_nodes(nodes: list[Any], scenario_id: str, known_scenarios: Collection[str]) -> list[Flaw]:
    """Return everything that keeps these nodes from running.

    `known_scenarios` are the other scenarios of the channel, which nodes may lead to beside their own.
    """
    if len(nodes) > NODES_LIMIT:
        return [Flaw("nodes", f"must be at most {NODES_LIMIT} nodes")]
    flaws: list[Flaw] = []
    sound: list[dict[str, Any]] = []
    places: dict[str, int] = {}
    scenarios = {scenario_id, *known_scenarios}
    for place, node in enumerate(nodes):
        node_id = node.get("nodeId") if isinstance(node, dict) else None
        if isinstance(node_id, str):
            places.setdefault(node_id, place)
    for place, node in enumerate(nodes):
        path = f"nodes[{place}]"
        found = _own_flaws(node, path)
        flaws += found
        if not isinstance(node, dict):
            continue
        if not found:
            sound.append(node)
        if (first := places.get(str(node.get("nodeId")), place)) != place:
            flaws.append(Flaw(f"{path}.nodeId", f"is already the id of nodes[{first}]"))
        for where, kind, target in _targets(node):
            if target not in (places if kind == "node" else scenarios):
                flaws.append(Flaw(f"{path}.{where}", f"names an unknown {kind}"))
    if len(sound) == len(nodes):
        flaws += _endless(sound, scenario_id, places)
    return flaws


def _finite(value: Any) -> bool:
    """Tell whether JSON can give back every number as it came."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _own_flaws(node: Any, path: str) -> list[Flaw]:
    """Judge a node by itself; what depends on a part that is wrong is not judged."""
    if not isinstance(node, dict):
        return [Flaw(path, "must be an object")]
    if _levels(node) > LEVELS_LIMIT:
        return [Flaw(path, f"is nested deeper than {LEVELS_LIMIT} levels")]
    flaws = [] if _finite(node) else [Flaw(path, "holds a number that is too large")]
    try:
        Node.model_validate(node)
    except ValidationError as problem:
        flaws += [Flaw(f"{path}.{flaw.path}", flaw.message) for flaw in flaws_of(problem)]
    wrong = {flaw.path.removeprefix(f"{path}.").partition(".")[0] for flaw in flaws}
    if "userAction" not in wrong:
        flaws += _check_flaws(node, f"{path}.userAction.userReply")
    if not wrong & {"type", "template"}:
        flaws += _template_flaws(node, path)
    return flaws


def _levels(value: Any) -> int:
    """Return how many objects and lists stand in each other."""
    levels = 0
    layer = [value]
    while layer := [inner for inner in layer if isinstance(inner, dict | list)]:
        levels += 1
        layer = [inner for outer in layer for inner in (outer.values() if isinstance(outer, dict) else outer)]
    return levels


def _check_flaws(node: dict[str, Any], path: str) -> list[Flaw]:
    reply = reply_handling(node)
    flaws = []
    for place, check in enumerate((reply.get("validate") or {}).get("inputList") or []):
        for kind, value in checks_of({"validate": {"inputList": [check]}}):
            for name, message in flaws_of_check(kind, value, reply.get("selectCompare") or ""):
                where = f"validate.inputList[{place}].value" if name == "value" else name
                flaws.append(Flaw(f"{path}.{where}", message))
    return flaws


def _template_flaws(node: dict[str, Any], path: str) -> list[Flaw]:
    template, kind = node["template"], node["type"]
    if kind == "condition":
        return [] if node.get("condition_config") else [Flaw(f"{path}.condition_config", "is required")]
    if kind == "fb_generic":
        return []
    path = f"{path}.template"
    wanted = TEMPLATE_TYPES[kind]
    if template.get("type") != wanted:
        return [Flaw(f"{path}.type", f"must be '{wanted}' for a node of type {kind}")]
    if flaws := _member_flaws(template, path):
        return flaws
    # Placeholders stand for texts that are not known yet; a letter in their place lets the rest be judged.
    if kind in ("input", "flex"):
        plain = filled({"type": "bubble-check", "contents": template}, lambda _: "x")["contents"]
        bubble = {name: value for name, value in plain.items() if name != "quickReply"}
        flaws = [Flaw(_below(path, flaw.path), flaw.message) for flaw in flaws_of_flex_container(bubble)]
        if "quickReply" in plain:
            found = flaws_of_quick_reply(plain["quickReply"])
            flaws += [Flaw(_below(f"{path}.quickReply", flaw.path), flaw.message) for flaw in found]
        return flaws
    message = message_of(node)
    if message is None:
        return []
    found = flaws_of_message(filled(message, lambda _: "x"))
    return [Flaw(_below(path, _saved_path(flaw.path)), flaw.message) for flaw in found]


def _below(path: str, inner: str) -> str:
    return path + inner if not inner or inner.startswith("[") else f"{path}.{inner}"


def _saved_path(path: str) -> str:
    """Return where a property of the LINE message stands in the saved template."""
    if path.startswith("actions["):
        return path.replace("actions[", "areaOptions[", 1).replace(".linkUri", ".url")
    return path


def _member_flaws(template: dict[str, Any], path: str) -> list[Flaw]:
    """Judge what must be there before the template can be read as a LINE message."""
    match template["type"]:
        case "text":
            flaws = [] if isinstance(template.get("text"), str) else [Flaw(f"{path}.text", "must be a string")]
            return flaws + _emoji_flaws(template, path)
        case "image" | "video":
            names = ("originalContentUrl", "previewImageUrl")
            return [
                Flaw(f"{path}.{name}", "must be a string") for name in names if not isinstance(template.get(name), str)
            ]
        case "sticker":
            names = ("packageId", "stickerId")
            return [
                Flaw(f"{path}.{name}", "must be a string")
                for name in names
                if not isinstance(template.get(name, ""), str | int | None)
            ]
        case "imagemap":
            return _imagemap_flaws(template, path)
    return []


def _emoji_flaws(template: dict[str, Any], path: str) -> list[Flaw]:
    emojis = template.get("emojis") or []
    listed = [emojis] if isinstance(emojis, dict) else emojis
    if not isinstance(listed, list):
        return [Flaw(f"{path}.emojis", "must be an object or a list of objects")]
    flaws = []
    seen: set[int] = set()
    for place, emoji in enumerate(listed):
        index = emoji.get("index") if isinstance(emoji, dict) else None
        if not isinstance(index, int) or isinstance(index, bool) or index < 0 or index in seen:
            flaws.append(Flaw(f"{path}.emojis[{place}].index", "must be the place of its own $ in the text"))
        else:
            seen.add(index)
    return flaws


def _imagemap_flaws(template: dict[str, Any], path: str) -> list[Flaw]:
    flaws = []
    for name in ("baseUrl", "altText"):
        if not isinstance(template.get(name), str):
            flaws.append(Flaw(f"{path}.{name}", "must be a string"))
    size = template.get("baseSize")
    for name in ("width", "height"):
        given = size.get(name) if isinstance(size, dict) else None
        if isinstance(given, bool) or str(given) != "1040":
            flaws.append(Flaw(f"{path}.baseSize.{name}", "must be 1040"))
    areas = IMAGEMAP_AREAS.get(str(template.get("layout")))
    if areas is None:
        flaws.append(Flaw(f"{path}.layout", f"must be one of {', '.join(IMAGEMAP_AREAS)}"))
    options = template.get("areaOptions")
    if not isinstance(options, list) or not options:
        return [*flaws, Flaw(f"{path}.areaOptions", "must be a list with at least one area")]
    seen: set[str] = set()
    for place, option in enumerate(options):
        where = f"{path}.areaOptions[{place}]"
        if not isinstance(option, dict):
            flaws.append(Flaw(where, "must be an object"))
            continue
        label = str(option.get("label"))
        if areas is not None and label not in areas:
            flaws.append(Flaw(f"{where}.label", f"must be one of {', '.join(areas)} in layout {template['layout']}"))
        elif label in seen:
            flaws.append(Flaw(f"{where}.label", "is there twice"))
        seen.add(label)
        field = {"uri": "url", "message": "text"}.get(str(option.get("type")))
        if field is None:
            flaws.append(Flaw(f"{where}.type", "must be one of uri, message"))
        elif not isinstance(option.get(field), str) or not option[field]:
            flaws.append(Flaw(f"{where}.{field}", f"is required for type {option['type']}"))
    return flaws


def _targets(node: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what the node leads to: (path, 'node' or 'scenario', id). What is unset or no id is passed over."""
    for path, kind, target in _named(node):
        if isinstance(target, str) and target:
            yield path, kind, target


def _named(node: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    yield "nextNode", "node", node.get("nextNode")
    yield "nextScenario", "scenario", node.get("nextScenario")
    for place, option in _each(_inside(node, "condition_config", "options")):
        path = f"condition_config.options[{place}]"
        if _inside(option, "nextnodeType") == "nnode":
            yield f"{path}.nextNodeId", "node", _inside(option, "nextNodeId")
        else:
            yield f"{path}.scenario_id", "scenario", _inside(option, "scenario_id")
    for place, tap in _each(node.get("flex_config")):
        yield f"flex_config[{place}].scenarioId", "scenario", _inside(tap, "scenarioId")
    for place, reservation in _each(node.get("reservations_config")):
        yield f"reservations_config[{place}].scenario_id", "scenario", _inside(reservation, "scenario_id")
    for parts in (("userAction", "userReply", "validate"), ("externalApi", "cros", "responseSetting")):
        for end in ("success", "failed"):
            path = ".".join((*parts, end))
            yield f"{path}.nextNodeId", "node", _inside(node, *parts, end, "nextNodeId")
            yield f"{path}.scenarioId", "scenario", _inside(node, *parts, end, "scenarioId")


def _inside(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _each(value: Any) -> Iterable[tuple[int, Any]]:
    return enumerate(value) if isinstance(value, list) else ()


def _endless(nodes: list[dict[str, Any]], scenario_id: str, places: dict[str, int]) -> list[Flaw]:
    """Find circles that the conversation would run through for ever, because no node in them waits for the user.

    Circles over several scenarios are cut by the engine at their second round.
    """
    by_id = {node["nodeId"]: node for node in nodes}
    if len(by_id) < len(nodes):
        return []
    entries = []
    for node in in_order(nodes):
        entries.append(node["nodeId"])
        if not _timed(node):
            break

    def onward(node: dict[str, Any]) -> list[str]:
        found: list[str] = []
        for path, kind, target in _targets(node):
            if _automatic(path, node):
                found += [target] if kind == "node" else entries if target == scenario_id else []
        return [target for target in found if target in by_id]

    flaws = []
    state: dict[str, int] = {}  # 1 on the way, 2 done
    for start in by_id:
        if start in state:
            continue
        trail = [(start, iter(onward(by_id[start])))]
        state[start] = 1
        while trail:
            node_id, ahead = trail[-1]
            target = next(ahead, None)
            if target is None:
                state[node_id] = 2
                trail.pop()
            elif state.get(target) == 1:
                names = [name for name, _ in trail]
                circle = " → ".join([*names[names.index(target) :], target])
                flaws.append(
                    Flaw(f"nodes[{places[node_id]}]", f"closes a circle that never waits for the user: {circle}")
                )
            elif target not in state:
                state[target] = 1
                trail.append((target, iter(onward(by_id[target]))))
    return flaws


def _automatic(path: str, node: dict[str, Any]) -> bool:
    """Tell whether the conversation takes this way by itself, without a tap, a reply or a booked time."""
    if path.startswith("condition_config"):
        return bool(node["type"] == "condition")
    if path.startswith("externalApi"):
        return bool(_inside(node, "externalApi", "cros", "enable")) and not waits(node)
    if path == "nextScenario" and node.get("nextNode"):
        return False
    # Outside its period a node is passed over, so even one that waits holds nobody up.
    return path in ("nextNode", "nextScenario") and (not waits(node) or _timed(node))


def _timed(node: dict[str, Any]) -> bool:
    return bool(_inside(node, "datetimeTrigger", "enable"))
