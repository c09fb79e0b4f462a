"""Messenger end to end: its checks and webhooks at the door, and what its users see at a double of the Send API."""

import base64
import hashlib
import hmac
import json
import logging
from itertools import count

import pytest

from chatbot.events import EVENTS
from functions.chatbot.receive_messenger_events import receive_messenger_events
from functions.chatbot.verify_messenger_webhook import verify_messenger_webhook
from kernel import aws, settings, wire
from kernel.operations import event_of
from local.chat_double import Failure
from local.messenger_simulator import messenger_simulator
from tests.functions.chatbot.conftest import made
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOW,
    OTHER_IDS,
    UNAUTHORIZED,
    Calls,
    documented,
    ok,
    refused,
    sample,
    webhook_url,
)
from tests.scenarios import (
    URL,
    box,
    button,
    flex_node,
    imagemap_node,
    node,
    picture_node,
    say_action,
    sticker_node,
    tap,
    text_node,
    user_reply,
)

PAGE = {"adminId": "0001", "accountId": sample("receive_messenger_events")["queryStringParameters"]["accountid"]}
PARTITION = f"#0001#{PAGE['accountId']}"
QUERY = {"adminid": "0001", "accountid": PAGE["accountId"]}
SECRET = "fake-channel-secret"
EXAMPLE = documented("receive_messenger_events")
(EVENT,) = EXAMPLE["entry"][0]["messaging"]
TEXT = "text/plain; charset=utf-8"
TAKEN = (200, "EVENT_RECEIVED", TEXT)
CHECK = sample("verify_messenger_webhook")["queryStringParameters"]
ANN, BOB = "1001", "1002"
AT = EVENT["timestamp"]


def signature(body, secret=SECRET):
    return "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def webhook(*events):
    """Returns a webhook of a page; `...` in an event leaves the member out."""
    return {"object": "page", "entry": [{"id": "1", "time": AT, "messaging": list(events)}]}


def event(user=ANN, number=1, **members):
    return {"sender": {"id": user}, "recipient": {"id": "1"}, "timestamp": AT + number, **members}


def written(user, text, number=1, **message):
    return event(user, number, message={"mid": f"mid-{number}", "text": text, **message})


def tapped(user, payload, number=1):
    return event(user, number, postback={"mid": f"mid-{number}", "title": "Tap", "payload": payload})


def deliver(cloud, body, *, query=QUERY, secret=SECRET, **headers):
    """Post a body as Messenger does; headers that are given replace the signature."""
    # Messenger signs the body with everything beyond ASCII escaped, and sends it so.
    text = body if isinstance(body, str) else json.dumps(body)
    headers = headers or {"X-Hub-Signature-256": signature(text.encode(), secret)}
    return cloud.call(receive_messenger_events, text, caller="", query=query, headers=headers)


def verify(cloud, **changes):
    query = {name: value for name, value in {**CHECK, **changes}.items() if value is not ...}
    return cloud.call(verify_messenger_webhook, None, caller="", query=query)


def queued(cloud):
    """Take what is on the queue: (what was said, event id, group, deduplication id)."""
    taken = []
    for message in cloud.queued(EVENTS):
        body = json.loads(message["body"])
        assert {name: body[name] for name in ("admin_id", "account_id")} == {
            "admin_id": PAGE["adminId"],
            "account_id": PAGE["accountId"],
        }
        attributes = message["attributes"]
        taken.append(
            (body["said"], body["event_id"], attributes["MessageGroupId"], attributes["MessageDeduplicationId"])
        )
    return taken


def work(records, attempt=1):
    for record in records:
        record["attributes"]["ApproximateReceiveCount"] = str(attempt)
    answer = FUNCTIONS["answer_event"]({"Records": records}, None)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


@pytest.fixture
def channel(cloud):
    """The page of the documented example."""
    return made(cloud, PAGE, accountType="fb", accountWebhookUrl=webhook_url(PAGE, "/api/facebook"))


