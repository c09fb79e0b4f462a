"""One event of a LINE user, from the queue to the messages he gets.

Order of things, so that a crash at any point loses nothing: decide, store the turn together with the new state,
send, note that it was sent. A repeated event finds its turn: sent ones are ignored, unsent ones are sent again.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from chatbot import users
from chatbot.accounts import credentials
from chatbot.engine import Conversation, Outcome, Turn
from chatbot.line_events import LineEvent, event_id
from chatbot.tables import AccountTable, ConversationTable, TurnTable, UserTable, account_key
from chatbot.times import shown
from chatbot.triggers import StoredScenarios
from kernel import clock, ids, secrets
from kernel.channels.line.client import MESSAGES_A_CALL, LineClient, OverLimit, Refused
from kernel.channels.line.validation import flaws_of_message
from kernel.running import current, logger
from kernel.tables import Change, Delete, Put, Write, commit, create, fetch, replace

if TYPE_CHECKING:
    from kernel.secrets import Secret

# How long LINE redelivers is not disclosed; a reply token never outlives 20 minutes.
TURN_LIFE = timedelta(days=7)
# DynamoDB keeps 400 KB an item.
_TURN_BYTES = 350_000
_OVER_LIMIT_ATTEMPTS = 3
_PROFILE_PAUSE = timedelta(minutes=10)
# The user list joins its keys with '#'.
_USER_ID = re.compile(r"[!\"$-~]{1,64}")


class Said(NamedTuple):
    """What of an event concerns the conversation: its kind, the text of a message, and what was tapped.

    `action` is what a tapped button stands for: the text it sent, or its postback data, while `text` may be the
    date that was picked with it.
    """

    kind: str
    text: str
    action: str
    user_id: str
    at: datetime
    reply_token: str


def understood(event: dict[str, Any]) -> Said | None:
    """Return what a user did, None for what the bot does not answer: groups, standby, unsend, unknown kinds."""
    source = event.get("source")
    if not isinstance(source, dict) or source.get("type") != "user" or event.get("mode", "active") != "active":
        return None
    user_id = source.get("userId")
    if not isinstance(user_id, str) or not _USER_ID.fullmatch(user_id):
        return None
    millis = event.get("timestamp")
    at = clock.from_millis(millis) if isinstance(millis, int) and 0 < millis < 1 << 43 else clock.now()
    token = event.get("replyToken")

    def said(kind: str, text: str = "", action: str = "") -> Said:
        return Said(kind, text, action or text, user_id, at, token if isinstance(token, str) else "")

    match event.get("type"):
        case "follow" | "unfollow" as kind:
            return said(kind)
        case "message":
            message = event.get("message")
            if isinstance(message, dict) and message.get("type") == "text" and isinstance(message.get("text"), str):
                return said("text", message["text"])
            return said("other")
        case "postback":
            postback = event.get("postback")
            if not isinstance(postback, dict):
                return None
            return said("text", _postback_text(postback), str(postback.get("data") or ""))
    return None


def _postback_text(postback: dict[str, Any]) -> str:
    """Return what a postback says: the date or time that was picked, else its data."""
    params = postback.get("params")
    picked = params if isinstance(params, dict) else {}
    value = picked.get("datetime") or picked.get("date") or picked.get("time") or postback.get("data") or ""
    return str(value)


class _Vault:
    """Seals variables with the channel's, the user's and the variable's name as context."""

    def __init__(self, account: AccountTable, user_id: str) -> None:
        self._context = {"adminId": account.admin_id, "accountId": account.account_id, "userId": user_id}

    def seal(self, name: str, text: str) -> str:
        return secrets.encrypt(text, {**self._context, "variable": name})

    def reveal(self, name: str, sealed: str) -> str:
        return secrets.decrypt(sealed, {**self._context, "variable": name}).reveal()


def answer(message: LineEvent) -> None:
    """Handle one event; raises when it has to come again."""
    said = understood(message.event)
    if said is None:
        current().facts["ignored"] = str(message.event.get("type"))[:40]
        return
    partition = account_key(message.admin_id, message.account_id)
    identifier = event_id(message.event)
    account, conversation, turn = fetch(
        (AccountTable, AccountTable.key(message.admin_id, message.account_id)),
        (ConversationTable, ConversationTable.key(partition, said.user_id)),
        (TurnTable, TurnTable.key(f"{partition}#{identifier}")),
    )
    if account is None:
        current().facts["ignored"] = "the channel is gone"
        return
    client = LineClient(_token(account))
    if turn is None:
        turn = _decide(account, conversation, said, identifier, client)
    elif turn.delivered_at is not None:
        current().facts["ignored"] = "repeated"
        return
    if turn.delivered_at is None:
        _deliver(turn, said, client)


def _token(account: AccountTable) -> Secret:
    return credentials(account)["accountToken"]


def _decide(
    account: AccountTable, row: ConversationTable | None, said: Said, identifier: str, client: LineClient
) -> TurnTable:
    """Run the turn and store it with everything it changes, all or nothing."""
    partition = account_key(account.admin_id, account.account_id)
    state = Conversation(**row.state) if row else Conversation()
    known = row is not None
    if row is None:
        row = ConversationTable(
            account=partition,
            user_id=said.user_id,
            status="",
            status_at=datetime.fromtimestamp(0, UTC),
            follow_time=said.at,
            access_time=said.at,
            user_name="",
            user_picture="",
        )
    old_key = UserTable.key(partition, _user_place(row)) if known else None
    difference = _follow_status(row, said)
    unnamed = not row.user_name and said.kind != "unfollow"
    # LINE withholds some profiles for good, so it is not asked again at every word.
    if said.kind == "follow" or not known or (unnamed and said.at > row.access_time + _PROFILE_PAUSE):
        profile = client.profile(said.user_id)
        if profile is not None:
            row.user_name, row.user_picture = profile
    library = StoredScenarios(partition)
    turn = Turn(state, library, _Vault(account, said.user_id), clock.now(), follow_time=row.follow_time)
    outcome = _run(turn, said, row)
    _report(outcome)
    row.state = asdict(state)
    row.access_time = max(row.access_time, said.at)
    messages = _stored([message for message in map(_sendable, outcome.messages) if message is not None])
    stored = TurnTable(
        turn_id=f"{partition}#{identifier}",
        messages=messages,
        replied=0,
        expires=clock.now() + TURN_LIFE,
        delivered_at=None if messages else clock.now(),
    )
    writes: list[Write] = [create(stored), replace(row), *_user_writes(account, row, state, old_key)]
    if difference:
        writes.append(users.counted(partition, said.user_id, difference))
    commit(*writes)
    return stored


