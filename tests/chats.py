"""A LINE channel on moto, the people who write to it, and what LINE's simulator delivers to them."""

import json
import zlib
from contextlib import contextmanager
from itertools import count

from infra.discovery import declarations
from kernel import clock, settings
from local import line_webhook
from local.line_simulator import LineSimulator
from tests.scenarios import NOW, words

FUNCTIONS = {function.name: function for function in declarations("chatbot").functions}
IDS = {"adminId": "0001", "accountId": "channel"}
PARTITION = "#0001#channel"
SECRET = "fake-channel-secret"
ANN, BOB, CAT = ("U" + letter * 32 for letter in "abc")
REPLY, PUSH = "/v2/bot/message/reply", "/v2/bot/message/push"
OK = {"ErrorCode": 200, "ErrorMessage": "ok", "Result": None}
START = int(NOW.timestamp() * 1000) - 10_000
WORKER = FUNCTIONS["answer_event"]
QUEUE = WORKER.queue


class Chat:
    """A channel, the people who write to it, and what they get."""

    def __init__(self, cloud, line):
        self.cloud = cloud
        self.line = line
        self._numbers = count(1)

    def operate(self, operation, /, **body):
        answer = self.cloud.call(FUNCTIONS[operation], {**IDS, **body})
        assert answer.status == 200, answer.body
        return answer.body.get("Result")

    def save(self, scenario_id, *nodes, trigger="", keywords=(), **more):
        head = {
            "scenarioId": scenario_id,
            "scenarioName": scenario_id,
            "trigger": "keyword" if keywords else trigger,
            "keywords": list(keywords),
            **more,
        }
        self.operate("save_scenario", scenario=head, nodes=list(nodes))

    def common(self, user, at=None, **common):
        """Returns what an event of the next moment carries; its reply token is the user's."""
        number = next(self._numbers)
        given = {
            "webhook_event_id": f"event-{number}",
            "timestamp": START + number if at is None else at,
            "reply_token": f"token-{number}",
            "random_bytes": bytes,
            **common,
        }
        self.line.own_reply_token(given["reply_token"], user)
        return given

    def text(self, user, text, **common):
        return line_webhook.text_event(user, text, **self.common(user, **common))

    def follow(self, user, **common):
        return line_webhook.follow_event(user, **self.common(user, **common))

    def unfollow(self, user, **common):
        return line_webhook.unfollow_event(user, **self.common(user, **common))

    def postback(self, user, data, params=None, **common):
        return line_webhook.postback_event(user, data, params=params, **self.common(user, **common))

    def media(self, user, kind, **common):
        event = self.text(user, "", **common)
        return {**event, "message": {"type": kind, "id": "1"}}

    def post(self, *events):
        """Posts the events to the webhook as LINE does."""
        body = line_webhook.webhook_body(events).decode()
        answer = self.cloud.call(
            FUNCTIONS["receive_line_events"],
            body,
            headers={"X-Line-Signature": line_webhook.signature(SECRET, body.encode())},
            query={"adminid": IDS["adminId"], "accountid": IDS["accountId"]},
        )
        assert (answer.status, answer.body) == (200, "")

    def queue(self, *events):
        """Posts the events and returns what the queue hands out."""
        self.post(*events)
        return self.cloud.queued(QUEUE)

    def send(self, *events):
        """Posts the events and lets the worker take them; returns how many it handed back."""
        return len(work(self.queue(*events)))

    def say(self, user, text, **common):
        """Lets a user say something and returns what he is told."""
        before = len(self.line.sent)
        assert self.send(self.text(user, text, **common)) == 0
        return [words(delivery.message) for delivery in self.line.sent[before:]]

    def heard(self, user):
        return [words(delivery.message) for delivery in self.line.sent if delivery.user == user]

    def calls(self, path=None):
        return [call for call in self.line.calls if path in (None, call.path)]

    def users(self):
        """Returns the user list as the operator sees it: (id, name, status, follow time)."""
        listed = self.operate("get_users_list")
        assert listed["count"] == self.operate("get_user_count")["data"]
        return [(one["userId"], one["userName"], one["accountStatus"], one["followTime"]) for one in listed["data"]]

    def followers(self):
        return self.operate("get_user_count")["data"]

    def state(self, user):
        rows = [row for row in self.cloud.rows("conversations") if row["user_id"] == user]
        return json.loads(zlib.decompress(rows[0]["state"].value)) if rows else None

    def row(self, user):
        (row,) = [row for row in self.cloud.rows("conversations") if row["user_id"] == user]
        return {**row, "state": json.loads(zlib.decompress(row["state"].value))}


def work(records, attempt=1):
    """Lets the worker take a batch; returns the ids of the messages that it hands back."""
    for record in records:
        record["attributes"]["ApproximateReceiveCount"] = str(attempt)
    answer = WORKER({"Records": records}, None)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def shown(event):
    """Returns an event's time as the user list shows it."""
    moment = clock.from_millis(event["timestamp"])
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


@contextmanager
def talking(cloud, monkeypatch):
    """Makes a LINE channel whose messages reach a simulator of LINE."""
    with LineSimulator() as line:
        monkeypatch.setenv("LINE_API_ENDPOINT", line.url)
        settings.settings.cache_clear()
        fields = {
            **IDS,
            "accountName": "test",
            "accountType": "line",
            "accountIcon": "https://img.example.com/i.png",
            "accountWebhookUrl": "https://chat.example.com/api/LineMessage/send?adminid=0001&accountid=channel",
            "accountToken": "fake-channel-token",
            "accountSecret": SECRET,
            "accountClone": "",
        }
        assert cloud.call(FUNCTIONS["create_account"], fields).body == OK
        yield Chat(cloud, line)
