"""Broadcasts from the due list to LINE: what each way sends, and that nothing breaks the promise.

Nobody gets a broadcast twice, nobody is lost, and at the end everybody is counted.
"""

import dataclasses
import random
from datetime import timedelta
from itertools import count

import pytest
from moto.backends import get_backend

from chatbot import broadcast_runs
from infra.discovery import declarations
from kernel import clock, settings
from local.broadcast_driver import Crew, Killed
from local.line_simulator import LineSimulator
from tests.broadcasting import MULTICAST, PUSH, WORKERS, Channel, kill, people, waiting_of
from tests.scenarios import RED, condition_node, flex_node, text_node, user_reply

FUNCTIONS = {function.name: function for function in declarations("chatbot").functions}
PEOPLE = people(12)
SIZES = {
    "PEOPLE_A_SLICE": 8, "PERSONS_A_SLICE": 8, "PEOPLE_A_CHUNK": 4, "PERSONS_A_CHUNK": 4, "CHUNKS_A_DISPATCH": 2,
    "CHUNKS_A_SETTLEMENT": 2, "_WRITERS": 1,
}  # fmt: skip
COMMON = [text_node("hello", next="two"), text_node("two")]
RECORDED = [text_node("ask", next="thanks", userAction=user_reply("answer")), text_node("thanks")]
PERSONAL = [text_node("one", "{{answer}}你好")]
WAYS = {"common": COMMON, "recorded": RECORDED, "personal": PERSONAL}


@pytest.fixture
def line(cloud, monkeypatch):
    with LineSimulator() as simulator:
        monkeypatch.setenv("LINE_API_ENDPOINT", simulator.url)
        settings.settings.cache_clear()
        yield simulator


@pytest.fixture
def channel(cloud, line, monkeypatch):
    """A channel with 12 followers, whom a broadcast freezes in two slices and sends to in three chunks."""
    for name, size in SIZES.items():
        monkeypatch.setattr(broadcast_runs, name, size)
    made = Channel(cloud, line)
    with made.door:
        made.create()
        made.add(PEOPLE)
        yield made


@pytest.fixture(params=WAYS)
def way(channel, request):
    channel.save("s", *WAYS[request.param])
    return request.param


def waiting_chunks(channel):
    return [sent for sent in channel.queues.first() if sent.queue.endswith("broadcast-chunks.fifo")]


def texts(line, user, mark=0):
    return [delivery.message["text"] for delivery in line.messages(user, after=mark)]


class TestWays:
    def test_everybody_gets_the_same_messages_in_few_calls(self, channel, line):
        channel.save("s", *COMMON)

        broadcast = channel.carry_out()

        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.numbers(broadcast) == ("done", 12, 12, 0, 0)
        assert [call.path for call in line.calls] == [MULTICAST] * 3
        assert {user: texts(line, user) for user in PEOPLE} == {user: ["hello", "two"] for user in PEOPLE}
        assert channel.cloud.rows("turns") == []

    def test_what_is_asked_of_everybody_is_awaited_of_everybody(self, channel, line):
        channel.save("s", *RECORDED)

        broadcast = channel.carry_out()
        channel.says(PEOPLE[3], "text", "fine")

        assert channel.numbers(broadcast) == ("done", 12, 12, 0, 0)
        assert [call.path for call in line.calls[:3]] == [MULTICAST] * 3
        assert texts(line, PEOPLE[3]) == ["ask", "thanks"]
        assert waiting_of(channel, PEOPLE[3]) is None
        assert waiting_of(channel, PEOPLE[4])["nodeId"] == "ask"

    def test_tags_are_recorded_of_everybody(self, channel, line):
        channel.save("s", text_node("hello", nodeTag=[{"name": "got it", "color": RED}]))

        channel.carry_out()

        assert ["got it" in row["tags"] for row in channel.cloud.rows("userlist")] == [True] * 12
        assert [call.path for call in line.calls] == [MULTICAST] * 3

    def test_everybody_gets_his_own_messages(self, channel, line):
        channel.save("ask", *RECORDED, trigger="keyword", keywords=["ask"])
        channel.save("s", *PERSONAL)
        channel.says(PEOPLE[0], "text", "ask")
        channel.says(PEOPLE[0], "text", "Ann")
        mark = line.last

        broadcast = channel.carry_out()

        channel.check_over(broadcast, mark, PEOPLE)
        assert texts(line, PEOPLE[0], mark) == ["Ann你好"]
        assert texts(line, PEOPLE[1], mark) == ["你好"]

    def test_a_condition_decides_for_each(self, channel, line):
        channel.save("s", condition_node("c", next="hello"), text_node("hello", sort=2))

        broadcast = channel.carry_out()

        channel.check_over(broadcast, 0, PEOPLE)
        assert [call.path for call in line.calls] == [PUSH] * 12

    def test_more_than_five_messages_take_two_calls_a_chunk(self, channel, line):
        numbers = [str(number) for number in range(7)]
        channel.save("s", *(text_node(one, next=after) for one, after in zip(numbers, [*numbers[1:], ""], strict=True)))

        broadcast = channel.carry_out()

        channel.check_over(broadcast, 0, PEOPLE, parts=2)
        assert texts(line, PEOPLE[7]) == numbers
        assert len(line.calls) == 6

    def test_a_scenario_that_says_nothing_reaches_nobody(self, channel, line):
        channel.save("s")

        broadcast = channel.carry_out()

        assert channel.numbers(broadcast) == ("done", 12, 0, 12, 0)
        assert channel.progress(broadcast)["reason"] == broadcast_runs.NOTHING
        assert channel.cloud.rows("pushes") == []
        assert line.calls == []

    def test_a_variable_in_a_title_makes_it_personal(self, channel, line):
        channel.save("s", flex_node("a", title="Hi {{name}}"))

        broadcast = channel.carry_out()

        assert channel.numbers(broadcast) == ("done", 12, 12, 0, 0)
        assert {call.path for call in line.calls} == {"/v2/bot/message/push"}


