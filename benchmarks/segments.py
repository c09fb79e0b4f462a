"""How fast segments are evaluated; `python -m benchmarks.segments 200000` prints its part of the README."""

from __future__ import annotations

import base64
import json
import statistics
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from benchmarks.peers import interpreted_conditions
from benchmarks.people import PARTITION, Follower, conversation_pages, followers
from benchmarks.rules import RULES, Rule
from benchmarks.transport import Transport
from chatbot.audiences import Audience
from chatbot.conditions import Subject, compiled
from chatbot.tables import ConversationTable, SegmentTable

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
_COLUMNS = (
    "{user_id: 'VARCHAR', follow_time: 'TIMESTAMP', tags: 'STRUCT(name VARCHAR, color VARCHAR, value VARCHAR)[]',"
    " variables: 'STRUCT(age VARCHAR, city VARCHAR, gender VARCHAR, points VARCHAR, email VARCHAR, note VARCHAR)'}"
)
Way = tuple[str, "Callable[[], list[str]]"]


def _medians(ways: list[Way], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the CPU seconds of each way, run in turn; all must choose the same people."""
    spent: dict[str, list[float]] = {title: [] for title, _ in ways}
    for _ in range(rounds):
        answers = []
        for title, way in ways:
            begun = time.process_time()
            answers.append(way())
            spent[title].append(time.process_time() - begun)
        if any(sorted(answer) != sorted(answers[0]) for answer in answers):
            raise SystemExit(f"they differ: {[len(answer) for answer in answers]} people")
        if not answers[0]:
            raise SystemExit("the rule chooses nobody")
    return {title: statistics.median(seconds) for title, seconds in spent.items()}


def _exported(people: list[Follower], folder: Path) -> tuple[Path, Path]:
    """Write the records as an export would be: JSON lines, and Parquet."""
    lines, parquet = folder / "people.jsonl", folder / "people.parquet"
    with lines.open("w", encoding="utf-8") as file:
        for person in people:
            moment = person.follow_time.replace(tzinfo=None).isoformat()
            file.write(json.dumps(person._replace(follow_time=moment)._asdict(), ensure_ascii=False) + "\n")  # type: ignore[arg-type]
    duckdb.sql(f"COPY ({_read(lines)}) TO '{parquet}' (FORMAT parquet)")
    return lines, parquet


def _read(lines: Path) -> str:
    return f"SELECT * FROM read_json('{lines}', format = 'newline_delimited', columns = {_COLUMNS})"


def _ways(
    rule: Rule, people: list[Follower], subjects: list[tuple[str, Subject]], files: tuple[Path, Path]
) -> list[Way]:
    lines, parquet = files

    def by_conditions() -> list[str]:
        test = compiled(rule.conditions)
        return [user_id for user_id, subject in subjects if test(subject)]

    def interpreted() -> list[str]:
        holds = interpreted_conditions.all_hold
        return [person.user_id for person in people if holds(rule.conditions, person)]

    def queried(source: str) -> list[str]:
        found = duckdb.execute(f"SELECT user_id FROM ({source}) WHERE {rule.sql}").fetchall()
        return [user_id for (user_id,) in found]

    return [
        ("compiled", by_conditions),
        ("by hand", lambda: rule.by_hand(people)),
        ("interpreted", interpreted),
        ("DuckDB, Parquet", lambda: queried(f"SELECT * FROM '{parquet}'")),
        ("DuckDB, JSON lines", lambda: queried(_read(lines))),
    ]


def _subject(person: Follower) -> Subject:
    return Subject(person.tags, lambda name: person.variables.get(name, ""), person.follow_time)


def _walks(rule: Rule, pages: list[bytes]) -> list[Way]:
    segment = SegmentTable(account=PARTITION, segment_id="s", mode="Conditions", is_default=False, members=0)
    segment.conditions = rule.conditions

    def walk() -> list[str]:
        def vault(_: str) -> Any:
            raise AssertionError("nothing is encrypted")

        with Transport(pages):
            audience = Audience(PARTITION, everyone=False, segments=[segment], user_ids=[], vault=vault)
            return [person.user_id for person in audience.people()]

    def parsed_only() -> list[str]:
        """Do the least that any way must: read the pages, inflate the states."""
        for page in pages:
            for item in json.loads(page):
                json.loads(zlib.decompress(base64.b64decode(item["state"]["B"])))
        return chosen

    def models() -> list[str]:
        found = []
        for page in pages:
            for item in json.loads(page):
                row = ConversationTable.of_item(item)
                variables = row.state["variables"]
                person = Follower(row.user_id, row.state["tags"], variables, row.follow_time)
                if row.status == "1" and interpreted_conditions.all_hold(rule.conditions, person):
                    found.append(row.user_id)
        return found

    chosen = walk()
    return [("walk of an audience", walk), ("parsing alone", parsed_only), ("a model a row, interpreted", models)]


def _row(title: str, count: int, seconds: float, base: float) -> str:
    return f"| {title} | {count / seconds:,.0f} | {seconds * 1e6 / count:.2f} | {seconds / base:.2f} |"


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1])
    people = followers(count)
    subjects = [(person.user_id, _subject(person)) for person in people]
    duckdb.sql("SET threads = 1")
    print(f"## Segments: {count:,} users\n")
    print("CPU on one thread, records in memory; DuckDB (one thread) reads files that were written before. All ways")
    print("choose the same people. Ratio: CPU beside the compiled conditions.\n")
    with tempfile.TemporaryDirectory() as folder:
        files = _exported(people, Path(folder))
        for rule in RULES:
            spent = _medians(_ways(rule, people, subjects, files))
            print(f"| {rule.title} | records/s | µs a record | ratio |\n|---|---|---|---|")
            for title, seconds in spent.items():
                print(_row(title, count, seconds, spent["compiled"]))
            print()
    pages = conversation_pages(people)
    size = sum(map(len, pages)) / len(people)
    del people, subjects
    spent = _medians(_walks(RULES[0], pages), rounds=3)
    print(
        f"From DynamoDB's answers (pages of 1,000 rows of {size:.0f} bytes, states deflated; canned, so that only our"
    )
    print("CPU counts), for a tag and a number:\n")
    print("| | rows/s | µs a row | ratio |\n|---|---|---|---|")
    for title, seconds in spent.items():
        print(_row(title, count, seconds, spent["walk of an audience"]))


if __name__ == "__main__":
    main()
