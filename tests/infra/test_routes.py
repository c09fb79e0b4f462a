"""The table of everything that runs."""

from infra import routes
from infra.discovery import declarations, systems


def test_table(sample_system):
    head, line, *rows = routes.table(sample_system).splitlines()

    assert head.split() == ["function", "started", "by", "caller", "grants"]
    assert set(line) == {"-", " "}
    assert [row.split()[0] for row in rows] == [function.name for function in sample_system.functions]
    said = {name: words for name, *words in map(str.split, rows)}
    assert said["list_parts"] == [
        "POST", "/things/{thing_id}/parts", "cognito", "read(things)", "append(log)", "encrypt()", "decrypt()",
    ]  # fmt: skip
    assert said["show_image"] == ["GET", "/images/{thing_id}/{size}", "public", "fetch(images)"]
    assert said["take_call"] == ["POST", "/calls/{channel},", "/call,", "/partner/{partner}/call", "signature"]
    assert said["clean_things"][:-2] == ["cron(0", "3", "*", "*", "?", "*)", "schedule"]
    assert said["note_event"] == ["events", "queue", "append(log)"]


def test_every_function_of_ours_is_listed(capsys):
    assert routes.main() == 0

    printed = capsys.readouterr().out
    for system in systems():
        for function in declarations(system).functions:
            assert f"\n{function.name} " in printed