class TestWhoIsReached:
    def test_who_left_between_freezing_and_sending_is_skipped(self, channel, line, way):
        broadcast = channel.schedule()
        channel.start()
        while channel.progress(broadcast)["state"] != "sending":
            channel.handle(channel.queues.first()[0])
        channel.says(PEOPLE[5], "unfollow")

        channel.drain()

        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.numbers(broadcast) == ("done", 12, 11, 0, 1)
        assert channel.outcomes(broadcast)[PEOPLE[5]] == ("skipped", "does not follow")

    def test_who_leaves_while_his_own_message_is_made_is_skipped(self, channel, line):
        channel.save("s", *PERSONAL)
        broadcast = channel.schedule()
        channel.start()
        while not (chunks := waiting_chunks(channel)):
            channel.handle(channel.queues.first()[0])
        left = []

        def leave():
            # Whom the chunk is for is fixed, and nobody has got anything yet.
            if line.calls:
                channel.door.before = None
                left.append(PEOPLE[3])
                channel.in_between(lambda: channel.says(PEOPLE[3], "unfollow"))

        channel.door.before = leave
        channel.handle(chunks[0])
        channel.drain()

        assert left
        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.outcomes(broadcast)[PEOPLE[3]] == ("skipped", "does not follow")

    def test_who_is_picked_and_unknown_is_skipped_and_who_is_no_line_user_fails(self, channel, line, way):
        unknown = "U" + "f" * 32
        picked = [PEOPLE[0], "Rex", unknown]

        broadcast = channel.carry_out(broadcastUsers=[{"userId": user} for user in picked])

        channel.check_over(broadcast, 0, picked)
        assert channel.numbers(broadcast) == ("done", 3, 1, 1, 1)
        assert channel.outcomes(broadcast) == {
            PEOPLE[0]: ("success", ""),
            "Rex": ("failed", "is no LINE user id"),
            unknown: ("skipped", "does not follow"),
        }

    def test_an_empty_audience_is_done_at_once(self, channel, line):
        channel.save("s", *COMMON)
        channel.add(PEOPLE, status="0")

        broadcast = channel.carry_out()

        channel.check_over(broadcast, 0, [])
        assert line.calls == []

    def test_the_last_slice_may_be_empty(self, channel, line):
        channel.save("s", *COMMON)

        broadcast = channel.carry_out(broadcastUsers=[{"userId": user} for user in PEOPLE[:8]])

        channel.check_over(broadcast, 0, PEOPLE[:8])

    def test_a_scenario_deleted_before_the_start_fails_for_everybody(self, channel, line, way):
        broadcast = channel.schedule()
        channel.operate(FUNCTIONS["delete_scenario"], scenarioId="s")

        channel.start()
        channel.drain()

        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.numbers(broadcast) == ("done", 12, 0, 12, 0)
        assert set(channel.outcomes(broadcast).values()) == {("failed", "the scenario is gone")}
        assert line.calls == []

    @pytest.mark.parametrize("deleted", [False, True])
    def test_what_is_saved_after_the_start_changes_nothing(self, channel, line, way, deleted):
        broadcast = channel.schedule()
        channel.start()
        channel.handle(channel.queues.first()[0])
        if deleted:
            channel.operate(FUNCTIONS["delete_scenario"], scenarioId="s")
        else:
            channel.save("s", text_node("new"))

        channel.drain()

        channel.check_over(broadcast, 0, PEOPLE)
        said = {"common": ["hello", "two"], "recorded": ["ask"], "personal": ["你好"]}[way]
        assert {user: texts(line, user) for user in PEOPLE} == dict.fromkeys(PEOPLE, said)

    def test_a_user_who_writes_meanwhile_keeps_his_answer(self, channel, line):
        channel.save("s", *RECORDED)
        broadcast = channel.schedule()
        channel.start()
        while not line.calls:
            channel.handle(channel.queues.first()[0])
        first = next(user for user in PEOPLE if texts(line, user))

        channel.says(first, "text", "at once")
        channel.drain()

        assert channel.numbers(broadcast) == ("done", 12, 12, 0, 0)
        assert texts(line, first) == ["ask", "thanks"]
        assert waiting_of(channel, first) is None
        assert [texts(line, user) for user in PEOPLE if user != first] == [["ask"]] * 11


