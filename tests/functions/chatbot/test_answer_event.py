"""The worker behind the webhook, from LINE to LINE; what it says when is tested with the conversation's layer."""

import json
import zlib
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest

from chatbot import orders
from chatbot.events import EVENTS, Event, Said
from chatbot.tables import AccountTable, EntryTable
from functions.chatbot.answer_event import answer_event
from kernel import clock, secrets, settings
from kernel.tables import Change, Put, commit
from local.cros_double import CrosDouble
from local.line_simulator import LineSimulator
from local.wechat_simulator import wechat_simulator
from tests import chats
from tests.chats import ANN, BOB, PUSH, REPLY, START, talking
from tests.functions.chatbot.examples import FUNCTIONS, IDS, USER_ID, Calls, documented, node, ok, sample, user_row
from tests.scenarios import (
    NOW,
    RED,
    about_tag,
    box,
    button,
    condition_node,
    flex_node,
    tap,
    text_node,
    to_node,
    user_reply,
)

READ = ["dynamodb BatchGetItem", "kms Decrypt"]
STORE = ["dynamodb TransactWriteItems"]
NOTE_SENT = ["dynamodb UpdateItem"]


@pytest.fixture
def line(cloud, monkeypatch):
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        settings.settings.cache_clear()
        yield simulator


def said(text, number):
    """Returns the queue's event for the documented user saying something."""
    event = sample("answer_event")
    (record,) = event["Records"]
    message = json.loads(record["body"])
    message["event_id"] = f"event-{number}"
    message["said"] |= {"text": text, "reply_token": f"token-{number}", "at": f"2024-01-28T06:05:33.83{number}Z"}
    record["body"] = json.dumps(message)
    return event


def test_the_sample_is_what_the_webhook_queues(cloud, account):
    FUNCTIONS["receive_line_events"](sample("receive_line_events"), None)

    (queued,) = cloud.queued(answer_event.queue)
    (record,) = sample("answer_event")["Records"]
    names = ("MessageGroupId", "MessageDeduplicationId")
    assert queued["body"] == record["body"]
    assert {name: queued["attributes"][name] for name in names} == {name: record["attributes"][name] for name in names}


def test_takes_the_sample(cloud, account, line):
    line.set_person(USER_ID, display_name="Rex曾")

    with Calls() as calls:
        assert answer_event(sample("answer_event"), None) == {"batchItemFailures": []}

    # Nothing is saved that the text could start: no keyword, no error scenario.
    assert calls == [*READ, "dynamodb Query", "dynamodb Query", *STORE]
    assert line.sent == []
    at = datetime(2024, 1, 28, 6, 5, 33, 830000, tzinfo=UTC)
    picture = f"https://profile.example.com/{USER_ID}"
    user = user_row(user_picture=picture, account_status="1", follow_time=at, access_time=at)
    (row,) = cloud.rows("userlist")
    assert row == {**row, **{name: value["S"] for name, value in user.item().items() if name != "created_at"}}
    assert cloud.call(FUNCTIONS["get_user_count"], IDS) == ok({"data": 1})


def test_asks_and_keeps_the_reply_encrypted(cloud, account, line):
    reply = {"variable": {"id": {"name": "id"}}, "encryption": True}
    asks = node("ask", template={"type": "text", "text": "身分證？"}, userAction={"userReply": reply}, nextNode="thank")
    nodes = [asks, node("thank", 2, template={"type": "text", "text": "謝謝 {{id}}"})]
    assert cloud.call(FUNCTIONS["save_scenario"], documented("save_scenario", nodes=nodes)) == ok()
    for number in (1, 2):
        line.own_reply_token(f"token-{number}", USER_ID)

    calls = []
    for number, text in ((1, "Keyword1 "), (2, "A123456789")):
        with Calls() as made:
            assert answer_event(said(text, number), None) == {"batchItemFailures": []}
        calls.append(made)

    assert [delivery.message["text"] for delivery in line.sent] == ["身分證？", "謝謝 A123456789"]
    assert calls == [
        [*READ, "dynamodb Query", "dynamodb GetItem", *STORE, *NOTE_SENT],
        # The token was decrypted before; now the variable is sealed, and opened for the answer.
        ["dynamodb BatchGetItem", "dynamodb GetItem", "kms Encrypt", "kms Decrypt", *STORE, *NOTE_SENT],
    ]


