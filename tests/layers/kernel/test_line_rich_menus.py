"""Rich menus: what may be one, and the calls that make and show it, against LINE's double and against bad answers."""

from __future__ import annotations

import copy
import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from kernel import settings
from kernel.channels.faults import OverLimit, Refused, TryLater
from kernel.channels.line.rich_menu_objects import flaws_of_rich_menu
from kernel.channels.line.rich_menus import RichMenus
from kernel.secrets import Secret
from local.line_http import fingerprint
from local.line_simulator import LineSimulator
from tests.layers.kernel.test_wire import Server, answers, closes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANN, BOB, CAT = ("U" + letter * 32 for letter in "abc")
NOBODY = "richmenu-" + "0" * 32
FIRST = f"richmenu-{1:032x}"
AREA = {"bounds": {"x": 0, "y": 0, "width": 1250, "height": 1686}, "action": {"type": "message", "text": "營業稅申報"}}
TAB = {
    "bounds": {"x": 1250, "y": 0, "width": 1250, "height": 200},
    "action": {"type": "richmenuswitch", "richMenuAliasId": "tab_b-2", "data": "tab"},
}
MENU: dict[str, Any] = {
    "size": {"width": 2500, "height": 1686},
    "selected": True,
    "name": "選單",
    "chatBarText": "選單",
    "areas": [AREA, TAB],
}


def picture(form: str = "PNG", width: int = 1200, height: int = 810) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, form)
    return data.getvalue()


def changed(**values: Any) -> dict[str, Any]:
    """Return the menu with values at paths, `__` for the steps; a value of ... takes the property away."""
    menu = copy.deepcopy(MENU)
    for path, value in values.items():
        *steps, last = path.split("__")
        part: Any = menu
        for step in steps:
            part = part[int(step) if step.isdecimal() else step]
        if value is ...:
            del part[last]
        else:
            part[last] = value
    return menu


class TestFlaws:
    @pytest.mark.parametrize(
        "menu",
        [
            MENU,
            changed(areas=[]),
            changed(areas=[AREA] * 20),
            changed(name="👍🏽" * 300, chatBarText="👍🏽" * 14),
            *(
                changed(size={"width": width, "height": height}, areas=[])
                for width, height in ((1200, 810), (800, 540))
            ),
            changed(size={"width": 800, "height": 250}, areas=[]),
            changed(areas__0__action={"type": "uri", "uri": "https://liff.example.com/a", "label": "開"}),
            changed(areas__0__action={"type": "postback", "data": "d", "inputOption": "openRichMenu"}),
            changed(areas__0__action={"type": "clipboard", "clipboardText": "3B48"}),
        ],
    )
    def test_of_a_good_menu_are_none(self, menu: dict[str, Any]) -> None:
        assert flaws_of_rich_menu(menu) == []

    @pytest.mark.parametrize(
        ("menu", "flaw"),
        [
            ([], " must be an object"),
            (changed(name=...), "name is required"),
            (changed(selected="true"), "selected must be true or false"),
            (changed(name=""), "name must not be empty"),
            (changed(name="x" * 301), "name must be at most 300 characters"),
            (changed(chatBarText="字" * 15), "chatBarText must be at most 14 characters"),
            (changed(chatBarText=None), "chatBarText must not be null"),
            (changed(richMenuId=FIRST), "richMenuId is not a property of a rich menu"),
            (changed(size=...), "size is required"),
            (changed(size=[]), "size must be an object"),
            (changed(size={"width": 799, "height": 540}, areas=[]), "size.width must be between 800 and 2500"),
            (changed(size__height=249, areas=[]), "size.height must be at least 250"),
            (changed(size__height="1686"), "size.height must be an integer"),
            (
                changed(size={"width": 1449, "height": 1000}, areas=[]),
                "size must be at least 1.45 times as wide as high",
            ),
            (changed(areas=...), "areas is required"),
            (changed(areas={}), "areas must be an array"),
            (changed(areas=[AREA] * 21), "areas must hold at most 20 items"),
            (changed(areas=["A"]), "areas[0] must be an object"),
            (changed(areas__0__bounds__x=-1), "areas[0].bounds.x must be at least 0"),
            (changed(areas__0__bounds__width=0), "areas[0].bounds.width must be at least 1"),
            (changed(areas__0__bounds__width="1250"), "areas[0].bounds.width must be an integer"),
            (
                changed(areas__1__bounds__x=1251),
                "areas[1].bounds.width must end inside the picture, which is 2500 in width",
            ),
            (
                changed(areas__1__bounds__y=1487),
                "areas[1].bounds.height must end inside the picture, which is 1686 in height",
            ),
            (changed(areas__0__action=...), "areas[0].action is required"),
            (changed(areas__0__action__text=""), "areas[0].action.text must not be empty"),
            (changed(areas__0__action__text="字" * 301), "areas[0].action.text must be at most 300 characters"),
            (changed(areas__0__action__label="字" * 21), "areas[0].action.label must be at most 20 characters"),
            (changed(areas__1__action__richMenuAliasId=...), "areas[1].action.richMenuAliasId is required"),
            (changed(areas__1__action__data=...), "areas[1].action.data is required"),
            (changed(areas__1__action__data="x" * 301), "areas[1].action.data must be at most 300 characters"),
            (
                changed(areas__1__action__richMenuAliasId="Tab"),
                "areas[1].action.richMenuAliasId must be made of 1 to 32 of a-z, 0-9, _ and -",
            ),
            (
                changed(areas__0__action={"type": "camera"}),
                "areas[0].action.type must be one of 'clipboard', 'datetimepicker', 'message', 'postback', "
                "'richmenuswitch', 'uri' here",
            ),
            (
                changed(areas__0__action={"type": "uri", "uri": "liff.example.com"}),
                "areas[0].action.uri must be a URL that starts with http:// or https:// or line:// or tel:",
            ),
        ],
    )
    def test_are_named_where_they_are(self, menu: Any, flaw: str) -> None:
        path, _, message = flaw.partition(" ")

        assert flaws_of_rich_menu(menu) == [(path, message)]

    def test_are_all_told_at_once_but_not_endlessly(self) -> None:
        flaws = flaws_of_rich_menu({"size": {}, "areas": [{"bounds": {}, "action": {}}] * 20})

        assert len(flaws) == 100
        assert [flaw.path for flaw in flaws[:5]] == ["selected", "name", "chatBarText", "size.width", "size.height"]


