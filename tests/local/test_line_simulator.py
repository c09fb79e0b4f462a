import hashlib
import http.client
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from local.line_http import fingerprint
from local.line_simulator import Content, Delivery, LineSimulator

ANN = "U" + "a" * 32
BOB = "U" + "b" * 32
CAT = "U" + "c" * 32
GROUP = "C" + "d" * 32
KEY = "123e4567-e89b-12d3-a456-426614174000"
HELLO = {"type": "text", "text": "hello"}
PLACE = {"type": "location", "title": "Taipei 101", "address": "Xinyi", "latitude": 25.0, "longitude": 121.5}
MENUS, APPS = "/v2/bot/richmenu", "/liff/v1/apps"
FIRST = f"richmenu-{1:032x}"
MENU = {
    "size": {"width": 2500, "height": 1686},
    "selected": True,
    "name": "menu",
    "chatBarText": "menu",
    "areas": [
        {"bounds": {"x": 0, "y": 0, "width": 2500, "height": 1686}, "action": {"type": "message", "text": "hello"}}
    ],
}
VIEW = {"type": "full", "url": "https://x.example.com"}
REPLY, PUSH, MULTICAST = (f"/v2/bot/message/{kind}" for kind in ("reply", "push", "multicast"))


def nothing_wrong(messages: object) -> list[tuple[str, str]]:
    return []


@pytest.fixture
def line() -> Iterator[LineSimulator]:
    with LineSimulator(validate=nothing_wrong) as simulator:
        yield simulator


def ask(
    line: LineSimulator | str,
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str | None = "channel-token",
    timeout: float = 30,
    **headers: str,
) -> tuple[int, Any, dict[str, str]]:
    """Returns status, parsed body and headers in lower case."""
    url = line if isinstance(line, str) else line.url
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout)
    sent = {"Content-Type": "application/json", **{key.replace("_", "-"): headers[key] for key in headers}}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    content = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
    try:
        connection.request(method, path, content, sent)
        response = connection.getresponse()
        received = response.read()
        is_json = response.headers["Content-Type"] == "application/json"
        lower = {key.lower(): value for key, value in response.headers.items()}
        return response.status, json.loads(received) if is_json else received, lower
    finally:
        connection.close()


def control(line: LineSimulator, path: str, body: Any = None) -> tuple[int, Any]:
    method = "GET" if body is None else "POST"
    return ask(line, method, f"/_simulator/{path}", body, token=None)[:2]


def form(line: LineSimulator, path: str, fields: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
    return ask(line, "POST", path, urlencode(fields), token=None, Content_Type="application/x-www-form-urlencoded")


def issued(line: LineSimulator, channel: str, secret: str) -> tuple[int, Any, dict[str, str]]:
    fields = {"grant_type": "client_credentials", "client_id": channel, "client_secret": secret}
    return form(line, "/oauth2/v3/token", fields)


def picture() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (2500, 1686)).save(data, "PNG")
    return data.getvalue()


PICTURE = picture()


def made(line: LineSimulator) -> str:
    """Makes a menu with a picture."""
    menu_id: str = ask(line, "POST", MENUS, MENU)[1]["richMenuId"]
    assert ask(line, "POST", f"{MENUS}/{menu_id}/content", PICTURE, Content_Type="image/png")[0] == 200
    return menu_id


def request_id(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012x}"


def sent_message(number: int) -> dict[str, str]:
    return {"id": str(461230966842064896 + number), "quoteToken": f"quote-{number}"}


class TestReply:
    def test_reaches_the_owner_of_its_token(self, line: LineSimulator) -> None:
        line.own_reply_token("r1", ANN)

        status, body, headers = ask(line, "POST", REPLY, {"replyToken": "r1", "messages": [HELLO, PLACE]})

        assert status == 200
        # A place can't be quoted, so it has no quote token.
        assert body == {"sentMessages": [sent_message(1), {"id": "461230966842064898"}]}
        assert headers["x-line-request-id"] == request_id(1)
        assert line.sent == [
            Delivery(1, ANN, "reply", "461230966842064897", HELLO),
            Delivery(2, ANN, "reply", "461230966842064898", PLACE),
        ]

    def test_takes_an_unseen_token_once(self, line: LineSimulator) -> None:
        body = {"replyToken": "r1", "messages": [HELLO]}

        assert ask(line, "POST", REPLY, body)[:2] == (200, {"sentMessages": [sent_message(1)]})
        assert ask(line, "POST", REPLY, body)[:2] == (400, {"message": "Invalid reply token"})
        assert line.sent == [Delivery(1, None, "reply", "461230966842064897", HELLO)]

    def test_refuses_an_expired_token(self, line: LineSimulator) -> None:
        line.expire_reply_tokens("r1", "r2")

        for token in ("r1", "r2"):
            answer = ask(line, "POST", REPLY, {"replyToken": token, "messages": [HELLO]})
            assert answer[:2] == (400, {"message": "Invalid reply token"})
        assert line.sent == []

    def test_needs_a_token(self, line: LineSimulator) -> None:
        assert ask(line, "POST", REPLY, {"messages": [HELLO]})[:2] == (
            400,
            {
                "message": "The request body has 1 error(s)",
                "details": [{"message": "May not be empty", "property": "replyToken"}],
            },
        )

    def test_takes_no_retry_key(self, line: LineSimulator) -> None:
        body = {"replyToken": "r1", "messages": [HELLO]}

        answer = ask(line, "POST", REPLY, body, X_Line_Retry_Key=KEY)

        assert answer[:2] == (400, {"message": "The retry key is invalid"})
        assert line.sent == []
        # The refusal came before the token was looked at.
        assert ask(line, "POST", REPLY, body)[0] == 200