@pytest.fixture
def chat(cloud, monkeypatch):
    with talking(cloud, monkeypatch) as made:
        yield made


@pytest.fixture
def cros(chat, monkeypatch):
    """The external service, which the channel is connected to."""
    with CrosDouble() as double:
        monkeypatch.setenv("OUTBOUND_EXCEPTIONS", f"127.0.0.1:{double.port}")
        settings.settings.cache_clear()
        connection = {"endpoint": double.url, "key": "fake-cros-key", "clientid": "client", "params": {"n": "x"}}
        chat.operate("update_account_external_api_config", setting={"cros": connection})
        yield double


@pytest.fixture
def facts(capsys):
    """Return what the worker's lines reported since the last call."""

    def read():
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("operation") == "answer_event"]

    read()
    return read


def reservation(scenario_id, minutes=30, start="", end=""):
    return {"scenario_id": scenario_id, "reservationtime": minutes, "window": {"start": start, "end": end}}


def after(minutes):
    return clock.frozen(NOW + timedelta(minutes=minutes))


def due_at(chat):
    """Return the times of what is booked."""
    return sorted(row["at"] for row in chat.cloud.rows("due"))


def run_due(chat):
    """Let the job hand over what is due and the worker take it; return how many messages came."""
    FUNCTIONS["start_due"](sample("start_due"), None)
    records = chat.cloud.queued(EVENTS)
    assert chats.work(records) == []
    return len(records)


