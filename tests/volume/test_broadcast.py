"""A broadcast to 20,000 people, with workers that are killed and in each other's way, and LINE failing."""

import sys
import time
from collections import Counter

from local.broadcast_stage import people
from tests.volume.conftest import FOLLOWERS

MULTICAST = "/v2/bot/message/multicast"


def test_everybody_gets_it_once_whatever_happens(ready, line, capfd):
    line.fail(MULTICAST, 500, every=6, accept=True)
    line.fail(MULTICAST, 500, every=3)
    broadcast = ready.book()
    crew = ready.crew(seed=1, size=6, kills=0.0015, doubles=0.003)

    begun, worked = time.perf_counter(), time.process_time()
    crew.run()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - worked

    assert line.deliveries() == Counter(people(FOLLOWERS))
    row = ready.row(broadcast)
    assert (row.state, row.frozen, row.success, row.failed, row.skipped) == ("done", FOLLOWERS, FOLLOWERS, 0, 0)
    assert ready.outcomes(broadcast) == {"": FOLLOWERS}
    # None of it was an empty threat.
    answers = Counter(call.status for call in line.calls)
    assert answers[500] >= 10
    assert answers[409] >= 5
    assert crew.killed >= 4
    assert crew.doubled >= 3
    figures = {
        "people a second": round(FOLLOWERS / seconds),
        "CPU ms a 1,000 people": round(cpu / FOLLOWERS * 1e6),
        "killed": crew.killed,
        "doubled": crew.doubled,
        "LINE": dict(answers),
        "calls": dict(ready.door.calls),
    }
    with capfd.disabled():
        sys.stdout.write(f"\n{figures}\n")
