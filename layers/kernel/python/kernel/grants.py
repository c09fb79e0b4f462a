"""What an operation may do, said on models: `uses=[read(TagTable), write(TagTable)]`.

Infra turns each grant into statements of the function's own role; tests compare them with the calls made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kernel.queues import Queue
    from kernel.tables import Table


class Grant(NamedTuple):
    """Actions of one service on one resource: a table, a queue, or '' for the system's own key, pool or secret."""

    verb: str
    service: str
    actions: tuple[str, ...]
    resource: type[Table] | Queue | None

    @property
    def text(self) -> str:
        """The grant as people read it: `read(tags)`."""
        return f"{self.verb}({self.resource.name if self.resource else ''})"


def read(table: type[Table]) -> Grant:
    """Get and query rows; never scan."""
    return Grant("read", "dynamodb", ("GetItem", "BatchGetItem", "Query"), table)


def write(table: type[Table]) -> Grant:
    """Put, change and delete rows."""
    return Grant("write", "dynamodb", ("PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem"), table)


def append(table: type[Table]) -> Grant:
    """Add rows, such as audit entries that nobody may rewrite."""
    return Grant("append", "dynamodb", ("PutItem",), table)


def send(queue: Queue) -> Grant:
    """Send messages to a queue."""
    return Grant("send", "sqs", ("SendMessageBatch", "GetQueueUrl"), queue)


def encrypt() -> Grant:
    """Encrypt with the system's key."""
    return Grant("encrypt", "kms", ("Encrypt",), None)


def decrypt() -> Grant:
    """Decrypt with the system's key."""
    return Grant("decrypt", "kms", ("Decrypt",), None)


def sign_in() -> Grant:
    """Check a password with the system's user pool."""
    return Grant("sign_in", "cognito-idp", ("AdminInitiateAuth",), None)


def sign() -> Grant:
    """Read the secret that signs cursors and tokens."""
    return Grant("sign", "secretsmanager", ("GetSecretValue",), None)