class TestReservations:
    @pytest.fixture(autouse=True)
    def scenarios(self, chat):
        chat.save("later", text_node("z", "it is {{x}} time"))
        chat.save("s", text_node("a", "booked", reservations_config=[reservation("later")]), keywords=["go"])
        chat.send(chat.follow(ANN))

    def test_are_booked_with_the_turn_and_sent_when_they_are_due(self, chat):
        assert chat.say(ANN, "go") == ["booked"]

        assert due_at(chat) == ["2024-01-28T07:11:29.006Z"]
        assert chat.state(ANN)["booked"] == {"s/a/0": "2024-01-28 07:11:29.006"}
        with after(29):
            assert run_due(chat) == 0
        with after(30):
            assert run_due(chat) == 1
        assert chat.heard(ANN) == ["booked", "it is  time"]
        assert chat.calls()[-1].path == PUSH
        assert chat.state(ANN)["booked"] == {}
        assert due_at(chat) == []
        # It was not the user who did something.
        assert [row["pushed_at"] for row in chat.cloud.rows("pushes")] == ["2024-01-28T07:11:29.006Z"]
        (row,) = chat.cloud.rows("userlist")
        assert row["access_time"] < "2024-01-28T07"
        with after(31):
            assert run_due(chat) == 0

    @pytest.mark.parametrize(
        ("start", "end", "at"),
        [
            ("14:00", "16:00", "2024-01-28T07:11:29.006Z"),
            ("16:00", "18:00", "2024-01-28T08:00:00.000Z"),
            ("09:00", "15:00", "2024-01-29T01:00:00.000Z"),
            ("22:00", "02:00", "2024-01-28T14:00:00.000Z"),
            ("15:00", "02:00", "2024-01-28T07:11:29.006Z"),
        ],
    )
    def test_wait_for_their_window_at_the_deployments_place(self, chat, start, end, at):
        chat.save("w", text_node("a", reservations_config=[reservation("later", 30, start, end)]), keywords=["w"])
        chat.say(ANN, "w")

        assert due_at(chat) == [at]

    def test_the_same_node_books_anew(self, chat):
        chat.say(ANN, "go")
        with after(20):
            chat.say(ANN, "go")

        assert due_at(chat) == ["2024-01-28T07:31:29.006Z"]
        with after(30):
            assert run_due(chat) == 0
        with after(50):
            assert run_due(chat) == 1
        assert chat.heard(ANN) == ["booked", "booked", "it is  time"]

    def test_what_was_handed_over_before_it_was_booked_anew_is_not_sent(self, chat, facts):
        chat.say(ANN, "go")
        with after(30):
            FUNCTIONS["start_due"](sample("start_due"), None)
            (early,) = chat.cloud.queued(EVENTS)
            chat.say(ANN, "go")
            facts()
            assert chats.work([early]) == []

        assert [line["ignored"] for line in facts()] == ["booked anew or sent"]
        with after(60):
            assert run_due(chat) == 1
        assert chat.heard(ANN) == ["booked", "booked", "it is  time"]

    def test_other_nodes_scenarios_and_people_book_for_themselves(self, chat):
        chat.save("more", text_node("y", "more"))
        both = [reservation("later"), reservation("more")]
        chat.save("t", text_node("a", "b2", reservations_config=both), keywords=["two"])
        chat.send(chat.follow(BOB))
        for user in (ANN, BOB):
            chat.say(user, "go")
            chat.say(user, "two")

        assert len(due_at(chat)) == 6
        with after(30):
            assert run_due(chat) == 6
        for user in (ANN, BOB):
            assert chat.heard(user)[:2] == ["booked", "b2"]
            assert sorted(chat.heard(user)[2:]) == ["it is  time", "it is  time", "more"]

    def test_handed_over_twice_are_sent_once(self, chat, facts):
        chat.say(ANN, "go")
        (entry,) = chat.cloud.rows("due")
        with after(30):
            assert run_due(chat) == 1
            # As after a crash between the queue and the removal.
            self.put_back(chat, entry)
            with after(40):
                assert chat.cloud.client("sqs").purge_queue(QueueUrl=self.queue_url(chat))
                facts()
                run_due(chat)

        assert {line["ignored"] for line in facts()} <= {"repeated"}
        assert chat.heard(ANN) == ["booked", "it is  time"]

    def queue_url(self, chat):
        return chat.cloud.client("sqs").get_queue_url(QueueName=EVENTS.physical_name())["QueueUrl"]

    def put_back(self, chat, entry):
        name = settings.resource_name("due")
        plain = {key: {"S": value} for key, value in entry.items()}
        chat.cloud.client("dynamodb").put_item(TableName=name, Item=plain)

    def test_for_who_has_left_are_sent_after_his_next_follow(self, chat, facts):
        chat.say(ANN, "go")
        chat.send(chat.unfollow(ANN))
        facts()
        with after(30):
            assert run_due(chat) == 1

        assert [line["not sent"] for line in facts()] == ["does not follow"]
        assert chat.state(ANN)["parked"] == [{"scenario_id": "later", "revision": 1}]
        assert chat.heard(ANN) == ["booked"]
        with after(60):
            assert chat.send(chat.follow(ANN, at=START + 3_600_000)) == 0
            assert chat.state(ANN)["parked"] == []
            assert chats.work(chat.cloud.queued(EVENTS)) == []
        assert chat.heard(ANN) == ["booked", "it is  time"]
        assert chat.state(ANN)["parked"] == []

    def test_are_sent_as_they_were_when_they_were_booked(self, chat):
        chat.say(ANN, "go")
        chat.save("later", text_node("z", "changed"))
        with after(10):
            chat.operate("delete_scenario", scenarioId="s")
            chat.operate("delete_scenario", scenarioId="later")
        with after(30):
            assert run_due(chat) == 1

        assert chat.heard(ANN) == ["booked", "it is  time"]

    def test_of_a_scenario_that_asks_go_on_with_the_answer(self, chat):
        ask = text_node("ask", "how was it?", next="thanks", userAction=user_reply("x"))
        chat.save("later", ask, text_node("thanks", "thanks for {{x}}", sort=2))
        chat.say(ANN, "go")
        with after(30):
            run_due(chat)
            assert chat.say(ANN, "nice") == ["thanks for nice"]

    def test_do_not_take_an_awaited_reply_away(self, chat):
        chat.save("q", text_node("ask", next="got", userAction=user_reply("x")), text_node("got"), keywords=["ask"])
        chat.say(ANN, "go")
        chat.say(ANN, "ask")
        with after(30):
            run_due(chat)
            assert chat.say(ANN, "answer") == ["got"]

    def test_of_what_is_gone_when_it_is_booked_are_noted_only(self, chat, facts):
        chat.operate("delete_scenario", scenarioId="later")
        facts()

        assert chat.say(ANN, "go") == ["booked"]
        assert [line["not booked"] for line in facts()] == ["later"]
        assert due_at(chat) == []

    def test_of_one_turn_may_be_more_than_a_transaction_takes(self, chat):
        for number in range(30):
            chat.save(f"later{number}", text_node("z"))
        booked = [reservation(f"later{number}") for number in range(30)]
        chat.save("many", text_node("a", "many", reservations_config=booked), keywords=["many"])
        chat.say(ANN, "go")

        for minutes in (0, 10):
            with after(minutes):
                assert chat.say(ANN, "many") == ["many"]
            assert len(due_at(chat)) == 31


