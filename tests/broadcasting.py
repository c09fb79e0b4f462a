"""A channel that broadcasts: its people, its queues in memory, and what must hold whatever goes wrong."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from chatbot.events import Event, Said
from chatbot.tables import BroadcastTable, ChunkTable, ConversationTable, FollowerCountTable, UserTable, account_key
from functions.chatbot.answer_event import answer_event
from functions.chatbot.create_account import create_account
from functions.chatbot.get_broadcast_plan import get_broadcast_plan
from functions.chatbot.get_broadcast_progress import get_broadcast_progress
from functions.chatbot.get_broadcast_recipients import get_broadcast_recipients
from functions.chatbot.run_broadcast import run_broadcast
from functions.chatbot.save_scenario import save_scenario
from functions.chatbot.schedule_broadcast import schedule_broadcast
from functions.chatbot.send_broadcast_chunk import send_broadcast_chunk
from functions.chatbot.start_due import start_due
from kernel import clock, running
from kernel.tables import Put, write_all
from local.broadcast_driver import Door, Killed, Queues, handle, workers_by_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.operations import Operation
    from local.line_simulator import LineSimulator
    from tests.conftest import Cloud

WORKERS = (run_broadcast, send_broadcast_chunk, answer_event)
MULTICAST, PUSH = "/v2/bot/message/multicast", "/v2/bot/message/push"


def people(number: int) -> list[str]:
    """Return the first user ids, in order."""
    return [f"U{place:032x}" for place in range(1, number + 1)]


class Channel:
    """A LINE channel with scenarios, followers and broadcasts; AWS and LINE are reached through `door`."""

    def __init__(self, cloud: Cloud, line: LineSimulator, account_id: str = "channel") -> None:
        self.cloud = cloud
        self.line = line
        self.ids = {"adminId": "0001", "accountId": account_id}
        self.partition = account_key("0001", account_id)
        self.queues = Queues()
        self.door = Door(self.queues)
        self._workers = workers_by_queue(WORKERS)
        self._numbers = count(1)

    def create(self) -> None:
        query = f"adminid=0001&accountid={self.ids['accountId']}"
        self.operate(
            create_account,
            accountName="channel",
            accountType="line",
            accountIcon="",
            accountWebhookUrl=f"https://chat.example.com/api/LineMessage/send?{query}",
            accountToken=f"fake-token-{self.ids['accountId']}",
            accountSecret="fake-secret",
            accountClone="",
        )

    def operate(self, operation: Operation, **body: Any) -> Any:
        answer = self.cloud.call(operation, {**self.ids, **body})
        assert answer.status == 200, answer.body
        return answer.body["Result"]

    def refused(self, operation: Operation, **body: Any) -> str:
        answer = self.cloud.call(operation, {**self.ids, **body})
        assert answer.status == 400, answer.body
        return str(answer.body["ErrorMessage"])

    def save(self, scenario_id: str, *nodes: dict[str, Any], **head: Any) -> None:
        scenario = {"scenarioId": scenario_id, "scenarioName": scenario_id, "trigger": "", "keywords": [], **head}
        self.operate(save_scenario, scenario=scenario, nodes=list(nodes))

    def add(self, user_ids: Iterable[str], status: str = "1") -> None:
        """Let people be known, as those who follow (or, with status 0, left) since an hour."""
        at = clock.now() - timedelta(hours=1)
        known = list(user_ids)
        rows = [
            ConversationTable(
                account=self.partition, user_id=user_id, state={}, status=status, status_at=at, follow_time=at,
                access_time=at, user_name=f"name {user_id[-2:]}", user_picture="", profile_at=at, version=1,
                created_at=at,
            )
            for user_id in known
        ]  # fmt: skip
        shown = at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
        listed = [
            UserTable(
                adm_acc_id=self.partition, usrid_acstm=f"#{user_id}#{shown}", user_id=user_id, user_name="",
                user_picture="", account_type="line", account_status=status, node_id="", tags=[], follow_time=at,
                access_time=at, created_at=at,
            )
            for user_id in known
        ]  # fmt: skip
        followers = len(known) if status == "1" else 0
        write_all(map(Put, [*rows, *listed]))
        write_all([Put(FollowerCountTable(account=self.partition, shard=0, followers=followers))])

    def says(self, user_id: str, kind: str, text: str = "") -> None:
        """Let somebody follow, leave or write, this moment."""
        number = next(self._numbers)
        token = f"reply-{number}"
        self.line.own_reply_token(token, user_id)
        said = Said(kind=kind, user_id=user_id, at=clock.now(), text=text, reply_token=token)  # type: ignore[arg-type]
        event = Event(admin_id="0001", account_id=self.ids["accountId"], event_id=f"event-{number}", said=said)
        record = {"messageId": str(number), "receiptHandle": "r", "body": event.model_dump_json(), "attributes": {}}
        assert answer_event({"Records": [record]}, None) == {"batchItemFailures": []}

    def schedule(self, scenario_id: str = "s", **how: Any) -> str:
        """Book a broadcast for now, to everybody unless said otherwise, and return its id."""
        whom = how if {"isSelectAll", "broadcastUsers", "segmentNames"} & set(how) else {"isSelectAll": True}
        known = {row["broadcast_id"] for row in self.cloud.rows("broadcasts")}
        body = {
            "broadcastName": "name",
            "broadcastScenarioId": scenario_id,
            "broadcastScenarioName": "scenario",
            "broadcastStatus": "pending",
            "broadcastTime": clock.now().strftime("%Y-%m-%d %H:%M:%S"),
            "isSelectAll": False,
        }
        self.operate(schedule_broadcast, **{**body, **whom})
        ((broadcast_id),) = {row["broadcast_id"] for row in self.cloud.rows("broadcasts")} - known
        return str(broadcast_id)

    def start(self) -> None:
        """Run the job that starts what is due."""
        start_due({}, None)

    def handle(self, sent: Any) -> bool:
        """Let a worker handle a message; what it took is gone from its queue."""
        took = handle(self._workers, sent)
        if took:
            self.queues.handled(sent)
        return took

    def drain(self, limit: int = 2000) -> None:
        """Handle what is queued until nothing is left."""
        for _ in range(limit):
            ready = self.queues.first()
            if not ready:
                return
            self.handle(ready[0])
        raise AssertionError(f"the queues do not run dry: {[sent.body for sent in self.queues.first()]}")

    def carry_out(self, scenario_id: str = "s", **how: Any) -> str:
        """Book a broadcast, carry it out and return its id."""
        broadcast_id = self.schedule(scenario_id, **how)
        self.start()
        self.drain()
        return broadcast_id

    def at_call(self, number: int, act: Callable[[], None]) -> None:
        """Let something happen before the call with this number, counted from now."""
        numbers = count()

        def before() -> None:
            if next(numbers) == number:
                self.door.before = None
                self.in_between(act)

        self.door.before = before

    def in_between(self, act: Callable[[], None]) -> None:
        """Let something else run while a function is in the middle of its work."""
        # What runs is known to the whole process.
        mine, running._current = running._current, None
        try:
            act()
        finally:
            running._current = mine

    def progress(self, broadcast_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.operate(get_broadcast_progress, broadcastId=broadcast_id)
        return found

    def numbers(self, broadcast_id: str) -> tuple[str, int, int, int, int]:
        """Return state, frozen, success, failed and skipped."""
        found = self.progress(broadcast_id)
        return tuple(found[name] for name in ("state", "frozen", "success", "failed", "skipped"))  # type: ignore[return-value]

    def outcomes(self, broadcast_id: str) -> dict[str, tuple[str, str]]:
        """Return what became of each person, and why."""
        found: dict[str, tuple[str, str]] = {}
        key = None
        while True:
            page = self.operate(get_broadcast_recipients, broadcastId=broadcast_id, lastEvaluatedKey=key)
            found |= {person["userId"]: (person["outcome"], person["reason"]) for person in page["data"]}
            key = page.get("lastEvaluatedKey")
            if key is None:
                return found

    def planned(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.operate(get_broadcast_plan)["data"]
        return found

    def check(self, broadcast_id: str, mark: int, parts: int = 1) -> None:
        """Assert what holds at any moment: the counters are those of the chunks, and nobody got anything twice."""
        row = BroadcastTable.find(self.partition, broadcast_id)
        if row is None:
            return
        chunks = ChunkTable.query(f"{self.partition}#{broadcast_id}", limit=1000, consistent=True).rows
        assert [int(chunk.number) for chunk in chunks] == list(range(int(row.chunks)))
        for name in ("success", "failed", "skipped"):
            assert int(getattr(row, name)) == sum(int(getattr(chunk, name)) for chunk in chunks), name
        sizes = [len(chunk.users["all"] if isinstance(chunk.users, dict) else chunk.users) for chunk in chunks]
        assert int(row.frozen) == sum(sizes)
        assert int(row.frozen) >= int(row.success) + int(row.failed) + int(row.skipped)
        twice = {user: times for user, times in self.line.deliveries(mark).items() if times > parts}
        assert not twice

    def check_over(self, broadcast_id: str, mark: int, audience: Iterable[str] | None = None, parts: int = 1) -> None:
        """Assert what holds at the end: everybody is counted, and who counts as reached was, each once."""
        self.check(broadcast_id, mark, parts)
        state, frozen, *numbers = self.numbers(broadcast_id)
        assert state == "done"
        outcomes = self.outcomes(broadcast_id)
        kinds = Counter(outcome for outcome, _ in outcomes.values())
        assert [kinds[kind] for kind in ("success", "failed", "skipped")] == numbers
        assert frozen == sum(numbers) == len(outcomes)
        if audience is not None:
            assert sorted(outcomes) == sorted(audience)
        reached = self.line.deliveries(mark)
        assert {user for user, times in reached.items() if times == parts} >= {
            user for user, (outcome, _) in outcomes.items() if outcome == "success"
        }
        assert not set(reached) & {user for user, (outcome, _) in outcomes.items() if outcome == "skipped"}
        assert set(reached) <= set(outcomes)


def kill() -> None:
    raise Killed


def waiting_of(channel: Channel, user_id: str) -> dict[str, Any] | None:
    """Return what is awaited of somebody."""
    row = ConversationTable.find(channel.partition, user_id)
    assert row is not None
    found: dict[str, Any] | None = json.loads(json.dumps(row.state)).get("waiting")
    return found
