"""WeChat end to end: checks and messages at the door, the answer that goes back at once, and what the worker sends."""

import base64
import hashlib
import json
import logging
import time
from datetime import timedelta
from itertools import count

import pytest

from chatbot.events import EVENTS
from chatbot.tables import EntryTable
from functions.chatbot.receive_wechat_events import receive_wechat_events
from functions.chatbot.verify_wechat_server import verify_wechat_server
from kernel import aws, clock, running, settings, wire
from kernel.channels.wechat import envelope
from kernel.operations import event_of
from kernel.secrets import Secret
from kernel.tables import Put, commit
from local.chat_double import Failure
from local.cros_double import CrosDouble
from local.wechat_simulator import wechat_simulator
from tests.functions.chatbot.conftest import made
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOW,
    OTHER_IDS,
    UNAUTHORIZED,
    Calls,
    ok,
    refused,
    sample,
    webhook_url,
)
from tests.scenarios import (
    RED,
    URL,
    box,
    button,
    condition_node,
    flex_node,
    node,
    picture_node,
    say_action,
    sticker_node,
    tap,
    text_node,
    to_node,
    user_reply,
)

WECHAT = {"adminId": "0001", "accountId": sample("receive_wechat_events")["queryStringParameters"]["accountid"]}
PARTITION = f"#0001#{WECHAT['accountId']}"
QUERY = {"adminid": "0001", "accountid": WECHAT["accountId"]}
EXAMPLE = sample("receive_wechat_events")["body"]
TOKEN, SECRET = "fake-channel-token=", "fake-channel-secret"
APP = "wx2c2769f8efd9abc2"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
PLAIN, XML = "text/plain; charset=utf-8", "text/xml; charset=utf-8"
DONE = (200, "success", PLAIN)
ANN, BOB, US = "ann-openid_1", "bob-openid", "gh_fake"
AT = int(NOW.timestamp()) - 1000


def signed(*parts, token=TOKEN):
    return hashlib.sha1("".join(sorted([token, *parts])).encode()).hexdigest()


def query(token=TOKEN, **more):
    given = {**QUERY, "timestamp": "1706421933", "nonce": "77", "signature": signed("1706421933", "77", token=token)}
    return {name: value for name, value in {**given, **more}.items() if value is not ...}


def xml(**fields):
    return "<xml>" + "".join(f"<{name}><![CDATA[{text}]]></{name}>" for name, text in fields.items()) + "</xml>"


def message(user=ANN, number=1, **fields):
    common = {"ToUserName": US, "FromUserName": user, "CreateTime": str(AT + number)}
    return xml(**{name: text for name, text in {**common, **fields}.items() if text is not ...})


def written(user, text, number=1):
    return message(user, number, MsgType="text", Content=text, MsgId=str(6_000_000_000 + number))


def happened(user, event, number=1, **more):
    return message(user, number, MsgType="event", Event=event, **more)


def deliver(cloud, body, asked=None):
    return cloud.call(receive_wechat_events, body, caller="", query=query() if asked is None else asked)


def sealed(body, *, app=APP, key=AES_KEY, token=TOKEN, **more):
    """Returns body and query of a message in the encrypted mode."""
    outer = envelope.encrypted_reply(Secret(key), Secret(token), app, body, "1706421933", "77")
    fields = envelope.parsed(outer.encode())
    asked = query(encrypt_type="aes", msg_signature=signed("1706421933", "77", fields["Encrypt"], token=token), **more)
    return xml(ToUserName=US, Encrypt=fields["Encrypt"]), asked


def queued(cloud):
    """Take what is on the queue: (what was said, event id)."""
    return [(body["said"], body["event_id"]) for one in cloud.queued(EVENTS) if (body := json.loads(one["body"]))]


def work(records, attempt=1):
    for record in records:
        record["attributes"]["ApproximateReceiveCount"] = str(attempt)
    answer = FUNCTIONS["answer_event"]({"Records": records}, None)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def text(content):
    return {"msgtype": "text", "text": {"content": content}}


def piece(answer):
    """Returns what a user sees of the answer to a webhook, in the shape of a custom message; None of "success"."""
    if answer.body == "success":
        assert answer == DONE
        return None
    assert (answer.status, answer.content_type) == (200, XML)
    fields = envelope.parsed(answer.body.encode())
    if fields["MsgType"] == "text":
        return text(fields["Content"])
    names = {"title": "Title", "description": "Description", "url": "Url", "picurl": "PicUrl"}
    article = {name: fields[f"Articles.item.{there}"] for name, there in names.items()}
    return {"msgtype": "news", "news": {"articles": [article]}}