class TestRecords:
    def history(self, chat):
        rows = sorted(chat.cloud.rows("variable-history"), key=lambda row: row["place"])
        return [(row["user_id"], row["variable"], json.loads(row["value"])) for row in rows]

    def test_every_value_of_a_variable_is_kept(self, chat):
        ask = text_node("ask", next="again", userAction=user_reply("x", "y"))
        again = text_node("again", userAction=user_reply("x"), sort=2)
        chat.save("s", ask, again, keywords=["go"])
        for text in ("go", "one", "two", "go", "three"):
            chat.say(ANN, text)

        wanted = [("x", "one"), ("y", "one"), ("x", "two"), ("x", "three"), ("y", "three")]
        assert self.history(chat) == [(ANN, *change) for change in wanted]

    def test_values_of_the_same_moment_are_kept_both(self, chat):
        flex = flex_node("f", flex_config=[tap("one", userVars=["x"]), tap("two", userVars=["x"])])
        chat.save("s", flex, keywords=["go"])
        chat.say(ANN, "go")
        chat.send(chat.text(ANN, "one", at=START + 100), chat.text(ANN, "two", at=START + 100))

        assert sorted(value for _, _, value in self.history(chat)) == ["one", "two"]

    def test_more_than_a_transaction_takes_is_kept_all(self, chat):
        names = [f"v{number:03}" for number in range(50)]
        for number in range(25):
            chat.save(f"later{number}", text_node("z"))
        booked = [reservation(f"later{number}") for number in range(25)]
        ask = text_node("ask", next="book", userAction=user_reply(*names))
        chat.save("s", ask, text_node("book", reservations_config=booked, sort=2), keywords=["go"])
        for minutes in (0, 10):
            with after(minutes):
                chat.say(ANN, "go")
                # The second time each booking is two writes.
                assert chat.say(ANN, f"after {minutes}") == ["book"]

        wanted = [(ANN, name, f"after {minutes}") for minutes in (0, 10) for name in names]
        assert self.history(chat) == wanted
        assert set(due_at(chat)) == {"2024-01-28T07:21:29.006Z"}
        assert len(due_at(chat)) == 25
        assert chat.state(ANN)["variables"] == dict.fromkeys(names, "after 10")

    def test_a_sealed_value_stays_sealed(self, chat):
        chat.save("s", text_node("ask", userAction=user_reply("id", encryption=True)), keywords=["go"])
        chat.say(ANN, "go")
        chat.say(ANN, "A123456789")

        ((user, name, value),) = self.history(chat)
        context = {**chats.IDS, "userId": ANN, "variable": "id"}
        assert (user, name, secrets.decrypt(value["sealed"], context).reveal()) == (ANN, "id", "A123456789")

    def form(self, chat, *names):
        chat.operate("save_variable", accountVariable=list(names))
        fields = [{"var_name": name} for name in names]
        return chat.operate("save_form", name="the form", fields=fields)["data"]["id"]

    def entries(self, chat):
        return [
            (row["user_id"], row["form_id"], row["form_name"], json.loads(zlib.decompress(row["answers"].value)))
            for row in chat.cloud.rows("form-entries")
        ]

    @pytest.mark.parametrize("shape", ["id", "object"])
    def test_a_form_is_kept_once_it_is_complete(self, chat, shape):
        form_id = self.form(chat, "x", "y")
        named = [form_id if shape == "id" else {"id": form_id}, "unknown", {"id": ""}]
        nodes = [
            text_node("one", next="two", userAction=user_reply("x"), varForms=named),
            text_node("two", userAction=user_reply("y"), varForms=named, sort=2),
        ]
        chat.save("s", *nodes, keywords=["go"])
        for text in ("go", "first"):
            chat.say(ANN, text)
        assert self.entries(chat) == []
        chat.say(ANN, "second")

        assert self.entries(chat) == [(ANN, form_id, "the form", {"x": "first", "y": "second"})]
        assert chat.operate("get_user_form")["data"][0]["formData"] == {"x": "first", "y": "second"}

    def test_a_node_that_does_not_ask_keeps_a_form_too(self, chat):
        form_id = self.form(chat, "x")
        ask = text_node("ask", next="done", userAction=user_reply("x"))
        chat.save("s", ask, text_node("done", varForms=[form_id], sort=2), keywords=["go"])
        for text in ("go", "first"):
            chat.say(ANN, text)

        assert self.entries(chat) == [(ANN, form_id, "the form", {"x": "first"})]

    def test_a_form_of_an_unanswered_or_wrong_reply_is_not_kept(self, chat):
        form_id = self.form(chat, "x")
        action = user_reply("x", checks=[("Num", "")], failed={"nextNodeId": "ask"})
        chat.save("s", text_node("ask", userAction=action, varForms=[form_id]), keywords=["go"])
        chat.say(ANN, "go")
        chat.say(ANN, "five")
        assert self.entries(chat) == []
        chat.say(ANN, "5")
        assert [entry[3] for entry in self.entries(chat)] == [{"x": "5"}]


