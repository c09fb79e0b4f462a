"""`python -m infra.routes`: every function with what starts it, who may call it and what it may do."""

from __future__ import annotations

import sys

from infra.discovery import Declaration, System, declarations, systems
from kernel.jobs import Job, Worker
from kernel.operations import Operation

HEADINGS = ["function", "started by", "caller", "grants"]


def row(function: Declaration) -> list[str]:
    """Return what the table says of one function."""
    grants = " ".join(grant.text for grant in function.uses)
    match function:
        case Operation():
            return [function.name, f"{function.verb} {', '.join(function.paths)}", function.auth.name, grants]
        case Job():
            return [function.name, function.schedule, "schedule", grants]
        case Worker():
            return [function.name, function.queue.name, "queue", grants]


def table(system: System) -> str:
    """Return the functions of a system as an aligned table."""
    rows = [HEADINGS, *map(row, system.functions)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADINGS))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows
    )


def main() -> int:
    """Print the table of each system."""
    for name in systems():
        system = declarations(name)
        print(f"{name}: {len(system.operations)} operations, {len(system.jobs)} jobs, {len(system.workers)} workers\n")
        print(table(system), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