def _follow_status(row: ConversationTable, said: Said) -> int:
    """Update whether the user follows, by the latest event that says so; return how the count changes.

    Redelivered events may arrive late, so an event older than the last word changes nothing.
    """
    if said.at < row.status_at:
        return 0
    before = row.status
    if said.kind == "unfollow":
        row.status = "0"
    elif said.kind == "follow":
        row.status = "1"
        row.follow_time = said.at
    elif before == "":
        # Somebody who was a friend before the channel came here.
        row.status = "1"
    else:
        return 0
    row.status_at = said.at
    return int(row.status == "1") - int(before == "1")


def _run(turn: Turn, said: Said, row: ConversationTable) -> Outcome:
    match said.kind:
        case "follow":
            return turn.follow()
        case "unfollow" if row.status == "1":
            # It came late: since then the user has followed again, and his flow goes on.
            return Outcome([], {})
        case "unfollow":
            return turn.unfollow()
        case "text":
            return turn.say(said.text, said.action)
    return turn.show()


def _report(outcome: Outcome) -> None:
    current().facts.update(outcome.facts)
    if "cut" in outcome.facts:
        logger().warning("turn cut at its limit of nodes", place=outcome.facts["cut"])


def _sendable(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return the message if LINE takes it; else, because variables made it too long, its plain text, or None."""
    flaws = flaws_of_message(message)
    if not flaws:
        return message
    logger().warning("message cannot be sent as it is", flaws=[str(flaw.path) for flaw in flaws[:5]])
    text = message.get("altText") or message.get("text")
    plain = {"type": "text", "text": text}
    return plain if text and not flaws_of_message(plain) else None


def _stored(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages that fit into the turn's row; only bulky Flex messages by the dozen do not."""
    while len(TurnTable.messages.serialize(messages)) > _TURN_BYTES:
        messages = messages[:-1]
        current().facts["too large"] = True
    return messages


def _user_place(row: ConversationTable) -> str:
    return f"#{row.user_id}#{shown(row.follow_time)}"


def _user_writes(
    account: AccountTable, row: ConversationTable, state: Conversation, old_key: dict[str, Any] | None
) -> list[Write]:
    """Return the writes of the user list; its key holds the follow time, so a new follow moves the row."""
    key = UserTable.key(row.account, _user_place(row))
    tags = [{"name": tag["name"], "color": tag["color"]} for tag in state.tags]
    if key == old_key:
        changes = [
            UserTable.user_name.set(row.user_name),
            UserTable.user_picture.set(row.user_picture),
            UserTable.account_status.set(row.status),
            UserTable.node_id.set(state.node_id),
            UserTable.tags.set(tags),
            UserTable.access_time.set(row.access_time),
        ]
        return [Change(UserTable, key, changes)]
    user = UserTable(
        adm_acc_id=row.account,
        usrid_acstm=_user_place(row),
        user_id=row.user_id,
        user_name=row.user_name,
        user_picture=row.user_picture,
        account_type=account.account_type,
        account_status=row.status,
        node_id=state.node_id,
        tags=tags,
        follow_time=row.follow_time,
        access_time=row.access_time,
        created_at=row.created_at or clock.now(),
    )
    gone: list[Write] = [Delete(UserTable, old_key)] if old_key else []
    return [Put(user), *gone]


def _report_undelivered(status: int, reason: str) -> None:
    current().facts["undelivered"] = status
    logger().error("LINE does not take the messages of a turn", status=status, reason=reason)


def _deliver(turn: TurnTable, said: Said, client: LineClient) -> None:
    """Send what is left of a turn: the first five messages as the reply, the rest pushed, each push once.

    LINE knows no retry key for replies: after a crash between a reply and its note here, it is sent a second time.
    """
    chunks = [turn.messages[start : start + MESSAGES_A_CALL] for start in range(0, len(turn.messages), MESSAGES_A_CALL)]
    key = turn.own_key()
    try:
        for place, chunk in enumerate(chunks):
            if place == 0 and turn.replied:
                continue
            if place == 0 and said.reply_token and client.reply(said.reply_token, chunk, said.at):
                if len(chunks) > 1:
                    commit(Change(TurnTable, key, [TurnTable.replied.set(1)]))
                continue
            client.push(said.user_id, chunk, ids.derived_uuid(f"{turn.turn_id}#{place}"))
    except OverLimit:
        # A rate limit passes soon; the month's quota does not, and must not hold up replies, which are free.
        if current().attempt < _OVER_LIMIT_ATTEMPTS:
            raise
        _report_undelivered(429, "over LINE's limit")
    except Refused as problem:
        _report_undelivered(problem.status, str(problem))
    # The messages may show variables that are kept encrypted, so they go as soon as they are not needed.
    commit(Change(TurnTable, key, [TurnTable.delivered_at.set(clock.now()), TurnTable.messages.set([])]))