def calls_out(*, order=False, success="", failed=""):
    ends = {name: {"nextNodeId": to, "scenarioId": ""} for name, to in (("success", success), ("failed", failed))}
    return {"cros": {"enable": True, "responseSetting": ends, "others": {"orderIdReplace": order}}}


class TestExternalService:
    def save(self, chat, **call):
        ask = text_node("ask", userAction=user_reply("x"), externalApi=calls_out(success="good", failed="bad", **call))
        chat.save("s", ask, text_node("good", sort=2), text_node("bad", sort=3), keywords=["go"])
        chat.say(ANN, "go")

    def test_is_asked_after_the_reply_and_leads_on(self, chat, cros, facts):
        self.save(chat)
        assert cros.requests == []
        facts()

        assert chat.say(ANN, "five") == ["good"]
        (order,) = cros.requests
        assert order.body == {"account_id": "client", "user_id": ANN, "n": "five"}
        assert order.headers["x-api-key"] == "fake-cros-key"
        assert [line["external"] for line in facts()] == ["ok"]
        assert chat.cloud.rows("cors-errors") == []

    def test_errors_lead_to_failed_and_are_listed(self, chat, cros, facts):
        self.save(chat)
        cros.fail("sold out", "E0002")
        facts()

        assert chat.say(ANN, "five") == ["bad"]
        assert [line["external"] for line in facts()] == ["failed"]
        assert chat.operate("get_cors_error")["data"] == [{"msg": "sold out", "code": "E0002"}]

    def test_without_connection_the_call_fails(self, chat):
        self.save(chat)

        assert chat.say(ANN, "five") == ["bad"]
        assert len(chat.operate("get_cors_error")["data"]) == 1

    def test_the_number_of_the_order_is_shown(self, chat, cros):
        out = calls_out(order=True, failed="bad")
        nodes = [
            text_node("thanks", "your order: OrderId", next="more", externalApi=out),
            text_node("more", "again: OrderId", sort=2),
            text_node("bad", "no OrderId", sort=3),
        ]
        chat.save("s", *nodes, keywords=["go"])

        assert chat.say(ANN, "go") == ["your order: CROS-000001", "again: CROS-000001"]
        assert len(cros.requests) == 1
        cros.fail("sold out")
        assert chat.say(ANN, "go") == ["no OrderId"]

    def test_a_repeated_turn_asks_with_the_same_key(self, chat, cros):
        self.save(chat)
        records = chat.queue(chat.text(ANN, "five"))
        chat.line.fail("/v2/bot/profile/*", 500, times=1)
        chat.line.fail(REPLY, 500, times=6)
        assert chats.work(records) != []
        while chats.work(records):
            pass

        # The turn was stored before it was sent, so that nothing is ordered again.
        assert len(cros.requests) == 1
        chat.say(ANN, "go")
        chat.say(ANN, "six")
        keys = [order.headers["idempotency-key"] for order in cros.requests]
        assert len(set(keys)) == 2


