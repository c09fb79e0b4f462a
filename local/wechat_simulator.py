"""A double of WeChat's official account API over HTTP: tokens, custom messages, profiles; it keeps what was sent.

Everything is answered with HTTP 200 and an `errcode`. Sources of limits and codes: the pages of
https://developers.weixin.qq.com/doc/service/api; the limits of an article are the strictest in use.
"""

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from local.chat_double import ChatDouble, Failure, RefusedError, Windows, run
from local.line_http import Answer, Request, json_answer

DEFAULT_PORT = 8793
TOKEN_LIFE = 7200.0
TOKENS_A_DAY = 2000

# stable_token gives a new one so long before the end of the old one.
_RENEWAL = 300.0
_DAY = 86_400.0
_ESCAPED = re.compile(rb"(?<!\\)(?:\\\\)*\\u")
_WINDOWS: Windows = {"message": (2 * _DAY, 5), "follow": (60.0, 3), "menu": (60.0, 3), "scan": (60.0, 3)}
_WORDS = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40003: "invalid openid",
    40007: "invalid media_id",
    40008: "invalid message type",
    40013: "invalid appid",
    40014: "invalid access_token",
    40125: "invalid appsecret",
    41001: "access_token missing",
    42001: "access_token expired",
    43002: "require POST method",
    44003: "empty news data",
    44004: "empty content",
    45002: "content size out of limit",
    45003: "title size out of limit",
    45004: "description size out of limit",
    45005: "url size out of limit",
    45006: "picurl size out of limit",
    45008: "article size out of limit",
    45009: "reach max api daily quota limit",
    45015: "response out of time limit or subscription is canceled",
    45047: "out of response count limit",
    47001: "data format error",
}


def wechat_simulator(port: int = 0, *, secrets: Mapping[str, str] | None = None) -> ChatDouble:
    """Return an API to be started; `secrets` by app id are all that get a token, without them every app does."""
    return ChatDouble(Wechat(secrets), port=port)


