import base64
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from chatbot import segments
from chatbot.audiences import membership
from chatbot.events import EVENTS
from chatbot.liff import Entrance, token_of
from chatbot.tables import AccountTable, ConversationTable, EntryTable, MemberTable, NameTable, SegmentTable
from functions.chatbot.show_liff_page import show_liff_page
from functions.chatbot.user_segment_register_via_liff import user_segment_register_via_liff as register
from kernel import aws, clock, secrets
from kernel.settings import settings
from kernel.tables import Put, commit
from local.line_simulator import LineSimulator
from tests.functions.chatbot.examples import (
    FUNCTIONS,
    IDS,
    JSON,
    NOW,
    PARTITION,
    USER_ID,
    Calls,
    documented,
    node,
    ok,
    refused,
    sample,
    scenario,
)

EXAMPLE = documented("user_segment_register_via_liff")
USER = EXAMPLE["userId"]
OK = (200, {"ErrorCode": 200, "ErrorMessage": "ok"}, JSON)
UNAUTHORIZED = (401, {"ErrorCode": 401, "ErrorMessage": "Unauthorized"}, JSON)
GONE = (400, {"ErrorCode": 400, "ErrorMessage": "The segment of the token no longer exists"}, JSON)
PATH = {"admin_id": IDS["adminId"], "account_id": IDS["accountId"]}
FOLLOWED = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)
CHANNEL = "1656000000"


@pytest.fixture
def line(monkeypatch, cloud):
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        settings.cache_clear()
        yield simulator


@pytest.fixture
def segment(cloud, account, line):
    """A segment that is an entry, of a channel with LINE Login."""
    login = {"lineLoginChannelId": CHANNEL, "lineLoginSecret": "fake-login-secret"}
    assert cloud.call(FUNCTIONS["update_account"], documented("update_account", **login)) == ok()
    assert cloud.call(FUNCTIONS["save_scenario"], scenario("scenario", node("n"))) == ok()
    return saved(cloud, "entry", scenarioId="scenario")


def saved(cloud, name, **changes):
    """Save a segment that nobody is in yet, and return its id."""
    changes = {"mode": "CVKey", "cvKey": {"orderId": "none"}, "segmentUsers": [], **changes}
    body = documented("save_user_segment", segmentName=name, **changes)
    assert cloud.call(FUNCTIONS["save_user_segment"], body) == ok()
    return NameTable.find(PARTITION, f"segment#{name}").owner


def token(segment_id, ids=IDS):
    return token_of(Entrance(*ids.values(), segment_id))


def entered(cloud, segment_id, user_id=USER, **more):
    return cloud.call(register, {"token": token(segment_id), "userId": user_id, **more}, caller="")


def knows(user_id=USER, status="1"):
    row = ConversationTable(
        account=PARTITION, user_id=user_id, state={"tags": [], "variables": {}}, status=status, status_at=FOLLOWED,
        follow_time=FOLLOWED, access_time=FOLLOWED, user_name="", user_picture="",
    )  # fmt: skip
    commit(Put(row))


def members(segment_id):
    found = MemberTable.query(membership(PARTITION, segment_id)).rows
    assert SegmentTable.find(PARTITION, segment_id).members == len(found)
    return [(member.user_id, member.shown, member.verified, member.created_at) for member in found]


def entries():
    found = EntryTable.query(PARTITION).rows
    return [(entry.place, entry.user_id, entry.segment_id, entry.verified, entry.created_at) for entry in found]


def started(cloud):
    return [json.loads(record["body"]) for record in cloud.queued(EVENTS)]


def page_of(cloud, segment_id="", **query):
    answer = cloud.call(show_liff_page, "", caller="", path=PATH, query={"segment": segment_id, **query})
    assert (answer.status, answer.content_type) == (200, "text/html; charset=utf-8")
    return answer


def values_of(page):
    return json.loads(re.search(r"const page = (.*);", page.body)[1])


def test_a_follower_enters_at_once_and_gets_the_scenario(cloud, segment):
    knows()
    assert entered(cloud, segment) == OK

    assert members(segment) == [(USER, {}, False, NOW)]
    assert entries() == []
    said = {"kind": "start", "user_id": USER, "at": "2024-01-28T06:41:29.006000Z", "scenario_id": "scenario"}
    event = {"admin_id": "0001", "account_id": IDS["accountId"], "event_id": f"segment#{segment}#{USER}", "said": said}
    assert started(cloud) == [event]


def test_somebody_else_is_remembered_until_he_follows(cloud, segment):
    knows("Ugone", status="0")
    for user_id in (USER, "Ugone"):
        assert entered(cloud, segment, user_id) == OK

    assert entries() == [(f"{user_id}#{segment}", user_id, segment, False, NOW) for user_id in (USER, "Ugone")]
    assert members(segment) == []
    assert started(cloud) == []


