"""Links that tell who followed them, and the clicks that they and partners leave."""

import base64
import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from chatbot import clicks, links, orders
from chatbot.messages import message_of
from chatbot.orders import Claims, claims_of
from chatbot.tables import ConversationTable
from functions.chatbot.get_clicks import get_clicks
from functions.chatbot.open_link import open_link
from functions.chatbot.receive_user_click import receive_user_click
from kernel import clock, secrets
from kernel.channels.line.validation import flaws_of_message
from kernel.settings import settings as kernel_settings
from kernel.signed import seal
from kernel.tables import Delete, Put, commit, write_all
from tests.functions.chatbot.examples import (
    IDS,
    JSON,
    NOW,
    OTHER_IDS,
    PARTITION,
    SHOWN_NOW,
    USER_ID,
    Calls,
    documented,
    node,
    ok,
    refused,
    sample,
)

NODE_ID = "uhfdnektwyp-ylh7-0don-uhn2-ksp2d8eba8330"
SCENARIO_ID = "a324c456-be64-11ee-9326-de5eb83bcd1a"
WHOSE = Claims(*IDS.values(), USER_ID, NODE_ID, SCENARIO_ID)
WHO = {"admin_id": IDS["adminId"], "account_id": IDS["accountId"], "user_id": USER_ID, "scenario_id": SCENARIO_ID}
TAKEN = (200, {}, JSON)
BAD = (400, "Bad Request", JSON)
NOBODY = (401, "Unauthorized", JSON)
UNKNOWN = refused("the link is unknown")
SHOP = "https://shop.example.com/a?b=c#d"
OURS = "https://chat.example.com/c/"
with_key = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def user(cloud):
    """The user of the tokens, who is known."""
    row = ConversationTable(
        account=WHOSE.partition, user_id=USER_ID, state={}, status="1", status_at=NOW, follow_time=NOW,
        access_time=NOW, user_name="", user_picture="", version=1,
    )  # fmt: skip
    commit(Put(row))
    return row


# Clicks that partners report


def report(cloud, body, **how):
    return cloud.call(receive_user_click, body, caller="", **how)


def reported(**changes):
    return {**documented("receive_user_click"), "token": orders.token(*WHOSE), **changes}


def listed(cloud, **body):
    return cloud.call(get_clicks, {**IDS, **body}).body["Result"]


def test_takes_the_documented_click(cloud, account):
    with Calls() as calls:
        assert report(cloud, reported()) == TAKEN

    assert calls[-1:] == ["dynamodb PutItem"]
    (row,) = cloud.rows("clicks")
    assert json.loads(row["payload"]) == {"url": "https://www.example.com/", "clickdate": "2024-01-02"}
    assert int(row["expires"]) == int((NOW + timedelta(days=400)).timestamp())
    click = {
        "userId": USER_ID,
        "nodeId": NODE_ID,
        "scenarioId": SCENARIO_ID,
        "url": "https://www.example.com/",
        "source": "userclick",
        "createTime": SHOWN_NOW,
    }
    assert cloud.call(get_clicks, documented("get_clicks")) == ok({"data": [click]})


def test_the_documents_token_is_nobodys(cloud):
    answer = receive_user_click(sample("receive_user_click"), None)

    assert (answer["statusCode"], answer["body"]) == (401, '"Unauthorized"')
    assert cloud.rows("clicks") == []


def test_keeps_whatever_is_sent_and_never_says_that_it_exists(cloud, account):
    token = orders.token(*WHOSE)
    bodies = [{"url": 5, "a": {"b": [1, None]}}, {"url": "u" * 2001}, {}, {}, {"clickdate": "whenever"}]

    for body in bodies:
        assert report(cloud, {**body, "token": token}) == TAKEN
    assert report(cloud, "", query={"token": token, "url": "https://a.example.com/"}) == TAKEN
    assert report(cloud, None, form={"token": token, "url": "https://b.example.com/"}) == TAKEN

    payloads = [json.loads(row["payload"]) for row in cloud.rows("clicks")]
    wanted = [*bodies, {"url": "https://a.example.com/"}, {"url": "https://b.example.com/"}]
    assert sorted(map(str, payloads)) == sorted(map(str, wanted))
    shown = sorted(click["url"] for click in listed(cloud)["data"])
    assert shown == ["", "", "", "", "", "https://a.example.com/", "https://b.example.com/"]
    assert token not in json.dumps(cloud.rows("clicks"), default=str)


