"""Orders that partners write back, and the tokens that prove whose they are."""

import base64
import json
import string
from datetime import timedelta
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from chatbot import orders
from chatbot.orders import Claims, claims_of
from chatbot.tables import ConversationTable
from functions.chatbot.receive_chichatcat_order import receive_chichatcat_order
from functions.chatbot.receive_penglue_order import receive_penglue_order
from kernel import aws, clock, secrets
from kernel.errors import Invalid, Unauthorized
from kernel.signed import seal
from kernel.tables import Change, Put, commit
from tests.functions.chatbot.examples import IDS, JSON, NOW, PARTITION, USER_ID, Calls, documented, sample

EXAMPLE = documented("receive_penglue_order")
NODE_ID = "uhfdnektwyp-ylh7-0don-uhn2-ksp2d8eba8330"
SCENARIO_ID = "a324c456-be64-11ee-9326-de5eb83bcd1a"
WHOSE = Claims(*IDS.values(), USER_ID, NODE_ID, SCENARIO_ID)
LATER = (500, "The order could not be stored; send it again", JSON)
TAKEN = (200, {}, JSON)
EXISTS = (400, "Already Exist", JSON)
BAD = (400, "Bad Request", JSON)
NOBODY = (401, "Unauthorized", JSON)

texts = st.text(st.characters(codec="utf-8"), max_size=30)
with_key = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def order(given=None, /, **changes):
    body = {**EXAMPLE, "token": given or orders.token(*WHOSE), **changes}
    return {name: value for name, value in body.items() if value is not ...}


def send(cloud, body, operation=receive_penglue_order, **how):
    return cloud.call(operation, body, caller="", **how)


def know(user_id=USER_ID, **more):
    row = ConversationTable(
        account=PARTITION, user_id=user_id, state={"tags": []}, status="1", status_at=NOW, follow_time=NOW,
        access_time=NOW, user_name="Rex曾", user_picture="", version=3, **more,
    )  # fmt: skip
    commit(Put(row))


def known_orders(cloud):
    (row,) = cloud.rows("conversations")
    return json.loads(row["orders"])


def test_takes_the_documented_order(cloud):
    know()
    (before,) = cloud.rows("conversations")

    with Calls() as calls:
        answer = send(cloud, order())

    assert answer == TAKEN
    # The key of the tokens is kept in memory after the first call.
    assert calls == ["dynamodb GetItem", "dynamodb TransactWriteItems"]
    assert cloud.rows("orders") == [
        {
            "account": PARTITION,
            "place": "12335#penglue",
            "order_id": "12335",
            "source": "penglue",
            "user_id": USER_ID,
            "product_id": "",
            "label": "12345",
            "cv_date": "2024-01-02",
            "node_id": NODE_ID,
            "scenario_id": SCENARIO_ID,
            "created_at": "2024-01-28T06:41:29.006Z",
        }
    ]
    assert cloud.rows("conversations") == [{**before, "orders": '["12335"]', "version": 4}]


@pytest.mark.parametrize("operation", [receive_penglue_order, receive_chichatcat_order])
def test_the_documents_token_is_nobodys(cloud, operation):
    answer = operation(sample(operation.name), None)

    assert (answer["statusCode"], answer["body"]) == (401, '"Unauthorized"')
    assert cloud.rows("orders") == []


def test_an_order_is_taken_once_from_each_partner(cloud):
    know()
    body = order()
    assert send(cloud, body) == TAKEN
    before = cloud.everything()

    # The number says which order it is, however it is written and whatever else is sent.
    for again in (body, order(orderId="12335"), order(orderId=" 12335 ", productId="other", cvdate="2024-02-02")):
        assert send(cloud, again) == EXISTS
    assert cloud.everything() == before
    assert send(cloud, body, receive_chichatcat_order) == TAKEN
    assert send(cloud, body, receive_chichatcat_order) == EXISTS
    assert sorted(row["place"] for row in cloud.rows("orders")) == ["12335#chichatcat", "12335#penglue"]
    assert known_orders(cloud) == ["12335"]
    other = orders.token(*WHOSE._replace(account_id="another"))
    assert send(cloud, order(other)) == TAKEN