@pytest.mark.parametrize("follows", [True, False])
def test_repeating_changes_nothing(cloud, segment, follows):
    if follows:
        knows()
    assert entered(cloud, segment) == OK
    before = cloud.everything()
    started(cloud)
    with clock.frozen(NOW + timedelta(minutes=5)):
        assert entered(cloud, segment) == OK

    assert cloud.everything() == before
    assert started(cloud) == []


def test_who_becomes_a_follower_at_that_moment_is_not_left_waiting(cloud, segment):
    knows(status="0")

    def follow(call):
        if call.action == "PutItem":
            aws.observers.remove(follow)
            cloud.client("dynamodb").update_item(
                TableName=ConversationTable.physical_name(),
                Key=ConversationTable.key(PARTITION, USER),
                UpdateExpression="SET #status = :follows",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":follows": {"S": "1"}},
            )

    aws.observers.append(follow)
    assert entered(cloud, segment) == OK

    assert [member[0] for member in members(segment)] == [USER]
    assert entries() == []
    assert [event["event_id"] for event in started(cloud)] == [f"segment#{segment}#{USER}"]


def test_who_waited_and_follows_now_waits_no_more(cloud, segment):
    assert entered(cloud, segment) == OK
    knows()
    assert entered(cloud, segment) == OK

    assert [member[0] for member in members(segment)] == [USER]
    assert entries() == []
    assert len(started(cloud)) == 1


def test_line_vouches_for_who_it_is(cloud, segment, line):
    knows()
    line.own_id_token("genuine", USER, CHANNEL)
    line.own_id_token("other person", USER_ID, CHANNEL)
    line.own_id_token("other channel", USER, "other")
    # As in a function that has just started.
    secrets._decrypt.cache_clear()
    before = cloud.everything()
    for id_token in ("other person", "other channel", "made up"):
        assert entered(cloud, segment, idToken=id_token) == UNAUTHORIZED
    assert cloud.everything() == before

    assert entered(cloud, segment, idToken="genuine") == OK
    assert entered(cloud, segment, "Ulater", idToken="") == OK
    assert entered(cloud, segment, "Unull", idToken=None) == OK
    assert members(segment) == [(USER, {}, True, NOW)]
    line.own_id_token("later", "Ucoming", CHANNEL)
    assert entered(cloud, segment, "Ucoming", idToken="later") == OK
    assert [(user_id, verified) for _, user_id, _, verified, _ in entries()] == [
        ("Ucoming", True),
        ("Ulater", False),
        ("Unull", False),
    ]


@pytest.mark.parametrize("outcome", [500, 429, 403])
def test_an_id_token_that_line_does_not_judge_is_refused(cloud, segment, line, outcome):
    knows()
    line.fail("/oauth2/v2.1/verify", outcome)
    before = cloud.everything()

    message = "LINE does not verify the idToken at the moment; try again later"
    assert entered(cloud, segment, idToken="any") == (400, {"ErrorCode": 400, "ErrorMessage": message}, JSON)
    assert cloud.everything() == before


def test_without_line_login_no_id_token_counts(cloud, account):
    assert cloud.call(FUNCTIONS["save_scenario"], scenario("scenario", node("n"))) == ok()
    segment = saved(cloud, "entry", scenarioId="scenario")

    assert entered(cloud, segment, idToken="any") == UNAUTHORIZED
    assert entered(cloud, segment) == OK


def test_a_segment_that_sends_nothing_is_entered_silently(cloud, account):
    knows()
    segment = saved(cloud, "plain")

    assert entered(cloud, segment) == OK
    assert [member[0] for member in members(segment)] == [USER]
    assert started(cloud) == []


def changed(text, place):
    return text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]


def test_only_its_own_tokens_open(cloud, segment):
    knows()
    genuine = token(segment)
    payload, signature = genuine.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload))
    assert claims == {**IDS, "segmentId": segment, "exp": 1706424989}
    assert len(base64.urlsafe_b64decode(signature)) == 32
    other = base64.urlsafe_b64encode(json.dumps({**claims, "segmentId": "other"}).encode()).decode()
    by_guess = base64.urlsafe_b64encode(hmac.digest(b"guess", payload.encode(), "sha256")).decode()
    without_purpose = base64.urlsafe_b64encode(hmac.digest(b"s" * 64, payload.encode(), "sha256")).decode()
    forged = [
        EXAMPLE["token"],
        changed(genuine, 5),
        changed(genuine, len(payload) + 5),
        genuine[:-1],
        f"{genuine}=",
        payload,
        f"{payload}.",
        f".{signature}",
        ".",
        f"{other}.{signature}",
        f"{payload}.{by_guess}",
        f"{payload}.{without_purpose}",
        f"{payload}.é",
        f"é.{signature}",
    ]
    before = cloud.everything()
    for one in forged:
        assert cloud.call(register, {"token": one, "userId": USER}, caller="") == UNAUTHORIZED, one
        assert cloud.call(register, caller="", form={"token": one, "userId": USER}) == UNAUTHORIZED, one
    assert cloud.everything() == before
    assert started(cloud) == []
    assert cloud.call(register, caller="", form={"token": genuine, "userId": USER}) == OK


