"""`make demo`: the chatbot's main job and a shop's day over HTTP; ends with the first step that differs."""

from __future__ import annotations

import http.client
import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from local import demo_bot, demo_campaign, line_webhook
from local.caller import Answer, Caller
from local.cloud import FOLDER
from local.demo_shop import Counter, Day
from local.demo_steps import NOT_UP, Difference, has, same, walk
from local.flex_text import render
from local.prove import prove
from local.seed import WEBHOOK_PATH, new_account_id
from local.steps import Problem

_PATIENCE = 30.0
_UNAUTHORIZED = {"ErrorCode": 401, "ErrorMessage": "Unauthorized", "Result": None}
_DONE = {"ErrorCode": 200, "ErrorMessage": "ok", "Result": None}
# An operator has at most 100 channels, and a channel cannot be deleted.
_MOST_TOURS = 20
_TOUR = "Tour 導覽"


@dataclass(frozen=True)
class Stack:
    """Where the local stack is, and who may sign in there."""

    base: str
    tenant: Mapping[str, str]
    other: Mapping[str, str]
    simulator: str

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Stack:
        """Return what `make up` wrote."""
        try:
            base = json.loads((folder / "endpoints.json").read_text())["chatbot"]
            demo = json.loads((folder / "demo.json").read_text())
            tenant, other = demo["chatbot"], demo["chatbotOther"]
        except (OSError, ValueError, KeyError):
            raise Problem(NOT_UP) from None
        if "simulator" not in tenant:
            raise Problem("the stack talks to another LINE than the simulator: make up without LINE_API_ENDPOINT")
        return cls(base, tenant, other, tenant["simulator"])


