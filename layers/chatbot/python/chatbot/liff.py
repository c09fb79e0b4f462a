"""The way into a segment through its link: the page that LINE opens, the token it carries, and the registration.

The page is public, so whoever opens it gets a token; it says for which segment and no more. Who the visitor is, LINE
vouches for with an ID token; a bare userId is taken as the document has it, and kept as not verified.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from contextlib import suppress
from datetime import timedelta
from string import Template
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import parse_qsl

from pydantic import StringConstraints

from chatbot import liff_apps
from chatbot.api import NULL_IS_BLANK, Body
from chatbot.audiences import membership
from chatbot.events import Event, Said, enqueue
from chatbot.segments import joined
from chatbot.tables import AccountTable, ConversationTable, EntryTable, MemberTable, SegmentTable, account_key
from kernel import clock
from kernel.channels.faults import Refused, TryLater
from kernel.envelopes import Response, json_text
from kernel.errors import Invalid, NotFound, Unauthorized
from kernel.secrets import signing_key
from kernel.settings import settings
from kernel.tables import Change, ConditionFailed, Delete, commit, create, fetch

if TYPE_CHECKING:
    from kernel.auth import Incoming
    from kernel.tables import Item

TOKEN_LIFE = timedelta(minutes=15)
# How long somebody who came through a link is remembered without following.
ENTRY_LIFE = timedelta(days=400)
REGISTER_PATH = "/userSegmentRegisterViaLiff"
_PURPOSE = b"liff\0"
_SDK = "https://static.line-scdn.net/liff/edge/2/sdk.js"
# The SDK reads its texts from LINE's CDN and asks LINE's servers.
_LINE = "https://*.line-scdn.net https://*.line.me https://*.line-apps.com"
_GONE = "The segment of the token no longer exists"


class Entrance(NamedTuple):
    """What a token says: the segment that somebody enters."""

    admin_id: str
    account_id: str
    segment_id: str


class Registration(Body):
    """Somebody who came through a link; with `idToken` LINE vouches for who he is."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    user_id: Annotated[str, StringConstraints(pattern=r"^[!\"$-~]{1,64}$")]
    id_token: Annotated[str, StringConstraints(max_length=8000), NULL_IS_BLANK] = ""


def token_of(entrance: Entrance) -> str:
    """Return a token for 15 minutes: base64url(JSON).base64url(HMAC-SHA256) (contract, key_formats.liff_token)."""
    claims = {
        "adminId": entrance.admin_id,
        "accountId": entrance.account_id,
        "segmentId": entrance.segment_id,
        "exp": int((clock.now() + TOKEN_LIFE).timestamp()),
    }
    payload = base64.urlsafe_b64encode(json_text(claims).encode()).decode()
    return f"{payload}.{_signature(payload)}"


def _signature(payload: str) -> str:
    # Over the text that goes out: base64 spells the same bytes in several ways, and only this one comes back.
    return base64.urlsafe_b64encode(hmac.digest(signing_key(), _PURPOSE + payload.encode(), "sha256")).decode()


def entrance_of(token: str) -> Entrance:
    """Return what a token says; raises Unauthorized when it is not ours or too old."""
    payload, _, signature = token.partition(".")
    if not hmac.compare_digest(_signature(payload).encode(), signature.encode()):
        raise Unauthorized
    claims = json.loads(base64.urlsafe_b64decode(payload))
    if claims["exp"] <= clock.now().timestamp():
        raise Unauthorized
    return Entrance(claims["adminId"], claims["accountId"], claims["segmentId"])


def bearer(incoming: Incoming) -> Entrance | None:
    """Return what the token in the body says, None when the body is none that would be understood."""
    try:
        if incoming.body.lstrip().startswith(b"{"):
            registration = Registration.model_validate_json(incoming.body)
        else:
            registration = Registration.model_validate(dict(parse_qsl(incoming.body.decode())))
    except ValueError:
        # It is refused when it is read, with all its flaws.
        return None
    return entrance_of(registration.token)


def register(entrance: Entrance | None, registration: Registration) -> None:
    """Let a follower into the segment and send its scenario; remember everybody else until he follows.

    Repeated, it changes nothing, but that LINE may vouch for who was not vouched for before.
    """
    if entrance is None:
        raise Unauthorized
    partition = account_key(entrance.admin_id, entrance.account_id)
    user_id, segment_id = registration.user_id, entrance.segment_id
    account, segment, conversation, member, entry = fetch(
        (AccountTable, AccountTable.key(entrance.admin_id, entrance.account_id)),
        (SegmentTable, SegmentTable.key(partition, segment_id)),
        (ConversationTable, ConversationTable.key(partition, user_id)),
        (MemberTable, MemberTable.key(membership(partition, segment_id), user_id)),
        (EntryTable, EntryTable.key(partition, f"{user_id}#{segment_id}")),
    )
    if account is None or segment is None:
        raise Invalid(_GONE)
    verified = _verified(account, registration)
    if not _follows(conversation):
        _remember(_entry(segment, user_id, verified=verified))
        # The page asks him to become a friend, so the event of that may just have been handled, without the entry.
        if not _follows(ConversationTable.find(partition, user_id)):
            return
        member = MemberTable.find(membership(partition, segment_id), user_id)
    if member is None:
        _admit(account, segment, user_id, verified=verified or (entry is not None and entry.verified))
    elif verified and not member.verified:
        _vouch(MemberTable, member.own_key())


