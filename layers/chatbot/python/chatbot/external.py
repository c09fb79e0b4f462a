"""The two services outside that a conversation asks: CROS, and the URLs of conditions.

How CROS is asked and answers is in no document (contract, gaps); what is written here is decided.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel.outbound import NoAnswer, NotAllowed, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECONDS = 5.0
MESSAGE_LENGTH = 500
CODE_LENGTH = 50
ORDER_LENGTH = 200
ANSWER_LENGTH = 1000
ERRORS_LIMIT = 20

_ORDER_NAMES = ("orderId", "order_id", "orderid")
_ORDER_PLACES = ("data", "result")
# What services put into `code` when all went well.
_NO_ERROR = {"", "0", "200", "ok", "success"}


class CrosError(NamedTuple):
    """One error as getCorsError shows it; `code` is '' when CROS gave none."""

    msg: str
    code: str


class CrosAnswer(NamedTuple):
    """What came of a call; `order_id` is '' when CROS told none, `errors` has an entry whenever not `ok`."""

    ok: bool
    order_id: str
    errors: list[CrosError]


def cros(setting: Mapping[str, Any], variables: Callable[[str], str], *, user_id: str, key: str) -> CrosAnswer:
    """Call CROS for a user as the account's `setting` says; a call that cannot be made is an error in the answer.

    `setting` is the one that getAccount shows, its key in clear.
    `variables` returns a variable's value; `key` names this one call, so that CROS can tell a repetition. The answer is
    a success with status 2xx and no error in the JSON. Redirects are not followed: as a GET they would order nothing.
    """
    connection = setting.get("cros") or setting.get("cors") or {}
    params = connection.get("params") or {}
    order = {
        "account_id": _text(connection.get("clientid") or connection.get("clientId")),
        "user_id": user_id,
        **{name: variables(str(variable)) for name, variable in params.items()},
    }
    headers = {
        "Content-Type": "application/json",
        "X-Api-Key": _text(connection.get("key")),
        "Idempotency-Key": key,
    }
    endpoint = _text(connection.get("endpoint") or connection.get("endPoint"))
    try:
        answer = ask("POST", endpoint, body=_json(order), headers=headers, timeout=SECONDS, redirects=0)
    except (NotAllowed, NoAnswer) as problem:
        return CrosAnswer(False, "", [CrosError(str(problem)[:MESSAGE_LENGTH], "")])
    fine = 200 <= answer.status < 300
    document = _read(answer.body)
    errors = _errors(document, answer.status)
    if not fine and not errors:
        errors = [CrosError(f"answered with status {answer.status}", "")]
    return CrosAnswer(fine and not errors, _order_id(document), errors)


def answer_of(url: str, *, user_id: str, variables: Mapping[str, str]) -> str | None:
    """Ask a condition's URL about a user and return its trimmed text, at most 1000 characters.

    None when it cannot be asked, does not answer 2xx within 5 seconds, or not with text in UTF-8.
    """
    body = _json({"userId": user_id, "variables": dict(variables)})
    try:
        answer = ask("POST", url, body=body, headers={"Content-Type": "application/json"}, timeout=SECONDS)
        text = answer.body.decode("utf-8-sig")
    except (NotAllowed, NoAnswer, UnicodeDecodeError):
        return None
    return text.strip()[:ANSWER_LENGTH] if 200 <= answer.status < 300 else None


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _read(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(value: Any) -> str:
    """Return a text or a whole number as text that can be stored, '' for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    # Half a surrogate pair is allowed in JSON and nowhere else.
    return value.strip().encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _errors(document: dict[str, Any], status: int) -> list[CrosError]:
    told = document.get("errors") or document.get("error")
    if told:
        entries = told if isinstance(told, list) else [told]
        read = [_error(entry if isinstance(entry, dict | str) else document) for entry in entries[:ERRORS_LIMIT]]
        return [error for error in read if any(error)] or [CrosError(f"an error with status {status}", "")]
    error = _error(document)
    if 200 <= status < 300:
        # Many services say "msg": "ok" with every success.
        return [error] if error.msg and error.code.lower() not in _NO_ERROR else []
    return [error] if any(error) else []


def _error(entry: dict[str, Any] | str) -> CrosError:
    if isinstance(entry, str):
        return CrosError(_text(entry)[:MESSAGE_LENGTH], "")
    msg = _text(entry.get("msg")) or _text(entry.get("message"))
    return CrosError(msg[:MESSAGE_LENGTH], _text(entry.get("code"))[:CODE_LENGTH])


def _order_id(document: dict[str, Any]) -> str:
    places = [document, *(document.get(name) for name in _ORDER_PLACES)]
    found = (_text(place.get(name)) for place in places if isinstance(place, dict) for name in _ORDER_NAMES)
    return next((text for text in found if text), "")[:ORDER_LENGTH]
