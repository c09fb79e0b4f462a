"""An embedded DynamoDB inside the test's process, whose calls fail as the test wants and come in the order it chooses.

MiniStack's engine is called without its HTTP, so that a money operation takes milliseconds and a state machine can do
thousands of them; it knows request tokens, as DynamoDB does.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import threading
from datetime import timedelta
from http.client import HTTPMessage
from typing import TYPE_CHECKING, Any, NamedTuple

import membership.tables
from kernel import clock, running, wire
from kernel.tables import Table, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pytest

    from tests.conftest import Cloud

KILLED_BEFORE, KILLED_AFTER = "killed before", "killed after"
UNREACHABLE, LOST, CONFLICT = "unreachable", "lost", "conflict"
# The function is stopped before or after a call; the request or its answer gets lost on the way, which the transport
# notices; another transaction holds the same rows.
ACCIDENTS = (KILLED_BEFORE, KILLED_AFTER, UNREACHABLE, LOST, CONFLICT)


class Killed(BaseException):
    """The function was stopped in the middle; nobody is answered. Not an `Exception`, which operations answer."""


class Fate:
    """Which of a client's calls to AWS, counted over all his attempts, meet with which accident."""

    def __init__(self, accidents: Mapping[int, str] | None = None) -> None:
        self.accidents = dict(accidents or {})
        self.calls = 0
        self.met: list[str] = []

    def next(self) -> str:
        """Return what happens to the next call, '' for nothing."""
        accident = self.accidents.get(self.calls, "")
        self.calls += 1
        return accident