class Page:
    """The page, its scenarios, and the people who write to it."""

    def __init__(self, cloud, double):
        self.cloud = cloud
        self.double = double
        self._numbers = count(1)

    def save(self, scenario_id, *nodes, trigger="", keywords=()):
        head = {"scenarioId": scenario_id, "scenarioName": scenario_id, "keywords": list(keywords)}
        head["trigger"] = "keyword" if keywords else trigger
        body = {**PAGE, "scenario": head, "nodes": list(nodes)}
        answer = self.cloud.call(FUNCTIONS["save_scenario"], body)
        assert answer.status == 200, answer.body
        return answer.body.get("Warnings")

    def queue(self, make, *args):
        """Posts an event of the next moment and returns what the queue hands out."""
        assert deliver(self.cloud, webhook(make(*args, number=next(self._numbers)))) == TAKEN
        return self.cloud.queued(EVENTS)

    def say(self, text, user=ANN, make=written):
        """Lets a user say something, or tap it, and returns what he is shown."""
        before = len(self.double.sent)
        assert work(self.queue(make, user, text)) == []
        return self.shown(user, before)

    def shown(self, user=ANN, after=0):
        return [dict(one.message) for one in self.double.sent[after:] if one.user == user]


@pytest.fixture
def page(cloud, channel, monkeypatch):
    with messenger_simulator() as double:
        monkeypatch.setenv("MESSENGER_API_ENDPOINT", double.url)
        settings.settings.cache_clear()
        yield Page(cloud, double)


@pytest.fixture
def log():
    """The warnings and errors for people."""
    lines = []

    class Listening(logging.Handler):
        def emit(self, record):
            lines.append(record)

    handler = Listening()
    logger = logging.getLogger("chatbot")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.fixture
def nothing_happens(cloud, channel, account, foreign):
    """Fails when a row was written or a message queued."""
    before = cloud.everything()
    yield
    assert cloud.everything() == before
    assert cloud.queued(EVENTS) == []


class TestSubscription:
    def test_the_sample_is_answered_with_its_challenge(self, channel):
        with Calls() as calls:
            answer = verify_messenger_webhook(sample("verify_messenger_webhook"), None)

        headers = {"Content-Type": TEXT, "Cache-Control": "no-store"}
        assert answer == {"statusCode": 200, "headers": headers, "body": "1158201444"}
        assert calls == ["dynamodb GetItem"]

    @pytest.mark.usefixtures("nothing_happens")
    def test_others_learn_nothing(self, cloud):
        changes = {
            "wrong token": {"hub.verify_token": "fake-channel-token="},
            "of another channel": {"hub.verify_token": IDS["accountId"]},
            "another alphabet": {"hub.verify_token": "測試"},
            "in another letter case": {"hub.verify_token": PAGE["accountId"].upper()},
            "empty token": {"hub.verify_token": ""},
            "no token": {"hub.verify_token": ...},
            "another mode": {"hub.mode": "unsubscribe"},
            "no mode": {"hub.mode": ...},
            "unknown channel": {"accountid": "unknown", "hub.verify_token": "unknown"},
            "no channel": {"accountid": ..., "hub.verify_token": ""},
            "another type": {"accountid": IDS["accountId"], "hub.verify_token": IDS["accountId"]},
            "another operator": {"adminid": "0002"},
            "no operator": {"adminid": ...},
            "longer than a key": {"adminid": "0" * 3000, "accountid": "a" * 2000, "hub.verify_token": "a" * 2000},
        }
        for name, change in changes.items():
            assert verify(cloud, **change) == UNAUTHORIZED, name
        assert verify(cloud, **{"hub.challenge": ...}) == refused("hub_challenge is required")


