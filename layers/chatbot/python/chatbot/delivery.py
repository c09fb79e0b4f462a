"""What a turn says, on its way to the user: each channel with its own calls, limits and ways to send something once.

The messages of a turn are stored as LINE knows them; the other channels' are translated when they are sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatbot.accounts import credentials
from chatbot.tables import TurnTable
from kernel import clock, ids
from kernel.channels.faults import OverLimit, Refused
from kernel.channels.line.client import MESSAGES_A_CALL, LineClient
from kernel.channels.line.validation import flaws_of_message
from kernel.running import current, logger
from kernel.tables import Change, ConditionFailed, commit

if TYPE_CHECKING:
    from chatbot.events import Said
    from chatbot.tables import AccountTable
    from kernel.channels.faults import Profile

_OVER_LIMIT_ATTEMPTS = 3
# How the event ids of broadcasts begin.
BROADCAST = "broadcast#"
_REASON = 300


def profile(account: AccountTable, user_id: str) -> Profile | None:
    """Return what a user shows of himself, None when the channel does not tell; WeChat never does."""
    token = credentials(account)["accountToken"]
    match account.account_type:
        case "line":
            return LineClient(token).profile(user_id)
        case "fb":
            from kernel.channels.messenger.client import MessengerClient

            return MessengerClient(token).profile(user_id)
    return None


def sendable(account: AccountTable, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages that the channel takes; LINE's are checked once more, now that variables are filled in."""
    if account.account_type != "line":
        return messages
    return [message for message in map(_fit_for_line, messages) if message is not None]


def _fit_for_line(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return the message if LINE takes it; else, because variables made it too long, its plain text, or None."""
    flaws = flaws_of_message(message)
    if not flaws:
        return message
    logger().warning("message cannot be sent as it is", flaws=[str(flaw.path) for flaw in flaws[:5]])
    text = message.get("altText") or message.get("text")
    plain = {"type": "text", "text": text}
    return plain if text and not flaws_of_message(plain) else None


def choices(account: AccountTable, messages: list[dict[str, Any]]) -> list[str]:
    """Return what the numbers stand for that the channel shows instead of buttons: those of the last that has any."""
    if account.account_type != "wechat":
        return []
    from kernel.channels.wechat.messages import choices as numbered

    shown = ([choice.value for choice in numbered(message)] for message in reversed(messages))
    return next((values for values in shown if values), [])


def deliver(account: AccountTable, turn: TurnTable, said: Said) -> None:
    """Send what is left of a turn and note that it was sent; raises when it has to be tried again."""
    try:
        match account.account_type:
            case "line":
                _by_line(account, turn, said)
            case "fb":
                _by_messenger(account, turn, said)
            case "wechat":
                _by_wechat(account, turn, said)
    except OverLimit:
        # A rate limit passes soon; LINE's quota of a month does not, and must not hold up replies, which are free.
        # Broadcasts ask for the quota themselves.
        broadcast = turn.event_id.startswith(BROADCAST)
        if account.account_type != "line" or broadcast or current().attempt < _OVER_LIMIT_ATTEMPTS:
            raise
        _refused(turn, 429, "over the channel's limit")
    except Refused as problem:
        _refused(turn, problem.status, str(problem))
    turn.delivered_at = clock.now()
    # The messages may show variables that are kept encrypted, so they go as soon as they are not needed.
    done = [TurnTable.delivered_at.set(turn.delivered_at), TurnTable.messages.set([])]
    if turn.refused:
        done.append(TurnTable.refused.set(turn.refused))
    _note(turn, done)


def _refused(turn: TurnTable, status: int, reason: str) -> None:
    turn.refused = reason[:_REASON]
    current().facts["undelivered"] = status
    logger().error("the channel does not take the messages of a turn", status=status, reason=reason)


def _by_line(account: AccountTable, turn: TurnTable, said: Said) -> None:
    """Send the first five messages as the reply and push the rest, each push once.

    LINE knows no retry key for replies: after a crash between a reply and its note here, it is sent a second time.
    """
    client = LineClient(credentials(account)["accountToken"])
    messages = turn.messages
    chunks = [messages[start : start + MESSAGES_A_CALL] for start in range(0, len(messages), MESSAGES_A_CALL)]
    for place, chunk in enumerate(chunks):
        if place == 0 and turn.replied:
            continue
        if place == 0 and said.reply_token and client.reply(said.reply_token, chunk, said.at):
            if len(chunks) > 1:
                note_sent(turn, 1)
            continue
        client.push(said.user_id, chunk, ids.derived_uuid(f"{turn.person}#{turn.event_id}#{place}"))


def _by_messenger(account: AccountTable, turn: TurnTable, said: Said) -> None:
    """Send one message after the other; Messenger knows no retry key, so each is noted before the next."""
    from kernel.channels.messenger.client import MessengerClient
    from kernel.channels.messenger.messages import translated

    client = MessengerClient(credentials(account)["accountToken"])
    pieces = [piece for message in turn.messages for piece in translated(message)]
    kind = "UPDATE" if said.kind == "start" else "RESPONSE"
    for place, piece in enumerate(pieces):
        if place >= turn.replied:
            client.send(said.user_id, piece, messaging_type=kind)
            if place + 1 < len(pieces):
                note_sent(turn, place + 1)


def _by_wechat(account: AccountTable, turn: TurnTable, said: Said) -> None:
    """Send one customer-service message after the other; the first may have been the answer to the webhook."""
    from chatbot.wechat_tokens import client_of
    from kernel.channels.wechat.messages import translated

    client = client_of(account)
    pieces = [piece for message in turn.messages for piece in translated(message)]
    for place, piece in enumerate(pieces):
        if place >= turn.replied:
            client.send(said.user_id, piece)
            if place + 1 < len(pieces):
                note_sent(turn, place + 1)


def note_sent(turn: TurnTable, count: int) -> None:
    """Note how many of a turn's pieces have been sent."""
    turn.replied = count
    _note(turn, [TurnTable.replied.set(count)])


def _note(turn: TurnTable, changes: list[Any]) -> None:
    """Change a turn that is still there: one that was erased meanwhile must not come back."""
    try:
        commit(Change(TurnTable, turn.own_key(), changes, TurnTable.person.exists()))
    except ConditionFailed:
        current().facts["note"] = "the turn was erased meanwhile"
