"""Rich menus through the operations and the worker: made at LINE, listed, deleted, and nothing left of what failed."""

import base64
import contextlib
import functools
import io
from datetime import timedelta

import pytest
from PIL import Image

from chatbot.menu_links import MENUS
from chatbot.tables import MenuTable
from functions.chatbot.delete_menu import delete_menu
from functions.chatbot.get_menu import get_menu
from functions.chatbot.save_menu import save_menu
from kernel import aws, clock, settings
from kernel.channels.line.rich_menus import RichMenus
from kernel.secrets import Secret
from kernel.tables import Put, write_all
from local.line_http import fingerprint
from local.line_simulator import LineSimulator
from tests.functions.chatbot.conftest import made
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOW,
    PARTITION,
    SHOWN_NOW,
    audited,
    documented,
    ok,
    refused,
    sample,
    webhook_url,
)

EXAMPLE = documented("save_menu")
FIRST = f"richmenu-{1:032x}"

CREATE, UPLOAD, ALIASES = "/v2/bot/richmenu", "/v2/bot/richmenu/*/content", "/v2/bot/richmenu/alias*"
LATER = NOW + timedelta(minutes=5)


@functools.cache
def picture(width=2500, height=1686, form="PNG"):
    data = io.BytesIO()
    Image.new("L", (width, height)).save(data, form)
    return base64.b64encode(data.getvalue()).decode()


def menu(name="test", **changes):
    """Return a saveMenu for everybody, without window and tabs; a change to `...` leaves a field out."""
    plain = {"name": name, "user_segment": "richAllUser", "use_datetime_trigger": False, "end_time": None}
    body = {**EXAMPLE, **plain, "tab_menu": [], **changes}
    return {field: value for field, value in body.items() if value is not ...}


@pytest.fixture
def line(cloud, monkeypatch):
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        monkeypatch.setenv("LINE_DATA_API_ENDPOINT", simulator.url)
        settings.settings.cache_clear()
        yield simulator


@pytest.fixture
def at_line(line, account):
    """Return what there is at LINE now."""

    def look():
        nothing = {"menus": [], "default": None, "links": {}, "aliases": {}}
        return line.rich_menus.get(fingerprint(account.fields["accountToken"]), nothing)

    return look


def work(*records):
    """Let the worker take messages; return how many it handed back."""
    return len(FUNCTIONS["apply_menus"]({"Records": records}, None)["batchItemFailures"])


def settle(cloud):
    """Let the worker take all that is queued, as often as it queues more; nothing may fail."""
    while records := cloud.queued(MENUS):
        assert work(*records) == 0


def due_now(cloud):
    """Let what is booked until now happen."""
    FUNCTIONS["start_due"]({}, None)
    settle(cloud)


def listed(cloud):
    return cloud.call(get_menu, IDS).body["Result"]["data"]


def pictures_of(cloud):
    found = cloud.client("s3").list_objects_v2(Bucket="files").get("Contents", [])
    return {item["Key"] for item in found}


def whole(cloud, at_line):
    """Assert that LINE and all tables have the same menus and nothing else; return their names."""
    rows = {row["menu_id"]: row for row in cloud.rows("menus")}
    there = at_line()
    assert {one["richMenuId"] for one in there["menus"]} == set(rows)
    assert set(there["aliases"].values()) == set(rows)
    assert len(there["aliases"]) == len(rows)
    names = {row["place"]: row["owner"] for row in cloud.rows("names")}
    assert names == {f"menu#{name}": menu_id for name, menu_id in there["aliases"].items()}
    assert pictures_of(cloud) == {f"menus/chatbot/{row['picture']}" for row in rows.values()}
    assert all(row["place"].endswith((" start", " end", "#nightly")) for row in cloud.rows("due"))
    return sorted(row["menu_name"] for row in rows.values())