class TestPush:
    def test_reaches_people_and_groups(self, line: LineSimulator) -> None:
        for number, recipient in enumerate((ANN, GROUP), 1):
            answer = ask(line, "POST", PUSH, {"to": recipient, "messages": [HELLO]})
            assert answer[:2] == (200, {"sentMessages": [sent_message(number)]})
        assert line.sent == [
            Delivery(1, ANN, "push", "461230966842064897", HELLO),
            Delivery(2, GROUP, "push", "461230966842064898", HELLO),
        ]

    def test_accepts_a_retry_key_once(self, line: LineSimulator) -> None:
        body = {"to": ANN, "messages": [HELLO]}

        first = ask(line, "POST", PUSH, body, X_Line_Retry_Key=KEY)
        second = ask(line, "POST", PUSH, body, X_Line_Retry_Key=KEY.upper())

        assert first[:2] == (200, {"sentMessages": [sent_message(1)]})
        assert second[:2] == (
            409,
            {"message": "The retry key is already accepted", "sentMessages": [sent_message(1)]},
        )
        assert second[2]["x-line-request-id"] == request_id(2)
        assert second[2]["x-line-accepted-request-id"] == request_id(1)
        assert [delivery.seq for delivery in line.sent] == [1]
        assert [call.retry_key for call in line.calls] == [KEY, KEY]

    def test_keeps_retry_keys_of_channels_apart(self, line: LineSimulator) -> None:
        body = {"to": ANN, "messages": [HELLO]}

        for token in ("one", "other"):
            assert ask(line, "POST", PUSH, body, token=token, X_Line_Retry_Key=KEY)[0] == 200
        assert len(line.sent) == 2

    def test_refuses_a_retry_key_that_is_no_uuid(self, line: LineSimulator) -> None:
        answer = ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]}, X_Line_Retry_Key="again")

        assert answer[:2] == (400, {"message": "The retry key is invalid"})
        assert line.sent == []

    @pytest.mark.parametrize("recipient", [None, "", "ann", ANN + "a", ANN.upper(), [ANN]])
    def test_refuses_a_malformed_recipient(self, line: LineSimulator, recipient: object) -> None:
        answer = ask(line, "POST", PUSH, {"to": recipient, "messages": [HELLO]})

        message = "The property, 'to', in the request body is invalid (line: -, column: -)"
        assert answer[:2] == (400, {"message": message})
        assert line.sent == []

    def test_says_ok_to_a_blocked_person_and_delivers_nothing(self, line: LineSimulator) -> None:
        line.set_person(ANN, blocked=True)

        answer = ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})

        assert answer[:2] == (200, {"sentMessages": [sent_message(1)]})
        assert line.sent == []

    def test_refuses_an_unknown_person(self, line: LineSimulator) -> None:
        line.set_person(ANN, unknown=True)

        answer = ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})

        assert answer[:2] == (400, {"message": "Failed to send messages"})
        assert line.sent == []


class TestMulticast:
    def test_passes_over_blocked_and_unknown_people(self, line: LineSimulator) -> None:
        line.set_person(ANN, blocked=True)
        line.set_person(BOB, unknown=True)

        answer = ask(line, "POST", MULTICAST, {"to": [ANN, BOB, CAT], "messages": [HELLO, PLACE]})

        assert answer[:2] == (200, {})
        assert line.sent == [
            Delivery(1, CAT, "multicast", "461230966842064897", HELLO),
            Delivery(2, CAT, "multicast", "461230966842064898", PLACE),
        ]

    def test_accepts_a_retry_key_once(self, line: LineSimulator) -> None:
        body = {"to": [ANN], "messages": [HELLO]}

        assert ask(line, "POST", MULTICAST, body, X_Line_Retry_Key=KEY)[:2] == (200, {})
        status, answer, headers = ask(line, "POST", MULTICAST, body, X_Line_Retry_Key=KEY)

        assert (status, answer) == (409, {"message": "The retry key is already accepted"})
        assert headers["x-line-accepted-request-id"] == request_id(1)
        assert len(line.sent) == 1

    def test_one_malformed_id_refuses_all(self, line: LineSimulator) -> None:
        answer = ask(line, "POST", MULTICAST, {"to": [ANN, GROUP], "messages": [HELLO]})

        message = "The property, to[1], in the request body is invalid (line: -, column: -)"
        assert answer[:2] == (400, {"message": message})
        assert line.sent == []

    def test_takes_up_to_500_people(self, line: LineSimulator) -> None:
        people = [f"U{number:032x}" for number in range(501)]

        assert ask(line, "POST", MULTICAST, {"to": people[:500], "messages": [HELLO]})[0] == 200
        assert [delivery.user for delivery in line.sent] == people[:500]
        for refused in (people, [], None):
            assert ask(line, "POST", MULTICAST, {"to": refused, "messages": [HELLO]})[:2] == (
                400,
                {
                    "message": "The request body has 1 error(s)",
                    "details": [{"message": "Size must be between 1 and 500", "property": "to"}],
                },
            )
        assert len(line.sent) == 500