class TestConditions:
    def branch(self, chat, kind, *values):
        options = [{**to_node(value), "value": value} for value in values]
        nodes = [text_node(value, sort=2) for value in values]
        chat.save(
            "s", condition_node("c", *options, kind=kind, next="none"), *nodes, text_node("none"), keywords=["go"]
        )

    def test_a_url_tells_where_to_go_by_its_answer(self, chat, cros):
        ask = text_node("ask", userAction=user_reply("x"))
        chat.save("ask", ask, keywords=["ask"])
        chat.say(ANN, "ask")
        chat.say(ANN, "five")
        self.branch(chat, f"{cros.url}/which", "vip", "new")
        said = []
        for answer, status in ((b" vip\n", 200), (b"new", 200), (b"other", 200), (b"", 200), (b"vip", 500)):
            cros.answer(answer, status=status)
            said += chat.say(ANN, "go")

        assert said == ["vip", "new", "none", "none", "none"]
        assert {order.path for order in cros.requests} == {"/which"}
        assert cros.requests[0].body == {"userId": ANN, "variables": {"x": "five"}}

    def test_a_url_of_our_own_network_is_not_asked(self, chat, cros, monkeypatch):
        monkeypatch.delenv("OUTBOUND_EXCEPTIONS")
        settings.settings.cache_clear()
        self.branch(chat, f"{cros.url}/which", "vip")

        assert chat.say(ANN, "go") == ["none"]
        assert cros.requests == []

    def segment(self, chat, name, mode, conditions=(), users=()):
        given = {"segmentName": name, "mode": mode, "defaultUsersSegment": False, "cvKey": {}}
        picked = [
            {"userId": user, "userName": "", "userPicture": "", "accountStatus": "1", "accountType": "line",
             "createTime": "2024-01-28 06:00:00.000", "followTime": "2024-01-28 06:00:00.000"}
            for user in users
        ]  # fmt: skip
        chat.operate("save_user_segment", **given, segmentConditions=list(conditions), segmentUsers=picked)

    def test_segments_tell_where_to_go_by_name_or_id(self, chat):
        chat.send(chat.follow(ANN), chat.follow(BOB))
        self.segment(chat, "picked", "Custom", users=[BOB])
        self.segment(chat, "tagged", "Conditions", [about_tag("t", "has_value")])
        (picked,) = [row["segment_id"] for row in chat.cloud.rows("segments") if row["segment_name"] == "picked"]
        chat.save("tag", text_node("tag", nodeTag=[{"name": "t", "color": RED}]), keywords=["tag"])
        self.branch(chat, "bysegment", "unknown", "tagged", picked)

        assert (chat.say(ANN, "go"), chat.say(BOB, "go")) == (["none"], [picked])
        for user in (ANN, BOB):
            chat.say(user, "tag")
        assert (chat.say(ANN, "go"), chat.say(BOB, "go")) == (["tagged"], ["tagged"])

    def test_segments_may_ask_for_the_last_push(self, chat):
        chat.send(chat.follow(ANN))
        recent = {"source": "serverpushtime", "tag": None, "value": "", "expression": "has_value"}
        self.segment(chat, "pushed", "Conditions", [recent])
        chat.save("later", text_node("z"))
        chat.save("book", text_node("b", reservations_config=[reservation("later", 0)]), keywords=["book"])
        self.branch(chat, "bysegment", "pushed")

        assert chat.say(ANN, "go") == ["none"]
        chat.say(ANN, "book")
        run_due(chat)
        assert chat.say(ANN, "go") == ["pushed"]


