"""Which menu each user sees, brought to LINE: windows, segments, many people, and whatever breaks."""

import base64
import functools
import io
from datetime import timedelta

import pytest
from PIL import Image

from chatbot import menu_links
from chatbot.conversation import Vault
from chatbot.erasures import ERASURES
from chatbot.menu_links import EVERYBODY
from chatbot.tables import ConversationTable, MemberTable, MenuLinkTable, MenuTable, OrderTable, PushTable, SegmentTable
from functions.chatbot.apply_menus import apply_menus
from kernel import clock, running, settings
from kernel.channels.line.rich_menus import RichMenus
from kernel.secrets import Secret
from kernel.tables import Delete, Put, commit, write_all
from local.line_http import fingerprint
from local.line_simulator import LineSimulator
from tests.functions.chatbot.examples import ACCOUNT_ID, ADMIN_ID, FUNCTIONS, IDS, NOW, PARTITION, sample

ANN, BOB, CAT, DAN = ("U" + letter * 32 for letter in "abcd")
LINK, UNLINK = "/v2/bot/richmenu/bulk/link", "/v2/bot/richmenu/bulk/unlink"
MINUTE = timedelta(minutes=1)


@functools.cache
def picture():
    data = io.BytesIO()
    Image.new("1", (800, 540)).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


class Channel:
    """A LINE channel with menus, segments and followers, and what there is of it at LINE."""

    def __init__(self, cloud, line, token):
        self.cloud = cloud
        self.line = line
        self.token = token

    def save(self, name, *segments, **more):
        """Save a menu and return its id; `start` and `end` are its window."""
        fields = {
            "name": name, "user_segment": list(segments), "layout": "C", "chat_bar_text": name,
            "image_type": "image/png",
            "area_opt": {letter: {"type": "text", "data": letter} for letter in "ABC"}, "image_b64": picture(),
            "image_width": 800, "image_height": 540, "use_datetime_trigger": bool(more), "start_time": None,
        }  # fmt: skip
        times = {f"{place}_time": at.isoformat().replace("+00:00", "Z") for place, at in more.items()}
        assert self.cloud.call(FUNCTIONS["save_menu"], {**IDS, **fields, **times}).status == 200
        return self.at_line["menus"][-1]["richMenuId"]

    def delete(self, menu_id):
        assert self.cloud.call(FUNCTIONS["delete_menu"], {**IDS, "richmenuId": menu_id}).status == 200

    def settle(self):
        """Let the worker take all that is queued; return how many messages that were, and how many came back."""
        messages = 0
        failed = []
        while records := self.cloud.queued(apply_menus.queue):
            messages += len(records)
            failed += apply_menus({"Records": records}, None)["batchItemFailures"]
        return messages, len(failed)

    def wake(self, reason="test"):
        menu_links.wake(ADMIN_ID, ACCOUNT_ID, reason)
        return self.settle()

    def due(self):
        """Let what is booked until now happen."""
        FUNCTIONS["start_due"]({}, None)
        return self.settle()

    @property
    def at_line(self):
        nothing = {"menus": [], "default": None, "links": {}, "aliases": {}}
        return self.line.rich_menus.get(fingerprint(self.token), nothing)

    @property
    def links(self):
        return self.at_line["links"]

    def noted(self):
        return {row["user_id"]: row["menu_id"] for row in self.cloud.rows("menu-links")}

    def told(self, *paths):
        """Return how many people each of the calls to link or unlink named."""
        return [len(call.json["userIds"]) for call in self.line.calls if call.path in (paths or (LINK, UNLINK))]


@pytest.fixture
def channel(cloud, account, monkeypatch):
    with LineSimulator() as line:
        monkeypatch.setenv("LINE_API_ENDPOINT", line.url)
        monkeypatch.setenv("LINE_DATA_API_ENDPOINT", line.url)
        settings.settings.cache_clear()
        yield Channel(cloud, line, account.fields["accountToken"])