class TestMessages:
    def test_the_validators_flaws_are_listed_as_line_does(self) -> None:
        def validate(messages: object) -> list[tuple[str, str]]:
            assert messages == [{"type": "text", "text": ""}]
            return [("[0].text", "May not be empty"), ("[0].x", "Unknown")]

        with LineSimulator(validate=validate) as line:
            for path, to in ((REPLY, {"replyToken": "r1"}), (PUSH, {"to": ANN}), (MULTICAST, {"to": [ANN]})):
                answer = ask(line, "POST", path, {**to, "messages": [{"type": "text", "text": ""}]})
                assert answer[:2] == (
                    400,
                    {
                        "message": "The request body has 2 error(s)",
                        "details": [
                            {"message": "May not be empty", "property": "messages[0].text"},
                            {"message": "Unknown", "property": "messages[0].x"},
                        ],
                    },
                )
            assert line.sent == []

    def test_are_judged_by_the_platforms_own_rules_unless_told_otherwise(self) -> None:
        with LineSimulator() as line:
            assert ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})[0] == 200
            for messages, flawed in (
                ([HELLO, {"type": "text", "text": "x" * 5001}], "messages[1].text"),
                ([HELLO] * 6, "messages"),
                ([], "messages"),
                (None, "messages"),
            ):
                status, body, _ = ask(line, "POST", PUSH, {"to": ANN, "messages": messages})
                assert (status, body["message"]) == (400, "The request body has 1 error(s)")
                assert [detail["property"] for detail in body["details"]] == [flawed]
            assert len(line.sent) == 1

    def test_count_people_against_the_monthly_limit(self) -> None:
        with LineSimulator(validate=nothing_wrong, monthly_limit=3) as line:
            line.set_person(CAT, blocked=True)
            assert ask(line, "GET", "/v2/bot/message/quota")[1] == {"type": "limited", "value": 3}
            ask(line, "POST", MULTICAST, {"to": [ANN, BOB, CAT], "messages": [HELLO, HELLO]})
            ask(line, "POST", REPLY, {"replyToken": "free", "messages": [HELLO]})
            assert ask(line, "GET", "/v2/bot/message/quota/consumption")[1] == {"totalUsage": 2}

            answer = ask(line, "POST", MULTICAST, {"to": [ANN, BOB], "messages": [HELLO]})

            assert answer[:2] == (429, {"message": "You have reached your monthly limit."})
            assert len(line.sent) == 5
            assert ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})[0] == 200
            assert ask(line, "GET", "/v2/bot/message/quota/consumption")[1] == {"totalUsage": 3}

    def test_of_a_quota_that_is_set_while_running(self, line: LineSimulator) -> None:
        assert control(line, "quota", {"limit": 10, "used": 9}) == (200, {})

        assert ask(line, "GET", "/v2/bot/message/quota")[1] == {"type": "limited", "value": 10}
        assert ask(line, "GET", "/v2/bot/message/quota/consumption")[1] == {"totalUsage": 9}
        assert ask(line, "POST", MULTICAST, {"to": [ANN, BOB], "messages": [HELLO]})[0] == 429
        assert ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})[0] == 200
        assert ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})[:2] == (
            429,
            {"message": "You have reached your monthly limit."},
        )
        line.set_quota(None)
        assert ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})[0] == 200
        assert len(line.sent) == 2


class TestDeliveries:
    def test_are_counted_by_person_since_a_mark(self, line: LineSimulator) -> None:
        people = [f"U{number:032x}" for number in range(1000)]
        ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})
        mark = control(line, "messages")[1]["last"]
        for start in (0, 500):
            body = {"to": people[start : start + 500], "messages": [HELLO, PLACE]}
            assert ask(line, "POST", MULTICAST, body)[0] == 200
        ask(line, "POST", PUSH, {"to": people[7], "messages": [HELLO]})
        ask(line, "POST", REPLY, {"replyToken": "nobodys", "messages": [HELLO]})

        assert control(line, f"deliveries?since={mark}") == (
            200,
            {"people": 1000, "twice": [people[7]], "last": mark + 2002},
        )
        assert control(line, "deliveries")[1]["people"] == 1001
        assert (line.deliveries(mark)[people[7]], line.deliveries(mark)[ANN]) == (2, 0)
        assert (line.deliveries(line.last), line.last) == ({}, mark + 2002)

    def test_of_one_person_are_found_among_many(self, line: LineSimulator) -> None:
        people = [f"U{number:032x}" for number in range(500)]
        ask(line, "POST", MULTICAST, {"to": [*people[1:], people[1]], "messages": [HELLO, PLACE]})
        ask(line, "POST", PUSH, {"to": GROUP, "messages": [HELLO]})

        found = [(one.seq, one.message) for one in line.messages(people[1])]
        assert found == [(1, HELLO), (2, PLACE), (999, HELLO), (1000, PLACE)]
        assert [one.seq for one in line.messages(people[499], after=997)] == [998]
        # Its bytes stand in the list, across two people.
        assert line.messages("U" + people[300][3:] + "00") == []
        assert [one.seq for one in line.messages(GROUP)] == [1001]
        assert line.messages("ann") == []