class TestWebhook:
    def test_the_sample_is_taken_and_queued(self, cloud, channel):
        with Calls() as calls:
            answer = receive_messenger_events(sample("receive_messenger_events"), None)

        headers = {"Content-Type": TEXT, "Cache-Control": "no-store"}
        assert answer == {"statusCode": 200, "headers": headers, "body": "EVENT_RECEIVED"}
        assert calls == ["dynamodb GetItem", "kms Decrypt", "sqs GetQueueUrl", "sqs SendMessageBatch"]
        said = {"kind": "text", "user_id": "2", "at": "2024-01-28T06:05:33.830000Z", "text": "keyword1"}
        event_id = digest("fake-mid")
        assert queued(cloud) == [(said, event_id, digest(f"{PARTITION}2"), digest(f"{PARTITION}{event_id}"))]

    def test_events_of_several_users_are_groups_in_their_order(self, cloud, channel):
        events = [written(ANN if number % 2 else BOB, f"t{number}", number) for number in range(1, 7)]
        entries = [{"id": "1", "time": AT, "messaging": part} for part in (events[:4], events[4:])]

        assert deliver(cloud, {"object": "page", "entry": entries}) == TAKEN

        by_group = {}
        for said, _, group, _ in queued(cloud):
            by_group.setdefault(group, []).append((said["user_id"], said["text"]))
        assert by_group == {
            digest(f"{PARTITION}{ANN}"): [(ANN, "t1"), (ANN, "t3"), (ANN, "t5")],
            digest(f"{PARTITION}{BOB}"): [(BOB, "t2"), (BOB, "t4"), (BOB, "t6")],
        }

    def test_what_is_no_word_of_a_user_is_ignored(self, cloud, channel):
        events = [
            written("1", "echo", 1, is_echo=True),
            event(delivery={"mids": ["mid-1"], "watermark": AT}),
            event(read={"watermark": AT}),
            event(reaction={"mid": "mid-1", "action": "react", "emoji": "❤"}),
            event(referral={"ref": "ad", "source": "SHORTLINK", "type": "OPEN_THREAD"}),
            event(optin={"type": "notification_messages"}),
            event(message="text"),
            event(postback=["text"]),
            {"timestamp": AT, "message": {"mid": "mid-2", "text": "nobody"}},
            {**written(ANN, "x"), "sender": ANN},
            {**written(ANN, "x"), "sender": {"id": 1001}},
            written("a#b", "x"),
            written("", "x"),
            written("１００１", "x"),
            written("1" * 65, "x"),
            "text",
            None,
        ]
        standby = {"id": "1", "time": AT, "standby": [written(ANN, "for another app")]}
        bodies = [
            webhook(*events),
            {"object": "page", "entry": [standby, {"id": "1"}, {"messaging": None}, {"messaging": 5}, "text", None]},
            {"object": "page", "entry": [{"messaging": {"0": written(ANN, "x")}}]},
            {**webhook(written(ANN, "x")), "object": "instagram"},
            {"object": "page", "entry": []},
        ]
        for body in bodies:
            assert deliver(cloud, body) == TAKEN

        assert queued(cloud) == []

    @pytest.mark.parametrize(
        ("members", "said"),
        [
            ({"message": {"mid": "m", "text": "Hi 🍎 測"}}, {"kind": "text", "text": "Hi 🍎 測"}),
            (
                {"message": {"mid": "m", "text": "Yes", "quick_reply": {"payload": "yes please"}}},
                {"kind": "text", "text": "yes please"},
            ),
            ({"message": {"mid": "m", "text": "Yes", "quick_reply": {}}}, {"kind": "text", "text": "Yes"}),
            ({"message": {"mid": "m", "text": "Yes", "quick_reply": "x"}}, {"kind": "text", "text": "Yes"}),
            ({"message": {"mid": "m", "attachments": [{"type": "image", "payload": {"url": URL}}]}}, {"kind": "other"}),
            ({"message": {"mid": "m", "sticker_id": 369239263222822}}, {"kind": "other"}),
            ({"postback": {"mid": "m", "title": "Yes", "payload": "yes"}}, {"kind": "text", "text": "yes"}),
            ({"postback": {"mid": "m", "title": "Yes"}}, {"kind": "text", "text": "Yes"}),
            (
                {"postback": {"mid": "m", "title": "Get started", "payload": "GET_STARTED"}},
                {"kind": "follow", "text": "GET_STARTED"},
            ),
        ],
    )
    def test_what_users_do_is_understood(self, cloud, channel, members, said):
        assert deliver(cloud, webhook(event(ANN, 0, **members))) == TAKEN

        ((found, event_id, _, _),) = queued(cloud)
        assert found == {"user_id": ANN, "at": "2024-01-28T06:05:33.830000Z", **said}
        assert event_id == digest("m")

    def test_a_strange_time_is_now(self, cloud, channel):
        times = [0, -1, 1 << 43, "1706421933830", None, 1.5]
        events = [{**written(ANN, "x", number), "timestamp": at} for number, at in enumerate(times)]

        assert deliver(cloud, webhook(*events)) == TAKEN

        now = NOW.isoformat().replace("+00:00", "Z")
        assert [said["at"] for said, *_ in queued(cloud)] == [now] * len(times)

    def test_an_event_without_mid_is_known_by_its_content(self, cloud, channel):
        nameless = event(ANN, 0, postback={"title": "Yes", "payload": "yes"})
        numbered = event(ANN, 0, postback={"mid": 5, "title": "Yes", "payload": "yes"})

        for body in (webhook(nameless), webhook(nameless), webhook(numbered)):
            assert deliver(cloud, body) == TAKEN

        ids = [event_id for _, event_id, *_ in queued(cloud)]
        assert ids == [digest(json.dumps(one, sort_keys=True)) for one in (nameless, numbered)]

    def test_a_body_in_base64_and_one_beyond_ascii_are_taken(self, cloud, channel):
        text = json.dumps(webhook(written(ANN, "測試 🍎")))
        assert text.isascii()
        encoded = event_of(receive_messenger_events, base64.b64encode(text.encode()).decode())
        encoded |= {"isBase64Encoded": True, "queryStringParameters": QUERY}
        encoded["headers"] |= {"x-hub-signature-256": signature(text.encode())}
        assert receive_messenger_events(encoded, None)["statusCode"] == 200
        # Should Messenger ever send UTF-8, the signature is still that of the bytes that came.
        assert deliver(cloud, json.dumps(webhook(written(ANN, "測試 🍎", 2)), ensure_ascii=False)) == TAKEN

        assert [said["text"] for said, *_ in queued(cloud)] == ["測試 🍎"] * 2

    def test_a_page_without_secret_believes_nobody(self, cloud, channel):
        fields = {**channel.fields, "accountSecret": ""}
        assert cloud.call(FUNCTIONS["update_account"], fields) == ok()

        for secret in ("", SECRET):
            assert deliver(cloud, EXAMPLE, secret=secret) == UNAUTHORIZED
        assert queued(cloud) == []

    @pytest.mark.usefixtures("nothing_happens")
    def test_refuses_what_the_page_did_not_sign(self, cloud):
        text = json.dumps(webhook(written(ANN, "測試")), ensure_ascii=False)
        right = signature(text.encode())
        others = {
            "of another body": signature(f"{text} ".encode()),
            "of the escaped body": signature(json.dumps(json.loads(text)).encode()),
            "of another secret": signature(text.encode(), "foreign-secret"),
            "of no secret": signature(text.encode(), ""),
            "without its prefix": right.removeprefix("sha256="),
            "in another letter case": right.upper(),
            "SHA-1": "sha1=" + hmac.digest(SECRET.encode(), text.encode(), "sha1").hex(),
            "cut off": right[:-1],
            "with more behind it": f"{right}0",
            "blank": " ",
            "empty": "",
            "of another alphabet": "簽名",
        }
        for name, given in others.items():
            assert deliver(cloud, text, **{"x-hub-signature-256": given}) == UNAUTHORIZED, name
        assert deliver(cloud, text, **{"x-line-signature": right}) == UNAUTHORIZED

    @pytest.mark.usefixtures("nothing_happens")
    def test_refuses_other_channels(self, cloud):
        queries = {
            "none": None,
            "no account": {"adminid": "0001"},
            "no operator": {"accountid": PAGE["accountId"]},
            "unknown account": {**QUERY, "accountid": "unknown"},
            "another operator": {**QUERY, "adminid": "0002"},
            "another's account": {**QUERY, "accountid": OTHER_IDS["accountId"]},
            "another SNS": {**QUERY, "accountid": IDS["accountId"]},
            "longer than a key": {"adminid": "0" * 3000, "accountid": "a" * 2000},
        }
        for name, query in queries.items():
            assert deliver(cloud, EXAMPLE, query=query) == UNAUTHORIZED, name

    @pytest.mark.usefixtures("nothing_happens")
    def test_refuses_bodies_that_are_no_webhook(self, cloud):
        bodies = {
            "": "The body is not valid JSON",
            "[]": "The body must be a JSON object",
            '{"object": "page"}': "entry is required",
            '{"object": "page", "entry": {}}': "entry must be a valid array",
        }
        for body, message in bodies.items():
            assert deliver(cloud, body) == refused(message), body
        assert deliver(cloud, "{", secret="wrong") == UNAUTHORIZED


