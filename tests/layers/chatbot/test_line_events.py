"""What LINE's events say, and what of them concerns no conversation."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from chatbot.events import Said
from chatbot.line_events import LineWebhook, events, understood
from chatbot.tables import AccountTable
from kernel import clock
from tests.scenarios import NOW

ANN = "U" + "a" * 32
AT = datetime(2024, 1, 28, 6, 5, 33, 830000, tzinfo=UTC)
ACCOUNT = AccountTable(admin_id="0001", account_id="channel")


def event(**changes):
    given = {
        "type": "message",
        "mode": "active",
        "timestamp": 1706421933830,
        "webhookEventId": "event-1",
        "replyToken": "token",
        "source": {"type": "user", "userId": ANN},
        "message": {"type": "text", "id": "1", "text": "hello"},
        **changes,
    }
    return {name: value for name, value in given.items() if value is not ...}


def said(kind, **more):
    return Said(**{"kind": kind, "user_id": ANN, "at": AT, "reply_token": "token", **more})


def postback(data="buy", **params):
    return event(type="postback", message=..., postback={"data": data, **({"params": params} if params else {})})


@pytest.mark.parametrize(
    ("given", "understanding"),
    [
        (event(), said("text", text="hello")),
        (event(mode=...), said("text", text="hello")),
        (event(message={"type": "text", "text": ""}), said("text")),
        (event(message={"type": "text", "text": 5}), said("other")),
        (event(message="text"), said("other")),
        (event(message={"type": "sticker", "packageId": "1"}), said("other")),
        (event(type="follow", message=..., follow={"isUnblocked": True}), said("follow")),
        (event(type="unfollow", message=..., replyToken=...), said("unfollow", reply_token="")),
        (event(replyToken=5), said("text", text="hello", reply_token="")),
        (postback(), said("text", text="buy", action="buy")),
        (postback(""), said("text")),
        (postback(date="2024-01-28"), said("text", text="2024-01-28", action="buy")),
        (postback(time="10:00"), said("text", text="10:00", action="buy")),
        (postback(datetime="2024-01-28T10:00"), said("text", text="2024-01-28T10:00", action="buy")),
        (postback(unknown="a"), said("text", text="buy", action="buy")),
    ],
)
def test_is_understood(given, understanding):
    assert understood(given) == understanding


@pytest.mark.parametrize(
    "given",
    [
        event(source={"type": "group", "groupId": "C1", "userId": ANN}),
        event(source={"type": "room", "roomId": "R1", "userId": ANN}),
        event(source={"type": "user"}),
        event(source={"type": "user", "userId": ["U"]}),
        event(source={"type": "user", "userId": ""}),
        event(source={"type": "user", "userId": "U#1"}),
        event(source={"type": "user", "userId": "U" * 65}),
        event(source={"type": "user", "userId": "U 1"}),
        event(source=...),
        event(source="user"),
        event(mode="standby"),
        event(type=...),
        event(type=["message"]),
        event(type="unsend"),
        event(type="join"),
        event(type="videoPlayComplete"),
        event(type="postback", postback="x"),
        # A tab of a rich menu was changed, which is between the user and LINE.
        postback(newRichMenuAliasId="a", status="SUCCESS"),
    ],
)
def test_concerns_no_conversation(given):
    assert understood(given) is None


@pytest.mark.parametrize("timestamp", [..., None, "1706421933830", 0, -1, 1 << 43, 1.5, []])
def test_a_strange_time_is_now(timestamp):
    with clock.frozen(NOW):
        assert understood(event(timestamp=timestamp)).at == NOW


def test_events_carry_their_channel_and_id():
    webhook = LineWebhook(events=[event(), "text", None, event(type="join"), event(webhookEventId="e" * 200)])

    made = list(events(ACCOUNT, webhook))

    assert [(one.admin_id, one.account_id, one.event_id) for one in made] == [
        ("0001", "channel", "event-1"),
        ("0001", "channel", "e" * 100),
    ]
    assert [one.said for one in made] == [said("text", text="hello")] * 2


@pytest.mark.parametrize("nameless", [event(webhookEventId=...), event(webhookEventId=""), event(webhookEventId=5)])
def test_an_event_without_id_is_known_by_what_it_holds(nameless):
    (made,) = events(ACCOUNT, LineWebhook(events=[nameless]))

    assert made.event_id == hashlib.sha256(json.dumps(nameless, sort_keys=True).encode()).hexdigest()
