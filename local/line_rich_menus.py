"""Rich menus of the LINE simulator: made, given a picture, shown by default or to some (ref#rich-menu and after)."""

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.line_http import USER, Answer, RefusedError, Request, fields_of, flawed, invalid_property, json_answer

MOST_MENUS = MOST_ALIASES = 1000
MAX_IMAGE = 1024 * 1024

_MENU_ID = re.compile(r"richmenu-[0-9a-f]{32}")
_ALIAS_ID = re.compile(r"[a-z0-9_-]{1,32}")
_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG"}


@dataclass
class _Menu:
    content: Mapping[str, Any]
    image: bytes | None = None
    content_type: str | None = None


@dataclass
class _Channel:
    menus: dict[str, _Menu] = field(default_factory=dict)
    default: str | None = None
    links: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


class RichMenus:
    """The menus of all channels; a channel is known by the fingerprint of its token.

    `reachable` tells whether a user is a friend: linking to others answers 200 and does nothing.
    """

    def __init__(self, reachable: Callable[[str], bool]) -> None:
        self._reachable = reachable
        self._made = 0
        self.forget()

    def forget(self) -> None:
        """Forget all menus and the limit; ids go on counting up."""
        self._channels: dict[str, _Channel] = {}
        self.limit(None)

    def limit(self, per_hour: int | None) -> None:
        """Begin an hour in which creating, deleting and deleting aliases take so many calls each; None: any number."""
        self._per_hour = per_hour
        self._spent: Counter[tuple[str, str]] = Counter()

    def view(self) -> dict[str, dict[str, Any]]:
        """Return all there is, by channel: menus, default, links (user to menu) and aliases."""
        return {
            token: {
                "menus": [
                    {"richMenuId": menu_id, **menu.content, "image": menu.content_type}
                    for menu_id, menu in channel.menus.items()
                ],
                "default": channel.default,
                "links": dict(channel.links),
                "aliases": dict(channel.aliases),
            }
            for token, channel in self._channels.items()
        }

    def answer(self, request: Request) -> Answer | None:
        """Answer a call about rich menus, None when it is about something else."""
        token = request.token or ""
        channel = self._channels.get(token) or _Channel()
        match request.method, request.path.removeprefix("/v2/bot/").split("/"):
            case "POST", ["richmenu"]:
                self._spend(token, "create")
                answer = self._create(channel, _valid(request))
            case "POST", ["richmenu", "validate"]:
                _valid(request)
                answer = _done()
            case "GET", ["richmenu", "list"]:
                answer = json_answer(200, {"richmenus": [_seen(channel, menu_id) for menu_id in channel.menus]})
            case "POST", ["richmenu", "bulk", "link"]:
                answer = self._link_many(channel, fields_of(request))
            case "POST", ["richmenu", "bulk", "unlink"]:
                answer = self._unlink_many(channel, fields_of(request))
            case method, ["richmenu", "alias", *rest]:
                return self._keep(token, channel, self._alias(request, token, channel, method, rest))
            case "GET", ["richmenu", menu_id]:
                answer = json_answer(200, _seen(channel, menu_id))
            case "DELETE", ["richmenu", menu_id]:
                self._spend(token, "delete")
                answer = _delete(channel, menu_id)
            case "POST", ["richmenu", menu_id, "content"]:
                answer = _upload(_existing(channel, menu_id), request)
            case "GET", ["richmenu", menu_id, "content"]:
                answer = _download(_existing(channel, menu_id))
            case method, ["user", "all", "richmenu", *rest]:
                return self._keep(token, channel, _default(channel, method, rest))
            case method, ["user", user_id, "richmenu", *rest]:
                return self._keep(token, channel, self._own(channel, method, user_id, rest))
            case _:
                return None
        return self._keep(token, channel, answer)

    def _keep(self, token: str, channel: _Channel, answer: Answer | None) -> Answer | None:
        # Asking alone makes no channel, so that the view shows only those that have something.
        if channel != _Channel():
            self._channels[token] = channel
        return answer

    def _spend(self, token: str, kind: str) -> None:
        self._spent[token, kind] += 1
        if self._per_hour is not None and self._spent[token, kind] > self._per_hour:
            raise RefusedError(429, "The API rate limit has been exceeded. Try again later.")

    def _create(self, channel: _Channel, menu: Mapping[str, Any]) -> Answer:
        if len(channel.menus) >= MOST_MENUS:
            raise RefusedError(400, "The maximum number of rich menus has been reached")
        self._made += 1
        menu_id = f"richmenu-{self._made:032x}"
        channel.menus[menu_id] = _Menu(menu)
        return json_answer(200, {"richMenuId": menu_id})

    def _link_many(self, channel: _Channel, fields: Mapping[str, Any]) -> Answer:
        users = _users(fields)
        menu_id = fields.get("richMenuId")
        if not isinstance(menu_id, str) or not _MENU_ID.fullmatch(menu_id):
            raise flawed([("richMenuId", "invalid richMenuId")])
        if menu_id not in channel.menus:
            raise RefusedError(404, "richmenu not found", details=[])
        _with_image(channel.menus[menu_id])
        channel.links.update((user, menu_id) for user in users if self._reachable(user))
        return json_answer(202, {})

    def _unlink_many(self, channel: _Channel, fields: Mapping[str, Any]) -> Answer:
        for user in filter(self._reachable, _users(fields)):
            channel.links.pop(user, None)
        return json_answer(202, {})

    def _own(self, channel: _Channel, method: str, user_id: str, rest: Sequence[str]) -> Answer | None:
        if not USER.fullmatch(user_id):
            raise RefusedError(400, "The value for the 'userId' parameter is invalid")
        match method, rest:
            case "GET", []:
                if user_id not in channel.links:
                    raise RefusedError(404, "the user has no richmenu", details=[])
                return json_answer(200, {"richMenuId": channel.links[user_id]})
            case "DELETE", []:
                if self._reachable(user_id):
                    channel.links.pop(user_id, None)
                return _done()
            case "POST", [menu_id]:
                _with_image(_existing(channel, menu_id))
                if self._reachable(user_id):
                    channel.links[user_id] = menu_id
                return _done()
        return None

    def _alias(
        self, request: Request, token: str, channel: _Channel, method: str, rest: Sequence[str]
    ) -> Answer | None:
        match method, rest:
            case "POST", []:
                fields = fields_of(request)
                alias_id = fields.get("richMenuAliasId")
                if not isinstance(alias_id, str) or not _ALIAS_ID.fullmatch(alias_id):
                    raise flawed([("richMenuAliasId", "invalid richMenuAliasId")])
                menu_id = _aliased(channel, fields)
                if alias_id in channel.aliases:
                    raise RefusedError(400, "conflict richmenu alias id", details=[])
                if len(channel.aliases) >= MOST_ALIASES:
                    raise RefusedError(400, "The maximum number of rich menu aliases has been reached", details=[])
                channel.aliases[alias_id] = menu_id
                return _done()
            case "GET", ["list"]:
                return json_answer(200, {"aliases": [_alias_view(*pair) for pair in channel.aliases.items()]})
            case (("GET" | "POST" | "DELETE"), [alias_id]):
                if method == "DELETE":
                    self._spend(token, "delete alias")
                if not _ALIAS_ID.fullmatch(alias_id):
                    raise flawed([("richMenuAliasId", "invalid richMenuAliasId")])
                if alias_id not in channel.aliases:
                    raise RefusedError(404, "richmenu alias not found", details=[])
                if method == "GET":
                    return json_answer(200, _alias_view(alias_id, channel.aliases[alias_id]))
                if method == "POST":
                    channel.aliases[alias_id] = _aliased(channel, fields_of(request))
                else:
                    del channel.aliases[alias_id]
                return _done()
        return None


