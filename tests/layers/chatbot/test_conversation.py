"""Events from LINE's webhook to LINE's API: nothing lost, nothing twice, in order, whatever breaks on the way."""

import json
import logging
import zlib
from datetime import timedelta
from itertools import count, permutations

import pytest

from chatbot.tables import AccountTable
from kernel import aws, clock, queues, running, secrets, settings, wire
from kernel.channels.line.validation import flaws_of_messages
from kernel.tables import Delete, commit
from local import line_webhook
from tests.chats import ANN, BOB, CAT, FUNCTIONS, IDS, PARTITION, PUSH, QUEUE, REPLY, START, shown, talking, work
from tests.scenarios import (
    NOW,
    RED,
    about_variable,
    box,
    bubble,
    button,
    condition_node,
    flex_node,
    imagemap_node,
    node,
    picture_node,
    say_action,
    sticker_node,
    tap,
    text_node,
    to_node,
    user_reply,
    words,
)


@pytest.fixture
def chat(cloud, monkeypatch):
    with talking(cloud, monkeypatch) as made:
        yield made


@pytest.fixture
def facts(capsys):
    """Returns what the worker's lines reported since the last call."""

    def read():
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("operation") == "answer_event"]

    read()
    return read


@pytest.fixture
def log():
    """The warnings and errors for people, as (message, what it is about)."""
    lines = []

    class Listening(logging.Handler):
        def emit(self, record):
            lines.append(record)

    handler = Listening()
    logger = logging.getLogger("chatbot")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def numbered(number, last=""):
    """Returns that many text nodes m1, m2 … each leading to the next."""
    return [
        text_node(f"m{place}", next=f"m{place + 1}" if place < number else last, sort=place)
        for place in range(1, number + 1)
    ]


SEVEN = [f"m{place}" for place in range(1, 8)]


class TestFollowing:
    def test_a_follower_is_listed_counted_and_greeted(self, chat):
        chat.line.set_person(ANN, display_name="Ann")
        chat.save("w", text_node("welcome", nodeTag=[{"name": "new", "color": RED}]), trigger="follow")
        event = chat.follow(ANN)

        assert chat.send(event) == 0

        assert chat.users() == [(ANN, "Ann", "1", shown(event))]
        assert chat.followers() == 1
        assert chat.heard(ANN) == ["welcome"]
        (row,) = chat.cloud.rows("userlist")
        assert row == {
            "adm_acc_id": PARTITION,
            "usrid_acstm": f"#{ANN}#{shown(event)}",
            "user_id": ANN,
            "user_name": "Ann",
            "user_picture": f"https://profile.example.com/{ANN}",
            "account_type": "line",
            "account_status": "1",
            "node_id": "welcome",
            "tags": '[{"name": "new", "color": "red-filter"}]',
            "follow_time": shown(event).replace(" ", "T") + "Z",
            "access_time": shown(event).replace(" ", "T") + "Z",
            "created_at": "2024-01-28T06:41:29.006Z",
        }

    def test_a_name_that_line_did_not_tell_is_asked_for_after_a_while(self, chat):
        chat.line.fail(f"/v2/bot/profile/{ANN}", 500, times=1)
        follow = chat.follow(ANN)

        chat.send(follow)
        chat.send(chat.text(ANN, "hi", at=START + 60_000))
        assert chat.users() == [(ANN, "", "1", shown(follow))]
        chat.send(chat.text(ANN, "hi", at=START + 60_000 + 11 * 60_000))
        assert chat.users() == [(ANN, f"Person {'a' * 6}", "1", shown(follow))]

    def test_who_leaves_stays_listed_as_inactive(self, chat):
        follow = chat.follow(ANN)
        chat.send(follow, chat.unfollow(ANN))

        assert chat.users() == [(ANN, f"Person {'a' * 6}", "0", shown(follow))]
        assert chat.followers() == 0

    def test_a_new_follow_moves_the_row_to_its_time(self, chat):
        chat.send(chat.follow(ANN), chat.unfollow(ANN))
        with clock.frozen(NOW + timedelta(minutes=1)):
            again = chat.follow(ANN, at=START + 60_000)
            chat.send(again)

        assert chat.users() == [(ANN, f"Person {'a' * 6}", "1", shown(again))]
        assert chat.followers() == 1
        (row,) = chat.cloud.rows("userlist")
        assert row["usrid_acstm"] == f"#{ANN}#{shown(again)}"
        assert row["created_at"] == "2024-01-28T06:41:29.006Z"

    def test_events_out_of_order_leave_the_last_word(self, chat):
        last = {}
        for number, order in enumerate(permutations(range(3))):
            stays, leaves = f"U{number:032x}", f"Ua{number:031x}"
            staying = [chat.follow(stays), chat.unfollow(stays), chat.follow(stays)]
            leaving = [chat.unfollow(leaves), chat.follow(leaves), chat.unfollow(leaves)]
            last[stays], last[leaves] = (staying[2], "1"), (leaving[2], "0")
            chat.send(*(events[place] for place in order for events in (staying, leaving)))

        listed = {user: (status, time) for user, _, status, time in chat.users()}
        assert {user: status for user, (status, _) in listed.items()} == {
            user: word for user, (_, word) in last.items()
        }
        for user, (event, status) in last.items():
            assert status == "0" or listed[user] == (status, shown(event))
        assert chat.followers() == 6

    def test_a_late_unfollow_leaves_the_flow_alone(self, chat):
        chat.save(
            "s", text_node("ask", next="thanks", userAction=user_reply("x")), text_node("thanks"), keywords=["go"]
        )
        late = chat.unfollow(ANN)
        chat.send(chat.follow(ANN), chat.text(ANN, "go"))

        assert chat.send(late) == 0
        assert chat.say(ANN, "answer") == ["thanks"]

    def test_leaving_ends_the_flow_and_following_starts_anew(self, chat):
        chat.save(
            "s", text_node("ask", next="thanks", userAction=user_reply("x")), text_node("thanks"), keywords=["go"]
        )
        chat.send(chat.text(ANN, "go"), chat.unfollow(ANN))
        assert chat.state(ANN)["waiting"] is None

        assert chat.say(ANN, "answer") == []
        assert chat.state(ANN)["variables"] == {}

    def test_an_old_friend_is_counted_when_he_first_writes(self, chat):
        first = chat.text(ANN, "hello")
        chat.send(first, chat.text(ANN, "hello again"))

        assert chat.users() == [(ANN, f"Person {'a' * 6}", "1", shown(first))]
        assert chat.followers() == 1

    def test_leaving_twice_counts_once(self, chat):
        chat.send(chat.follow(ANN), chat.follow(BOB), chat.unfollow(ANN), chat.unfollow(ANN), chat.unfollow(CAT))

        assert sorted((user, status) for user, _, status, _ in chat.users()) == [(ANN, "0"), (BOB, "1"), (CAT, "0")]
        assert chat.followers() == 1

    def test_the_last_activity_never_goes_back(self, chat):
        late, early = chat.text(ANN, "one"), chat.text(ANN, "two")
        late["timestamp"], early["timestamp"] = early["timestamp"], late["timestamp"]
        chat.send(late, early)

        (row,) = chat.cloud.rows("userlist")
        assert row["access_time"] == shown(late).replace(" ", "T") + "Z"