def test_an_erased_user_is_not_known_again(cloud, account, user):
    commit(Delete(ConversationTable, user.own_key()))

    assert report(cloud, reported()) == TAKEN
    assert [row["user_id"] for row in cloud.rows("clicks")] == [""]


def test_refuses(cloud):
    token = orders.token(*WHOSE)
    before = cloud.everything()

    room = clicks.PAYLOAD_BYTES - len('{"a": ""}')
    for body in ({}, reported(token="x"), reported(token=1), "", "[]", "{", {"token": token, "a": "x" * (room + 1)}):
        assert report(cloud, body) == BAD, body
    forged = base64.b64encode(seal("link", {"lid": USER_ID}).encode()).decode()
    assert report(cloud, {"token": forged}) == NOBODY
    assert cloud.everything() == before
    assert report(cloud, {"token": token, "a": "x" * room}) == TAKEN


def test_the_latest_click_comes_first(cloud, account, foreign, monkeypatch):
    monkeypatch.setattr(clicks, "_PAGE", 2)
    for number in (1, 3, 2):
        with clock.frozen(NOW + timedelta(seconds=number)):
            assert report(cloud, reported(url=f"https://{number}")) == TAKEN
    other = orders.token(*OTHER_IDS.values(), USER_ID, NODE_ID, SCENARIO_ID)
    assert report(cloud, reported(token=other, url="https://other")) == TAKEN

    # A function that has just started knows no key.
    secrets.signing_key.cache_clear()
    first = listed(cloud)
    second = listed(cloud, lastEvaluatedKey=first["lastEvaluatedKey"])
    assert [click["url"] for page in (first, second) for click in page["data"]] == [
        "https://3",
        "https://2",
        "https://1",
    ]
    assert "lastEvaluatedKey" not in second
    no_key = refused("lastEvaluatedKey is not a key of this list")
    assert cloud.call(get_clicks, {**IDS, "lastEvaluatedKey": "x"}) == no_key


# Links


def bubble(*urls):
    """Return a bubble whose buttons open the addresses."""
    buttons = [{"type": "button", "action": {"type": "uri", "label": "a", "uri": url}} for url in urls]
    return {"type": "bubble", "body": {"type": "box", "layout": "vertical", "contents": buttons}}


def flex(*urls, **const):
    return node(NODE_ID, type="flex", template=bubble(*urls), nodeConst=const)


def sent(cloud, made, **who):
    """Return the message of a node as its user gets it, its links open."""
    write_all(links.registered(PARTITION, [made]))
    return links.decorated(message_of(made), made, **{**WHO, **who})


def urls_of(message):
    return [button["action"]["uri"] for button in message["contents"]["body"]["contents"]]


def follow(cloud, url):
    assert url.startswith(OURS)
    return cloud.call(open_link, "", caller="", path={"token": url.removeprefix(OURS)})


def leads(cloud, url):
    """Return where a link of ours leads."""
    answer = follow(cloud, url)
    assert answer == (302, "", "text/plain; charset=utf-8")
    assert answer.more == {"Location": answer.more["Location"], "Referrer-Policy": "no-referrer"}
    return answer.more["Location"]


def test_a_tracked_link_leads_on_and_leaves_a_click(cloud, account):
    message = sent(cloud, flex(SHOP, trackClicks=True))
    (url,) = urls_of(message)
    assert len(url) <= 900
    assert flaws_of_message(message) == []
    # A function that has just started knows no key.
    secrets.signing_key.cache_clear()

    with Calls() as calls:
        assert leads(cloud, url) == SHOP

    assert calls == ["secretsmanager GetSecretValue", "dynamodb GetItem", "dynamodb BatchGetItem", "dynamodb PutItem"]
    click = {"userId": USER_ID, "nodeId": NODE_ID, "scenarioId": SCENARIO_ID, "url": SHOP, "source": "link"}
    assert listed(cloud)["data"] == [{**click, "createTime": SHOWN_NOW}]
    assert leads(cloud, url) == SHOP
    assert len(listed(cloud)["data"]) == 2


