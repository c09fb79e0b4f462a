"""The nodes of a scenario as the contract types them (saveScenario), and how running code reads them.

A node is stored as it came, with the spellings of `normalised`; the models below only judge it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, model_validator

from chatbot import times
from chatbot.replies import CHECKS
from chatbot.tags import TagColor

_HOUR = r"^(([01]\d|2[0-3]):[0-5]\d)?$"
NodeType = Literal["condition", "fb_generic", "flex", "imagemap", "image", "input", "sticker", "text", "video"]
Trigger = Literal["selected", "keyword", "follow", "error", ""]
TEMPLATE_TYPES = {
    "input": "bubble",
    "flex": "bubble",
    "imagemap": "imagemap",
    "image": "image",
    "video": "video",
    "sticker": "sticker",
    "text": "text",
}


def _unset(value: Any) -> Any:
    """Read '', {} and null as absent: the documents' own examples leave required objects so."""
    return None if value in ("", {}, []) else value


def _text_of_number(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _unnamed(value: Any) -> Any:
    """Read an object whose name is not filled in as absent."""
    return None if isinstance(value, dict) and value.get("name") in ("", None) else _unset(value)


def _blank(value: Any) -> Any:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_blank)]
VariableKey = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Loose = Annotated[str, BeforeValidator(lambda value: _text_of_number(_blank(value)))]
# Strict: running code reads what was saved, and to it the text "false" would be true.
Switch = Annotated[bool, BeforeValidator(lambda value: False if value in (None, "") else value), Field(strict=True)]
NodeId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")]


class TagRef(BaseModel):
    """A tag on a node or in a condition."""

    name: Annotated[Text, StringConstraints(max_length=100)] = ""
    color: Annotated[Literal[TagColor, ""], BeforeValidator(_blank)] = ""


class TapTag(TagRef):
    """The tag that a tapped action records, with its value."""

    tagValue: Annotated[Loose, StringConstraints(max_length=300)] = ""  # noqa: N815


class Target(BaseModel):
    """A node of this scenario, or another scenario; the node wins."""

    nextNodeId: Text = ""  # noqa: N815
    scenarioId: Text = ""  # noqa: N815


class NamedVariable(BaseModel):
    """A variable by name."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Range(BaseModel):
    """Both ends inclusive, either may be empty."""

    start: Loose = ""
    end: Loose = ""


class Condition(BaseModel):
    """One comparison of a multi-way condition."""

    source: Literal["tag", "uservariable", "followtime", "cvkey"]
    tag: Annotated[TagRef | None, BeforeValidator(_unset)] = None
    value: Loose = ""
    uservariable: Annotated[NamedVariable | None, BeforeValidator(_unnamed)] = None
    range: Annotated[Range | None, BeforeValidator(_unset)] = None
    expression: Literal[
        "exactly_match", "fuzzy_match", "has_value", "no_value", "num_range", "num_gt", "num_lt", "date_range"
    ]

    @model_validator(mode="after")
    def _complete(self) -> Condition:
        if self.source == "tag" and (self.tag is None or not self.tag.name):
            raise ValueError("needs tag.name for source tag")
        if self.source == "uservariable" and self.uservariable is None:
            raise ValueError("needs uservariable.name for source uservariable")
        return self


class Option(BaseModel):
    """One branch of a condition node."""

    value: Loose = ""
    scenario_id: Text = ""
    nextNodeId: Text = ""  # noqa: N815
    nextnodeType: Literal["snode", "nnode"]  # noqa: N815
    multi_condition: Annotated[list[Condition], BeforeValidator(lambda value: value or [])] = []


class ConditionConfig(BaseModel):
    """The branches of a condition node and what they ask: a URL, the segment, or tags and variables."""

    config_url: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    options: Annotated[list[Option], Field(max_length=100)]

    @model_validator(mode="after")
    def _known(self) -> ConditionConfig:
        if self.config_url not in ("bysegment", "bytag") and not re.match(r"https?://\S+$", self.config_url):
            raise ValueError("config_url must be a URL, 'bysegment' or 'bytag'")
        return self


class TapConfig(BaseModel):
    """What a tapped action of a Flex message means."""

    replacement_str: Annotated[Text, StringConstraints(max_length=300)]
    scenarioId: Text = ""  # noqa: N815
    tag: Annotated[TapTag | None, BeforeValidator(_unset)] = None
    tagValue: Annotated[Loose, StringConstraints(max_length=300)] = ""  # noqa: N815
    userVars: Annotated[list[Any], BeforeValidator(lambda value: value or []), Field(max_length=20)] = []  # noqa: N815


class Check(BaseModel):
    """One check of a reply; a null type checks nothing."""

    type: Annotated[str | None, BeforeValidator(_unset)] = None
    value: Loose = ""

    @model_validator(mode="after")
    def _known(self) -> Check:
        if self.type is not None and self.type not in CHECKS:
            raise ValueError("type must be one of " + ", ".join(CHECKS))
        return self


class Validate(BaseModel):
    """The checks of a reply and where to go after them."""

    inputList: Annotated[list[Check], BeforeValidator(lambda value: value or []), Field(max_length=20)] = []  # noqa: N815
    success: Annotated[Target, BeforeValidator(lambda value: value or {})] = Target()
    failed: Annotated[Target, BeforeValidator(lambda value: value or {})] = Target()


class UserReply(BaseModel):
    """What to do with the user's reply."""

    variable: Annotated[dict[VariableKey, Any], BeforeValidator(lambda value: value or {}), Field(max_length=50)] = {}
    validate_: Annotated[Validate, BeforeValidator(lambda value: value or {})] = Field(Validate(), alias="validate")
    encryption: Switch = False
    selectCompare: Annotated[  # noqa: N815
        Literal["lessThan", "moreThan", "equal", ""], BeforeValidator(_blank)
    ] = ""