def from_source(**source):
    return lambda event: {**event, "source": source}


def changed(**members):
    return lambda event: {**event, **members}


IGNORED = {
    "a group": from_source(type="group", groupId="C" + "d" * 32, userId=ANN),
    "a room": from_source(type="room", roomId="R" + "d" * 32),
    "nobody": from_source(type="user"),
    "no source": lambda event: {name: value for name, value in event.items() if name != "source"},
    "a source of another shape": changed(source="user"),
    "a user id that would break a key": from_source(type="user", userId="U#1"),
    "standby": changed(mode="standby"),
    "an unknown type": changed(type="somethingNew", somethingNew={"x": 1}),
    "an edited message": changed(type="messageEdited"),
    "a type of another shape": changed(type=["message"]),
    "no type": changed(type=None),
    "a join": changed(type="join"),
    "a read": changed(type="accountLink", link={"result": "ok", "nonce": "n"}),
    "a postback of another shape": changed(type="postback", postback="x"),
    "a change of a rich menu's tab": changed(
        type="postback", postback={"data": "menu", "params": {"newRichMenuAliasId": "b", "status": "SUCCESS"}}
    ),
}


class TestOtherEvents:
    def test_are_ignored_without_error(self, chat):
        chat.save("k", text_node("menu"), keywords=["menu"])
        before = chat.cloud.everything()
        unsend = line_webhook.unsend_event(ANN, "1", **chat.common(ANN))
        for event in (unsend, *(change(chat.text(ANN, "menu")) for change in IGNORED.values())):
            assert chat.queue(event) == []

        assert chat.cloud.everything() == before
        assert chat.line.calls == []

    def test_a_batch_of_all_kinds_is_worked_through(self, chat):
        chat.save("k", text_node("menu"), keywords=["menu"])
        strange = [change(chat.text(ANN, "menu")) for change in IGNORED.values()]

        assert chat.send(*strange, chat.text(ANN, "menu"), *strange[:3], chat.text(BOB, "menu")) == 0
        assert chat.heard(ANN) == chat.heard(BOB) == ["menu"]

    def test_what_is_no_text_starts_the_error_scenario(self, chat):
        chat.save("e", text_node("sorry"), trigger="error")
        kinds = ("sticker", "image", "video", "audio", "file", "location", "somethingNew")

        assert chat.send(*(chat.media(ANN, kind) for kind in kinds)) == 0
        assert chat.heard(ANN) == ["sorry"] * len(kinds)

    def test_a_postback_says_its_data(self, chat):
        chat.save("k", text_node("menu"), keywords=["menu"])

        assert chat.send(chat.postback(ANN, "menu")) == 0
        assert chat.heard(ANN) == ["menu"]

    def test_a_postback_says_the_time_that_was_picked(self, chat):
        ask = text_node("ask", next="got", userAction=user_reply("x"))
        chat.save("s", ask, text_node("got", "got {{x}}"), keywords=["go"])
        for params, said in (
            ({"datetime": "2024-01-28T10:00"}, "2024-01-28T10:00"),
            ({"date": "2024-01-28"}, "2024-01-28"),
            ({"time": "10:00"}, "10:00"),
            (None, "when"),
        ):
            chat.say(ANN, "go")
            assert chat.send(chat.postback(ANN, "when", params)) == 0
            assert chat.heard(ANN)[-2:] == ["ask", f"got {said}"]

    def test_a_picked_time_is_still_a_tap_of_its_button(self, chat):
        chat.save("there", text_node("z", "got {{when}}"))
        chat.save("s", flex_node("f", flex_config=[tap("when", "there", userVars=["when"])]), keywords=["go"])
        chat.say(ANN, "go")

        assert chat.send(chat.postback(ANN, "when", {"date": "2024-01-28"})) == 0
        assert chat.heard(ANN) == ["pick", "got 2024-01-28"]

    def test_a_strange_time_is_now(self, chat):
        chat.save("k", text_node("menu"), keywords=["menu"])
        strange = (None, "1706424079006", -1, 0, 1 << 60, [])
        chat.send(*(changed(timestamp=time)(chat.text(ANN, "menu")) for time in strange))

        assert chat.heard(ANN) == ["menu"] * len(strange)
        (row,) = chat.cloud.rows("userlist")
        assert row["access_time"] == "2024-01-28T06:41:29.006Z"

    def test_events_of_a_channel_that_is_gone_are_ignored(self, chat, facts):
        records = chat.queue(chat.text(ANN, "menu"))
        commit(Delete(AccountTable, AccountTable.key(*IDS.values())))
        before = chat.cloud.everything()

        assert work(records) == []
        assert chat.cloud.everything() == before
        assert [line["ignored"] for line in facts()] == ["the channel is gone"]