def _done() -> Answer:
    return json_answer(200, {})


def _valid(request: Request) -> Mapping[str, Any]:
    # Imported late: a simulator that is asked for no menu needs no kernel on its path.
    from kernel.channels.line.rich_menu_objects import flaws_of_rich_menu

    menu = fields_of(request)
    if flaws := flaws_of_rich_menu(menu):
        raise flawed(flaws)
    return menu


def _existing(channel: _Channel, menu_id: str) -> _Menu:
    if menu_id not in channel.menus:
        raise RefusedError(404, "Not found")
    return channel.menus[menu_id]


def _seen(channel: _Channel, menu_id: str) -> dict[str, Any]:
    return {"richMenuId": menu_id, **_existing(channel, menu_id).content}


def _with_image(menu: _Menu) -> None:
    if menu.image is None:
        raise RefusedError(400, "must upload richmenu image before applying it to user", details=[])


def _delete(channel: _Channel, menu_id: str) -> Answer:
    _existing(channel, menu_id)
    del channel.menus[menu_id]
    # Aliases stay: LINE names no such rule for them, and a tab that leads nowhere is what one wants to find.
    channel.links = {user: linked for user, linked in channel.links.items() if linked != menu_id}
    if channel.default == menu_id:
        channel.default = None
    return _done()