def segment(segment_id, *user_ids, mode="Custom", conditions=(), order_id="", default=False):
    row = SegmentTable(
        account=PARTITION, segment_id=segment_id, segment_name=segment_id, mode=mode, conditions=list(conditions),
        order_id=order_id, is_default=default, scenario_id="", members=len(user_ids),
    )  # fmt: skip
    write_all([Put(row), *(Put(member(segment_id, user_id)) for user_id in user_ids)])


def member(segment_id, user_id):
    return MemberTable(segment=f"{PARTITION}#{segment_id}", user_id=user_id, shown={}, verified=False)


def follow(*user_ids, status="1", **state):
    rows = [
        ConversationTable(
            account=PARTITION, user_id=user_id, state=state, status=status, status_at=NOW, follow_time=NOW,
            access_time=NOW, user_name="", user_picture="",
        )
        for user_id in user_ids
    ]  # fmt: skip
    write_all(map(Put, rows))


def user(number):
    return f"U{number:032x}"


def test_the_sample_is_a_run_over_the_channel(channel):
    menu = channel.save("all", EVERYBODY)
    channel.cloud.queued(apply_menus.queue)

    assert apply_menus(sample("apply_menus"), None) == {"batchItemFailures": []}
    assert channel.at_line["default"] == menu


class TestSegments:
    def test_everybody_sees_the_default_and_members_their_own(self, channel):
        follow(ANN, BOB, CAT)
        segment("vip", ANN, BOB)
        everyone, vip = channel.save("all", EVERYBODY), channel.save("vip", "vip")

        assert channel.settle() == (2, 0)
        assert channel.at_line["default"] == everyone
        assert channel.links == {ANN: vip, BOB: vip}
        assert channel.noted() == channel.links

    def test_who_is_in_several_segments_sees_the_newest(self, channel):
        follow(ANN, BOB, CAT)
        segment("one", ANN)
        segment("two", ANN, BOB, CAT)
        segment("three", CAT)
        first, second = channel.save("first", "one", "two"), channel.save("second", "three")
        with clock.frozen(NOW + MINUTE):
            third = channel.save("third", "one")
            fourth = channel.save("fourth", "two")
        with clock.frozen(NOW + 2 * MINUTE):
            fifth = channel.save("fifth", "one")
        channel.settle()
        assert channel.links == {ANN: fifth, BOB: fourth, CAT: fourth}

        for menu_id in (fourth, fifth):
            channel.delete(menu_id)
        channel.settle()
        assert channel.links == {ANN: third, BOB: first, CAT: max(first, second)}

    def test_who_leaves_a_segment_sees_the_default_again(self, channel):
        follow(ANN, BOB)
        segment("vip", ANN, BOB)
        vip = channel.save("vip", "vip")
        channel.settle()

        commit(Delete(MemberTable, member("vip", ANN).own_key()), menu_links.soon(ADMIN_ID, ACCOUNT_ID))
        commit(menu_links.soon(ADMIN_ID, ACCOUNT_ID))
        with clock.frozen(NOW + MINUTE):
            assert channel.due() == (1, 0)

        assert channel.links == {BOB: vip}
        assert channel.noted() == {BOB: vip}

    def test_when_segment_or_menu_go_so_do_the_links(self, channel):
        follow(ANN, BOB)
        segment("one", ANN)
        segment("two", BOB)
        channel.save("one", "one")
        second = channel.save("two", "two")
        channel.settle()

        commit(Delete(SegmentTable, SegmentTable.key(PARTITION, "one")))
        channel.delete(second)
        channel.settle()

        assert (channel.links, channel.noted()) == ({}, {})
        assert [menu["chatBarText"] for menu in channel.at_line["menus"]] == ["one"]

    def test_segments_of_all_modes_have_people(self, channel):
        with running.Running("answer_event"):
            sealed = Vault(ADMIN_ID, ACCOUNT_ID, CAT).seal("city", "Taipei")
        follow(ANN, BOB, DAN)
        follow(CAT, variables={"city": {"sealed": sealed}})
        commit(Put(OrderTable(
            account=PARTITION, place="o1#penglue", order_id="o1", source="penglue", user_id=ANN, product_id="",
            label="", cv_date="", node_id="", scenario_id="",
        )))  # fmt: skip
        commit(Put(PushTable(account=PARTITION, user_id=BOB, pushed_at=NOW)))
        pushed = {"source": "serverpushtime", "expression": "has_value", "value": "", "range": {}}
        city = {
            "source": "uservariable",
            "expression": "exactly_match",
            "value": "Taipei",
            "uservariable": {"name": "city"},
        }
        segment("bought", mode="CVKey", order_id="o1")
        segment("pushed", mode="Conditions", conditions=[pushed])
        segment("city", mode="Conditions", conditions=[{**city, "range": {}}])

        menus = {name: channel.save(name, name) for name in ("bought", "pushed", "city")}
        channel.settle()

        assert channel.links == {ANN: menus["bought"], BOB: menus["pushed"], CAT: menus["city"]}

    def test_a_default_of_others_stays_when_there_is_none_of_ours(self, channel):
        other = channel.save("other", EVERYBODY)
        channel.settle()
        for row in channel.cloud.rows("menus"):
            commit(Delete(MenuTable, MenuTable.key(PARTITION, row["menu_id"])))

        channel.wake()
        assert channel.at_line["default"] == other

    def test_whom_conditions_choose_anew_gets_the_menu_the_next_night(self, channel):
        follow(ANN)
        segment("vip")
        vip = channel.save("vip", "vip")
        channel.settle()
        assert channel.links == {}
        segment("vip", ANN)

        with clock.frozen(NOW.replace(hour=19, minute=0, second=0, microsecond=0) + timedelta(days=1)):
            channel.due()

        assert channel.links == {ANN: vip}


