"""Links that tell who followed them: tracked ones lead over us, a shop's carry the token of its orders.

A tracked link leads only to what a saved node names. So the table of targets is written with the scenario, and a link
is rewritten only when it stands in its node as it is sent; one that a variable completes stays as it is.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from chatbot import clicks, orders
from chatbot.messages import message_of
from chatbot.tables import LinkTable
from kernel.envelopes import Response
from kernel.errors import Invalid, NotFound
from kernel.settings import settings
from kernel.signed import seal, unseal
from kernel.tables import Put, commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.auth import Incoming

_PURPOSE = "link"
# LINE takes 1000 characters in an address that is tapped.
_TRACKED_LENGTH = 900
_TAPPED_LENGTH = 1000
_DIGEST_BYTES = 16
_UNKNOWN = "the link is unknown"
# As LINE wants them: percent-encoded. Nothing else fits into a header either.
_WEB = re.compile(r"https?://[^/?#][!-~]*", re.IGNORECASE)


class Visit(NamedTuple):
    """A tracked link that somebody followed: whose it is, where it leads, and whether the shop is told."""

    claims: orders.Claims
    digest: str
    with_token: bool


def decorated(
    message: dict[str, Any], node: dict[str, Any], *, admin_id: str, account_id: str, user_id: str, scenario_id: str
) -> dict[str, Any]:
    """Return the message of a node for one user, its links rewritten as `nodeConst` says.

    `trackClicks` makes them lead over us; `ecsite` and `chichatcatBox` add the order token as the parameter `token`.
    A link that would become longer than LINE takes stays as it is.
    """
    wanted = node.get("nodeConst") or {}
    ordering = _ordering(wanted)
    targets = set(targets_of([node]))
    if not ordering and not targets:
        return message
    claims = orders.Claims(admin_id, account_id, user_id, str(node["nodeId"]), scenario_id)

    def rewritten(url: str) -> str:
        if url in targets and (tracked := _tracked(url, claims, ordering=ordering)):
            return tracked
        return _with_token(url, claims) if ordering and _WEB.fullmatch(url) else url

    changed: dict[str, Any] = _mapped(message, rewritten)
    return changed


def targets_of(nodes: Iterable[dict[str, Any]]) -> list[str]:
    """Return the addresses to which tracked links of these nodes may lead, each once; the nodes must be sound."""
    found: list[str] = []

    def note(url: str) -> str:
        if _WEB.fullmatch(url) and "{{" not in url:
            found.append(url)
        return url

    for node in nodes:
        if (node.get("nodeConst") or {}).get("trackClicks") is True:
            _mapped(message_of(node), note)
    return list(dict.fromkeys(found))


def registered(partition: str, nodes: Iterable[dict[str, Any]]) -> list[Put]:
    """Return the writes that let tracked links lead where these nodes do.

    None is ever taken back: links that were sent lead on when the scenario has changed.
    """
    return [Put(LinkTable(account=partition, digest=_digest(url), url=url)) for url in targets_of(nodes)]


def followed(incoming: Incoming) -> Visit:
    """Return what the token in the path says; NotFound for one that is not ours."""
    try:
        said = unseal(_PURPOSE, incoming.path.get("token", ""), "token")
    except Invalid:
        raise NotFound(_UNKNOWN) from None
    claims = orders.Claims(said["a"], said["c"], said["u"], said["n"], said["s"])
    return Visit(claims, said["d"], "o" in said)


def opened(visit: Visit) -> Response:
    """Note the click and lead on to the registered address, never to any other."""
    link = LinkTable.find(visit.claims.partition, visit.digest, consistent=False)
    if link is None:
        raise NotFound(_UNKNOWN)
    commit(clicks.noted(visit.claims, "link", link.url, {}))
    url = _with_token(link.url, visit.claims) if visit.with_token else link.url
    # The address holds who follows it, which is not the next site's business.
    return Response(302, "", "text/plain; charset=utf-8", {"Location": url, "Referrer-Policy": "no-referrer"})


def _ordering(wanted: dict[str, Any]) -> bool:
    return wanted.get("ecsite") is True or wanted.get("chichatcatBox") is True


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return the value with every address that is tapped changed: of LINE's actions, and of Messenger's buttons."""
    if isinstance(value, list):
        return [_mapped(inner, change) for inner in value]
    if not isinstance(value, dict):
        return value
    tapped = {"uri", "linkUri", "url"} if value.get("type") == "web_url" else {"uri", "linkUri"}
    return {
        name: change(inner) if name in tapped and isinstance(inner, str) else _mapped(inner, change)
        for name, inner in value.items()
    }


def _digest(url: str) -> str:
    digest = hashlib.sha256(url.encode()).digest()[:_DIGEST_BYTES]
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _tracked(url: str, claims: orders.Claims, *, ordering: bool) -> str | None:
    """Return the address of ours that leads to `url`, None when there is none or it would be too long."""
    said: dict[str, Any] = dict(zip("acuns", claims, strict=True)) | {"d": _digest(url)}
    if ordering:
        said["o"] = 1
    tracked = f"{settings().public_url}/c/{seal(_PURPOSE, said)}"
    return tracked if settings().public_url and len(tracked) <= _TRACKED_LENGTH else None


def _with_token(url: str, claims: orders.Claims) -> str:
    """Return the address with the order token; what stood in it before stays as it was, but an older token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    kept = [part for part in parts.query.split("&") if part and part.partition("=")[0] != "token"]
    query = "&".join([*kept, f"token={quote(orders.token(*claims), safe='')}"])
    longer = parts._replace(query=query).geturl()
    return longer if len(longer) <= _TAPPED_LENGTH else url
