"""Numbers: each given once, however many take them at once."""

import threading

import pytest

from kernel import numbering


@pytest.fixture
def system():
    """The system that keeps sequences."""
    return "membership"


def test_sequences_start_at_one_and_go_on(cloud):
    assert [numbering.take("orders") for _ in range(3)] == [1, 2, 3]
    assert numbering.take("cards") == 1
    assert sorted((row["sequence"], row["last"]) for row in cloud.rows("counters")) == [("cards", 1), ("orders", 3)]


def test_several_are_taken_at_once(cloud):
    assert numbering.take("orders", 10) == 1
    assert numbering.take("orders", 5) == 11
    assert numbering.take("orders") == 16


def test_parallel_takers_get_different_numbers(cloud):
    taken = []
    ready = threading.Barrier(8)

    def work():
        ready.wait()
        for _ in range(20):
            first = numbering.take("orders", 2)
            taken.extend((first, first + 1))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == list(range(1, 321))
