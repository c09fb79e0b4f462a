"""Imports of another kind than the systems': plain words, each of which may be learnt once."""

import csv
import io
import tracemalloc
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, StringConstraints
from pynamodb.attributes import UnicodeAttribute

from kernel import files, imports
from kernel.audit import AuditTable, digest
from kernel.errors import Conflict, Invalid, NotFound
from kernel.imports import FILES, IMPORTS, ImportLineTable, ImportStep, ImportTable, Kind, Problem, Source
from kernel.numbering import CounterTable
from kernel.running import Running
from kernel.settings import settings
from kernel.tables import ConditionFailed, Table, commit, create, schema


class WordTable(Table):
    """A word that a class has learnt."""

    name = "words"
    word = UnicodeAttribute(hash_key=True)
    meaning = UnicodeAttribute(null=True)


class WordLine(BaseModel):
    word: Annotated[str, StringConstraints(pattern="^[a-z0-9]+$")]
    meaning: str | None = Field(None, alias="sense")


def learn(source, line, claim):
    try:
        commit(claim, create(WordTable(word=line.word, meaning=line.meaning)))
    except ConditionFailed:
        raise Conflict("is known") from None


def examine(source, lines):
    assert source == Source("school", 1)
    return [Problem("is known", existing=True) if WordTable.find(line.word) else None for line in lines]


WORDS = {"words": Kind(WordLine, lambda line: line.word, examine, learn)}


@pytest.fixture(autouse=True)
def tables(cloud):
    client = cloud.client("dynamodb")
    there = client.list_tables()["TableNames"]
    for table in (ImportTable, ImportLineTable, AuditTable, CounterTable, WordTable):
        if table.physical_name() not in there:
            client.create_table(TableName=table.physical_name(), **schema(table))
    client = cloud.client("sqs")
    client.create_queue(QueueName=IMPORTS.physical_name(), Attributes={"FifoQueue": "true"})
    with Running("run_import") as running:
        running.tenant = "school"
        yield cloud


def begun(text):
    row, _ = imports.begin("school", "words", max(len(text.encode()), 1))
    files.put(FILES, row.path, text.encode(), "text/csv")
    return row


def work(cloud, kinds=WORDS):
    while records := cloud.queued(IMPORTS):
        for record in records:
            imports.proceed(ImportStep.model_validate_json(record["body"]), kinds)
    return imports.found("school", 1)


def step(cloud, wanted, kinds=WORDS):
    imports.advance("school", 1, wanted)
    return work(cloud, kinds)


def errors(row):
    return files.get(FILES, row.error_path).data.decode()


def test_lines_are_checked_and_applied(tables):
    commit(create(WordTable(word="sun")))
    begun('sense,word\nbright,sun\n,moon\nNo,NO\n"a\nb",star\n,moon\n')

    row = step(tables, "checked")
    assert (row.state, row.lines, row.good, row.existing, row.wrong) == ("checked", 5, 2, 1, 2)
    assert errors(row).splitlines() == [
        "line,message",
        "2,is known",
        "4,word has characters or a form that is not allowed here",
        "7,stands in the file twice",
    ]
    assert len(tables.rows("words")) == 1

    row = step(tables, "confirmed")
    assert (row.state, row.applied, row.refused) == ("done", 2, 0)
    assert {word["word"]: word.get("meaning") for word in tables.rows("words")} == {
        "sun": None, "moon": "", "star": "a\nb",
    }  # fmt: skip
    assert sorted(line["line"] for line in tables.rows("import-lines")) == [3, 6]


def test_what_is_confirmed_is_added_up(tables):
    kind = WORDS["words"]._replace(sums=lambda line: {"letters": len(line.word), "words": 1})
    begun("word\nsun\nmoon\nNO\nsun\n")

    row = step(tables, "checked", {"words": kind})
    assert row.sums == {"letters": 7, "words": 2}

    row = step(tables, "confirmed", {"words": kind})
    signed = {"state": "applying", "digest": row.digest, "lines": 4, "good": 2, "sums": row.sums}
    noted = [(entry.get("before"), entry["after"]) for entry in tables.rows("audit")]
    assert (digest("waiting"), digest({"state": "checking"})) in noted
    assert (digest("checked"), digest(signed)) in noted


def test_nothing_in_the_file_of_problems_is_a_formula(tables):
    told = '=1+1, he said "'
    kind = WORDS["words"]._replace(
        examine=lambda source, lines: [None if one.word == "y" else Problem(told) for one in lines]
    )
    begun("word\nx\ny\n")
    commit(create(WordTable(word="y")))

    row = step(tables, "checked", {"words": kind})
    assert errors(row) == 'line,message\n2,"\'=1+1, he said """\n'

    row = step(tables, "confirmed", {"words": kind})
    assert errors(row) == 'line,message\n2,"\'=1+1, he said """\n3,is known\n'


def test_only_the_first_problems_are_shown(tables):
    begun("word\n" + "X\n" * 30)

    row = step(tables, "checked")

    assert (row.wrong, len(row.errors), errors(row).count("\n")) == (30, imports.SHOWN, 31)


def test_a_check_can_be_repeated_with_another_file(tables):
    row = begun("word\nX\n")
    assert step(tables, "checked").wrong == 1
    files.put(FILES, row.path, b"word\nx\n", "text/csv")

    row = step(tables, "checked")

    assert (row.state, row.good, row.wrong, row.errors, row.error_path) == ("checked", 1, 0, [], None)