def test_a_link_is_not_kept_by_browsers_on_the_way(cloud):
    (url,) = urls_of(sent(cloud, flex(SHOP, trackClicks=True)))
    event = sample("open_link") | {"pathParameters": {"token": url.removeprefix(OURS)}}

    assert open_link(event, None)["headers"]["Cache-Control"] == "no-store"


def test_every_kind_of_link_is_tracked(cloud):
    imagemap = {
        "type": "imagemap", "layout": "B", "baseUrl": "https://img.example.com/a", "altText": "a",
        "baseSize": {"width": 1040, "height": 1040}, "areaOptions": [
            {"type": "uri", "label": "A", "url": SHOP}, {"type": "message", "label": "B", "text": SHOP}]
    }  # fmt: skip
    items = [{"type": "action", "action": {"type": "uri", "label": "a", "uri": SHOP}}]
    text = {"type": "text", "text": SHOP, "quickReply": {"items": items}}
    const = {"nodeConst": {"trackClicks": True}}

    area, other = sent(cloud, node(NODE_ID, type="imagemap", template=imagemap, **const))["actions"]
    reply = sent(cloud, node(NODE_ID, template=text, **const))

    assert leads(cloud, area["linkUri"]) == SHOP
    assert other["text"] == reply["text"] == SHOP
    assert leads(cloud, reply["quickReply"]["items"][0]["action"]["uri"]) == SHOP


def test_buttons_of_messenger_are_tracked(cloud):
    buttons = [{"type": "web_url", "title": "a", "url": SHOP}, {"type": "postback", "title": "b", "url": SHOP}]
    made = node(NODE_ID, type="fb_generic", template={"elements": [{"image_url": SHOP, "buttons": buttons}]})
    made["nodeConst"] = {"trackClicks": True}
    assert links.targets_of([made]) == [SHOP]

    (element,) = sent(cloud, made)["elements"]

    assert leads(cloud, element["buttons"][0]["url"]) == SHOP
    assert (element["image_url"], element["buttons"][1]) == (SHOP, buttons[1])


@pytest.mark.parametrize(
    "url",
    [
        "tel:+886223456789",
        "line://app/1234",
        "https://shop.example.com/{{id}}",
        "https://shop.example.com/商品",
        "https://shop.example.com/ a",
        "https://shop.example.com/\r\nSet-Cookie:a=b",
        "https:///a",
        "javascript:alert(1)",
    ],
)
def test_what_is_no_plain_address_is_not_tracked(cloud, url):
    made = flex(url, trackClicks=True)

    assert links.targets_of([made]) == []
    assert sent(cloud, made) == message_of(made)


def test_a_link_that_a_variable_completed_is_not_tracked(cloud):
    """Nobody but the scenario's author says where our links lead."""
    made = flex("https://shop.example.com/{{id}}", SHOP, trackClicks=True)
    filled = message_of(flex("https://evil.example.com/", SHOP))

    first, second = urls_of(links.decorated(filled, made, **WHO))

    assert first == "https://evil.example.com/"
    assert second.startswith(OURS)


@pytest.mark.parametrize("const", [{}, {"trackClicks": False}, {"trackClicks": "true"}, {"ecsite": 1}, None, ""])
def test_only_nodes_that_say_so_are_changed(cloud, const):
    made = {**flex(SHOP), "nodeConst": const}

    assert links.registered(PARTITION, [made]) == []
    assert sent(cloud, made) == message_of(made)


def test_targets_are_registered_once(cloud):
    nodes = [
        flex(SHOP, SHOP, trackClicks=True),
        flex("https://a.example.com/", SHOP, trackClicks=True),
        flex("https://b"),
    ]

    write_all(links.registered(PARTITION, nodes))
    write_all(links.registered(PARTITION, nodes))

    assert links.targets_of(nodes) == [SHOP, "https://a.example.com/"]
    assert sorted((row["account"], row["url"]) for row in cloud.rows("links")) == [
        (PARTITION, "https://a.example.com/"),
        (PARTITION, SHOP),
    ]


