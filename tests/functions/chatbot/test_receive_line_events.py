import base64
import hashlib
import hmac
import json

import pytest

from chatbot.events import EVENTS
from functions.chatbot.receive_line_events import receive_line_events
from kernel.operations import event_of
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    OTHER_IDS,
    PARTITION,
    UNAUTHORIZED,
    USER_ID,
    account_fields,
    documented,
    ok,
    refused,
    webhook_url,
)

# LINE looks at the status only.
TAKEN = (200, "", "text/plain; charset=utf-8")
SECRET = "fake-channel-secret"
SAID = {
    "kind": "text",
    "user_id": USER_ID,
    "at": "2024-01-28T06:05:33.830000Z",
    "text": "keyword1",
    "reply_token": "fake-reply-token",
}
QUERY = {"adminid": "0001", "accountid": IDS["accountId"]}
EXAMPLE = documented("receive_line_events")
(EVENT,) = EXAMPLE["events"]


def signature(body, secret=SECRET):
    return base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def deliver(cloud, body, *, query=QUERY, secret=SECRET, **headers):
    """Post a body as LINE does; headers that are given replace the signature."""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    headers = headers or {"x-line-signature": signature(text.encode(), secret)}
    return cloud.call(receive_line_events, text, caller="", query=query, headers=headers)


def queued(cloud):
    """Take what is on the queue: (event id, what was said, group, deduplication id)."""
    taken = []
    for message in cloud.queued(EVENTS):
        body = json.loads(message["body"])
        event_id, words = body["event_id"], body["said"]
        assert body == {"admin_id": "0001", "account_id": IDS["accountId"], "event_id": event_id, "said": words}
        attributes = message["attributes"]
        taken.append((event_id, words, attributes["MessageGroupId"], attributes["MessageDeduplicationId"]))
    return taken


def event(number, source=None, **changes):
    source = {"type": "user", "userId": USER_ID} if source is None else source
    return {**EVENT, "webhookEventId": f"event-{number}", "source": source, **changes}


def webhook(*events):
    return {"destination": EXAMPLE["destination"], "events": list(events)}


def test_queues_the_documented_event(cloud, account):
    assert deliver(cloud, EXAMPLE) == TAKEN

    group, dedup = digest(f"{PARTITION}{USER_ID}"), digest(f"{PARTITION}fake-event-id")
    assert queued(cloud) == [("fake-event-id", SAID, group, dedup)]


def test_no_events_are_a_connection_check(cloud, account):
    before = cloud.everything()

    assert deliver(cloud, webhook()) == TAKEN

    assert queued(cloud) == []
    assert cloud.everything() == before


def test_events_of_a_user_are_a_group_in_their_order(cloud, account):
    senders = ["Ua", "Ub", "Ua", "Uc", "Ua", "Ub"]
    events = [event(number, {"type": "user", "userId": sender}) for number, sender in enumerate(senders)]

    assert deliver(cloud, webhook(*events)) == TAKEN

    taken = queued(cloud)
    for sender in set(senders):
        group = digest(f"{PARTITION}{sender}")
        mine = [(f"event-{number}", {**SAID, "user_id": sender}) for number, one in enumerate(senders) if one == sender]
        assert [(event_id, words) for event_id, words, of, _ in taken if of == group] == mine
    assert sorted(dedup for *_, dedup in taken) == sorted(digest(f"{PARTITION}event-{n}") for n in range(6))


def test_what_concerns_no_conversation_is_not_queued(cloud, account):
    sources = [
        {"type": "group", "groupId": "Ca", "userId": "Ua"},
        {"type": "group", "groupId": "Ca"},
        {"type": "room", "roomId": "Ra"},
        {"type": "user"},
        {},
        "text",
    ]
    events = [event(number, source) for number, source in enumerate(sources)]
    # Nobody at all, and things LINE does not send today.
    events += [{name: EVENT[name] for name in EVENT if name != "source"}]
    events += [event(8, type="unheard of"), event(9, mode="standby"), event(10, type="unsend")]

    assert deliver(cloud, webhook(*events, "text", None, 1)) == TAKEN

    assert queued(cloud) == []


def test_more_events_than_a_call_takes(cloud, account):
    events = [event(number, message={"type": "text", "id": str(number), "text": "測" * 5000}) for number in range(25)]

    assert deliver(cloud, webhook(*events)) == TAKEN

    wanted = [(f"event-{number}", {**SAID, "text": "測" * 5000}) for number in range(25)]
    assert [(event_id, words) for event_id, words, *_ in queued(cloud)] == wanted


def test_an_event_is_queued_once(cloud, account):
    redelivered = {**EVENT, "deliveryContext": {"isRedelivery": True}}
    nameless = {name: EVENT[name] for name in EVENT if name != "webhookEventId"}

    for body in (webhook(EVENT, EVENT), webhook(redelivered), webhook(nameless), webhook(nameless)):
        assert deliver(cloud, body) == TAKEN

    # An event without an id is known by its content, and a number is no id.
    content = digest(json.dumps(nameless, sort_keys=True))
    assert [(event_id, words) for event_id, words, *_ in queued(cloud)] == [("fake-event-id", SAID), (content, SAID)]
    assert deliver(cloud, webhook({**EVENT, "webhookEventId": 5}, {**EVENT, "webhookEventId": ""})) == TAKEN
    assert len({dedup for *_, dedup in queued(cloud)}) == 2


