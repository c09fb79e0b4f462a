"""What an operation may do, said on models: `uses=[read(TagTable), write(TagTable)]`.

Infra turns each grant into statements of the function's own role; tests compare them with the calls made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kernel.files import Folder
    from kernel.queues import Queue
    from kernel.tables import Table


class Grant(NamedTuple):
    """Actions of one service on one resource: a table, queue or folder, or none: the system's own key, pool, secret."""

    verb: str
    service: str
    actions: tuple[str, ...]
    resource: type[Table] | Queue | Folder | None

    @property
    def text(self) -> str:
        """The grant as people read it: `read(tags)`."""
        return f"{self.verb}({self.resource.name if self.resource else ''})"


def read(table: type[Table]) -> Grant:
    """Get and query rows; never scan."""
    return Grant("read", "dynamodb", ("GetItem", "BatchGetItem", "Query"), table)


def write(table: type[Table]) -> Grant:
    """Put, change and delete rows."""
    actions = ("PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem", "BatchWriteItem")
    return Grant("write", "dynamodb", actions, table)


def append(table: type[Table]) -> Grant:
    """Add rows, such as audit entries that nobody may rewrite."""
    return Grant("append", "dynamodb", ("PutItem",), table)


def send(queue: Queue) -> Grant:
    """Send messages to a queue."""
    return Grant("send", "sqs", ("SendMessageBatch", "GetQueueUrl"), queue)


def fetch(folder: Folder) -> Grant:
    """Read files of a folder, also through links made here."""
    return Grant("fetch", "s3", ("GetObject",), folder)


def store(folder: Folder) -> Grant:
    """Store files in a folder, whole or part by part."""
    actions = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload")
    return Grant("store", "s3", actions, folder)


def remove(folder: Folder) -> Grant:
    """Remove files of a folder for good."""
    return Grant("remove", "s3", ("DeleteObject",), folder)


def encrypt() -> Grant:
    """Encrypt with the system's key."""
    return Grant("encrypt", "kms", ("Encrypt",), None)


def decrypt() -> Grant:
    """Decrypt with the system's key."""
    return Grant("decrypt", "kms", ("Decrypt",), None)


def certify() -> Grant:
    """Sign certificates with the system's certificate key."""
    return Grant("certify", "kms", ("Sign",), None)


def check_certificate() -> Grant:
    """Check signatures of the system's certificate key."""
    return Grant("check_certificate", "kms", ("Verify",), None)


def sign_in() -> Grant:
    """Check a password with the system's user pool."""
    return Grant("sign_in", "cognito-idp", ("AdminInitiateAuth",), None)


def enroll() -> Grant:
    """Make users of the system's user pool and set their passwords."""
    return Grant("enroll", "cognito-idp", ("AdminCreateUser", "AdminSetUserPassword"), None)


def set_passwords() -> Grant:
    """Set passwords of the system's users, and make none."""
    return Grant("set_passwords", "cognito-idp", ("AdminSetUserPassword",), None)


def sign() -> Grant:
    """Read the secret that signs cursors and tokens."""
    return Grant("sign", "secretsmanager", ("GetSecretValue",), None)


def sms() -> Grant:
    """Read the secret that sends SMS in the system's name."""
    return Grant("sms", "secretsmanager", ("GetSecretValue",), None)
