import json
import os
import stat
import sys
from pathlib import Path

import pytest

from local import environment
from local.environment import main, make_node, make_python, node_version
from local.steps import Problem


def program(folder: Path, name: str, script: str) -> None:
    """Put a shell script of this name on the PATH's folder."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "dev.txt").write_text("# nothing\n")
    (tmp_path / "package-lock.json").write_text(json.dumps({"lockfileVersion": 3, "packages": {}}))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return tmp_path


def test_the_environment_is_made_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_python(project)
    assert (project / ".venv" / "bin" / "python").exists()
    assert "✓ Python packages" in capsys.readouterr().out

    make_python(project)
    assert capsys.readouterr().out == ""


def test_another_lock_is_installed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    (project / ".venv").mkdir()
    monkeypatch.setattr(environment, "_version", lambda venv: "3.11")
    monkeypatch.setattr(environment, "run", lambda command, log, **_: calls.append(command) or 0)

    make_python(project)
    make_python(project)
    (project / "locks" / "dev.txt").write_text("# something else\n")
    make_python(project)

    assert [command[1:4] for command in calls] == [["-m", "pip", "install"]] * 2
    assert "--require-hashes" in calls[0]


def test_an_environment_whose_python_is_gone_is_made_anew(project: Path) -> None:
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").write_text("")
    (project / ".venv" / "old").touch()

    make_python(project)

    assert (project / ".venv" / "bin" / "pip").exists()
    assert not (project / ".venv" / "old").exists()


def test_what_pip_complained_about_is_the_line_shown(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(command: list[str], log: Path, **_: object) -> int:
        log.parent.mkdir(parents=True)
        log.write_text("Collecting x\nERROR: No matching distribution found for x\nother\n")
        return 1

    monkeypatch.setattr(environment, "_version", lambda venv: "3.11")
    monkeypatch.setattr(environment, "run", failing)
    with pytest.raises(Problem) as raised:
        make_python(project)

    assert str(raised.value) == (
        "pip install failed: ERROR: No matching distribution found for x (all of it: .local/log/pip.log)"
    )


@pytest.mark.parametrize(("said", "version"), [("echo v20.11.1", 20), ("echo nonsense", None), ("exit 1", None)])
def test_the_version_of_node_is_read(project: Path, said: str, version: int | None) -> None:
    program(project / "bin", "node", said)

    assert node_version() == version


def test_no_node_is_one_clear_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(project / "bin"))

    assert main(["node"], project) == 1
    assert capsys.readouterr().err == (
        "Node 20 or newer is needed for the CDK command line, there is none on the PATH: see https://nodejs.org\n"
    )


def test_an_old_node_is_one_clear_line(project: Path) -> None:
    program(project / "bin", "node", "echo v18.0.0")

    with pytest.raises(Problem, match=r"^Node 20 or newer is needed .+, this one is 18: see https://nodejs.org$"):
        make_node(project)


def test_node_without_npm_is_one_clear_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(project / "bin", "node", "echo v22.0.0")
    monkeypatch.setenv("PATH", str(project / "bin"))

    with pytest.raises(Problem, match=r"^npm is not on the PATH"):
        make_node(project)


def test_npm_runs_once(project: Path) -> None:
    program(project / "bin", "node", "echo v22.0.0")
    program(project / "bin", "npm", f"mkdir -p {project}/node_modules; echo ran >> {project}/npm-runs")

    make_node(project)
    make_node(project)

    assert (project / "npm-runs").read_text() == "ran\n"


def test_what_npm_complained_about_is_the_line_shown(project: Path) -> None:
    program(project / "bin", "node", "echo v22.0.0")
    program(project / "bin", "npm", "echo 'npm error network down' >&2; echo bye; exit 1")

    with pytest.raises(Problem, match=r"^npm ci failed: npm error network down \(all of it: .local/log/npm.log\)$"):
        make_node(project)


def test_it_needs_nothing_but_the_standard_library() -> None:
    foreign = {"boto3", "kernel", "aws_cdk"}

    assert not foreign & set(vars(environment))
    assert sys.version_info >= environment.OLDEST_PYTHON