class TestDress:
    def test_a_scenarios_icon_is_beside_its_messages(self, chat):
        chat.operate("save_icon_url", accountIconUrl=[{"name": "Shop", "url": "https://img.example.com/i.png"}])
        (icon,) = chat.operate("get_icon_url")["data"]
        chat.save("s", text_node("a", next="b"), text_node("b", sort=2), keywords=["go"], iconUrlId=icon["id"])
        chat.save("t", text_node("c"), keywords=["plain"], iconUrlId="gone")
        for text in ("go", "plain"):
            chat.say(ANN, text)

        sender = {"name": "Shop", "iconUrl": "https://img.example.com/i.png"}
        assert [delivery.message.get("sender") for delivery in chat.line.sent] == [sender, sender, None]

    def test_links_tell_who_followed_them(self, chat):
        def link(node_id, **consts):
            action = {"type": "uri", "label": "go", "uri": "https://shop.example.com/a?b=1"}
            return flex_node(node_id, footer=box(button(action)), nodeConst=consts)

        for name, consts in (("plain", {}), ("tracked", {"trackClicks": True}), ("shop", {"ecsite": True})):
            chat.save(name, link(name, **consts), keywords=[name])
            chat.say(ANN, name)

        plain, tracked, shop = (
            delivery.message["contents"]["footer"]["contents"][0]["action"]["uri"] for delivery in chat.line.sent
        )
        assert plain == "https://shop.example.com/a?b=1"
        assert tracked.startswith("https://chat.example.com/c/")
        opened = chat.cloud.call(FUNCTIONS["open_link"], None, caller="", path={"token": urlsplit(tracked).path[3:]})
        assert (opened.status, opened.more["Location"]) == (302, plain)
        (click,) = chat.cloud.rows("clicks")
        assert (click["user_id"], click["node_id"], click["scenario_id"]) == (ANN, "tracked", "tracked")
        assert shop.startswith(f"{plain}&token=")
        claims = orders.Claims(*chats.IDS.values(), ANN, "shop", "shop")
        assert shop == f"{plain}&token={quote(orders.token(*claims), safe='')}"


class TestProfiles:
    def profiles(self, chat):
        return len([call for call in chat.calls() if call.path == f"/v2/bot/profile/{ANN}"])

    def test_are_asked_again_after_a_week(self, chat):
        chat.line.set_person(ANN, display_name="Ann")
        chat.send(chat.follow(ANN))
        chat.line.set_person(ANN, display_name="Anna")
        day = 86_400_000
        names = []
        for days in (1, 6.99, 7.01, 8, 14, 14.02):
            with clock.frozen(NOW + timedelta(days=days)):
                chat.send(chat.text(ANN, "hi", at=START + int(days * day)))
            names.append((chat.users()[0][1], self.profiles(chat)))

        assert names == [("Ann", 1), ("Ann", 1), ("Anna", 2), ("Anna", 2), ("Anna", 2), ("Anna", 3)]

    def test_that_line_does_not_tell_leave_the_old_one(self, chat):
        chat.line.set_person(ANN, display_name="Ann")
        chat.send(chat.follow(ANN))
        chat.line.fail(f"/v2/bot/profile/{ANN}", 500, times=3)
        chat.send(chat.text(ANN, "hi", at=START + 8 * 86_400_000))

        assert chat.users()[0][1] == "Ann"


class TestErasure:
    def test_events_from_before_it_are_dropped(self, chat, facts):
        chat.save("s", text_node("menu"), keywords=["menu"])
        old, new = chat.text(ANN, "menu", at=START), chat.text(BOB, "menu", at=START + 2)
        records = chat.queue(old, new)
        key = AccountTable.key(*chats.IDS.values())
        commit(Change(AccountTable, key, [AccountTable.erased_at.set(clock.from_millis(START + 1))]))
        facts()

        assert chats.work(records) == []
        assert sorted(line.get("ignored", "") for line in facts()) == ["", "erased"]
        assert (chat.heard(ANN), chat.heard(BOB)) == ([], ["menu"])
        assert [row["user_id"] for row in chat.cloud.rows("conversations")] == [BOB]

    def test_what_was_booked_for_somebody_erased_is_not_sent(self, chat, facts):
        said = Said(kind="start", user_id=ANN, at=NOW, scenario_id="s", booking="b", waits=True, revision=1)
        event = Event(admin_id="0001", account_id="channel", event_id="e", said=said)
        before = chat.cloud.everything()

        assert take(event) == []
        assert [line["ignored"] for line in facts()] == ["the user is gone"]
        assert chat.cloud.everything() == before


