"""What is found under `functions/`, and what is refused."""

import pytest

from infra import discovery
from infra.discovery import FUNCTIONS, assemble, camel_case, construct_id, declarations, systems
from kernel.auth import Public
from kernel.grants import read, send
from kernel.jobs import worker
from kernel.operations import Api, IncompleteDeclaration
from kernel.queues import Queue
from kernel.tables import Table


@pytest.mark.parametrize("system", systems())
def test_every_file_is_a_function(system):
    found = {function.name for function in declarations(system).functions}

    assert found == {path.stem for path in (FUNCTIONS / system).glob("*.py")}


def test_tables_and_queues_come_from_grants_and_workers(sample_system):
    assert [table.name for table in sample_system.tables] == ["log", "partner-keys", "things"]
    assert [queue.name for queue in sample_system.queues] == ["drawings", "events"]


def test_functions_are_in_the_order_of_their_names(sample_system):
    assert [operation.name for operation in sample_system.operations] == sorted(
        operation.name for operation in sample_system.operations
    )
    assert [function.name for function in sample_system.functions][-3:] == ["clean_things", "draw_thing", "note_event"]


def test_a_file_without_its_function_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "functions" / "astray"
    folder.mkdir(parents=True)
    (folder / "save_thing.py").write_text("def save_things(): ...\n")
    monkeypatch.setattr(discovery, "FUNCTIONS", folder.parent)
    monkeypatch.setattr("functions.__path__", [str(folder.parent)])

    with pytest.raises(IncompleteDeclaration, match=r"functions/astray/save_thing\.py: exports no operation"):
        declarations("astray")


def operation(api, name, path="/one", uses=(), also=()):
    def function() -> None:
        """Do it."""

    function.__name__ = name
    return api.post(path, auth=Public(), uses=uses, also=also)(function)


def looked_up(api, name, path):
    def function(thing: str) -> None:
        """Look it up."""

    function.__name__ = name
    return api.get(path, auth=Public())(function)


@pytest.fixture
def api(sample_system):
    return sample_system.api


def test_two_functions_of_one_route_are_refused(tmp_path, api):
    with pytest.raises(IncompleteDeclaration, match="second: first has the route /one already"):
        assemble(tmp_path, [operation(api, "first"), operation(api, "second")])


@pytest.mark.parametrize(
    ("first", "second"),
    [(["/one", "/two"], ["/two"]), (["/one"], ["/two", "/one"]), (["/one", "/two"], ["/three", "/two"])],
)
def test_a_further_path_is_a_route_too(tmp_path, api, first, second):
    declared = [
        operation(api, name, paths[0], also=paths[1:]) for name, paths in (("first", first), ("second", second))
    ]

    with pytest.raises(IncompleteDeclaration, match=r"second: first has the route /(one|two) already"):
        assemble(tmp_path, declared)


def test_the_same_path_twice_is_refused(tmp_path, api):
    with pytest.raises(IncompleteDeclaration, match="first: first has the route /one already"):
        assemble(tmp_path, [operation(api, "first", also=["/one"])])


def test_one_path_may_have_several_verbs(tmp_path, api):
    system = assemble(tmp_path, [operation(api, "first", "/one/{thing}"), looked_up(api, "second", "/one/{thing}")])

    assert [(one.verb, one.path) for one in system.operations] == [("POST", "/one/{thing}"), ("GET", "/one/{thing}")]
    with pytest.raises(IncompleteDeclaration, match=r"third: second has the route /one/\{thing\} already"):
        assemble(tmp_path, [*system.operations, looked_up(api, "third", "/one/{thing}")])


def test_a_place_has_one_variable(tmp_path, api):
    # API Gateway: only one variable is allowed at a place, whatever its name.
    with pytest.raises(IncompleteDeclaration, match=r"second: \{thing\} is called \{other\} in other paths"):
        assemble(tmp_path, [operation(api, "first", "/one/{other}/parts"), looked_up(api, "second", "/one/{thing}")])


def test_two_apis_in_one_system_are_refused(tmp_path, api):
    other = Api("sample", envelope=api.envelope, auth=Public(), tenant="tenant")

    with pytest.raises(IncompleteDeclaration, match="2 APIs instead of one"):
        assemble(tmp_path, [operation(api, "first"), operation(other, "second", "/two")])


def test_a_queue_without_a_worker_is_refused(tmp_path, api):
    with pytest.raises(IncompleteDeclaration, match="queue lonely: has 0 workers"):
        assemble(tmp_path, [operation(api, "first", uses=[send(Queue("lonely"))])])


def test_two_workers_of_one_queue_are_refused(tmp_path, api, sample_system):
    first = next(worker for worker in sample_system.workers if worker.queue.name == "events")
    second = worker(first.queue, uses=(), timeout=first.timeout)(first.function)

    with pytest.raises(IncompleteDeclaration, match="queue events: has 2 workers"):
        assemble(tmp_path, [operation(api, "open"), first, second])


def test_two_tables_of_one_name_are_refused(tmp_path, api, sample_system):
    class Other(Table):
        name = "things"

    things = next(table for table in sample_system.tables if table.name == "things")

    with pytest.raises(IncompleteDeclaration, match="another declaration has the name things"):
        assemble(
            tmp_path, [operation(api, "first", uses=[read(things)]), operation(api, "second", "/two", [read(Other)])]
        )


def test_names():
    assert (camel_case("save_tag"), camel_case("login")) == ("saveTag", "login")
    assert (construct_id("save_tag"), construct_id("sign-in-failures")) == ("SaveTag", "SignInFailures")
