"""Makes what every other command needs: `.venv` from the lock file, `node_modules` with the CDK command line.

The only module that runs before there is an environment, so it lives on the standard library.
"""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from local.steps import ROOT, Problem, run, step

OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 20
LOCK = "locks/dev.txt"
_STAMP = ".made-from"


def make_python(root: Path = ROOT) -> None:
    """Make `.venv` hold what the lock file says, unless it does already."""
    lock = root / LOCK
    venv = root / ".venv"
    version = _version(venv)
    if version is not None and _made(venv, _digest(lock, version)):
        return
    packages = re.findall(r"^[\w.-]+==", lock.read_text(), re.MULTILINE)
    with step("Python packages") as show:
        if version is None:
            if venv.exists():
                shutil.rmtree(venv)
            log = root / ".local" / "log" / "venv.log"
            if run([sys.executable, "-m", "venv", str(venv)], log):
                raise Problem(
                    f"{sys.executable} -m venv failed, see {log.relative_to(root)}"
                    " (on Debian and Ubuntu: apt-get install python3-venv)"
                )
        log = root / ".local" / "log" / "pip.log"
        command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--require-hashes", "-r", str(lock)]
        if run(command, log, on_line=_count(show, ("Collecting ", "Requirement already"), len(packages))):
            raise Problem(f"pip install failed: {_complaint(log, 'ERROR')} (all of it: {log.relative_to(root)})")
        (venv / _STAMP).write_text(_digest(lock, _version(venv) or ""))


def make_node(root: Path = ROOT) -> None:
    """Make `node_modules` hold what the lock file says, unless it does already; says so when there is no Node."""
    node = node_version()
    if node is None or node < OLDEST_NODE:
        found = f"this one is {node}" if node else "there is none on the PATH"
        raise Problem(
            f"Node {OLDEST_NODE} or newer is needed for the CDK command line, {found}: see https://nodejs.org"
        )
    modules = root / "node_modules"
    made_from = _digest(root / "package-lock.json")
    if _made(modules, made_from):
        return
    if shutil.which("npm") is None:
        raise Problem("npm is not on the PATH: it comes with Node, see https://nodejs.org")
    with step("CDK command line"):
        log = root / ".local" / "log" / "npm.log"
        if run(["npm", "ci", "--no-audit", "--no-fund", "--prefix", str(root)], log):
            raise Problem(f"npm ci failed: {_complaint(log, 'npm error')} (all of it: {log.relative_to(root)})")
        (modules / _STAMP).write_text(made_from)


def node_version() -> int | None:
    """Return the major version of the Node on the PATH, None when there is none."""
    try:
        said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.match(r"v(\d+)\.", said)
    return int(match[1]) if match else None


def _digest(lock: Path, version: str = "") -> str:
    return hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()


def _made(folder: Path, made_from: str) -> bool:
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text() == made_from


def _version(venv: Path) -> str | None:
    """Return the version of an environment's own Python; None when the folder was moved or its Python is gone."""
    asked = [str(venv / "bin" / "python"), "-c", "import sys; print(sys.prefix); print(sys.version)"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    prefix, _, version = said.partition("\n")
    return version if prefix and Path(prefix).resolve() == venv.resolve() else None


def _count(show: Callable[[str], None], starts: tuple[str, ...], total: int) -> Callable[[str], None]:
    seen = 0

    def on_line(line: str) -> None:
        nonlocal seen
        if line.startswith(starts):
            seen += 1
            show(f"{min(seen, total)}/{total}")
        elif line.startswith("Installing collected"):
            show("installing")

    return on_line


def _complaint(log: Path, word: str) -> str:
    lines = [line.strip() for line in log.read_text().splitlines() if line.strip()]
    return next((line for line in lines if line.startswith(word)), lines[-1] if lines else "no output")


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Make what is named: `python`, `node`."""
    try:
        (root / ".local").mkdir(exist_ok=True)
        with (root / ".local" / "environment.lock").open("w") as turn:
            # Two commands may be started at the same moment.
            fcntl.flock(turn, fcntl.LOCK_EX)
            if "python" in arguments:
                make_python(root)
            if "node" in arguments:
                make_node(root)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