class TestSaving:
    def test_makes_the_documented_menu_at_line(self, cloud, line, at_line):
        assert cloud.call(save_menu, EXAMPLE) == ok()

        (made,) = at_line()["menus"]
        ((alias, menu_id),) = at_line()["aliases"].items()
        tabs = [made["areas"][place]["action"].pop("richMenuAliasId") for place in (0, 1)]
        assert made.pop("name").startswith("test #")
        assert made == {
            "richMenuId": FIRST,
            "size": {"width": 2500, "height": 1686},
            "selected": True,
            "chatBarText": "menu name",
            "image": "image/png",
            "areas": [
                {
                    "bounds": {"x": 0, "y": 0, "width": 1250, "height": 200},
                    "action": {"type": "richmenuswitch", "data": tabs[0]},
                },
                {
                    "bounds": {"x": 1250, "y": 0, "width": 1250, "height": 200},
                    "action": {"type": "richmenuswitch", "data": tabs[1]},
                },
                {"bounds": {"x": 0, "y": 0, "width": 1250, "height": 843}, "action": {"type": "message", "text": "1"}},
                {
                    "bounds": {"x": 1250, "y": 0, "width": 1250, "height": 843},
                    "action": {"type": "message", "text": "2"},
                },
                {
                    "bounds": {"x": 0, "y": 843, "width": 1250, "height": 843},
                    "action": {"type": "message", "text": "3"},
                },
                {
                    "bounds": {"x": 1250, "y": 843, "width": 1250, "height": 843},
                    "action": {"type": "message", "text": "4"},
                },
            ],
        }
        assert menu_id == FIRST
        assert len({alias, *tabs}) == 3
        settle(cloud)
        assert whole(cloud, at_line) == ["test"]

    def test_lists_what_was_saved_as_documented(self, cloud, at_line):
        areas = {
            "A": {"type": "text", "data": "營業稅申報"},
            "B": {"type": "uri", "data": "https://liff.example.com/biz-demo-resource/financial-data.jpg"},
            "C": {"type": "text", "data": "重要訊息"},
            "D": {"type": "text", "data": "尋找會計事務所"},
        }
        tabs = [
            {"name": "tt", "width": "1250", "yAxis": "0", "xAxis": "0", "height": "200"},
            {"name": "bb", "width": 1250, "yAxis": 0, "xAxis": 1250, "height": 200},
        ]
        times = {"start_time": "2024-03-20T15:35:00.000Z", "end_time": "2024-03-30T15:35:00.000Z"}
        given = {"name": "選單", "chat_bar_text": "選單", "area_opt": areas, "user_segment": ["richAllUser"], **times}
        assert cloud.call(save_menu, {**EXAMPLE, **given, "tab_menu": tabs, "open_menu": False}) == ok()

        assert cloud.call(get_menu, IDS) == ok(
            {
                "data": [
                    {
                        "id": FIRST,
                        "name": "選單",
                        "user_segment": ["richAllUser"],
                        "layout": "B",
                        "chat_bar_text": "選單",
                        "area_opt": areas,
                        "image_width": 2500,
                        "image_height": 1686,
                        "createTime": SHOWN_NOW,
                        **times,
                        "use_datetime_trigger": True,
                        "tab_menu": [
                            {"name": "tt", "width": "1250", "yAxis": "0", "xAxis": "0", "height": "200"},
                            {"name": "bb", "width": "1250", "yAxis": "0", "xAxis": "1250", "height": "200"},
                        ],
                        "open_menu": False,
                    }
                ]
            }
        )

    def test_takes_what_is_missing_null_or_empty(self, cloud, line, account):
        blank = {"start_time": "", "end_time": "not a time", "tab_menu": None, "open_menu": None, "user_segment": ""}
        missing = dict.fromkeys(("start_time", "end_time", "tab_menu", "open_menu", "use_datetime_trigger"), ...)
        assert cloud.call(save_menu, menu("blank", **blank)) == ok()
        assert cloud.call(save_menu, menu("missing", **missing, user_segment=["a", "b", "a"])) == ok()

        plain = {
            "start_time": None,
            "end_time": None,
            "use_datetime_trigger": False,
            "tab_menu": [],
            "open_menu": False,
        }
        got = [{name: one[name] for name in (*plain, "user_segment")} for one in listed(cloud)]
        assert got == [{**plain, "user_segment": []}, {**plain, "user_segment": ["a", "b"]}]

    @pytest.mark.parametrize(
        ("layout", "letters", "bounds"),
        [
            ("A", "ABCDEF", [(0, 0, 267, 270), (267, 0, 266, 270), (533, 0, 267, 270),
                             (0, 270, 267, 270), (267, 270, 266, 270), (533, 270, 267, 270)]),
            ("B", "ABCD", [(0, 0, 400, 270), (400, 0, 400, 270), (0, 270, 400, 270), (400, 270, 400, 270)]),
            ("C", "ABC", [(0, 0, 533, 540), (533, 0, 267, 270), (533, 270, 267, 270)]),
        ],
    )  # fmt: skip
    def test_areas_lie_where_the_layout_has_them(self, cloud, at_line, layout, letters, bounds):
        areas = {letter: {"type": "text", "data": letter} for letter in reversed(letters)}
        size = {"image_width": 800, "image_height": 540, "image_b64": picture(800, 540)}
        assert cloud.call(save_menu, menu(layout=layout, area_opt=areas, **size)) == ok()

        (made,) = at_line()["menus"]
        assert [area["action"]["text"] for area in made["areas"]] == list(letters)
        assert [tuple(area["bounds"].values()) for area in made["areas"]] == bounds
        assert list(listed(cloud)[0]["area_opt"]) == list(letters)

    @pytest.mark.parametrize("layout", "ABC")
    @pytest.mark.parametrize("size", [(2500, 1686), (1200, 810), (800, 540)])
    def test_areas_cover_the_picture_without_gap_or_overlap(self, cloud, at_line, layout, size):
        areas = {
            letter: {"type": "text", "data": letter} for letter in {"A": "ABCDEF", "B": "ABCD", "C": "ABC"}[layout]
        }
        given = {"image_width": size[0], "image_height": size[1], "image_b64": picture(*size)}
        assert cloud.call(save_menu, menu(layout=layout, area_opt=areas, **given)) == ok()

        covered = Image.new("L", size)
        for area in at_line()["menus"][0]["areas"]:
            x, y, width, height = area["bounds"].values()
            place = (x, y, x + width, y + height)
            assert covered.crop(place).getextrema() == (0, 0)
            covered.paste(1, place)
        assert covered.getextrema() == (1, 1)

    def test_takes_a_jpeg_and_a_data_url(self, cloud, at_line):
        given = {"image_width": 1200, "image_height": 810, "image_type": "image/jpeg"}
        data = picture(1200, 810, "JPEG")

        assert cloud.call(save_menu, menu(image_b64=f"data:image/jpeg;base64,{data}", **given)) == ok()
        assert at_line()["menus"][0]["image"] == "image/jpeg"
        (kept,) = pictures_of(cloud)
        stored = cloud.client("s3").get_object(Bucket="files", Key=kept)
        assert (stored["ContentType"], stored["Body"].read()) == ("image/jpeg", base64.b64decode(data))

    def test_a_tab_leads_to_the_menu_of_its_name_whichever_is_saved_first(self, cloud, at_line):
        tab = {"xAxis": 0, "yAxis": 0, "width": 100, "height": 100}
        for name, other in (("one", "two"), ("two", "one")):
            assert cloud.call(save_menu, menu(name, tab_menu=[{"name": other, **tab}])) == ok()

        there = at_line()
        one, two = there["menus"]
        assert there["aliases"][one["areas"][0]["action"]["richMenuAliasId"]] == two["richMenuId"]
        assert there["aliases"][two["areas"][0]["action"]["richMenuAliasId"]] == one["richMenuId"]

    def test_a_long_name_is_kept_here_and_cut_at_line(self, cloud, at_line):
        assert cloud.call(save_menu, menu("選" * 300)) == ok()

        assert [one["name"] for one in listed(cloud)] == ["選" * 300]
        assert at_line()["menus"][0]["name"].startswith("選" * 100 + " #")
        settle(cloud)
        assert whole(cloud, at_line) == ["選" * 300]

    def test_a_change_is_audited(self, cloud, line, account):
        cloud.call(save_menu, menu())
        cloud.call(delete_menu, {**IDS, "richmenuId": FIRST})

        saved, deleted = sorted(audited(cloud, "menu test"), key=lambda row: row["operation"], reverse=True)
        assert (saved["operation"], deleted["operation"]) == ("save_menu", "delete_menu")
        assert "before" not in saved
        assert saved["after"] == deleted["before"]
        assert "after" not in deleted