def test_an_order_comes_as_query_form_or_json(cloud):
    know()
    token = orders.token(*WHOSE)
    twice, bare = quote(token, safe=""), token.rstrip("=")
    values = {"productId": "p", "pscenario": "名稱", "cvdate": "2024-02-29"}

    assert send(cloud, "", query={"orderId": "1", "token": token, **values}) == TAKEN
    assert send(cloud, "", query={"orderid": "2", "token": twice, **values}) == TAKEN
    assert send(cloud, None, form={"orderId": "3", "token": token, **values}) == TAKEN
    assert send(cloud, None, form={"orderId": "4", "token": twice, **values}) == TAKEN
    assert send(cloud, {"orderId": "5", "token": bare, **values}) == TAKEN
    assert send(cloud, {"orderId": 6, **values, "pscenario": 1.5}, query={"token": token}) == TAKEN
    # Where both name a field, the body has the last word.
    assert send(cloud, {"orderId": "7", "token": token, **values}, query={"orderId": "1", "token": "x"}) == TAKEN

    rows = {row["order_id"]: row for row in cloud.rows("orders")}
    assert known_orders(cloud) == sorted(rows) == ["1", "2", "3", "4", "5", "6", "7"]
    assert [rows[number]["label"] for number in "136"] == ["名稱", "名稱", "1.5"]


def test_the_order_of_somebody_unknown_is_kept_without_him(cloud):
    assert send(cloud, order()) == TAKEN

    assert cloud.rows("conversations") == []
    assert [row["user_id"] for row in cloud.rows("orders")] == [""]


def test_conditions_see_the_last_fifty_orders(cloud):
    know(orders=[str(number) for number in range(50)])

    assert send(cloud, order(orderId="7")) == TAKEN
    assert known_orders(cloud) == [*(str(number) for number in range(50) if number != 7), "7"]
    assert send(cloud, order(orderId="50")) == TAKEN
    assert known_orders(cloud) == [*(str(number) for number in range(1, 50) if number != 7), "7", "50"]


def refused_orders():
    token = orders.token(*WHOSE)
    for name in ("orderId", "productId", "pscenario", "cvdate", "token"):
        yield order(token, **{name: ...})
        yield from (order(token, **{name: value}) for value in (None, [], {}, True))
    yield from (order(token, orderId=value) for value in ("", " ", "1" * 201))
    yield from (order(token, **{name: "x" * 201}) for name in ("productId", "pscenario"))
    for day in ("", "2024-1-2", "2024-02-30", "2023-02-29", "20240102", "2024-01-02T00:00:00", "2024-W01-1", 20240102):
        yield order(token, cvdate=day)
    yield from ("", "[]", "text", "{", '"text"', '{"token": NaN}', b"\xff".decode("latin-1"))


def test_refuses_what_lacks_a_field(cloud):
    know()
    before = cloud.everything()

    for body in refused_orders():
        assert send(cloud, body) == BAD, body
    assert cloud.everything() == before


def test_a_token_that_cannot_be_read_or_is_not_ours(cloud, monkeypatch):
    know()
    right = orders.token(*WHOSE)
    inner = base64.b64decode(right).decode()
    before = cloud.everything()
    unreadable = ["x", "簽名", "a b", "====", right[:-5] + "!" * 5, "A" * 4001, inner + "!"]
    unreadable += [base64.b64encode(text.encode()).decode() for text in ("=", "a", "é", "a b c d", inner[:-1] + "?")]
    sealed = {
        "of another purpose": seal("link", json.loads(base64.urlsafe_b64decode(inner + "==")[16:])),
        "of a list": seal("tags#0001#a", {"lid": USER_ID}),
        "cut off": inner[:-4],
        "too short": "AAAA",
        "empty": "AA",
    }
    forged = [base64.b64encode(text.encode()).decode() for text in sealed.values()]

    for token in unreadable:
        assert send(cloud, order(token)) == BAD, token
    for token in forged:
        assert send(cloud, order(token)) == NOBODY, token
    monkeypatch.setattr(secrets, "signing_key", lambda: b"another")
    monkeypatch.setattr("kernel.signed.signing_key", lambda: b"another")
    assert send(cloud, order(right)) == NOBODY
    assert cloud.everything() == before


def test_who_proves_nothing_learns_nothing_of_the_rest(cloud):
    body = {"token": base64.b64encode(seal("link", {}).encode()).decode()}

    assert send(cloud, body) == NOBODY