class EmptyVariable(BaseModel):
    """The variables that the node erases."""

    variable: Annotated[dict[str, Any], BeforeValidator(lambda value: value or {})] = {}


class UserAction(BaseModel):
    """Reply handling and variables to erase."""

    userReply: Annotated[UserReply | None, BeforeValidator(_unset)] = None  # noqa: N815
    emptyVariable: Annotated[EmptyVariable | None, BeforeValidator(_unset)] = None  # noqa: N815


class Window(BaseModel):
    """A part of the day, HH:MM in the deployment's time zone."""

    start: Annotated[Text, StringConstraints(pattern=_HOUR)] = ""
    end: Annotated[Text, StringConstraints(pattern=_HOUR)] = ""


class Reservation(BaseModel):
    """A later send booked when the node is reached, `reservationtime` minutes on."""

    scenario_id: Text
    reservationtime: Annotated[int, Field(strict=True, ge=0, le=60 * 24 * 366)]
    window: Window


class DatetimeTrigger(BaseModel):
    """The period in which the node can be used."""

    enable: Switch = False
    startTime: Text = ""  # noqa: N815
    endTime: Text = ""  # noqa: N815

    @model_validator(mode="after")
    def _times(self) -> DatetimeTrigger:
        start = times.read(self.startTime) if self.startTime else None
        end = times.read(self.endTime, end=True) if self.endTime else None
        if start and end and start > end:
            raise ValueError("startTime is after endTime")
        return self


class ApiResponses(BaseModel):
    """Where to go after the external call."""

    success: Annotated[Target, BeforeValidator(lambda value: value or {})] = Target()
    failed: Annotated[Target, BeforeValidator(lambda value: value or {})] = Target()


class ApiOthers(BaseModel):
    """Further settings of the external call."""

    orderIdReplace: Switch = False  # noqa: N815


class ExternalCall(BaseModel):
    """The call of the external service."""

    enable: Switch = False
    responseSetting: Annotated[ApiResponses, BeforeValidator(lambda value: value or {})] = ApiResponses()  # noqa: N815
    others: Annotated[ApiOthers, BeforeValidator(lambda value: value or {})] = ApiOthers()


class ExternalApi(BaseModel):
    """External services by name."""

    cros: Annotated[ExternalCall | None, BeforeValidator(_unset)] = None