class Wechat:
    """The rules of tokens, custom messages and profiles; it holds the tokens of all apps."""

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self._secrets = secrets
        self._tokens: dict[str, float] = {}
        self._current: dict[str, str] = {}
        self._asked: dict[tuple[str, int], int] = {}

    def answer(self, request: Request, double: ChatDouble) -> Answer:
        """Answer stable_token, message/custom/send and user/info."""
        match request.path:
            case "/cgi-bin/stable_token":
                return self._token(_fields(request), double.now())
            case "/cgi-bin/message/custom/send":
                self._check_token(request, double.now())
                return _send(request, double)
            case "/cgi-bin/user/info":
                self._check_token(request, double.now())
                return _profile(request.query.get("openid", ""), double)
        return Answer(404, b"", {})

    def failed(self, failure: Failure) -> Answer:
        """Return a scripted failure as errcode; without a code, with nothing."""
        return Answer(500, b"", {}) if failure.code is None else _error(failure.code)

    def _token(self, fields: Mapping[str, Any], now: float) -> Answer:
        app = str(fields.get("appid") or "")
        if fields.get("grant_type") != "client_credential":
            raise _refused(40002)
        known = self._secrets if self._secrets is not None else {app: str(fields.get("secret") or "")}
        if not known.get(app):
            raise _refused(40013)
        if not hmac.compare_digest(known[app].encode(), str(fields.get("secret")).encode()):
            raise _refused(40125)
        day = (app, int(now // _DAY))
        self._asked[day] = self._asked.get(day, 0) + 1
        if self._asked[day] > TOKENS_A_DAY:
            raise _refused(45009)
        token = self._current.get(app, "")
        if self._tokens.get(token, 0.0) - now <= _RENEWAL or fields.get("force_refresh"):
            # The old one lives on for as long as callers may need to learn of the new one.
            if token:
                self._tokens[token] = min(self._tokens[token], now + _RENEWAL)
            token = self._current[app] = f"token/{app}+{len(self._tokens)}"
            self._tokens[token] = now + TOKEN_LIFE
        return json_answer(200, {"access_token": token, "expires_in": int(self._tokens[token] - now)})

    def _check_token(self, request: Request, now: float) -> None:
        token = request.query.get("access_token")
        if not token:
            raise _refused(41001)
        if token not in self._tokens:
            raise _refused(40001)
        if self._tokens[token] <= now:
            raise _refused(42001)


def _send(request: Request, double: ChatDouble) -> Answer:
    # The real one takes escapes and shows them to people as they stand.
    if _ESCAPED.search(request.body):
        raise _refused(47001)
    fields = _fields(request)
    user, kind = fields.get("touser"), fields.get("msgtype")
    if not isinstance(user, str) or not user or double.person(user).unknown:
        raise _refused(40003)
    if kind not in ("text", "image", "news"):
        raise _refused(40008)
    content = fields.get(kind)
    if set(fields) != {"touser", "msgtype", kind} or not isinstance(content, dict):
        raise _refused(47001)
    {"text": _check_text, "image": _check_image, "news": _check_news}[kind](content)
    window = "closed" if double.person(user).blocked else double.spend(user, _WINDOWS)
    if window != "open":
        raise _refused(45015 if window == "closed" else 45047)
    double.deliver(user, {"msgtype": kind, kind: content})
    return json_answer(200, {"errcode": 0, "errmsg": "ok"})


def _check_text(content: Mapping[str, Any]) -> None:
    text = content.get("content")
    if not isinstance(text, str) or not text.strip():
        raise _refused(44004)
    if len(text.encode("utf-8", "surrogatepass")) > 2048:
        raise _refused(45002)


def _check_image(content: Mapping[str, Any]) -> None:
    if not content.get("media_id") or urlsplit(str(content["media_id"])).scheme:
        raise _refused(40007)


def _check_news(content: Mapping[str, Any]) -> None:
    articles = content.get("articles")
    if not isinstance(articles, list) or not articles:
        raise _refused(44003)
    if len(articles) != 1:
        raise _refused(45008)
    article = articles[0]
    if not isinstance(article, dict) or set(article) - {"title", "description", "url", "picurl"}:
        raise _refused(47001)
    title, description = article.get("title"), article.get("description", "")
    if not isinstance(title, str) or not title.strip():
        raise _refused(44003)
    if len(title) > 64:
        raise _refused(45003)
    if not isinstance(description, str) or len(description) > 120:
        raise _refused(45004)
    for name, code in (("url", 45005), ("picurl", 45006)):
        parts = urlsplit(str(article.get(name) or ""))
        if parts.scheme not in ("http", "https") or not parts.netloc or len(str(article[name])) > 2048:
            raise _refused(code)


def _profile(user: str, double: ChatDouble) -> Answer:
    person = double.person(user)
    if not user or person.unknown:
        raise _refused(40003)
    if person.blocked:
        return json_answer(200, {"subscribe": 0, "openid": user})
    # No nickname and no picture since 2021-12-27.
    return json_answer(200, {"subscribe": 1, "openid": user, "language": "zh_TW"})


def _fields(request: Request) -> Mapping[str, Any]:
    if request.method != "POST":
        raise _refused(43002)
    try:
        fields = json.loads(request.body)
    except ValueError:
        raise _refused(47001) from None
    if not isinstance(fields, dict):
        raise _refused(47001)
    return fields


def _refused(code: int) -> RefusedError:
    return RefusedError(_error(code))


def _error(code: int) -> Answer:
    return json_answer(200, {"errcode": code, "errmsg": f"{_WORDS.get(code, 'refused')} rid: simulated"})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator on a port until it is interrupted."""
    run(wechat_simulator, "WeChat", DEFAULT_PORT, arguments)


if __name__ == "__main__":
    main()
