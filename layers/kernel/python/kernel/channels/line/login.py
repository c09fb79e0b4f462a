"""A LINE Login channel: its LIFF apps, and who a LIFF page's visitor really is.

LINE's documents: LIFF server API, LINE Login v2.1 reference (Verify ID token), Messaging API reference (Issue stateless
channel access token).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from kernel.channels.faults import TryLater
from kernel.channels.line.calls import call, check, json_body, told
from kernel.secrets import Secret
from kernel.settings import settings

if TYPE_CHECKING:
    from kernel import wire


class LineLogin:
    """The calls of one LINE Login channel, which is not the Messaging API's channel.

    OverLimit for 429, TryLater for 5xx and no answer, Refused for everything else that LINE does not take.
    """

    def __init__(self, channel_id: str, secret: Secret) -> None:
        self._channel_id = channel_id
        self._secret = secret

    def token(self) -> Secret:
        """Return a new access token of the channel, good for 15 minutes; Refused when id and secret do not fit."""
        fields = {
            "grant_type": "client_credentials",
            "client_id": self._channel_id,
            "client_secret": self._secret.reveal(),
        }
        token = told(_posted("/oauth2/v3/token", fields)).get("access_token")
        if not isinstance(token, str):
            raise TryLater("LINE's answer names no token")
        return Secret(token)

    def create_liff(self, view_url: str, description: str) -> str:
        """Create a LIFF app that asks its visitors to become friends, and return its id.

        The address is https without fragment, the description has no "LINE" in it; a channel has up to 30 apps, beyond
        which it is Refused (400). When an answer is lost there may be an app more, which `liff_apps` shows.
        """
        app = {
            "view": {"type": "full", "url": view_url},
            "description": description,
            "scope": ["openid", "profile"],
            "botPrompt": "aggressive",
        }
        liff_id = told(self._call("POST", "apps", app)).get("liffId")
        if not isinstance(liff_id, str):
            raise TryLater("LINE's answer names no LIFF app")
        return liff_id

    def update_liff(self, liff_id: str, view_url: str) -> None:
        """Lead a LIFF app to another address; Refused (404) when the channel has no such app."""
        check(self._call("PUT", f"apps/{quote(liff_id, safe='')}", {"view": {"url": view_url}}))

    def liff_apps(self) -> list[dict[str, Any]]:
        """Return the channel's LIFF apps: `liffId`, `view`, `description` and more (LIFF server API)."""
        reply = self._call("GET", "apps")
        # What LINE answers when there is none.
        return [] if reply.status == 404 else list(told(reply).get("apps") or ())

    def verified_user(self, id_token: str, nonce: str | None = None) -> str | None:
        """Return the user id that LINE issued an ID token for; None when it is forged, too old or another channel's."""
        fields = {"id_token": id_token, "client_id": self._channel_id}
        if nonce is not None:
            fields["nonce"] = nonce
        reply = _posted("/oauth2/v2.1/verify", fields)
        if reply.status == 400:
            return None
        claims = told(reply)
        user_id = claims.get("sub")
        return user_id if isinstance(user_id, str) and claims.get("aud") == self._channel_id else None

    def _call(self, method: str, place: str, payload: dict[str, Any] | None = None) -> wire.Reply:
        headers, body = {"Authorization": f"Bearer {self.token().reveal()}"}, b""
        if payload is not None:
            headers["Content-Type"] = "application/json"
            body = json_body(payload)
        return call(method, f"{settings().line_api_endpoint}/liff/v1/{place}", headers, body)


def _posted(path: str, fields: dict[str, str]) -> wire.Reply:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return call("POST", settings().line_api_endpoint + path, headers, urlencode(fields).encode())