@pytest.fixture
def channel(cloud):
    fields = {"accountType": "wechat", "appId": APP, "accountWebhookUrl": webhook_url(WECHAT, "/api/wechat")}
    return made(cloud, WECHAT, **fields)


class Account:
    """The account, its scenarios, and the people who write to it."""

    def __init__(self, cloud, double, fields):
        self.cloud = cloud
        self.double = double
        self.fields = fields
        self.tells = True
        self._numbers = count(1)

    def operate(self, operation, **body):
        answer = self.cloud.call(FUNCTIONS[operation], {**WECHAT, **body})
        assert answer.status == 200, answer.body
        return answer.body.get("Result")

    def save(self, scenario_id, *nodes, trigger="", keywords=(), **more):
        head = {"scenarioId": scenario_id, "scenarioName": scenario_id, "keywords": list(keywords), **more}
        self.operate(
            "save_scenario", scenario={**head, "trigger": "keyword" if keywords else trigger}, nodes=list(nodes)
        )

    def post(self, make, user, *args, **more):
        if self.tells:
            # What somebody says opens a window anew; the double hears nothing of webhooks.
            self.double.heard(user)
        return deliver(self.cloud, make(user, *args, number=next(self._numbers), **more))

    def worked(self):
        """Lets the worker take what is queued, to the end."""
        while records := self.cloud.queued(EVENTS):
            assert work(records) == []

    def say(self, said, user=ANN, make=written, **more):
        """Lets a user say or do something; returns what he sees: the answer, then what the worker sends."""
        before = len(self.double.sent)
        at_once = piece(self.post(make, user, said, **more))
        self.worked()
        return [*([at_once] if at_once else []), *self.sent(user, before)]

    def sent(self, user=ANN, after=0):
        return [dict(one.message) for one in self.double.sent[after:] if one.user == user]

    def encrypted(self):
        self.operate("update_account", **{**self.fields, "encodingAesKey": AES_KEY})

    def calls(self, path):
        return len([call for call in self.double.calls if call.path == path])


@pytest.fixture
def wechat(cloud, channel, monkeypatch):
    with wechat_simulator(secrets={APP: SECRET, "wxnew": SECRET}) as double:
        monkeypatch.setenv("WECHAT_API_ENDPOINT", double.url)
        settings.settings.cache_clear()
        yield Account(cloud, double, channel.fields)


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


def menu(n, **more):
    """Returns that many text nodes m1, m2 … each leading to the next."""
    return [text_node(f"m{one}", next=f"m{one + 1}" if one < n else "", sort=one, **more) for one in range(1, n + 1)]


WRONG = {
    "no signature": {"signature": ...},
    "empty signature": {"signature": ""},
    "of another alphabet": {"signature": "簽名"},
    "of another token": {"signature": signed("1706421933", "77", token="foreign-token")},
    "of no token": {"signature": signed("1706421933", "77", token="")},
    "in another letter case": {"signature": signed("1706421933", "77").upper()},
    "cut off": {"signature": signed("1706421933", "77")[:-1]},
    "of another time": {"timestamp": "1706421934"},
    "of another nonce": {"nonce": "78"},
    "no time": {"timestamp": ...},
    "unknown account": {"accountid": "unknown"},
    "another operator": {"adminid": "0002"},
    "another's account": {"accountid": OTHER_IDS["accountId"]},
    "another SNS": {"accountid": IDS["accountId"]},
    "no account": {"accountid": ...},
    "no operator": {"adminid": ...},
    "longer than a key": {"adminid": "0" * 3000, "accountid": "a" * 2000},
}