class TestRedelivery:
    @pytest.fixture(autouse=True)
    def scenario(self, chat):
        chat.save("k", text_node("menu", nodeTag=[{"name": "t", "color": RED}]), keywords=["menu"])

    def fresh_queue(self, chat):
        """Makes the queue forget what it saw, as SQS does after five minutes."""
        sqs = chat.cloud.client("sqs")
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=QUEUE.physical_name())["QueueUrl"])
        sqs.create_queue(QueueName=QUEUE.physical_name(), Attributes={"FifoQueue": "true"})
        queues._url.cache_clear()

    def again(self, event):
        return {**event, "deliveryContext": {"isRedelivery": True}}

    def test_within_minutes_the_queue_takes_it_once(self, chat):
        event = chat.text(ANN, "menu")

        chat.post(event, event)
        assert len(chat.queue(self.again(event))) == 1

    def test_later_the_worker_knows_it(self, chat, facts):
        event = chat.text(ANN, "menu")
        chat.send(event)
        before = chat.cloud.everything()
        chat.line.reset()
        for later in (timedelta(minutes=6), timedelta(hours=5), timedelta(days=6)):
            self.fresh_queue(chat)
            facts()
            with clock.frozen(NOW + later):
                assert chat.send(self.again(event)) == 0
            assert [line["ignored"] for line in facts()] == ["repeated"]

        assert chat.cloud.everything() == before
        assert chat.line.calls == []

    def test_a_follow_that_comes_again_counts_once(self, chat):
        event = chat.follow(ANN)
        chat.send(event)
        chat.send(chat.unfollow(ANN))
        self.fresh_queue(chat)
        chat.send(self.again(event))

        assert chat.followers() == 0

    def test_a_message_that_the_queue_hands_out_twice_is_answered_once(self, chat):
        records = chat.queue(chat.text(ANN, "menu"), chat.follow(BOB))

        assert work(records) == work(records) == work([*records, *records]) == []
        assert chat.heard(ANN) == ["menu"]
        assert chat.followers() == 2

    def test_an_event_that_led_to_nothing_is_remembered_as_well(self, chat, facts):
        records = chat.queue(chat.text(ANN, "nothing"))
        work(records)
        chat.save("late", text_node("late"), keywords=["nothing"])
        facts()

        assert work(records) == []
        assert chat.heard(ANN) == []
        assert [line["ignored"] for line in facts()] == ["repeated"]

    def test_events_without_id_are_told_apart_by_what_they_hold(self, chat):
        events = [chat.text(ANN, "menu"), chat.text(ANN, "menu")]
        for event in events:
            del event["webhookEventId"]
        records = chat.queue(*events, events[0])

        assert len(records) == 2
        assert work(records) == work(records) == []
        assert chat.heard(ANN) == ["menu", "menu"]

    def test_the_same_id_in_another_channel_is_another_event(self, chat):
        (record,) = chat.queue(chat.text(ANN, "menu"))
        elsewhere = {**record, "body": record["body"].replace('"channel"', '"other"')}

        assert work([elsewhere]) == []
        assert work([record]) == []
        assert chat.heard(ANN) == ["menu"]