class TestReading:
    def test_profiles(self, line: LineSimulator) -> None:
        line.set_person(ANN, display_name="Ann")
        line.set_person(BOB, blocked=True)
        line.set_person(CAT, unknown=True)

        assert ask(line, "GET", f"/v2/bot/profile/{ANN}")[:2] == (
            200,
            {
                "userId": ANN,
                "displayName": "Ann",
                "pictureUrl": f"https://profile.example.com/{ANN}",
                "language": "en",
            },
        )
        for user in (BOB, CAT):
            assert ask(line, "GET", f"/v2/bot/profile/{user}")[:2] == (404, {"message": "Not found"})
        line.set_person(BOB, blocked=False)
        assert ask(line, "GET", f"/v2/bot/profile/{BOB}")[1]["displayName"] == "Person bbbbbb"
        assert ask(line, "GET", "/v2/bot/profile/bob")[0] == 400

    def test_bot_and_quota(self, line: LineSimulator) -> None:
        assert ask(line, "GET", "/v2/bot/info")[:2] == (
            200,
            {
                "userId": "U00000000000000000000000000000b07",
                "basicId": "@simulated",
                "displayName": "Simulated bot",
                "chatMode": "bot",
                "markAsReadMode": "auto",
            },
        )
        assert ask(line, "GET", "/v2/bot/message/quota")[:2] == (200, {"type": "none"})
        assert ask(line, "GET", "/v2/bot/message/quota/consumption")[:2] == (200, {"totalUsage": 0})

    def test_content_answers_as_scripted(self, line: LineSimulator) -> None:
        line.script_content("7", Content(202), Content(data=b"\xff\xd8", content_type="image/jpeg"))
        line.script_content("8", Content(410))

        assert ask(line, "GET", "/v2/bot/message/7/content")[:2] == (202, {})
        for _ in range(2):
            status, data, headers = ask(line, "GET", "/v2/bot/message/7/content")
            assert (status, data, headers["content-type"]) == (200, b"\xff\xd8", "image/jpeg")
        assert ask(line, "GET", "/v2/bot/message/8/content")[:2] == (410, {"message": "Gone"})
        assert ask(line, "GET", "/v2/bot/message/9/content")[:2] == (404, {"message": "not found"})

    def test_loading_animation(self, line: LineSimulator) -> None:
        path = "/v2/bot/chat/loading/start"

        assert ask(line, "POST", path, {"chatId": ANN})[:2] == (202, {})
        assert ask(line, "POST", path, {"chatId": ANN, "loadingSeconds": 60})[:2] == (202, {})
        assert ask(line, "POST", path, {"chatId": GROUP, "loadingSeconds": 63})[:2] == (
            400,
            {
                "message": "The request body has 3 error(s)",
                "details": [
                    {
                        "message": "Only user id is acceptable, please confirm if there are any "
                        "group/room ids or illegal ids.",
                        "property": "chatId",
                    },
                    {"message": "Must be between 5 and 60", "property": "loadingSeconds"},
                    {"message": "must be a multiple of five", "property": "loadingSeconds"},
                ],
            },
        )


class TestRequests:
    @pytest.mark.parametrize("authorization", [None, "Bearer ", "Basic eDp5"])
    def test_need_a_token(self, line: LineSimulator, authorization: str | None) -> None:
        headers = {} if authorization is None else {"Authorization": authorization}

        answer = ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]}, token=None, **headers)

        assert answer[:2] == (
            401,
            {
                "message": "Authentication failed due to the following reason: invalid token. "
                "Confirm that the access token in the authorization header is valid."
            },
        )
        assert answer[2]["x-line-request-id"] == request_id(1)
        assert line.sent == []

    def test_hold_a_json_object(self, line: LineSimulator) -> None:
        for body, message in (
            ("{", "The request body could not be parsed as JSON (line: -, column: -)"),
            ("[]", "The request body could not be parsed as JSON (line: 1, column: 1)"),
        ):
            assert ask(line, "POST", PUSH, body)[:2] == (400, {"message": message})
        answer = ask(line, "POST", PUSH, "{}", Content_Type="text/plain; charset=utf-8")
        assert answer[:2] == (415, {"message": "The content type, text/plain, is not supported"})

    def test_hold_at_most_2_mb(self, line: LineSimulator) -> None:
        envelope = json.dumps({"to": ANN, "messages": [{"type": "text", "text": ""}]})
        filler = "x" * (2 * 1024 * 1024 - len(envelope))

        for text, status in ((filler, 200), (filler + "x", 413)):
            answer = ask(line, "POST", PUSH, {"to": ANN, "messages": [{"type": "text", "text": text}]})
            assert answer[0] == status
        assert answer[1] == {"message": "Request exceeds the max size of 2MB"}
        assert len(line.sent) == 1
        assert [call.status for call in line.calls] == [200, 413]

    def test_to_other_addresses_are_refused(self, line: LineSimulator) -> None:
        for method, path in (("GET", PUSH), ("POST", "/v2/bot/info"), ("DELETE", "/v2/bot/richmenu/1")):
            assert ask(line, method, path)[:2] == (404, {"message": "Not found"})

    def test_are_kept_without_their_token(self, line: LineSimulator) -> None:
        ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]}, token="secret", X_Line_Retry_Key=KEY)

        (call,) = line.calls
        fingerprint = hashlib.sha256(b"secret").hexdigest()[:12]
        assert (call.request_id, call.method, call.path, call.status, call.retry_key, call.token) == (
            request_id(1),
            "POST",
            PUSH,
            200,
            KEY,
            fingerprint,
        )
        assert call.json == {"to": ANN, "messages": [HELLO]}
        assert call.headers["X-Line-Retry-Key"] == KEY
        assert "secret" not in json.dumps(control(line, "calls")[1])

    def test_share_a_connection(self, line: LineSimulator) -> None:
        connection = http.client.HTTPConnection(line.url.removeprefix("http://"), timeout=30)
        for _ in range(2):
            connection.request("GET", "/v2/bot/info", headers={"Authorization": "Bearer t"})
            opened = connection.sock
            assert json.load(connection.getresponse())["basicId"] == "@simulated"
            assert connection.sock is opened is not None
        connection.close()

    def test_at_the_same_time_with_one_retry_key_are_accepted_once(self, line: LineSimulator) -> None:
        def push(_: int) -> int:
            return ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]}, X_Line_Retry_Key=KEY)[0]

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(push, range(8))) == [200] + [409] * 7
        assert len(line.sent) == 1


