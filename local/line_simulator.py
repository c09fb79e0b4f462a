"""A double of LINE's Messaging API over HTTP; `api` and `api-data` share its one port.

It answers as LINE's reference (https://developers.line.biz/en/reference/messaging-api/, here `ref#…`)
and OpenAPI document say, keeps what it was asked and delivers into memory.
"""

import argparse
import base64
import contextlib
import dataclasses
import json
import re
import socket
import sys
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from local.line_deliveries import Deliveries, Delivery, Via
from local.line_http import (
    USER,
    Answer,
    Outcome,
    RefusedError,
    Request,
    Server,
    fields_of,
    flawed,
    invalid_property,
    json_answer,
)
from local.line_login import Login, shown_body
from local.line_rich_menus import RichMenus
from local.line_webhook import BOT_USER_ID

__all__ = ["Call", "Content", "Delivery", "LineSimulator", "Person"]

DEFAULT_PORT = 8791
MAX_WAIT = 25.0

Validator = Callable[[object], Sequence[tuple[str, str]]]

_RETRYABLE = {"/v2/bot/message/push", "/v2/bot/message/multicast"}
# Quoting an imagemap, a sound or a place isn't possible (docs/messaging-api/get-quote-tokens).
_QUOTABLE = {"text", "textV2", "sticker", "image", "video", "template", "flex"}
_RECIPIENT = re.compile(r"[UCR][0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PROFILE = re.compile(r"/v2/bot/profile/([^/]+)")
_CONTENT = re.compile(r"/v2/bot/message/([^/]+)/content")
_MESSAGES_OF_STATUS = {
    429: "The API rate limit has been exceeded. Try again later.",
    500: "Internal server error",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the Messaging API; access tokens and other secrets show only as fingerprints."""

    request_id: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    status: Outcome
    retry_key: str | None
    token: str | None

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Person:
    """What the simulator knows of one user ID."""

    blocked: bool = False
    unknown: bool = False
    display_name: str | None = None

    @property
    def reachable(self) -> bool:
        """Whether messages arrive and the profile can be read."""
        return not (self.blocked or self.unknown)


@dataclass(frozen=True)
class Content:
    """One answer of the content endpoint: 200 with bytes, 202, 404 or 410 (ref#get-content)."""

    status: int = 200
    data: bytes = b""
    content_type: str = "image/jpeg"


@dataclass
class _Failure:
    path: str
    status: Outcome
    times: int | None
    every: int
    accept: bool
    message: str | None
    retry_after: int | None
    seen: int = 0


class LineSimulator:
    """A running Messaging API at `url`, used as a context manager; port 0 takes a free port.

    `validate` gets a call's messages and returns what is wrong as path (`[0].text`) and words; without
    it the platform's own rules judge. `monthly_limit` caps how many people push and multicast reach.
    """

    def __init__(self, *, port: int = 0, validate: Validator | None = None, monthly_limit: int | None = None) -> None:
        self._validate = validate or _flaws_of_messages
        self._first_limit = monthly_limit
        self._changed = threading.Condition()
        self._closing = False
        self._requests = 0
        self._message_ids = 0
        self._deliveries = Deliveries()
        self._rich_menus = RichMenus(self._is_reachable)
        self._login = Login()
        self._forget()
        self._server = Server(port, self._respond)
        self._thread = threading.Thread(target=self._accept, name="line-simulator")
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        # The accepting thread sleeps until somebody connects.
        with contextlib.suppress(ConnectionError):
            socket.create_connection(("127.0.0.1", self._server.server_port)).close()
        self._thread.join()
        self._server.close()

    @property
    def calls(self) -> list[Call]:
        """Every call of the Messaging API, in the order in which they were answered."""
        with self._changed:
            return list(self._calls)

    @property
    def sent(self) -> list[Delivery]:
        """Every message that reached somebody, in order."""
        with self._changed:
            return list(self._deliveries.after(0))

    def messages(self, user: str | None = None, after: int = 0, wait: float = 0.0) -> list[Delivery]:
        """Return what was delivered (to `user`) after a sequence number, waiting for it if need be."""
        return self._read(user, after, wait)[0]

    def deliveries(self, since: int = 0) -> Counter[str]:
        """Return how many calls reached each person after a sequence number."""
        with self._changed:
            return self._deliveries.times(since)

    @property
    def last(self) -> int:
        """The sequence number of the last delivery: a mark for `deliveries` and `messages`."""
        with self._changed:
            return self._deliveries.last

    @property
    def rich_menus(self) -> dict[str, dict[str, Any]]:
        """What there is of rich menus, by token fingerprint: menus, default, links (user to menu), aliases."""
        with self._changed:
            return self._rich_menus.view()

    @property
    def liff_apps(self) -> dict[str, list[dict[str, Any]]]:
        """The LIFF apps, by LINE Login channel."""
        with self._changed:
            return self._login.view()

    def set_quota(self, limit: int | None, used: int = 0) -> None:
        """Set how many people the month allows to reach, None for any number, and how many were reached."""
        with self._changed:
            self._monthly_limit, self._reached = limit, used

    def limit_rich_menus(self, per_hour: int | None) -> None:
        """Begin an hour that allows so many creations and deletions (LINE: 100); None lifts the limit."""
        with self._changed:
            self._rich_menus.limit(per_hour)

    def own_login_channel(self, channel_id: str, secret: str) -> None:
        """Say which secret a LINE Login channel has; one without takes any."""
        with self._changed:
            self._login.own_channel(channel_id, secret)

    def own_id_token(self, token: str, sub: str, aud: str, exp: float | None = None, nonce: str | None = None) -> None:
        """Let an ID token be genuine: for user `sub`, of channel `aud`, until `exp` in Unix seconds, None for ever."""
        with self._changed:
            self._login.own_id_token(token, sub, aud, exp, nonce)

    def set_person(
        self,
        user_id: str,
        *,
        blocked: bool | None = None,
        unknown: bool | None = None,
        display_name: str | None = None,
    ) -> None:
        """Set what is given of a user ID's state; the rest stays."""
        with self._changed:
            person = self._person(user_id)
            self._people[user_id] = Person(
                person.blocked if blocked is None else blocked,
                person.unknown if unknown is None else unknown,
                person.display_name if display_name is None else display_name,
            )

    def fail(
        self,
        path: str,
        status: Outcome,
        *,
        times: int | None = None,
        every: int = 1,
        accept: bool = False,
        message: str | None = None,
        retry_after: int | None = 1,
    ) -> None:
        """Let the next call of a path (`*` matches anything), or the next `times`, fail; with `accept` after the work.

        With `every` each such call in turn fails, without `times` for ever. "closed" ends the connection without an
        answer, "timeout" keeps it open without one.
        """
        if not isinstance(status, int) and status not in ("closed", "timeout"):
            raise ValueError(f"status is neither a number, closed nor timeout: {status}")
        if every < 1:
            raise ValueError(f"every is less than 1: {every}")
        if times is None and every == 1:
            times = 1
        with self._changed:
            self._failures.append(_Failure(path, status, times, every, accept, message, retry_after))

    def own_reply_token(self, token: str, user_id: str) -> None:
        """Say whom a reply with this token reaches."""
        with self._changed:
            self._token_owners[token] = user_id

    def expire_reply_tokens(self, *tokens: str) -> None:
        """Let replies with these tokens be refused, as LINE does a minute after the webhook."""
        with self._changed:
            self._spent_tokens.update(tokens)

    def script_content(self, message_id: str, *answers: Content) -> None:
        """Set what getting a message's content answers, one after the other; the last one stays."""
        with self._changed:
            self._contents[message_id] = deque(answers)

    def reset(self) -> None:
        """Forget all calls, messages, people, failures and tokens; numbers go on counting up."""
        with self._changed:
            self._forget()

    def _forget(self) -> None:
        self._calls: list[Call] = []
        self._deliveries = Deliveries(self._deliveries.last)
        self._people: dict[str, Person] = {}
        self._failures: list[_Failure] = []
        self._token_owners: dict[str, str] = {}
        self._spent_tokens: set[str] = set()
        self._accepted: dict[tuple[str | None, str | None], tuple[str, str]] = {}
        self._contents: dict[str, deque[Content]] = {}
        self._monthly_limit, self._reached = self._first_limit, 0
        self._rich_menus.forget()
        self._login.forget()

    def _accept(self) -> None:
        while not self._closing:
            self._server.handle_request()

    def _respond(self, request: Request) -> Answer:
        if request.path.startswith("/_simulator/"):
            try:
                return self._control(request)
            except RefusedError as refused:
                return refused.answer
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                return json_answer(400, {"message": f"not understood: {error}"})
        with self._changed:
            self._requests += 1
            request_id = str(uuid.UUID(int=self._requests))
            failure = self._take_failure(request.path)
        if failure is None or failure.accept:
            try:
                answer = self._answer(request, request_id)
            except RefusedError as refused:
                answer = refused.answer
        if failure is not None and (not failure.accept or answer.status in (200, 202)):
            answer = _scripted(failure)
        answer = dataclasses.replace(answer, headers={**answer.headers, "x-line-request-id": request_id})
        # A broadcast makes many calls that are alike in these.
        shown = {
            sys.intern(key): sys.intern(value)
            for key, value in request.headers.items()
            if key.lower() != "authorization"
        }
        with self._changed:
            self._calls.append(
                Call(
                    request_id=request_id,
                    method=request.method,
                    path=sys.intern(request.path),
                    headers=shown,
                    body=shown_body(request),
                    status=answer.status,
                    retry_key=request.retry_key,
                    token=request.token and sys.intern(request.token),
                )
            )
        return answer

    def _take_failure(self, path: str) -> _Failure | None:
        meant = [one for one in self._failures if fnmatchcase(path, one.path)]
        for one in meant:
            one.seen += 1
        failure = next((one for one in meant if one.seen % one.every == 0), None)
        if failure is not None and failure.times is not None:
            failure.times -= 1
            if failure.times <= 0:
                self._failures.remove(failure)
        return failure

    def _answer(self, request: Request, request_id: str) -> Answer:
        if request.token is None and not request.path.startswith("/oauth2/"):
            raise RefusedError(
                401,
                "Authentication failed due to the following reason: invalid token. "
                "Confirm that the access token in the authorization header is valid.",
            )
        if request.too_large:
            raise RefusedError(413, "Request exceeds the max size of 2MB")
        key = request.retry_key
        if key is not None and (request.path not in _RETRYABLE or not _UUID.fullmatch(key)):
            raise RefusedError(400, "The retry key is invalid")
        match request.method, request.path:
            case "POST", "/v2/bot/message/reply":
                return self._reply(fields_of(request))
            case "POST", "/v2/bot/message/push":
                return self._push(request, request_id)
            case "POST", "/v2/bot/message/multicast":
                return self._multicast(request, request_id)
            case "POST", "/v2/bot/chat/loading/start":
                return _loading(fields_of(request))
            case "GET", "/v2/bot/info":
                return json_answer(
                    200,
                    {
                        "userId": BOT_USER_ID,
                        "basicId": "@simulated",
                        "displayName": "Simulated bot",
                        "chatMode": "bot",
                        "markAsReadMode": "auto",
                    },
                )
            case "GET", "/v2/bot/message/quota":
                if self._monthly_limit is None:
                    return json_answer(200, {"type": "none"})
                return json_answer(200, {"type": "limited", "value": self._monthly_limit})
            case "GET", "/v2/bot/message/quota/consumption":
                return json_answer(200, {"totalUsage": self._reached})
            case _, path if path.startswith(("/oauth2/", "/liff/")):
                with self._changed:
                    answer = self._login.answer(request)
                if answer is not None:
                    return answer
            case _, path if path.startswith(("/v2/bot/richmenu", "/v2/bot/user/")):
                with self._changed:
                    answer = self._rich_menus.answer(request)
                if answer is not None:
                    return answer
            case "GET", path if profile := _PROFILE.fullmatch(path):
                return self._profile(profile[1])
            case "GET", path if content := _CONTENT.fullmatch(path):
                return self._content(content[1])
        raise RefusedError(404, "Not found")

    def _reply(self, fields: Mapping[str, Any]) -> Answer:
        token = fields.get("replyToken")
        if not isinstance(token, str) or not token:
            raise flawed([("replyToken", "May not be empty")])
        messages = self._valid_messages(fields)
        with self._changed:
            if token in self._spent_tokens:
                raise RefusedError(400, "Invalid reply token")
            self._spent_tokens.add(token)
            return json_answer(200, {"sentMessages": self._deliver([self._token_owners.get(token)], messages, "reply")})

    def _push(self, request: Request, request_id: str) -> Answer:
        fields = fields_of(request)
        recipient = fields.get("to")
        if not isinstance(recipient, str) or not _RECIPIENT.fullmatch(recipient):
            raise invalid_property("'to'")
        messages = self._valid_messages(fields)
        with self._changed:
            self._refuse_accepted(request)
            if self._person(recipient).unknown:
                raise RefusedError(400, "Failed to send messages")
            self._count_reached([recipient])
            sent = {"sentMessages": self._deliver([recipient], messages, "push")}
            self._remember(request, request_id, sent)
        return json_answer(200, sent)

    def _multicast(self, request: Request, request_id: str) -> Answer:
        fields = fields_of(request)
        recipients = fields.get("to")
        if not isinstance(recipients, list) or not 1 <= len(recipients) <= 500:
            raise flawed([("to", "Size must be between 1 and 500")])
        for index, recipient in enumerate(recipients):
            if not isinstance(recipient, str) or not USER.fullmatch(recipient):
                raise invalid_property(f"to[{index}]")
        messages = self._valid_messages(fields)
        with self._changed:
            self._refuse_accepted(request)
            self._count_reached(recipients)
            self._deliver(recipients, messages, "multicast")
            self._remember(request, request_id, {})
        return json_answer(200, {})

    def _valid_messages(self, fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        messages = fields.get("messages")
        if flaws := self._validate(messages):
            raise flawed([(f"messages{path}", message) for path, message in flaws])
        return cast("list[Mapping[str, Any]]", messages)

    def _refuse_accepted(self, request: Request) -> None:
        accepted = self._accepted.get((request.token, request.retry_key))
        if accepted is not None:
            accepted_id, sent = accepted
            raise RefusedError(
                409,
                "The retry key is already accepted",
                {"x-line-accepted-request-id": accepted_id},
                **json.loads(sent),
            )

    def _remember(self, request: Request, request_id: str, sent: dict[str, Any]) -> None:
        if request.retry_key is not None:
            # Two channels may happen to use the same key. As text an answer takes a fourth of the room.
            self._accepted[request.token, request.retry_key] = (request_id, json.dumps(sent))

    def _count_reached(self, recipients: Sequence[str]) -> None:
        reached = sum(self._is_reachable(one) for one in recipients)
        if self._monthly_limit is not None and self._reached + reached > self._monthly_limit:
            raise RefusedError(429, "You have reached your monthly limit.")
        self._reached += reached

    def _deliver(
        self,
        recipients: Sequence[str | None],
        messages: Sequence[Mapping[str, Any]],
        via: Via,
    ) -> list[dict[str, str]]:
        sent = []
        for message in messages:
            self._message_ids += 1
            entry = {"id": str(461230966842064896 + self._message_ids)}
            if message.get("type") in _QUOTABLE:
                entry["quoteToken"] = f"quote-{self._message_ids}"
            sent.append(entry)
        reached = [one for one in recipients if one is None or self._is_reachable(one)]
        ids = [entry["id"] for entry in sent]
        self._deliveries.add(reached, via, list(zip(ids, messages, strict=True)))
        self._changed.notify_all()
        return sent

    def _is_reachable(self, user_id: str) -> bool:
        return user_id not in self._people or self._people[user_id].reachable

    def _person(self, user_id: str) -> Person:
        return self._people.get(user_id, Person())

    def _profile(self, user_id: str) -> Answer:
        if not USER.fullmatch(user_id):
            raise RefusedError(400, "The value for the 'userId' parameter is invalid")
        with self._changed:
            person = self._person(user_id)
        if not person.reachable:
            raise RefusedError(404, "Not found")
        return json_answer(
            200,
            {
                "userId": user_id,
                "displayName": person.display_name or f"Person {user_id[1:7]}",
                "pictureUrl": f"https://profile.example.com/{user_id}",
                "language": "en",
            },
        )

    def _content(self, message_id: str) -> Answer:
        with self._changed:
            answers = self._contents.get(message_id)
            if not answers:
                raise RefusedError(404, "not found")
            content = answers.popleft() if len(answers) > 1 else answers[0]
        if content.status == 200:
            return Answer(200, content.data, {"Content-Type": content.content_type})
        if content.status == 202:
            return json_answer(202, {})
        raise RefusedError(content.status, {404: "not found", 410: "Gone"}.get(content.status, "refused"))

    def _read(self, user: str | None, after: int, wait: float) -> tuple[list[Delivery], int]:
        found: list[Delivery] = []

        def arrived() -> bool:
            nonlocal after
            found.extend(self._deliveries.after(after, user))
            after = max(after, self._deliveries.last)
            return bool(found) or self._closing

        with self._changed:
            self._changed.wait_for(arrived, timeout=min(wait, MAX_WAIT))
            return found, self._deliveries.last

    def _control(self, request: Request) -> Answer:
        if request.method == "GET":
            match request.path:
                case "/_simulator/messages":
                    query = request.query
                    found, last = self._read(
                        query.get("user"), int(query.get("after", "0")), float(query.get("wait", "0"))
                    )
                    return json_answer(200, {"messages": [_delivery_view(one) for one in found], "last": last})
                case "/_simulator/deliveries":
                    times = self.deliveries(int(request.query.get("since", "0")))
                    twice = sorted(user for user, calls in times.items() if calls > 1)
                    return json_answer(200, {"people": len(times), "twice": twice, "last": self.last})
                case "/_simulator/rich-menus":
                    return json_answer(200, {"channels": self.rich_menus})
                case "/_simulator/liff-apps":
                    return json_answer(200, {"channels": self.liff_apps})
                case "/_simulator/calls":
                    return json_answer(200, {"calls": [_call_view(call) for call in self.calls]})
            raise RefusedError(404, "no such control endpoint")
        fields = fields_of(request) if request.body else {}
        match request.path.removeprefix("/_simulator/").split("/"):
            case ["reset"]:
                self.reset()
            case ["users", user_id]:
                self.set_person(user_id, **_snake_case(fields))
            case ["failures"]:
                self.fail(**_snake_case(fields))
            case ["quota"]:
                self.set_quota(fields["limit"], fields.get("used", 0))
            case ["rich-menus", "limit"]:
                self.limit_rich_menus(fields["perHour"])
            case ["login-channels"]:
                self.own_login_channel(fields["id"], fields["secret"])
            case ["id-tokens"]:
                self.own_id_token(**fields)
            case ["reply-tokens"]:
                self.own_reply_token(fields["token"], fields["user"])
            case ["reply-tokens", "expire"]:
                self.expire_reply_tokens(*fields["tokens"])
            case ["contents", message_id]:
                self.script_content(
                    message_id,
                    *(
                        Content(
                            one.get("status", 200),
                            base64.b64decode(one.get("base64", "")),
                            one.get("contentType", "image/jpeg"),
                        )
                        for one in fields["answers"]
                    ),
                )
            case _:
                raise RefusedError(404, "no such control endpoint")
        return json_answer(200, {})


def _flaws_of_messages(messages: object) -> Sequence[tuple[str, str]]:
    # Imported late: a simulator with a validator of its own needs no kernel on its path.
    from kernel.channels.line.validation import flaws_of_messages

    return flaws_of_messages(messages)


def _loading(fields: Mapping[str, Any]) -> Answer:
    chat_id, seconds = fields.get("chatId"), fields.get("loadingSeconds", 20)
    flaws = []
    if not isinstance(chat_id, str) or not USER.fullmatch(chat_id):
        flaws.append(
            (
                "chatId",
                "Only user id is acceptable, please confirm if there are any group/room ids or illegal ids.",
            )
        )
    if type(seconds) is not int or not 5 <= seconds <= 60:
        flaws.append(("loadingSeconds", "Must be between 5 and 60"))
    if type(seconds) is not int or seconds % 5:
        flaws.append(("loadingSeconds", "must be a multiple of five"))
    if flaws:
        raise flawed(flaws)
    return json_answer(202, {})


def _scripted(failure: _Failure) -> Answer:
    if not isinstance(failure.status, int):
        return Answer(failure.status, b"", {})
    message = failure.message or _MESSAGES_OF_STATUS.get(failure.status, "Scripted failure")
    headers = {}
    if failure.status == 429 and failure.retry_after is not None:
        headers["Retry-After"] = str(failure.retry_after)
    return json_answer(failure.status, {"message": message}, headers)


def _snake_case(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), key): fields[key] for key in fields}


def _delivery_view(delivery: Delivery) -> dict[str, Any]:
    return {
        "seq": delivery.seq,
        "user": delivery.user,
        "via": delivery.via,
        "messageId": delivery.message_id,
        "message": delivery.message,
    }


def _call_view(call: Call) -> dict[str, Any]:
    return {
        "requestId": call.request_id,
        "method": call.method,
        "path": call.path,
        "headers": call.headers,
        "body": call.body,
        "status": call.status,
        "retryKey": call.retry_key,
        "token": call.token,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator on a port until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m local.line_simulator", description=main.__doc__)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    port = parser.parse_args(arguments).port
    sys.path.insert(0, str(Path(__file__).parent.parent / "layers" / "kernel" / "python"))
    try:
        simulator = LineSimulator(port=port)
    except OSError as error:
        sys.exit(f"can't listen on port {port}: {error.strerror}")
    with contextlib.suppress(KeyboardInterrupt), simulator:
        print(f"LINE simulator on {simulator.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
