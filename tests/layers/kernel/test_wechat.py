"""What comes from WeChat and what goes there: signatures, XML, tokens, answers, and our messages in its shapes."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kernel import clock, settings
from kernel.channels.faults import OutsideWindow, OverLimit, Refused, TryLater
from kernel.channels.wechat import envelope
from kernel.channels.wechat.client import OverCount, TokenInMemory, WechatClient
from kernel.channels.wechat.envelope import Article, Malformed
from kernel.channels.wechat.messages import choices, losses, translated
from kernel.secrets import Secret
from local.chat_double import Failure
from local.wechat_simulator import wechat_simulator
from tests.conftest import NOW
from tests.layers.kernel import line_messages
from tests.layers.kernel.test_messenger import DATA, HERO, IMAGEMAP, OPEN, URL, YES, flex, text, with_quick
from tests.layers.kernel.test_wire import Connection, Server, answers, closes, cuts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.chat_double import ChatDouble

Json = dict[str, Any]

ANN = "oyORnuP8q7ou2gfYjqLzSIWZf0rs"
APP = "wx2c2769f8efd9abc2"
SECRET = "app-secret"
HELLO = {"msgtype": "text", "text": {"content": "hello"}}

# The vectors of WeChat's own sample code for the encrypted mode.
AES_KEY = Secret("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")
ENCRYPTED = (
    "hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2LdJF9FrXp"
    "bUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6ux5VTjg3yt+WGzjlp"
    "Kn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJpXgCSUdUue1v6h0EIBYYI1BD"
    "1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCzpu9GhglF2PE="
)
MESSAGE = {
    "ToUserName": "gh_10f6c3c3ac5a",
    "FromUserName": ANN,
    "CreateTime": "1409735668",
    "MsgType": "text",
    "Content": "abcdteT",
    "MsgId": "6054768590064713728",
}


class TestSignature:
    def test_of_the_document(self):
        right = "f464b24fc39322e44b38aa78f5edd27bd1441696"

        assert envelope.signed_by(Secret("AAAAA"), "1714036504", "1514711492", right)

    @pytest.mark.parametrize(
        ("token", "timestamp", "nonce", "given"),
        [
            ("AAAAB", "1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
            ("AAAAA", "1714036505", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
            ("AAAAA", "1714036504", "1514711493", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
            ("AAAAA", "1714036504", "1514711492", "F464B24FC39322E44B38AA78F5EDD27BD1441696"),
            ("AAAAA", "1714036504", "1514711492", ""),
            ("AAAAA", "1714036504\ud800", "1514711492", "測\ud800"),
            # sha1 of timestamp and nonce alone
            ("", "1", "2", "7b52009b64fd0a2a49e6d8a939753077792b0554"),
        ],
    )
    def test_nothing_else_passes(self, token, timestamp, nonce, given):
        assert not envelope.signed_by(Secret(token), timestamp, nonce, given)

    def test_of_the_encrypted_mode(self):
        right = "5d197aaffba7e9b25a30732f161a50dee96bd5fa"
        query = ("1409735669", "1320562132")

        assert envelope.signed_cipher_by(Secret("spamtest"), *query, ENCRYPTED, right)
        assert not envelope.signed_cipher_by(Secret("spamtest"), *query, ENCRYPTED[:-4], right)
        assert not envelope.signed_by(Secret("spamtest"), *query, right)


class TestEncryptedMode:
    def test_a_message_opens(self):
        assert envelope.parsed(envelope.decrypted(AES_KEY, APP, ENCRYPTED)) == MESSAGE

    def test_a_reply_is_what_the_sample_makes(self):
        reply = envelope.encrypted_reply(
            AES_KEY,
            Secret("pamtest"),
            "wxb11529c136998cb6",
            "我是中文abcd123",
            "1409304348",
            "xxxxxx",
            b"aaaabbbbccccdddd",
        )

        found = envelope.parsed(reply.encode())
        assert found["Encrypt"] == (
            "jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg=="
        )
        assert (found["TimeStamp"], found["Nonce"]) == ("1409304348", "xxxxxx")
        assert envelope.signed_cipher_by(
            Secret("pamtest"), "1409304348", "xxxxxx", found["Encrypt"], found["MsgSignature"]
        )

    @given(reply=st.text(max_size=200).filter(lambda reply: reply.isprintable()))
    def test_every_reply_opens_again(self, reply):
        sent = envelope.encrypted_reply(AES_KEY, Secret("token"), APP, reply, "1", "n")

        encrypted = envelope.parsed(sent.encode())["Encrypt"]
        assert envelope.decrypted(AES_KEY, APP, encrypted).decode() == reply
        assert len(base64.b64decode(encrypted)) % 32 == 0

    def test_two_replies_are_never_alike(self):
        first, second = (envelope.encrypted_reply(AES_KEY, Secret("t"), APP, "x", "1", "n") for _ in range(2))

        assert first != second

    @pytest.mark.parametrize(
        ("key", "app", "encrypted"),
        [
            (AES_KEY, "wxanother", ENCRYPTED),
            (AES_KEY, "", ENCRYPTED),
            (AES_KEY, APP[1:], ENCRYPTED),
            (Secret("b" * 43), APP, ENCRYPTED),
            (Secret("abc"), APP, ENCRYPTED),
            (Secret("測" * 43), APP, ENCRYPTED),
            (AES_KEY, APP, ENCRYPTED[:-4]),
            (AES_KEY, APP, ENCRYPTED[64:]),
            (AES_KEY, APP, ENCRYPTED[:64]),
            (AES_KEY, APP, ""),
            (AES_KEY, APP, "測"),
        ],
    )
    def test_what_does_not_open_is_malformed(self, key, app, encrypted):
        with pytest.raises(Malformed) as raised:
            envelope.decrypted(key, app, encrypted)

        assert key.reveal() not in str(raised.value)


def xml(*parts: str) -> bytes:
    head = "<ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[o1]]></FromUserName>"
    return f"<xml>{head}<CreateTime>1348831860</CreateTime>{''.join(parts)}</xml>".encode()


HEAD = {"ToUserName": "gh_1", "FromUserName": "o1", "CreateTime": "1348831860"}


class TestIncoming:
    @pytest.mark.parametrize(
        ("parts", "found"),
        [
            (
                "<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[a <b> & 測]]></Content><MsgId>1</MsgId>",
                {"MsgType": "text", "Content": "a <b> & 測", "MsgId": "1"},
            ),
            (
                f"<MsgType>image</MsgType><PicUrl>{URL}?a=1&amp;b=2</PicUrl><MediaId>m</MediaId>",
                {"MsgType": "image", "PicUrl": f"{URL}?a=1&b=2", "MediaId": "m"},
            ),
            (
                "<MsgType>voice</MsgType><MediaId>m</MediaId><Format>amr</Format><Recognition>測</Recognition>",
                {"MsgType": "voice", "MediaId": "m", "Format": "amr", "Recognition": "測"},
            ),
            (
                "<MsgType>location</MsgType><Location_X>23.13</Location_X><Location_Y>113.35</Location_Y>"
                "<Scale>20</Scale><Label></Label>",
                {"MsgType": "location", "Location_X": "23.13", "Location_Y": "113.35", "Scale": "20", "Label": ""},
            ),
            (
                "<MsgType>event</MsgType><Event>subscribe</Event><EventKey>qrscene_1</EventKey>",
                {"MsgType": "event", "Event": "subscribe", "EventKey": "qrscene_1"},
            ),
            (
                "<MsgType>event</MsgType><Event>scancode_push</Event>"
                "<ScanCodeInfo>\n<ScanType>qrcode</ScanType><ScanResult>1</ScanResult></ScanCodeInfo>",
                {
                    "MsgType": "event",
                    "Event": "scancode_push",
                    "ScanCodeInfo.ScanType": "qrcode",
                    "ScanCodeInfo.ScanResult": "1",
                },
            ),
            ("<MsgType>text</MsgType><MsgType>event</MsgType>", {"MsgType": "text"}),
        ],
    )
    def test_is_a_dictionary(self, parts, found):
        assert envelope.parsed(xml(parts)) == HEAD | found

    def test_is_utf_8_whatever_it_declares(self):
        body = '<?xml version="1.0" encoding="utf-7"?><xml><Content>測+AGE-</Content></xml>'

        assert envelope.parsed(body.encode()) == {"Content": "測+AGE-"}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            b"<xml>",
            b"<html></html>",
            b"<xml></xml><xml></xml>",
            b"<xml>\x00</xml>",
            b"<xml>\xff</xml>",
            b"<xml><Content>&nbsp;</Content></xml>",
            b"<!DOCTYPE xml><xml></xml>",
            b'<!DOCTYPE xml [<!ENTITY a "b">]><xml><Content>&a;</Content></xml>',
            b'<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><Content>&a;</Content></xml>',
            b'<!DOCTYPE xml SYSTEM "http://127.0.0.1:1/a.dtd"><xml></xml>',
            b"<xml>" + b"<a>" * 9 + b"</a>" * 9 + b"</xml>",
            b"<xml><Content>" + b"a" * 65_536 + b"</Content></xml>",
        ],
    )
    def test_anything_else_is_malformed(self, body):
        with pytest.raises(Malformed):
            envelope.parsed(body)


class TestReply:
    FRAME = (
        "<xml><ToUserName><![CDATA[o1]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName>"
        "<CreateTime>1</CreateTime><MsgType><![CDATA[{}]]></MsgType>{}</xml>"
    )

    def test_text(self):
        reply = envelope.text_reply("o1", "gh_1", 1, "你好")

        assert reply == self.FRAME.format("text", "<Content><![CDATA[你好]]></Content>")

    def test_image(self):
        reply = envelope.image_reply("o1", "gh_1", 1, "m")

        assert reply == self.FRAME.format("image", "<Image><MediaId><![CDATA[m]]></MediaId></Image>")

    def test_news(self):
        reply = envelope.news_reply("o1", "gh_1", 1, Article("T", "D", URL, f"{URL}.png"))

        assert reply == self.FRAME.format(
            "news",
            "<ArticleCount>1</ArticleCount><Articles><item><Title><![CDATA[T]]></Title>"
            f"<Description><![CDATA[D]]></Description><PicUrl><![CDATA[{URL}.png]]></PicUrl>"
            f"<Url><![CDATA[{URL}]]></Url></item></Articles>",
        )

    @given(content=st.text(st.characters(exclude_categories=["Cc", "Cs"])) | st.text("]>&<![CDAT\n"))
    def test_every_text_is_read_as_it_was_written(self, content):
        reply = envelope.text_reply("o1", "gh_1", 1, content)

        assert envelope.parsed(reply.encode())["Content"] == content.replace("\ufffe", "").replace("\uffff", "")

    def test_what_xml_cannot_hold_is_left_out(self):
        reply = envelope.text_reply("o1", "gh_1", 1, "a\x00\x0b\ud800\ufffeb")

        assert envelope.parsed(reply.encode())["Content"] == "ab"


@pytest.fixture
def wechat(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatDouble]:
    with wechat_simulator(secrets={APP: SECRET}) as double:
        monkeypatch.setenv("WECHAT_API_ENDPOINT", double.url)
        settings.settings.cache_clear()
        yield double


@pytest.fixture
def server(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as made:
        monkeypatch.setenv("WECHAT_API_ENDPOINT", made.url)
        settings.settings.cache_clear()
        yield made


@pytest.fixture
def tokens() -> TokenInMemory:
    return TokenInMemory()


@pytest.fixture
def client(tokens: TokenInMemory) -> WechatClient:
    return WechatClient(APP, Secret(SECRET), tokens)


def token_calls(double: ChatDouble) -> int:
    return len([call for call in double.calls if call.path == "/cgi-bin/stable_token"])


class TestToken:
    def test_is_asked_for_once_and_kept_until_five_minutes_before_its_end(self, server, client, tokens):
        server.script = [
            answers({"access_token": "t/1+", "expires_in": 7200}),
            answers({"errcode": 0, "errmsg": "ok"}),
            answers({"errcode": 0, "errmsg": "ok"}),
        ]

        with clock.frozen(NOW):
            client.send(ANN, {"msgtype": "text", "text": {"content": "測試"}})
            client.send(ANN, HELLO)

        asked, first, second = server.requests
        assert asked.line == "POST /cgi-bin/stable_token HTTP/1.1"
        assert json.loads(asked.body) == {"grant_type": "client_credential", "appid": APP, "secret": SECRET}
        assert first.line == "POST /cgi-bin/message/custom/send?access_token=t%2F1%2B HTTP/1.1"
        assert first.body.decode() == f'{{"touser":"{ANN}","msgtype":"text","text":{{"content":"測試"}}}}'
        assert second.line == first.line
        with clock.frozen(NOW.replace(hour=8, minute=35)):
            assert tokens.get() == "t/1+"
        with clock.frozen(NOW.replace(hour=8, minute=36)):
            assert tokens.get() is None

    def test_one_that_is_about_to_end_is_kept_for_half_of_what_is_left(self, server, client, tokens):
        server.script = [answers({"access_token": "t", "expires_in": 100}), answers({"errcode": 0})]

        with clock.frozen(NOW):
            client.send(ANN, HELLO)
        with clock.frozen(NOW.replace(minute=42, second=18)):
            assert tokens.get() == "t"
        with clock.frozen(NOW.replace(minute=42, second=20)):
            assert tokens.get() is None

    def test_one_that_has_ended_is_replaced(self, wechat, client):
        client.send(ANN, HELLO)
        wechat.forward(7200)

        client.send(ANN, HELLO)

        assert [one.message for one in wechat.sent] == [HELLO, HELLO]
        assert token_calls(wechat) == 2

    @pytest.mark.parametrize("code", [40001, 40014, 42001])
    def test_one_that_is_not_taken_is_replaced_once(self, wechat, client, code):
        wechat.fail(Failure("*/custom/send", code=code))

        client.send(ANN, HELLO)

        assert len(wechat.sent) == 1
        assert token_calls(wechat) == 2

    def test_one_that_is_not_taken_again_is_given_up(self, wechat, client):
        wechat.fail(Failure("*/custom/send", code=40001, times=2))

        with pytest.raises(Refused) as raised:
            client.send(ANN, HELLO)

        assert raised.value.status == 40001
        assert wechat.sent == []

    @pytest.mark.parametrize(
        ("answer", "problem"),
        [
            (answers({"errcode": 40125, "errmsg": "invalid appsecret"}), Refused),
            (answers({"errcode": 45009, "errmsg": "reach max api daily quota limit"}), OverLimit),
            (answers({"errcode": -1, "errmsg": "system error"}), TryLater),
            (answers({"expires_in": 7200}), TryLater),
            (answers({"access_token": "", "expires_in": 7200}), TryLater),
            (answers({"access_token": "t"}), TryLater),
            (closes, TryLater),
        ],
    )
    def test_without_one_nothing_is_sent(self, server, client, tokens, answer, problem):
        server.script = [answer]

        with pytest.raises(problem) as raised:
            client.send(ANN, HELLO)

        assert type(raised.value) is problem
        assert tokens.get() is None
        assert len(server.requests) == 1


def quotes(connection: Connection) -> bool:
    """Answer with the request itself, as some proxies do in their words about a bad one."""
    connection.wfile.write(connection.server.requests[-1].line.encode() + b"\r\n\r\n")
    return False


class TestSend:
    @pytest.mark.parametrize(
        ("answer", "problem", "wait"),
        [
            (answers({"errcode": 45015}), OutsideWindow, None),
            (answers({"errcode": 45047}), OverCount, None),
            (answers({"errcode": 40003}), Refused, None),
            (answers({"errcode": 45002}), Refused, None),
            (answers({"errcode": -1}), TryLater, None),
            (answers({"errcode": "?"}), TryLater, None),
            (answers({"errcode": 45009}), OverLimit, None),
            (answers({"errcode": 45011}), OverLimit, None),
            (answers(b"", 429, Retry_After="9"), OverLimit, 9.0),
            (answers({"errcode": 0}, 503, Retry_After="3"), TryLater, 3.0),
            (answers(b"<html>"), TryLater, None),
            (answers([0]), TryLater, None),
            (closes, TryLater, None),
            (cuts, TryLater, None),
        ],
    )
    def test_what_is_not_taken_says_why(self, server, client, tokens, answer, problem, wait):
        tokens.put("token", 7200)
        server.script = [answer]

        with pytest.raises(problem) as raised:
            client.send(ANN, HELLO)

        assert type(raised.value) is problem
        assert getattr(raised.value, "wait", None) == wait

    @pytest.mark.parametrize(
        "answer",
        [
            quotes,
            closes,
            cuts,
            answers({"errcode": 40003, "errmsg": f"access_token=the/token the%2Ftoken {SECRET}"}),
            answers({"errcode": 45009, "errmsg": "the/token"}),
            answers(b"the/token", 502),
        ],
    )
    def test_no_fault_and_no_log_shows_a_credential(self, server, client, tokens, answer, caplog):
        caplog.set_level(logging.DEBUG)
        tokens.put("the/token", 7200)
        server.script = [answer]

        with pytest.raises((TryLater, Refused)) as raised:
            client.send(ANN, HELLO)

        told = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + caplog.text
        assert raised.value.__context__ is None
        for secret in ("the/token", "the%2Ftoken", SECRET):
            # The traceback quotes this test's source as little as WeChat's words.
            assert secret not in told

    def test_five_messages_after_each_of_the_person_s_own(self, wechat, client):
        wechat.heard(ANN)
        for _ in range(5):
            client.send(ANN, HELLO)

        with pytest.raises(OverCount):
            client.send(ANN, HELLO)
        wechat.heard(ANN)
        client.send(ANN, HELLO)

        assert len(wechat.sent) == 6

    def test_the_window_of_48_hours(self, wechat, client):
        wechat.heard(ANN)
        wechat.forward(2 * 86_400)

        with pytest.raises(OutsideWindow):
            client.send(ANN, HELLO)

        assert wechat.sent == []


def says(content: str) -> Json:
    return {"msgtype": "text", "text": {"content": content}}


def news(title: str, description: str = "", url: str = URL, picurl: str = URL) -> Json:
    article = {"title": title, "description": description, "url": url, "picurl": picurl}
    return {"msgtype": "news", "news": {"articles": [article]}}


NUMBERED = "What can be tapped becomes numbered lines of text."
LINK = "https://shop.example.com/"
SHOP = {"type": "uri", "label": "Shop", "uri": LINK}


class TestTranslation:
    @pytest.mark.parametrize(
        ("message", "expected", "lost"),
        [
            (text("hello"), [HELLO], []),
            (text(" "), [], []),
            (text("\x01\x1f"), [], []),
            (text("測\x01\\\\u200d\\\x02\t🍎"), [says("測\\\\u200d\\\t🍎")], []),
            (flex("\x01", "a\x02b", "c", **HERO), [news("ab", "c")], []),
            (text("測" * 683), [says("測" * 682), says("測")], []),
            (
                text("$b", emojis=[{"index": 0, "productId": "p", "emojiId": "1"}]),
                [says("b")],
                ["LINE emojis are left out."],
            ),
            (
                text("pick", YES, OPEN, DATA, {"type": "camera", "label": "Photo"}),
                [says(f"pick\nOpen: {URL}\n1. Yes\n2. Buy")],
                ["The action 'Photo' of type camera has no counterpart and is left out.", NUMBERED],
            ),
            (
                {"type": "image", "originalContentUrl": LINK, "previewImageUrl": URL},
                [news("🖼", url=LINK)],
                ["The picture is shown as an article that opens it."],
            ),
            (
                with_quick({"type": "video", "originalContentUrl": URL, "previewImageUrl": URL}, YES),
                [says(f"{URL}\n1. Yes")],
                ["The video is shown as a link.", NUMBERED],
            ),
            ({"type": "sticker", "packageId": "1", "stickerId": "2"}, [says("🙂")], ["The sticker is shown as 🙂."]),
            (flex("Title", "more"), [says("Title\nmore")], []),
            (flex("Title", actions=(OPEN, SHOP)), [says(f"Title\nOpen: {URL}\nShop: {LINK}")], []),
            (flex("Title", "more", "still", actions=(SHOP,), **HERO), [news("Title", "more\nstill", LINK)], []),
            (
                flex("Title", actions=(SHOP, OPEN, YES, DATA), **HERO),
                [news("Title", url=LINK), says(f"Open: {URL}\n1. Yes\n2. Buy")],
                [NUMBERED],
            ),
            (flex("Title", **HERO), [news("Title")], []),
            (flex(**HERO), [news("🖼")], []),
            (
                flex("a" * 65, "more", **HERO),
                [news("a" * 63 + "…", "more"), says("a" * 65 + "\nmore")],
                [],
            ),
            (flex("a", "b" * 121, **HERO), [news("a", "b" * 119 + "…"), says("a\n" + "b" * 121)], []),
            (
                IMAGEMAP,
                [news("map", picurl=f"{URL}/1040"), says("1. hi")],
                ["The areas of the picture become lines of text.", NUMBERED],
            ),
            (
                {"type": "fb_generic", "elements": [
                    {
                        "title": "One", "subtitle": "more", "image_url": URL,
                        "default_action": {"type": "web_url", "url": LINK},
                        "buttons": [{"type": "postback", "title": "Buy", "payload": "buy=1"}],
                    },
                    {"title": "Two", "buttons": [{"type": "web_url", "title": "Open", "url": URL}]},
                ]},
                [news("One", "more", LINK), says(f"Two\nOpen: {URL}\n1. Buy")],
                ["Each card becomes an article of its own.", NUMBERED],
            ),
            ({"type": "fb_generic"}, [], ["The template has no elements, so nothing is shown."]),
            (
                {"type": "template", "altText": "Menu", "template": {}},
                [says("Menu")],
                ["A message of type template is shown as its text alone."],
            ),
        ],
    )  # fmt: skip
    def test_shows_as_much_as_wechat_can(self, message, expected, lost):
        assert translated(message) == expected
        assert losses(message) == lost

    def test_the_numbers_stand_for_what_a_tap_would_say(self):
        message = with_quick(flex("Title", actions=(DATA, OPEN)), YES, DATA)

        assert [(one.label, one.kind, one.value) for one in choices(message)] == [
            ("Buy", "data", "buy=1"),
            ("Yes", "text", "yes, please"),
        ]
        assert translated(message) == [says(f"Title\nOpen: {URL}\n1. Buy\n2. Yes")]

    def test_every_translated_message_is_accepted(self, wechat, client):
        @given(message=line_messages.messages | line_messages.templates)
        @hypothesis_settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
        def hold(message: Json) -> None:
            before = len(wechat.sent)
            shown = translated(message)
            for one in shown:
                wechat.heard(ANN)
                client.send(ANN, one)

            assert [one.message for one in wechat.sent[before:]] == shown
            assert all(sentence.endswith(".") for sentence in losses(message))

        hold()