class TestFailures:
    def test_end_after_so_many_calls(self, line: LineSimulator) -> None:
        line.fail(PUSH, 429, times=2, retry_after=7)
        line.fail("/v2/bot/profile/*", 500)
        body = {"to": ANN, "messages": [HELLO]}

        for _ in range(2):
            status, answer, headers = ask(line, "POST", PUSH, body, X_Line_Retry_Key=KEY)
            assert (status, headers["retry-after"]) == (429, "7")
            assert answer == {"message": "The API rate limit has been exceeded. Try again later."}
        assert line.sent == []
        assert ask(line, "POST", PUSH, body, X_Line_Retry_Key=KEY)[0] == 200
        assert ask(line, "GET", f"/v2/bot/profile/{ANN}")[:2] == (500, {"message": "Internal server error"})
        assert ask(line, "GET", f"/v2/bot/profile/{ANN}")[0] == 200
        assert [call.status for call in line.calls] == [429, 429, 200, 500, 200]

    def test_may_come_after_acceptance(self, line: LineSimulator) -> None:
        line.fail(PUSH, 500, accept=True)
        body = {"to": ANN, "messages": [HELLO]}

        assert ask(line, "POST", PUSH, body, X_Line_Retry_Key=KEY)[0] == 500
        assert len(line.sent) == 1
        status, answer, _ = ask(line, "POST", PUSH, body, X_Line_Retry_Key=KEY)
        assert (status, answer["sentMessages"]) == (409, [sent_message(1)])
        assert len(line.sent) == 1

    def test_of_the_monthly_limit_have_their_own_words(self, line: LineSimulator) -> None:
        line.fail(MULTICAST, 429, message="You have reached your monthly limit.", retry_after=None)

        status, body, headers = ask(line, "POST", MULTICAST, {"to": [ANN], "messages": [HELLO]})

        assert (status, body) == (429, {"message": "You have reached your monthly limit."})
        assert "retry-after" not in headers

    @pytest.mark.parametrize(("accept", "delivered"), [(False, 0), (True, 1)])
    def test_can_close_the_connection(self, line: LineSimulator, accept: bool, delivered: int) -> None:
        line.fail(PUSH, "closed", accept=accept)

        with pytest.raises(http.client.RemoteDisconnected):
            ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})
        assert len(line.sent) == delivered
        assert [call.status for call in line.calls] == ["closed"]

    @pytest.mark.parametrize(("accept", "delivered"), [(False, 0), (True, 1)])
    def test_can_leave_the_caller_waiting(self, accept: bool, delivered: int) -> None:
        with LineSimulator(validate=nothing_wrong) as line:
            line.fail(PUSH, "timeout", accept=accept)

            with pytest.raises(TimeoutError):
                ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]}, timeout=0.5)
        assert len(line.sent) == delivered
        assert [call.status for call in line.calls] == ["timeout"]

    def test_may_come_every_so_many_calls(self, line: LineSimulator) -> None:
        line.fail(PUSH, 500, every=3, accept=True)
        line.fail(PUSH, 429, every=2, times=1)

        statuses = [ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})[0] for _ in range(9)]

        assert statuses == [200, 429, 500, 200, 200, 500, 200, 200, 500]
        assert len(line.sent) == 8

    def test_come_at_least_every_call(self, line: LineSimulator) -> None:
        assert control(line, "failures", {"path": PUSH, "status": 500, "every": 2}) == (200, {})
        with pytest.raises(ValueError, match="every is less than 1: 0"):
            line.fail(PUSH, 500, every=0)

    def test_hide_no_refusal(self, line: LineSimulator) -> None:
        line.fail(PUSH, 500, accept=True)

        assert ask(line, "POST", PUSH, {"to": "ann", "messages": [HELLO]})[0] == 400

    def test_with_an_unknown_ending_are_refused(self, line: LineSimulator) -> None:
        with pytest.raises(ValueError, match="neither a number, closed nor timeout: late"):
            line.fail(PUSH, "late")  # type: ignore[arg-type]