class TestErased:
    def erase(self, channel):
        assert channel.cloud.call(FUNCTIONS["delete_user_data"], IDS).status == 200
        while records := channel.cloud.queued(ERASURES):
            assert FUNCTIONS["erase_user_data"]({"Records": records}, None) == {"batchItemFailures": []}

    def test_who_was_erased_loses_his_menu_at_line_and_his_row(self, channel):
        follow(ANN, BOB, CAT)
        segment("vip", ANN, BOB, CAT)
        channel.save("vip", "vip")
        channel.settle()
        # He left before, so what he sees is not known; nor does anybody look at the members of a segment that is there.
        follow(CAT, status="0")
        channel.wake("left")
        self.erase(channel)
        segment("vip", BOB)

        with clock.frozen(NOW + MINUTE):
            assert channel.due() == (1, 0)

        assert (channel.links, channel.noted()) == ({}, {})

    def test_who_follows_again_by_then_has_what_he_should(self, channel):
        follow(ANN, BOB)
        segment("vip", ANN, BOB)
        vip = channel.save("vip", "vip")
        channel.settle()
        self.erase(channel)
        follow(ANN)
        segment("vip", ANN)

        with clock.frozen(NOW + MINUTE):
            channel.due()

        assert channel.links == channel.noted() == {ANN: vip}


class TestWindows:
    def test_a_window_shows_its_menu_from_start_to_end(self, channel):
        follow(ANN, BOB)
        segment("vip", ANN)
        usual, vip = channel.save("usual", EVERYBODY), channel.save("vip", "vip")
        timed = channel.save("timed", EVERYBODY, start=NOW + 10 * MINUTE, end=NOW + 20 * MINUTE)
        channel.settle()

        seen = []
        for minutes in (0, 9, 10, 19, 20):
            with clock.frozen(NOW + minutes * MINUTE):
                channel.due()
            seen.append((channel.at_line["default"], channel.links))
        before, inside = (usual, {ANN: vip}), (timed, {})
        assert seen == [before, before, inside, inside, before]
        assert [row for row in channel.cloud.rows("due") if not row["place"].endswith("#nightly")] == []

    def test_without_a_start_it_shows_at_once(self, channel):
        follow(ANN)
        segment("vip", ANN)
        vip = channel.save("vip", "vip", end=NOW + MINUTE)
        channel.settle()
        assert channel.links == {ANN: vip}

        with clock.frozen(NOW + MINUTE):
            channel.due()
        assert channel.links == {}

    def test_a_window_that_is_over_shows_nothing(self, channel):
        channel.save("late", EVERYBODY, end=NOW - MINUTE)

        assert channel.settle() == (1, 0)
        assert channel.at_line["default"] is None
        assert [row for row in channel.cloud.rows("due") if not row["place"].endswith("#nightly")] == []

    def test_the_default_goes_with_its_window(self, channel):
        timed = channel.save("timed", EVERYBODY, end=NOW + MINUTE)
        channel.settle()
        assert channel.at_line["default"] == timed

        with clock.frozen(NOW + MINUTE):
            channel.due()
        assert channel.at_line["default"] is None