class TestConversation:
    def test_a_new_user_is_listed_with_name_and_picture_and_greeted(self, page):
        page.double.person(ANN).name = "Ann Lee"
        page.double.person(ANN).picture = "https://profile.example.com/ann"
        page.save("w", text_node("welcome"), trigger="follow")

        assert page.say("GET_STARTED", make=tapped) == [{"text": "welcome"}]

        listed = page.cloud.call(FUNCTIONS["get_users_list"], PAGE).body["Result"]
        (user,) = listed["data"]
        names = ("userId", "userName", "userPicture", "accountType", "accountStatus")
        assert [user[name] for name in names] == [ANN, "Ann Lee", "https://profile.example.com/ann", "fb", "1"]
        assert listed["count"] == 1

    def test_a_profile_that_is_not_told_holds_up_nothing(self, page):
        page.save("k", text_node("menu"), keywords=["menu"])
        page.double.fail(Failure(f"/v*/{ANN}", status="timeout"))

        assert page.say("Menu ") == [{"text": "menu"}]
        (user,) = page.cloud.call(FUNCTIONS["get_users_list"], PAGE).body["Result"]["data"]
        assert (user["userName"], user["userPicture"], user["accountStatus"]) == ("", "", "1")

    def test_asks_checks_and_remembers(self, page):
        ask = text_node("ask", "Age?", next="thank", userAction=user_reply("age", checks=[("Num", "")]))
        page.save("k", ask, text_node("thank", "{{age}}!", sort=2), keywords=["start"])
        page.save("e", text_node("what", "What?"), trigger="error")

        assert page.say("start") == [{"text": "Age?"}]
        assert page.say("42") == [{"text": "42!"}]
        assert page.say("nonsense") == [{"text": "What?"}]

    def test_each_kind_of_message_arrives_as_messenger_shows_it(self, page):
        quick = {"items": [{"type": "action", "action": {"type": "message", "label": "Yes", "text": "yes"}}]}
        area = {"type": "message", "label": "A", "url": "", "text": "menu"}
        page.save(
            "k",
            node("t", "text", {"type": "text", "text": "Hello 測", "quickReply": quick}, next="p"),
            picture_node("p", next="f", sort=2),
            flex_node("f", footer=box(button(say_action("buy"))), next="m", sort=3),
            imagemap_node("m", area, next="s", sort=4),
            sticker_node("s", sort=5),
            keywords=["all"],
        )

        reply = {"content_type": "text", "title": "Yes", "payload": "yes"}
        assert page.say("all") == [
            {"text": "Hello 測", "quick_replies": [reply]},
            {"attachment": {"type": "image", "payload": {"url": URL}}},
            _template(
                {"template_type": "generic", "elements": [{"title": "pick", "buttons": [_postback("say", "buy")]}]}
            ),
            {"attachment": {"type": "image", "payload": {"url": "https://img.example.com/map/1040"}}},
            _template({"template_type": "button", "text": "map", "buttons": [_postback("menu", "menu")]}),
            {"text": "🙂"},
        ]

    def test_an_operators_template_goes_out_as_it_is(self, page):
        element = {"title": "{{name}} Shoes", "subtitle": "Red", "image_url": URL, "buttons": [_postback("Buy", "buy")]}
        page.save("k", node("g", "fb_generic", {"elements": [element]}), keywords=["shoes"])

        (shown,) = page.say("shoes")

        assert shown == _template({"template_type": "generic", "elements": [{**element, "title": " Shoes"}]})

    def test_a_tap_leads_on_by_quick_reply_and_by_button(self, page):
        config = [tap("buy", "b")]
        flex = flex_node("f", footer=box(button(say_action("buy"))), flex_config=config)
        page.save("b", text_node("bought"))
        page.save("k", flex, keywords=["all"])
        page.say("all")

        assert page.say("buy", make=tapped) == [{"text": "bought"}]
        assert page.say("buy", BOB) == []

        def quick(user, payload, number):
            return written(user, "Yes", number, quick_reply={"payload": payload})

        assert page.say("all", make=quick) == page.shown()[:1]

    def test_a_number_is_a_number(self, page):
        page.save("f", flex_node("f", footer=box(button(say_action("buy")))), keywords=["all"])
        page.save("1", text_node("one"), keywords=["1"])
        page.say("all")

        assert page.say("1") == [{"text": "one"}]