class TestSending:
    @pytest.fixture(autouse=True)
    def scenarios(self, chat):
        chat.save("k", text_node("menu"), keywords=["menu"])
        chat.save("s", *numbered(7), keywords=["seven"])
        chat.save("t", *numbered(12), keywords=["twelve"])
        chat.send(chat.follow(ANN))
        self.before = len(chat.line.calls)

    def calls(self, chat):
        return [(call.path, call.status) for call in chat.line.calls[self.before :]]

    def test_five_messages_are_the_reply_and_the_rest_is_pushed(self, chat):
        assert chat.say(ANN, "seven") == SEVEN

        reply, push = chat.line.calls[self.before :]
        assert (reply.path, reply.retry_key) == (REPLY, None)
        assert reply.json["replyToken"] == "token-2"
        assert [words(message) for message in reply.json["messages"]] == SEVEN[:5]
        assert push.path == PUSH
        assert push.json["to"] == ANN
        assert [words(message) for message in push.json["messages"]] == SEVEN[5:]
        assert push.retry_key is not None

    def test_every_push_has_its_own_retry_key(self, chat):
        assert len(chat.say(ANN, "twelve")) == 12

        keys = [call.retry_key for call in chat.line.calls[self.before :]]
        assert keys[0] is None
        assert len(set(keys[1:])) == 2

    def test_a_used_or_expired_token_falls_back_to_a_push(self, chat):
        event = chat.text(ANN, "seven")
        chat.line.expire_reply_tokens(event["replyToken"])

        assert chat.send(event) == 0
        assert chat.heard(ANN) == SEVEN
        assert self.calls(chat) == [(REPLY, 400), (PUSH, 200), (PUSH, 200)]

    def test_an_event_without_token_is_answered_by_push(self, chat):
        event = chat.text(ANN, "menu")
        del event["replyToken"]

        assert chat.send(event) == 0
        assert self.calls(chat) == [(PUSH, 200)]

    @pytest.mark.parametrize("fresh", [False, True])
    def test_a_reply_whose_answer_is_an_error_is_sent_once(self, chat, fresh):
        failures = [(status, accept) for status in (500, 503, "closed") for accept in (False, True)]
        for status, accept in failures:
            if fresh:
                self.disconnect()
            chat.line.fail(REPLY, status, accept=accept)
            assert chat.say(ANN, "menu") == ["menu"]

        assert {path for path, _ in self.calls(chat)} == {REPLY}

    def disconnect(self):
        for connection in wire._kept.__dict__.pop("open").values():
            connection.close()

    def test_a_reply_that_line_does_not_take_comes_again(self, chat):
        for status in (500, "closed"):
            chat.line.fail(REPLY, status, times=6)
            records = chat.queue(chat.text(ANN, "seven"))
            heard = chat.heard(ANN)

            assert work(records) == [records[0]["messageId"]]
            assert chat.heard(ANN) == heard
            while work(records):
                pass
            assert chat.heard(ANN) == heard + SEVEN

    def test_when_the_token_is_too_old_by_then_it_is_pushed(self, chat):
        event = chat.text(ANN, "seven")
        chat.line.fail(REPLY, 500, times=3)
        records = chat.queue(event)
        assert work(records) == [records[0]["messageId"]]
        chat.line.expire_reply_tokens(event["replyToken"])
        chat.line.fail(REPLY, 500)

        with clock.frozen(NOW + timedelta(minutes=3)):
            assert work(records) == []
        assert chat.heard(ANN) == SEVEN

    def test_a_reply_that_line_refuses_for_now_comes_again(self, chat):
        for status in (401, 403, 429):
            chat.line.fail(REPLY, status)
            records = chat.queue(chat.text(ANN, "menu"))

            assert work(records) == [records[0]["messageId"]]
            assert self.calls(chat)[-1] == (REPLY, status)
            assert work(records, attempt=2) == []
        assert chat.heard(ANN) == ["menu"] * 3

    def test_a_push_that_fails_is_repeated_with_its_key_and_the_reply_is_not(self, chat, facts):
        for status in (500, 429, "closed"):
            for accept in (False, True):
                self.disconnect()
                chat.line.fail(PUSH, status, accept=accept)
                records = chat.queue(chat.text(ANN, "seven"))
                while work(records):
                    pass

                pushes = chat.calls(PUSH)[-2:]
                assert [push.status for push in pushes] == [status, 409 if accept else 200]
                assert len({(push.retry_key, push.body) for push in pushes}) == 1
        assert chat.heard(ANN) == SEVEN * 6
        assert not any("undelivered" in line for line in facts())
        assert len(chat.calls(REPLY)) == 6

    def test_the_monthly_limit_does_not_hold_up_the_conversation(self, chat, facts, log):
        chat.line.fail(PUSH, 429, times=3, message="You have reached your monthly limit.")
        records = chat.queue(chat.text(ANN, "seven"))

        assert work(records, attempt=1) == work(records, attempt=2) == [records[0]["messageId"]]
        facts()
        assert work(records, attempt=3) == []
        assert chat.heard(ANN) == SEVEN[:5]
        assert [line["undelivered"] for line in facts()] == [429]
        assert log[-1].msg == "the channel does not take the messages of a turn"
        assert work(records, attempt=4) == []
        assert chat.say(ANN, "menu") == ["menu"]

    def test_a_push_that_is_refused_for_good_does_not_come_again(self, chat, facts, log):
        event = chat.text(ANN, "seven")
        chat.line.expire_reply_tokens(event["replyToken"])
        chat.line.set_person(ANN, unknown=True)
        facts()

        assert chat.send(event) == 0
        assert chat.heard(ANN) == []
        assert self.calls(chat) == [(REPLY, 400), (PUSH, 400)]
        assert [line["undelivered"] for line in facts()] == [400]
        assert [(record.levelname, record.msg) for record in log] == [
            ("ERROR", "the channel does not take the messages of a turn")
        ]

    def test_what_was_sent_is_not_kept(self, chat):
        chat.say(ANN, "seven")

        stored = [json.loads(zlib.decompress(row["messages"].value)) for row in chat.cloud.rows("turns")]
        assert stored == [[], []]

    def test_every_type_of_message_goes_out_as_line_documents_it(self, chat):
        from linebot.v3.messaging import PushMessageRequest, ReplyMessageRequest

        uri = {"type": "uri", "label": "A", "url": "https://example.com/?q={{x}}"}
        nodes = [
            node("a", "text", {"type": "text", "text": "$", "emojis": {"index": 0, "productId": "p", "emojiId": "1"}}),
            flex_node("b", kind="input", footer=box(button(say_action("yes")))),
            node("c", "flex", bubble("{{x}}", quickReply={"items": [{"type": "action", "action": say_action("q")}]})),
            picture_node("d"),
            picture_node("e", "video"),
            imagemap_node("f", uri, {"type": "message", "label": "B", "text": "menu"}, layout="B"),
            sticker_node("g"),
        ]
        for place, made in enumerate(nodes):
            made |= {"sort": place, "nextNode": nodes[place + 1]["nodeId"] if place < 6 else ""}
        chat.save("all", *nodes, keywords=["all"])

        assert len(chat.say(ANN, "all")) == 7
        reply, push = chat.line.calls[self.before :]
        for call, document in ((reply, ReplyMessageRequest), (push, PushMessageRequest)):
            assert flaws_of_messages(call.json["messages"]) == []
            read = document.from_dict(call.json).to_dict()
            assert [message["type"] for message in read["messages"]] == [
                message["type"] for message in call.json["messages"]
            ]