class TestLine:
    def test_who_is_refused_in_a_chunk_fails_alone(self, channel, line):
        channel.save("s", *COMMON)
        # The first chunk, its first half, and the first of that.
        line.fail(MULTICAST, 400, times=3)

        broadcast = channel.carry_out()

        channel.check_over(broadcast, 0, PEOPLE)
        outcomes = channel.outcomes(broadcast)
        (failed,) = [user for user in PEOPLE if outcomes[user][0] == "failed"]
        assert outcomes[failed][1].startswith("the channel answered 400")
        assert channel.numbers(broadcast) == ("done", 12, 11, 1, 0)

    @pytest.mark.parametrize("number", range(5))
    def test_a_refused_call_is_not_made_again_after_a_crash(self, channel, line, number):
        channel.save("s", *COMMON)
        broadcast = channel.schedule()
        channel.start()
        while not (chunks := waiting_chunks(channel)):
            channel.handle(channel.queues.first()[0])
        line.fail(MULTICAST, 400, times=2)
        asked = len(line.calls)

        def before():
            if len(line.calls) - asked > number:
                channel.door.before = None
                raise Killed

        channel.door.before = before
        try:
            channel.handle(chunks[0])
        except Killed:
            pass
        finally:
            channel.door.before = None
        channel.drain()

        channel.check_over(broadcast, 0, PEOPLE)

    @pytest.mark.parametrize("accept", [False, True])
    @pytest.mark.parametrize("status", [500, "closed", 429])
    def test_what_fails_is_sent_once_in_the_end(self, channel, line, way, status, accept):
        line.fail("*", status, every=3, accept=accept, times=8)

        broadcast = channel.carry_out()

        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.numbers(broadcast) == ("done", 12, 12, 0, 0)

    def test_line_says_when_to_come_back(self, channel, line, monkeypatch):
        channel.save("s", *COMMON)
        line.fail(MULTICAST, 429, times=1, retry_after=77)
        asked = []
        queue = FUNCTIONS["send_broadcast_chunk"].queue
        monkeypatch.setattr(type(queue), "return_in", lambda *given: asked.append(given[2]))

        channel.carry_out()

        assert asked == [77]

    def test_the_months_quota_is_not_waited_for(self, channel, line, way):
        # Enough for the first chunk; the others find less than they need.
        line.set_quota(100, used=100 - 4)

        broadcast = channel.carry_out()

        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.numbers(broadcast) == ("done", 12, 4, 8, 0)
        reasons = {reason for outcome, reason in channel.outcomes(broadcast).values() if outcome == "failed"}
        assert reasons == {"the month's quota is used up"}

    def test_a_quota_that_is_too_small_for_a_chunk_is_not_waited_for(self, channel, line):
        channel.save("s", *COMMON)
        line.set_quota(6)

        broadcast = channel.carry_out()

        assert channel.numbers(broadcast) == ("done", 12, 4, 8, 0)

    def test_a_channel_that_never_answers_is_given_up(self, channel, line, way, monkeypatch):
        monkeypatch.setattr(broadcast_runs, "CHUNKS", dataclasses.replace(broadcast_runs.CHUNKS, attempts=4))
        line.fail("*", 500, every=1, times=10_000)

        broadcast = channel.carry_out()

        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.numbers(broadcast) == ("done", 12, 0, 12, 0)
        assert {reason for _, reason in channel.outcomes(broadcast).values()} == {"the channel did not answer"}

    def test_a_token_that_line_does_not_know_may_be_mended(self, channel, line):
        channel.save("s", *COMMON)
        line.fail(MULTICAST, 401, times=5)

        broadcast = channel.carry_out()

        assert channel.numbers(broadcast) == ("done", 12, 12, 0, 0)


