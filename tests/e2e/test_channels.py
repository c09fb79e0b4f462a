"""Messenger and WeChat through the real gateway: signed webhooks in, answers at the doubles."""

import hashlib
import hmac
import http.client
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from kernel.channels.wechat import envelope
from kernel.secrets import Secret
from local.chat_double import ChatDouble

AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
APP = "wx00000000000000e2"
PATIENCE = 60.0


def text(node_id: str, said: str, **more: Any) -> dict[str, Any]:
    return {"nodeId": node_id, "type": "text", "template": {"type": "text", "text": said}, **more}


CARD = {
    "nodeId": "card",
    "type": "flex",
    "template": {
        "type": "bubble",
        "body": {"type": "box", "layout": "vertical", "contents": [{"type": "text", "text": "選一個"}]},
        "footer": {
            "type": "box",
            "layout": "vertical",
            "contents": [
                {"type": "button", "action": {"type": "message", "label": label, "text": label}}
                for label in ("紅", "藍")
            ],
        },
    },
}


class Platform:
    """A platform that calls a channel's webhook, and what its users see."""

    def __init__(self, stack: Any, double: ChatDouble, path: str, account_type: str, **more: Any) -> None:
        self.double = double
        self.secret, self.token = secrets.token_hex(16), secrets.token_hex(16)
        self._operator = stack.operator()
        self.ids = {"accountId": f"{account_type}-{secrets.token_hex(8)}"}
        self.query = {"adminid": self._operator.admin_id, "accountid": self.ids["accountId"]}
        self.webhook = f"{stack.base}/{path}"
        self._operator.result(
            "createAccount", **self.ids, accountName="Test", accountType=account_type, accountIcon="",
            accountWebhookUrl=f"{self.webhook}?{urlencode(self.query)}", accountToken=self.token,
            accountSecret=self.secret, accountClone="", **more,
        )  # fmt: skip

    def save(self, *nodes: Mapping[str, Any], keywords: tuple[str, ...] = (), trigger: str = "keyword") -> None:
        head = {"scenarioId": "", "scenarioName": "Test", "trigger": trigger, "keywords": list(keywords)}
        filled = [{"level": "1", "sort": n, "title": "t", "nodeConst": {}, **node} for n, node in enumerate(nodes)]
        self._operator.result("saveScenario", **self.ids, scenario=head, nodes=filled)

    def users(self) -> list[tuple[str, str, str]]:
        listed = self._operator.result("getUsersList", **self.ids)["data"]
        return [(one["userId"], one["userName"], one["accountType"]) for one in listed]

    def call(self, method: str, query: Mapping[str, str], body: bytes = b"", **headers: str) -> tuple[int, str]:
        place = urlsplit(self.webhook)
        connection = http.client.HTTPConnection(place.netloc, timeout=PATIENCE)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, f"{place.path}?{urlencode({**self.query, **query})}", body, named)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def sees(self, user: str, count: int, after: int = 0) -> list[Any]:
        """Wait for so many messages."""
        deadline = time.monotonic() + PATIENCE
        found: list[Any] = []
        while len(found) < count and time.monotonic() < deadline:
            last = found[-1].seq if found else after
            found += self.double.messages(user, after=last, wait=5)
        return [one.message for one in found]


class TestMessenger:
    @pytest.fixture
    def page(self, stack: Any, messenger: ChatDouble) -> Platform:
        return Platform(stack, messenger, "api/facebook", "fb")

    def post(self, page: Platform, user: str, mid: str, secret: str = "", **event: Any) -> tuple[int, str]:
        whole = {"sender": {"id": user}, "recipient": {"id": "1"}, "timestamp": int(time.time() * 1000), **event}
        if "message" in whole:
            whole["message"] = {"mid": mid, **whole["message"]}
        body = json.dumps({"object": "page", "entry": [{"id": "1", "messaging": [whole]}]}).encode()
        signature = "sha256=" + hmac.digest((secret or page.secret).encode(), body, hashlib.sha256).hex()
        return page.call("POST", {}, body, Content_Type="application/json", X_Hub_Signature_256=signature)

    def test_a_page_is_subscribed(self, page: Platform) -> None:
        query = {"hub.mode": "subscribe", "hub.verify_token": page.ids["accountId"], "hub.challenge": "1158201444"}

        assert page.call("GET", query) == (200, "1158201444")
        assert page.call("GET", {**query, "hub.verify_token": "wrong"})[0] == 401

    def test_a_user_talks_with_the_bot(self, page: Platform) -> None:
        page.save(text("hello", "歡迎 👋"), trigger="follow")
        page.save(text("pick", "請選", nextNode="card"), CARD, keywords=("選單",))
        page.save(text("blue", "藍色"), keywords=("藍",))
        user = "9" + secrets.token_hex(6).translate(str.maketrans("abcdef", "012345"))
        page.double.person(user).name = "王小明"

        assert self.post(page, user, "", postback={"title": "開始", "payload": "GET_STARTED"}) == (
            200,
            "EVENT_RECEIVED",
        )
        assert page.sees(user, 1) == [{"text": "歡迎 👋"}]
        for _ in range(2):
            assert self.post(page, user, f"mid-{user}", message={"text": "選單"}) == (200, "EVENT_RECEIVED")
        seen = page.sees(user, 3)[1:]
        (element,) = seen[1]["attachment"]["payload"]["elements"]
        assert (seen[0], element["title"]) == ({"text": "請選"}, "選一個")
        blue = element["buttons"][1]
        assert blue == {"type": "postback", "title": "藍", "payload": "藍"}
        self.post(page, user, "", postback={"title": blue["title"], "payload": blue["payload"]})
        assert page.sees(user, 4)[3:] == [{"text": "藍色"}]
        assert page.users() == [(user, "王小明", "fb")]

    def test_what_is_not_signed_is_refused(self, page: Platform) -> None:
        status, answer = self.post(page, "1", "m", "wrong", message={"text": "選單"})

        assert (status, json.loads(answer)["ErrorMessage"]) == (401, "Unauthorized")