class Crash(BaseException):
    """The function dies."""


class Steps:
    """Counts the calls to AWS and LINE, and dies before or after one of them."""

    def __init__(self, monkeypatch, line):
        self.made = []
        self._deadly = None
        for module, name in ((aws, "call"), (wire, "send")):
            monkeypatch.setattr(module, name, self._wrapped(getattr(module, name), line))

    def _wrapped(self, real, line):
        def step(first, second, *args, **how):
            if first in ("GET", "POST") and not second.startswith(line.url):
                return real(first, second, *args, **how)
            name = second.removeprefix(line.url) if first in ("GET", "POST") else second
            place = len(self.made)
            self.made.append(name)
            if self._deadly == (place, "before"):
                raise Crash
            answer = real(first, second, *args, **how)
            if self._deadly == (place, "after"):
                raise Crash
            return answer

        return step

    def run(self, records, deadly=None):
        """Lets the worker take the records; returns the steps it made, the last one deadly."""
        secrets._decrypt.cache_clear()
        self.made, self._deadly = [], deadly
        if deadly is None:
            assert work(records) == []
        else:
            with pytest.raises(Crash):
                work(records)
        self._deadly = None
        return self.made


class TestCrashes:
    def test_at_any_step_lose_nothing_and_push_nothing_twice(self, chat, monkeypatch):
        ask = text_node("ask", next="m1", userAction=user_reply("id", encryption=True), nodeTag=[{"name": "t"}])
        first, *rest = numbered(7)
        chat.save("s", ask, {**first, "template": {"type": "text", "text": "m1"}}, *rest, trigger="follow")
        chat.save("other", text_node("bye"), keywords=["bye"])
        people = (f"U{number:032x}" for number in count(1))
        steps = Steps(monkeypatch, chat.line)

        def run(deadly_event=-1, deadly=None):
            """Follows and replies as a new person; one of the two events is interrupted and comes again."""
            user = next(people)
            made = []
            for place, event in enumerate((chat.follow(user, at=START), chat.text(user, "A123456789", at=START + 1))):
                records = chat.queue(event)
                if place == deadly_event:
                    steps.run(records, deadly)
                made.append(list(steps.run(records)))
            row = chat.row(user)
            (sealed,) = row["state"]["variables"].values()
            assert secrets.decrypt(
                sealed["sealed"], {**IDS, "userId": user, "variable": "id"}
            ).reveal() == "A123456789"  # fmt: skip
            row["state"]["variables"] = {}
            del row["user_id"], row["user_picture"], row["user_name"]
            return user, made, row

        _, whole, row = run()
        assert [steps[-1] for steps in whole] == ["UpdateItem", "UpdateItem"]
        assert whole[1].count(REPLY) == whole[1].count(PUSH) == 1
        for event, made in enumerate(whole):
            replied = made.index(REPLY)
            window = {(replied, "after"), (replied + 1, "before")}
            for deadly in [(place, when) for place in range(len(made)) for when in ("before", "after")]:
                user, _, after = run(event, deadly)
                once = [["ask"], SEVEN]
                if deadly in window:
                    once[event] = once[event][:5] + once[event]
                assert chat.heard(user) == [*once[0], *once[1]], (event, deadly)
                assert after == row, (event, deadly)
        people_seen = len({delivery.user for delivery in chat.line.sent})
        assert chat.followers() == len(chat.cloud.rows("userlist")) == people_seen

    def test_of_a_turn_that_books_records_and_pushes_leave_each_of_it_once(self, chat, monkeypatch):
        chat.save("later", text_node("z", "later"))
        chat.operate("save_variable", accountVariable=["x"])
        form_id = chat.operate("save_form", name="form", fields=[{"var_name": "x"}])["data"]["id"]
        books = [{"scenario_id": "later", "reservationtime": 30, "window": {"start": "", "end": ""}}]
        first, *rest = numbered(7)
        ask = text_node("ask", next="m1", userAction=user_reply("x"), varForms=[form_id])
        chat.save("s", ask, {**first, "reservations_config": books}, *rest, keywords=["go"])
        people = (f"U{number:032x}" for number in count(1))
        steps = Steps(monkeypatch, chat.line)

        def run(deadly=None):
            """Lets a new person answer; the turn is interrupted and comes again."""
            user = next(people)
            chat.send(chat.text(user, "go", at=START))
            records = chat.queue(chat.text(user, "answer", at=START + 1))
            if deadly is not None:
                steps.run(records, deadly)
            made = list(steps.run(records))
            return user, made

        def left(user):
            """Returns what is known of a person and what he left, without himself."""
            named = {
                name: [
                    json.loads(json.dumps(row, default=readable).replace(user, "him")) for row in chat.cloud.rows(name)
                ]
                for name in ("conversations", "variable-history", "form-entries", "due")
            }
            mine = {name: [row for row in rows if "him" in json.dumps(row)] for name, rows in named.items()}
            for rows in mine.values():
                for row in rows:
                    # His name and picture are his own, the lane is chosen by the user, the place by the event.
                    for name in ("user_name", "user_picture", "lane", "place"):
                        row.pop(name, None)
            return mine

        user, whole = run()
        wanted = left(user)
        assert {name: len(rows) for name, rows in wanted.items()} == dict.fromkeys(wanted, 1)
        assert whole.count(REPLY) == whole.count(PUSH) == 1
        replied = whole.index(REPLY)
        window = {(replied, "after"), (replied + 1, "before")}
        for deadly in [(place, when) for place in range(len(whole)) for when in ("before", "after")]:
            user, _ = run(deadly)
            told = SEVEN[:5] + SEVEN if deadly in window else SEVEN
            assert chat.heard(user) == ["ask", *told], deadly
            assert left(user) == wanted, deadly

        people_seen = len(chat.cloud.rows("conversations"))
        with clock.frozen(NOW + timedelta(minutes=30)):
            FUNCTIONS["start_due"]({}, None)
            assert work(chat.cloud.queued(QUEUE)) == []
        assert [words(delivery.message) for delivery in chat.line.sent].count("later") == people_seen
        assert chat.cloud.rows("due") == []

    def test_of_the_first_word_of_a_friend_count_him_once(self, chat, monkeypatch):
        chat.save("k", text_node("menu"), keywords=["menu"])
        people = (f"U{number:032x}" for number in count(1))
        steps = Steps(monkeypatch, chat.line)
        whole = list(steps.run(chat.queue(chat.text(next(people), "menu"))))

        for place in range(whole.index("TransactWriteItems") + 1):
            for when in ("before", "after"):
                user = next(people)
                records = chat.queue(chat.text(user, "menu"))
                steps.run(records, (place, when))
                steps.run(records)
                assert chat.heard(user) == ["menu"]

        assert chat.followers() == len(chat.cloud.rows("userlist")) == 1 + 2 * (whole.index("TransactWriteItems") + 1)

    def test_without_aws_the_message_is_handed_back_and_nothing_changes(self, chat, monkeypatch, log):
        records = chat.queue(chat.text(ANN, "menu"))
        before = chat.cloud.everything()

        def unreachable(*args, **how):
            raise wire.Unreachable("no network", sent=False)

        with monkeypatch.context() as patch:
            patch.setattr(aws, "call", unreachable)
            assert work(records) == [records[0]["messageId"]]
        assert {record.msg for record in log} == {"message failed", "the message comes again when its queue says"}
        assert chat.cloud.everything() == before
        assert work(records) == []