def test_progress_is_noted_now_and_then(tables, monkeypatch):
    monkeypatch.setattr(imports, "NOTED_EVERY", 2)
    begun("word\n" + "".join(f"w{number}\n" for number in range(5)))
    step(tables, "checked")
    noted = []

    def watched(source, line, claim):
        noted.append(imports.found("school", 1).applied)
        learn(source, line, claim)

    row = step(tables, "confirmed", {"words": WORDS["words"]._replace(apply=watched)})

    assert (noted, row.applied) == ([0, 0, 2, 2, 4], 5)


def test_what_was_found_wrong_must_be_known_when_it_is_left_out(tables):
    begun("word\nX\ny\n")
    row = step(tables, "checked")
    files.remove(FILES, row.error_path)

    row = step(tables, "confirmed")

    assert (row.state, tables.rows("words")) == ("failed", [])
    assert row.errors == [[0, "What was found wrong is known no more; have the file checked again"]]


def test_a_file_has_only_so_many_lines(tables, monkeypatch):
    monkeypatch.setattr(imports, "MOST_LINES", 3)
    begun("word\na\nb\nc\nd\n")

    assert step(tables, "checked").errors == [[0, "The file has more than 3 lines"]]


def test_a_file_has_only_so_many_bytes(tables, monkeypatch):
    begun("word\na\nb\n")
    monkeypatch.setattr(imports, "LARGEST", 8)

    assert step(tables, "checked").errors == [[0, "The file has more than 8 bytes"]]
    with pytest.raises(Invalid, match="A file has 1 to 8 bytes"):
        imports.begin("school", "words", 9)


def test_a_message_about_nothing_is_passed_over(tables):
    imports.proceed(ImportStep(tenant="school", id=9, step=0), WORDS)
    begun("word\n")
    imports.proceed(ImportStep(tenant="school", id=1, step=0), WORDS)

    assert imports.found("school", 1).state == "waiting"
    with pytest.raises(NotFound):
        imports.found("college", 1)


def test_who_is_overtaken_stops(tables):
    begun("word\na\nb\n")
    step(tables, "checked")
    imports.advance("school", 1, "confirmed")
    (record,) = tables.queued(IMPORTS)
    message = ImportStep.model_validate_json(record["body"])

    def overtaken(source, line, claim):
        learn(source, line, claim)
        if line.word == "a":
            imports.proceed(message, WORDS)

    imports.proceed(message, {"words": WORDS["words"]._replace(apply=overtaken)})

    row = imports.found("school", 1)
    assert (row.state, row.applied, row.refused, len(tables.rows("words"))) == ("done", 2, 0, 2)


def test_a_check_after_a_part_was_applied_keeps_what_was(tables, monkeypatch):
    monkeypatch.setattr(imports, "SECONDS_A_MESSAGE", 0)
    row = begun("word\na\nb\nc\n")
    step(tables, "checked")
    imports.advance("school", 1, "confirmed")
    (record,) = tables.queued(IMPORTS)
    imports.proceed(ImportStep.model_validate_json(record["body"]), WORDS)
    files.put(FILES, row.path, b"word\na\nb\nD\nd\n", "text/csv")
    assert (work(tables).state, imports.found("school", 1).applied) == ("failed", 1)

    row = step(tables, "checked")

    assert (row.state, row.lines, row.good, row.existing, row.wrong, row.applied) == ("checked", 4, 2, 1, 1, 1)
    row = step(tables, "confirmed")
    assert (row.state, row.applied, row.refused, len(tables.rows("words"))) == ("done", 3, 0, 3)


def test_a_condition_of_the_kinds_own_is_not_taken_for_being_overtaken(tables):
    begun("word\na\n")
    imports.advance("school", 1, "checked")
    (record,) = tables.queued(IMPORTS)
    message = ImportStep.model_validate_json(record["body"])

    def refused(source, lines):
        raise ConditionFailed(0)

    with pytest.raises(ConditionFailed):
        imports.proceed(message, {"words": WORDS["words"]._replace(examine=refused)})
    imports.proceed(message, WORDS)

    assert imports.found("school", 1).state == "checked"


def test_who_is_overtaken_while_the_file_is_unusable_stops(tables):
    begun("word\na\n")
    imports.advance("school", 1, "checked")
    (record,) = tables.queued(IMPORTS)
    message = ImportStep.model_validate_json(record["body"])

    def overtaken(source, lines):
        imports.proceed(message, WORDS)
        raise imports._Unusable("broken")

    imports.proceed(message, {"words": WORDS["words"]._replace(examine=overtaken)})

    assert imports.found("school", 1).state == "checked"


def test_a_hundred_thousand_lines_are_checked_in_little_memory(tables):
    text = io.StringIO()
    csv.writer(text).writerows([("word", "sense"), *((f"w{number}", "x" * 40) for number in range(100_000))])
    begun(text.getvalue())
    fine = WORDS["words"]._replace(examine=lambda source, lines: [None] * len(lines))
    imports.advance("school", 1, "checked")

    tracemalloc.start()
    row = work(tables, {"words": fine})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (row.state, row.lines, row.good) == ("checked", 100_000, 100_000)
    assert peak < 128 * 1024 * 1024


def test_files_are_kept_apart_by_owner(tables):
    row = begun("word\n")

    assert FILES.key(row.path) == f"imports/{settings().system}/school/1/lines.csv"