class TestFollowers:
    def test_who_does_not_follow_is_linked_when_he_is_back(self, channel):
        follow(ANN)
        follow(BOB, status="0")
        segment("vip", ANN, BOB, CAT)
        vip = channel.save("vip", "vip")
        channel.settle()
        assert channel.links == {ANN: vip}

        follow(BOB)
        channel.wake()
        assert channel.links == {ANN: vip, BOB: vip}

    def test_what_changes_while_he_is_away_is_made_good(self, channel):
        follow(ANN)
        segment("vip", ANN)
        vip = channel.save("vip", "vip", end=NOW + MINUTE)
        channel.settle()
        follow(ANN, status="0")
        channel.line.set_person(ANN, blocked=True)

        with clock.frozen(NOW + MINUTE):
            channel.due()
            assert channel.links == {ANN: vip}
            follow(ANN)
            channel.line.set_person(ANN, blocked=False)
            channel.wake()
        assert (channel.links, channel.noted()) == ({}, {})

    def test_who_was_away_is_linked_again_should_line_have_forgotten_him(self, channel):
        follow(ANN)
        segment("vip", ANN)
        vip = channel.save("vip", "vip")
        channel.settle()
        follow(ANN, status="0")
        channel.wake("left")
        RichMenus(Secret(channel.token)).unlink_one(ANN)

        follow(ANN)
        channel.wake("back")
        assert channel.links == {ANN: vip} == channel.noted()

    def test_ids_that_line_does_not_know_spoil_nothing(self, channel):
        follow(ANN, "somebody", "Uabc")
        segment("vip", ANN, "somebody", "Uabc")
        vip = channel.save("vip", "vip")

        assert channel.settle() == (1, 0)
        assert channel.links == {ANN: vip}


class TestMany:
    def test_calls_name_at_most_500_and_a_second_run_names_nobody(self, channel):
        people = [user(number) for number in range(1100)]
        follow(*people)
        segment("vip", *people)
        vip = channel.save("vip", "vip")
        channel.settle()

        assert channel.told() == [500, 500, 100]
        assert channel.links == dict.fromkeys(people, vip) == channel.noted()
        channel.wake()
        assert channel.told() == [500, 500, 100]
        channel.delete(vip)
        channel.settle()
        assert channel.told() == [500, 500, 100, 500, 500, 100]
        assert (channel.links, channel.noted()) == ({}, {})

    @pytest.mark.parametrize("people", [1, 2, 3, 7, 100])
    def test_a_run_goes_on_in_the_next_message_and_misses_nobody(self, channel, monkeypatch, people):
        monkeypatch.setattr(menu_links, "PEOPLE_A_MESSAGE", people)
        follow(*map(user, range(12)))
        segment("one", *map(user, range(0, 12, 2)))
        segment("two", *map(user, range(0, 12, 3)))
        segment("old", *map(user, (5, 7, 11)))
        old = channel.save("old", "old")
        channel.settle()
        with clock.frozen(NOW + MINUTE):
            one = channel.save("one", "one")
            channel.delete(old)
        with clock.frozen(NOW + 2 * MINUTE):
            two = channel.save("two", "two")
        messages, failed = channel.settle()

        wanted = {user(number): one for number in range(0, 12, 2)} | {user(number): two for number in range(0, 12, 3)}
        assert channel.links == wanted == channel.noted()
        assert failed == 0
        assert messages == 3 if people == 100 else messages > 3
        assert [menu["richMenuId"] for menu in channel.at_line["menus"]] == [one, two]

    def test_few_rows_a_message_are_enough(self, channel, monkeypatch):
        monkeypatch.setattr(menu_links, "_ROWS_A_MESSAGE", 2)
        monkeypatch.setattr(menu_links, "_LEAST_ROWS", 2)
        follow(*map(user, range(9)))
        commit(Put(PushTable(account=PARTITION, user_id=user(8), pushed_at=NOW)))
        pushed = {"source": "serverpushtime", "expression": "has_value", "value": "", "range": {}}
        segment("pushed", mode="Conditions", conditions=[pushed])
        menu = channel.save("pushed", "pushed")

        messages, _ = channel.settle()
        assert messages > 3
        assert channel.links == {user(8): menu}