class TestBatches:
    def test_after_a_failure_the_rest_of_the_group_is_handed_back_in_order(self, chat):
        chat.save("a", text_node("one"), keywords=["1"])
        chat.save("b", text_node("two"), keywords=["2"])
        chat.save("c", text_node("three"), keywords=["3"])
        chat.send(chat.follow(ANN), chat.follow(BOB))
        records = chat.queue(
            chat.text(ANN, "1"), chat.text(BOB, "1"), chat.text(ANN, "2"), chat.text(BOB, "2"), chat.text(ANN, "3")
        )
        by_text = {
            (said["user_id"], said["text"]): record["messageId"]
            for record in records
            for said in [json.loads(record["body"])["said"]]
        }
        records.sort(key=lambda record: json.loads(record["body"])["said"]["at"])
        chat.line.fail(REPLY, 429)

        handed_back = work(records)

        assert handed_back == [by_text[ANN, "1"], by_text[ANN, "2"], by_text[ANN, "3"]]
        assert chat.heard(ANN) == []
        assert chat.heard(BOB) == ["one", "two"]
        assert work([record for record in records if record["messageId"] in handed_back], attempt=2) == []
        assert chat.heard(ANN) == ["one", "two", "three"]
        assert chat.heard(BOB) == ["one", "two"]

    def test_events_of_one_user_stay_in_order_and_see_each_other(self, chat):
        ask = text_node("ask", next="got", userAction=user_reply("x"))
        chat.save("s", ask, text_node("got", "got {{x}}"), keywords=["go"])

        records = chat.queue(*(chat.text(ANN, text) for text in ("go", "first", "go", "second")))
        assert len({record["attributes"]["MessageGroupId"] for record in records}) == 1
        assert work(records) == []
        assert chat.heard(ANN) == ["ask", "got first", "ask", "got second"]

    def test_users_are_groups_of_their_own(self, chat):
        records = chat.queue(chat.text(ANN, "1"), chat.text(BOB, "1"), chat.text(ANN, "2"))

        assert len({record["attributes"]["MessageGroupId"] for record in records}) == 2

    def test_a_message_of_another_shape_holds_up_its_group_only(self, chat):
        chat.save("k", text_node("menu"), keywords=["menu"])
        (good,) = chat.queue(chat.text(ANN, "menu"))
        bad = {**good, "messageId": "bad", "body": "{}", "attributes": {"MessageGroupId": "other"}}

        assert work([bad, good]) == ["bad"]
        assert chat.heard(ANN) == ["menu"]


