"""Whatever is done to a broadcast, in any order: nobody gets it twice, nobody is lost, and everybody is counted."""

from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chatbot import broadcast_runs
from infra.discovery import declarations
from kernel import clock
from kernel import settings as kernel_settings
from local.broadcast_driver import Killed
from local.line_simulator import LineSimulator
from tests.broadcasting import MULTICAST, PUSH, Channel, kill, people
from tests.scenarios import NOW, text_node, user_reply

FUNCTIONS = {function.name: function for function in declarations("chatbot").functions}
PEOPLE = people(5)
SIX = [text_node(str(number), next=str(number + 1) if number < 5 else "") for number in range(6)]
# What is sent, and in how many calls to each person.
WAYS = {
    "common": (SIX, 2),
    "recorded": ([text_node("ask", userAction=user_reply("answer"))], 1),
    "personal": ([text_node("one", "{{answer}}你好")], 1),
}
SIZES = {
    "PEOPLE_A_SLICE": 3, "PERSONS_A_SLICE": 3, "PEOPLE_A_CHUNK": 2, "PERSONS_A_CHUNK": 2, "CHUNKS_A_DISPATCH": 2,
    "CHUNKS_A_SETTLEMENT": 1, "_WRITERS": 1,
}  # fmt: skip
PICK = st.integers(0, 30)


class Accidents(RuleBasedStateMachine):
    """One broadcast to five people, in slices of three and chunks of two."""

    cloud = None
    line = None
    numbers = count(1)

    @initialize(way=st.sampled_from(sorted(WAYS)))
    def book(self, way):
        nodes, self.parts = WAYS[way]
        self.moment = NOW
        self.channel = Channel(self.cloud, self.line, f"channel-{next(self.numbers)}")
        self.channel.door.__enter__()
        self.channel.create()
        self.channel.add(PEOPLE)
        self.channel.save("s", *nodes)
        # Another example's failures are over.
        self.line.reset()
        self.mark = self.line.last
        self.broadcast = self.channel.schedule()
        self.last = None
        self.gone = False
        self.at(self.channel.start)

    def teardown(self):
        if not hasattr(self, "broadcast"):
            return
        try:
            self.at(self.finish)
        finally:
            self.channel.door.before = None
            self.channel.door.__exit__(None, None, None)

    def finish(self):
        if not self.gone and self.channel.progress(self.broadcast)["state"] == "paused":
            self.channel.operate(FUNCTIONS["resume_broadcast"], broadcastId=self.broadcast)
        for _ in range(3):
            self.channel.start()
            self.channel.drain()
        if self.gone:
            assert self.line.last == self.mark
        else:
            self.channel.check_over(self.broadcast, self.mark, parts=self.parts)

    def at(self, act):
        """Do something at the present moment of the example."""
        with clock.frozen(self.moment):
            act()

    def handle(self, sent):
        try:
            self.channel.handle(sent)
        except Killed:
            pass
        finally:
            self.channel.door.before = None
        self.last = sent

    def next(self, pick):
        ready = self.channel.queues.first()
        return ready[pick % len(ready)] if ready else None

    @rule(pick=PICK)
    def a_message_is_handled(self, pick):
        if sent := self.next(pick):
            self.at(lambda: self.handle(sent))

    @rule(pick=PICK, number=st.integers(0, 25))
    def a_worker_is_killed(self, pick, number):
        if sent := self.next(pick):
            self.channel.at_call(number, kill)
            self.at(lambda: self.handle(sent))

    @rule(pick=PICK, number=st.integers(0, 25))
    def two_workers_handle_the_same(self, pick, number):
        if sent := self.next(pick):
            self.channel.at_call(number, lambda: self.channel.handle(sent))
            self.at(lambda: self.handle(sent))

    @rule()
    def a_message_comes_again(self):
        if self.last is not None:
            self.at(lambda: self.handle(self.last))

    @rule()
    def the_job_runs(self):
        self.at(self.channel.start)

    @rule(
        path=st.sampled_from([MULTICAST, PUSH]),
        status=st.sampled_from([500, 429, "closed", 400]),
        accept=st.booleans(),
        times=st.integers(1, 3),
    )
    def line_fails(self, path, status, accept, times):
        # What LINE refuses it has not accepted.
        self.line.fail(path, status, accept=accept and status != 400, times=times)

    @rule(user=st.sampled_from(PEOPLE), follows=st.booleans())
    def somebody_leaves_or_comes_back(self, user, follows):
        self.moment += timedelta(seconds=1)
        self.at(lambda: self.channel.says(user, "follow" if follows else "unfollow"))

    @rule(user=st.sampled_from(PEOPLE))
    def somebody_writes(self, user):
        self.moment += timedelta(seconds=1)
        self.at(lambda: self.channel.says(user, "text", "hello"))

    @rule(
        name=st.sampled_from(["pause_broadcast", "resume_broadcast", "stop_broadcast", "delete_broadcast"]),
        number=st.none() | st.integers(0, 6),
    )
    def the_operator_changes_his_mind(self, name, number):
        if number is not None:
            self.channel.at_call(number, kill)
        body = {"broadcastIds": [self.broadcast]} if name == "delete_broadcast" else {"broadcastId": self.broadcast}
        with clock.frozen(self.moment):
            try:
                answer = self.cloud.call(FUNCTIONS[name], {**self.channel.ids, **body})
                assert answer.status in (200, 400), answer.body
            except Killed:
                pass
            self.channel.door.before = None
            listed = self.channel.cloud.rows("broadcasts")
        self.gone = self.broadcast not in {row["broadcast_id"] for row in listed}

    @rule(minutes=st.sampled_from([1, 6, 26 * 60]))
    def time_passes(self, minutes):
        self.moment += timedelta(minutes=minutes)
        if minutes > 24 * 60:
            # LINE keeps retry keys for a day.
            self.line._accepted.clear()

    @invariant()
    def what_was_counted_was_done_once(self):
        if hasattr(self, "broadcast"):
            self.at(lambda: self.channel.check(self.broadcast, self.mark, self.parts))


@pytest.fixture
def line(cloud, monkeypatch):
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        kernel_settings.settings.cache_clear()
        yield simulator


def test_a_broadcast_bears_all_accidents_in_any_order(cloud, line, monkeypatch):
    for name, size in SIZES.items():
        monkeypatch.setattr(broadcast_runs, name, size)

    class There(Accidents):
        pass

    There.cloud, There.line, There.numbers = cloud, line, count(1)
    run_state_machine_as_test(
        There,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
