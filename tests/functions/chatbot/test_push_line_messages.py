"""Messages that a partner pushes to one user, as LINE gets them."""

import json

import pytest

from chatbot.tables import ConversationTable, PushTable
from functions.chatbot.push_line_messages import push_line_messages
from kernel import clock, settings
from kernel.tables import Put, commit
from local.line_simulator import LineSimulator
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    NOW,
    PARTITION,
    PARTNER_KEY,
    UNAUTHORIZED,
    USER_ID,
    Calls,
    account_fields,
    add_partner_key,
    documented,
    ok,
    refused,
    sample,
    webhook_url,
)

EXAMPLE = documented("push_line_messages")
KEY = {"X-Partner-Key": PARTNER_KEY}
PUSH = "/v2/bot/message/push"
TEXT = {"type": "text", "text": "hello"}
BUBBLE = {
    "type": "bubble",
    "body": {"type": "box", "layout": "vertical", "contents": [{"type": "text", "text": "預約"}]},
}
IMAGEMAP = {
    "type": "imagemap",
    "layout": "B",
    "baseUrl": "https://res.example.com/images/ImageMap/0001/a/2355a568-bdcb-11ee-974a-e6b170f2ffcd",
    "altText": "Hi test",
    "baseSize": {"width": "1040", "height": "1040"},
    "areaOptions": [
        {"type": "uri", "label": "A", "url": "https://www.example.com/", "text": ""},
        {"type": "message", "label": "B", "url": "", "text": "keyword1"},
    ],
}


def know(user_id=USER_ID, partition=PARTITION):
    row = ConversationTable(
        account=partition, user_id=user_id, state={}, status="1", status_at=NOW, follow_time=NOW, access_time=NOW,
        user_name="", user_picture="",
    )  # fmt: skip
    commit(Put(row))


@pytest.fixture
def line(cloud, account, monkeypatch):
    add_partner_key(PARTNER_KEY, "0001")
    know()
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        settings.settings.cache_clear()
        yield simulator


def push(cloud, *messages, **changes):
    return cloud.call(push_line_messages, {**EXAMPLE, "messages": list(messages), **changes}, caller="", headers=KEY)


def test_pushes_the_documented_messages(cloud, line):
    with Calls() as calls:
        answer = push_line_messages(sample("push_line_messages"), None)

    assert (answer["statusCode"], json.loads(answer["body"])) == (200, ok()[1])
    assert [(one.user, one.via, one.message) for one in line.sent] == [(USER_ID, "push", EXAMPLE["messages"][0])]
    assert cloud.rows("pushes") == [{"account": PARTITION, "user_id": USER_ID, "pushed_at": "2024-01-28T06:41:29.006Z"}]
    # The partner's key, the channel, the user, and after the push its time.
    get = "dynamodb GetItem"
    assert calls == [get, get, "dynamodb BatchGetItem", "kms Decrypt", "dynamodb PutItem"]


def test_every_push_is_one_of_its_own(cloud, line):
    for minute in range(2):
        with clock.frozen(NOW.replace(minute=minute)):
            assert push(cloud, TEXT) == ok()

    assert len(line.sent) == 2
    assert len({call.retry_key for call in line.calls}) == 2
    assert [row["pushed_at"] for row in cloud.rows("pushes")] == ["2024-01-28T06:01:29.006Z"]


def test_templates_become_messages(cloud, line):
    emoji = {"index": 0, "productId": "5ac1bfd5040ab15980c9b435", "emojiId": "001"}
    assert (
        push(
            cloud,
            IMAGEMAP,
            BUBBLE,
            {**BUBBLE, "altText": "看這裡"},
            {"type": "text", "text": "$ hello", "emojis": emoji},
            {"type": "sticker", "packageId": 446, "stickerId": "1988"},
        )
        == ok()
    )

    area = {"y": 0, "width": 520, "height": 1040}
    actions = [
        {"type": "uri", "linkUri": "https://www.example.com/", "area": {"x": 0, **area}},
        {"type": "message", "text": "keyword1", "area": {"x": 520, **area}},
    ]
    imagemap = {name: IMAGEMAP[name] for name in ("type", "baseUrl", "altText")}
    assert [one.message for one in line.sent] == [
        {**imagemap, "baseSize": {"width": 1040, "height": 1040}, "actions": actions},
        {"type": "flex", "altText": "預約", "contents": BUBBLE},
        {"type": "flex", "altText": "看這裡", "contents": BUBBLE},
        {"type": "text", "text": "$ hello", "emojis": [emoji]},
        {"type": "sticker", "packageId": "446", "stickerId": "1988"},
    ]


