"""Rich menus of a LINE channel: judged, made at LINE, listed, and removed without leaving anything there.

To make a menu takes several calls to LINE, and any of them may be the last. So it is written down first what is meant
to be made (an intent), and LINE's own name of the menu ends with it. When all is made, one transaction puts the menu in
the place of the intent; else the intent becomes a remnant. A deleted menu becomes a remnant, too. Whatever remnants
name is removed by the worker, as often as it takes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, WithJsonSchema

from chatbot import due, menu_links, pictures
from chatbot.accounts import credentials
from chatbot.api import AccountRequest, Body, ListRequest, ListView, View
from chatbot.tables import AccountTable, MenuTable, NameTable, account_key
from chatbot.times import read, shown
from kernel import audit, clock, files, ids
from kernel.channels.faults import OverLimit, Refused, TryLater
from kernel.channels.line.rich_menu_objects import MOST_AREAS, flaws_of_rich_menu
from kernel.channels.line.rich_menus import RichMenus
from kernel.errors import Flaw, Invalid, NotFound
from kernel.files import Folder
from kernel.operations import flaws_of
from kernel.running import current, logger
from kernel.tables import ConditionFailed, Delete, Put, UtcTime, Write, commit, create

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chatbot.menu_links import MenuRun

MENU_PICTURES = Folder("menus")
SIZES = ((2500, 1686), (1200, 810), (800, 540))
# Where the areas of a layout are: left, top, right and bottom in sixths of the picture. The contract's decision.
LAYOUTS: Mapping[str, Mapping[str, tuple[int, int, int, int]]] = {
    "A": {
        "A": (0, 0, 2, 3), "B": (2, 0, 4, 3), "C": (4, 0, 6, 3),
        "D": (0, 3, 2, 6), "E": (2, 3, 4, 6), "F": (4, 3, 6, 6),
    },
    "B": {"A": (0, 0, 3, 3), "B": (3, 0, 6, 3), "C": (0, 3, 3, 6), "D": (3, 3, 6, 6)},
    "C": {"A": (0, 0, 4, 6), "B": (4, 0, 6, 3), "C": (4, 3, 6, 6)},
}  # fmt: skip
# LINE says 1 MB without saying which; it refuses what lies between the two itself.
PICTURE_BYTES = 1024 * 1024
_SEGMENTS_LIMIT = 50
_PAGE = 100
# LINE takes 300 characters, of which the intent needs 28; cut so that the rest fits however LINE counts.
_NAME_AT_LINE = 100
# Its function ends after 29 seconds, so an older intent is nobody's any more.
_INTENT_LIFE = timedelta(minutes=2)
_CHECKED_AFTER = timedelta(minutes=3)
# How often a removal is tried one after the other before it waits for the limits of the next hour.
_REMOVAL_ATTEMPTS = 4
_NEXT_HOUR = timedelta(hours=1)
_INTENT, _REMNANT = "menu-intent#", "menu-remnant#"


def _pixels(value: Any) -> Any:
    """Read the digits of a text; the contract writes a tab's numbers both ways."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value, re.ASCII) else value


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Pixels = Annotated[
    int,
    BeforeValidator(_pixels),
    Field(ge=0, le=99_999, strict=True),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^[0-9]{1,5}$"}, {"type": "integer", "minimum": 0}]}),
]
_SegmentId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
Segments = Annotated[
    list[_SegmentId],
    BeforeValidator(lambda value: [value] if isinstance(value, str) and value else value or []),
    Field(max_length=_SEGMENTS_LIMIT),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Switch = Annotated[bool, BeforeValidator(lambda value: value or False)]


class Area(Body):
    """What a tap on an area does: `data` is said as the user's own words, or opened."""

    type: Literal["text", "uri"]
    data: str


class Tab(Body):
    """An area that switches to the menu of this name, which need not be there yet."""

    name: Name
    x_axis: Pixels
    y_axis: Pixels
    width: Pixels
    height: Pixels


class NewMenu(AccountRequest):
    """A menu to make. Of an empty user_segment nobody sees it, unless a tab switches to it."""

    # The contract spells the fields of menus with underscores.
    model_config = ConfigDict(alias_generator=None)

    area_opt: dict[str, Area]
    chat_bar_text: str
    image_height: int
    image_width: int
    image_type: Literal["image/png", "image/jpeg"]
    layout: Literal["A", "B", "C"]
    name: Name
    user_segment: Segments
    open_menu: Switch = False
    use_datetime_trigger: Switch = False
    start_time: str | None = None
    end_time: str | None = None
    tab_menu: Annotated[list[Tab], BeforeValidator(lambda value: value or [])] = Field(
        default_factory=list, max_length=MOST_AREAS
    )
    image_b64: str = Field(repr=False)


class MenuId(AccountRequest):
    """A menu by LINE's id."""

    richmenu_id: Annotated[str, StringConstraints(pattern=r"^richmenu-[0-9a-f]{32}$")]


class AreaView(View):
    """What a tap on an area does."""

    type: str
    data: str


class TabView(View):
    """An area that switches to another menu; its numbers are texts, as the document has them."""

    name: str
    width: str
    y_axis: str
    x_axis: str
    height: str


class MenuView(View):
    """A menu as it is listed; times are null where they do not count."""

    model_config = ConfigDict(alias_generator=None)

    id: str
    name: str
    user_segment: list[str]
    layout: str
    chat_bar_text: str
    area_opt: dict[str, AreaView]
    image_width: int
    image_height: int
    create_time: str = Field(alias="createTime")
    start_time: str | None
    end_time: str | None
    use_datetime_trigger: bool
    tab_menu: list[TabView]
    open_menu: bool


class MenuList(ListView):
    """A page of menus."""

    data: list[MenuView]


class _Plan(NamedTuple):
    """A menu that is fit to be made: as LINE takes it, its window when it has one, its picture."""

    line: dict[str, Any]
    start: datetime | None
    end: datetime | None
    picture: pictures.Picture


def alias(partition: str, name: str) -> str:
    """Return the alias at LINE that means the channel's menu of this name, whether it is there or not."""
    return f"menu-{hashlib.sha256(f'{partition}#{name}'.encode()).hexdigest()[:27]}"


def save(request: NewMenu) -> None:
    """Make a menu at LINE and show it to those it is for; all flaws at once, and nothing is left of a failure."""
    account, partition = request.account, request.partition
    intent = NameTable(account=partition, place=_INTENT + ids.ordered_id(), owner=_place(partition, request.name))
    plan = _judged(request, _id_in(intent))
    _give_up_old(partition)
    intent.created_at = clock.now()
    try:
        claim = NameTable(account=partition, place=intent.owner, owner=_id_in(intent))
        commit(create(claim), create(intent), _check_up(account, intent))
    except ConditionFailed:
        raise Invalid([Flaw("name", "is the name of another menu of this channel")]) from None
    row = _row(request, plan, _id_in(intent))
    row.menu_id = _made(account, intent, plan)
    files.put(MENU_PICTURES, row.picture, plan.picture.data, plan.picture.content_type)
    _announce(
        account,
        f"menu {row.menu_id} saved",
        create(row),
        Put(NameTable(account=partition, place=intent.owner, owner=row.menu_id), NameTable.owner == _id_in(intent)),
        Delete(NameTable, intent.own_key()),
        due.cancel(*_check_up_of(account, intent)),
        *(due.book("menus", *_ids(account), at, name, {}) for at, name in _switches(row) if at > clock.now()),
        audit.entry(f"menu {row.menu_name}", before=None, after=_state(row)),
    )


def judged(given: dict[str, Any]) -> tuple[NewMenu | None, list[Flaw]]:
    """Return a saveMenu as it can be saved, or what is wrong with it."""
    try:
        request = NewMenu.model_validate(given)
        _judged(request, "")
    except ValidationError as problem:
        return None, flaws_of(problem)
    except Invalid as problem:
        return None, list(problem.flaws)
    return request, []


def names(partition: str) -> set[str]:
    """Return the names of the channel's menus."""
    rows = MenuTable.every_item(partition, fields=[MenuTable.menu_name], consistent=True)
    return {row["menu_name"]["S"] for row in rows}


def request_of(row: MenuTable) -> dict[str, Any] | None:
    """Return the saveMenu that would make this menu again, without its channel; None when its picture is gone."""
    file = files.get(MENU_PICTURES, row.picture)
    if file is None:
        return None
    return {
        **row.definition,
        "name": row.menu_name,
        "user_segment": row.segments,
        "use_datetime_trigger": row.timed,
        "start_time": _iso(row.start_time),
        "end_time": _iso(row.end_time),
        "image_type": row.image_type,
        "image_b64": base64.b64encode(file.data).decode(),
    }


def _judged(request: NewMenu, intent: str) -> _Plan:
    """Return what is to be made, or refuse it with everything that is wrong with it."""
    flaws = []
    if request.account.account_type != "line":
        flaws.append(Flaw("accountId", "is not a LINE channel"))
    letters = LAYOUTS[request.layout]
    flaws += [
        Flaw(f"area_opt.{x}", f"is required by layout {request.layout}") for x in letters if x not in request.area_opt
    ]
    flaws += [
        Flaw(f"area_opt.{x[:20]}", f"is no area of layout {request.layout}")
        for x in request.area_opt
        if x not in letters
    ]
    size = (request.image_width, request.image_height)
    if size not in SIZES:
        sizes = " or ".join(f"{width} x {height}" for width, height in SIZES)
        flaws.append(Flaw("image_width", f"and image_height must be {sizes}"))
    start, end, window_flaws = _window(request)
    flaws += window_flaws
    line = _line_menu(request, intent)
    flaws += _flaws_at_line(request, line)
    picture = None
    try:
        picture = pictures.read(request.image_b64)
    except ValueError as problem:
        flaws.append(Flaw("image_b64", str(problem)))
    else:
        flaws += _flaws_of_picture(request, picture)
    if picture is None or flaws:
        raise Invalid(flaws)
    return _Plan(line, start, end, picture)


def _window(request: NewMenu) -> tuple[datetime | None, datetime | None, list[Flaw]]:
    """Return start and end of a menu's window and what is wrong with them; without the trigger they do not count."""
    if not request.use_datetime_trigger:
        return None, None, []
    times: dict[str, datetime] = {}
    flaws = []
    for name, text in (("start_time", request.start_time), ("end_time", request.end_time)):
        try:
            if text:
                times[name] = read(text, end=name == "end_time")
        except ValueError as problem:
            flaws.append(Flaw(name, str(problem)))
    start, end = times.get("start_time"), times.get("end_time")
    if not request.end_time:
        flaws.append(Flaw("end_time", "is required with use_datetime_trigger"))
    elif start and end and end <= start:
        flaws.append(Flaw("end_time", "must be after start_time"))
    return start, end, flaws


def _line_menu(request: NewMenu, intent: str) -> dict[str, Any]:
    """Return the menu as LINE takes it; tabs come first, so that they win where areas overlap.

    LINE's documents do not say which of two areas wins.
    """
    areas = []
    for tab in request.tab_menu:
        name = alias(request.partition, tab.name)
        action = {"type": "richmenuswitch", "richMenuAliasId": name, "data": name}
        areas.append(_area(tab.x_axis, tab.y_axis, tab.width, tab.height, action))
    for letter, area in _areas(request):
        left, top, right, bottom = LAYOUTS[request.layout][letter]
        x, y = round(request.image_width * left / 6), round(request.image_height * top / 6)
        width = round(request.image_width * right / 6) - x
        height = round(request.image_height * bottom / 6) - y
        action = {"type": "message", "text": area.data} if area.type == "text" else {"type": "uri", "uri": area.data}
        areas.append(_area(x, y, width, height, action))
    return {
        "size": {"width": request.image_width, "height": request.image_height},
        "selected": request.open_menu,
        "name": f"{request.name[:_NAME_AT_LINE]} #{intent}",
        "chatBarText": request.chat_bar_text,
        "areas": areas,
    }


def _areas(request: NewMenu) -> list[tuple[str, Area]]:
    return [(letter, request.area_opt[letter]) for letter in LAYOUTS[request.layout] if letter in request.area_opt]


def _area(x: int, y: int, width: int, height: int, action: dict[str, Any]) -> dict[str, Any]:
    return {"bounds": {"x": x, "y": y, "width": width, "height": height}, "action": action}


def _flaws_at_line(request: NewMenu, line: dict[str, Any]) -> Iterator[Flaw]:
    """Yield what LINE would refuse, under the names of the request."""
    letters = [letter for letter, _ in _areas(request)]
    for flaw in flaws_of_rich_menu(line):
        found = re.fullmatch(r"areas\[(\d+)\]\.(bounds|action)\.(\w+)", flaw.path)
        if found:
            place = int(found[1]) - len(request.tab_menu)
            # Where an area is given by its layout there is nothing to say about it but that the size is wrong.
            if place < 0:
                axis = {"x": "xAxis", "y": "yAxis"}.get(found[3], found[3])
                yield Flaw(f"tab_menu[{found[1]}].{axis}", flaw.message)
            elif found[2] == "action":
                yield Flaw(f"area_opt.{letters[place]}.data", flaw.message)
        elif flaw.path == "chatBarText":
            yield Flaw("chat_bar_text", flaw.message)
        elif flaw.path == "areas":
            yield Flaw("tab_menu", f"must leave room for area_opt: there are at most {MOST_AREAS} areas")


def _flaws_of_picture(request: NewMenu, picture: pictures.Picture) -> Iterator[Flaw]:
    if picture.content_type != request.image_type:
        yield Flaw("image_type", f"must be that of the picture, which is {picture.content_type}")
    if (picture.width, picture.height) != (request.image_width, request.image_height):
        named = f"{request.image_width} x {request.image_height}"
        yield Flaw("image_b64", f"must be {named} pixels as named, and is {picture.width} x {picture.height}")
    if len(picture.data) > PICTURE_BYTES:
        yield Flaw("image_b64", "must be at most 1 MB")


def _made(account: AccountTable, intent: NameTable, plan: _Plan) -> str:
    """Make a menu at LINE, with picture and alias, and return its id; what of it was made is removed on failure."""
    line = _at_line(account)
    menu_id = ""
    try:
        menu_id = line.create(plan.line)
        line.upload(menu_id, plan.picture.data, plan.picture.content_type)
        line.put_alias(intent.owner.removeprefix("menu#"), menu_id)
    except (Refused, TryLater) as problem:
        unclear = isinstance(problem, TryLater) and not isinstance(problem, OverLimit)
        _give_up(account, intent, menu_id, unclear=unclear and not menu_id)
        raise Invalid(_words(problem)) from None
    return menu_id


def _words(problem: Refused | TryLater) -> str:
    if isinstance(problem, Refused):
        about = {
            401: "accountToken is not valid",
            403: "accountToken may not do this",
            415: "the picture is not what it says",
        }
        return f"LINE refused the menu: {about.get(problem.status, 'it cannot be made')} (status {problem.status})"
    if isinstance(problem, OverLimit):
        return "LINE makes no more menus for now; try again later"
    return "LINE does not answer; try again"


# What is not whole


def _give_up(account: AccountTable, intent: NameTable, menu_id: str, *, unclear: bool) -> None:
    """Free the name, and have removed what was made.

    When LINE did not say whether it made the menu, it may still do so; then the intent stays until that is over.
    """
    claim = Delete(NameTable, NameTable.key(intent.account, intent.owner), NameTable.owner == _id_in(intent))
    if unclear:
        commit(claim)
        return
    writes = [claim, Delete(NameTable, intent.own_key()), due.cancel(*_check_up_of(account, intent))]
    if menu_id:
        _announce(account, f"menu {menu_id} given up", *writes, _remnant(intent.account, _id_in(intent), menu_id))
    else:
        commit(*writes)


def _give_up_old(partition: str) -> None:
    """Turn intents into remnants whose function broke off; the check-up booked for them brings the worker."""
    found = NameTable.every_item(partition, NameTable.place.startswith(_INTENT), consistent=True)
    for intent in map(NameTable.of_item, found):
        if intent.created_at > clock.now() - _INTENT_LIFE:
            continue
        claim = NameTable.find(partition, intent.owner)
        mine = NameTable.owner == _id_in(intent)
        claims = [Delete(NameTable, claim.own_key(), mine)] if claim and claim.owner == _id_in(intent) else []
        commit(Delete(NameTable, intent.own_key()), _remnant(partition, _id_in(intent)), *claims)


def _remnant(partition: str, intent: str, menu_id: str = "") -> Put:
    return Put(NameTable(account=partition, place=_REMNANT + intent, owner=menu_id, created_at=clock.now()))


def bring_to_line(run: MenuRun) -> None:
    """Show their menus to the people of a run, and behind the last of them remove what is not needed any more."""
    account = AccountTable.find(run.admin_id, run.account_id)
    if account is None or account.account_type != "line":
        current().facts["ignored"] = "no LINE channel"
        return
    line = _at_line(account)
    if menu_links.apply(run, account, line):
        _remove_remnants(run, line)


def _at_line(account: AccountTable) -> RichMenus:
    return RichMenus(credentials(account)["accountToken"])


def _remove_remnants(run: MenuRun, line: RichMenus) -> None:
    """Remove at LINE and here what deleted menus and broken-off saves left; nobody is linked to it any more.

    LINE takes 100 removals an hour; what is over that is booked for the next one.
    """
    partition = account_key(run.admin_id, run.account_id)
    _give_up_old(partition)
    found = NameTable.every_item(partition, NameTable.place.startswith(_REMNANT), consistent=True)
    remnants = [NameTable.of_item(item) for item in found]
    if not remnants:
        return
    try:
        _remove(run, line, remnants)
    except TryLater as problem:
        if current().attempt < _REMOVAL_ATTEMPTS:
            raise
        logger().warning("remnants of menus are left for an hour", reason=str(problem))
        commit(due.book("menus", run.admin_id, run.account_id, clock.now() + _NEXT_HOUR, "remnants", {}))


def _remove(run: MenuRun, line: RichMenus, remnants: Sequence[NameTable]) -> None:
    aliases = line.aliases()
    usual = line.default()
    # Only a lost answer leaves a menu whose id is not known.
    listed = [] if all(remnant.owner for remnant in remnants) else line.listed()
    for remnant in remnants:
        intent = _id_in(remnant)
        menu_ids = [menu["richMenuId"] for menu in listed if str(menu.get("name")).endswith(f" #{intent}")]
        for menu_id in [remnant.owner] if remnant.owner else menu_ids:
            # The name may have been given to another menu since; its alias means that one now.
            for alias_id in (alias_id for alias_id, meant in aliases.items() if meant == menu_id):
                line.delete_alias(alias_id)
            if usual == menu_id:
                line.clear_default()
            line.delete(menu_id)
        files.remove(MENU_PICTURES, _picture_path(run.admin_id, run.account_id, intent))
        commit(Delete(NameTable, remnant.own_key()))


def _announce(account: AccountTable, change: str, *writes: Write) -> None:
    """Commit a change and wake the worker; it is booked with the change, should we not get so far."""
    at = clock.now()
    commit(*writes, due.book("menus", *_ids(account), at, change, {}))
    menu_links.wake(*_ids(account), change)
    commit(due.cancel("menus", *_ids(account), at, change))


def _ids(account: AccountTable) -> tuple[str, str]:
    return account.admin_id, account.account_id


def _place(partition: str, name: str) -> str:
    return f"menu#{alias(partition, name)}"


def _id_in(row: NameTable) -> str:
    return str(row.place).rpartition("#")[2]


def _check_up(account: AccountTable, intent: NameTable) -> Put:
    return due.book(*_check_up_of(account, intent), {})


def _check_up_of(account: AccountTable, intent: NameTable) -> tuple[Literal["menus"], str, str, datetime, str]:
    return "menus", account.admin_id, account.account_id, intent.created_at + _CHECKED_AFTER, str(intent.place)


def _picture_path(admin_id: str, account_id: str, intent: str) -> str:
    return f"{quote(admin_id, safe='')}/{account_id}/{intent}"


# What is there


def _row(request: NewMenu, plan: _Plan, intent: str) -> MenuTable:
    return MenuTable(
        account=request.partition,
        menu_name=request.name,
        definition={
            "layout": request.layout,
            "chat_bar_text": request.chat_bar_text,
            "area_opt": {letter: area.model_dump() for letter, area in _areas(request)},
            "image_width": request.image_width,
            "image_height": request.image_height,
            "tab_menu": [
                {name: str(value) for name, value in tab.model_dump(by_alias=True).items()} for tab in request.tab_menu
            ],
            "open_menu": request.open_menu,
        },
        segments=list(dict.fromkeys(request.user_segment)),
        timed=request.use_datetime_trigger,
        start_time=plan.start,
        end_time=plan.end,
        picture=_picture_path(request.admin_id, request.account_id, intent),
        image_type=plan.picture.content_type,
    )


def _switches(row: MenuTable) -> list[tuple[datetime, str]]:
    """Return when a menu's window begins and ends, and under what name that is booked."""
    times = ((row.start_time, f"{row.menu_id} start"), (row.end_time, f"{row.menu_id} end"))
    return [(at, name) for at, name in times if at is not None]


def _state(row: MenuTable) -> dict[str, Any]:
    names = ("menu_id", "menu_name", "definition", "segments", "timed", "start_time", "end_time")
    return {name: getattr(row, name) for name in names}


def delete(request: MenuId) -> None:
    """Delete a menu; the worker takes it from those who see it, and then from LINE."""
    account, partition = request.account, request.partition
    row = MenuTable.find(partition, request.richmenu_id)
    if row is None:
        raise NotFound("richmenuId not found")
    _give_up_old(partition)
    name_key = NameTable.key(partition, _place(partition, row.menu_name))
    _announce(
        account,
        f"menu {row.menu_id} deleted",
        Delete(MenuTable, row.own_key(), MenuTable.menu_id.exists()),
        Delete(NameTable, name_key, NameTable.owner == row.menu_id),
        _remnant(partition, row.picture.rpartition("/")[2], row.menu_id),
        *(due.cancel("menus", *_ids(account), at, name) for at, name in _switches(row)),
        audit.entry(f"menu {row.menu_name}", before=_state(row), after=None),
    )


def page(request: ListRequest) -> MenuList:
    """Return a page of at most 100 menus of a channel, ordered by LINE's ids."""
    rows, last_key = MenuTable.query(request.partition, limit=_PAGE, after=request.start("menus"), consistent=True)
    return MenuList(data=[_view(row) for row in rows], last_evaluated_key=request.next_key("menus", last_key))


def _view(row: MenuTable) -> MenuView:
    return MenuView(
        id=row.menu_id,
        name=row.menu_name,
        user_segment=row.segments,
        **row.definition,
        create_time=shown(row.created_at),
        start_time=_iso(row.start_time),
        end_time=_iso(row.end_time),
        use_datetime_trigger=row.timed,
    )


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else UtcTime().serialize(moment)