def test_accepts_every_spelling_of_a_call(cloud, account):
    text = json.dumps(webhook(event(1)), indent=1)
    signed = signature(text.encode())

    assert deliver(cloud, text, query={"adminId": "0001", "accountID": IDS["accountId"]}) == TAKEN
    assert deliver(cloud, text, **{"X-Line-Signature": signed}) == TAKEN
    assert deliver(cloud, text, **{"X-LINE-SIGNATURE": signed}) == TAKEN
    encoded = event_of(receive_line_events, base64.b64encode(text.encode()).decode())
    encoded |= {"isBase64Encoded": True, "queryStringParameters": QUERY}
    encoded["headers"] |= {"x-line-signature": signed}
    assert receive_line_events(encoded, None)["statusCode"] == 200
    # An emoji is one character here and two where the body was cut into units.
    assert deliver(cloud, webhook(event(2, message={"type": "text", "text": "👍🏽"}))) == TAKEN
    assert deliver(cloud, {"events": [], "unknown": 1}) == TAKEN

    assert len(queued(cloud)) == 2


def test_a_channel_without_secret_believes_nobody(cloud, account):
    assert cloud.call(FUNCTIONS["update_account"], documented("update_account", accountSecret="")) == ok()

    for secret in ("", SECRET):
        assert deliver(cloud, EXAMPLE, secret=secret) == UNAUTHORIZED
    assert queued(cloud) == []


def test_the_secret_of_the_moment_counts(cloud, account):
    changed = documented("update_account", accountSecret="new-secret")
    assert deliver(cloud, webhook(event(1))) == TAKEN
    assert cloud.call(FUNCTIONS["update_account"], changed) == ok()

    assert deliver(cloud, webhook(event(2))) == UNAUTHORIZED
    assert deliver(cloud, webhook(event(3)), secret="new-secret") == TAKEN

    assert [event_id for event_id, *_ in queued(cloud)] == ["event-1", "event-3"]


@pytest.fixture
def nothing_happens(cloud, account, foreign):
    """Fails when a row was written or a message queued."""
    facebook = {"adminId": "0001", "accountId": "facebook"}
    fields = account_fields(facebook, accountType="fb", accountWebhookUrl=webhook_url(facebook, "/api/facebook"))
    assert cloud.call(FUNCTIONS["create_account"], fields) == ok()
    before = cloud.everything()
    yield
    assert cloud.everything() == before
    assert queued(cloud) == []


@pytest.mark.usefixtures("nothing_happens")
def test_refuses_what_the_channel_did_not_sign(cloud):
    text = json.dumps(EXAMPLE)
    right = signature(text.encode())
    others = {
        "of another body": signature(f"{text} ".encode()),
        "of another secret": signature(text.encode(), "foreign-secret"),
        "of no secret": signature(text.encode(), ""),
        "in another letter case": right.swapcase(),
        "in hex": hmac.digest(SECRET.encode(), text.encode(), "sha256").hex(),
        "cut off": right[:-1],
        "with more behind it": f"{right}A",
        "blank": " ",
        "empty": "",
        "of another alphabet": "簽名",
    }
    for name, given in others.items():
        assert deliver(cloud, text, **{"x-line-signature": given}) == UNAUTHORIZED, name
    assert deliver(cloud, text, **{"x-hub-signature-256": right}) == UNAUTHORIZED


@pytest.mark.usefixtures("nothing_happens")
def test_refuses_other_channels(cloud):
    queries = {
        "none": None,
        "no account": {"adminid": "0001"},
        "no operator": {"accountid": IDS["accountId"]},
        "blank": {"adminid": "", "accountid": ""},
        "unknown account": {**QUERY, "accountid": "unknown"},
        "unknown operator": {**QUERY, "adminid": "9999"},
        "another's account": {**QUERY, "accountid": OTHER_IDS["accountId"]},
        "another operator": {**QUERY, "adminid": "0002"},
        "another secret": {"adminid": "0002", "accountid": OTHER_IDS["accountId"]},
        "another SNS": {**QUERY, "accountid": "facebook"},
        "longer than a key": {"adminid": "0" * 3000, "accountid": "a" * 2000},
    }
    for name, query in queries.items():
        assert deliver(cloud, EXAMPLE, query=query) == UNAUTHORIZED, name


@pytest.mark.usefixtures("nothing_happens")
def test_refuses_bodies_that_are_no_webhook(cloud):
    bodies = {
        "": "The body is not valid JSON",
        "{": "The body is not valid JSON",
        '{"events": [NaN]}': "The body is not valid JSON",
        "[]": "The body must be a JSON object",
        "{}": "events is required",
        '{"events": {}}': "events must be a valid array",
        '{"events": [], "destination": 1}': "destination must be a valid string",
    }
    for body, message in bodies.items():
        assert deliver(cloud, body) == refused(message), body
    # Who did not sign learns nothing of what is wrong with the body, and the largest bodies are not even looked at.
    assert deliver(cloud, "{", secret="wrong") == UNAUTHORIZED
    large = f'{{"events": []}}{" " * 1024 * 1024}'
    assert deliver(cloud, large) == refused("The body is larger than 1048576 bytes")
    assert deliver(cloud, large[: 1024 * 1024]) == TAKEN