class TestRefusing:
    def test_names_every_flaw_of_the_shape(self, cloud, line, account, foreign, refuses):
        size = "image_width and image_height must be 2500 x 1686 or 1200 x 810 or 800 x 540"
        cases = [
            ({"layout": "D", "image_type": "image/gif"},
             "image_type must be 'image/png' or 'image/jpeg'; layout must be 'A', 'B' or 'C'"),
            ({"chat_bar_text": ..., "area_opt": ...}, "area_opt is required; chat_bar_text is required"),
            ({"name": " "}, "name must have at least 1 character"),
            ({"name": "a" * 301}, "name must have at most 300 characters"),
            ({"image_b64": ..., "user_segment": ...}, "user_segment is required; image_b64 is required"),
            ({"user_segment": 7}, "user_segment must be a valid array"),
            ({"area_opt": {"A": {"type": "other", "data": "1"}}}, "area_opt.A.type must be 'text' or 'uri'"),
            ({"tab_menu": [{"name": "x", "xAxis": "1.5", "yAxis": -1, "width": "9999999", "height": ""}]},
             "tab_menu[0].xAxis must be a valid integer; tab_menu[0].yAxis must be greater than or equal to 0; "
             "tab_menu[0].width must be a valid integer; tab_menu[0].height must be a valid integer"),
            ({"accountId": foreign.ids["accountId"]}, "accountId not found"),
            ({"image_width": 2500, "image_height": 843, "image_b64": picture(2500, 843)}, size),
        ]  # fmt: skip
        refuses(save_menu, [(menu(**change), message) for change, message in cases])
        assert line.calls == []

    def test_names_every_flaw_of_the_meaning(self, cloud, line, account, refuses):
        areas = EXAMPLE["area_opt"]
        uri = {"type": "uri", "data": "ftp://x"}
        tab = {"name": "x", "xAxis": 0, "yAxis": 0, "width": 1, "height": 1}
        window = {"use_datetime_trigger": True, "start_time": "2024-03-06T14:10:00.000Z"}
        outside = "must end inside the picture, which is"
        other = menu(
            layout="C",
            area_opt={"A": areas["A"], "C": {"type": "text", "data": ""}, "F": areas["A"]},
            image_width=800,
            tab_menu=[{**tab, "xAxis": 800}],
            image_type="image/jpeg",
            use_datetime_trigger=True,
        )
        cases = [
            (other,
             "area_opt.B is required by layout C; area_opt.F is no area of layout C; "
             "image_width and image_height must be 2500 x 1686 or 1200 x 810 or 800 x 540; "
             "end_time is required with use_datetime_trigger; "
             f"tab_menu[0].width {outside} 800 in width; area_opt.C.data must not be empty; "
             "image_type must be that of the picture, which is image/png; "
             "image_b64 must be 800 x 1686 pixels as named, and is 2500 x 1686"),
            (menu(area_opt={**areas, "B": uri}),
             "area_opt.B.data must be a URL that starts with http:// or https:// or line:// or tel:"),
            (menu(area_opt={**areas, "B": {"type": "text", "data": "x" * 301}}),
             "area_opt.B.data must be at most 300 characters"),
            (menu(chat_bar_text="123456789012345"), "chat_bar_text must be at most 14 characters"),
            (menu(chat_bar_text=""), "chat_bar_text must not be empty"),
            (menu(tab_menu=[{**tab, "width": 0}]), "tab_menu[0].width must be at least 1"),
            (menu(tab_menu=[tab, {**tab, "yAxis": "1686"}]), f"tab_menu[1].height {outside} 1686 in height"),
            (menu(tab_menu=[tab] * 17), "tab_menu must leave room for area_opt: there are at most 20 areas"),
            (menu(**window), "end_time is required with use_datetime_trigger"),
            (menu(**window, end_time="2024-03-06T14:10:00.000Z"), "end_time must be after start_time"),
            (menu(use_datetime_trigger=True, start_time="soon", end_time="later"),
             "start_time must be a time like 2024-01-28 06:04:25.693; "
             "end_time must be a time like 2024-01-28 06:04:25.693"),
            (menu(image_b64="ZmFrZS1pbWFnZQ=="), "image_b64 is not a PNG or JPEG picture"),
            (menu(image_b64="?"), "image_b64 is not valid base64"),
            (menu(image_b64=picture(1200, 810)), "image_b64 must be 2500 x 1686 pixels as named, and is 1200 x 810"),
            (menu(image_b64=picture(form="JPEG")), "image_type must be that of the picture, which is image/jpeg"),
            (menu(image_b64=padded(1024 * 1024 + 1)), "image_b64 must be at most 1 MB"),
        ]  # fmt: skip
        refuses(save_menu, cases)
        assert line.calls == []

    def test_a_picture_of_just_1_mb_is_taken(self, cloud, line, account):
        assert cloud.call(save_menu, menu(image_b64=padded(1024 * 1024))) == ok()

    def test_only_line_has_menus(self, cloud, line, account, refuses):
        ids = {**IDS, "accountId": "page"}
        made(cloud, ids, accountType="fb", accountWebhookUrl=webhook_url(ids, "/api/facebook"))

        refuses(save_menu, [({**menu(), **ids}, "accountId is not a LINE channel")])
        assert cloud.call(get_menu, ids) == ok({"data": []})

    def test_a_name_is_given_once_and_again_after_its_menu(self, cloud, line, at_line):
        assert cloud.call(save_menu, menu(" test ")) == ok()
        before = at_line()

        assert cloud.call(save_menu, menu("test")) == refused("name is the name of another menu of this channel")
        assert at_line() == before
        assert cloud.call(delete_menu, {**IDS, "richmenuId": FIRST}) == ok()
        assert cloud.call(save_menu, menu("test")) == ok()
        settle(cloud)
        assert whole(cloud, at_line) == ["test"]
        assert [one["richMenuId"] for one in at_line()["menus"]] == [f"richmenu-{2:032x}"]


