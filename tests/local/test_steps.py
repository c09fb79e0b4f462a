import sys
from pathlib import Path

import pytest

from local.checks import Phase
from local.checks import run as run_phases
from local.steps import Problem, duration, run, step


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (3.14, "3.1 s"), (42.4, "42 s"), (59.6, "1 min 0 s"), (185.0, "3 min 5 s")]
)
def test_a_time_as_people_say_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_step_says_that_it_begins_and_that_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with step("Things") as show:
        show("1/2")

    assert capsys.readouterr().out == "… Things\n✓ Things (0.0 s)\n"


def test_a_failed_step_is_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Problem), step("Things"):
        raise Problem("no")

    assert capsys.readouterr().out == "… Things\n"


def test_a_terminal_shows_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    with step("Things") as show:
        show("1/2")

    assert capsys.readouterr().out == "\r\033[K… Things \r\033[K… Things 1/2\r\033[K✓ Things (0.0 s)\n"


def test_a_commands_lines_are_seen_and_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "import sys; print('one'); print('二', file=sys.stderr); sys.exit(3)"

    code = run([sys.executable, "-X", "utf8", "-c", script], tmp_path / "log" / "it.log", on_line=lines.append)

    assert (code, sorted(lines)) == (3, ["one", "二"])
    assert sorted((tmp_path / "log" / "it.log").read_text(encoding="utf-8").splitlines()) == ["one", "二"]


def test_phases_run_until_one_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fine, wrong = Phase("fine", ("json.tool", "--help")), Phase("wrong", ("no_such_module",))

    code = run_phases([fine, wrong, fine])

    said = capfd.readouterr()
    assert code == 1
    assert [line for line in said.out.splitlines() if line.startswith("== ")] == ["== fine", "== wrong"]
    assert said.err.splitlines()[-1] == "FAILED: wrong (python -m no_such_module)"