class TestServerCheck:
    def test_the_sample_is_answered_with_its_echostr(self, channel):
        with Calls() as calls:
            answer = verify_wechat_server(sample("verify_wechat_server"), None)

        headers = {"Content-Type": PLAIN, "Cache-Control": "no-store"}
        assert answer == {"statusCode": 200, "headers": headers, "body": "4819231450379876053"}
        assert calls == ["dynamodb GetItem", "kms Decrypt"]

    @pytest.mark.usefixtures("nothing_happens")
    def test_others_learn_nothing(self, cloud):
        for name, changes in WRONG.items():
            asked = query(echostr="4819", **changes)
            assert cloud.call(verify_wechat_server, None, caller="", query=asked) == UNAUTHORIZED, name
        assert cloud.call(verify_wechat_server, None, caller="", query=query()) == refused("echostr is required")

    def test_an_account_without_token_believes_nobody(self, cloud, channel):
        assert cloud.call(FUNCTIONS["update_account"], {**channel.fields, "accountToken": ""}) == ok()

        for token in ("", TOKEN):
            asked = query(token, echostr="4819")
            assert cloud.call(verify_wechat_server, None, caller="", query=asked) == UNAUTHORIZED
            assert deliver(cloud, EXAMPLE, query(token)) == UNAUTHORIZED


class TestMessages:
    def test_the_sample_is_answered(self, cloud, channel):
        with Calls() as calls:
            answer = receive_wechat_events(sample("receive_wechat_events"), None)

        headers = {"Content-Type": PLAIN, "Cache-Control": "no-store"}
        assert answer == {"statusCode": 200, "headers": headers, "body": "success"}
        # Whose it is; whether it is new; the conversation; keywords and error scenarios, of which there are none.
        read = ["dynamodb GetItem", "kms Decrypt", "dynamodb BatchGetItem"]
        assert calls == [*read, "dynamodb Query", "dynamodb Query", "dynamodb TransactWriteItems"]
        (user,) = cloud.rows("userlist")
        names = ("user_id", "user_name", "user_picture", "account_type", "account_status", "access_time")
        assert [user[name] for name in names] == ["fake-openid", "", "", "wechat", "1", "2024-01-28T06:05:33.000Z"]
        assert queued(cloud) == []

    def test_the_documented_message_is_answered_when_something_answers_it(self, wechat):
        wechat.save("k", text_node("menu", "Hello ]]> 測"), keywords=["keyword1"])

        answer = deliver(wechat.cloud, EXAMPLE)

        assert (answer.status, answer.content_type) == (200, XML)
        assert envelope.parsed(answer.body.encode()) == {
            "ToUserName": "fake-openid",
            "FromUserName": "gh_fake",
            "CreateTime": str(int(NOW.timestamp())),
            "MsgType": "text",
            "Content": "Hello ]]> 測",
        }
        assert [event_id for _, event_id in queued(wechat.cloud)] == ["wechat#1"]

    @pytest.mark.usefixtures("nothing_happens")
    def test_refuses_what_the_account_did_not_sign(self, cloud):
        for name, changes in WRONG.items():
            assert deliver(cloud, EXAMPLE, query(**changes)) == UNAUTHORIZED, name

    @pytest.mark.usefixtures("nothing_happens")
    def test_refuses_what_is_no_message(self, cloud):
        bomb = '<!DOCTYPE xml [<!ENTITY a "aaaa">]><xml><Content>&a;</Content></xml>'
        for body in ("", "{}", "<xml>", "<html></html>", bomb, EXAMPLE + " " * 65536):
            assert deliver(cloud, body) == UNAUTHORIZED, body[:80]

    def test_what_nobody_answers_is_a_success(self, cloud, channel):
        events = ("SCAN", "VIEW", "LOCATION", "TEMPLATESENDJOBFINISH", "view_miniprogram", "", ...)
        bodies = [message(MsgType="event", Event=event) for event in events]
        bodies += [message(MsgType=kind) for kind in ("hologram", "", ..., "TEXT")]
        bodies += [written(user, "x") for user in ("", "a#b", "測", "a\tb", "u" * 65)] + ["<xml></xml>"]
        before = cloud.everything()

        for body in bodies:
            assert deliver(cloud, body) == DONE, body

        assert cloud.everything() == before
        assert cloud.queued(EVENTS) == []

    def test_what_users_do_is_understood(self, wechat):
        wechat.save("w", text_node("welcome"), trigger="follow")
        wechat.save("k", text_node("menu"), keywords=["menu"])
        wechat.save("e", text_node("what"), trigger="error")

        def user(name):
            (row,) = [row for row in wechat.cloud.rows("userlist") if row["user_id"] == name]
            return row["account_status"]

        assert wechat.say("subscribe", make=happened) == [text("welcome")]
        assert user(ANN) == "1"
        assert wechat.say("CLICK", make=happened, EventKey="menu") == [text("menu")]
        assert wechat.say("menu") == [text("menu")]
        assert wechat.say("menu", make=spoken) == [text("menu")]
        for make in (silent, seen):
            assert wechat.say("menu", make=make) == [text("what")]
        assert wechat.say("unsubscribe", make=happened) == []
        assert user(ANN) == "0"
        assert wechat.operate("get_user_count")["data"] == 0
        # An old follower who writes first.
        assert wechat.say(" MENU", BOB) == [text("menu")]
        assert user(BOB) == "1"

    def test_a_strange_time_is_now(self, wechat):
        for number, at in enumerate((..., "", "0", "-5", "soon", "１７０６４２１９３３", str(1 << 33), "1" * 5000)):
            body = message(f"user-{number}", MsgType="text", Content="x", MsgId=str(number), CreateTime=at)
            assert deliver(wechat.cloud, body) == DONE

        assert {row["access_time"] for row in wechat.cloud.rows("userlist")} == {"2024-01-28T06:41:29.006Z"}

    def test_a_body_in_base64_is_taken(self, wechat):
        wechat.save("k", text_node("menu", "您好"), keywords=["選單"])
        event = event_of(receive_wechat_events, base64.b64encode(written(ANN, "選單").encode()).decode())
        event |= {"isBase64Encoded": True, "queryStringParameters": query()}

        assert "您好" in receive_wechat_events(event, None)["body"]