class Node(BaseModel):
    """A message or a condition of a scenario."""

    nodeId: NodeId  # noqa: N815
    type: NodeType
    title: Annotated[str, StringConstraints(max_length=1500)]
    subtitle: Text = ""
    level: Annotated[str, BeforeValidator(_text_of_number), StringConstraints(pattern=r"^\d{1,4}$")]
    sort: Annotated[int, Field(strict=True)]
    nodeTag: Annotated[list[TagRef], BeforeValidator(lambda value: value or []), Field(max_length=100)] = []  # noqa: N815
    template: dict[str, Any]
    nextNode: Text = ""  # noqa: N815
    nextScenario: Text = ""  # noqa: N815
    reservations_config: Annotated[list[Reservation], BeforeValidator(lambda value: value or [])] = []
    condition_config: Annotated[ConditionConfig | None, BeforeValidator(_unset)] = None
    flex_config: Annotated[list[TapConfig], BeforeValidator(lambda value: value or []), Field(max_length=100)] = []
    userAction: Annotated[UserAction | None, BeforeValidator(_unset)] = None  # noqa: N815
    nodeConst: Annotated[dict[str, Any], BeforeValidator(lambda value: value or {})] = {}  # noqa: N815
    externalApi: Annotated[ExternalApi | None, BeforeValidator(_unset)] = None  # noqa: N815
    varForms: Annotated[list[Any], BeforeValidator(lambda value: value or [])] = []  # noqa: N815
    datetimeTrigger: Annotated[DatetimeTrigger | None, BeforeValidator(_unset)] = None  # noqa: N815
    error: int = 0


def normalised(node: dict[str, Any]) -> dict[str, Any]:
    """Return the node with the spellings that are emitted: cros for cors, enable for enabled, level as text."""
    node = dict(node)
    if "level" in node:
        node["level"] = _text_of_number(node["level"])
    external = node.get("externalApi")
    if isinstance(external, dict):
        call = external.get("cros", external.get("cors"))
        if isinstance(call, dict) and "enabled" in call:
            call = {"enable": call["enabled"], **{k: v for k, v in call.items() if k not in ("enabled", "enable")}}
        rest = {name: value for name, value in external.items() if name not in ("cros", "cors")}
        node["externalApi"] = {"cros": call, **rest} if "cros" in external or "cors" in external else rest
    node.setdefault("error", 0)
    return node


def reply_handling(node: dict[str, Any]) -> dict[str, Any]:
    """Return the node's userReply, {} when it has none."""
    action = node.get("userAction")
    reply = action.get("userReply") if isinstance(action, dict) else None
    return reply if isinstance(reply, dict) else {}


def checks_of(reply: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the checks of a userReply as (type, value)."""
    listed = (reply.get("validate") or {}).get("inputList") or []
    return [(check["type"], str(_blank(check.get("value")))) for check in listed if check.get("type")]


def waits(node: dict[str, Any]) -> bool:
    """Tell whether the conversation stops here for the user's reply.

    Editors send userReply with every node, so it counts only when it stores, checks or leads somewhere. A condition
    shows nothing that could be replied to.
    """
    if node["type"] == "condition":
        return False
    reply = reply_handling(node)
    validate = reply.get("validate") or {}
    ends = [validate.get("success") or {}, validate.get("failed") or {}]
    leads = any(end.get("nextNodeId") or end.get("scenarioId") for end in ends)
    return bool(reply.get("variable")) or bool(checks_of(reply)) or leads


def external_call(node: dict[str, Any]) -> dict[str, Any]:
    """Return the node's call of the external service, {} when it has none."""
    external = node.get("externalApi")
    call = external.get("cros") if isinstance(external, dict) else None
    return call if isinstance(call, dict) else {}


def replaces_order_id(node: dict[str, Any]) -> bool:
    """Tell whether the text OrderId stands for the number of the order that the node's call makes."""
    call = external_call(node)
    return bool(call.get("enable")) and bool((call.get("others") or {}).get("orderIdReplace"))


def forms_of(node: dict[str, Any]) -> list[str]:
    """Return the ids of the forms that the node fills; the documents leave the elements' shape open."""
    listed = node.get("varForms") or []
    given = (form.get("id") or form.get("formId") if isinstance(form, dict) else form for form in listed)
    return [form for form in given if isinstance(form, str) and form]


def usable(node: dict[str, Any], now: Any) -> bool:
    """Tell whether the node may be used at this time (datetimeTrigger, both ends inclusive)."""
    trigger = node.get("datetimeTrigger") or {}
    if not trigger.get("enable"):
        return True
    start, end = trigger.get("startTime"), trigger.get("endTime")
    return (not start or times.read(start) <= now) and (not end or now <= times.read(end, end=True))


def in_order(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the nodes by level, then sort: the first usable one opens the scenario."""
    return sorted(nodes, key=lambda node: (int(node["level"]), node["sort"]))