class Person:
    """Somebody with LINE on the phone, who talks to one channel and sees what it answers."""

    def __init__(self, simulator: str, webhook: str, secret: str, name: str) -> None:
        self.user_id = "U" + secrets.token_hex(16)
        self.name = name
        self._place = urlsplit(simulator).netloc
        self.webhook = webhook
        self._secret = secret
        self._seen = 0
        self._control("POST", f"users/{self.user_id}", {"displayName": name})

    def send(self, *events: line_webhook.Event) -> int:
        """Let LINE deliver events in one webhook; return the status that it answered."""
        for event in events:
            if token := event.get("replyToken"):
                self._control("POST", "reply-tokens", {"token": token, "user": event["source"]["userId"]})
        try:
            return line_webhook.deliver(self.webhook, self._secret, events)
        except (OSError, http.client.HTTPException):
            raise Problem(NOT_UP) from None

    def say(self, text: str) -> int:
        """Send a text."""
        return self.send(line_webhook.text_event(self.user_id, text))

    def sees(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many messages and return them; what comes too late or too much shows as a difference."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + _PATIENCE
        while len(found) < count and time.monotonic() < deadline:
            query = urlencode({"user": self.user_id, "after": self._seen, "wait": 5})
            answer = self._control("GET", f"messages?{query}")
            found += [one["message"] for one in answer["messages"]]
            self._seen = max([self._seen, *(one["seq"] for one in answer["messages"])])
        return found

    def _control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection(self._place, timeout=60)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/_simulator/{path}", content, {"Content-Type": "application/json"})
            return json.load(connection.getresponse())
        except (OSError, http.client.HTTPException, ValueError):
            raise Problem(f"the LINE simulator at {self._place} does not answer: make up") from None
        finally:
            connection.close()


class Tour:
    """The steps of the demo, in the order in which they are written; each returns what was seen."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._operator = Caller(stack.base)
        self._account_id = new_account_id()
        self._secret = secrets.token_hex(16)
        self._person: Person | None = None
        self._people = 0
        self._last: line_webhook.Event = {}
        self._the_campaign: demo_campaign.Campaign | None = None

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Return the steps with what each does."""
        return [
            ("sign in with a wrong password", self._wrong_password),
            ("sign in", self._sign_in),
            ("list the channels", self._list_channels),
            ("create a channel", self._create_channel),
            ("save a tag", self._save_tag),
            ("save variables", self._save_variables),
            ("save a scenario that cannot run", self._save_flawed_scenario),
            ("save the scenarios", self._save_scenarios),
            ("LINE checks the webhook", self._check_webhook),
            ("somebody follows", self._follow),
            ("says the keyword", self._keyword),
            ("gives a name", lambda: self._turn("小明", demo_bot.ASK_PEOPLE.replace("{{name}}", "小明"))),
            ("gives a word for a number", lambda: self._turn("很多", demo_bot.ASK_PEOPLE_AGAIN)),
            ("gives a number", lambda: self._turn("6", demo_bot.ASK_PHONE)),
            ("gives a telephone number", self._finish),
            ("LINE delivers it again", self._redeliver),
            ("a condition on the tag", lambda: self._turn("我的報名", "小明，您是 VIP：6 位，專人接待。")),
            ("says something else", lambda: self._turn("今天天氣如何", demo_bot.SORRY)),
            ("list the users", self._list_users),
            ("conversation records", self._records),
            ("conversation records as CSV", self._csv),
            ("a form and its scenario", lambda: self._campaign.make_form()),
            ("a preview, nothing sent", lambda: self._campaign.preview()),
            ("more people follow", self._crowd),
            ("somebody fills in the form", self._fill_form),
            ("what was filled in", lambda: self._campaign.read_form(self._somebody.user_id)),
            ("the report as CSV", lambda: self._campaign.report(self._somebody.user_id)),
            ("a segment by condition", lambda: self._campaign.segment(self._somebody.user_id)),
            ("a rich menu", lambda: self._campaign.menu()),
            ("what a broadcast would cost", lambda: self._campaign.estimate()),
            ("a broadcast", lambda: self._campaign.broadcast()),
            ("broadcasts that are over", lambda: self._campaign.history()),
            ("a webhook with a wrong signature", self._wrong_signature),
            ("a call without token", self._no_token),
            ("a call for another tenant", self._foreign_tenant),
            ("another tenant's channel", self._foreign_channel),
        ]

    def _wrong_password(self) -> str:
        body = {"adminId": self._stack.tenant["adminId"], "password": "wrong"}
        return _expect(Caller(self._stack.base).call("login", body), _UNAUTHORIZED)

    def _sign_in(self) -> str:
        self._operator.sign_in(self._stack.tenant["adminId"], self._stack.tenant["password"])
        return f"id_token for {self._operator.admin_id}"

    def _list_channels(self) -> str:
        accounts = self._operator.result("getAccount")["accounts"]
        has("the list", {one["accountId"] for one in accounts}, self._stack.tenant["accountId"])
        tours = [one for one in accounts if one["accountName"] == _TOUR]
        if len(tours) >= _MOST_TOURS:
            self._account_id, self._secret = tours[0]["accountId"], tours[0]["accountSecret"]
        return f"{len(accounts)}: {', '.join(sorted({one['accountName'] for one in accounts}))}"

    def _create_channel(self) -> str:
        webhook = f"{self._stack.base}/{WEBHOOK_PATH}?{self._query()}"
        fields = {
            "accountId": self._account_id,
            "accountName": _TOUR,
            "accountType": "line",
            "accountIcon": "https://img.example.com/tour.png",
            "accountWebhookUrl": webhook,
            "accountToken": secrets.token_hex(32),
            "accountSecret": self._secret,
        }
        known = {one["accountId"] for one in self._operator.result("getAccount")["accounts"]}
        if self._account_id in known:
            self._operator.result("updateAccount", **fields)
            seen = f"{self._account_id}, made by an earlier tour"
        else:
            seen = _expect(self._call("createAccount", **fields, accountClone=""), _DONE) + f", {self._account_id}"
        self._person = Person(self._stack.simulator, webhook, self._secret, "小明")
        self._people = self._operator.result("getUsersList", accountId=self._account_id)["count"]
        return seen

    def _save_tag(self) -> str:
        return _expect(self._call("saveTag", tag={**demo_bot.VIP, "values": []}), _DONE)

    def _save_variables(self) -> str:
        return _expect(self._call("saveVariable", accountVariable=demo_bot.VARIABLES), _DONE)

    def _save_flawed_scenario(self) -> str:
        scenario = {"scenarioId": "", "scenarioName": "Flawed", "trigger": "keyword", "keywords": []}
        node = {"level": "1", "sort": 1, "title": "Flawed", "nodeConst": {}}
        nodes = [
            {**node, "nodeId": "one", "type": "text", "template": {"type": "sticker"}},
            {**node, "nodeId": "one", "type": "text", "template": {"type": "text", "text": "hi"}, "nextNode": "two"},
        ]
        answer = self._call("saveScenario", scenario=scenario, nodes=nodes)
        same("the status", answer.status, 400)
        message = str(answer.json["ErrorMessage"])
        for flaw in ("scenario.keywords", "nodes[0].template.type", "nodes[1].nodeId", "nodes[1].nextNode"):
            has("the message", message, flaw)
        return message

    def _save_scenarios(self) -> str:
        scenarios = demo_bot.scenarios()
        for scenario in scenarios:
            _expect(self._call("saveScenario", **scenario), _DONE)
        listed = self._operator.result("getScenario", accountId=self._account_id)["data"]
        saved = {one["scenario"]["scenarioId"]: one["nodes"] for one in scenarios}
        same("what was saved", {one["id"]: one["nodes"] for one in listed}, saved)
        return ", ".join(one["scenario"]["scenarioName"] for one in scenarios)

    def _check_webhook(self) -> str:
        same("the status", self._somebody.send(), 200)
        return "200 for no events"

    def _follow(self) -> str:
        self._somebody.send(line_webhook.follow_event(self._somebody.user_id))
        return self._sees(demo_bot.GREETING, None)

    def _keyword(self) -> str:
        return self._turn("register", demo_bot.ASK_NAME)

    def _finish(self) -> str:
        self._last = line_webhook.text_event(self._somebody.user_id, "0912-345-678")
        self._somebody.send(self._last)
        return self._sees(demo_bot.VIP_TEXT, None)

    def _redeliver(self) -> str:
        again = {**self._last, "deliveryContext": {"isRedelivery": True}}
        same("the status", self._somebody.send(again), 200)
        # Events of one person are answered in order: had the repeated one led to messages, they came first.
        self._somebody.say("資訊")
        self._sees(demo_bot.OPENING_HOURS, None)
        return "no second answer"

    def _list_users(self) -> str:
        result = self._operator.result("getUsersList", accountId=self._account_id, keywords=self._somebody.user_id)
        seen = [(one["userId"], one["userName"], one["accountStatus"]) for one in result["data"]]
        same("the follower", seen, [(self._somebody.user_id, self._somebody.name, "1")])
        same("the number of followers", result["count"], self._people + 1)
        return f"{result['count']} follower: {self._somebody.name}"

    def _records(self) -> str:
        records = self._operator.result("getChatHistory", accountId=self._account_id)["data"]
        mine = next((one for one in records if one["userId"] == self._somebody.user_id), None)
        same("the record", mine is not None, True)
        assert mine is not None
        tags = [tag["name"] for tag in mine["tags"]]
        same("the tags", sorted(tags), sorted([demo_bot.VIP["name"], demo_bot.REGISTERED["name"]]))
        return f"{mine['userName']} at node {mine['nodeId']}, tags {', '.join(tags)}"

    def _csv(self) -> str:
        now = datetime.now(UTC)
        period = {
            "startTime": f"{now - timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
            "endTime": f"{now + timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
        }
        partner = Caller(self._stack.base)
        body = {"adminId": self._operator.admin_id, "accountId": self._account_id, **period}
        answer = partner.call("getChatHistoryCsv", body, {"X-Partner-Key": self._stack.tenant["partnerKey"]})
        header, *rows = answer.text.splitlines()
        columns = "userid,username,userpicture,accounttype,accountstatus,nodeid,tags,followtime,accesstime,createtime"
        same("the columns", header, columns)
        same("a row of the follower", any(row.startswith(self._somebody.user_id) for row in rows), True)
        return f"{answer.content_type}, {len(rows)} row, fetched with the partner's key"

    def _crowd(self) -> str:
        crowd = [f"U{secrets.token_hex(16)}" for _ in range(demo_campaign.PEOPLE)]
        same("the status", self._somebody.send(*map(line_webhook.follow_event, crowd)), 200)
        wanted = self._people + 1 + len(crowd)
        deadline = time.monotonic() + 2 * _PATIENCE
        while (count := self._operator.result("getUserCount", accountId=self._account_id)["data"]) != wanted:
            if time.monotonic() > deadline:
                raise Difference(f"the number of followers: expected {wanted}, saw {count}")
            time.sleep(0.5)
        return f"{count} followers"

    def _fill_form(self) -> str:
        self._turn("座位", demo_campaign.ASK_SEATS)
        return self._turn("4", demo_campaign.THANKS.replace("{{seats}}", "4"))

    @property
    def _campaign(self) -> demo_campaign.Campaign:
        if self._the_campaign is None:
            key = self._stack.tenant["partnerKey"]
            simulator = self._stack.simulator
            self._the_campaign = demo_campaign.Campaign(self._operator, self._account_id, simulator, key)
        return self._the_campaign

    def _wrong_signature(self) -> str:
        event = line_webhook.text_event(self._somebody.user_id, "資訊")
        body = line_webhook.webhook_body([event])
        headers = {"x-line-signature": line_webhook.signature("not the secret", body)}
        return _expect(Caller(self._stack.base).call(f"{WEBHOOK_PATH}?{self._query()}", body, headers), _UNAUTHORIZED)

    def _no_token(self) -> str:
        return _expect(Caller(self._stack.base).call("getAccount", {"adminId": "0001"}), _UNAUTHORIZED)

    def _foreign_tenant(self) -> str:
        return _expect(self._operator.call("getAccount", {"adminId": self._stack.other["adminId"]}), _UNAUTHORIZED)

    def _foreign_channel(self) -> str:
        refused = {"ErrorCode": 400, "ErrorMessage": "accountId not found", "Result": None}
        body = {"adminId": self._operator.admin_id, "accountId": self._stack.other["accountId"]}
        return _expect(self._operator.call("getScenario", body), refused)

    @property
    def _somebody(self) -> Person:
        assert self._person is not None
        return self._person

    def _query(self) -> str:
        return urlencode({"adminid": self._stack.tenant["adminId"], "accountid": self._account_id})

    def _call(self, operation: str, **fields: Any) -> Answer:
        body = {"adminId": self._operator.admin_id, "accountId": self._account_id, **fields}
        return self._operator.call(operation, body)

    def _turn(self, said: str, expected: str) -> str:
        self._somebody.say(said)
        return f"{said} → {self._sees(expected)}"

    def _sees(self, *expected: str | None) -> str:
        # None is a message that is shown, but not compared word by word.
        messages = self._somebody.sees(len(expected))
        shown = [" / ".join(render(message).lines) for message in messages]
        texts = [message.get("text") for message in messages]
        same("the number of messages", len(messages), len(expected))
        for text, wanted in zip(texts, expected, strict=True):
            if wanted is not None:
                same("the message", text, wanted)
        return " | ".join(shown)


def _expect(answer: Answer, body: Mapping[str, Any]) -> str:
    same("the answer", (answer.status, answer.json), (body["ErrorCode"], body))
    return f"{body['ErrorCode']} {body['ErrorMessage']}"


def main() -> int:
    """Go through all steps and print a line for each; the first difference ends the tour with 1."""
    started = time.monotonic()
    try:
        counter = Counter.read()
        tours = {"the chatbot": Tour(Stack.read()).steps(), "a shop's day": Day(counter).steps()}
        for name, steps in tours.items():
            print(f"== {name}")
            if not walk(steps):
                return 1
            print()
        print("== the books")
        if not prove(counter.base, counter.shop.operator.username, counter.shop.operator.password):
            return 1
        print(f"\n{sum(map(len, tours.values()))} steps, {time.monotonic() - started:.1f} s")
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