@pytest.fixture
def line(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineSimulator]:
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        monkeypatch.setenv("LINE_DATA_API_ENDPOINT", simulator.url)
        settings.settings.cache_clear()
        yield simulator


@pytest.fixture
def menus() -> RichMenus:
    return RichMenus(Secret("token"))


@pytest.fixture
def menu_id(line: LineSimulator, menus: RichMenus) -> str:
    """A menu that has its picture."""
    made = menus.create(MENU)
    menus.upload(made, picture(), "image/png")
    return made


def seen(line: LineSimulator) -> dict[str, Any]:
    (channel,) = line.rich_menus.values()
    return channel


def test_a_menu_is_made_with_its_picture_and_deleted(line: LineSimulator, menus: RichMenus) -> None:
    made = menus.create(MENU)
    menus.upload(made, picture("JPEG"), "image/jpeg")

    assert made == FIRST
    assert menus.listed() == [{"richMenuId": made, **MENU}]
    assert line.rich_menus == {
        fingerprint("token"): {
            "menus": [{"richMenuId": made, **MENU, "image": "image/jpeg"}],
            "default": None,
            "links": {},
            "aliases": {},
        }
    }
    menus.delete(made)
    menus.delete(made)
    assert menus.listed() == []
    assert [call.retry_key for call in line.calls] == [None] * len(line.calls)
    assert [call.status for call in line.calls] == [200, 200, 200, 200, 404, 200]


def test_a_picture_whose_answer_was_lost_is_uploaded_again_without_harm(line: LineSimulator, menus: RichMenus) -> None:
    made = menus.create(MENU)
    line.fail("/v2/bot/richmenu/*/content", 500, accept=True)

    with pytest.raises(TryLater):
        menus.upload(made, picture(), "image/png")
    menus.upload(made, picture(), "image/png")

    assert [call.status for call in line.calls] == [200, 500, 400, 200]


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (picture("JPEG"), "image/png", 400),
        (picture(), "image/jpeg", 400),
        (picture("GIF"), "image/gif", 415),
        (b"fake-image", "image/png", 400),
        (picture() + bytes(1024 * 1024), "image/png", 400),
        (picture(width=799), "image/png", 400),
        (picture(height=828), "image/png", 400),
    ],
)
def test_a_picture_that_line_does_not_take_is_refused(
    line: LineSimulator, menus: RichMenus, data: bytes, content_type: str, status: int
) -> None:
    made = menus.create(MENU)

    with pytest.raises(Refused) as raised:
        menus.upload(made, data, content_type)

    assert raised.value.status == status
    assert seen(line)["menus"][0]["image"] is None


def test_the_default_is_set_and_cleared(line: LineSimulator, menus: RichMenus, menu_id: str) -> None:
    assert menus.default() is None
    menus.set_default(menu_id)
    assert (menus.default(), seen(line)["default"]) == (menu_id, menu_id)
    menus.clear_default()
    menus.clear_default()
    assert menus.default() is None


def test_users_are_linked_by_hundreds_and_one_by_one(line: LineSimulator, menus: RichMenus, menu_id: str) -> None:
    line.set_person(CAT, blocked=True)
    menus.link(menu_id, [ANN, BOB, CAT])
    assert seen(line)["links"] == {ANN: menu_id, BOB: menu_id}
    menus.unlink([BOB, CAT])
    menus.link_one(menu_id, CAT)
    assert seen(line)["links"] == {ANN: menu_id}
    menus.unlink_one(ANN)
    menus.link_one(menu_id, BOB)
    assert seen(line)["links"] == {BOB: menu_id}


