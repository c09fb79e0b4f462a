"""The stacks as they are synthesized: our systems once for each stage, and a small one that has one of everything."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from aws_cdk import App, Environment, Validations
from cdk_nag import AwsSolutionsChecks
from pydantic import BaseModel, Field, InstanceOf, WithJsonSchema
from pynamodb.attributes import NumberAttribute, TTLAttribute, UnicodeAttribute
from pynamodb.indexes import GlobalSecondaryIndex, IncludeProjection

import app as citypass
from infra.data_stack import DataStack
from infra.discovery import ROOT, System, assemble
from infra.platform_stack import PlatformStack
from infra.stages import Stage
from infra.system_stack import SystemStack
from kernel.auth import Caller, Cognito, Incoming, PartnerKey, Public, Signature, Token
from kernel.bodies import FilePart
from kernel.envelopes import Response, json_text
from kernel.errors import Fault
from kernel.files import Folder
from kernel.grants import (
    append,
    certify,
    check_certificate,
    decrypt,
    encrypt,
    enroll,
    fetch,
    read,
    remove,
    send,
    sign,
    sign_in,
    sms,
    store,
    write,
)
from kernel.jobs import Job, Worker, job, worker
from kernel.operations import Api, Operation
from kernel.queues import Queue
from kernel.tables import Table

Template = dict[str, Any]
Resource = dict[str, Any]


@dataclass(frozen=True)
class Synthesized:
    """The stacks of one stage, as CloudFormation gets them."""

    stage: Stage
    folder: Path
    templates: dict[str, Template]

    def stack(self, name: str) -> Template:
        return self.templates[f"citypass-{self.stage.name}-{name}"]

    def resources(self, stack: str, kind: str) -> dict[str, Resource]:
        found = self.stack(stack)["Resources"]
        return {name: resource for name, resource in found.items() if resource["Type"] == kind}

    def properties(self, stack: str, kind: str) -> list[dict[str, Any]]:
        return [resource["Properties"] for resource in self.resources(stack, kind).values()]

    def one(self, stack: str, kind: str, **wanted: Any) -> dict[str, Any]:
        """Return the properties of the only resource of a kind that has these."""
        found = [
            properties
            for properties in self.properties(stack, kind)
            if all(plain(properties.get(name)) == value for name, value in wanted.items())
        ]
        assert len(found) == 1, f"{len(found)} of {kind} with {wanted}"
        return found[0]

    def role(self, stack: str, function: str) -> dict[str, Any]:
        """Return the properties of a function's own role."""
        name = self.stage.resource(stack, function)
        role = self.one(stack, "AWS::Lambda::Function", FunctionName=name)["Role"]["Fn::GetAtt"][0]
        properties: dict[str, Any] = self.stack(stack)["Resources"][role]["Properties"]
        return properties


def plain(value: Any) -> Any:
    """Write intrinsic functions as text: `<AWS::Region>`, `<Api.RootResourceId>`, `<citypass-prod-platform:Key>`."""
    match value:
        case {"Fn::Join": [separator, parts]}:
            return separator.join(map(plain, parts))
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::ImportValue": name}:
            return f"<{name}>"
        case dict():
            return {name: plain(part) for name, part in value.items()}
        case list():
            return [plain(part) for part in value]
    return value


@pytest.fixture(scope="session", name="plain")
def plain_fixture() -> Callable[[Any], Any]:
    return plain


def synthesize(app: App, stage: Stage) -> Synthesized:
    assembly = app.synth()
    return Synthesized(stage, Path(app.outdir), {stack.stack_name: stack.template for stack in assembly.stacks})


def new_app(folder: Path, stage: str, *, checked: bool, **more: str) -> App:
    context = json.loads((ROOT / "cdk.json").read_text())["context"] | more
    app = App(context=context | {"stage": stage}, outdir=str(folder))
    if checked:
        # A finding that nobody accepted ends the synthesis.
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app