class TestFailures:
    @pytest.mark.parametrize("path", ["/v2/bot/user/all/richmenu", "/v2/bot/user/all/richmenu/*", LINK])
    @pytest.mark.parametrize("status", [500, 429, 401, "closed"])
    @pytest.mark.parametrize("accept", [False, True])
    def test_the_message_comes_again_until_line_takes_it(self, channel, path, status, accept):
        follow(ANN, BOB)
        segment("vip", ANN)
        everyone, vip = channel.save("all", EVERYBODY), channel.save("vip", "vip")
        (record, _) = channel.cloud.queued(apply_menus.queue)
        channel.line.fail(path, status, times=2, accept=accept)

        failures = 0
        while apply_menus({"Records": [record]}, None)["batchItemFailures"]:
            failures += 1

        # What was done before its answer got lost is found done, and a call may be made twice at once.
        assert (0 if accept else 1) <= failures <= 2
        assert (channel.at_line["default"], channel.links) == (everyone, {ANN: vip})
        assert channel.noted() == {ANN: vip}

    def test_a_menu_that_line_lost_keeps_nobody_from_his(self, channel, caplog):
        follow(ANN, BOB)
        segment("one", ANN)
        segment("two", BOB)
        lost, kept, everyone = channel.save("one", "one"), channel.save("two", "two"), channel.save("all", EVERYBODY)
        for menu_id in (lost, everyone):
            RichMenus(Secret(channel.token)).delete(menu_id)

        assert channel.settle() == (3, 0)
        assert (channel.at_line["default"], channel.links) == (None, {BOB: kept})
        assert channel.noted() == {BOB: kept}

    def test_the_wait_that_line_asks_for_is_kept(self, channel, monkeypatch):
        asked = []
        monkeypatch.setattr(type(apply_menus.queue), "return_in", lambda self, receipt, seconds: asked.append(seconds))
        channel.save("all", EVERYBODY)
        channel.line.fail("/v2/bot/user/all/richmenu*", 429, retry_after=900)

        assert channel.settle() == (1, 1)
        assert asked == [900]

    def test_a_run_after_a_crash_between_line_and_its_note_says_the_same_again(self, channel):
        follow(ANN)
        segment("vip", ANN)
        vip = channel.save("vip", "vip")
        channel.settle()
        commit(Delete(MenuLinkTable, MenuLinkTable.key(PARTITION, ANN)))

        channel.wake()
        assert channel.links == {ANN: vip} == channel.noted()

    def test_removals_wait_for_the_next_hour(self, channel):
        first = channel.save("all", EVERYBODY)
        channel.settle()
        channel.line.limit_rich_menus(0)
        channel.delete(first)
        (record,) = channel.cloud.queued(apply_menus.queue)
        record["attributes"]["ApproximateReceiveCount"] = "4"

        assert apply_menus({"Records": [record]}, None) == {"batchItemFailures": []}
        channel.line.limit_rich_menus(None)
        with clock.frozen(NOW + timedelta(hours=1)):
            channel.due()
        assert channel.at_line["menus"] == []


def test_equal_reasons_within_a_minute_are_one_run(channel):
    for reason in ("one", "one", "two"):
        menu_links.wake(ADMIN_ID, ACCOUNT_ID, reason)
    with clock.frozen(NOW + MINUTE):
        menu_links.wake(ADMIN_ID, ACCOUNT_ID, "one")

    assert len(channel.cloud.queued(apply_menus.queue)) == 3
