"""What the systems declare: found by importing the files under `functions/`, never listed."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernel.files import Folder
from kernel.jobs import Job, Worker
from kernel.operations import IncompleteDeclaration, Operation
from kernel.queues import Queue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.operations import Api
    from kernel.tables import Table

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ROOT / "functions"

Declaration = Operation | Job | Worker

_VARIABLE = re.compile(r"\{[^}/]*\}")


@dataclass(frozen=True)
class System:
    """Everything one system declares, in the order of the names."""

    name: str
    folder: Path
    api: Api
    operations: tuple[Operation, ...]
    jobs: tuple[Job, ...]
    workers: tuple[Worker, ...]
    tables: tuple[type[Table], ...]
    queues: tuple[Queue, ...]

    @property
    def functions(self) -> tuple[Declaration, ...]:
        """All that becomes a Lambda function."""
        return (*self.operations, *self.jobs, *self.workers)

    def source(self, function: Declaration) -> Path:
        """Return the file that declares a function."""
        return self.folder / f"{function.name}.py"


def systems() -> list[str]:
    """Return the names of the systems: the folders under `functions/` that hold a declaration."""
    return sorted({path.parent.name for path in FUNCTIONS.glob("*/*.py")})


def declarations(system: str) -> System:
    """Import the functions of a system and return what they declare."""
    folder = FUNCTIONS / system
    return assemble(folder, [_exported(system, path.stem) for path in sorted(folder.glob("*.py"))])


def assemble(folder: Path, found: Iterable[Declaration]) -> System:
    """Put the declarations of one system together and refuse those that contradict each other."""
    functions = sorted(found, key=lambda function: function.name)
    operations = tuple(function for function in functions if isinstance(function, Operation))
    workers = tuple(function for function in functions if isinstance(function, Worker))
    tables, queues = _resources(functions)
    _check_workers(queues, workers)
    return System(
        name=folder.name,
        folder=folder,
        api=_api(folder.name, operations),
        operations=operations,
        jobs=tuple(function for function in functions if isinstance(function, Job)),
        workers=workers,
        tables=tables,
        queues=queues,
    )


def camel_case(name: str) -> str:
    """Return the name as contracts spell operations: `save_tag` is `saveTag`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def construct_id(name: str) -> str:
    """Return the name as CloudFormation spells resources: `save_tag` and `sign-in` are `SaveTag` and `SignIn`."""
    return "".join(word.capitalize() for word in name.replace("-", "_").split("_"))


def _exported(system: str, name: str) -> Declaration:
    module = importlib.import_module(f"functions.{system}.{name}")
    exported = getattr(module, name, None)
    if not isinstance(exported, Declaration):
        raise IncompleteDeclaration(f"functions/{system}/{name}.py: exports no operation, job or worker of its name")
    return exported


def _api(system: str, operations: Iterable[Operation]) -> Api:
    routes: dict[tuple[str, str], str] = {}
    places: dict[str, str] = {}
    apis = set()
    for operation in operations:
        apis.add(operation.api)
        for path in operation.paths:
            # Twice at one operation is twice too.
            if first := routes.get((operation.verb, path)):
                raise IncompleteDeclaration(f"{operation.name}: {first} has the route {path} already")
            routes[operation.verb, path] = operation.name
            for variable in _VARIABLE.finditer(path):
                # API Gateway has one variable at a place, for all verbs and all that follows.
                kept = places.setdefault(path[: variable.start()], variable[0])
                if kept != variable[0]:
                    raise IncompleteDeclaration(f"{operation.name}: {variable[0]} is called {kept} in other paths")
    if len(apis) != 1:
        raise IncompleteDeclaration(f"{system}: its operations belong to {len(apis)} APIs instead of one")
    return apis.pop()


def _resources(functions: Iterable[Declaration]) -> tuple[tuple[type[Table], ...], tuple[Queue, ...]]:
    """Return the tables and queues that the grants and workers name, each once; folders need nothing made."""
    found: dict[tuple[bool, str], type[Table] | Queue] = {}
    for function in functions:
        resources = (grant.resource for grant in function.uses)
        named = [resource for resource in resources if resource is not None and not isinstance(resource, Folder)]
        if isinstance(function, Worker):
            named.append(function.queue)
        for resource in named:
            kept = found.setdefault((isinstance(resource, Queue), resource.name), resource)
            if kept != resource:
                raise IncompleteDeclaration(f"{function.name}: another declaration has the name {resource.name}")
    ordered = [found[key] for key in sorted(found)]
    queues = tuple(resource for resource in ordered if isinstance(resource, Queue))
    return tuple(resource for resource in ordered if not isinstance(resource, Queue)), queues


def _check_workers(queues: Iterable[Queue], workers: Iterable[Worker]) -> None:
    fed = [worker.queue for worker in workers]
    for queue in queues:
        if fed.count(queue) != 1:
            raise IncompleteDeclaration(f"queue {queue.name}: has {fed.count(queue)} workers instead of one")