SIX = [text_node(str(number), next=str(number + 1) if number < 5 else "") for number in range(6)]
# Long enough for two calls a chunk.
TRIED = {"common": (SIX, 2), "recorded": (RECORDED, 1), "personal": (PERSONAL, 1)}


class Trial:
    """A broadcast that is carried out again and again, with something else going wrong each time."""

    def __init__(self, channel, way, monkeypatch):
        self.channel = channel
        self.line = channel.line
        nodes, self.parts = TRIED[way]
        channel.save("s", *nodes)
        self.people = PEOPLE[:3]
        self.picked = [{"userId": user} for user in self.people]
        for name in ("PEOPLE_A_SLICE", "PERSONS_A_SLICE", "PEOPLE_A_CHUNK", "PERSONS_A_CHUNK"):
            monkeypatch.setattr(broadcast_runs, name, 2)

    def runs(self):
        """Yield the number of a call and a new broadcast that nothing has happened to, while there are such calls."""
        for number in count():
            self.forget()
            self.mark = self.line.last
            self.happened = False
            self.sent = None
            self.broadcast = self.channel.schedule(broadcastUsers=self.picked)
            yield number
            if not self.happened:
                assert number > 25
                return

    def forget(self):
        # moto copies whole tables for each transaction.
        for _, _, backend in get_backend("dynamodb").iter_backends():
            for name in ("broadcasts", "broadcast-chunks", "recipients", "audit", "turns"):
                backend.tables[settings.resource_name(name)].items.clear()

    def go(self, number, act):
        """Carry the broadcast out; before the call with this number something happens, once."""

        def happen():
            self.happened = True
            act()

        self.channel.at_call(number, happen)
        self.until_it_succeeds(self.channel.start)
        self.drain()
        self.channel.door.before = None

    def drain(self):
        while ready := self.channel.queues.first():
            self.sent = ready[0]
            try:
                self.channel.handle(self.sent)
            except Killed:
                self.channel.check(self.broadcast, self.mark, self.parts)

    def until_it_succeeds(self, act):
        try:
            act()
        except Killed:
            act()

    def again(self):
        """Let a second worker do what the first one is doing."""
        if self.sent is None:
            self.channel.start()
        else:
            self.channel.handle(self.sent)

    def over(self):
        self.channel.check_over(self.broadcast, self.mark, self.people, self.parts)

    def reached_all(self):
        self.over()
        number = len(self.people)
        assert self.channel.numbers(self.broadcast) == ("done", number, number, 0, 0)


@pytest.fixture
def trial(channel, monkeypatch):
    return Trial(channel, "common", monkeypatch)