def _upload(menu: _Menu, request: Request) -> Answer:
    if request.content_type not in _FORMATS:
        raise RefusedError(415, f"The content type, {request.content_type}, is not supported")
    if menu.image is not None:
        raise RefusedError(400, "An image has already been uploaded to the richmenu")
    if not _is_allowed(request.body, _FORMATS[request.content_type]):
        raise RefusedError(400, "The image size is not allowed for richmenu")
    menu.image, menu.content_type = request.body, request.content_type
    return _done()


def _is_allowed(data: bytes, form: str) -> bool:
    # Imported late: only uploads need it, and it takes a while to load.
    from PIL import Image

    if len(data) > MAX_IMAGE:
        return False
    try:
        with Image.open(io.BytesIO(data), formats=[form]) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError):
        return False
    return 800 <= width <= 2500 and height >= 250 and width >= 1.45 * height


def _download(menu: _Menu) -> Answer:
    if menu.image is None:
        raise RefusedError(404, "Not found")
    return Answer(200, menu.image, {"Content-Type": menu.content_type or ""})


def _default(channel: _Channel, method: str, rest: Sequence[str]) -> Answer | None:
    match method, rest:
        case "POST", [menu_id]:
            _with_image(_existing(channel, menu_id))
            channel.default = menu_id
            return _done()
        case "GET", []:
            if channel.default is None:
                raise RefusedError(404, "no default richmenu", details=[])
            return json_answer(200, {"richMenuId": channel.default})
        case "DELETE", []:
            channel.default = None
            return _done()
    return None


def _users(fields: Mapping[str, Any]) -> list[str]:
    users = fields.get("userIds")
    if not isinstance(users, list) or not 1 <= len(users) <= 500:
        raise flawed([("userIds", "Size must be between 1 and 500")])
    for index, user in enumerate(users):
        if not isinstance(user, str) or not USER.fullmatch(user):
            raise invalid_property(f"'userIds[{index}]'")
    return users


def _aliased(channel: _Channel, fields: Mapping[str, Any]) -> str:
    menu_id = fields.get("richMenuId")
    if not isinstance(menu_id, str) or not _MENU_ID.fullmatch(menu_id):
        raise flawed([("richMenuId", "invalid richMenuId")])
    if menu_id not in channel.menus or channel.menus[menu_id].image is None:
        raise RefusedError(400, "richmenu not found", details=[])
    return menu_id


def _alias_view(alias_id: str, menu_id: str) -> dict[str, str]:
    return {"richMenuAliasId": alias_id, "richMenuId": menu_id}
