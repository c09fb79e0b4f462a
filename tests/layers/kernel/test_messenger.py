"""What goes to Messenger: signatures, what its answers mean, and our messages in its shapes."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from kernel import settings
from kernel.channels.cards import elements, quick_choices
from kernel.channels.faults import OutsideWindow, OverLimit, Profile, Refused, TryLater
from kernel.channels.messenger.client import MessengerClient, signed_by
from kernel.channels.messenger.messages import losses, translated
from kernel.secrets import Secret
from local.chat_double import Failure
from local.messenger_simulator import messenger_simulator
from tests.layers.kernel import line_messages
from tests.layers.kernel.test_wire import Server, answers, closes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.chat_double import ChatDouble

Json = dict[str, Any]

ANN = "4242"
TOKEN = "EAAB-page-token"
HELLO = {"text": "hello"}
URL = "https://example.com/a"
OPEN = {"type": "uri", "label": "Open", "uri": URL}
YES = {"type": "message", "label": "Yes", "text": "yes, please"}
DATA = {"type": "postback", "label": "Buy", "data": "buy=1"}
OPEN_BUTTON = {"type": "web_url", "title": "Open", "url": URL}
YES_BUTTON = {"type": "postback", "title": "Yes", "payload": "yes, please"}
BUY_BUTTON = {"type": "postback", "title": "Buy", "payload": "buy=1"}


@pytest.fixture
def messenger(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatDouble]:
    with messenger_simulator() as double:
        monkeypatch.setenv("MESSENGER_API_ENDPOINT", double.url)
        settings.settings.cache_clear()
        yield double


@pytest.fixture
def server(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as made:
        monkeypatch.setenv("MESSENGER_API_ENDPOINT", made.url)
        settings.settings.cache_clear()
        yield made


@pytest.fixture
def client() -> MessengerClient:
    return MessengerClient(Secret(TOKEN))


def error(code: int | None, subcode: int | None = None, message: str = "no", **more: Any) -> Json:
    return {"error": {"message": message, "type": "OAuthException", "code": code, "error_subcode": subcode, **more}}


class TestSignature:
    BODY = b'{"object":"page","entry":[{"id":"1","messaging":[{"message":{"text":"\\u00e4\\u00f6"}}]}]}'
    RIGHT = "sha256=" + hmac.new(b"app-secret", BODY, hashlib.sha256).hexdigest()

    def test_is_made_of_the_raw_body_with_the_app_secret(self):
        assert signed_by(Secret("app-secret"), self.BODY, self.RIGHT)

    @pytest.mark.parametrize(
        ("secret", "body", "given"),
        [
            ("another", BODY, RIGHT),
            ("app-secret", BODY + b" ", RIGHT),
            ("app-secret", BODY.decode("unicode-escape").encode(), RIGHT),
            ("app-secret", BODY, RIGHT.removeprefix("sha256=")),
            ("app-secret", BODY, "sha1=" + RIGHT.removeprefix("sha256=")),
            ("app-secret", BODY, RIGHT.upper()),
            ("app-secret", BODY, ""),
            ("app-secret", BODY, "sha256=測\ud800"),
        ],
    )
    def test_nothing_else_passes(self, secret, body, given):
        assert not signed_by(Secret(secret), body, given)

    def test_an_empty_secret_signs_nothing(self):
        right = "sha256=" + hmac.new(b"", self.BODY, hashlib.sha256).hexdigest()

        assert not signed_by(Secret(""), self.BODY, right)


class TestSend:
    def test_the_token_travels_in_the_header_only(self, server, client):
        server.script = [answers({"recipient_id": ANN, "message_id": "m_1"})]

        assert client.send(ANN, {"text": "測試"}) == "m_1"

        (request,) = server.requests
        assert request.line == "POST /v23.0/me/messages HTTP/1.1"
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["content-type"] == "application/json"
        expected = {"recipient": {"id": ANN}, "messaging_type": "RESPONSE", "message": {"text": "測試"}}
        assert json.loads(request.body) == expected
        assert TOKEN.encode() not in request.body

    def test_arrives(self, messenger, client):
        client.send(ANN, HELLO)
        client.send(ANN, HELLO, messaging_type="UPDATE")

        assert [(one.user, one.message) for one in messenger.sent] == [(ANN, HELLO)] * 2

    @pytest.mark.parametrize(
        ("answer", "problem", "wait"),
        [
            (answers(error(10, 2018278), 403), OutsideWindow, None),
            (answers(error(10, 2018065), 400), OutsideWindow, None),
            (answers(error(10), 403), Refused, None),
            (answers(error(100, 2018278), 400), Refused, None),
            (answers(error(551, 1545041), 400), Refused, None),
            (answers(error(190), 401), Refused, None),
            (answers(error(100), 200), Refused, None),
            (answers(error(None), 400), Refused, None),
            (answers({"error": "?"}, 400), Refused, None),
            (answers([], 404), Refused, None),
            (answers(error(4), 403), OverLimit, None),
            (answers(error(17), 400), OverLimit, None),
            (answers(error(32), 400), OverLimit, None),
            (answers(error(613), 400, Retry_After="7"), OverLimit, 7.0),
            (answers(b"slow down", 429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), OverLimit, None),
            (answers(error(1), 500), TryLater, None),
            (answers(error(2), 400), TryLater, None),
            (answers(error(1200), 400, Retry_After="30"), TryLater, 30.0),
            (answers(error(999, is_transient=True), 400), TryLater, None),
            (answers(b"<html>", 502), TryLater, None),
            (closes, TryLater, None),
        ],
    )
    def test_what_is_not_taken_says_why(self, server, client, answer, problem, wait):
        server.script = [answer]

        with pytest.raises(problem) as raised:
            client.send(ANN, HELLO)

        assert type(raised.value) is problem
        assert getattr(raised.value, "wait", None) == wait

    @pytest.mark.parametrize("code", [100, 190])
    def test_no_fault_quotes_the_token(self, server, client, code):
        server.script = [answers(error(code, message=f"Malformed access token {TOKEN}"), 400)]

        with pytest.raises(Refused) as raised:
            client.send(ANN, HELLO)

        assert raised.value.status == 400
        assert f"code {code}" in str(raised.value)
        assert TOKEN not in repr(raised.value)

    def test_a_token_that_no_header_can_carry(self, server):
        client = MessengerClient(Secret("the\r\ntoken"))

        with pytest.raises(Refused) as raised:
            client.send(ANN, HELLO)

        assert str(raised.value) == "the channel answered 401: no header can carry this access token"
        assert raised.value.__suppress_context__
        assert client.profile(ANN) is None
        assert server.requests == []

    def test_the_window_of_24_hours(self, messenger, client):
        messenger.heard(ANN)
        messenger.forward(86_400)

        with pytest.raises(OutsideWindow):
            client.send(ANN, HELLO)
        messenger.heard(ANN)
        client.send(ANN, HELLO)

        assert len(messenger.sent) == 1

    def test_a_message_that_was_taken_before_its_answer_was_lost(self, messenger, client):
        messenger.fail(Failure("*", status="closed", accept=True))

        with pytest.raises(TryLater):
            client.send(ANN, HELLO)

        assert len(messenger.sent) == 1


class TestProfile:
    @pytest.mark.parametrize(
        ("answer", "profile"),
        [
            (answers({"name": "Ann", "profile_pic": URL, "id": ANN}), Profile("Ann", URL)),
            (answers({"name": "Ann", "id": ANN}), Profile("Ann", "")),
            (answers(error(100, 33), 400), None),
            (answers(error(100, 33)), None),
            (answers({}, 500), None),
            (closes, None),
        ],
    )
    def test_is_what_messenger_tells(self, server, client, answer, profile):
        server.script = [answer]

        assert client.profile(ANN) == profile
        assert server.requests[0].line == f"GET /v23.0/{ANN}?fields=name,profile_pic HTTP/1.1"

    def test_an_id_stays_one_part_of_the_address(self, server, client):
        server.script = [answers({}, 404)]

        client.profile("../me?x=")

        assert server.requests[0].line == "GET /v23.0/..%2Fme%3Fx%3D?fields=name,profile_pic HTTP/1.1"


def text(content: str, *items: Json, **more: Any) -> Json:
    return with_quick({"type": "text", "text": content, **more}, *items)


def with_quick(message: Json, *items: Json) -> Json:
    return {**message, "quickReply": {"items": [{"type": "action", "action": item} for item in items]}}


def flex(*texts: str, actions: tuple[Json, ...] = (), **more: Any) -> Json:
    contents: list[Json] = [{"type": "text", "text": one} for one in texts]
    contents += [{"type": "button", "action": action} for action in actions]
    body = {"type": "box", "layout": "vertical", "contents": contents}
    return {"type": "flex", "altText": "alt", "contents": {"type": "bubble", "body": body, **more}}


def image(address: str = URL) -> Json:
    return {"attachment": {"type": "image", "payload": {"url": address}}}


def generic(**element: Any) -> Json:
    payload = {"template_type": "generic", "elements": [element]}
    return {"attachment": {"type": "template", "payload": payload}}


def buttons(content: str, *some: Json) -> Json:
    payload = {"template_type": "button", "text": content, "buttons": list(some)}
    return {"attachment": {"type": "template", "payload": payload}}


HERO = {"hero": {"type": "image", "url": URL}}
IMAGEMAP = {
    "type": "imagemap",
    "baseUrl": URL,
    "altText": "map",
    "baseSize": {"width": 1040, "height": 1040},
    "actions": [{"type": "uri", "linkUri": URL, "area": {}}, {"type": "message", "text": "hi", "area": {}}],
}
ELEMENTS = [{"title": "One", "subtitle": "more"}]
MANY = tuple({"type": "message", "label": f"L{number}", "text": f"t{number}"} for number in range(4))
MANY_BUTTONS = [{"type": "postback", "title": f"L{number}", "payload": f"t{number}"} for number in range(4)]
LONG = "This label is longer than twenty characters"


class TestTranslation:
    @pytest.mark.parametrize(
        ("message", "expected", "lost"),
        [
            (text("hello"), [HELLO], []),
            (text(" "), [], []),
            (text("a" * 2001), [{"text": "a" * 2000}, {"text": "a"}], []),
            (
                text("🍎$b$", emojis=[{"index": 2, "productId": "p", "emojiId": "1"}]),
                [{"text": "🍎b$"}],
                ["LINE emojis are left out."],
            ),
            (
                text("pick", YES, DATA),
                [
                    {
                        "text": "pick",
                        "quick_replies": [
                            {"content_type": "text", "title": "Yes", "payload": "yes, please"},
                            {"content_type": "text", "title": "Buy", "payload": "buy=1"},
                        ],
                    }
                ],
                [],
            ),
            (
                text("pick", OPEN, {**YES, "label": LONG}, {"type": "camera", "label": "Photo"}),
                [
                    {
                        "text": f"pick\nOpen: {URL}",
                        "quick_replies": [
                            {"content_type": "text", "title": "This label is longe…", "payload": "yes, please"}
                        ],
                    }
                ],
                [
                    "The action 'Photo' of type camera has no counterpart and is left out.",
                    "Quick replies that open a link are shown as text.",
                    f"The button '{LONG}' is cut to 20 characters.",
                ],
            ),
            ({"type": "image", "originalContentUrl": URL, "previewImageUrl": URL}, [image()], []),
            (
                {"type": "video", "originalContentUrl": URL, "previewImageUrl": URL},
                [{"attachment": {"type": "video", "payload": {"url": URL}}}],
                [],
            ),
            (
                with_quick({"type": "sticker", "packageId": "1", "stickerId": "2"}, YES),
                [
                    {
                        "text": "🙂",
                        "quick_replies": [{"content_type": "text", "title": "Yes", "payload": "yes, please"}],
                    }
                ],
                ["The sticker is shown as 🙂."],
            ),
            (flex("Title"), [{"text": "Title"}], []),
            (flex("Title", "more", "still"), [{"text": "Title\nmore\nstill"}], []),
            (flex("Title", **HERO), [generic(title="Title", image_url=URL)], []),
            (flex(**HERO), [image()], []),
            (
                flex("Title", "more", "still", actions=(OPEN, YES, DATA), **HERO),
                [
                    generic(
                        title="Title",
                        subtitle="more\nstill",
                        image_url=URL,
                        buttons=[OPEN_BUTTON, YES_BUTTON, BUY_BUTTON],
                    )
                ],
                [],
            ),
            (
                flex("Title", actions=MANY),
                [buttons("Title", *MANY_BUTTONS[:3]), buttons("…", *MANY_BUTTONS[3:])],
                ["A card with more than fits is shown as picture, text and buttons."],
            ),
            (
                flex("a" * 81, actions=(YES,), **HERO),
                [image(), buttons("a" * 81, YES_BUTTON)],
                ["A card with more than fits is shown as picture, text and buttons."],
            ),
            (
                flex("a", "b" * 641, actions=(YES,)),
                [{"text": "a\n" + "b" * 641}, buttons("…", YES_BUTTON)],
                ["A card with more than fits is shown as picture, text and buttons."],
            ),
            (
                flex("Call us", actions=({"type": "uri", "label": "Hotline", "uri": "tel:1999"},)),
                [{"text": "Call us\nHotline: 1999"}],
                [],
            ),
            (
                flex("Chat", actions=({"type": "uri", "label": "Chat", "uri": "line://nv/chat"},)),
                [{"text": "Chat"}],
                ["The link 'Chat' opens nothing outside LINE and is left out."],
            ),
            (
                flex("Tap", action={"type": "message", "text": "tapped"}),
                [generic(title="Tap", buttons=[{"type": "postback", "title": "Tap", "payload": "tapped"}])],
                [],
            ),
            (
                {"type": "flex", "altText": "alt", "contents": {"type": "carousel", "contents": [
                    flex("One", **HERO)["contents"], flex("Two")["contents"],
                ]}},
                [generic(title="One", image_url=URL), {"text": "Two"}],
                [],
            ),
            (
                IMAGEMAP,
                [
                    image(f"{URL}/1040"),
                    buttons(
                        "map",
                        {"type": "web_url", "title": "example.com", "url": URL},
                        {"type": "postback", "title": "hi", "payload": "hi"},
                    ),
                ],
                ["The areas of the picture become buttons below it."],
            ),
            ({"type": "fb_generic", "elements": ELEMENTS}, [generic(**ELEMENTS[0])], []),
            (
                {"type": "fb_generic", "payload": {"template_type": "generic", "elements": ELEMENTS, "sharable": True}},
                [{"attachment": {"type": "template", "payload": {
                    "template_type": "generic", "elements": ELEMENTS, "sharable": True,
                }}}],
                [],
            ),
            ({"type": "fb_generic", "attachment": generic(**ELEMENTS[0])["attachment"]}, [generic(**ELEMENTS[0])], []),
            ({"type": "fb_generic"}, [], ["The template has no elements, so nothing is shown."]),
            ({"type": "fb_generic", "elements": {}}, [], ["The template has no elements, so nothing is shown."]),
            (
                {"type": "fb_generic", "elements": ELEMENTS * 11},
                [{"attachment": {"type": "template", "payload": {
                    "template_type": "generic", "elements": ELEMENTS * 11,
                }}}],
                ["The template has 11 elements, but Messenger takes 10."],
            ),
            (
                {"type": "template", "altText": "Menu", "template": {}},
                [{"text": "Menu"}],
                ["A message of type template is shown as its text alone."],
            ),
        ],
    )  # fmt: skip
    def test_shows_as_much_as_messenger_can(self, message, expected, lost):
        assert translated(message) == expected
        assert losses(message) == lost

    def test_only_thirteen_quick_replies_are_shown(self):
        some = [{**YES, "text": str(number)} for number in range(14)]

        (shown,) = translated(text("pick", *some))

        assert [one["payload"] for one in shown["quick_replies"]] == [str(number) for number in range(13)]
        assert losses(text("pick", *some)) == ["Of 14 quick replies only 13 are shown."]

    def test_data_that_grew_too_long_is_left_out_rather_than_changed(self):
        assert translated(flex("Title", actions=({**DATA, "data": "d" * 1001},))) == [{"text": "Title"}]

    @given(template=line_messages.templates)
    def test_an_operator_s_template_may_hold_anything(self, template):
        shown = [one["attachment"] for one in translated(template) if "attachment" in one]

        assert len(shown) == bool(elements(template))
        assert all(sentence.endswith(".") for sentence in losses(template))

    def test_every_translated_message_is_accepted(self, messenger, client):
        @given(message=line_messages.messages)
        @hypothesis_settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
        def hold(message: Json) -> None:
            before = len(messenger.sent)
            shown = translated(message)
            for one in shown:
                client.send(ANN, one)

            assert [one.message for one in messenger.sent[before:]] == shown
            assert all(sentence.endswith(".") for sentence in losses(message))
            fitting = [one for one in quick_choices(message)[0] if one.kind != "link" and len(one.value) <= 1000]
            if fitting:
                assert "quick_replies" in shown[-1]

        hold()
