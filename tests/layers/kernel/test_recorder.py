"""The recorder of grants: it fails what an operation does and did not declare, and what it declares and never does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest

from kernel import aws, wire
from kernel.settings import resource_name
from tests.conftest import touched

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["pytester"]

HEAD = """
from types import SimpleNamespace
from typing import ClassVar

import pytest
from pynamodb.attributes import UnicodeAttribute

from kernel.auth import Public
from kernel.envelopes import Response
from kernel import files
from kernel.files import Folder
from kernel.grants import fetch as fetch_files, read, remove, sign, store, write
from kernel.operations import Api, event_of
from kernel.tables import Delete, Put, Table, commit, fetch, write_all


class Plain:
    def success(self, result):
        return Response(200, "")

    def fault(self, fault):
        return Response(500, fault.message)


class ShopTable(Table):
    name: ClassVar[str] = "shops"
    city = UnicodeAttribute(hash_key=True)


class OtherTable(ShopTable):
    name: ClassVar[str] = "others"


IMAGES = Folder("images")
EXPORTS = Folder("exports")
api = Api("chatbot", envelope=Plain(), auth=Public(), tenant="adminId")


@pytest.fixture(scope="session")
def moto_endpoint():
    return "{endpoint}"


@pytest.fixture
def cloud(environment):
    return SimpleNamespace(system=SimpleNamespace(functions=(visit,)))


def call(operation):
    return operation(event_of(operation, ""), None)["statusCode"]
"""


class Sample(NamedTuple):
    outcomes: dict[str, int]
    printed: str


@pytest.fixture(scope="module", autouse=True)
def _moto_is_whole(moto_endpoint: str) -> None:
    """Let moto load its services: what it loads during a sample is forgotten with it, and would be there twice."""
    for service, ask in (("dynamodb", "list_tables"), ("s3", "list_buckets")):
        client = boto3.client(
            service,
            endpoint_url=moto_endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        getattr(client, ask)()
        client.close()


@pytest.fixture
def run(pytester: pytest.Pytester, environment: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sample]:
    """Runs a module of tests under the recorder, on the cloud that is there already."""
    # What other plugins import they would import anew for every sample.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("dynamodb", endpoint_url=environment, region_name="us-east-1")
    for name in ("shops", "others"):
        client.create_table(
            TableName=resource_name(name),
            KeySchema=[{"AttributeName": "city", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "city", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    client.close()
    store = boto3.client("s3", endpoint_url=environment, region_name="us-east-1")
    store.create_bucket(Bucket="files")
    store.close()

    def run_module(body: str, *arguments: str) -> Sample:
        pytester.makepyfile(test_sample=HEAD.replace("{endpoint}", environment) + body)
        pytester.makeini("[pytest]\naddopts = --import-mode=importlib")
        result = pytester.runpytest_inprocess("-p", "tests.conftest", "-p", "no:cacheprovider", *arguments)
        return Sample(result.parseoutcomes(), result.stdout.str())

    return run_module


VISIT = """
@api.post("/visit", uses={uses})
def visit() -> None:
    "Visit."
    {does}


def test_visit(cloud):
    assert call(visit) == 200
"""


def visit(uses: str, does: str) -> str:
    return VISIT.format(uses=uses, does=does)


@pytest.mark.parametrize(
    ("uses", "does"),
    [
        ("[read(ShopTable)]", "ShopTable.find('a')"),
        ("[read(ShopTable)]", "ShopTable.query('a')"),
        ("[read(ShopTable)]", "fetch((ShopTable, ShopTable.key('a')))"),
        ("[write(ShopTable)]", "commit(Put(ShopTable(city='a')))"),
        ("[write(ShopTable), read(OtherTable)]", "commit(Put(ShopTable(city='a'))); OtherTable.find('a')"),
        ("[write(ShopTable), write(OtherTable)]", "commit(Put(ShopTable(city='a')), Put(OtherTable(city='a')))"),
        ("[write(ShopTable)]", "write_all([Put(ShopTable(city='a')), Delete(ShopTable, ShopTable.key('b'))])"),
        ("[store(IMAGES)]", "files.put(IMAGES, 'a/b', b'', 'image/png')"),
        ("[store(IMAGES)]", "files.abort_upload(IMAGES, files.start_upload(IMAGES, 'a', 'image/png'))"),
        ("[fetch_files(IMAGES)]", "files.link(IMAGES, 'a')"),
        ("[fetch_files(IMAGES), remove(IMAGES)]", "files.get(IMAGES, 'a'); files.remove(IMAGES, 'a', 'v')"),
        ("[]", "pass"),
    ],
)
def test_an_operation_that_does_what_it_declares_passes(run, uses, does):
    assert run(visit(uses, does)).outcomes == {"passed": 1}


@pytest.mark.parametrize(
    ("uses", "does", "told"),
    [
        ("[]", "ShopTable.find('a')", "visit: dynamodb.GetItem on citypass-test-chatbot-shops"),
        ("[read(OtherTable)]", "ShopTable.find('a')", "visit: dynamodb.GetItem on citypass-test-chatbot-shops"),
        ("[write(ShopTable)]", "ShopTable.query('a')", "visit: dynamodb.Query on citypass-test-chatbot-shops"),
        (
            "[read(ShopTable)]",
            "commit(Put(ShopTable(city='a')))",
            "visit: dynamodb.PutItem on citypass-test-chatbot-shops",
        ),
        (
            "[write(ShopTable)]",
            "commit(Put(ShopTable(city='a')), Put(OtherTable(city='a')))",
            "visit: dynamodb.PutItem on citypass-test-chatbot-others",
        ),
        (
            "[read(ShopTable)]",
            "fetch((ShopTable, ShopTable.key('a')), (OtherTable, OtherTable.key('a')))",
            "visit: dynamodb.BatchGetItem on citypass-test-chatbot-others",
        ),
        (
            "[write(ShopTable)]",
            "write_all([Put(ShopTable(city='a')), Put(OtherTable(city='b'))])",
            "visit: dynamodb.BatchWriteItem on citypass-test-chatbot-others",
        ),
        ("[fetch_files(IMAGES)]", "files.put(IMAGES, 'a', b'', '')", "visit: s3.PutObject on images/chatbot"),
        ("[store(EXPORTS)]", "files.put(IMAGES, 'a', b'', '')", "visit: s3.PutObject on images/chatbot"),
        ("[store(IMAGES)]", "files.get(IMAGES, 'a')", "visit: s3.GetObject on images/chatbot"),
    ],
)
def test_a_call_that_is_not_declared_fails_the_test(run, uses, does, told):
    sample = run(visit(uses, does))

    assert sample.outcomes == {"passed": 1, "errors": 1}
    assert f"calls that are not declared: ['{told}']" in sample.printed


@pytest.mark.parametrize(
    ("uses", "does", "told"),
    [
        ("[read(ShopTable)]", "pass", "['read(shops)']"),
        ("[read(ShopTable), write(ShopTable)]", "ShopTable.find('a')", "['write(shops)']"),
        ("[store(IMAGES), remove(IMAGES)]", "files.put(IMAGES, 'a', b'', '')", "['remove(images)']"),
        ("[read(ShopTable), read(OtherTable), sign()]", "ShopTable.find('a')", "['read(others)', 'sign()']"),
    ],
)
def test_a_grant_that_is_never_used_fails_the_module(run, uses, does, told):
    sample = run(visit(uses, does))

    assert sample.outcomes == {"passed": 1, "errors": 1}
    assert f"visit declares grants that its tests never use: {told}" in sample.printed


def test_a_grant_counts_when_any_test_of_the_module_uses_it(run):
    body = """