class TestAccidents:
    """At every single call of a run, one after the other."""

    @pytest.mark.parametrize("way", TRIED)
    def test_a_worker_that_is_killed_is_made_up_for(self, channel, monkeypatch, way):
        trial = Trial(channel, way, monkeypatch)
        for number in trial.runs():
            trial.go(number, kill)
            trial.reached_all()

    @pytest.mark.parametrize("way", TRIED)
    def test_a_second_worker_does_no_harm(self, channel, monkeypatch, way):
        trial = Trial(channel, way, monkeypatch)
        for number in trial.runs():
            trial.go(number, trial.again)
            trial.reached_all()

    def test_paused_at_any_moment_it_stands_still_and_goes_on(self, trial):
        channel = trial.channel

        def pause():
            if channel.progress(trial.broadcast)["state"] in ("freezing", "sending"):
                channel.operate(FUNCTIONS["pause_broadcast"], broadcastId=trial.broadcast)

        for number in trial.runs():
            trial.go(number, pause)
            if channel.progress(trial.broadcast)["state"] == "paused":
                calls = len(trial.line.calls)
                trial.drain()
                assert len(trial.line.calls) == calls
                channel.operate(FUNCTIONS["resume_broadcast"], broadcastId=trial.broadcast)
                trial.drain()
            trial.reached_all()

    def test_paused_and_resumed_at_once_it_reaches_everybody(self, trial):
        def hesitate():
            if trial.channel.progress(trial.broadcast)["state"] in ("freezing", "sending"):
                trial.channel.operate(FUNCTIONS["pause_broadcast"], broadcastId=trial.broadcast)
                trial.channel.operate(FUNCTIONS["resume_broadcast"], broadcastId=trial.broadcast)

        for number in trial.runs():
            trial.go(number, hesitate)
            trial.reached_all()

    def test_stopped_at_any_moment_everybody_is_sent_to_or_skipped(self, trial):
        skipped = set()

        def stop():
            if trial.channel.progress(trial.broadcast)["state"] in ("freezing", "sending"):
                trial.channel.operate(FUNCTIONS["stop_broadcast"], broadcastId=trial.broadcast)

        for number in trial.runs():
            trial.go(number, stop)
            trial.channel.check_over(trial.broadcast, trial.mark, parts=trial.parts)
            outcomes = set(trial.channel.outcomes(trial.broadcast).values())
            assert outcomes <= {("success", ""), ("skipped", "the broadcast was stopped")}
            skipped.add(trial.channel.numbers(trial.broadcast)[4])
        assert skipped >= {0, 3}

    def test_deleted_at_any_moment_it_vanishes_or_is_stopped(self, trial):
        vanished = 0

        def delete():
            if trial.channel.progress(trial.broadcast)["state"] != "done":
                trial.channel.operate(FUNCTIONS["delete_broadcast"], broadcastIds=[trial.broadcast])

        for number in trial.runs():
            trial.go(number, delete)
            if trial.broadcast in {row["broadcast_id"] for row in trial.channel.cloud.rows("broadcasts")}:
                trial.channel.check_over(trial.broadcast, trial.mark, parts=trial.parts)
            else:
                vanished += 1
                assert trial.line.last == trial.mark
            assert trial.channel.cloud.rows("due") == [] or trial.channel.start() is None
        assert vanished

    @pytest.mark.parametrize("name", ["resume_broadcast", "stop_broadcast", "delete_broadcast"])
    def test_a_call_that_breaks_off_is_made_up_for(self, trial, name):
        channel = trial.channel
        field = {"broadcastIds": [...]} if name == "delete_broadcast" else {"broadcastId": ...}
        broken = 0
        for number in range(8):
            trial.forget()
            trial.mark = trial.line.last
            trial.broadcast = channel.schedule(broadcastUsers=trial.picked)
            channel.start()
            channel.handle(channel.queues.first()[0])
            channel.operate(FUNCTIONS["pause_broadcast"], broadcastId=trial.broadcast)
            trial.drain()
            body = {key: trial.broadcast if value is ... else [trial.broadcast] for key, value in field.items()}
            channel.at_call(number, kill)
            try:
                channel.operate(FUNCTIONS[name], **body)
            except Killed:
                broken += 1
            channel.door.before = None
            if channel.progress(trial.broadcast)["state"] == "paused":
                channel.operate(FUNCTIONS[name], **body)
            channel.start()
            trial.drain()
            channel.check_over(trial.broadcast, trial.mark, parts=trial.parts)
        assert broken > 3

    @pytest.mark.parametrize("seed", range(4))
    def test_messages_that_come_twice_and_out_of_order_do_no_harm(self, channel, line, way, seed):
        chance = random.Random(seed)
        broadcast = channel.schedule()
        channel.start()
        channel.start()
        while ready := channel.queues.first():
            sent = chance.choice(ready)
            assert channel.handle(sent)
            assert channel.handle(sent)
            channel.check(broadcast, 0)

        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.numbers(broadcast) == ("done", 12, 12, 0, 0)

    @pytest.mark.parametrize("seed", range(4))
    def test_workers_in_each_others_way(self, channel, line, way, seed):
        crew = Crew(channel.queues, channel.door, WORKERS, seed=seed, size=3, kills=0.03, doubles=0.1)
        line.fail(MULTICAST, 500, every=4, accept=True, times=3)
        line.fail(PUSH, 500, every=5, accept=True, times=4)
        broadcast = channel.schedule()
        channel.start()

        crew.run()

        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.numbers(broadcast) == ("done", 12, 12, 0, 0)

    def test_what_line_may_have_forgotten_is_not_sent_again(self, channel, line, way):
        line.fail("*", 500, accept=True, times=1)
        broadcast = channel.schedule()
        channel.start()
        while not line.calls:
            channel.handle(channel.queues.first()[0])
        user = min(line.deliveries())
        # LINE keeps retry keys for a day.
        line._accepted.clear()

        with clock.frozen(clock.now() + timedelta(days=1)):
            channel.drain()

        channel.check_over(broadcast, 0, PEOPLE)
        assert channel.outcomes(broadcast)[user] == ("failed", "the channel did not answer")
