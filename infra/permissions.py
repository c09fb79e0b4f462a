"""Permissions: what a function's grants mean in IAM, action by action, on nothing but what they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_cdk import Aws

from infra.queues import queue_name
from kernel.files import Folder
from kernel.queues import Queue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from infra.stages import Stage
    from kernel.grants import Grant
    from kernel.tables import Table

Statement = dict[str, Any]

# IAM knows some API actions under the name of the action they repeat, and two where one API action does either.
_IAM_ACTIONS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("sqs", "SendMessageBatch"): ("SendMessage",),
    ("s3", "CreateMultipartUpload"): ("PutObject",),
    ("s3", "UploadPart"): ("PutObject",),
    ("s3", "CompleteMultipartUpload"): ("PutObject",),
    ("s3", "DeleteObject"): ("DeleteObject", "DeleteObjectVersion"),
}
# DynamoDB opens an encrypted table with the caller's own right to the key.
_READ_KEY = ("Decrypt", "DescribeKey")
_WRITE_KEY = (*_READ_KEY, "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo")
# S3 does the same with a file; to go on with a half stored one it has to read the key again.
_FILE_KEY: Mapping[str, tuple[str, ...]] = {"fetch": ("Decrypt",), "store": ("Decrypt", "GenerateDataKey")}
_POLL = ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ReceiveMessage")


@dataclass(frozen=True)
class Resources:
    """Where the resources of a system are, for functions that were granted their use."""

    stage: Stage
    system: str
    key_arn: str
    pool_arn: str
    pool_id: str
    pool_client_id: str
    signing_secret_arn: str
    public_url: str
    # Of systems that were granted their use only.
    certificate_key_arn: str = ""
    sms_secret_arn: str = ""

    def table_arn(self, table: type[Table]) -> str:
        """Return the ARN of a table, which its name decides."""
        return _arn("dynamodb", f"table/{self.stage.resource(self.system, table.name)}")

    def queue_arn(self, queue: Queue) -> str:
        """Return the ARN of a queue, which its name decides."""
        return _arn("sqs", queue_name(self.stage, self.system, queue))

    def files_arn(self, folder: Folder) -> str:
        """Return the ARN of all that a system has in a folder of the bucket for files."""
        return f"arn:{Aws.PARTITION}:s3:::{self.stage.files_bucket}/{folder.name}/{self.system}/*"

    def own_arn(self, grant: Grant) -> str:
        """Return the ARN of what a system has one of, which the word of the grant says."""
        return {
            "encrypt": self.key_arn,
            "decrypt": self.key_arn,
            "certify": self.certificate_key_arn,
            "check_certificate": self.certificate_key_arn,
            "sign_in": self.pool_arn,
            "enroll": self.pool_arn,
            "set_passwords": self.pool_arn,
            "sign": self.signing_secret_arn,
            "sms": self.sms_secret_arn,
        }[grant.verb]


def statements(grants: Iterable[Grant], resources: Resources) -> list[Statement]:
    """Return the statements of a function's role for its grants, one for all resources with the same actions.

    A role's policies may have 10,240 characters, and some functions work on most tables.
    """
    actions: dict[tuple[str, str], set[str]] = {}
    through: dict[str, set[str]] = {}
    for grant in grants:
        for arn, allowed in _resources_of(grant, resources):
            granted = actions.setdefault((grant.service, arn), set())
            for action in allowed:
                granted.update(_IAM_ACTIONS.get((grant.service, action), (action,)))
        if grant.service == "dynamodb":
            key_actions = _READ_KEY if grant.verb == "read" else _WRITE_KEY
            through.setdefault("dynamodb", set()).update(key_actions)
        if grant.service == "s3" and grant.verb in _FILE_KEY:
            through.setdefault("s3", set()).update(_FILE_KEY[grant.verb])
        if grant.service == "secretsmanager":
            through.setdefault("secretsmanager", set()).add("Decrypt")
    key = resources.key_arn
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (service, arn), names in actions.items():
        alike.setdefault((service, tuple(sorted(names))), []).append(arn)
    found = [
        _allow(service, names, arns[0] if len(arns) == 1 else arns, _own_ciphertext() if arns == [key] else None)
        for (service, names), arns in alike.items()
    ]
    found += [_allow("kms", sorted(names), key, _only_through(service)) for service, names in through.items()]
    return found


def poll(queue: Queue, resources: Resources) -> Statement:
    """Return the statement that lets Lambda fetch a queue's messages for its worker."""
    return _allow("sqs", _POLL, resources.queue_arn(queue))


def write_log(log_group_arn: str) -> Statement:
    """Return the statement that lets a function write its lines into the system's log group."""
    return _allow("logs", ("CreateLogStream", "PutLogEvents"), log_group_arn)


def send_failed(queue_arn: str) -> Statement:
    """Return the statement that lets Lambda keep a failed asynchronous run."""
    return _allow("sqs", ("SendMessage",), queue_arn)


def document(found: Sequence[Statement]) -> dict[str, Any]:
    """Return a policy document of the statements."""
    return {"Version": "2012-10-17", "Statement": list(found)}


def trust(service: str) -> dict[str, Any]:
    """Return the policy document that lets an AWS service assume a role."""
    return document([{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}])


def _resources_of(grant: Grant, resources: Resources) -> Iterable[tuple[str, tuple[str, ...]]]:
    if isinstance(grant.resource, Queue):
        yield resources.queue_arn(grant.resource), grant.actions
    elif isinstance(grant.resource, Folder):
        yield resources.files_arn(grant.resource), grant.actions
    elif grant.resource is None:
        yield resources.own_arn(grant), grant.actions
    else:
        table = resources.table_arn(grant.resource)
        yield table, grant.actions
        if "Query" in grant.actions:
            for index in sorted(grant.resource.indexes()):
                yield f"{table}/index/{index}", ("Query",)


def _allow(
    service: str, actions: Sequence[str], arn: str | list[str], condition: dict[str, Any] | None = None
) -> Statement:
    statement: Statement = {
        "Effect": "Allow",
        "Action": [f"{service}:{action}" for action in actions],
        "Resource": arn,
    }
    if condition:
        statement["Condition"] = condition
    return statement


def _own_ciphertext() -> dict[str, Any]:
    # `kernel.secrets` numbers the parts of each text; what services encrypted with the same key has no such context.
    return {"Null": {"kms:EncryptionContext:part": "false"}}


def _only_through(service: str) -> dict[str, Any]:
    return {"StringEquals": {"kms:ViaService": f"{service}.{Aws.REGION}.amazonaws.com"}}


def _arn(service: str, name: str) -> str:
    return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{name}"
