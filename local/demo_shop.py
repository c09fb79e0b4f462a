"""A shop's day over HTTP, from opening to close: what `make demo` does with the membership system."""

from __future__ import annotations

import json
import secrets
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from typing import Any

from local.cloud import FOLDER
from local.demo_steps import NOT_UP, Difference, has, same
from local.seed_shop import NAME, Shop
from local.shop_caller import Answer, Office, Till, md5, request
from local.steps import Problem

_IMAGE_PART = "----citypass"
# An account gets one SMS a minute.
_SMS_PAUSE = 65.0


@dataclass(frozen=True)
class Counter:
    """Where the membership system is, and the demo shop."""

    base: str
    shop: Shop

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Counter:
        """Return what `make up` wrote."""
        try:
            base = json.loads((folder / "endpoints.json").read_text())[NAME]
            kept = json.loads((folder / "demo.json").read_text())[NAME]
        except (OSError, ValueError, KeyError):
            raise Problem(NOT_UP) from None
        return cls(base, Shop.of(kept))


class Day:
    """The steps of the day, in their order; each returns what was seen."""

    def __init__(self, counter: Counter) -> None:
        self._shop = counter.shop
        self._till = Till(counter.base)
        self._owner = Till(counter.base)
        self._office = Office(counter.base)
        self._phone = f"138{secrets.randbelow(10**8):08d}"
        self._password = md5(self._phone[-6:])
        self._image = ""
        self._key = ""
        self._user = 0
        self._expense = 0
        self._owner_code = ""
        self._opening = 0.0

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Return the steps with what each does."""
        return [
            ("a call without a token", self._no_token),
            ("the cashier signs in", self._sign_in),
            ("what the drawer should hold", self._count_before),
            ("open two cards", self._open_cards),
            ("upload the picture of the receipt", self._upload),
            ("recharge under an event", self._recharge_event),
            ("the same request again", self._repeat),
            ("recharge and get coupons", self._recharge_coupons),
            ("pay 260 from the activity card", self._pay),
            ("pay with a wrong password", self._wrong_password),
            ("pay more than there is", self._too_much),
            ("scan the card", self._scan),
            ("redeem a coupon", self._redeem),
            ("give back 60 of the payment", self._refund),
            ("refund a recharge that was spent", self._refund_spent),
            ("give back the rest", self._refund_rest),
            ("use the card up, pay the cash back", self._cash_back),
            ("an invoice, and one too many", self._invoice),
            ("recharges by part of the number", self._search),
            ("the owner sees all stores", self._owner_looks),
            ("a balance, cent by cent", self._explain),
            ("count the drawer and close", self._close),
        ]

    def _no_token(self) -> str:
        answer = Till(self._till.base).call("manage/v3/store/list")
        same("the answer", (answer.status, answer.body["errCode"], answer.body["msg"]), (200, 1002, "需要登录"))
        return "1002 需要登录"

    def _sign_in(self) -> str:
        self._till.sign_in(self._shop.cashier.username, self._shop.cashier.password)
        stores = self._till.data("manage/v3/store/list")
        same("the stores", [store["id"] for store in stores], [self._shop.store])
        return f"{self._shop.cashier.username} at {stores[0]['name']}"

    def _count_before(self) -> str:
        # The same till may have had a demo today already.
        self._office.sign_in(self._shop.operator.username, self._shop.operator.password)
        self._opening = self._cash()
        return f"{self._opening:.2f}"

    def _cash(self) -> float:
        """Return what the day's operations at the demo's store add up to in cash, as the difference report says."""
        query = {"store": self._shop.store}
        lines = self._office.data("GET", f"merchants/{self._shop.merchant}/closings", query)["items"]
        now = [line["now"] for line in lines]
        return float(round(sum(one["recharged"] - one["rechargeReturned"] - one["cashedBack"] for one in now), 2))

    def _open_cards(self) -> str:
        for card in (self._shop.activity, self._shop.stored_value):
            said = self._till.whole("manage/v3/userCard/add", phone=self._phone, membershipCardId=card)["msg"]
            same("the answer", said, "开卡成功")
        second = self._till.call("manage/v3/userCard/add", phone=self._phone, membershipCardId=self._shop.activity)
        same("a second card", second.body["errCode"], 1)
        return f"{self._phone}; a second one: {second.body['msg']}"

    def _upload(self) -> str:
        part = b"\r\n".join(
            (
                f"--{_IMAGE_PART}".encode(),
                b'Content-Disposition: form-data; name="module"',
                b"",
                b"1",
                f"--{_IMAGE_PART}".encode(),
                b'Content-Disposition: form-data; name="file"; filename="receipt.png"',
                b"Content-Type: image/png",
                b"",
                _picture(),
                f"--{_IMAGE_PART}--".encode(),
                b"",
            )
        )
        headers = {"Content-Type": f"multipart/form-data; boundary={_IMAGE_PART}"}
        answer = request("POST", f"{self._till.base}/web/manage/upload/image", part, headers)
        same("the answer", (answer.status, answer.body["errCode"]), (200, 0))
        self._image = answer.body["data"]
        shown = request("GET", f"{self._till.base}{self._image}", None, {})
        same("the picture", (shown.status, shown.raw[:8]), (200, _picture()[:8]))
        return self._image

    def _recharge_event(self) -> str:
        events = self._till.data("manage/v3/cardEvent/all_event", cardId=self._shop.activity)
        has("the events", [event["id"] for event in events], self._shop.event)
        self._key = secrets.token_hex(8)
        return str(self._recharge(self._key).body["msg"])

    def _recharge(self, key: str) -> Answer:
        answer = self._till.call(
            "manage/v3/userCard/charge",
            key=key,
            phone=self._phone,
            cardId=self._shop.activity,
            recharge=200.00,
            send=200.00,
            eventId=self._shop.event,
            image=self._image,
        )
        same("the answer", answer.body.get("errCode"), 0)
        return answer

    def _repeat(self) -> str:
        self._recharge(self._key)
        found = self._till.whole("manage/v3/turnover/record_list", phone=self._phone)
        same("the recharges", found["total"], 1)
        return f"still one recharge, order {found['data']['chargeReVo'][0]['orderNo']}"

    def _recharge_coupons(self) -> str:
        detail = self._till.data("manage/v3/cardEvent/detail", eventId=self._shop.coupon_event)
        self._till.data(
            "manage/v3/userCard/charge",
            phone=self._phone,
            cardId=self._shop.stored_value,
            recharge="100.00",
            send=0,
            eventId=self._shop.coupon_event,
            image=self._image,
        )
        return f"{detail['quantity']} × {detail['couponTitle']}"

    def _pay(self) -> str:
        self._spend(260, self._password)
        card = self._card()
        same("principal and gift", (card["capital"], card["send"]), (0, 140))
        same("the usage record", [lot["status"] for lot in card["eventCards"]], [2])
        return f"principal {card['capital']:.2f}, gift {card['send']:.2f}"

    def _spend(self, amount: float, password: str) -> dict[str, Any]:
        answer = self._till.call(
            "manage/v3/userCard/expense",
            phone=self._phone,
            cardId=self._shop.activity,
            expense=amount,
            password=password,
        )
        body: dict[str, Any] = answer.body
        return body

    def _card(self) -> Mapping[str, Any]:
        users = self._till.data("manage/v3/userCard/user_card", phone=self._phone[3:])
        same("the customers found", [user["phone"] for user in users], [self._phone])
        self._user = users[0]["userId"]
        cards = self._till.data("manage/v3/userCard/user_card_detail", userId=self._user)
        card: Mapping[str, Any] = next(card for card in cards if card["cardId"] == self._shop.activity)
        return card

    def _wrong_password(self) -> str:
        answer = self._spend(1, md5("999999"))
        same("the answer", (answer["errCode"], answer["msg"]), (1, "密码错误"))
        return f"1 {answer['msg']}"

    def _too_much(self) -> str:
        answer = self._spend(140.01, self._password)
        same("the answer", (answer["errCode"], answer["msg"]), (1, "余额不足"))
        return f"1 {answer['msg']}"

    def _scan(self) -> str:
        card_no = self._card()["cardNo"]
        found = self._till.data("manage/tool/scan", qrcode=f"LYQ1:{card_no}")
        same("the card", (found["qrcodeType"], found["phone"], found["balance"]), (1, self._phone, 140))
        path = f"merchants/{self._shop.merchant}/cards/{found['id']}/code"
        picture = self._office.call("GET", path, {"format": "svg"})
        same("the code as a picture", (picture.status, b"<svg" in picture.raw), (200, True))
        return f"{found['title']} {card_no}, its code is {len(picture.raw)} bytes of SVG"

    def _redeem(self) -> str:
        given = self._till.whole("manage/v3/coupon/forUser", phone=self._phone, couponId=self._shop.coupon, quantity=1)
        same("the answer", given["msg"], "赠送成功")
        # Every coupon of a new customer has a number of its own; scanning tells whose it is.
        customer = self._office.data("POST", f"merchants/{self._shop.merchant}/customers/search", phone=self._phone)
        num = customer["items"][0]["coupons"][0]["num"]
        before = self._till.data("manage/tool/scan", qrcode=f"LYQ2:{num}")["quantity"]
        used = self._till.data("manage/v3/coupon/use", num=num)
        after = self._till.data("manage/tool/scan", qrcode=f"LYQ2:{num}")["quantity"]
        same("the pieces", (before, used["quantity"], after), (3, 1, 2))
        return f"{before} → {after} pieces"

    def _refund(self) -> str:
        expenses = self._till.data("manage/v3/turnover/expense_list", phone=self._phone)["expenseReVo"]
        self._expense = expenses[0]["orderNo"]
        code = self._code(self._till, self._shop.cashier_phone)
        self._till.data("manage/v3/turnover/refund", orderNo=self._expense, code=code, money="60.00")
        card = self._card()
        # 60 of 260, of which 200 were principal.
        same("principal and gift", (card["capital"], card["send"]), (46.15, 153.85))
        return f"principal {card['capital']:.2f}, gift {card['send']:.2f}: in the proportion they were spent"

    def _code(self, till: Till, phone: str) -> str:
        """Ask for an SMS code and read it where the provider was told to send it."""
        deadline = time.monotonic() + _SMS_PAUSE
        while (answer := till.call("manage/ask/code").body)["errCode"]:
            # An earlier tour may have had its code within the last minute.
            if time.monotonic() > deadline:
                raise Difference(f"the SMS code: {answer['msg']}")
            time.sleep(1)
        place = f"{self._shop.sms}/_simulator/messages?phone={phone}"
        code: str = request("GET", place, None, {}).body["messages"][-1]["message"]["code"]
        return code

    def _refund_spent(self) -> str:
        self._owner.sign_in(self._shop.owner.username, self._shop.owner.password)
        self._owner_code = self._code(self._owner, self._shop.owner_phone)
        recharges = self._owner.data("manage/v3/turnover/record_list", phone=self._phone)["chargeReVo"]
        order = next(one["orderNo"] for one in recharges if one["membershipCardId"] == self._shop.activity)
        refused = self._owner.call("manage/v3/turnover/refund_charge", orderNo=order, code=self._owner_code)
        same("the answer", refused.body["errCode"], 1)
        return str(refused.body["msg"])

    def _refund_rest(self) -> str:
        # A code is used up by the refund that succeeds, not by one that is refused.
        self._owner.data("manage/v3/turnover/refund", orderNo=self._expense, code=self._owner_code)
        card = self._card()
        same("principal and gift", (card["capital"], card["send"]), (200, 200))
        again = self._owner.call("manage/v3/turnover/refund", orderNo=self._expense, code=self._owner_code)
        same("the same code again", again.body["errCode"], 1006)
        return f"the same code again: 1006 {again.body['msg']}"

    def _cash_back(self) -> str:
        same("the payment", self._spend(400, self._password)["errCode"], 0)
        lot = self._card()["eventCards"][0]
        same("the usage record", (lot["capitalBalance"], lot["sendBalance"], lot["status"]), (0, 0, 3))
        self._till.data("manage/v3/userCard/card_status", storeMemberEventId=lot["storeMemberEventId"])
        same("the usage record", self._card()["eventCards"][0]["status"], 5)
        again = self._till.call("manage/v3/userCard/card_status", storeMemberEventId=lot["storeMemberEventId"])
        same("once more", again.body["errCode"], 1)
        return "status 3 → 5, 200.00 in cash; once more is refused"

    def _invoice(self) -> str:
        about: dict[str, Any] = {"userId": self._user, "cardId": self._shop.stored_value}
        self._till.data("manage/v3/invoice/add", **about, amount="90.00", image=self._image)
        more = self._till.call("manage/v3/invoice/add", **about, amount="10.01", image=self._image)
        same("one too many", more.body["errCode"], 1)
        listed = self._till.data("manage/v3/invoice/list", **about)
        same("the sums", (listed["totalCharge"], listed["totalInvoice"], listed["amount"]), (100, 90, 10))
        return f"90.00 of 100.00; 10.01 more: {more.body['msg']}"

    def _search(self) -> str:
        found = self._till.whole("manage/v3/turnover/record_list", phone=self._phone[4:], pageSize=1)
        same("the numbers", (found["total"], found["pages"], len(found["data"]["chargeReVo"])), (2, 2, 1))
        same("the totals", (found["data"]["totalChargeMoney"], found["data"]["totalSendMoney"]), (300, 200))
        return f"{found['total']} for …{self._phone[4:]}, {found['data']['totalChargeMoney']:.2f} in all"

    def _owner_looks(self) -> str:
        stores = self._owner.data("manage/v3/store/list")
        refunds = self._owner.whole("manage/v3/turnover/refund_list", phone=self._phone)
        same("the refunds", [row["money"] for row in refunds["data"]], [200, 60])
        return f"{len(stores)} stores, {refunds['total']} refunds"

    def _explain(self) -> str:
        card_no = next(
            card["cardNo"]
            for card in self._till.data("manage/v3/userCard/user_card_detail", userId=self._user)
            if card["cardId"] == self._shop.stored_value
        )
        card = self._till.data("manage/tool/scan", qrcode=f"LYQ1:{card_no}")["id"]
        told = self._office.data("POST", f"cards/{card}/explain")
        same("the balance", told["balance"], 100)
        return f"{len(told['entries'])} entries make {told['balance']:.2f}"

    def _close(self) -> str:
        expected = self._cash()
        # 200 and 100 came in, 200 went out as cash back.
        same("what came in today", round(expected - self._opening, 2), 100)
        closed = self._till.data("manage/v3/closing/add", counted=f"{expected:.2f}")
        same("expected and difference", (closed["expected"], closed["difference"]), (expected, 0))
        return f"{expected:.2f} expected and counted"


def _picture() -> bytes:
    """Return a white PNG of four points."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0\xff\xff\xff\xff\xff\xff" * 2)
    head = pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
