"""LINE Login of the LINE simulator: channel tokens, LIFF apps, ID tokens.

Its sources: LIFF server API (https://developers.line.biz/en/reference/liff-server/), LINE Login v2.1 reference, Verify
ID token, and the Messaging API reference, Issue stateless channel access token.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from local.line_http import Answer, RefusedError, Request, fields_of, fingerprint, flawed, json_answer

MOST_APPS = 30
TOKEN_LIFE = 899

_SECRET_FIELDS = ("client_secret", "id_token", "access_token", "client_assertion")


@dataclass(frozen=True)
class _IdToken:
    sub: str
    aud: str
    exp: float | None
    nonce: str | None


class Login:
    """The LINE Login channels; one that was not given a secret takes any."""

    def __init__(self) -> None:
        self._made = 0
        self.forget()

    def forget(self) -> None:
        """Forget all channels, tokens and apps; numbers go on counting up."""
        self._secrets: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        self._apps: dict[str, dict[str, dict[str, Any]]] = {}
        self._id_tokens: dict[str, _IdToken] = {}

    def own_channel(self, channel_id: str, secret: str) -> None:
        """Say which secret a channel has."""
        self._secrets[channel_id] = secret

    def own_id_token(self, token: str, sub: str, aud: str, exp: float | None = None, nonce: str | None = None) -> None:
        """Let an ID token be genuine: for user `sub`, of channel `aud`, until `exp` in Unix seconds, None for ever."""
        self._id_tokens[token] = _IdToken(sub, aud, exp, nonce)

    def view(self) -> dict[str, list[dict[str, Any]]]:
        """Return the LIFF apps by channel id."""
        return {channel: list(apps.values()) for channel, apps in self._apps.items()}

    def answer(self, request: Request) -> Answer | None:
        """Answer a call about logins or LIFF, None when it is about something else."""
        match request.method, request.path.split("/")[1:]:
            case "POST", ["oauth2", "v3", "token"]:
                return self._token(_form(request))
            case "POST", ["oauth2", "v2.1", "verify"]:
                return self._verify(_form(request))
            case method, ["liff", "v1", "apps", *rest]:
                channel = self._tokens.get(request.token or "")
                if channel is None:
                    raise RefusedError(401, "Authentication failed")
                return self._app(request, method, rest, channel)
        return None

    def _token(self, fields: Mapping[str, str]) -> Answer:
        channel, secret = fields.get("client_id", ""), fields.get("client_secret", "")
        if fields.get("grant_type") != "client_credentials":
            return _oauth_error("unsupported_grant_type", "grant_type must be client_credentials")
        if not channel or not secret or self._secrets.get(channel, secret) != secret:
            return _oauth_error("invalid_client", "invalid client_secret")
        self._made += 1
        token = f"stateless-{channel}-{self._made}"
        self._tokens[fingerprint(token)] = channel
        return json_answer(200, {"token_type": "Bearer", "access_token": token, "expires_in": TOKEN_LIFE})

    def _verify(self, fields: Mapping[str, str]) -> Answer:
        known = self._id_tokens.get(fields.get("id_token", ""))
        if known is None:
            return _oauth_error("invalid_request", "Invalid IdToken.")
        if known.exp is not None and known.exp <= time.time():
            return _oauth_error("invalid_request", "IdToken expired.")
        if known.aud != fields.get("client_id"):
            return _oauth_error("invalid_request", "Invalid IdToken Audience.")
        if "nonce" in fields and fields["nonce"] != known.nonce:
            return _oauth_error("invalid_request", "Invalid IdToken Nonce.")
        issued = int(time.time())
        claims = {
            "iss": "https://access.line.me",
            "sub": known.sub,
            "aud": known.aud,
            "iat": issued,
            "amr": ["linesso"],
        }
        claims["exp"] = issued + 3600 if known.exp is None else known.exp
        return json_answer(200, claims | ({} if known.nonce is None else {"nonce": known.nonce}))

    def _app(self, request: Request, method: str, rest: list[str], channel: str) -> Answer | None:
        apps = self._apps.get(channel, {})
        match method, rest:
            case "POST", []:
                app = fields_of(request)
                if flaws := _flaws_of_app(app, whole=True):
                    raise flawed(flaws)
                if len(apps) >= MOST_APPS:
                    raise RefusedError(400, "The maximum number of LIFF apps has been reached")
                self._made += 1
                liff_id = f"{channel}-{self._made:08d}"
                self._apps.setdefault(channel, {})[liff_id] = {"liffId": liff_id, **app}
                return json_answer(200, {"liffId": liff_id})
            case "GET", []:
                if not apps:
                    raise RefusedError(404, "There is no LIFF app on the channel")
                return json_answer(200, {"apps": list(apps.values())})
            case (("PUT" | "DELETE"), [liff_id]):
                if liff_id not in apps:
                    raise RefusedError(404, "The LIFF app does not exist")
                if method == "DELETE":
                    del apps[liff_id]
                else:
                    changes = fields_of(request)
                    if flaws := _flaws_of_app(changes, whole=False):
                        raise flawed(flaws)
                    view = {**apps[liff_id]["view"], **changes.get("view", {})}
                    apps[liff_id].update(changes, view=view)
                return json_answer(200, {})
        return None


def shown_body(request: Request) -> str:
    """Return a request's body with its secrets replaced by fingerprints, and without what is no text."""
    if request.content_type.startswith("image/"):
        return f"{len(request.body)} bytes of {request.content_type}"
    text = request.body.decode(errors="replace")
    if not request.path.startswith("/oauth2/"):
        return text
    fields = {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
    return urlencode({name: fingerprint(fields[name]) if name in _SECRET_FIELDS else fields[name] for name in fields})


def _form(request: Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise RefusedError(415, f"The content type, {request.content_type}, is not supported")
    return {name: values[-1] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}


def _oauth_error(error: str, description: str) -> Answer:
    return json_answer(400, {"error": error, "error_description": description})


def _flaws_of_app(app: Mapping[str, Any], *, whole: bool) -> list[tuple[str, str]]:
    view = app.get("view", None if whole else {})
    if not isinstance(view, dict):
        return [("view", "must be specified")]
    flaws = []
    if (whole or "type" in view) and view.get("type") not in ("compact", "tall", "full"):
        flaws.append(("view.type", "must be compact, tall or full"))
    if whole or "url" in view:
        address = urlsplit(str(view.get("url")))
        if address.scheme != "https" or not address.netloc or address.fragment:
            flaws.append(("view.url", "must be https without fragment"))
    if "line" in str(app.get("description", "")).lower():
        flaws.append(("description", "must not include LINE"))
    if not {"openid", "email", "profile", "chat_message.write"}.issuperset(app.get("scope", ())):
        flaws.append(("scope", "must be of openid, email, profile, chat_message.write"))
    if app.get("botPrompt", "none") not in ("normal", "aggressive", "none"):
        flaws.append(("botPrompt", "must be normal, aggressive or none"))
    return flaws