def test_a_token_is_good_for_fifteen_minutes(cloud, segment):
    made = token(segment)
    body = {"token": made, "userId": USER}
    with clock.frozen(NOW + timedelta(minutes=15)):
        assert cloud.call(register, body, caller="") == UNAUTHORIZED
    with clock.frozen(NOW + timedelta(minutes=14, seconds=59)):
        assert cloud.call(register, body, caller="") == OK


def test_the_documented_token_is_of_before(cloud):
    answer = register(sample("user_segment_register_via_liff"), None)

    assert (answer["statusCode"], json.loads(answer["body"])) == UNAUTHORIZED[:2]


def test_refuses_without_result(cloud, segment):
    good = {"token": token(segment), "userId": USER}
    cases = [
        ({}, "token is required; userId is required"),
        ({"userId": USER}, "token is required"),
        ({"token": good["token"]}, "userId is required"),
        ({**good, "userId": "a#b"}, "userId has characters or a form that is not allowed here"),
        ({**good, "token": ""}, "token must have at least 1 character"),
        ({**good, "token": 1}, "token must be a valid string"),
        ([], "The body must be a JSON object"),
        ("{", "The body is not valid JSON"),
        ("\u00e9", "The body is not valid JSON"),
    ]
    before = cloud.everything()
    for body, message in cases:
        answer = cloud.call(register, body, caller="")
        assert answer == (400, {"ErrorCode": 400, "ErrorMessage": message}, JSON), body
    assert cloud.everything() == before


def test_a_segment_or_a_channel_that_is_gone_is_entered_by_nobody(cloud, segment):
    knows()
    tokens = [token("unknown"), token(segment, {"adminId": "0001", "accountId": "unknown"})]
    for one in tokens:
        assert cloud.call(register, {"token": one, "userId": USER}, caller="") == GONE
    made = token(segment)
    assert cloud.call(FUNCTIONS["delete_user_segment"], {**IDS, "segmentId": segment}) == ok()
    assert cloud.call(register, {"token": made, "userId": USER}, caller="") == GONE
    assert cloud.rows("segment-members") == cloud.rows("segment-entries") == cloud.rows("segments") == []


def test_a_registration_takes_few_requests(cloud, segment):
    knows()
    with Calls() as calls:
        entered(cloud, segment)
    assert [call for call in calls if call.startswith("dynamodb")] == [
        "dynamodb BatchGetItem",
        "dynamodb TransactWriteItems",
    ]


def test_a_follow_completes_what_waits(cloud, segment):
    plain = saved(cloud, "plain")
    gone = saved(cloud, "gone")
    for one in (segment, plain, gone):
        assert entered(cloud, one) == OK
    assert entered(cloud, segment, f"{USER}0") == OK
    assert cloud.call(FUNCTIONS["delete_user_segment"], {**IDS, "segmentId": gone}) == ok()
    commit(*segments.joined(PARTITION, plain, USER, verified=True))

    waiting = segments.entries_of(PARTITION, USER)
    assert {entry.segment_id for entry in waiting} == {segment, plain, gone}
    commit(*(write for entry in waiting for write in segments.completed(entry)))
    assert members(segment) == [(USER, {}, False, NOW)]
    assert members(plain) == [(USER, {}, True, NOW)]
    assert SegmentTable.find(PARTITION, gone) is None
    assert [user_id for _, user_id, *_ in entries()] == [f"{USER}0"]
    assert [segments.scenario_of(PARTITION, one) for one in (segment, plain, gone)] == ["scenario", "", ""]