def spoken(user, said, number):
    return message(user, number, MsgType="voice", MediaId="m", Format="amr", Recognition=said, MsgId=str(number))


def silent(user, said, number):
    return message(user, number, MsgType="voice", MediaId="m", Format="amr", Recognition="", MsgId=str(number))


def seen(user, said, number):
    return message(user, number, MsgType="image", PicUrl=URL, MediaId="m", MsgId=str(number))


class TestEncryptedMode:
    @pytest.fixture(autouse=True)
    def key(self, wechat):
        wechat.encrypted()
        wechat.save("k", text_node("menu", "您好 <b>"), keywords=["menu"])

    def test_a_message_is_opened_and_its_answer_sealed(self, wechat):
        answer = deliver(wechat.cloud, *sealed(written(ANN, "menu")))

        assert (answer.status, answer.content_type) == (200, XML)
        outer = envelope.parsed(answer.body.encode())
        assert set(outer) == {"Encrypt", "MsgSignature", "TimeStamp", "Nonce"}
        assert outer["MsgSignature"] == signed(outer["TimeStamp"], outer["Nonce"], outer["Encrypt"])
        inner = envelope.decrypted(Secret(AES_KEY), APP, outer["Encrypt"])
        assert envelope.parsed(inner) == {
            "ToUserName": ANN,
            "FromUserName": US,
            "CreateTime": str(int(NOW.timestamp())),
            "MsgType": "text",
            "Content": "您好 <b>",
        }
        # What is not answered is not sealed either.
        assert deliver(wechat.cloud, *sealed(happened(ANN, "VIEW", 2))) == DONE

    def test_plain_messages_are_still_taken(self, wechat):
        assert wechat.say("menu") == [text("您好 <b>")]

    def test_refuses_what_is_not_sealed_for_this_account(self, wechat):
        body = written(ANN, "menu")
        right, asked = sealed(body)
        other, other_asked = sealed(body, app="wxanother")
        forged, forged_asked = sealed(body, key="b" * 43)
        cases = {
            "another app": (other, other_asked),
            "another key": (forged, forged_asked),
            "another token": (right, {**asked, "msg_signature": signed("1706421933", "77", token="foreign")}),
            "no signature of the cipher": (right, {name: asked[name] for name in asked if name != "msg_signature"}),
            "the plain signature": (right, {**asked, "msg_signature": asked["signature"]}),
            "of another cipher": (other, asked),
            "no plain signature": (right, {name: asked[name] for name in asked if name != "signature"}),
            "no cipher": sealed_text("5rWL"),
            "no base64": sealed_text("測"),
            "empty": sealed_text(""),
            "no message inside": sealed("text"),
        }
        before = wechat.cloud.everything()
        for name, (sent, given) in cases.items():
            assert deliver(wechat.cloud, sent, given) == UNAUTHORIZED, name
        assert wechat.cloud.everything() == before

    def test_without_a_key_nothing_sealed_is_believed(self, wechat):
        wechat.operate("update_account", **{**wechat.fields, "encodingAesKey": ""})

        assert deliver(wechat.cloud, *sealed(written(ANN, "menu"))) == UNAUTHORIZED