class TestWechat:
    @pytest.fixture
    def account(self, stack: Any, wechat: ChatDouble) -> Platform:
        return Platform(stack, wechat, "api/wechat", "wechat", appId=APP, encodingAesKey=AES_KEY)

    def signed(self, account: Platform, *more: str) -> dict[str, str]:
        stamp, nonce = str(int(time.time())), secrets.token_hex(5)

        def sha1(*parts: str) -> str:
            return hashlib.sha1("".join(sorted([account.token, *parts])).encode()).hexdigest()

        query = {"timestamp": stamp, "nonce": nonce, "signature": sha1(stamp, nonce)}
        return {**query, "msg_signature": sha1(stamp, nonce, *more)} if more else query

    def say(self, account: Platform, user: str, said: str, number: str, *, sealed: bool = False) -> str:
        account.double.heard(user)
        body = (
            f"<xml><ToUserName>gh_1</ToUserName><FromUserName>{user}</FromUserName><CreateTime>{int(time.time())}"
            f"</CreateTime><MsgType>text</MsgType><Content>{said}</Content><MsgId>{number}</MsgId></xml>"
        )
        query = self.signed(account)
        if sealed:
            whole = envelope.encrypted_reply(Secret(AES_KEY), Secret(account.token), APP, body, "1", "n")
            cipher = envelope.parsed(whole.encode())["Encrypt"]
            body, query = f"<xml><Encrypt>{cipher}</Encrypt></xml>", self.signed(account, cipher)
        status, answer = account.call("POST", query, body.encode(), Content_Type="text/xml")
        assert status == 200, answer
        return answer

    def shown(self, answer: str, user: str, account: Platform, count: int) -> list[str]:
        """The texts that a user sees: a function's first call may be too slow to answer at once."""
        first = [] if answer == "success" else [envelope.parsed(answer.encode())["Content"]]
        return first + [one["text"]["content"] for one in account.sees(user, count - len(first), self.seen)]

    def test_the_address_of_an_account_is_checked(self, account: Platform) -> None:
        assert account.call("GET", {**self.signed(account), "echostr": "4819"}) == (200, "4819")
        assert account.call("GET", {**self.signed(account), "echostr": "4819", "nonce": "other"})[0] == 401

    def test_a_user_talks_with_the_bot(self, account: Platform) -> None:
        account.save(text("pick", "請選", nextNode="card"), CARD, keywords=("選單",))
        account.save(text("blue", "藍色"), keywords=("藍",))
        user, number = f"o-{secrets.token_hex(8)}", secrets.randbelow(1 << 60)
        self.seen = 0

        answer = self.say(account, user, "選單", str(number))
        assert self.shown(answer, user, account, 2) == ["請選", "選一個\n1. 紅\n2. 藍"]
        assert self.say(account, user, "選單", str(number)) == "success"
        self.seen = account.double.messages(user)[-1].seq
        assert self.shown(self.say(account, user, "2", str(number + 1)), user, account, 1) == ["藍色"]
        assert account.users() == [(user, "", "wechat")]

    def test_in_the_encrypted_mode_the_answer_is_sealed(self, account: Platform) -> None:
        account.save(text("blue", "藍色"), keywords=("藍",))
        user, number = f"o-{secrets.token_hex(8)}", secrets.randbelow(1 << 60)
        # The first call starts the function, which may take longer than WeChat waits.
        self.say(account, user, "hm", str(number))

        answer = self.say(account, user, "藍", str(number + 1), sealed=True)

        inner = envelope.decrypted(Secret(AES_KEY), APP, envelope.parsed(answer.encode())["Encrypt"])
        assert envelope.parsed(inner)["Content"] == "藍色"


def test_the_demo_tenant_has_its_bot_on_every_channel(stack: Any) -> None:
    demo = json.loads((stack.cloud.folder / "demo.json").read_text())["chatbot"]
    operator = stack.operator()

    accounts = {one["accountId"]: one["accountType"] for one in operator.result("getAccount")["accounts"]}
    named = {demo["accountId"]: "line", demo["messenger"]["accountId"]: "fb", demo["wechat"]["accountId"]: "wechat"}
    assert named.items() <= accounts.items()
    names = [
        sorted(one["scenario"]["scenarioName"] for one in operator.result("getScenario", accountId=account)["data"])
        for account in named
    ]
    assert names[0]
    assert names == [names[0]] * 3