def test_shows_the_page_with_a_token(cloud, segment):
    page = page_of(cloud, segment)

    values = values_of(page)
    assert values == {
        "liffId": AccountTable.find(*IDS.values()).liff_id,
        "token": token(segment),
        "register": "https://chat.example.com/userSegmentRegisterViaLiff",
    }
    knows()
    assert cloud.call(register, {"token": values["token"], "userId": USER}, caller="") == OK
    nonces = set(re.findall(r'nonce="([^"]+)"', page.body))
    (nonce,) = nonces
    policy = page.more.pop("Content-Security-Policy")
    assert page.more == {"X-Content-Type-Options": "nosniff"}
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == directives["base-uri"] == directives["frame-ancestors"] == "'none'"
    assert directives["script-src"] == f"'nonce-{nonce}' https://*.line-scdn.net"
    assert "unsafe" not in policy
    # Every script and style of the page has the nonce, and the SDK is the only one from outside.
    assert len(re.findall(r"<(?:script|style)\b", page.body)) == page.body.count(f'nonce="{nonce}"') == 3
    assert re.findall(r'src="([^"]+)"', page.body) == ["https://static.line-scdn.net/liff/edge/2/sdk.js"]
    assert nonce not in page_of(cloud, segment).body


def test_the_page_of_the_sample_is_shown(cloud, segment):
    event = sample("show_liff_page")
    event["queryStringParameters"]["segment"] = segment

    answer = show_liff_page(event, None)
    assert (answer["statusCode"], answer["headers"]["Cache-Control"]) == (200, "no-store")


def test_at_the_first_redirect_only_the_sdk_starts(cloud, segment):
    state = {"liff.state": quote(f"?segment={segment}")}
    for page in (page_of(cloud, **state), page_of(cloud, segment, **state), page_of(cloud)):
        assert values_of(page)["token"] == ""


def test_values_cannot_leave_their_script(cloud, segment):
    row = AccountTable.find(*IDS.values())
    row.liff_id = "</script><!--&\u2028"
    commit(Put(row))

    page = page_of(cloud, segment)
    assert page.body.count("</script>") == 2
    assert not set("<>&\u2028") & set(re.search(r"const page = (.*);", page.body)[1])
    assert values_of(page)["liffId"] == row.liff_id


def test_refuses_pages_that_lead_nowhere(cloud, segment, foreign):
    plain = saved(cloud, "plain")
    before = cloud.everything()

    def answer(segment_id="", **path):
        return cloud.call(show_liff_page, "", caller="", path={**PATH, **path}, query={"segment": segment_id})

    for one in ("unknown", plain):
        assert answer(one) == refused("This link is no longer valid")
    for path in ({"account_id": "unknown"}, {"admin_id": "0002"}, foreign_path(foreign)):
        assert answer(segment, **path) == refused("This channel has no LIFF app")
    assert answer("s" * 65) == refused("segment must have at most 64 characters")
    assert answer(segment, account_id="a b").status == 400
    assert cloud.everything() == before


def foreign_path(foreign):
    return {"admin_id": foreign.ids["adminId"], "account_id": foreign.ids["accountId"]}


@pytest.mark.parametrize("follows", [True, False])
def test_a_later_visit_is_vouched_for_and_never_the_other_way_round(cloud, segment, line, follows):
    line.own_id_token("genuine", USER, CHANNEL)
    if follows:
        knows()

    def seen():
        return [member[2] for member in members(segment)] if follows else [entry[3] for entry in entries()]

    assert (entered(cloud, segment), seen()) == (OK, [False])
    started(cloud)
    assert (entered(cloud, segment, idToken="genuine"), seen()) == (OK, [True])
    before = cloud.everything()
    for id_token in ("", "genuine"):
        assert (entered(cloud, segment, idToken=id_token), seen()) == (OK, [True])
    assert cloud.everything() == before
    assert started(cloud) == []


def test_who_waited_vouched_for_and_follows_now_stays_so(cloud, segment, line):
    line.own_id_token("genuine", USER, CHANNEL)
    assert entered(cloud, segment, idToken="genuine") == OK
    knows()
    assert entered(cloud, segment) == OK

    assert (members(segment), entries()) == ([(USER, {}, True, NOW)], [])


def test_a_follow_vouches_for_who_was_in_the_segment_without(cloud, segment, line):
    line.own_id_token("genuine", USER, CHANNEL)
    assert entered(cloud, segment, idToken="genuine") == OK
    commit(*segments.joined(PARTITION, segment, USER, verified=False))

    (entry,) = segments.entries_of(PARTITION, USER)
    commit(*segments.completed(entry))
    assert (members(segment), entries()) == ([(USER, {}, True, NOW)], [])


def test_the_same_visit_twice_at_a_moment_is_vouched_for(cloud, segment, line):
    line.own_id_token("genuine", USER, CHANNEL)
    knows()

    def join(call):
        if call.action == "BatchGetItem":
            aws.observers.remove(join)
            commit(*segments.joined(PARTITION, segment, USER, verified=False))

    aws.observers.append(join)
    assert entered(cloud, segment, idToken="genuine") == OK
    assert members(segment) == [(USER, {}, True, NOW)]