class TestRichMenus:
    def test_are_made_in_one_channel(self, line: LineSimulator) -> None:
        status, answer, _ = ask(line, "POST", MENUS, MENU)

        assert (status, answer) == (200, {"richMenuId": FIRST})
        assert ask(line, "GET", f"{MENUS}/{FIRST}")[:2] == (200, {"richMenuId": FIRST, **MENU})
        assert ask(line, "GET", f"{MENUS}/list")[1] == {"richmenus": [{"richMenuId": FIRST, **MENU}]}
        assert ask(line, "GET", f"{MENUS}/list", token="other")[1] == {"richmenus": []}
        assert ask(line, "GET", f"{MENUS}/{FIRST}", token="other")[0] == 404
        assert list(line.rich_menus) == [fingerprint("channel-token")]

    def test_need_all_their_properties(self, line: LineSimulator) -> None:
        flawed = (
            400,
            {"message": "The request body has 1 error(s)", "details": [{"message": "is required", "property": "name"}]},
        )
        menu = {key: value for key, value in MENU.items() if key != "name"}

        assert ask(line, "POST", MENUS, menu)[:2] == flawed
        assert ask(line, "POST", f"{MENUS}/validate", menu)[:2] == flawed
        assert ask(line, "POST", f"{MENUS}/validate", MENU)[:2] == (200, {})
        assert line.rich_menus == {}

    def test_take_no_retry_key(self, line: LineSimulator) -> None:
        answer = ask(line, "POST", MENUS, MENU, X_Line_Retry_Key=KEY)

        assert answer[:2] == (400, {"message": "The retry key is invalid"})

    def test_are_1000_at_most(self, line: LineSimulator) -> None:
        connection = http.client.HTTPConnection(line.url.removeprefix("http://"), timeout=30)
        statuses = []
        for _ in range(1001):
            headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
            connection.request("POST", MENUS, json.dumps(MENU), headers)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()

        assert statuses == [200] * 1000 + [400]

    def test_show_only_with_a_picture(self, line: LineSimulator) -> None:
        ask(line, "POST", MENUS, MENU)
        missing = (400, {"message": "must upload richmenu image before applying it to user", "details": []})

        assert ask(line, "POST", f"/v2/bot/user/all/richmenu/{FIRST}")[:2] == missing
        assert ask(line, "POST", f"/v2/bot/user/{ANN}/richmenu/{FIRST}")[:2] == missing
        assert ask(line, "POST", f"{MENUS}/bulk/link", {"richMenuId": FIRST, "userIds": [ANN]})[:2] == missing
        alias = {"richMenuAliasId": "tab", "richMenuId": FIRST}
        assert ask(line, "POST", f"{MENUS}/alias", alias)[:2] == (400, {"message": "richmenu not found", "details": []})
        assert ask(line, "GET", f"{MENUS}/{FIRST}/content")[0] == 404

    def test_keep_their_picture(self, line: LineSimulator) -> None:
        path = f"{MENUS}/{FIRST}/content"
        ask(line, "POST", MENUS, MENU)

        assert ask(line, "POST", path, PICTURE, Content_Type="text/plain")[0] == 415
        refused = ask(line, "POST", path, PICTURE, Content_Type="image/jpeg")
        assert refused[:2] == (400, {"message": "The image size is not allowed for richmenu"})
        assert ask(line, "POST", path, PICTURE, Content_Type="image/png")[:2] == (200, {})
        assert ask(line, "POST", path, PICTURE, Content_Type="image/png")[:2] == (
            400,
            {"message": "An image has already been uploaded to the richmenu"},
        )
        status, data, headers = ask(line, "GET", path)
        assert (status, data, headers["content-type"]) == (200, PICTURE, "image/png")
        assert line.calls[-2].body == f"{len(PICTURE)} bytes of image/png"

    def test_are_shown_to_friends_and_to_everybody(self, line: LineSimulator) -> None:
        menu_id = made(line)
        line.set_person(CAT, unknown=True)
        default, own = "/v2/bot/user/all/richmenu", f"/v2/bot/user/{ANN}/richmenu"

        assert ask(line, "GET", default)[:2] == (404, {"message": "no default richmenu", "details": []})
        assert ask(line, "POST", f"{default}/{menu_id}")[:2] == (200, {})
        assert ask(line, "GET", default)[1] == {"richMenuId": menu_id}
        assert ask(line, "GET", own)[:2] == (404, {"message": "the user has no richmenu", "details": []})
        linked = ask(line, "POST", f"{MENUS}/bulk/link", {"richMenuId": menu_id, "userIds": [ANN, BOB, CAT]})
        assert linked[:2] == (202, {})
        assert ask(line, "GET", own)[1] == {"richMenuId": menu_id}
        assert ask(line, "POST", f"{MENUS}/bulk/unlink", {"userIds": [BOB]})[:2] == (202, {})
        token = fingerprint("channel-token")
        assert control(line, "rich-menus") == (
            200,
            {
                "channels": {
                    token: {
                        "menus": [{"richMenuId": menu_id, **MENU, "image": "image/png"}],
                        "default": menu_id,
                        "links": {ANN: menu_id},
                        "aliases": {},
                    }
                }
            },
        )

        assert ask(line, "DELETE", f"{MENUS}/{menu_id}")[:2] == (200, {})
        assert ask(line, "GET", default)[0] == ask(line, "GET", own)[0] == 404

    def test_link_nobody_when_one_id_is_malformed(self, line: LineSimulator) -> None:
        menu_id = made(line)

        refused = ask(line, "POST", f"{MENUS}/bulk/link", {"richMenuId": menu_id, "userIds": [ANN, "bob"]})

        message = "The property, 'userIds[1]', in the request body is invalid (line: -, column: -)"
        assert refused[:2] == (400, {"message": message})
        for users in ([], [ANN] * 501, None):
            assert ask(line, "POST", f"{MENUS}/bulk/unlink", {"userIds": users})[0] == 400
        assert line.rich_menus[fingerprint("channel-token")]["links"] == {}

    def test_have_aliases(self, line: LineSimulator) -> None:
        menu_id = made(line)
        alias = {"richMenuAliasId": "tab", "richMenuId": menu_id}

        assert ask(line, "POST", f"{MENUS}/alias", alias)[:2] == (200, {})
        assert ask(line, "POST", f"{MENUS}/alias", alias)[:2] == (
            400,
            {"message": "conflict richmenu alias id", "details": []},
        )
        assert ask(line, "GET", f"{MENUS}/alias/tab")[:2] == (200, alias)
        assert ask(line, "POST", f"{MENUS}/alias/tab", {"richMenuId": menu_id})[:2] == (200, {})
        assert ask(line, "POST", f"{MENUS}/alias/other", {"richMenuId": menu_id})[:2] == (
            404,
            {"message": "richmenu alias not found", "details": []},
        )
        assert ask(line, "GET", f"{MENUS}/alias/list")[1] == {"aliases": [alias]}
        assert ask(line, "DELETE", f"{MENUS}/alias/tab")[:2] == (200, {})
        assert ask(line, "DELETE", f"{MENUS}/alias/tab")[0] == 404

    def test_are_limited_by_the_hour_when_told(self, line: LineSimulator) -> None:
        assert control(line, "rich-menus/limit", {"perHour": 2}) == (200, {})

        assert [ask(line, "POST", MENUS, MENU)[0] for _ in range(3)] == [200, 200, 429]
        assert [ask(line, "DELETE", f"{MENUS}/{FIRST}")[0] for _ in range(3)] == [200, 404, 429]
        line.limit_rich_menus(None)
        assert ask(line, "POST", MENUS, MENU)[0] == 200