def add_stacks(app: App, system: System, layers: dict[str, Path]) -> None:
    """Add the stacks of one system, as `app.py` does for all of ours."""
    stage = Stage.of(app, {})
    where = Environment(region=stage.region)
    platform = PlatformStack(app, stage, where)
    data = DataStack(app, stage, where, system, key=platform.key)
    SystemStack(app, stage, where, system, data=data, alarms=platform.alarms, layers=layers)


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer that needs no package index."""
    layer = tmp_path_factory.mktemp("layer")
    (layer / "python").mkdir()
    (layer / "python" / "module.py").write_text("")
    return layer


@pytest.fixture(scope="session")
def prod(tmp_path_factory: pytest.TempPathFactory, stand_in: Path) -> Synthesized:
    """Our systems as they go to AWS."""
    app = new_app(tmp_path_factory.mktemp("prod"), "prod", checked=True)
    stage = Stage.of(app, {})
    citypass.build(app, stage, vendor=stand_in)
    return synthesize(app, stage)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """Our systems as the embedded cloud gets them."""
    app = new_app(tmp_path_factory.mktemp("local"), "local", checked=False)
    stage = Stage.of(app, {})
    citypass.build(app, stage, vendor=None)
    return synthesize(app, stage)


class ByOwner(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-owner"
        projection = IncludeProjection(["colour"])

    owner = UnicodeAttribute(hash_key=True)
    rank = NumberAttribute(range_key=True)


class ThingTable(Table):
    name: ClassVar[str] = "things"
    tenant = UnicodeAttribute(hash_key=True)
    thing_id = UnicodeAttribute(range_key=True)
    owner = UnicodeAttribute()
    rank = NumberAttribute()
    colour = UnicodeAttribute()
    expires = TTLAttribute()
    by_owner = ByOwner()


class LogTable(Table):
    name: ClassVar[str] = "log"
    tenant = UnicodeAttribute(hash_key=True)


class Envelope:
    def success(self, result: Any) -> Response:
        return Response(200, json_text(result))

    def fault(self, fault: Fault) -> Response:
        return Response(
            fault.status, json_text({"code": fault.code, "text": fault.message}), "application/problem+json"
        )

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        return result

    def fault_schema(self) -> dict[str, Any]:
        return {"type": "object", "required": ["code", "text"]}


class PartnersEnvelope(Envelope):
    def fault(self, fault: Fault) -> Response:
        return Response(500 if fault.status >= 500 else 400, json_text({"problem": fault.message}))

    def success_schema(self, result: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "object", "properties": {"done": result}}

    def fault_schema(self) -> dict[str, Any]:
        return {"type": "object", "required": ["problem"]}


class StaffEnvelope(Envelope):
    """One envelope of several operations."""


class Named(BaseModel):
    """Whose it is."""

    tenant: str = Field(alias="tenant")


class Part(BaseModel):
    """A part of a thing."""

    label: str


class Search(BaseModel):
    """Which things."""

    owner: str = Field(description="Whose")
    part: Part | None = None
    limit: int = Field(default=50, le=100)


class Drawing(BaseModel):
    """A drawing, and what it is called."""

    label: str
    file: Annotated[InstanceOf[FilePart], WithJsonSchema({"type": "string", "format": "binary"})]


class Letter(BaseModel):
    """A letter, with or without something in it."""

    text: str
    enclosed: Annotated[InstanceOf[FilePart], WithJsonSchema({"type": "string", "format": "binary"})] | None = None


class Event(BaseModel):
    """Something that happened."""

    kind: str = "news"


STAFF = Cognito(every="staff")
STAFF_ENVELOPE = StaffEnvelope()
EVENTS = Queue("events", attempts=3, visibility=60)
DRAWINGS = Queue("drawings", visibility=960, batch=1, concurrency=5)
IMAGES = Folder("images")
sample_api = Api("sample", envelope=Envelope(), auth=Cognito(), tenant="tenant")


def nobody(incoming: Incoming) -> None:
    raise NotImplementedError


@sample_api.post("/things/{thing_id}/parts", uses=[read(ThingTable), append(LogTable), encrypt(), decrypt()])
def list_parts(thing_id: str, colour: str | None, request: Named) -> list[Part]:
    """List the parts of a thing.

    The latest comes first.
    """
    raise NotImplementedError


@sample_api.post("/things", uses=[write(ThingTable), sign()], timeout=20)
def save_thing(request: Named) -> None:
    """Save a thing."""


@sample_api.post("/hook", auth=Signature(nobody, uses=(decrypt(),)), uses=[send(EVENTS)], produces="text/plain")
def take_events(day: int, body: Event) -> Response:
    """Take events."""
    raise NotImplementedError


@sample_api.get("/images/{thing_id}/{size}", auth=Public(), uses=[fetch(IMAGES)], produces="image/png")
def show_image(thing_id: str, size: int, rotate: bool = False) -> Response:
    """Show the image of a thing."""
    raise NotImplementedError


@sample_api.get("/hook", auth=Public(), produces="text/plain")
def verify_hook(hub_challenge: str) -> Response:
    """Prove that the hook is ours."""
    raise NotImplementedError


@sample_api.post("/images", uses=[store(IMAGES), remove(IMAGES), send(DRAWINGS)], memory=1536)
def save_image(request: Named) -> None:
    """Save an image."""


@sample_api.post("/calls/{channel}", also=["/call", "/partner/{partner}/call"], auth=Signature(nobody))
def take_call(channel: str | None, partner: str = "") -> None:
    """Take a call."""


@sample_api.post("/partner/things", auth=PartnerKey(), uses=[read(ThingTable)])
def find_things(request: Named) -> Part:
    """Find things."""
    raise NotImplementedError


@sample_api.get("/exports/{ticket}", auth=Token(nobody))
def fetch_export() -> Part:
    """Fetch an export."""
    raise NotImplementedError


@sample_api.post("/redeem", auth=Token(nobody), envelope=PartnersEnvelope())
def redeem(body: Part) -> None:
    """Redeem a token."""


@sample_api.post("/login", auth=Public(), uses=[sign_in()])
def login(body: Part) -> None:
    """Sign in."""


@sample_api.get("/staff/things", auth=STAFF, envelope=STAFF_ENVELOPE)
def search_things(search: Search, caller: Caller) -> list[Part]:
    """Search things."""
    raise NotImplementedError


@sample_api.put("/things/{thing_id}", auth=STAFF, envelope=STAFF_ENVELOPE, uses=[certify(), check_certificate()])
def replace_thing(thing_id: str, thing: Part, caller: Caller) -> None:
    """Replace a thing."""


@sample_api.patch("/things/{thing_id}", auth=Token(nobody, header="X-Session"), uses=[enroll(), sign(), sms()])
def change_thing(thing_id: str, drawing: Drawing) -> None:
    """Change a thing."""


@sample_api.post("/letters", auth=Token(nobody, header="X-Session"))
def send_letter(letter: Letter) -> None:
    """Send a letter."""


@job("cron(0 3 * * ? *)", uses=[read(ThingTable), write(LogTable)], memory=1024, timeout=300)
def clean_things() -> None:
    """Remove things that nobody needs."""


@worker(EVENTS, uses=[append(LogTable)], timeout=50)
def note_event(message: Event) -> None:
    """Note an event."""


@worker(DRAWINGS, uses=[fetch(IMAGES), store(IMAGES)], timeout=900)
def draw_thing(message: Event) -> None:
    """Draw a thing."""


@pytest.fixture(scope="session")
def sample_system(tmp_path_factory: pytest.TempPathFactory) -> System:
    """A system with one of everything."""
    folder = tmp_path_factory.mktemp("functions") / "sample"
    folder.mkdir()
    operations = (list_parts, save_thing, take_events, take_call, find_things, redeem, login)
    images = (show_image, verify_hook, save_image, fetch_export)
    things = (search_things, replace_thing, change_thing, send_letter)
    system = assemble(folder, (*operations, *images, *things, clean_things, note_event, draw_thing))
    for function in system.functions:
        system.source(function).write_text("")
    return system


@pytest.fixture(scope="session")
def make_sample(sample_system: System, stand_in: Path) -> Iterator[Callable[[Path], App]]:
    """Builds the app of the small system, as it would go to AWS, into a folder."""

    def make(folder: Path, **context: str) -> App:
        app = new_app(folder, "prod", checked=True, **context)
        add_stacks(app, sample_system, {"kernel": stand_in, "sample": stand_in})
        return app

    yield make
    # Its functions were staged beside the real ones.
    shutil.rmtree(ROOT / "build" / "functions" / "sample", ignore_errors=True)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, make_sample: Callable[[Path], App]) -> Synthesized:
    """The small system, synthesized."""
    app = make_sample(tmp_path_factory.mktemp("sample"))
    return synthesize(app, Stage.of(app, {}))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory, stand_in: Path) -> Iterator[Synthesized]:
    """The largest system that we plan: 85 operations, 6 workers, 2 jobs, 45 tables."""
    api = Api("large", envelope=Envelope(), auth=Public(), tenant="tenant")
    shared = [table_of(number) for number in range(45)]

    def operation(number: int, path: str, also: tuple[str, ...] = ()) -> Operation:
        def function(request: Named) -> None:
            """Do something."""

        function.__name__ = f"operation_{number}"
        return api.post(path, also=also, uses=[write(shared[number % len(shared)])])(function)

    def shown(number: int) -> Operation:
        def function(thing: str, part: str) -> None:
            """Show something."""

        function.__name__ = f"show_{number}"
        return api.get(f"/shown{number}/{{thing}}/{{part}}")(function)

    def work(number: int) -> Worker:
        def function(message: Event) -> None:
            """Work."""

        function.__name__ = f"work_{number}"
        return worker(Queue(f"work-{number}"), uses=[])(function)

    def scheduled(number: int) -> Job:
        def function() -> None:
            """Do what is due."""

        function.__name__ = f"scheduled_{number}"
        return job("rate(1 minute)", uses=[])(function)

    declared: list[Operation | Worker | Job] = [operation(number, f"/do{number}") for number in range(70)]
    declared += [operation(number, f"/api/partner{number}/send") for number in range(70, 77)]
    declared += [operation(number, f"/do{number}", (f"/api/do{number}",)) for number in range(77, 82)]
    declared += [shown(number) for number in range(3)]
    declared += [work(number) for number in range(6)] + [scheduled(number) for number in range(2)]
    folder = tmp_path_factory.mktemp("functions") / "large"
    folder.mkdir()
    system = assemble(folder, declared)
    for function in system.functions:
        system.source(function).write_text("")
    app = new_app(tmp_path_factory.mktemp("large"), "prod", checked=False)
    add_stacks(app, system, dict.fromkeys(("vendor", "kernel", "large"), stand_in))
    yield synthesize(app, Stage.of(app, {}))
    shutil.rmtree(ROOT / "build" / "functions" / "large", ignore_errors=True)


def table_of(number: int) -> type[Table]:
    members = {"name": f"table-{number}", "tenant": UnicodeAttribute(hash_key=True)}
    return type(f"Table{number}", (Table,), members)
