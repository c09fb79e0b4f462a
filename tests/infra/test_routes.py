"""The table of everything that runs."""

from infra import routes
from infra.discovery import declarations, systems


def test_table(sample_system):
    head, line, *rows = routes.table(sample_system).splitlines()

    assert head.split() == ["function", "started", "by", "caller", "grants"]
    assert set(line) == {"-", " "}
    assert [row.split()[0] for row in rows] == [function.name for function in sample_system.functions]
    assert "POST /things/{thing_id}/parts  cognito" in rows[1]
    assert rows[1].endswith("read(things) append(log) encrypt() decrypt()")
    assert rows[-2].split()[:-2] == ["clean_things", "cron(0", "3", "*", "*", "?", "*)", "schedule"]
    assert rows[-1].split() == ["note_event", "events", "queue", "append(log)"]


def test_every_function_of_ours_is_listed(capsys):
    assert routes.main() == 0

    printed = capsys.readouterr().out
    for system in systems():
        for function in declarations(system).functions:
            assert f"\n{function.name} " in printed