def padded(size):
    """Return a PNG of so many bytes."""
    data = base64.b64decode(picture())
    return base64.b64encode(data + bytes(size - len(data))).decode()


REFUSED = "LINE refused the menu: it cannot be made (status 400)"
SILENT = "LINE does not answer; try again"
BUSY = "LINE makes no more menus for now; try again later"


class TestFailing:
    @pytest.mark.parametrize(
        ("status", "message"),
        [
            (400, REFUSED),
            (401, "LINE refused the menu: accountToken is not valid (status 401)"),
            (403, "LINE refused the menu: accountToken may not do this (status 403)"),
            (415, "LINE refused the menu: the picture is not what it says (status 415)"),
            (429, BUSY),
            (500, SILENT),
            ("closed", SILENT),
        ],
    )
    @pytest.mark.parametrize("path", [CREATE, UPLOAD, ALIASES])
    def test_nothing_is_left_whatever_line_refuses(self, cloud, line, at_line, path, status, message):
        # A call on a connection that was used before is made once more.
        line.fail(path, status, times=2 if status == "closed" and path != CREATE else 1)

        assert cloud.call(save_menu, menu()) == refused(message)

        assert listed(cloud) == []
        settle(cloud)
        with clock.frozen(LATER):
            due_now(cloud)
            assert whole(cloud, at_line) == []
            assert cloud.rows("due") == []
            assert cloud.call(save_menu, menu()) == ok()
            settle(cloud)
            assert whole(cloud, at_line) == ["test"]

    @pytest.mark.parametrize("path", [CREATE, UPLOAD, ALIASES])
    @pytest.mark.parametrize("status", [500, "closed"])
    def test_nothing_is_left_of_what_line_did_without_saying_so(self, cloud, line, at_line, path, status):
        line.fail(path, status, times=1 if path == CREATE else 2, accept=True)

        saved = cloud.call(save_menu, menu()).status == 200

        assert [one["name"] for one in listed(cloud)] == (["test"] if saved else [])
        assert not (saved and path == CREATE)
        settle(cloud)
        with clock.frozen(LATER):
            due_now(cloud)
            assert whole(cloud, at_line) == (["test"] if saved else [])

    @pytest.mark.parametrize(
        ("path", "status", "accept"),
        [(CREATE, 400, False), (CREATE, 500, True), (UPLOAD, 400, False), (UPLOAD, 500, True), (ALIASES, 500, False)],
    )
    def test_the_same_menu_may_be_saved_again_at_once(self, cloud, line, at_line, path, status, accept):
        line.fail(path, status, accept=accept)
        assert cloud.call(save_menu, menu()).status == 400

        assert cloud.call(save_menu, menu()) == ok()
        settle(cloud)
        with clock.frozen(LATER):
            due_now(cloud)
            assert whole(cloud, at_line) == ["test"]

    @pytest.mark.parametrize("calls", range(1, 12))
    def test_nothing_is_left_wherever_the_function_is_killed(self, cloud, line, at_line, calls):
        with killed_after(calls), contextlib.suppress(Killed):
            cloud.call(save_menu, menu())

        with clock.frozen(LATER):
            due_now(cloud)
            settle(cloud)
            names = whole(cloud, at_line)
            assert names == [one["name"] for one in listed(cloud)]
            assert cloud.rows("due") == []
            assert at_line()["default"] == (FIRST if names else None)
            assert cloud.call(save_menu, menu()).status == (400 if names else 200)

    def test_the_next_save_takes_the_name_of_a_broken_one(self, cloud, line, at_line):
        with killed_after(4), pytest.raises(Killed):
            cloud.call(save_menu, menu())

        assert cloud.call(save_menu, menu()) == refused("name is the name of another menu of this channel")
        with clock.frozen(LATER):
            assert cloud.call(save_menu, menu()) == ok()
            settle(cloud)
            due_now(cloud)
            assert whole(cloud, at_line) == ["test"]