def test_an_alias_is_made_then_led_elsewhere(line: LineSimulator, menus: RichMenus, menu_id: str) -> None:
    other = menus.create(changed(name="other"))
    menus.upload(other, picture(), "image/png")

    menus.put_alias("all", menu_id)
    menus.put_alias("tab-b", menu_id)
    menus.put_alias("tab-b", other)

    assert menus.aliases() == {"all": menu_id, "tab-b": other}
    menus.delete_alias("tab-b")
    menus.delete_alias("tab-b")
    assert menus.aliases() == {"all": menu_id}


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (lambda menus: menus.create(changed(name=...)), 400),
        (lambda menus: menus.upload(NOBODY, picture(), "image/png"), 404),
        (lambda menus: menus.set_default(NOBODY), 404),
        (lambda menus: menus.set_default(FIRST), 400),
        (lambda menus: menus.link(FIRST, [ANN]), 400),
        (lambda menus: menus.link(NOBODY, [ANN]), 404),
        (lambda menus: menus.link("menu", [ANN]), 400),
        (lambda menus: menus.link_one(FIRST, ANN), 400),
        (lambda menus: menus.unlink([ANN, "ann"]), 400),
        (lambda menus: menus.unlink_one("ann"), 400),
        (lambda menus: menus.put_alias("tab", FIRST), 400),
        (lambda menus: menus.put_alias("Tab", FIRST), 400),
    ],
)
def test_what_line_does_not_take_is_refused_and_changes_nothing(
    line: LineSimulator, menus: RichMenus, call: Callable[[RichMenus], None], status: int
) -> None:
    menus.create(MENU)
    before = line.rich_menus

    with pytest.raises(Refused) as raised:
        call(menus)

    assert raised.value.status == status
    assert line.rich_menus == before


@pytest.mark.parametrize(
    "call",
    [
        lambda menus: menus.unlink_one("all"),
        lambda menus: menus.link_one(FIRST, "all"),
        lambda menus: menus.set_default(""),
        lambda menus: menus.delete("list"),
        lambda menus: menus.delete(".."),
        lambda menus: menus.put_alias("list", FIRST),
    ],
)
def test_an_id_that_would_name_something_else_is_not_sent(
    line: LineSimulator, menus: RichMenus, call: Callable[[RichMenus], None]
) -> None:
    with pytest.raises(Refused):
        call(menus)

    assert line.calls == []


@pytest.mark.parametrize("number", [0, 501])
def test_a_call_links_one_to_500(line: LineSimulator, menus: RichMenus, number: int) -> None:
    for call in (lambda: menus.link(FIRST, [ANN] * number), lambda: menus.unlink([ANN] * number)):
        with pytest.raises(ValueError, match=f"1 to 500 users, not {number}"):
            call()

    assert line.calls == []


CALLS: list[Callable[[RichMenus], Any]] = [
    lambda menus: menus.create(MENU),
    lambda menus: menus.upload(FIRST, b"", "image/png"),
    lambda menus: menus.delete(FIRST),
    lambda menus: menus.listed(),
    lambda menus: menus.set_default(FIRST),
    lambda menus: menus.clear_default(),
    lambda menus: menus.default(),
    lambda menus: menus.link(FIRST, [ANN]),
    lambda menus: menus.unlink([ANN]),
    lambda menus: menus.link_one(FIRST, ANN),
    lambda menus: menus.unlink_one(ANN),
    lambda menus: menus.put_alias("tab", FIRST),
    lambda menus: menus.delete_alias("tab"),
    lambda menus: menus.aliases(),
]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_says_when_line_is_busy_or_away(
    environment: str, monkeypatch: pytest.MonkeyPatch, menus: RichMenus, call: Callable[[RichMenus], Any]
) -> None:
    script = [closes, answers({}, 429, Retry_After="5"), answers({}, 503, Retry_After="6"), answers({}, 401)]
    with Server(*script) as line:
        monkeypatch.setenv("LINE_API_ENDPOINT", line.url)
        monkeypatch.setenv("LINE_DATA_API_ENDPOINT", line.url)
        settings.settings.cache_clear()
        for fault, wait in ((TryLater, None), (OverLimit, 5.0), (TryLater, 6.0)):
            with pytest.raises(fault) as raised:
                call(menus)
            assert (type(raised.value), raised.value.wait) == (fault, wait)
        with pytest.raises(Refused) as refused:
            call(menus)
        assert refused.value.status == 401
        assert "token" not in str(refused.value)


def test_a_default_of_lines_own_manager_is_none_of_ours(
    environment: str, monkeypatch: pytest.MonkeyPatch, menus: RichMenus
) -> None:
    with Server(answers({"message": "the richmenu is owned by another channel"}, 403)) as line:
        monkeypatch.setenv("LINE_API_ENDPOINT", line.url)
        settings.settings.cache_clear()
        assert menus.default() is None


def test_creations_are_limited_by_the_hour(line: LineSimulator, menus: RichMenus) -> None:
    line.limit_rich_menus(1)
    menus.create(MENU)

    with pytest.raises(OverLimit):
        menus.create(MENU)

    assert len(menus.listed()) == 1