@pytest.mark.parametrize("name", ["ecsite", "chichatcatBox"])
def test_a_shops_link_carries_the_token_of_its_orders(cloud, name):
    urls = [
        "https://shop.example.com",
        "https://shop.example.com/?x=1&token=old&y=%20#top",
        "HTTP://shop.example.com/?a&&b=",
        "tel:+886223456789",
    ]
    token = orders.token(*WHOSE).replace("=", "%3D")

    message = sent(cloud, flex(*urls, **{name: True}))

    assert urls_of(message) == [
        f"https://shop.example.com?token={token}",
        f"https://shop.example.com/?x=1&y=%20&token={token}#top",
        f"http://shop.example.com/?a&b=&token={token}",
        "tel:+886223456789",
    ]
    assert flaws_of_message(message) == []
    (given,) = parse_qs(urlsplit(urls_of(message)[0]).query)["token"]
    assert claims_of(given) == WHOSE


def test_a_tracked_link_to_a_shop_gets_its_token_on_the_way(cloud, account):
    (url,) = urls_of(sent(cloud, flex(SHOP, trackClicks=True, ecsite=True)))

    location = leads(cloud, url)

    assert location.startswith("https://shop.example.com/a?b=c&token=")
    assert location.endswith("#d")
    assert claims_of(parse_qs(urlsplit(location).query)["token"][0]) == WHOSE
    # The token is a credential, so the list shows the address without it.
    assert [click["url"] for click in listed(cloud)["data"]] == [SHOP]


def test_a_link_that_would_become_too_long_stays_as_it_is(cloud, monkeypatch):
    long = "https://shop.example.com/" + "a" * 900
    assert urls_of(sent(cloud, flex(long, ecsite=True))) == [long]
    # Tracking makes long links shorter.
    assert leads(cloud, urls_of(sent(cloud, flex(long, trackClicks=True)))[0]) == long
    admin = {"admin_id": "🏪" * 128, "account_id": "a" * 64}
    assert urls_of(sent(cloud, flex(SHOP, trackClicks=True), **admin)) == [SHOP]
    monkeypatch.setenv("PUBLIC_URL", "")
    kernel_settings.cache_clear()
    assert urls_of(sent(cloud, flex(SHOP, trackClicks=True))) == [SHOP]


def test_an_address_that_is_none_does_no_harm(cloud):
    assert urls_of(sent(cloud, flex("https://[bad/", ecsite=True))) == ["https://[bad/"]


def test_leads_nowhere_else(cloud, account, foreign):
    made = flex(SHOP, trackClicks=True)
    # Nothing is registered yet.
    (url,) = urls_of(links.decorated(message_of(made), made, **WHO))
    assert follow(cloud, url) == UNKNOWN
    write_all(links.registered(PARTITION, [made]))
    other = {"admin_id": OTHER_IDS["adminId"], "account_id": OTHER_IDS["accountId"]}
    (foreign_url,) = urls_of(links.decorated(message_of(made), made, **{**WHO, **other}))
    before = cloud.everything()

    for wrong in (foreign_url, OURS, f"{OURS}x", f"{OURS}簽名", f"{url}=", OURS + orders.token(*WHOSE)):
        assert follow(cloud, wrong) == UNKNOWN, wrong
    assert open_link(sample("open_link"), None)["statusCode"] == 400
    # A link's token opens no partner's door.
    assert report(cloud, {"token": url.removeprefix(OURS)}) in (BAD, NOBODY)
    assert cloud.everything() == before


@with_key
@given(st.data())
def test_a_changed_link_leads_nowhere(cloud, data):
    made = flex(SHOP, trackClicks=True)
    (url,) = urls_of(links.decorated(message_of(made), made, **WHO))
    token = url.removeprefix(OURS)
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters(codec="utf-8"))
    assume(character != token[place])

    assert follow(cloud, OURS + token[:place] + character + token[place + 1 :]) == UNKNOWN