class Killed(BaseException):
    """The function is gone."""


@contextlib.contextmanager
def killed_after(calls):
    """Let the function end behind so many calls to AWS, without another word."""
    left = [calls]

    def count(call):
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    aws.observers.append(count)
    try:
        yield
    finally:
        aws.observers.remove(count)


class TestDeleting:
    @pytest.fixture
    def saved(self, cloud, line, account):
        assert cloud.call(save_menu, menu("first")) == ok()
        assert (
            cloud.call(save_menu, menu("second", use_datetime_trigger=True, end_time="2024-03-06T14:10:00.000Z"))
            == ok()
        )
        settle(cloud)

    def test_takes_a_menu_from_everywhere(self, cloud, line, at_line, saved):
        second = f"richmenu-{2:032x}"
        assert at_line()["default"] == second

        assert cloud.call(delete_menu, {**IDS, "richmenuId": second}) == ok()

        assert [one["name"] for one in listed(cloud)] == ["first"]
        settle(cloud)
        assert whole(cloud, at_line) == ["first"]
        assert at_line()["default"] == FIRST
        assert cloud.rows("due") == []
        assert cloud.call(delete_menu, {**IDS, "richmenuId": FIRST}) == ok()
        settle(cloud)
        assert whole(cloud, at_line) == []
        assert at_line()["default"] is None

    def test_a_menu_is_taken_from_its_users_before_it_goes(self, cloud, line, at_line, saved):
        def told(menu_id):
            """Delete a menu and return what LINE was told, without the ids of aliases."""
            cloud.call(delete_menu, {**IDS, "richmenuId": menu_id})
            before = len(line.calls)
            settle(cloud)
            calls = [(call.method, call.path.removeprefix("/v2/bot/")) for call in line.calls[before:]]
            return [(method, path.partition("alias")[0]) for method, path in calls if method != "GET"]

        second = f"richmenu-{2:032x}"
        assert told(second) == [
            ("POST", f"user/all/richmenu/{FIRST}"),
            ("DELETE", "richmenu/"),
            ("DELETE", f"richmenu/{second}"),
        ]
        assert told(FIRST) == [
            ("DELETE", "richmenu/"),
            ("DELETE", "user/all/richmenu"),
            ("DELETE", f"richmenu/{FIRST}"),
        ]

    def test_refuses_what_is_not_there(self, cloud, line, saved, refuses):
        cases = [
            ({**IDS, "richmenuId": f"richmenu-{9:032x}"}, "richmenuId not found"),
            ({**IDS, "richmenuId": "richmenu-1"}, "richmenuId has characters or a form that is not allowed here"),
            (IDS, "richmenuId is required"),
            ({**IDS, "accountId": "other", "richmenuId": FIRST}, "accountId not found"),
        ]
        refuses(delete_menu, cases)

    @pytest.mark.parametrize("status", [500, 429, "closed"])
    @pytest.mark.parametrize("path", ["/v2/bot/richmenu/alias*", "/v2/bot/richmenu/richmenu-*", "/v2/bot/user/all*"])
    @pytest.mark.parametrize("accept", [False, True])
    def test_is_tried_until_it_is_done(self, cloud, line, at_line, saved, path, status, accept):
        cloud.call(delete_menu, {**IDS, "richmenuId": FIRST})
        line.fail(path, status, times=2, accept=accept)
        (record,) = cloud.queued(MENUS)

        failures = 0
        while work(record):
            failures += 1

        # What was done before its answer got lost is found done, and needs no further try.
        assert (0 if accept else 1) <= failures <= 2
        assert whole(cloud, at_line) == ["second"]

    def test_what_goes_over_the_hours_limit_is_done_in_the_next(self, cloud, line, at_line, saved):
        for number in (1, 2):
            cloud.call(delete_menu, {**IDS, "richmenuId": f"richmenu-{number:032x}"})
        line.limit_rich_menus(1)
        for record in cloud.queued(MENUS):
            record["attributes"]["ApproximateReceiveCount"] = "4"
            assert work(record) == 0
        assert len(at_line()["menus"]) == 1

        line.limit_rich_menus(None)
        with clock.frozen(NOW + timedelta(minutes=61)):
            due_now(cloud)
        assert whole(cloud, at_line) == []

    @pytest.mark.parametrize("calls", range(1, 10))
    def test_nothing_is_left_wherever_the_function_is_killed(self, cloud, line, at_line, saved, calls):
        with killed_after(calls), contextlib.suppress(Killed):
            cloud.call(delete_menu, {**IDS, "richmenuId": FIRST})

        with clock.frozen(LATER):
            due_now(cloud)
            settle(cloud)
            names = whole(cloud, at_line)
            assert names == sorted(one["name"] for one in listed(cloud))
            assert names in (["first", "second"], ["second"])

    def test_a_menu_that_somebody_deleted_at_line_can_be_deleted(self, cloud, line, at_line, saved):
        RichMenus(Secret("fake-channel-token=")).delete(FIRST)

        assert cloud.call(delete_menu, {**IDS, "richmenuId": FIRST}) == ok()
        settle(cloud)
        assert whole(cloud, at_line) == ["second"]


def test_lists_more_than_a_page(cloud, account):
    definition = {"layout": "C", "chat_bar_text": "x", "area_opt": {}, "image_width": 800, "image_height": 540}
    definition |= {"tab_menu": [], "open_menu": False}
    rows = [
        MenuTable(
            account=PARTITION, menu_id=f"richmenu-{number:032x}", menu_name=str(number),
            definition=definition, segments=[], timed=False, picture="", image_type="image/png", created_at=NOW,
        )
        for number in range(150)
    ]  # fmt: skip
    write_all(map(Put, rows))

    first = cloud.call(get_menu, IDS).body["Result"]
    second = cloud.call(get_menu, {**IDS, "lastEvaluatedKey": first["lastEvaluatedKey"]}).body["Result"]
    assert [one["name"] for one in first["data"] + second["data"]] == [str(number) for number in range(150)]
    assert (len(first["data"]), list(second)) == (100, ["data"])


def test_the_worker_ignores_a_channel_that_is_gone(cloud, line):
    assert FUNCTIONS["apply_menus"](sample("apply_menus"), None) == {"batchItemFailures": []}
    assert line.calls == []