def sealed_text(cipher):
    return xml(ToUserName=US, Encrypt=cipher), query(msg_signature=signed("1706421933", "77", cipher))


class TestAnswers:
    def test_the_first_reply_goes_back_at_once_and_the_rest_is_sent(self, wechat):
        wechat.save("k", *menu(3), keywords=["menu"])

        assert piece(wechat.post(written, ANN, "menu")) == text("m1")
        assert wechat.sent() == []
        (turn,) = wechat.cloud.rows("turns")
        assert ("delivered_at" in turn, turn["replied"]) == (False, 1)
        wechat.worked()

        assert wechat.sent() == [text("m2"), text("m3")]
        (turn,) = wechat.cloud.rows("turns")
        assert "delivered_at" in turn

    def test_pictures_and_cards_are_articles_and_choices_are_numbers(self, wechat):
        footer = box(button(say_action("red")), button(say_action("blue")))
        wechat.save(
            "k",
            picture_node("p", next="f"),
            flex_node("f", footer=footer, next="s", sort=2),
            sticker_node("s", sort=3),
            keywords=["all"],
        )
        article = {"title": "🖼", "description": "", "url": URL, "picurl": URL}
        picture = {"msgtype": "news", "news": {"articles": [article]}}

        assert wechat.say("all") == [picture, text("pick\n1. say\n2. say"), text("🙂")]

    def test_a_number_says_what_was_shown_beside_it(self, wechat):
        quick = [{"type": "action", "action": {"type": "message", "label": "No", "text": "no"}}]
        footer = box(
            button(say_action("red")), button({"type": "uri", "label": "l", "uri": URL}), button(say_action("blue"))
        )
        for name in ("red", "blue"):
            wechat.save(name, text_node("a", f"{name}!"))
        wechat.save("2", text_node("two"), keywords=["2", "3"])
        config = [tap("red", "red"), tap("blue", "blue")]
        wechat.save("k", flex_node("f", footer=footer, flex_config=config), keywords=["colours"])
        wechat.save(
            "q", node("q", "text", {"type": "text", "text": "Sure?", "quickReply": {"items": quick}}), keywords=["q"]
        )
        wechat.save("no", text_node("pity"), keywords=["no"])

        assert wechat.say("colours")[-1]["text"]["content"].splitlines()[-2:] == ["1. say", "2. say"]
        assert wechat.say("2") == [text("blue!")]
        # The last thing shown offers nothing, so a number is a number again.
        assert wechat.say("2") == [text("two")]
        wechat.say("colours")
        assert wechat.say("3") == [text("two")]
        assert wechat.say("q") == [text("Sure?\n1. No")]
        assert wechat.say("1") == [text("pity")]

    def test_nothing_goes_back_at_once_when_deciding_took_too_long(self, wechat, slow):
        slow.save(wechat)

        assert wechat.post(written, ANN, "order") == DONE
        assert slow.requests == 1
        wechat.worked()
        assert wechat.sent() == [text("ordered"), text("thanks")]
        assert wechat.say("order") == [text("ordered"), text("thanks")]

    def test_quick_enough_is_quick_enough(self, wechat, slow):
        slow.save(wechat)
        slow.seconds = 3.4

        assert piece(wechat.post(written, ANN, "order")) == text("ordered")

    def test_what_could_not_be_decided_is_decided_by_the_worker(self, wechat, monkeypatch, log):
        wechat.save("k", *menu(2), keywords=["menu"])
        real = aws.call

        def unreachable(service, action, payload):
            if action == "TransactWriteItems":
                raise wire.Unreachable("dynamodb: timed out", sent=False)
            return real(service, action, payload)

        with monkeypatch.context() as patch:
            patch.setattr(aws, "call", unreachable)
            assert wechat.post(written, ANN, "menu") == DONE
        assert [record.msg for record in log] == ["the answer goes out later"]
        assert wechat.cloud.rows("turns") == []
        wechat.worked()

        assert wechat.sent() == [text("m1"), text("m2")]

    def test_without_a_queue_wechat_is_asked_to_come_again(self, wechat, monkeypatch):
        wechat.save("k", *menu(2), keywords=["menu"])
        real = aws.call

        def unreachable(service, action, payload):
            if service == "sqs" or action == "TransactWriteItems":
                raise wire.Unreachable("no network", sent=False)
            return real(service, action, payload)

        with monkeypatch.context() as patch:
            patch.setattr(aws, "call", unreachable)
            answer = deliver(wechat.cloud, written(ANN, "menu"))
        assert (answer.status, answer.body["ErrorMessage"]) == (500, "Internal error")

        assert piece(deliver(wechat.cloud, written(ANN, "menu"))) == text("m1")
        wechat.worked()
        assert wechat.sent() == [text("m2")]