class TestFlows:
    def test_survive_a_redeployment(self, chat):
        ask = text_node("ask", next="got", userAction=user_reply("x"))
        chat.save("s", ask, text_node("got", "got {{x}}"), keywords=["go"])
        assert chat.say(ANN, "go") == ["ask"]

        secrets._decrypt.cache_clear()
        queues._url.cache_clear()
        settings.settings.cache_clear()
        running.logger.cache_clear()
        with clock.frozen(NOW + timedelta(days=30)):
            assert chat.say(ANN, "answer") == ["got answer"]

    def waiting(self, chat):
        """Lets Ann and Bob wait in the first version of a scenario; returns it."""
        chat.save("e", text_node("sorry"), trigger="error")
        chat.save("k", text_node("menu"), keywords=["menu"])
        nodes = [
            text_node("ask", next="more", userAction=user_reply("x")),
            text_node("more", "more, {{x}}?", next="got", userAction=user_reply("y"), sort=2),
            text_node("got", "got {{x}} and {{y}}", sort=3),
        ]
        chat.save("s", *nodes, keywords=["go"])
        chat.send(chat.text(ANN, "go"), chat.text(BOB, "go"))
        return nodes

    def test_stay_on_their_version_when_their_scenario_is_saved_again(self, chat, facts):
        self.waiting(chat)
        chat.save("s", text_node("ask", "new", next="z", userAction=user_reply("x")), text_node("z"), keywords=["go"])
        facts()

        assert chat.say(ANN, "one") == ["more, one?"]
        chat.save("s", text_node("newer"), keywords=["go"])
        assert chat.say(ANN, "two") == ["got one and two"]
        assert not any("ended" in line for line in facts())
        assert chat.say(ANN, "go") == ["newer"]

    def test_stay_on_their_version_when_it_is_rolled_back(self, chat):
        nodes = self.waiting(chat)
        chat.save(
            "s", text_node("ask", "second", next="z", userAction=user_reply("x")), text_node("z"), keywords=["go"]
        )
        assert chat.say(CAT, "go") == ["second"]
        chat.operate("roll_back_scenario", scenarioId="s", version=1)

        assert chat.say(CAT, "three") == ["z"]
        assert chat.say(ANN, "one") == ["more, one?"]
        assert chat.state(ANN)["waiting"] == {"scenarioId": "s", "version": 1, "nodeId": "more"}
        assert chat.say(CAT, "go") == ["ask"]
        assert chat.state(CAT)["waiting"] == {"scenarioId": "s", "version": 3, "nodeId": nodes[0]["nodeId"]}
        chat.save("s", text_node("newest"), keywords=["go"])
        assert [chat.say(CAT, text) for text in ("four", "five")] == [["more, four?"], ["got four and five"]]

    def test_end_when_their_scenario_was_deleted_though_one_of_its_id_is_there_again(self, chat):
        self.waiting(chat)
        chat.operate("delete_scenario", scenarioId="s")
        chat.save("s", text_node("new"), keywords=["go"])

        assert chat.say(ANN, "one") == ["sorry"]
        assert chat.state(ANN)["waiting"] is None
        assert chat.say(CAT, "go") == ["new"]

    @pytest.mark.parametrize("saved_since", [False, True])
    def test_end_gracefully_when_their_scenario_is_deleted(self, chat, facts, saved_since):
        nodes = self.waiting(chat)
        if saved_since:
            chat.save("s", *nodes, keywords=["go"])
        chat.operate("delete_scenario", scenarioId="s")
        facts()

        assert chat.say(ANN, "answer") == ["sorry"]
        assert [line["ended"] for line in facts()] == ["the scenario was deleted"]
        assert chat.say(BOB, "menu") == ["menu"]
        assert chat.state(ANN)["waiting"] is chat.state(BOB)["waiting"] is None

    def test_checks_conditions_and_keywords_work_from_the_tables(self, chat):
        choice = condition_node("c", to_node("adult", about_variable("age", "num_gt", "17")), next="child", sort=2)
        chat.save(
            "s",
            text_node(
                "ask",
                "age?",
                next="c",
                userAction=user_reply("age", checks=[("Num", "")], failed={"nextNodeId": "ask"}),
            ),
            choice,
            text_node("adult", sort=3),
            text_node("child", sort=4),
            keywords=["ＧＯ"],
        )

        assert [chat.say(ANN, text) for text in ("go", "old", "１８")] == [["age?"], ["age?"], ["adult"]]
        assert [chat.say(ANN, text) for text in ("Go", "17")] == [["age?"], ["child"]]