@api.post("/visit", uses=[read(ShopTable), write(ShopTable)])
def visit(what: str) -> None:
    "Visit."
    commit(Put(ShopTable(city="a"))) if what == "put" else ShopTable.find("a")


@pytest.mark.parametrize("what", ["put", "find"])
def test_visit(cloud, what):
    event = {**event_of(visit, ""), "queryStringParameters": {"what": what}}
    assert visit(event, None)["statusCode"] == 200
"""

    assert run(body).outcomes == {"passed": 2}


@pytest.mark.parametrize("arguments", [("-k", "visit"), ("test_sample.py::test_visit",)])
def test_unused_grants_are_not_judged_by_a_part_of_the_tests(run, arguments):
    assert run(visit("[read(ShopTable)]", "pass"), *arguments).outcomes == {"passed": 1}


def test_unused_grants_are_not_judged_after_a_failure(run):
    body = visit("[read(ShopTable)]", "pass") + "\n\ndef test_fails(cloud):\n    assert False\n"

    assert run(body).outcomes == {"passed": 1, "failed": 1}


def test_what_a_test_does_itself_is_no_operation_s_call(run):
    body = visit("[]", "pass") + "    assert ShopTable.find('a') is None\n"

    assert run(body).outcomes == {"passed": 1}


def test_tests_without_the_cloud_are_not_recorded(run):
    body = visit("[read(ShopTable)]", "pass").replace("(cloud)", "(environment)")

    assert run(body).outcomes == {"passed": 1}


def payload_of(**items: Any) -> dict[str, Any]:
    return {"TransactItems": [{verb: {"TableName": name}} for verb, name in items.items()]}


@pytest.mark.parametrize(
    ("service", "action", "payload", "expected"),
    [
        ("dynamodb", "GetItem", {"TableName": "t"}, [("GetItem", "t")]),
        (
            "dynamodb",
            "TransactWriteItems",
            payload_of(Put="a", Update="b", Delete="c", ConditionCheck="d"),
            [("PutItem", "a"), ("UpdateItem", "b"), ("DeleteItem", "c"), ("ConditionCheckItem", "d")],
        ),
        (
            "dynamodb",
            "BatchGetItem",
            {"RequestItems": {"a": {}, "b": {}}},
            [("BatchGetItem", "a"), ("BatchGetItem", "b")],
        ),
        (
            "dynamodb",
            "BatchWriteItem",
            {"RequestItems": {"a": [], "b": []}},
            [("BatchWriteItem", "a"), ("BatchWriteItem", "b")],
        ),
        ("s3", "PutObject", {"Key": "images/chatbot/a/b.png"}, [("PutObject", "images/chatbot")]),
        ("sqs", "GetQueueUrl", {"QueueName": "q.fifo"}, [("GetQueueUrl", "q.fifo")]),
        ("sqs", "SendMessageBatch", {"QueueUrl": "https://sqs/1/q.fifo"}, [("SendMessageBatch", "q.fifo")]),
        ("kms", "Decrypt", {"KeyId": "k"}, [("Decrypt", "")]),
        ("secretsmanager", "GetSecretValue", {"SecretId": "s"}, [("GetSecretValue", "")]),
    ],
)
def test_a_call_touches_what_it_names(service, action, payload, expected):
    assert touched(aws.Call(service, action, payload, {})) == expected
