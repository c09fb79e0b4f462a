"""The rich menus of one LINE channel: made, shown by default or to some, and switched between by tabs.

Nothing here takes a retry key (LINE answers 400 to one). Every call may be made again after TryLater; only `create`
may, when an answer is lost, leave a menu that nobody knows, which `listed` shows. LINE takes 100 creations and 100
deletions an hour, the rest 2000 a second (Messaging API reference, Rate limits): menus that change by time are linked,
not made anew. Faults: OverLimit for 429, TryLater for 5xx and no answer, Refused for all else that LINE does not take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kernel.channels.faults import Refused, TryLater
from kernel.channels.line.calls import TIMEOUT, call, check, check_number, json_body, told
from kernel.settings import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel import wire
    from kernel.secrets import Secret

_UPLOAD_TIMEOUT = 15.0


class RichMenus:
    """The rich menus that were made with the Messaging API; those of LINE's own manager are not seen."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def create(self, menu: dict[str, Any]) -> str:
        """Create a menu (see `flaws_of_rich_menu`) and return its id; it shows nowhere before it has its picture."""
        reply = self._call("POST", "richmenu", menu)
        if reply.repeated:
            # One of the two may be a menu that nobody knows.
            raise TryLater("LINE may have made the menu twice")
        return _id_in(told(reply))

    def upload(self, menu_id: str, data: bytes, content_type: str) -> None:
        """Give a menu its picture: JPEG or PNG, up to 1 MB; a menu that has one keeps it."""
        place = f"richmenu/{_part(menu_id)}/content"
        reply = self._data("POST", place, data, content_type)
        # Pictures cannot be replaced, so 400 is also what a call answers whose first answer was lost.
        if reply.status == 400 and self._data("GET", place).status == 200:
            return
        check(reply)

    def delete(self, menu_id: str) -> None:
        """Delete a menu; one that is gone is fine."""
        _check_gone(self._call("DELETE", f"richmenu/{_part(menu_id)}"))

    def listed(self) -> list[dict[str, Any]]:
        """Return all menus, each as it was created, with its `richMenuId`."""
        return list(told(self._call("GET", "richmenu/list")).get("richmenus") or ())

    def set_default(self, menu_id: str) -> None:
        """Show a menu to everybody who has none of his own; Refused (400) while it has no picture."""
        check(self._call("POST", f"user/all/richmenu/{_part(menu_id)}"))

    def clear_default(self) -> None:
        """Show no menu to those who have none of their own."""
        check(self._call("DELETE", "user/all/richmenu"))

    def default(self) -> str | None:
        """Return the menu that everybody sees; None when there is none, or LINE's own manager set it."""
        reply = self._call("GET", "user/all/richmenu")
        return None if reply.status in (403, 404) else _id_in(told(reply))

    def link(self, menu_id: str, user_ids: Sequence[str]) -> None:
        """Show a menu to 1 to 500 users instead of the default; LINE does it within seconds, without saying when."""
        check_number(user_ids)
        check(self._call("POST", "richmenu/bulk/link", {"richMenuId": menu_id, "userIds": list(user_ids)}))

    def unlink(self, user_ids: Sequence[str]) -> None:
        """Show the default again to 1 to 500 users, within seconds."""
        check_number(user_ids)
        check(self._call("POST", "richmenu/bulk/unlink", {"userIds": list(user_ids)}))

    def link_one(self, menu_id: str, user_id: str) -> None:
        """Show a menu to a user instead of the default, at once; nothing happens when he is no friend."""
        check(self._call("POST", f"user/{_part(user_id)}/richmenu/{_part(menu_id)}"))

    def unlink_one(self, user_id: str) -> None:
        """Show the default again to a user, at once."""
        check(self._call("DELETE", f"user/{_part(user_id)}/richmenu"))

    def put_alias(self, alias_id: str, menu_id: str) -> None:
        """Let an alias (`[a-z0-9_-]{1,32}`), which tabs switch to, mean a menu that has a picture."""
        reply = self._call("POST", f"richmenu/alias/{_part(alias_id, _NO_ALIASES)}", {"richMenuId": menu_id})
        if reply.status == 404:
            reply = self._call("POST", "richmenu/alias", {"richMenuAliasId": alias_id, "richMenuId": menu_id})
        check(reply)

    def delete_alias(self, alias_id: str) -> None:
        """Delete an alias; one that is gone is fine."""
        _check_gone(self._call("DELETE", f"richmenu/alias/{_part(alias_id, _NO_ALIASES)}"))

    def aliases(self) -> dict[str, str]:
        """Return all aliases, each with the id of its menu."""
        listed = told(self._call("GET", "richmenu/alias/list")).get("aliases") or ()
        return {alias["richMenuAliasId"]: alias["richMenuId"] for alias in listed}

    def _call(self, method: str, place: str, payload: dict[str, Any] | None = None) -> wire.Reply:
        headers, body = self._headers(), b""
        if payload is not None:
            headers["Content-Type"] = "application/json"
            body = json_body(payload)
        return call(method, f"{settings().line_api_endpoint}/v2/bot/{place}", headers, body, timeout=TIMEOUT)

    def _data(self, method: str, place: str, data: bytes = b"", content_type: str | None = None) -> wire.Reply:
        headers = self._headers() | ({"Content-Type": content_type} if content_type else {})
        url = f"{settings().line_data_api_endpoint}/v2/bot/{place}"
        return call(method, url, headers, data, timeout=_UPLOAD_TIMEOUT)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.reveal()}"}


def _check_gone(reply: wire.Reply) -> None:
    if reply.status != 404:
        check(reply)


# In the place of an id these would name something else: "all" as a user would show a menu to everybody.
_NO_ALIASES = frozenset(("", ".", "..", "list"))
_NO_IDS = _NO_ALIASES | {"alias", "all", "batch", "bulk", "progress", "validate"}


def _part(identifier: str, taken: frozenset[str] = _NO_IDS) -> str:
    if identifier in taken:
        raise Refused(400, f"{identifier!r} is no id")
    return quote(identifier, safe="")


def _id_in(answer: dict[str, Any]) -> str:
    menu_id = answer.get("richMenuId")
    if not isinstance(menu_id, str):
        raise TryLater("LINE's answer names no rich menu")
    return menu_id
