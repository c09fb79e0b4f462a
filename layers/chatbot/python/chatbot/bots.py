"""A whole bot as one document: made of a channel, put into another, and so the way in which channels are copied.

Every id is new in the channel that takes the bot, and the same for the same document: putting it in again after a crash
goes on where it broke off, and nothing is there twice.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, Field, StringConstraints

from chatbot import variables as variable_names
from chatbot.api import AccountRequest, View
from chatbot.conditions import SEGMENT_SOURCES, flaws_of_conditions, normalised
from chatbot.scenarios import ScenarioHead, holds_same, judged_among, store
from chatbot.segments import CONDITIONS_LIMIT, NAME_LENGTH, name_place
from chatbot.tables import (
    AccountTable,
    FormTable,
    IconTable,
    MenuTable,
    NameTable,
    ScenarioTable,
    ScenarioVersionTable,
    SegmentTable,
    TagTable,
    VariableTable,
    account_key,
)
from chatbot.tags import Tag
from chatbot.triggers import trigger_rows, version_key
from chatbot.variables import NAMES_LIMIT, VariableName
from kernel import audit, clock, files, ids
from kernel.errors import Flaw, Invalid
from kernel.files import Folder
from kernel.tables import Delete, Put, Table, commit, replace, rows_of, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from chatbot.menus import NewMenu

# What a bot is made of.
PARTS = (ScenarioTable, TagTable, VariableTable, FormTable, IconTable, SegmentTable, MenuTable)

EXPORTS = Folder("exports")
SCENARIOS_LIMIT = 1000
# LINE makes a hundred an hour, each with three calls.
MENUS_LIMIT = 20
_SCENARIO_NAMES = ("nextScenario", "scenario_id", "scenarioId")

M = TypeVar("M", bound=BaseModel)
Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class BotScenario(BaseModel):
    """A scenario as saveScenario takes it."""

    scenario: dict[str, Any]
    nodes: list[Any]


class BotForm(BaseModel):
    """A form with the id that nodes name."""

    id: Id
    name: Name
    fields_: list[VariableName] = Field(alias="fields", max_length=NAMES_LIMIT)


class BotIcon(BaseModel):
    """An icon with the id that scenarios name."""

    id: Id
    name: Annotated[str, StringConstraints(max_length=200)]
    url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$", max_length=2000)]


class BotSegment(BaseModel):
    """A segment without its users; it finds them anew in the channel that takes it."""

    id: Id
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_LENGTH)]
    mode: Literal["Custom", "CVKey", "Conditions"]
    conditions: list[Any] = Field([], max_length=CONDITIONS_LIMIT)
    order_id: str = Field("", alias="orderId")
    is_default: bool = Field(False, alias="default")
    scenario_id: str = Field("", alias="scenarioId")


class Bot(BaseModel):
    """A bot: everything of a channel but its users and its credentials; menus as saveMenu takes them."""

    format: Literal["citypass-bot"] = "citypass-bot"
    version: Literal[1] = 1
    scenarios: list[BotScenario] = Field([], max_length=SCENARIOS_LIMIT)
    tags: list[Tag] = Field([], max_length=5000)
    variables: list[VariableName] = Field([], max_length=NAMES_LIMIT)
    forms: list[BotForm] = Field([], max_length=1000)
    icons: list[BotIcon] = Field([], max_length=1000)
    segments: list[BotSegment] = Field([], max_length=500)
    menus: list[dict[str, Any]] = Field([], max_length=MENUS_LIMIT, repr=False)


class BotRequest(AccountRequest):
    """A bot to put into a channel."""

    bot: Bot


class BotLink(View):
    """Where the document can be fetched for an hour."""

    download_url: str = Field(alias="download_url")


class ImportedView(View):
    """How much was put in, and the new id of each scenario, form, icon and segment by the old one."""

    scenarios: int
    tags: int
    variables: int
    forms: int
    icons: int
    segments: int
    menus: int
    ids: dict[str, str]


def of(partition: str) -> Bot:
    """Return the bot of a channel."""
    scenarios = map(ScenarioTable.of_item, ScenarioTable.every_item(partition, consistent=True))
    segments = map(SegmentTable.of_item, SegmentTable.every_item(partition, consistent=True))
    tags = map(TagTable.of_item, TagTable.every_item(partition, consistent=True))
    forms = map(FormTable.of_item, FormTable.every_item(partition, consistent=True))
    icons = map(IconTable.of_item, IconTable.every_item(partition, consistent=True))
    return Bot.model_construct(
        scenarios=[BotScenario(scenario=_head(row), nodes=row.nodes) for row in scenarios],
        tags=[_unjudged(Tag, name=row.tag_name, color=row.color, values=row.values) for row in tags],
        variables=variable_names.names(partition),
        forms=[_unjudged(BotForm, id=row.form_id, name=row.form_name, fields_=list(row.fields)) for row in forms],
        icons=[_unjudged(BotIcon, id=row.icon_id, name=row.icon_name, url=row.url) for row in icons],
        segments=[
            _unjudged(
                BotSegment,
                id=row.segment_id,
                name=row.segment_name,
                mode=row.mode,
                conditions=row.conditions,
                order_id=row.order_id,
                is_default=row.is_default,
                scenario_id=row.scenario_id,
            )
            for row in segments
        ],
    )


def _unjudged(model: type[M], **values: Any) -> M:
    """Return a model of what is stored: it was judged when it was saved, perhaps by other rules."""
    return model.model_construct(**values)


def _head(row: ScenarioTable) -> dict[str, Any]:
    head = _unjudged(
        ScenarioHead,
        scenarioId=row.scenario_id,
        scenarioName=row.scenario_name,
        iconUrlId=row.icon_url_id,
        trigger=row.trigger,
        keywords=row.keywords,
    )
    return head.model_dump()


def exported(request: AccountRequest) -> BotLink:
    """Write the bot of a channel into a file and return a link to it."""
    from chatbot import menus  # who copies channels has no use for it

    bot = of(request.partition)
    rows = map(MenuTable.of_item, MenuTable.every_item(request.partition, consistent=True))
    bot.menus = [menu for row in islice(rows, MENUS_LIMIT) if (menu := menus.request_of(row))]
    text = bot.model_dump_json(by_alias=True)
    stamp = clock.now().strftime("%Y%m%d%H%M%S")
    path = f"exportBot/{uuid4()}/{quote(request.admin_id, safe='')}_{request.account_id}_{stamp}.json"
    files.put(EXPORTS, path, text.encode(), "application/json")
    return BotLink(download_url=files.link(EXPORTS, path))


def imported(request: BotRequest) -> ImportedView:
    """Put a bot into a channel beside what is there; refuses with every flaw before anything is written."""
    from chatbot import menus

    digest = hashlib.sha256(request.bot.model_dump_json(by_alias=True).encode()).hexdigest()
    new_ids = _new_ids(request.bot, lambda old: ids.derived_uuid(f"{request.partition}#{digest}#{old}"))
    scenarios = [_judged(one, place, new_ids) for place, one in enumerate(request.bot.scenarios)]
    wanted = _wanted_menus(request, new_ids)
    flaws = [flaw for _, _, found in scenarios for flaw in found]
    flaws += _repeated(request.bot)
    flaws += _form_flaws(request.partition, request.bot)
    flaws += _segment_flaws(request.partition, request.bot.segments, new_ids)
    flaws += [flaw for _, found in wanted for flaw in found]
    if flaws:
        raise Invalid(flaws)
    _put(request.partition, request.bot, new_ids, scenarios)
    for menu, _ in wanted:
        if menu is not None:
            menus.save(menu)
    bot = request.bot
    return ImportedView(
        scenarios=len(bot.scenarios),
        tags=len(bot.tags),
        variables=len(bot.variables),
        forms=len(bot.forms),
        icons=len(bot.icons),
        segments=len(bot.segments),
        menus=len(bot.menus),
        ids=new_ids,
    )


def copy(source: AccountTable, account_id: str) -> None:
    """Put the bot of a channel into a new one, which nobody sees yet."""
    target = account_key(source.admin_id, account_id)
    origin = account_key(source.admin_id, source.account_id)
    bot = of(origin)
    new_ids = _new_ids(bot, lambda old: ids.uuid1())
    _put(target, bot, new_ids, [_judged(one, place, new_ids) for place, one in enumerate(bot.scenarios)])


def clear(admin_id: str, account_id: str) -> None:
    """Remove what a copy that broke off left under an accountId that no channel has."""
    partition = account_key(admin_id, account_id)
    for item in ScenarioTable.every_item(partition, consistent=True):
        row = ScenarioTable.of_item(item)
        version = ScenarioVersionTable.key(version_key(partition, row.scenario_id), row.revision or 1)
        triggers = [Delete(type(trigger), trigger.own_key()) for trigger in trigger_rows(row)]
        commit(Delete(ScenarioTable, row.own_key()), Delete(ScenarioVersionTable, version), *triggers)
    tables: tuple[type[Table], ...] = (TagTable, VariableTable, FormTable, IconTable, SegmentTable, NameTable)
    for table in tables:
        rows = map(table.of_item, table.every_item(partition, consistent=True))
        write_all(Delete(table, row.own_key()) for row in rows)


Judged = tuple[ScenarioHead | None, list[dict[str, Any]], list[Flaw]]


def _new_ids(bot: Bot, new_id: Callable[[str], str]) -> dict[str, str]:
    named = [one.scenario.get("scenarioId") for one in bot.scenarios]
    named += [form.id for form in bot.forms] + [icon.id for icon in bot.icons]
    named += [segment.id for segment in bot.segments]
    return {old: new_id(old) for old in named if isinstance(old, str) and old}


def _put(partition: str, bot: Bot, new_ids: dict[str, str], scenarios: list[Judged]) -> None:
    if bot.variables:
        variable_names.add(partition, list(bot.variables))
    write_all(Put(row) for row in _plain_rows(partition, bot, new_ids))
    for head, nodes, _ in scenarios:
        if head is None:
            continue
        row = ScenarioTable.find(partition, head.scenarioId)
        # What an import that broke off has done already is no new version.
        if row is None or not holds_same(row, head, nodes):
            store(partition, head, nodes, row)
    for segment in bot.segments:
        _put_segment(partition, segment, new_ids)
    commit(audit.entry("bot put in", before=None, after=[len(bot.scenarios), len(bot.segments), len(bot.menus)]))


def _repeated(bot: Bot) -> Iterator[Flaw]:
    """Yield what stands twice in the document and may stand only once."""
    lists: dict[str, list[tuple[str, Any]]] = {
        "scenarios": [("scenario.scenarioId", str(one.scenario.get("scenarioId"))) for one in bot.scenarios],
        "tags": [("name", (tag.name, tag.color)) for tag in bot.tags],
        "forms": [("id", form.id) for form in bot.forms],
        "icons": [("id", icon.id) for icon in bot.icons],
        "segments": [("id", segment.id) for segment in bot.segments],
    }
    found = [
        (f"{name}[{place}].{field}", (name, value))
        for name in lists
        for place, (field, value) in enumerate(lists[name])
    ]
    found += [(f"segments[{place}].name", ("name", segment.name)) for place, segment in enumerate(bot.segments)]
    found += [(f"menus[{place}].name", ("menu", str(menu.get("name")))) for place, menu in enumerate(bot.menus)]
    seen: set[Any] = set()
    for path, value in found:
        if value in seen:
            yield Flaw(f"bot.{path}", "is there twice")
        seen.add(value)


def _form_flaws(partition: str, bot: Bot) -> Iterator[Flaw]:
    known = {*bot.variables, *(variable_names.names(partition) if bot.forms else ())}
    for place, form in enumerate(bot.forms):
        for number, name in enumerate(form.fields_):
            if name not in known:
                yield Flaw(f"bot.forms[{place}].fields[{number}]", "is no variable of the bot or the channel")


def _wanted_menus(request: BotRequest, new_ids: dict[str, str]) -> list[tuple[NewMenu | None, list[Flaw]]]:
    """Return the menus to make, each with what is wrong with it; of a name that is there the channel keeps its own."""
    from chatbot import menus

    found: list[tuple[NewMenu | None, list[Flaw]]] = []
    taken = menus.names(request.partition) if request.bot.menus else set()
    for place, menu in enumerate(request.bot.menus):
        if menu.get("name") in taken:
            continue
        given = menu.get("user_segment")
        segments = [new_ids.get(str(one), one) for one in given] if isinstance(given, list) else given
        who = {"adminId": request.admin_id, "accountId": request.account_id}
        wanted, flaws = menus.judged({**menu, **who, "user_segment": segments})
        found.append((wanted, [Flaw(f"bot.menus[{place}].{flaw.path}", flaw.message) for flaw in flaws]))
    return found


def _judged(one: BotScenario, place: int, new_ids: dict[str, str]) -> Judged:
    """Return a scenario with new ids, and what keeps it from running."""
    head = _renamed(one.scenario, new_ids)
    if isinstance(head.get("iconUrlId"), str):
        head["iconUrlId"] = new_ids.get(head["iconUrlId"], "")
    found, nodes, flaws = judged_among(head, _renamed(one.nodes, new_ids), set(new_ids.values()))
    return found, nodes, [Flaw(f"bot.scenarios[{place}].{flaw.path}", flaw.message) for flaw in flaws]


def _segment_flaws(partition: str, segments: list[BotSegment], new_ids: dict[str, str]) -> list[Flaw]:
    names = dict.fromkeys(segment.name for segment in segments)
    keys = [NameTable.key(partition, name_place(name)) for name in names]
    owners = {item["place"]["S"]: item["owner"]["S"] for item in rows_of(NameTable, keys)}
    flaws = []
    for place, segment in enumerate(segments):
        path = f"bot.segments[{place}]"
        if owners.get(name_place(segment.name), new_ids[segment.id]) != new_ids[segment.id]:
            flaws.append(Flaw(f"{path}.name", "already exists in this channel"))
        flaws += flaws_of_conditions(segment.conditions, f"{path}.conditions", sources=SEGMENT_SOURCES)
        if segment.mode == "CVKey" and not segment.order_id:
            flaws.append(Flaw(f"{path}.orderId", "is required for mode CVKey"))
        if segment.mode == "Conditions" and not segment.is_default and not segment.conditions:
            flaws.append(Flaw(f"{path}.conditions", "is required for mode Conditions"))
    return flaws


def _plain_rows(partition: str, bot: Bot, new_ids: dict[str, str]) -> Iterable[TagTable | FormTable | IconTable]:
    now = clock.now()
    for tag in bot.tags:
        place = f"{tag.color}#{tag.name}"
        yield TagTable(
            account=partition, colour_and_name=place, tag_name=tag.name, color=tag.color, values=tag.values,
            created_at=now, updated_at=now,
        )  # fmt: skip
    for form in bot.forms:
        form_id = new_ids[form.id]
        yield FormTable(account=partition, form_id=form_id, form_name=form.name, fields=form.fields_, created_at=now)
    for icon in bot.icons:
        icon_id = new_ids[icon.id]
        yield IconTable(account=partition, icon_id=icon_id, icon_name=icon.name, url=icon.url, created_at=now)


def _put_segment(partition: str, segment: BotSegment, new_ids: dict[str, str]) -> None:
    segment_id = new_ids[segment.id]
    row = SegmentTable.find(partition, segment_id) or SegmentTable(account=partition, segment_id=segment_id, members=0)
    old_name = row.segment_name
    row.segment_name = segment.name
    row.mode = segment.mode
    row.conditions = [normalised(condition) for condition in segment.conditions]
    row.order_id = segment.order_id
    row.is_default = segment.is_default
    row.scenario_id = new_ids.get(segment.scenario_id, "")
    name = NameTable(account=partition, place=name_place(segment.name), owner=segment_id, created_at=clock.now())
    free = NameTable.owner.does_not_exist() | (NameTable.owner == segment_id)
    gone = (
        [Delete(NameTable, NameTable.key(partition, name_place(old_name)))]
        if old_name not in (None, segment.name)
        else []
    )
    commit(replace(row), Put(name, free), *gone)


def _renamed(value: Any, new_ids: dict[str, str]) -> Any:
    """Return head or nodes whose references lead to the new ids; templates are left alone."""
    if isinstance(value, list):
        return [_renamed(inner, new_ids) for inner in value]
    if not isinstance(value, dict):
        return value
    renamed: dict[str, Any] = {}
    for name, inner in value.items():
        if name in _SCENARIO_NAMES and isinstance(inner, str):
            renamed[name] = new_ids.get(inner, inner)
        elif name == "varForms" and isinstance(inner, list):
            renamed[name] = [_renamed_form(form, new_ids) for form in inner]
        elif name == "condition_config" and isinstance(inner, dict) and inner.get("config_url") == "bysegment":
            renamed[name] = _renamed_options(_renamed(inner, new_ids), new_ids)
        else:
            renamed[name] = inner if name == "template" else _renamed(inner, new_ids)
    return renamed


def _renamed_form(form: Any, new_ids: dict[str, str]) -> Any:
    if isinstance(form, dict):
        return {name: new_ids.get(str(id_), id_) if name in ("id", "formId") else id_ for name, id_ in form.items()}
    return new_ids.get(form, form) if isinstance(form, str) else form


def _renamed_options(config: dict[str, Any], new_ids: dict[str, str]) -> dict[str, Any]:
    """Return a condition by segment whose options name the new segments; names stay names."""
    options = [
        {**option, "value": new_ids.get(str(option["value"]), option["value"])}
        if isinstance(option, dict) and option.get("value")
        else option
        for option in (config["options"] if isinstance(config.get("options"), list) else ())
    ]
    return {**config, "options": options} if isinstance(config.get("options"), list) else config