class Slow(CrosDouble):
    """An external service whose answers take long, without anybody waiting: it puts the machine's clock on."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.seconds = 3.6
        self.meanwhile = None
        self._passed = 0.0
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + self._passed)

    @property
    def requests(self):
        return len(super().requests)

    def _respond(self, order):
        self._passed += self.seconds
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return super()._respond(order)

    def save(self, wechat):
        connection = {"endpoint": self.url, "key": "fake-cros-key", "clientid": "client", "params": {}}
        wechat.operate("update_account_external_api_config", setting={"cros": connection})
        ends = {name: {"nextNodeId": "", "scenarioId": ""} for name in ("success", "failed")}
        call = {"cros": {"enable": True, "responseSetting": ends, "others": {}}}
        wechat.save(
            "o", text_node("ordered", next="thanks", externalApi=call), text_node("thanks", sort=2), keywords=["order"]
        )


@pytest.fixture
def slow(wechat, monkeypatch):
    with Slow(monkeypatch) as double:
        monkeypatch.setenv("OUTBOUND_EXCEPTIONS", f"127.0.0.1:{double.port}")
        settings.settings.cache_clear()
        yield double


class TestRepetition:
    @pytest.fixture(autouse=True)
    def three(self, wechat):
        wechat.save("k", *menu(3), keywords=["menu"])
        self.whole = [text(f"m{n}") for n in (1, 2, 3)]

    def test_after_the_answer_says_nothing_more(self, wechat):
        body = written(ANN, "menu")
        assert piece(deliver(wechat.cloud, body)) == self.whole[0]

        assert deliver(wechat.cloud, body) == deliver(wechat.cloud, body) == DONE
        wechat.worked()
        assert deliver(wechat.cloud, body) == DONE
        wechat.worked()
        assert wechat.sent() == self.whole[1:]

    def test_of_an_event_is_known_by_who_and_when(self, wechat):
        wechat.save("w", text_node("welcome"), trigger="follow")
        first, again, later = (happened(ANN, "subscribe", number) for number in (1, 1, 2))

        assert piece(deliver(wechat.cloud, first)) == text("welcome")
        assert deliver(wechat.cloud, again) == DONE
        assert piece(deliver(wechat.cloud, later)) == text("welcome")
        assert piece(deliver(wechat.cloud, happened(ANN, "CLICK", 2, EventKey="menu"))) == self.whole[0]

    def test_while_the_first_call_is_slow_is_left_to_the_worker(self, wechat, slow):
        slow.save(wechat)
        body = written(ANN, "order")
        answers = [deliver(wechat.cloud, body) for _ in range(3)]
        wechat.worked()

        assert answers == [DONE] * 3
        assert wechat.sent() == [text("ordered"), text("thanks")]

    def test_with_more_calls_than_wechat_waits_for_is_decided_by_the_worker(self, wechat, slow):
        slow.save(wechat)
        slow.seconds = 0
        ends = {name: {"nextNodeId": "", "scenarioId": ""} for name in ("success", "failed")}
        call = {"cros": {"enable": True, "responseSetting": ends, "others": {}}}
        nodes = [text_node(f"c{n}", next=f"c{n + 1}" if n < 3 else "", externalApi=call, sort=n) for n in (1, 2, 3)]
        wechat.save("many", *nodes, keywords=["many"])

        assert deliver(wechat.cloud, written(ANN, "many")) == DONE
        assert slow.requests == 2
        wechat.worked()
        assert wechat.sent() == [text("c1"), text("c2"), text("c3")]
        assert slow.requests == 5

    def test_that_overtakes_the_first_call_answers_in_its_place(self, wechat, slow):
        slow.save(wechat)
        body = written(ANN, "order")
        overtaking = []

        def again():
            kept, slow.seconds = running._current, 0
            overtaking.append(piece(deliver(wechat.cloud, body)))
            running._current = kept

        slow.meanwhile = again
        assert deliver(wechat.cloud, body) == DONE
        wechat.worked()

        assert overtaking == [text("ordered")]
        assert wechat.sent() == [text("thanks")]

    def test_without_the_queues_memory_is_the_same_message(self, wechat):
        body = written(ANN, "menu")
        assert deliver(wechat.cloud, body) != DONE
        records = wechat.cloud.queued(EVENTS)

        for _ in range(3):
            assert work(records) == []
        assert wechat.sent() == self.whole[1:]


class TestTokens:
    SEND, TOKEN = "/cgi-bin/message/custom/send", "/cgi-bin/stable_token"

    @pytest.fixture(autouse=True)
    def three(self, wechat):
        wechat.save("k", *menu(3), keywords=["menu"])
        self.rest = [text("m2"), text("m3")]

    def test_one_is_kept_for_all(self, wechat):
        for user in (ANN, BOB, "cat"):
            assert wechat.say("menu", user)[1:] == self.rest

        assert (wechat.calls(self.TOKEN), wechat.calls(self.SEND)) == (1, 6)
        (row,) = wechat.cloud.rows("channel-tokens")
        assert row["account"] == f"{PARTITION}#{APP}"
        assert row["valid_until"] == "2024-01-28T08:36:29.006Z"
        assert "token/" not in str(row)

    @pytest.mark.parametrize("code", [40001, 40014, 42001])
    def test_one_that_is_not_taken_is_renewed(self, wechat, code):
        wechat.say("menu")
        wechat.double.fail(Failure(self.SEND, code=code))

        assert wechat.say("menu")[1:] == self.rest
        assert wechat.calls(self.TOKEN) == 2
        assert wechat.say("menu")[1:] == self.rest
        assert wechat.calls(self.TOKEN) == 2

    def test_one_whose_time_is_over_is_renewed(self, wechat):
        wechat.say("menu")
        with clock.frozen(NOW + timedelta(seconds=6899)):
            wechat.say("menu")
        assert wechat.calls(self.TOKEN) == 1
        with clock.frozen(NOW + timedelta(seconds=6900)):
            assert wechat.say("menu")[1:] == self.rest
        assert wechat.calls(self.TOKEN) == 2

    def test_another_app_has_another(self, wechat):
        wechat.say("menu")
        wechat.operate("update_account", **{**wechat.fields, "appId": "wxnew"})

        assert wechat.say("menu")[1:] == self.rest
        assert wechat.calls(self.TOKEN) == 2

    def test_a_wrong_secret_is_told_and_nothing_comes_again(self, wechat, log):
        wechat.operate("update_account", **{**wechat.fields, "accountSecret": "wrong-secret"})

        assert wechat.say("menu") == [text("m1")]
        (turn,) = wechat.cloud.rows("turns")
        assert turn["refused"].startswith("the channel answered 40125")
        assert "wrong-secret" not in str([vars(record) for record in log])


class TestTrouble:
    SEND = "/cgi-bin/message/custom/send"

    def test_outside_the_window_the_rest_is_refused_once(self, wechat, log):
        wechat.save("k", *menu(3), keywords=["menu"])
        wechat.double.silence(ANN)
        wechat.tells = False

        assert wechat.say("menu") == [text("m1")]
        (turn,) = wechat.cloud.rows("turns")
        assert turn["refused"].startswith("the channel answered 45015")
        assert wechat.calls(self.SEND) == 1
        assert [(record.levelname, record.msg) for record in log] == [
            ("ERROR", "the channel does not take the messages of a turn")
        ]

    def test_more_than_wechat_takes_is_cut_off(self, wechat):
        wechat.save("k", *menu(8), keywords=["menu"])

        assert wechat.say("menu") == [text(f"m{n}") for n in range(1, 7)]
        (turn,) = wechat.cloud.rows("turns")
        assert turn["refused"].startswith("the channel answered 45047")
        assert wechat.calls(self.SEND) == 6

    @pytest.mark.parametrize("failure", [{"code": -1}, {"code": 45009}, {"status": 503}, {"status": 429}])
    def test_what_passes_is_waited_for(self, wechat, failure):
        wechat.save("k", *menu(3), keywords=["menu"])
        wechat.double.fail(Failure(self.SEND, times=4, **failure))
        wechat.post(written, ANN, "menu")
        records = wechat.cloud.queued(EVENTS)

        for attempt in range(1, 5):
            assert work(records, attempt) == [records[0]["messageId"]]
        assert work(records, 5) == []
        assert wechat.sent() == [text("m2"), text("m3")]

    def test_what_was_sent_before_a_failure_is_not_sent_again(self, wechat):
        wechat.save("k", *menu(4), keywords=["menu"])
        wechat.post(written, ANN, "menu")
        records = wechat.cloud.queued(EVENTS)
        real, sends = wechat.double.platform.answer, count(1)

        def answer(request, double):
            if request.path == self.SEND and next(sends) == 2:
                double.fail(Failure(self.SEND, code=-1))
            return real(request, double)

        wechat.double.platform.answer = answer
        # The failure comes with the third message.
        assert work(records) == [records[0]["messageId"]]
        assert wechat.sent() == [text("m2"), text("m3")]
        assert work(records, 2) == []
        assert wechat.sent() == [text("m2"), text("m3"), text("m4")]


def test_everything_a_conversation_leaves_behind_is_kept(wechat, slow):
    """One talk with an icon, links, a sealed reply, a form, segments, a booking and a failing external service."""
    slow.seconds = 0
    slow.save(wechat)
    slow.fail("sold out", "E1")
    wechat.operate("save_icon_url", accountIconUrl=[{"name": "Shop", "url": "https://img.example.com/i.png"}])
    (icon,) = wechat.operate("get_icon_url")["data"]
    wechat.operate("save_variable", accountVariable=["x"])
    form = wechat.operate("save_form", name="form", fields=[{"var_name": "x"}])["data"]["id"]
    segment = {"defaultUsersSegment": False, "cvKey": {}}
    times = dict.fromkeys(("createTime", "followTime"), "2024-01-28 06:00:00.000")
    bob = {"userId": BOB, "userName": "", "userPicture": "", "accountStatus": "1", "accountType": "wechat", **times}
    wechat.say("subscribe", BOB, happened)
    pushed = {"source": "serverpushtime", "tag": None, "value": "", "expression": "has_value"}
    for name, mode, conditions, users in (("fair", "Custom", [], [bob]), ("pushed", "Conditions", [pushed], [])):
        more = {"segmentName": name, "mode": mode, "segmentConditions": conditions, "segmentUsers": users}
        wechat.operate("save_user_segment", **segment, **more)
    (fair,) = [row["segment_id"] for row in wechat.cloud.rows("segments") if row["segment_name"] == "fair"]
    commit(
        Put(
            EntryTable(
                account=PARTITION, place=f"{ANN}#{fair}", user_id=ANN, segment_id=fair, verified=True, created_at=NOW
            )
        )
    )
    link = {"type": "uri", "label": "shop", "uri": "https://shop.example.com/"}
    later = {"scenario_id": "later", "reservationtime": 30, "window": {"start": "", "end": ""}}
    wechat.save("later", text_node("z"))
    wechat.save("w", text_node("welcome"), trigger="follow")
    options = [{**to_node(name), "value": name} for name in ("pushed", "fair")]
    nodes = [
        flex_node("f", footer=box(button(link)), nodeConst={"trackClicks": True, "ecsite": True}, next="ask",
                  reservations_config=[later], nodeTag=[{"name": "t", "color": RED}]),
        text_node("ask", userAction=user_reply("x", encryption=True), varForms=[form], next="c", sort=2),
        condition_node("c", *options, kind="bysegment", next="none", sort=3),
        text_node("pushed", sort=4), text_node("fair", "{{x}} is in", sort=5), text_node("none", sort=6),
    ]  # fmt: skip
    wechat.save("k", *nodes, keywords=["go"], iconUrlId=icon["id"])

    assert wechat.say("subscribe", make=happened) == [text("welcome")]
    shop, asked = wechat.say("go")
    assert asked == text("ask")
    # A talk goes on as it began.
    wechat.save("k", text_node("ask", "other"), keywords=["go"])
    assert shop["text"]["content"].startswith("pick\nshop: https://chat.example.com/c/")
    assert wechat.say("A123456789") == [text("A123456789 is in")]
    assert wechat.say("order") == [text("ordered"), text("thanks")]
    left = ("form-entries", "variable-history", "segment-members")
    assert [len(wechat.cloud.rows(name)) for name in left] == [1, 1, 2]
    assert len([row for row in wechat.cloud.rows("due") if "k/f/0" in str(row)]) == 1
    assert wechat.operate("get_cors_error")["data"] == [{"msg": "sold out", "code": "E1"}]
    assert "A123456789" not in str(wechat.cloud.everything())