class TestLogin:
    def test_issues_tokens_for_the_right_secret(self, line: LineSimulator) -> None:
        assert control(line, "login-channels", {"id": "77", "secret": "s3cret"}) == (200, {})

        assert issued(line, "77", "wrong")[:2] == (
            400,
            {"error": "invalid_client", "error_description": "invalid client_secret"},
        )
        status, answer, _ = issued(line, "77", "s3cret")
        assert (status, answer["token_type"], answer["expires_in"]) == (200, "Bearer", 899)
        assert "s3cret" not in str(line.calls)
        assert issued(line, "78", "anything")[0] == 200

    def test_keeps_liff_apps_by_channel(self, line: LineSimulator) -> None:
        token = issued(line, "77", "s")[1]["access_token"]
        app = {"view": {"type": "full", "url": "https://chat.example.com/liff"}, "description": "entry"}

        assert ask(line, "GET", APPS, token="channel-token")[0] == 401
        assert ask(line, "GET", APPS, token=token)[0] == 404
        status, answer, _ = ask(line, "POST", APPS, app, token=token)
        liff_id = answer["liffId"]
        assert (status, liff_id[:3]) == (200, "77-")
        change = {"view": {"url": "https://chat.example.com/other"}}
        assert ask(line, "PUT", f"{APPS}/{liff_id}", change, token=token)[:2] == (200, {})
        shown = {**app, "liffId": liff_id, "view": {"type": "full", "url": "https://chat.example.com/other"}}
        assert ask(line, "GET", APPS, token=token)[1] == {"apps": [shown]}
        assert control(line, "liff-apps") == (200, {"channels": {"77": [shown]}})
        other = issued(line, "78", "s")[1]["access_token"]
        assert ask(line, "DELETE", f"{APPS}/{liff_id}", token=other)[0] == 404
        assert ask(line, "DELETE", f"{APPS}/{liff_id}", token=token)[0] == 200
        assert ask(line, "GET", APPS, token=token)[0] == 404

    @pytest.mark.parametrize(
        ("app", "flawed"),
        [
            ({}, ["view"]),
            ({"view": {"type": "wide", "url": "http://x.example.com"}}, ["view.type", "view.url"]),
            ({"view": {"type": "full", "url": "https://x.example.com/#a"}}, ["view.url"]),
            ({"view": VIEW, "description": "My LINE page"}, ["description"]),
            ({"view": VIEW, "scope": ["everything"], "botPrompt": "loud"}, ["scope", "botPrompt"]),
        ],
    )
    def test_refuses_a_flawed_liff_app(self, line: LineSimulator, app: Any, flawed: list[str]) -> None:
        token = issued(line, "77", "s")[1]["access_token"]

        status, answer, _ = ask(line, "POST", APPS, app, token=token)

        assert (status, [detail["property"] for detail in answer["details"]]) == (400, flawed)
        assert line.liff_apps == {}

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"id_token": "forged"}, "Invalid IdToken."),
            ({"id_token": "old"}, "IdToken expired."),
            ({"client_id": "78"}, "Invalid IdToken Audience."),
            ({"nonce": "other"}, "Invalid IdToken Nonce."),
        ],
    )
    def test_verifies_id_tokens(self, line: LineSimulator, fields: dict[str, str], words: str) -> None:
        given = {"token": "genuine", "sub": ANN, "aud": "77", "exp": 4102444800, "nonce": "n"}
        assert control(line, "id-tokens", given) == (200, {})
        line.own_id_token("old", ANN, "77", exp=1)
        genuine = {"id_token": "genuine", "client_id": "77"}

        status, claims, _ = form(line, "/oauth2/v2.1/verify", genuine)
        known = ("iss", "sub", "aud", "exp", "nonce")
        assert (status, [claims[name] for name in known]) == (
            200,
            ["https://access.line.me", ANN, "77", 4102444800, "n"],
        )
        assert form(line, "/oauth2/v2.1/verify", genuine | fields)[:2] == (
            400,
            {"error": "invalid_request", "error_description": words},
        )
        assert "genuine" not in str(line.calls)


class TestLongPoll:
    def test_waits_for_the_next_message_of_a_person(self, line: LineSimulator) -> None:
        ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})

        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(control, line, f"messages?user={ANN}&after=1&wait=25")
            ask(line, "POST", PUSH, {"to": BOB, "messages": [HELLO]})
            ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})
            status, answer = waiting.result(timeout=20)

        assert (status, answer["last"]) == (200, 3)
        assert answer["messages"] == [
            {"seq": 3, "user": ANN, "via": "push", "messageId": "461230966842064899", "message": HELLO}
        ]

    def test_answers_at_once_when_not_told_to_wait(self, line: LineSimulator) -> None:
        assert control(line, f"messages?user={ANN}") == (200, {"messages": [], "last": 0})
        assert line.messages(ANN) == []

    def test_ends_when_the_simulator_closes(self) -> None:
        with ThreadPoolExecutor(1) as pool, LineSimulator() as line:
            waiting = pool.submit(line.messages, ANN, wait=25.0)
        assert waiting.result(timeout=20) == []

    def test_callers_left_waiting_are_let_go_when_the_simulator_closes(self) -> None:
        with LineSimulator() as line:
            line.fail("/v2/bot/info", "timeout")
            connection = http.client.HTTPConnection(line.url.removeprefix("http://"), timeout=20)
            connection.request("GET", "/v2/bot/info")
        with pytest.raises(ConnectionError):
            connection.getresponse()
        connection.close()


