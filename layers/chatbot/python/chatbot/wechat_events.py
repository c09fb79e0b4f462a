"""WeChat's webhook: whose it is, what its messages say, and the answer that may go back at once."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from chatbot import conversation, delivery
from chatbot.accounts import credentials
from chatbot.events import Event, Said, enqueue
from chatbot.tables import AccountTable, TurnTable
from kernel import aws, clock, wire
from kernel.channels.faults import Refused, TryLater
from kernel.channels.wechat import envelope
from kernel.errors import Fault, Unauthorized
from kernel.running import logger

if TYPE_CHECKING:
    from kernel.auth import Incoming

DONE = "success"
# WeChat waits five seconds; what takes longer goes out as a customer service message.
_PATIENCE = 3.5
_CONTENT = frozenset({"image", "voice", "video", "shortvideo", "location", "link"})


class WechatMessage(NamedTuple):
    """A message or event of a channel: the texts of its XML, and how an answer has to be written."""

    account: AccountTable
    fields: dict[str, str]
    encrypted: bool


def signing_account(incoming: Incoming) -> AccountTable:
    """Return the WeChat channel that the query names and whose server token signed the request."""
    query = incoming.query
    admin_id, account_id = query.get("adminid", ""), query.get("accountid", "")
    if not 0 < len(admin_id) <= 128 or not 0 < len(account_id) <= 64:
        raise Unauthorized
    account = AccountTable.find(admin_id, account_id)
    if account is None or account.account_type != "wechat":
        raise Unauthorized
    token = credentials(account)["accountToken"]
    stamp, nonce, given = query.get("timestamp", ""), query.get("nonce", ""), query.get("signature", "")
    if not given or not envelope.signed_by(token, stamp, nonce, given):
        raise Unauthorized
    return account


def signed_message(incoming: Incoming) -> WechatMessage:
    """Return what a channel's webhook says, decrypted when it came so; its signatures are checked before."""
    account = signing_account(incoming)
    try:
        fields = envelope.parsed(incoming.body)
        if "Encrypt" not in fields:
            return WechatMessage(account, fields, encrypted=False)
        secrets = credentials(account)
        query, sealed = incoming.query, fields["Encrypt"]
        given = query.get("msg_signature", "")
        if "encodingAesKey" not in secrets or not envelope.signed_cipher_by(
            secrets["accountToken"], query.get("timestamp", ""), query.get("nonce", ""), sealed, given
        ):
            raise Unauthorized
        plain = envelope.decrypted(secrets["encodingAesKey"], account.app_id, sealed)
        return WechatMessage(account, envelope.parsed(plain), encrypted=True)
    except envelope.Malformed:
        raise Unauthorized from None


def understood(fields: dict[str, str]) -> Said | None:
    """Return what a user did, None for what the bot does not answer."""
    user_id = fields.get("FromUserName", "")
    if not 0 < len(user_id) <= 64 or not user_id.isascii() or "#" in user_id or not user_id.isprintable():
        return None
    seconds = fields.get("CreateTime", "")
    usable = seconds.isascii() and seconds.isdigit() and len(seconds) <= 10 and 0 < int(seconds) < 1 << 33
    said = Said(kind="other", user_id=user_id, at=clock.from_millis(int(seconds) * 1000) if usable else clock.now())
    match fields.get("MsgType"):
        case "text":
            said.kind, said.text = "text", fields.get("Content", "")
        case "voice" if fields.get("Recognition"):
            said.kind, said.text = "text", fields["Recognition"]
        case "event":
            return _understood_event(fields, said)
        case kind if kind not in _CONTENT:
            return None
    return said


def _understood_event(fields: dict[str, str], said: Said) -> Said | None:
    match fields.get("Event", "").lower():
        case "subscribe":
            said.kind = "follow"
        case "unsubscribe":
            said.kind = "unfollow"
        case "click":
            said.kind, said.text = "text", fields.get("EventKey", "")
        case _:
            return None
    return said


def event_id(fields: dict[str, str]) -> str:
    """Return what a repetition has in common: MsgId, for events sender and time."""
    if given := fields.get("MsgId"):
        return f"wechat#{given[:100]}"
    told = "#".join(fields.get(name, "") for name in ("FromUserName", "CreateTime", "Event", "EventKey"))
    return f"wechat#{hashlib.sha256(told.encode()).hexdigest()}"


def answered(message: WechatMessage) -> str:
    """Handle a message and return the answer: its first reply when that was quick, else "success".

    What is left, or went wrong, is done by the worker: WeChat would tell the user that the account is out of order.
    """
    began = time.monotonic()
    said = understood(message.fields)
    if said is None:
        return DONE
    event = Event.of(message.account, event_id(message.fields), said)
    reply = None
    try:
        found = conversation.decided(event, hasty=True)
        if found is None or found.turn.delivered_at is not None:
            return DONE
        turn = found.turn
        # WeChat repeats what it got no answer to in time: by then the worker may be sending the first reply.
        if not found.repeated and time.monotonic() - began < _PATIENCE:
            reply = _passive(message, turn)
        if reply is not None:
            # Before the worker learns of the turn, or it would send the same.
            delivery.note_sent(turn, 1)
    except (Fault, TryLater, Refused, aws.AwsError, wire.Unreachable):
        logger().exception("the answer goes out later")
        reply = None
    enqueue([event])
    return DONE if reply is None else reply


def _passive(message: WechatMessage, turn: TurnTable) -> str | None:
    """Return the XML of the turn's first piece, None when it cannot be an answer."""
    from kernel.channels.wechat.messages import translated

    piece: dict[str, Any] = next((piece for shown in turn.messages for piece in translated(shown)), {})
    to, sender = message.fields.get("FromUserName", ""), message.fields.get("ToUserName", "")
    now = clock.now()
    moment = int(now.timestamp())
    match piece.get("msgtype"):
        case "text":
            xml = envelope.text_reply(to, sender, moment, piece["text"]["content"])
        case "news":
            article = piece["news"]["articles"][0]
            shown = envelope.Article(article["title"], article["description"], article["url"], article["picurl"])
            xml = envelope.news_reply(to, sender, moment, shown)
        case _:
            return None
    if not message.encrypted:
        return xml
    secrets = credentials(message.account)
    key, token = secrets["encodingAesKey"], secrets["accountToken"]
    return envelope.encrypted_reply(key, token, message.account.app_id, xml, str(moment), turn.event_id[-16:])