def _template(payload):
    return {"attachment": {"type": "template", "payload": payload}}


def _postback(title, payload):
    return {"type": "postback", "title": title, "payload": payload}


class TestRepetition:
    @pytest.fixture(autouse=True)
    def menu(self, page):
        page.save("k", text_node("menu"), keywords=["menu"])

    def test_within_minutes_the_queue_takes_it_once(self, page):
        body = webhook(written(ANN, "menu", 7))
        assert deliver(page.cloud, body) == deliver(page.cloud, body) == TAKEN

        assert page.cloud.work(FUNCTIONS["answer_event"]) == []
        assert page.shown() == [{"text": "menu"}]

    def test_later_the_worker_knows_it(self, page):
        records = page.queue(written, ANN, "menu")

        for _ in range(3):
            assert work(records) == []
        assert page.shown() == [{"text": "menu"}]

    def test_without_the_queues_memory_the_event_is_still_the_same(self, page):
        said = written(ANN, "menu", 7)
        # Redelivered hours later, beside another event and with another time of delivery.
        for number, body in enumerate((webhook(said), webhook(said, written(ANN, "menu", 8)))):
            body["entry"][0]["time"] += number
            assert deliver(page.cloud, body) == TAKEN
            records = page.cloud.queued(EVENTS)
            assert work(records) == []
            sqs = page.cloud.client("sqs")
            url = sqs.get_queue_url(QueueName=EVENTS.physical_name())["QueueUrl"]
            sqs.delete_queue(QueueUrl=url)
            sqs.create_queue(QueueName=EVENTS.physical_name(), Attributes={"FifoQueue": "true"})

        assert page.shown() == [{"text": "menu"}] * 2