def test_messages_of_line_pass_unchanged(cloud, line):
    picture = "https://img.example.com/a.png"
    messages = [
        {**TEXT, "sender": {"name": "Annie", "iconUrl": picture}, "quickReply": {"items": [
            {"type": "action", "action": {"type": "message", "label": "a", "text": "{{b}}"}}
        ]}},
        {"type": "image", "originalContentUrl": picture, "previewImageUrl": picture},
        {"type": "flex", "altText": "a", "contents": BUBBLE},
        {"type": "location", "title": "a", "address": "b", "latitude": 25.03, "longitude": 121.56},
    ]  # fmt: skip

    assert push(cloud, *messages) == ok()

    assert [one.message for one in line.sent] == messages


def test_refuses(cloud, line, foreign, refuses):
    know("U" + "a" * 32, "#0002#" + foreign.ids["accountId"])
    facebook = {"adminId": "0001", "accountId": "facebook"}
    fields = account_fields(facebook, accountType="fb", accountWebhookUrl=webhook_url(facebook, "/api/facebook"))
    assert cloud.call(FUNCTIONS["create_account"], fields) == ok()
    know(USER_ID, "#0001#facebook")

    def of(*messages):
        return {**EXAMPLE, "messages": list(messages)}

    emoji = "messages[0].emojis[0].{} is required"
    emoji_flaws = [emoji.format(name) for name in ("index", "productId", "emojiId")]
    hero = "messages[0].hero.type must be one of 'box', 'image', 'video' as hero"
    areas = IMAGEMAP["areaOptions"]
    text_too = {"type": "bubble", "altText": 1, "hero": {"type": "text", "text": "a"}}
    nested = {"type": "flex", "altText": "a", "contents": {"type": "bubble", "size": 1}}
    refuses(
        push_line_messages,
        [
            ({**EXAMPLE, "luid": "U" + "a" * 32}, "luid is not a user of this channel"),
            ({**EXAMPLE, "luid": ""}, "luid must have at least 1 character"),
            ({**EXAMPLE, "luid": "U" * 65}, "luid must have at most 64 characters"),
            (of(), "messages must have at least 1 item"),
            (of(*[TEXT] * 6), "messages must have at most 5 items"),
            ({**EXAMPLE, **facebook}, "accountId is not a LINE channel"),
            (of(TEXT, "text", None), "messages[1] must be an object; messages[2] must be an object"),
            (of({}), "messages[0].type is required"),
            (of({"type": "text"}), "messages[0].text is required"),
            (
                of({"type": "text", "text": 1, "emojis": {}}),
                "; ".join(["messages[0].text must be a string", *emoji_flaws]),
            ),
            (of(TEXT, {**IMAGEMAP, "layout": "Z"}), "messages[1].layout must be one of A, B, C, D, E"),
            (of({**IMAGEMAP, "areaOptions": areas[:1] * 2}), "messages[0].areaOptions[1].label is there twice"),
            (of({**IMAGEMAP, "areaOptions": {}}), "messages[0].areaOptions must be a list with at least one area"),
            (of({**IMAGEMAP, "baseUrl": "x"}), "messages[0].baseUrl must be a URL that starts with https://"),
            (
                of(text_too),
                f"messages[0].altText must be a valid string; {hero}",
            ),
            (of({**BUBBLE, "extra": 1}), "messages[0].extra is not a property of a Flex bubble"),
            (of(nested), "messages[0].contents.size must be a string"),
            (
                {**of({"type": "text", "text": ""}), "luid": "x"},
                "messages[0].text must not be empty; luid is not a user of this channel",
            ),
        ],
        caller="",
        headers=KEY,
    )
    large = json.dumps({**EXAMPLE, "messages": ["big"]}).replace('"big"', '{"type": "text", "text": "a", "b": 1e999}')
    refuses(push_line_messages, [(large, "messages[0] holds a number that is too large")], caller="", headers=KEY)
    assert line.calls == []


