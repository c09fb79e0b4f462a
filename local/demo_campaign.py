"""The second half of the tour: a form, a segment, a rich menu, and a broadcast with its progress."""

from __future__ import annotations

import base64
import http.client
import io
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from local.caller import Caller
from local.demo_steps import same
from local.steps import Problem

_PATIENCE = 60.0
PEOPLE = 30
ASK_SEATS = "請問要留幾個座位？"
THANKS = "已為您登記 {{seats}} 個座位。"
NEWS = "本週六有城市夜市，憑通行證入場免費！"
SURVEY, ANNOUNCEMENT = "5b1f0a20-8f4e-11ef-9cd2-0242ac120002", "5b1f0a21-8f4e-11ef-9cd2-0242ac120002"


class Campaign:
    """What an operator does with a channel that has followers."""

    def __init__(self, operator: Caller, account_id: str, simulator: str, partner_key: str) -> None:
        self._operator = operator
        self._account_id = account_id
        self._simulator = simulator
        self._partner_key = partner_key
        # A channel may be toured more than once, and names of menus and segments are taken.
        self._stamp = secrets.token_hex(3)
        self._form_id = ""
        self._broadcast_id = ""

    def make_form(self) -> str:
        """Save a form of one variable and the scenario that fills it."""
        self._result("saveVariable", accountVariable=["seats"])
        form = self._result("saveForm", name="座位 Seats", fields=[{"var_name": "seats"}])["data"]
        self._form_id = form["id"]
        ask = _text_node("ask-seats", ASK_SEATS, varForms=[form["id"]], nextNode="thank")
        reply = {"variable": {"seats": {"name": "seats"}}, "encryption": False, "selectCompare": "", "lensCompare": []}
        checks = {"inputList": [{"type": "Num", "value": ""}], "success": _to("thank"), "failed": _to("ask-seats")}
        ask["userAction"] = {"userReply": {**reply, "validate": checks}, "emptyVariable": {"variable": {}}}
        head = {"scenarioId": SURVEY, "scenarioName": "Seats 座位", "trigger": "keyword", "keywords": ["座位"]}
        self._result("saveScenario", scenario=head, nodes=[ask, _text_node("thank", THANKS, sort=2)])
        return f"{form['name']}: {', '.join(field['var_name'] for field in form['fields'])}"

    def preview(self) -> str:
        """Run the scenario without sending anything."""
        steps = self._result("previewScenario", scenarioId=SURVEY, inputs=[{"text": "many"}, {"text": "4"}])["data"]
        shown = [" / ".join(message["text"] for message in step["messages"]) for step in steps]
        same("the steps", shown, [ASK_SEATS, ASK_SEATS, THANKS.replace("{{seats}}", "4")])
        return f"{' | '.join(shown)}; seats = {steps[-1]['variables']['seats']}"

    def read_form(self, user_id: str) -> str:
        """Find what somebody filled in."""
        entries = self._result("getUserForm", formId=self._form_id)["data"]
        mine = [one["formData"] for one in entries if one["userId"] == user_id]
        same("what was filled in", mine, [{"seats": "4"}])
        return f"{entries[0]['formName']}: {mine[0]}"

    def report(self, user_id: str) -> str:
        """Fetch the report as the partner does: a link, good for an hour, to a CSV file."""
        body = {"adminId": self._operator.admin_id, "accountId": self._account_id}
        answer = Caller(self._operator.base).call("getReportCSV", body, {"X-Partner-Key": self._partner_key})
        same("the status", answer.status, 200)
        header, *rows = _fetched(answer.json["Result"]["download_url"]).splitlines()
        place = header.split(",").index("seats")
        [mine] = [row for row in rows if row.startswith(user_id)]
        same("the seats in the report", mine.rsplit(",", len(header.split(",")) - place)[1], "4")
        return f"{len(rows)} rows, columns … {','.join(header.split(',')[-3:])}"

    def segment(self, user_id: str) -> str:
        """Save a segment by condition and see who is in it."""
        condition = {
            "source": "uservariable", "uservariable": {"name": "seats"}, "expression": "num_gt", "value": "3",
        }  # fmt: skip
        name = f"大桌 {self._stamp}"
        self._result(
            "saveUserSegment", segmentName=name, mode="Conditions", segmentConditions=[condition], cvKey={},
            defaultUsersSegment=False,
        )  # fmt: skip
        found = next(one for one in self._result("getUserSegment")["data"] if one["name"] == name)
        same("the members", [user["userId"] for user in found["users"]], [user_id])
        return f"{name}: seats > 3, {found['usersCount']} user: {found['users'][0]['userName']}"

    def menu(self) -> str:
        """Save a rich menu for everybody and wait until LINE shows it."""
        area = {
            letter: {"type": "text", "data": text} for letter, text in zip("ABC", ("選單", "座位", "資訊"), strict=True)
        }
        self._result(
            "saveMenu", name=f"選單 {self._stamp}", chat_bar_text="選單", layout="C", area_opt=area, open_menu=True,
            image_width=800, image_height=540, image_type="image/png", image_b64=_picture(800, 540),
            user_segment="richAllUser",
        )  # fmt: skip
        menu = next(one for one in self._result("getMenu")["data"] if one["name"].endswith(self._stamp))

        def shown() -> bool:
            channels = self._control("rich-menus")["channels"].values()
            return any(channel["default"] == menu["id"] for channel in channels)

        _wait("the menu at LINE", shown)
        return f"{menu['id']} is what everybody sees"

    def estimate(self) -> str:
        """Ask what a broadcast to everybody would cost."""
        head = {"scenarioId": ANNOUNCEMENT, "scenarioName": "News 消息", "trigger": "selected"}
        self._result("saveScenario", scenario=head, nodes=[_text_node("news", NEWS)])
        found = self._result("estimateBroadcast", broadcastScenarioId=ANNOUNCEMENT, isSelectAll=True)
        left = "no limit" if found["quotaLeft"] is None else f"{found['quotaLeft']} left this month"
        return f"{found['audience']} people, {found['messagesPerPerson']} message each, {left}"

    def broadcast(self) -> str:
        """Book a broadcast for now and watch it until it is over."""
        before = int(self._control("deliveries")["last"])
        name = f"夜市 {self._stamp}"
        self._result(
            "scheduleBroadcast", broadcastName=name, broadcastScenarioId=ANNOUNCEMENT, broadcastScenarioName="News",
            broadcastStatus="pending", broadcastTime="2024-01-23 03:25:00", isSelectAll=True,
        )  # fmt: skip
        plan = self._result("getBroadcastPlan")["data"]
        [self._broadcast_id] = [one["broadcastId"] for one in plan if one["broadcastName"] == name]
        seen: list[str] = []

        def over() -> bool:
            found = self._result("getBroadcastProgress", broadcastId=self._broadcast_id)
            told = f"{found['state']} {found['success']}/{found['frozen']}"
            if told not in seen:
                seen.append(told)
            return bool(found["state"] == "done")

        # The rule of the deployed stack starts what is due every minute.
        _wait("the broadcast", over, 2 * _PATIENCE)
        found = self._result("getBroadcastProgress", broadcastId=self._broadcast_id)
        same("the totals", found["frozen"], found["success"] + found["failed"] + found["skipped"])
        delivered = self._control(f"deliveries?since={before}")
        same("whoever got it twice", delivered["twice"], [])
        same("people at LINE", delivered["people"], found["success"])
        return " → ".join(seen)

    def history(self) -> str:
        """Find the broadcast among those that are over."""
        past = self._result("getBroadcastHistory")["data"]
        mine = next(one for one in past if one["broadcastId"] == self._broadcast_id)
        return f"{mine['broadcastName']}: {mine['broadcastStatus']}, success {mine['success']}, failed {mine['failed']}"

    def _result(self, operation: str, **fields: Any) -> Any:
        return self._operator.result(operation, accountId=self._account_id, **fields)

    def _control(self, path: str) -> Any:
        return json.loads(_fetched(f"{self._simulator}/_simulator/{path}"))


def _text_node(node_id: str, text: str, sort: int = 1, **more: Any) -> dict[str, Any]:
    template = {"type": "text", "text": text}
    plain = {"nodeId": node_id, "type": "text", "title": "", "level": "1", "sort": sort, "template": template}
    return {**plain, "nodeConst": {}, "error": 0, **more}


def _to(node_id: str) -> Mapping[str, str]:
    return {"nextNodeId": node_id, "scenarioId": ""}


def _picture(width: int, height: int) -> str:
    from PIL import Image  # only the tour draws

    file = io.BytesIO()
    Image.new("RGB", (width, height), "#0F766E").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _fetched(url: str) -> str:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=_PATIENCE)
    try:
        connection.request("GET", f"{place.path}?{place.query}" if place.query else place.path)
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as problem:
        raise Problem(f"{place.netloc} does not answer: {problem}") from None
    finally:
        connection.close()


def _wait(what: str, there: Callable[[], bool], seconds: float = _PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            raise Problem(f"{what}: did not come within {seconds:.0f} s")
        time.sleep(0.5)
