"""A double of Messenger's Send API over HTTP, as strict as its reference, keeping in memory what was sent.

https://developers.facebook.com/docs/messenger-platform says the limits; where the real platform cuts (titles) this one
refuses. HTTP statuses beside the error codes are not documented: the ones here are plausible.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from local.chat_double import ChatDouble, Failure, RefusedError, Windows, run
from local.line_http import Answer, Request, json_answer

DEFAULT_PORT = 8792

_SEND = re.compile(r"/v\d+\.\d+/me/messages")
_PROFILE = re.compile(r"/v\d+\.\d+/([^/]+)")
_DAY = 86_400.0
_STANDARD: Windows = {"message": (_DAY, None)}
_HUMAN_AGENT: Windows = {"message": (7 * _DAY, None)}
_STATUSES = {4: 403, 10: 403, 190: 401, 1: 500, 2: 500, 1200: 500}


def messenger_simulator(port: int = 0) -> ChatDouble:
    """Return a Send API to be started; any token is taken, if it comes in the Authorization header."""
    return ChatDouble(Messenger(), port=port)


class Messenger:
    """The rules of the Send API and of profiles."""

    def answer(self, request: Request, double: ChatDouble) -> Answer:
        """Answer POST me/messages and GET of a person."""
        if request.token is None:
            # Graph would take it from the address too, but there it is written into logs.
            raise _refused(2500, "An active access token must be used to query information about the current user.")
        if request.method == "POST" and _SEND.fullmatch(request.path):
            return _send(request, double)
        profile = _PROFILE.fullmatch(request.path)
        if request.method == "GET" and profile:
            return _profile(profile[1], request, double)
        raise _refused(2500, "Unknown path components")

    def failed(self, failure: Failure) -> Answer:
        """Return a scripted failure as error object; without a code, with nothing."""
        if failure.code is None:
            return Answer(500, b"", {})
        return _error(failure.code, failure.message, failure.subcode)


def _send(request: Request, double: ChatDouble) -> Answer:
    fields = _known(_fields(request), "body", "recipient", "messaging_type", "tag", "message")
    user = _known(_object(fields.get("recipient"), "recipient"), "recipient", "id").get("id")
    if not isinstance(user, str) or not user:
        raise _wrong("recipient[id]", "must be a non-empty string")
    kind, tag = fields.get("messaging_type"), fields.get("tag")
    if kind not in ("RESPONSE", "UPDATE", "MESSAGE_TAG"):
        raise _wrong("messaging_type", "must be one of {RESPONSE, UPDATE, MESSAGE_TAG}")
    if (tag is not None or kind == "MESSAGE_TAG") and (kind, tag) != ("MESSAGE_TAG", "HUMAN_AGENT"):
        raise _wrong("tag", "is not supported any more")
    _check_message(_object(fields.get("message"), "message"))
    person = double.person(user)
    if person.unknown:
        raise _refused(100, "No matching user found", 2018001)
    if person.blocked:
        raise _refused(551, "This person isn't available right now.", 1545041)
    if double.spend(user, _HUMAN_AGENT if tag else _STANDARD) != "open":
        raise _refused(10, "This message is sent outside of allowed window.", 2018278)
    return json_answer(200, {"recipient_id": user, "message_id": f"m_{double.deliver(user, fields['message'])}"})


def _profile(user: str, request: Request, double: ChatDouble) -> Answer:
    person = double.person(user)
    if person.unknown or person.blocked:
        raise _refused(100, f"Unsupported get request. Object with ID '{user}' does not exist", 33)
    shown = {
        "name": person.name or f"Person {user}",
        "profile_pic": person.picture or f"https://profile.example.com/{user}",
    }
    wanted = request.query.get("fields", "").split(",")
    return json_answer(200, {**{name: value for name, value in shown.items() if name in wanted}, "id": user})


def _check_message(message: Mapping[str, Any]) -> None:
    _known(message, "message", "text", "attachment", "quick_replies", "metadata")
    if ("text" in message) == ("attachment" in message):
        raise _wrong("message", "must have either text or attachment")
    if "text" in message:
        _text(message["text"], "message[text]", 2000)
    else:
        _check_attachment(_object(message["attachment"], "attachment"))
    if "quick_replies" in message:
        for reply in _list(message["quick_replies"], "quick_replies", 13):
            _check_quick_reply(reply)


def _check_attachment(attachment: Mapping[str, Any]) -> None:
    kind = _known(attachment, "attachment", "type", "payload").get("type")
    payload = _object(attachment.get("payload"), "payload")
    match kind, payload.get("template_type"):
        case "image" | "video" | "audio" | "file", _:
            _web(_known(payload, "payload", "url", "is_reusable").get("url"), "payload[url]")
        case "template", "generic":
            _known(payload, "payload", "template_type", "elements", "image_aspect_ratio", "sharable")
            for element in _list(payload.get("elements"), "elements", 10):
                _check_element(element)
        case "template", "button":
            _known(payload, "payload", "template_type", "text", "buttons", "sharable")
            _text(payload.get("text"), "payload[text]", 640)
            _check_buttons(payload.get("buttons"))
        case _:
            raise _wrong("attachment", "is of no supported type")


def _check_element(element: Mapping[str, Any]) -> None:
    _known(element, "element", "title", "subtitle", "image_url", "default_action", "buttons")
    _text(element.get("title"), "title", 80)
    if len(element) < 2:
        raise _wrong("element", "must have one more property than title")
    if "subtitle" in element:
        _text(element["subtitle"], "subtitle", 80)
    if "image_url" in element:
        _web(element["image_url"], "image_url")
    if "default_action" in element:
        action = _object(element["default_action"], "default_action")
        if action.get("type") != "web_url" or "title" in action:
            raise _wrong("default_action", "must be a web_url without title")
        _web(action.get("url"), "default_action[url]")
    if "buttons" in element:
        _check_buttons(element["buttons"])


def _check_buttons(buttons: Any) -> None:
    for button in _list(buttons, "buttons", 3):
        _text(button.get("title"), "button[title]", 20)
        match button.get("type"):
            case "web_url":
                _known(button, "button", "type", "title", "url", "webview_height_ratio", "messenger_extensions")
                _web(button.get("url"), "button[url]")
            case "postback" | "phone_number":
                _known(button, "button", "type", "title", "payload")
                _text(button.get("payload"), "button[payload]", 1000)
            case _:
                raise _wrong("button[type]", "is not supported")


def _check_quick_reply(reply: Mapping[str, Any]) -> None:
    if reply.get("content_type") in ("user_phone_number", "user_email"):
        return
    _known(reply, "quick_reply", "content_type", "title", "payload", "image_url")
    if reply.get("content_type") != "text":
        raise _wrong("quick_reply[content_type]", "is not supported")
    _text(reply.get("title"), "quick_reply[title]", 20)
    _text(reply.get("payload"), "quick_reply[payload]", 1000)


def _fields(request: Request) -> Mapping[str, Any]:
    try:
        return _object(json.loads(request.body) if request.content_type == "application/json" else None, "body")
    except ValueError:
        raise _wrong("body", "is not JSON") from None


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(name, "must be a JSON object")
    return value


def _known(value: Mapping[str, Any], name: str, *keys: str) -> Mapping[str, Any]:
    if strange := set(value) - set(keys):
        raise _wrong(name, f"has unknown keys: {', '.join(sorted(strange))}")
    return value


def _list(value: Any, name: str, most: int) -> Iterable[Mapping[str, Any]]:
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise _wrong(name, f"must have between 1 and {most} items")
    return [_object(one, name) for one in value]


def _text(value: Any, name: str, most: int) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, "must be a non-empty UTF-8 encoded string")
    if len(value.encode("utf-16-le", "surrogatepass")) // 2 > most:
        raise _wrong(name, f"Length of param must be less than or equal to {most}")


def _web(value: Any, name: str) -> None:
    parts = urlsplit(value) if isinstance(value, str) else urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise _wrong(name, "should represent a valid URL")


def _wrong(name: str, message: str) -> RefusedError:
    return _refused(100, f"(#100) Param {name} {message}")


def _refused(code: int, message: str, subcode: int | None = None) -> RefusedError:
    return RefusedError(_error(code, message, subcode))


def _error(code: int, message: str, subcode: int | None = None) -> Answer:
    error = {"message": message, "type": "OAuthException", "code": code}
    error |= {} if subcode is None else {"error_subcode": subcode}
    return json_answer(_STATUSES.get(code, 400), {"error": {**error, "fbtrace_id": "simulated"}})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator on a port until it is interrupted."""
    run(messenger_simulator, "Messenger", DEFAULT_PORT, arguments)


if __name__ == "__main__":
    main()