class Bank:
    """The tables of a system, and the door through which its operations reach them."""

    def __init__(self, cloud: Cloud) -> None:
        from ministack.services import dynamodb

        self._engine = dynamodb
        self.tables = {
            *cloud.system.tables,
            *(
                thing
                for thing in vars(membership.tables).values()
                if isinstance(thing, type) and issubclass(thing, Table) and thing.__module__ == "membership.tables"
            ),
        }
        self.turns: Turns | None = None
        # How much time goes by with every call, while the clock stands still otherwise.
        self.tick = timedelta()
        self._fates: dict[int, Fate] = {}
        dynamodb._tables._data.clear()
        dynamodb._txn_idempotency._data.clear()
        for table in self.tables:
            self._ask("CreateTable", {"TableName": table.physical_name(), **schema(table)})

    def open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Send what operations ask of DynamoDB here; nobody waits for anything any more."""
        self._elsewhere = wire.send
        monkeypatch.setattr(wire, "send", self._send)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")

    def snapshot(self) -> Any:
        """Return everything there is, to go back to."""
        return copy.deepcopy(self._engine._tables._data)

    def restore(self, snapshot: Any) -> None:
        """Go back to what there was."""
        self._engine._tables._data.clear()
        self._engine._tables._data.update(copy.deepcopy(snapshot))
        self._engine._txn_idempotency._data.clear()

    def items(self) -> dict[str, list[dict[str, Any]]]:
        """Return every raw row, by table: equal before and after means that nothing was written."""
        return {
            name: [item for rows in table["items"].values() for item in rows.values()]
            for (_, _, name), table in self._engine._tables._data.items()
        }

    def rows(self, table: type[Table]) -> list[Any]:
        """Return all rows of a table."""
        found = self._engine._tables.get(table.physical_name())["items"]
        return [table.of_item(item) for rows in found.values() for item in rows.values()]

    @contextlib.contextmanager
    def fated(self, fate: Fate) -> Iterator[None]:
        """Let what this thread calls meet its fate."""
        self._fates[threading.get_ident()] = fate
        try:
            yield
        finally:
            del self._fates[threading.get_ident()]

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float = 5.0
    ) -> wire.Reply:
        target = headers.get("x-amz-target", "")
        if not target.startswith("DynamoDB"):
            return self._elsewhere(method, url, headers, body, timeout=timeout)
        if self.turns is not None:
            self.turns.wait()
        if self.tick:
            clock._frozen[-1] += self.tick
        fate = self._fates.get(threading.get_ident())
        accident = fate.next() if fate else ""
        if fate and accident and (accident != CONFLICT or target.endswith("TransactWriteItems")):
            fate.met.append(accident)
        match accident:
            case "killed before":
                raise Killed
            case "unreachable":
                raise wire.Unreachable("not there", sent=False)
            case "conflict" if target.endswith("TransactWriteItems"):
                return _reply(400, *_conflict(json.loads(body)))
        reply = _reply(*self._handle(headers, body))
        match accident:
            case "killed after":
                raise Killed
            case "lost":
                raise wire.Unreachable("no answer", sent=True)
        return reply

    def _handle(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        try:
            self._engine.handle_request("POST", "/", headers, body, {}).send(None)
        except StopIteration as done:
            answer: tuple[int, dict[str, str], bytes] = done.value
            return answer
        raise AssertionError("the engine answers at once")

    def _ask(self, action: str, payload: dict[str, Any]) -> None:
        status, _, body = self._handle({"x-amz-target": f"DynamoDB_20120810.{action}"}, json.dumps(payload).encode())
        assert status == 200, body


def _reply(status: int, headers: Mapping[str, Any], body: bytes) -> wire.Reply:
    message = HTTPMessage()
    for name, value in headers.items():
        message[name] = str(value)
    return wire.Reply(int(status), message, body)


def _conflict(request: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    reasons = [{"Code": "None"} for _ in request["TransactItems"]]
    reasons[-1] = {"Code": "TransactionConflict"}
    name = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    return {}, json.dumps({"__type": name, "CancellationReasons": reasons}).encode()


class Turns:
    """Lets one of several threads go on at a time, from one of its calls to AWS to the next; `choices` say which.

    After the last choice they go on in step, each one call, or one after the other.
    """

    def __init__(self, choices: Sequence[int], *, in_step: bool = False) -> None:
        self._choices = list(choices)
        self._in_step = in_step
        self._changed = threading.Condition()
        self._turn: int | None = None
        self._places: dict[int, int] = {}

    def wait(self) -> None:
        """Wait for this thread's turn; what ran in it when it stopped runs in it again."""
        place = self._places.get(threading.get_ident())
        if place is None:
            return
        mine = running._current
        with self._changed:
            self._turn = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn == place)
        running._current = mine

    def run(self, clients: Sequence[Callable[[], Any]]) -> list[Any]:
        """Call all of them at the same time and return what they return."""
        results: list[Any] = [None] * len(clients)
        problems: list[BaseException] = []
        alive = set(range(len(clients)))

        def work(place: int) -> None:
            with self._changed:
                self._places[threading.get_ident()] = place
                self._changed.wait_for(lambda: self._turn == place)
            try:
                results[place] = clients[place]()
            except BaseException as problem:
                problems.append(problem)
            with self._changed:
                alive.discard(place)
                self._turn = None
                self._changed.notify_all()

        threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(len(clients))]
        for thread in threads:
            thread.start()
        turns = itertools.count() if self._in_step else itertools.repeat(0)
        choices = itertools.chain(self._choices, turns)
        while alive:
            going = sorted(alive)
            chosen = going[next(choices) % len(going)]
            with self._changed:
                self._turn = chosen
                self._changed.notify_all()
                if not self._changed.wait_for(lambda: self._turn is None, timeout=60):
                    raise AssertionError("a thread does not come back")
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]
        return results


class Told(NamedTuple):
    """What a client was told in the end, and how often he had to ask."""

    body: dict[str, Any]
    attempts: int


class Client:
    """Somebody who asks until he is answered."""

    def __init__(self, cloud: Cloud, bank: Bank) -> None:
        self.cloud = cloud
        self.bank = bank

    def ask(self, name: str, fields: dict[str, Any], *, token: str, key: str = "", fate: Fate | None = None) -> Told:
        """Call an operation until it answers; an answer that tells nothing is none."""
        (operation,) = [one for one in self.cloud.system.operations if one.name == name]
        headers = {"Idempotency-Key": key} if key else {}
        with self.bank.fated(fate or Fate()):
            for attempt in range(1, 10):
                try:
                    answer = self.cloud.call(operation, {"token": token, **fields}, headers=headers, caller="")
                except Killed:
                    continue
                assert answer.status == 200, answer.body
                return Told(answer.body, attempt)
        raise AssertionError("never answered")