class TestTrouble:
    @pytest.fixture(autouse=True)
    def three(self, page):
        nodes = [text_node(f"m{n}", next=f"m{n + 1}" if n < 3 else "", sort=n) for n in (1, 2, 3)]
        page.save("k", *nodes, keywords=["three"])
        self.whole = [{"text": f"m{n}"} for n in (1, 2, 3)]

    def test_outside_the_window_the_turn_is_refused_once_and_logged(self, page, log):
        page.double.silence(ANN)
        records = page.queue(written, ANN, "three")

        assert work(records) == []
        assert page.shown() == []
        assert [(record.levelname, record.msg) for record in log] == [
            ("ERROR", "the channel does not take the messages of a turn")
        ]
        (turn,) = page.cloud.rows("turns")
        assert "code 10, subcode 2018278" in turn["refused"]
        assert "delivered_at" in turn
        calls = len(page.double.calls)
        assert work(records) == []
        assert len(page.double.calls) == calls
        page.double.heard(ANN)
        assert page.say("three") == self.whole

    def test_who_blocked_the_page_gets_nothing_more(self, page, log):
        page.double.person(ANN).blocked = True

        assert page.say("three") == []
        assert [record.levelname for record in log] == ["ERROR"]
        assert [call.path for call in page.double.calls] == [f"/v23.0/{ANN}", "/v23.0/me/messages"]

    @pytest.mark.parametrize("failure", [{"code": 613}, {"code": 4}, {"code": 32}, {"status": 429}])
    def test_a_rate_limit_is_waited_for(self, page, failure):
        page.double.fail(Failure("/v*/me/messages", times=4, **failure))
        records = page.queue(written, ANN, "three")

        for attempt in range(1, 5):
            assert work(records, attempt) == [records[0]["messageId"]]
        assert work(records, 5) == []
        assert page.shown() == self.whole

    @pytest.mark.parametrize(
        "failure", [{"code": 1}, {"code": 2}, {"code": 1200}, {"status": 503}, {"status": "closed"}]
    )
    def test_a_passing_failure_in_the_middle_repeats_nothing(self, page, failure):
        records = page.queue(written, ANN, "three")
        self.fail_at_second(page, failure)

        assert work(records) == [records[0]["messageId"]]
        assert page.shown() == self.whole[:1]
        assert work(records, 2) == []
        assert page.shown() == self.whole

    def fail_at_second(self, page, failure):
        platform, answered = page.double.platform, []
        real = platform.answer

        def answer(request, double):
            answered.append(request.path)
            if len([path for path in answered if path.endswith("messages")]) == 1:
                # A kept connection that breaks is tried again at once, so the failure has to last for two.
                page.double.fail(
                    Failure("/v*/me/messages", times=2 if failure.get("status") == "closed" else 1, **failure)
                )
                platform.answer = real
            return real(request, double)

        platform.answer = answer

    def test_a_refusal_is_told_without_the_token(self, page, log):
        page.double.fail(Failure("/v*/me/messages", code=100, message="Invalid parameter: fake-channel-token="))

        assert page.say("three") == []
        (turn,) = page.cloud.rows("turns")
        assert turn["refused"].startswith("the channel answered 400: code 100")
        assert "fake-channel-token" not in turn["refused"]
        assert "fake-channel-token" not in str([vars(record) for record in log])


