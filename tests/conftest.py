"""The cloud that tests run on: moto in this process, empty for every test, with the grants recorder always on."""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import boto3
import pytest
from moto.backends import get_backend
from moto.server import ThreadedMotoServer

from infra.discovery import declarations, systems
from kernel import auth, aws, clock, grants, queues, running, secrets, settings, wire
from kernel.channels import sms
from kernel.jobs import Job, Worker
from kernel.operations import Operation, event_of
from kernel.tables import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NOW = datetime(2024, 1, 28, 6, 41, 29, 6000, tzinfo=UTC)
REGION = "us-east-1"
DECLARED = (Operation, Job, Worker)
TESTS = Path(__file__).resolve().parent
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@functools.cache
def _client(service: str, endpoint: str) -> Any:
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, **KEYS)


@functools.cache
def _dynamodb(endpoint: str) -> Any:
    return boto3.resource("dynamodb", endpoint_url=endpoint, region_name=REGION, **KEYS)


class _Answer(NamedTuple):
    status: int
    body: Any
    content_type: str


class Answer(_Answer):
    """What an operation answered: status, body and content type; `more` are the headers beside the usual ones."""

    more: dict[str, str]


class Cloud:
    """One system's resources on moto, and its operations called as the gateway calls them."""

    def __init__(self, system: str, endpoint: str) -> None:
        self.system = declarations(system)
        self.endpoint = endpoint

    def client(self, service: str) -> Any:
        return _client(service, self.endpoint)

    def call(
        self,
        operation: Operation,
        body: Any = None,
        *,
        caller: str = "0001",
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        form: dict[str, str] | None = None,
        path: dict[str, str] | None = None,
        groups: Iterable[str] = (),
    ) -> Answer:
        event = event_of(operation, urlencode(form) if form else body, caller=caller, groups=groups)
        event["pathParameters"] = path
        if form:
            event["headers"]["Content-Type"] = "application/x-www-form-urlencoded"
        event["headers"] |= headers or {}
        event["queryStringParameters"] = query
        answer = operation(event, None)
        content_type = answer["headers"]["Content-Type"]
        text = base64.b64decode(answer["body"]) if answer.get("isBase64Encoded") else answer["body"]
        more = {name: value for name, value in answer["headers"].items() if name != "Content-Type"}
        if more["Cache-Control"] == "no-store":
            del more["Cache-Control"]
        body = json.loads(text) if content_type.startswith("application/json") else text
        made = Answer(answer["statusCode"], body, content_type)
        made.more = more
        return made

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return all rows of a table, to show what was written and what was not."""
        table = _dynamodb(self.endpoint).Table(settings.resource_name(name))
        return list(table.scan()["Items"])

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """Return every row of every table: equal before and after means that nothing was written."""
        return {table.name: self.rows(table.name) for table in self.system.tables}

    def queued(self, queue: queues.Queue) -> list[dict[str, Any]]:
        """Take all messages off a queue, as its worker receives them."""
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=queue.physical_name())["QueueUrl"]
        records = []
        while True:
            got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"]).get("Messages", [])
            if not got:
                return records
            for message in got:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                records.append(
                    {
                        "messageId": message["MessageId"],
                        "receiptHandle": message["ReceiptHandle"],
                        "body": message["Body"],
                        "attributes": message["Attributes"],
                    }
                )

    def work(self, worker: Worker) -> list[str]:
        """Let the worker handle what is queued; return the ids of the messages it handed back."""
        records = self.queued(worker.queue)
        failures = worker({"Records": records}, None)["batchItemFailures"] if records else []
        return [failure["itemIdentifier"] for failure in failures]


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def system(request: pytest.FixtureRequest) -> str:
    """The system that a test is about: the one its folder or file is named for, else the chatbot."""
    place = str(request.path).removeprefix(str(TESTS))
    return next((name for name in systems() if name in place), "chatbot")


@pytest.fixture
def environment(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch, system: str) -> Iterator[str]:
    """The environment of a function of the system; nothing is kept from the test before."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "LINE_", "MESSENGER_", "WECHAT_", "SMS_", "OUTBOUND_")):
            monkeypatch.delenv(name)
    values = {
        "AWS_ENDPOINT_URL": moto_endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "FILES_BUCKET": "files",
        "PUBLIC_URL": "https://chat.example.com",
        "STAGE": "test",
        "SYSTEM": system,
        "POWERTOOLS_METRICS_DISABLED": "false",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    _forget()
    yield moto_endpoint
    for connection in wire._kept.__dict__.pop("open", {}).values():
        connection.close()


def _forget() -> None:
    for cached in (
        settings.settings,
        queues._url,
        secrets._decrypt,
        secrets.signing_key,
        running.logger,
        auth._pool_keys,
        sms._account,
    ):
        cached.cache_clear()


@functools.cache
def _lasting(endpoint: str) -> dict[str, str]:
    """Make what takes moto long to make and no test changes: keys, secrets, pool; return the variables naming them."""
    cognito = _client("cognito-idp", endpoint)
    pool = cognito.create_user_pool(PoolName="operators")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName="api", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    kms, secrets_manager = _client("kms", endpoint), _client("secretsmanager", endpoint)
    certificate_key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    sms = {"accessKeyId": "id", "accessKeySecret": "secret", "signName": "CityPass", "templateCode": "SMS_1"}
    return {
        "KEY_ID": kms.create_key()["KeyMetadata"]["KeyId"],
        "CERTIFICATE_KEY_ID": certificate_key["KeyMetadata"]["KeyId"],
        "SIGNING_SECRET": secrets_manager.create_secret(Name="signing", SecretString="s" * 64)["ARN"],
        "SMS_SECRET": secrets_manager.create_secret(Name="sms", SecretString=json.dumps(sms))["ARN"],
        "POOL_ID": pool,
        "POOL_CLIENT_ID": client,
        "POOL_ISSUER": f"https://cognito-idp.{REGION}.amazonaws.com/{pool}",
    }


@pytest.fixture
def cloud(environment: str, monkeypatch: pytest.MonkeyPatch, system: str) -> Iterator[Cloud]:
    """The system's tables, key, secret, queues and pool, fresh and empty; the time stands still."""
    made = Cloud(system, environment)
    pool = _lasting(environment)["POOL_ID"]
    if not any(pool in backend.user_pools for _, _, backend in get_backend("cognito-idp").iter_backends()):
        # A test emptied all of moto.
        _lasting.cache_clear()
    for name, value in _lasting(environment).items():
        monkeypatch.setenv(name, value)
    _forget()
    dynamodb = made.client("dynamodb")
    there = dynamodb.list_tables()["TableNames"]
    for _, _, backend in get_backend("dynamodb").iter_backends():
        for kept in backend.tables.values():
            kept.items.clear()
    for table in made.system.tables:
        if table.physical_name() not in there:
            dynamodb.create_table(TableName=table.physical_name(), **schema(table))
    for _, _, backend in get_backend("sqs").iter_backends():
        backend.reset()
    for queue in made.system.queues:
        made.client("sqs").create_queue(QueueName=queue.physical_name(), Attributes={"FifoQueue": "true"})
    _empty_bucket(made.client("s3"))
    cognito = made.client("cognito-idp")
    pool = settings.settings().pool_id
    for user in cognito.list_users(UserPoolId=pool)["Users"]:
        cognito.admin_delete_user(UserPoolId=pool, Username=user["Username"])
    with clock.frozen(NOW):
        yield made


def _empty_bucket(s3: Any) -> None:
    """Make the bucket of the platform's files, or empty the one that is there, versions and all."""
    if not any(bucket["Name"] == "files" for bucket in s3.list_buckets()["Buckets"]):
        s3.create_bucket(Bucket="files")
        s3.put_bucket_versioning(Bucket="files", VersioningConfiguration={"Status": "Enabled"})
        return
    for _, _, backend in get_backend("s3").iter_backends():
        for bucket in backend.buckets.values():
            bucket.keys.clear()
            bucket.multiparts.clear()
            # Another test may have made it in its own way.
            bucket.versioning_status = "Enabled"


Used = dict[str, set[grants.Grant]]


@pytest.fixture(scope="module")
def used_grants(request: pytest.FixtureRequest) -> Iterator[Used]:
    """Collects the grants a module's tests use; fails when one of the operations it imports never used one."""
    used: Used = {}
    failed = request.session.testsfailed
    yield used
    whole = not request.config.getoption("keyword") and not any("::" in arg for arg in request.config.args)
    if request.session.testsfailed > failed or not whole:
        return
    for thing in vars(request.module).values():
        if isinstance(thing, DECLARED):
            never = [grant.text for grant in thing.uses if grant not in used.get(thing.name, set())]
            assert not never, f"{thing.name} declares grants that its tests never use: {never}"


@pytest.fixture(autouse=True)
def recorder(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test whose operation calls what it did not declare."""
    if "cloud" not in request.fixturenames:
        yield
        return
    cloud: Cloud = request.getfixturevalue("cloud")
    used: Used = request.getfixturevalue("used_grants")
    undeclared: list[str] = []

    def observe(call: aws.Call) -> None:
        if running._current is None:
            return
        name = running._current.operation
        thing = next((function for function in cloud.system.functions if function.name == name), None)
        if thing is None:
            return
        for action, resource in touched(call):
            fitting = [
                grant
                for grant in thing.uses
                if grant.service == call.service and action in grant.actions and _meant(grant, call, resource)
            ]
            if fitting:
                used.setdefault(name, set()).update(fitting)
            else:
                undeclared.append(f"{name}: {call.service}.{action} on {resource}")

    aws.observers.append(observe)
    yield
    aws.observers.remove(observe)
    assert not undeclared, f"calls that are not declared: {undeclared}"


def _meant(grant: grants.Grant, call: aws.Call, resource: str) -> bool:
    """Tell whether a grant of the action is for this resource."""
    if grant.service == "secretsmanager":
        # A system has two secrets that are read alike.
        return (grant.verb == "sms") == (call.payload["SecretId"] == settings.settings().sms_secret)
    return grant.resource is None or grant.resource.physical_name() == resource


def touched(call: aws.Call) -> list[tuple[str, str]]:
    """Return what a call did: (action, resource), several for batches and transactions."""
    payload = call.payload
    if call.action == "TransactWriteItems":
        actions = {
            "Put": "PutItem",
            "Update": "UpdateItem",
            "Delete": "DeleteItem",
            "ConditionCheck": "ConditionCheckItem",
        }
        return [
            (actions[verb], write["TableName"]) for item in payload["TransactItems"] for verb, write in item.items()
        ]
    if call.action in ("BatchGetItem", "BatchWriteItem"):
        return [(call.action, name) for name in payload["RequestItems"]]
    if call.service == "sqs":
        name = payload.get("QueueName") or payload["QueueUrl"].rpartition("/")[2]
        return [(call.action, name)]
    if call.service == "s3":
        return [(call.action, "/".join(payload["Key"].split("/")[:2]))]
    return [(call.action, payload.get("TableName", ""))]