def test_only_who_may_pushes(cloud, line):
    for headers in ({}, {"X-Partner-Key": "other"}):
        assert cloud.call(push_line_messages, EXAMPLE, caller="", headers=headers) == UNAUTHORIZED
    assert cloud.call(push_line_messages, {**EXAMPLE, "adminId": "0002"}, caller="", headers=KEY) == UNAUTHORIZED
    assert line.calls == []


def test_what_line_refuses_is_refused(cloud, line):
    line.fail(PUSH, 400, times=1, message="Failed to send messages")
    before = cloud.everything()

    answer = push(cloud, TEXT)

    told = answer.body["ErrorMessage"]
    assert answer == refused(told)
    assert told.startswith("LINE refused the push: ")
    assert told.endswith('400: {"message": "Failed to send messages"}')
    assert cloud.everything() == before
    assert len(line.calls) == 1


def test_a_push_is_tried_twice_under_one_key(cloud, line):
    # LINE took it and then failed to say so.
    line.fail(PUSH, 500, times=1, accept=True)

    assert push(cloud, TEXT) == ok()

    assert len(line.sent) == 1
    assert [call.status for call in line.calls] == [500, 409]
    assert len({call.retry_key for call in line.calls}) == 1
    assert len(cloud.rows("pushes")) == 1


@pytest.mark.parametrize(
    ("status", "calls", "answer"),
    [
        (500, 2, refused("LINE did not take the push; try again later: LINE answered 500", 500)),
        (401, 2, refused("LINE did not take the push; try again later: LINE answered 401", 500)),
        (429, 1, refused("The channel is over its limit at LINE; try again later", 429)),
    ],
)
def test_what_line_does_not_take_may_be_tried_again(cloud, line, status, calls, answer):
    line.fail(PUSH, status, times=calls)
    before = cloud.everything()

    assert push(cloud, TEXT) == answer

    assert len(line.calls) == calls
    assert cloud.everything() == before


def test_an_earlier_push_is_overwritten(cloud, line):
    commit(Put(PushTable(account=PARTITION, user_id=USER_ID, pushed_at=NOW.replace(year=2023))))

    assert push(cloud, TEXT) == ok()

    assert [row["pushed_at"] for row in cloud.rows("pushes")] == ["2024-01-28T06:41:29.006Z"]
    assert IDS["accountId"] in cloud.rows("pushes")[0]["account"]


def test_a_repetition_under_the_partners_key_is_sent_once(cloud, line):
    key = "3c0e1f5a-9c1b-4d0e-8f2a-0123456789ab"
    for _ in range(2):
        assert push(cloud, TEXT, retryKey=key) == ok()

    assert len(line.sent) == 1
    assert [(call.status, call.retry_key) for call in line.calls] == [(200, key), (409, key)]
    for none in ("", None):
        assert push(cloud, TEXT, retryKey=none) == ok()
    assert len(line.sent) == 3


def test_a_key_is_a_uuid(line, refuses):
    told = "retryKey has characters or a form that is not allowed here"
    keys = ["x", "3c0e1f5a-9c1b-4d0e-8f2a-0123456789a", "3c0e1f5a-9c1b-4d0e-8f2a-0123456789ab\n"]
    cases = [({**EXAMPLE, "retryKey": key}, told) for key in keys]
    refuses(push_line_messages, cases, caller="", headers=KEY)
    assert line.calls == []
