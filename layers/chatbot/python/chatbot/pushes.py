"""Messages that a partner pushes to one user of a LINE channel."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import uuid4

from pydantic import Field, StringConstraints

from chatbot.accounts import credentials
from chatbot.api import NULL_IS_BLANK, AccountRequest
from chatbot.graph import flaws_of_nodes
from chatbot.messages import Message, message_of
from chatbot.tables import ConversationTable, PushTable
from kernel import clock
from kernel.channels.faults import OverLimit, Refused, TryLater
from kernel.channels.line.client import MESSAGES_A_CALL, LineClient
from kernel.channels.line.validation import flaws_of_message
from kernel.errors import Fault, Flaw, Invalid, TooMany
from kernel.tables import Put, commit, existing_keys

_ATTEMPTS = 2
_UUID_OR_NONE = r"^([0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})?$"
# Where the parts of a node come from when a template is judged as one.
_PLACES = {"nodes[0].template": "", "nodes[0].title": ".altText", "nodes[0]": ""}


class PushRequest(AccountRequest):
    """Up to five messages for a user: LINE's message objects, or templates as saveScenario takes them.

    With a `retryKey`, a UUID, a call may be repeated within 24 hours: LINE sends what comes under one key once.
    """

    luid: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    messages: Annotated[list[Any], Field(min_length=1, max_length=MESSAGES_A_CALL)]
    retry_key: Annotated[str, StringConstraints(pattern=_UUID_OR_NONE), NULL_IS_BLANK] = ""


def send(request: PushRequest) -> None:
    """Push messages to a user of the channel once, and note when that was."""
    account = request.account
    if account.account_type != "line":
        raise Invalid([Flaw("accountId", "is not a LINE channel")])
    flaws: list[Flaw] = []
    messages = []
    for place, given in enumerate(request.messages):
        message, found = _judged(given, f"messages[{place}]")
        messages.append(message)
        flaws += found
    if not existing_keys(ConversationTable, [ConversationTable.key(request.partition, request.luid)]):
        flaws.append(Flaw("luid", "is not a user of this channel"))
    if flaws:
        raise Invalid(flaws)
    _push(LineClient(credentials(account)["accountToken"]), request.luid, messages, request.retry_key or str(uuid4()))
    commit(Put(PushTable(account=request.partition, user_id=request.luid, pushed_at=clock.now())))


def _push(client: LineClient, user_id: str, messages: list[Message], key: str) -> None:
    # LINE sends what comes twice under one key once, so a lost answer does no harm.
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            client.push(user_id, messages, key)
            return
        except Refused as problem:
            raise Invalid(f"LINE refused the push: {problem}") from None
        except OverLimit:
            raise TooMany("The channel is over its limit at LINE; try again later") from None
        except TryLater as problem:
            if attempt == _ATTEMPTS:
                raise Fault(f"LINE did not take the push; try again later: {problem}") from None


def _judged(given: Any, path: str) -> tuple[Message, list[Flaw]]:
    """Return what LINE gets for a message or template, and what is wrong with it."""
    if not isinstance(given, dict):
        return {}, [Flaw(path, "must be an object")]
    try:
        json.dumps(given, allow_nan=False)
    except ValueError:
        return {}, [Flaw(path, "holds a number that is too large")]
    if given.get("type") == "bubble":
        bubble = {name: value for name, value in given.items() if name != "altText"}
        return _of_template("flex", bubble, given.get("altText", ""), path)
    if given.get("type") == "imagemap" and "areaOptions" in given:
        return _of_template("imagemap", given, "", path)
    message = _as_line_spells(given)
    return message, flaws_of_message(message, path)


def _of_template(kind: str, template: dict[str, Any], title: Any, path: str) -> tuple[Message, list[Flaw]]:
    node = {"nodeId": "push", "type": kind, "title": title, "level": "1", "sort": 1, "template": template}
    flaws = [Flaw(_placed(flaw.path, path), flaw.message) for flaw in flaws_of_nodes([node], "", ())]
    return (message_of(node) or {}) if not flaws else {}, flaws


def _placed(inner: str, path: str) -> str:
    start = next(start for start in _PLACES if inner.startswith(start))
    return path + _PLACES[start] + inner.removeprefix(start)


def _as_line_spells(message: Message) -> Message:
    """Return a message object with what saveScenario takes more loosely: a single emoji, numbers as sticker ids."""
    match message.get("type"):
        case "text" if isinstance(message.get("emojis"), dict):
            return {**message, "emojis": [message["emojis"]]}
        case "sticker":
            numbers = {
                name: str(message[name]) for name in ("packageId", "stickerId") if type(message.get(name)) is int
            }
            return {**message, **numbers}
    return message
