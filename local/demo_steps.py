"""What the tours of `make demo` have in common: comparing what was seen, and a line for each step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from local.steps import Problem

NOT_UP = "the local stack is not up: make up"


class Difference(Problem):
    """A step saw something else than it should have."""


def same(what: str, seen: Any, wanted: Any) -> None:
    """End the tour when the two differ."""
    if seen != wanted:
        raise Difference(f"{what}: expected {wanted!r}, saw {seen!r}")


def has(what: str, whole: Any, part: Any) -> None:
    """End the tour when a part is missing."""
    if part not in whole:
        raise Difference(f"{what}: {part!r} is missing in {whole!r}")


def walk(steps: Sequence[tuple[str, Callable[[], str]]]) -> bool:
    """Go through steps and print a line for each; False at the first difference."""
    for name, act in steps:
        try:
            print(f"✓ {name:<34} {act()}", flush=True)
        except Problem as problem:
            print(f"✗ {name:<34} {problem}", file=sys.stderr)
            return False
    return True