def _remember(entry: EntryTable) -> None:
    try:
        commit(create(entry))
    except ConditionFailed:
        # He came before and is remembered.
        if entry.verified:
            _vouch(EntryTable, entry.own_key())


def _vouch(table: type[EntryTable | MemberTable], key: Item) -> None:
    """Note that LINE vouches for who came before without that; never the other way round."""
    with suppress(ConditionFailed):
        # Refused when he is vouched for already, or gone.
        commit(Change(table, key, [table.verified.set(True)], table.verified == False))  # noqa: E712  of PynamoDB


def _follows(conversation: ConversationTable | None) -> bool:
    return conversation is not None and conversation.status == "1"


def _verified(account: AccountTable, registration: Registration) -> bool:
    """Tell whether LINE vouches for the user id; one that it does not vouch for is refused."""
    if not registration.id_token:
        return False
    login = liff_apps.login_of(account)
    if login is None:
        raise Unauthorized
    try:
        user_id = login.verified_user(registration.id_token)
    except (TryLater, Refused):
        raise Invalid("LINE does not verify the idToken at the moment; try again later") from None
    if user_id is None or not hmac.compare_digest(user_id.encode(), registration.user_id.encode()):
        raise Unauthorized
    return True


def _entry(segment: SegmentTable, user_id: str, *, verified: bool) -> EntryTable:
    return EntryTable(
        account=segment.account,
        place=f"{user_id}#{segment.segment_id}",
        user_id=user_id,
        segment_id=segment.segment_id,
        verified=verified,
        expires=clock.now() + ENTRY_LIFE,
    )


def _admit(account: AccountTable, segment: SegmentTable, user_id: str, *, verified: bool) -> None:
    """Send the scenario and add the member.

    The event goes first: broken off in between, the repeated call does both, and the event's id lets it count once.
    """
    if segment.scenario_id:
        said = Said(kind="start", user_id=user_id, at=clock.now(), scenario_id=segment.scenario_id)
        enqueue([Event.of(account, f"segment#{segment.segment_id}#{user_id}", said)])
    waited = Delete(EntryTable, _entry(segment, user_id, verified=verified).own_key())
    try:
        commit(*joined(segment.account, segment.segment_id, user_id, verified=verified), waited)
    except ConditionFailed as problem:
        # The first write is refused when the same call came twice at a moment.
        if problem.index != 0:
            raise Invalid(_GONE) from None
        if verified:
            _vouch(MemberTable, MemberTable.key(membership(segment.account, segment.segment_id), user_id))


def page(admin_id: str, account_id: str, segment_id: str, state: str) -> Response:
    """Return the page of a channel's LIFF app; at LINE's first redirect (`liff.state`) it only starts the SDK."""
    partition = account_key(admin_id, account_id)
    wanted: list[Any] = [(AccountTable, AccountTable.key(admin_id, account_id))]
    if segment_id and not state:
        wanted.append((SegmentTable, SegmentTable.key(partition, segment_id)))
    account, *segments = fetch(*wanted)
    if account is None or not account.liff_id:
        raise NotFound("This channel has no LIFF app")
    # A segment without scenario was never offered as an entry.
    if any(segment is None or not segment.scenario_id for segment in segments):
        raise NotFound("This link is no longer valid")
    token = token_of(Entrance(admin_id, account_id, segment_id)) if segments else ""
    nonce = secrets.token_urlsafe(16)
    values = {"liffId": account.liff_id, "token": token, "register": settings().public_url + REGISTER_PATH}
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}' https://*.line-scdn.net; style-src 'nonce-{nonce}'; "
        f"connect-src 'self' {_LINE}; img-src {_LINE}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    body = _PAGE.substitute(nonce=nonce, sdk=_SDK, values=_inside_script(values))
    return Response(200, body, "text/html; charset=utf-8", headers)


def _inside_script(values: dict[str, str]) -> str:
    """Write JSON that neither ends a script element nor opens a comment in it."""
    text = json.dumps(values)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


_PAGE = Template("""\
<!doctype html>
<html lang="zh-Hant">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>LIFF</title>
<style nonce="$nonce">body { font: 5vmin sans-serif; margin: 40vh auto 0; text-align: center; }</style>
<script nonce="$nonce" src="$sdk"></script>
</head>
<body>
<p id="state">…</p>
<script nonce="$nonce">
const page = $values;
const show = (text) => { document.getElementById("state").textContent = text; };
async function enter() {
  await liff.init({ liffId: page.liffId });
  if (!page.token) return;
  if (!liff.isLoggedIn()) {
    liff.login({ redirectUri: location.href });
    return;
  }
  const idToken = liff.getIDToken();
  const userId = idToken ? liff.getDecodedIDToken().sub : (await liff.getProfile()).userId;
  const answer = await fetch(page.register, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token: page.token, userId, idToken }),
  });
  if (!answer.ok) throw new Error(String(answer.status));
  show("✓");
  if (liff.isInClient()) liff.closeWindow();
}
enter().catch(() => show("✗"));
</script>
</body>
</html>
""")