class Crash(BaseException):
    """The function dies."""


def test_a_crash_at_any_step_loses_nothing_and_repeats_at_most_the_piece_in_flight(page, monkeypatch):
    nodes = [text_node(f"m{n}", next=f"m{n + 1}" if n < 3 else "", sort=n) for n in (1, 2, 3)]
    page.save("k", *nodes, keywords=["three"])
    made, deadly = [], [None]

    def wrapped(real):
        def step(first, second, *args, **how):
            if first in ("GET", "POST") and not second.startswith(page.double.url):
                return real(first, second, *args, **how)
            made.append(second.removeprefix(page.double.url))
            if deadly[0] == (len(made), "before"):
                raise Crash
            answer = real(first, second, *args, **how)
            if deadly[0] == (len(made), "after"):
                raise Crash
            return answer

        return step

    monkeypatch.setattr(aws, "call", wrapped(aws.call))
    monkeypatch.setattr(wire, "send", wrapped(wire.send))
    users = (str(number) for number in count(1))

    def run(where=None):
        user = next(users)
        records = page.queue(written, user, "three")
        made.clear()
        deadly[0] = where
        if where:
            with pytest.raises(Crash):
                work(records)
            deadly[0] = None
        steps = len(made)
        assert work(records) == []
        return steps, [one["text"] for one in page.shown(user)]

    steps, whole = run()
    assert whole == ["m1", "m2", "m3"]
    path = "/v23.0/me/messages"
    names = made[:]
    sends = [place for place, name in enumerate(names, 1) if name == path]
    assert len(sends) == 3
    in_flight = {
        (place + later, when): n for n, place in enumerate(sends, 1) for later, when in ((0, "after"), (1, "before"))
    }
    for where in [(place, when) for place in range(1, steps + 1) for when in ("before", "after")]:
        _, seen = run(where)
        repeated = in_flight.get(where)
        wanted = whole if repeated is None else [*whole[:repeated], *whole[repeated - 1 :]]
        assert seen == wanted, (where, names)


class TestLosses:
    def lossy(self):
        buttons = [button(say_action(f"choice number {n} with a long text")) for n in range(5)]
        area = {"type": "message", "label": "A", "url": "", "text": "menu"}
        return [
            text_node("t", next="m"),
            imagemap_node("m", area, next="s", sort=2),
            sticker_node("s", next="f", sort=3),
            flex_node("f", footer=box(*buttons), sort=4),
        ]

    def test_saving_says_what_messenger_shows_otherwise(self, page):
        warnings = page.save("k", *self.lossy(), keywords=["all"])

        assert warnings == [
            "nodes[1] The areas of the picture become buttons below it.",
            "nodes[2] The sticker is shown as 🙂.",
            "nodes[3] A card with more than fits is shown as picture, text and buttons.",
        ]

    def test_saving_says_nothing_where_nothing_is_lost(self, page, account):
        assert page.save("k", text_node("t"), picture_node("p", sort=2), keywords=["all"]) is None
        body = {
            **IDS,
            "scenario": {"scenarioId": "k", "scenarioName": "k", "trigger": "keyword", "keywords": ["all"]},
            "nodes": self.lossy(),
        }
        assert page.cloud.call(FUNCTIONS["save_scenario"], body) == ok()

    def test_line_cannot_show_messengers_template(self, page, account):
        generic = node("g", "fb_generic", {"elements": [{"title": "Shoes", "subtitle": "Red"}]})
        head = {"scenarioId": "g", "scenarioName": "g", "trigger": "", "keywords": []}
        body = {"scenario": head, "nodes": [generic]}

        assert page.cloud.call(FUNCTIONS["save_scenario"], {**PAGE, **body}) == ok()
        answer = page.cloud.call(FUNCTIONS["save_scenario"], {**IDS, **body})
        assert answer.body["Warnings"] == ["nodes[0] shows nothing: LINE has no generic template"]