class TestControl:
    def test_people_failures_tokens_and_contents(self, line: LineSimulator) -> None:
        assert control(line, f"users/{ANN}", {"blocked": True, "displayName": "Ann"}) == (200, {})
        assert control(line, f"users/{ANN}", {"blocked": False}) == (200, {})
        assert control(line, "failures", {"path": PUSH, "status": 429, "retryAfter": 3}) == (200, {})
        assert control(line, "reply-tokens", {"token": "r1", "user": ANN}) == (200, {})
        assert control(line, "reply-tokens/expire", {"tokens": ["r2"]}) == (200, {})
        scripted = {"answers": [{"status": 202}, {"base64": "/9g=", "contentType": "image/png"}]}
        assert control(line, "contents/7", scripted) == (200, {})

        assert ask(line, "GET", f"/v2/bot/profile/{ANN}")[1]["displayName"] == "Ann"
        assert ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]})[2]["retry-after"] == "3"
        ask(line, "POST", REPLY, {"replyToken": "r1", "messages": [HELLO]})
        assert [delivery.user for delivery in line.sent] == [ANN]
        assert ask(line, "POST", REPLY, {"replyToken": "r2", "messages": [HELLO]})[0] == 400
        assert ask(line, "GET", "/v2/bot/message/7/content")[0] == 202
        status, data, headers = ask(line, "GET", "/v2/bot/message/7/content")
        assert (status, data, headers["content-type"]) == (200, b"\xff\xd8", "image/png")

    def test_calls(self, line: LineSimulator) -> None:
        ask(line, "POST", PUSH, {"to": ANN, "messages": [HELLO]}, X_Line_Retry_Key=KEY)

        status, answer = control(line, "calls")

        (call,) = answer["calls"]
        assert status == 200
        assert json.loads(call.pop("body")) == {"to": ANN, "messages": [HELLO]}
        assert call.pop("headers")["Content-Type"] == "application/json"
        assert call == {
            "requestId": request_id(1),
            "method": "POST",
            "path": PUSH,
            "status": 200,
            "retryKey": KEY,
            "token": hashlib.sha256(b"channel-token").hexdigest()[:12],
        }

    def test_reset_forgets_everything_but_goes_on_counting(self, line: LineSimulator) -> None:
        line.set_person(BOB, blocked=True)
        line.fail(PUSH, 500, times=9)
        line.set_quota(0)
        line.own_id_token("genuine", ANN, "77")
        made(line)
        ask(line, "POST", REPLY, {"replyToken": "r1", "messages": [HELLO]})

        assert control(line, "reset", {}) == (200, {})

        assert (line.calls, line.sent, line.rich_menus, line.deliveries()) == ([], [], {}, {})
        assert control(line, "messages") == (200, {"messages": [], "last": 1})
        assert ask(line, "POST", REPLY, {"replyToken": "r1", "messages": [HELLO]})[0] == 200
        ask(line, "POST", PUSH, {"to": BOB, "messages": [HELLO]})
        assert [(delivery.seq, delivery.user) for delivery in line.sent] == [(2, None), (3, BOB)]
        assert [call.request_id for call in line.calls] == [request_id(4), request_id(5)]
        assert form(line, "/oauth2/v2.1/verify", {"id_token": "genuine", "client_id": "77"})[0] == 400
        assert ask(line, "POST", MENUS, MENU)[1] == {"richMenuId": f"richmenu-{2:032x}"}

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("messages?after=x", None, 400),
            ("nothing", None, 404),
            ("nothing", {}, 404),
            ("failures", {"path": PUSH}, 400),
            ("failures", {"path": PUSH, "status": "late"}, 400),
            ("reply-tokens", {"token": "r1"}, 400),
            (f"users/{ANN}", {"age": 7}, 400),
            ("deliveries?since=x", None, 400),
            ("failures", {"path": PUSH, "status": 500, "every": 0}, 400),
            ("quota", {}, 400),
            ("id-tokens", {"token": "t"}, 400),
            ("login-channels", {"id": "77"}, 400),
            ("rich-menus/limit", {}, 400),
        ],
    )
    def test_refuses_what_it_does_not_understand(self, line: LineSimulator, path: str, body: Any, status: int) -> None:
        assert control(line, path, body)[0] == status
        assert line.calls == []


def test_runs_as_a_process() -> None:
    command = [sys.executable, "-m", "local.line_simulator", "--port", "0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("LINE simulator on ").strip()
            answer = ask(url, "POST", PUSH, {"to": ANN, "messages": [HELLO]})
        finally:
            process.terminate()
    assert answer[:2] == (200, {"sentMessages": [sent_message(1)]})


def test_says_when_its_port_is_taken() -> None:
    command = [sys.executable, "-m", "local.line_simulator", "--port"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run([*command, port], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert ended.returncode == 1
    assert ended.stderr == f"can't listen on port {port}: Address already in use\n"


def test_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with LineSimulator() as line:
        ask(line, "GET", "/v2/bot/info")
    assert threading.active_count() == before