class TestEncryption:
    def test_keeps_the_clear_text_out_of_every_table(self, chat):
        ask = text_node("ask", next="got", userAction=user_reply("id", encryption=True))
        chat.save("s", ask, text_node("got", "got {{id}}"), keywords=["go"])

        assert chat.say(ANN, "go") == ["ask"]
        assert chat.say(ANN, "A123456789") == ["got A123456789"]

        assert list(chat.state(ANN)["variables"]) == ["id"]
        assert chat.state(ANN)["variables"]["id"]["sealed"].startswith("kms1:")
        for name, rows in chat.cloud.everything().items():
            assert "A123456789" not in readable(rows), name

    def test_is_for_this_user_and_this_variable_only(self, chat):
        ask = text_node("ask", userAction=user_reply("id", encryption=True))
        chat.save("s", ask, keywords=["go"])
        chat.say(ANN, "go")
        chat.say(ANN, "A123456789")
        sealed = chat.state(ANN)["variables"]["id"]["sealed"]

        context = {**IDS, "userId": ANN, "variable": "id"}
        assert secrets.decrypt(sealed, context).reveal() == "A123456789"
        for other in ({"userId": BOB}, {"variable": "x"}, {"accountId": "other"}):
            with pytest.raises(aws.AwsError, match="InvalidCiphertext"):
                secrets.decrypt(sealed, {**context, **other})


def readable(value):
    """Returns rows as text, what is compressed in them unpacked."""
    if isinstance(value, dict):
        return "".join(readable(inner) for inner in value.values())
    if isinstance(value, list):
        return "".join(map(readable, value))
    return zlib.decompress(value.value).decode() if hasattr(value, "value") else str(value)


class TestLimits:
    def test_a_turn_is_cut_after_fifty_nodes_and_the_log_says_where(self, chat, facts, log):
        chat.save("s", *numbered(60), keywords=["go"])
        chat.send(chat.follow(ANN))
        facts()

        assert chat.say(ANN, "go") == [f"m{place}" for place in range(1, 51)]
        assert len(chat.calls(PUSH)) == 9
        assert [line["cut"] for line in facts()] == ["s/m51"]
        assert [(record.levelname, record.msg, record.place) for record in log] == [
            ("WARNING", "turn cut at its limit of nodes", "s/m51")
        ]

    def test_texts_that_variables_made_too_long_are_cut(self, chat):
        ask = text_node("ask", next="got", userAction=user_reply("x"))
        chat.save("s", ask, text_node("got", "{{x}}{{x}}"), keywords=["go"])
        chat.say(ANN, "go")

        assert chat.say(ANN, "y" * 4010) == ["y" * 5000]

    @pytest.mark.parametrize(
        ("made", "instead"),
        [
            (flex_node("got", title="pick {{x}}", footer=box(button(say_action("{{x}}")))), ["pick " + "y" * 401]),
            (imagemap_node("got", {"type": "message", "label": "A", "text": "{{x}}"}), ["map"]),
            (
                picture_node("got") | {
                    "template": {
                        **picture_node("got")["template"],
                        "quickReply": {"items": [{"type": "action", "action": say_action("{{x}}")}]},
                    }
                },
                [],
            ),
        ],
        ids=["flex", "imagemap", "image"],
    )  # fmt: skip
    def test_what_line_would_refuse_after_filling_falls_back_to_its_text(self, chat, log, made, instead):
        ask = text_node("ask", next="got", userAction=user_reply("x"))
        chat.save("s", ask, made, keywords=["go"])
        chat.say(ANN, "go")

        assert chat.say(ANN, "y" * 401) == instead
        assert all(delivery.message["type"] == "text" for delivery in chat.line.sent)
        assert [(record.levelname, record.msg) for record in log] == [("WARNING", "message cannot be sent as it is")]


class TestCosts:
    def test_a_text_needs_few_requests_to_dynamodb(self, chat):
        chat.save("s", *numbered(3), keywords=["go"])
        chat.send(chat.follow(ANN))
        seen = []

        def observe(call):
            if call.service == "dynamodb":
                seen.append((running.current().operation, call.action))

        aws.observers.append(observe)
        try:
            assert chat.say(ANN, "go") == ["m1", "m2", "m3"]
        finally:
            aws.observers.remove(observe)

        assert seen == [
            ("receive_line_events", "GetItem"),
            ("answer_event", "BatchGetItem"),
            ("answer_event", "Query"),
            ("answer_event", "GetItem"),
            ("answer_event", "TransactWriteItems"),
            ("answer_event", "UpdateItem"),
        ]
