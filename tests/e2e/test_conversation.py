import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.line_webhook import follow_event, text_event, unfollow_event

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def text(node_id: str, said: str, **more: Any) -> dict[str, Any]:
    return {"nodeId": node_id, "type": "text", "template": {"type": "text", "text": said}, **more}


def asks(variable: str, **ends: Any) -> dict[str, Any]:
    validate = {"inputList": [], "success": {}, "failed": {}, **ends}
    return {"userAction": {"userReply": {"variable": {variable: {"name": variable}}, "validate": validate}}}


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [message["text"] for message in messages]


def test_a_conversation_from_follow_to_end(channel: Any, simulator: Any) -> None:
    channel.save(text("hello", "歡迎 👋"), trigger="follow")
    channel.save(
        text("name", "您的名字？", nextNode="people", **asks("name")),
        text(
            "people",
            "{{name}}，幾位？",
            **asks(
                "people",
                inputList=[{"type": "Num", "value": ""}],
                success={"nextNodeId": "done", "scenarioId": ""},
                failed={"nextNodeId": "again", "scenarioId": ""},
            ),
        ),
        text("again", "請輸入數字", nextNode="people"),
        text("done", "{{name}} {{people}} 位，完成", nodeTag=[{"name": "VIP", "color": "bg-warning"}]),
        keywords=("Book", "訂位"),
    )
    channel.save(text("sorry", "沒聽懂"), trigger="error")
    person = channel.person("王小明")

    person.send(follow_event(person.user_id))
    assert texts(person.sees(1)) == ["歡迎 👋"]
    for said, answers in (
        ("hm", ["沒聽懂"]),
        (" ＢＯＯＫ ", ["您的名字？"]),
        ("小明", ["小明，幾位？"]),
        ("三", ["請輸入數字", "小明，幾位？"]),
        ("3", ["小明 3 位，完成"]),
    ):
        assert person.say(said) == 200
        assert texts(person.sees(len(answers))) == answers

    mine = [one for one in simulator.sent if one.user == person.user_id]
    assert {one.via for one in mine} == {"reply"}
    users = channel.result("getUsersList")
    assert [(one["userId"], one["userName"], one["accountStatus"]) for one in users["data"]] == [
        (person.user_id, "王小明", "1")
    ]
    assert users["count"] == 1
    (record,) = channel.result("getChatHistory")["data"]
    assert (record["nodeId"], record["tags"]) == ("done", [{"name": "VIP", "color": "bg-warning"}])


def test_a_redelivered_event_leads_to_nothing_new(channel: Any) -> None:
    channel.save(text("one", "一次"), keywords=("once",))
    channel.save(text("end", "結束"), keywords=("end",))
    person = channel.person()
    event = text_event(person.user_id, "once")

    person.send(event)
    assert texts(person.sees(1)) == ["一次"]
    assert person.send({**event, "deliveryContext": {"isRedelivery": True}}) == 200
    assert person.send(event, event) == 200
    person.say("end")

    assert texts(person.sees(1)) == ["結束"]


def test_quick_texts_of_one_person_stay_in_order(channel: Any) -> None:
    channel.save(text("count", "第 {{number}} 則？", nextNode="count", **asks("number")), keywords=("start",))
    person = channel.person()
    person.say("start")
    assert texts(person.sees(1)) == ["第  則？"]

    for number in range(1, 11):
        assert person.say(str(number)) == 200

    assert texts(person.sees(10)) == [f"第 {number} 則？" for number in range(1, 11)]


def test_events_of_one_webhook_stay_in_order(channel: Any) -> None:
    channel.save(text("count", "第 {{number}} 則？", nextNode="count", **asks("number")), keywords=("start",))
    one, other = channel.person("One"), channel.person("Other")

    one.send(*(text_event(who.user_id, said) for said in ("start", "1", "2", "3") for who in (one, other)))

    wanted = ["第  則？", "第 1 則？", "第 2 則？", "第 3 則？"]
    assert [texts(who.sees(4)) for who in (one, other)] == [wanted, wanted]


def test_many_people_at_once_are_all_answered(channel: Any) -> None:
    channel.save(text("echo", "{{said}} 收到", nextNode="echo", **asks("said")), keywords=("start",))
    people = [channel.person(f"Person {number}") for number in range(8)]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda who: who.say("start"), people)) == {200}
        assert [texts(who.sees(1)) for who in people] == [[" 收到"]] * 8
        assert set(pool.map(lambda who: who.say(who.name), people)) == {200}

    assert [texts(who.sees(1)) for who in people] == [[f"{who.name} 收到"] for who in people]
    assert channel.result("getUserCount") == {"data": 8}


def test_a_used_reply_token_falls_back_to_push(channel: Any, simulator: Any) -> None:
    channel.save(text("late", "晚到的回覆"), keywords=("late",))
    person = channel.person()
    event = text_event(person.user_id, "late")
    simulator.expire_reply_tokens(event["replyToken"])

    person.send(event)

    assert texts(person.sees(1)) == ["晚到的回覆"]
    (delivery,) = [one for one in simulator.sent if one.user == person.user_id]
    (call,) = [one for one in simulator.calls if one.path.endswith("/push") and person.user_id in one.body]
    assert delivery.via == "push"
    assert UUID.fullmatch(call.retry_key)


def test_a_reply_that_line_took_without_saying_so_is_sent_once(channel: Any, simulator: Any) -> None:
    channel.save(text("once", "只送一次"), keywords=("once",))
    channel.save(text("end", "結束"), keywords=("end",))
    person = channel.person()
    simulator.fail("/v2/bot/message/reply", "closed", accept=True)

    person.say("once")
    assert texts(person.sees(1)) == ["只送一次"]
    person.say("end")

    assert texts(person.sees(1)) == ["結束"]


def test_more_than_five_messages_go_as_reply_and_push(channel: Any, simulator: Any) -> None:
    nodes = [text(f"n{n}", f"訊息 {n}", **({"nextNode": f"n{n + 1}"} if n < 7 else {})) for n in range(1, 8)]
    channel.save(*nodes, keywords=("seven",))
    person = channel.person()

    person.say("seven")

    assert texts(person.sees(7)) == [f"訊息 {n}" for n in range(1, 8)]
    sent = [one.via for one in simulator.sent if one.user == person.user_id]
    assert sent == ["reply"] * 5 + ["push"] * 2


def test_who_leaves_stays_listed_as_inactive(channel: Any) -> None:
    channel.save(text("hello", "歡迎"), trigger="follow")
    person = channel.person()
    person.send(follow_event(person.user_id))
    assert texts(person.sees(1)) == ["歡迎"]

    person.send(unfollow_event(person.user_id))

    users = _until(lambda: channel.result("getUsersList"), lambda seen: seen["count"] == 0)
    assert [one["accountStatus"] for one in users["data"]] == ["0"]


def _until(read: Any, good: Any) -> Any:
    """Read until it is good, for what announces itself nowhere; the last reading when time is up."""
    deadline = time.monotonic() + 30
    while not good(seen := read()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return seen
