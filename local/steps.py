"""What a command tells the person at the terminal: its steps with their progress and time, or one line of trouble."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"


class Problem(Exception):
    """What stops a command; its text is one line for the person at the terminal."""


@contextmanager
def step(label: str) -> Iterator[Callable[[str], None]]:
    """Show `label` while the block runs, and its time when it is done; the yielded function shows how far it is."""
    started = time.monotonic()
    live = sys.stdout.isatty()

    def show(detail: str) -> None:
        if live:
            print(f"\r\033[K… {label} {detail}", end="", flush=True)

    show("")
    if not live:
        print(f"… {label}", flush=True)
    try:
        yield show
    except BaseException:
        if live:
            print(f"\r\033[K✗ {label}", flush=True)
        raise
    print(f"{chr(13) + chr(27) + '[K' if live else ''}✓ {label} ({duration(time.monotonic() - started)})", flush=True)


def duration(seconds: float) -> str:
    """Return a time as people say it: `0.3 s`, `42 s`, `3 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def run(
    command: Sequence[str],
    log: Path,
    *,
    on_line: Callable[[str], None] = lambda line: None,
    environment: Mapping[str, str] | None = None,
    folder: Path = ROOT,
) -> int:
    """Run a command in a folder with its output in `log`; `on_line` sees each line as it comes."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            kept.write(line)
            kept.flush()
            on_line(line.rstrip("\n"))
    return process.returncode