def test_a_token_is_good_for_ninety_days(cloud):
    token = orders.token(*WHOSE)

    # Tokens count whole seconds.
    with clock.frozen(NOW.replace(microsecond=0) + timedelta(days=90)):
        assert send(cloud, order(token)) == NOBODY
    with clock.frozen(NOW.replace(microsecond=0) + timedelta(days=90, seconds=-1)):
        assert send(cloud, order(token)) == TAKEN


def test_a_token_may_spell_the_scenario_in_both_ways(cloud):
    claims = {"lid": "u", "nodeid": "n", "adminId": "a", "accountId": "c", "iat": int(NOW.timestamp())}

    def token(**more):
        return base64.b64encode(seal("order", {**claims, **more}).encode()).decode()

    assert claims_of(token(senarioid="s")).scenario_id == claims_of(token(scenarioid="s")).scenario_id == "s"
    assert claims_of(token()).scenario_id == ""


@with_key
@given(st.tuples(texts, texts, texts, texts, texts))
def test_a_token_comes_back_as_it_went_out(cloud, said):
    token = orders.token(*said)

    assert set(token) <= set(string.ascii_letters + string.digits + "=")
    for spelled in (token, token.rstrip("="), quote(token, safe=""), f" {token} "):
        assert claims_of(spelled) == said


@with_key
@given(st.data())
def test_a_changed_byte_proves_nothing(cloud, data):
    """Each byte of signature and claims counts, so a token with any of them changed is not genuine."""
    inner = base64.b64decode(orders.token(*WHOSE))
    said = bytearray(base64.urlsafe_b64decode(inner + b"=" * (-len(inner) % 4)))
    place = data.draw(st.integers(0, len(said) - 1))
    said[place] ^= data.draw(st.integers(1, 255))
    changed = base64.b64encode(base64.urlsafe_b64encode(said).rstrip(b"=")).decode()

    with pytest.raises(Unauthorized):
        claims_of(changed)


@with_key
@given(st.data())
def test_a_changed_character_proves_nothing(cloud, data):
    token = orders.token(*WHOSE).rstrip("=")
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters(codec="utf-8", exclude_characters=token[place] + "= \t\r\n\v\f"))
    assume(not character.isspace())

    with pytest.raises((Unauthorized, Invalid)):
        claims_of(token[:place] + character + token[place + 1 :])


def test_of_two_equal_orders_at_once_one_is_taken(cloud):
    know()
    proved = orders.Proved(orders.Order(orderid="1", productid="", pscenario="a", cvdate="2024-01-02"), WHOSE)

    def meanwhile(call):
        if call.action == "GetItem":
            aws.observers.remove(meanwhile)
            orders.record(proved, "penglue")

    aws.observers.append(meanwhile)

    assert send(cloud, order(orderId="1", pscenario="b")) == EXISTS
    assert [row["label"] for row in cloud.rows("orders")] == ["a"]
    assert known_orders(cloud) == ["1"]


def changing(times):
    """Let somebody else change the conversation whenever an order has read it, so many times."""
    left = [times]

    def meanwhile(call):
        if call.action == "GetItem" and left[0]:
            left[0] -= 1
            version, seen = ConversationTable.version, int(call.answer["Item"]["version"]["N"])
            changes = [version.set(seen + 1), ConversationTable.user_name.set(f"name {left[0]}")]
            commit(Change(ConversationTable, ConversationTable.key(PARTITION, USER_ID), changes))

    return meanwhile


@pytest.mark.parametrize(("times", "answer"), [(1, TAKEN), (4, TAKEN), (5, LATER)])
def test_what_the_user_says_meanwhile_is_not_lost(cloud, times, answer):
    know()
    meanwhile = changing(times)
    aws.observers.append(meanwhile)

    given = send(cloud, order())

    aws.observers.remove(meanwhile)
    assert given == answer
    (row,) = cloud.rows("conversations")
    taken = answer == TAKEN
    assert (row["user_name"], row["version"], "orders" in row) == ("name 0", 3 + times + taken, taken)
    assert len(cloud.rows("orders")) == taken


def test_a_crash_is_told_as_a_text_too(cloud, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(orders, "record", broken)

    assert send(cloud, order()) == (500, "Internal error", JSON)