def take(event):
    """Let the worker take one event."""
    record = sample("answer_event")["Records"][0]
    return chats.work([{**record, "body": event.model_dump_json(exclude_defaults=True)}])


class TestEntries:
    def test_who_follows_after_a_segments_link_is_in_the_segment_and_gets_its_scenario(self, chat):
        chat.save("hello", text_node("welcome"), trigger="follow")
        chat.save("gift", text_node("z", "your gift"))
        given = {"segmentName": "fair", "mode": "Conditions", "defaultUsersSegment": False, "cvKey": {}}
        conditions = [about_tag("t", "has_value")]
        chat.operate("save_user_segment", **given, segmentConditions=conditions, segmentUsers=[], scenarioId="gift")
        (segment_id,) = [row["segment_id"] for row in chat.cloud.rows("segments")]
        place = f"{ANN}#{segment_id}"
        entry = EntryTable(
            account=chats.PARTITION, place=place, user_id=ANN, segment_id=segment_id, verified=True, created_at=NOW
        )
        commit(Put(entry))

        chat.send(chat.follow(ANN))
        # What the link leads to is the next event of this user.
        assert chats.work(chat.cloud.queued(EVENTS)) == []

        assert chat.heard(ANN) == ["welcome", "your gift"]
        assert chat.cloud.rows("segment-entries") == []
        assert [(row["user_id"], row["verified"]) for row in chat.cloud.rows("segment-members")] == [(ANN, True)]
        assert [int(row["members"]) for row in chat.cloud.rows("segments")] == [1]

    def test_who_follows_after_two_links_is_in_both_segments(self, chat):
        chat.save("gift", text_node("z", "your gift"))
        given = {"mode": "Conditions", "defaultUsersSegment": False, "cvKey": {}, "segmentUsers": []}
        for name in ("fair", "night"):
            conditions = [about_tag(name, "has_value")]
            chat.operate(
                "save_user_segment", **given, segmentName=name, segmentConditions=conditions, scenarioId="gift"
            )
        for row in chat.cloud.rows("segments"):
            segment_id = row["segment_id"]
            entry = EntryTable(
                account=chats.PARTITION, place=f"{ANN}#{segment_id}", user_id=ANN, segment_id=segment_id,
                verified=True, created_at=NOW,
            )  # fmt: skip
            commit(Put(entry))

        chat.send(chat.follow(ANN))
        assert chats.work(chat.cloud.queued(EVENTS)) == []

        assert chat.heard(ANN) == ["your gift"] * 2
        assert len(chat.cloud.rows("segment-members")) == 2


class TestWechat:
    def test_is_answered_with_its_own_calls(self, cloud, monkeypatch):
        ids = {"adminId": "0001", "accountId": "wechat"}
        with wechat_simulator(secrets={"wx1": "wechat-secret"}) as wechat:
            monkeypatch.setenv("WECHAT_API_ENDPOINT", wechat.url)
            settings.settings.cache_clear()
            fields = {
                **ids, "accountName": "w", "accountType": "wechat", "accountIcon": "", "appId": "wx1",
                "accountWebhookUrl": "https://chat.example.com/api/wechat?adminid=0001&accountid=wechat",
                "accountToken": "token", "accountSecret": "wechat-secret", "accountClone": "",
            }  # fmt: skip
            assert cloud.call(FUNCTIONS["create_account"], fields) == ok()
            head = {"scenarioId": "s", "scenarioName": "s", "trigger": "keyword", "keywords": ["go"]}
            nodes = [text_node("one", next="two"), text_node("two", sort=2)]
            assert cloud.call(FUNCTIONS["save_scenario"], {**ids, "scenario": head, "nodes": nodes}) == ok()
            wechat.heard("openid")
            said = Said(kind="text", user_id="openid", at=clock.now(), text="go")
            event = Event(admin_id="0001", account_id="wechat", event_id="m1", said=said)

            assert take(event) == take(event) == []

            assert [one.message["text"]["content"] for one in wechat.sent] == ["one", "two"]
        (row,) = cloud.rows("turns")
        assert row["delivered_at"] == "2024-01-28T06:41:29.006Z"
