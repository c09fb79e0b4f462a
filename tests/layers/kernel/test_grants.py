"""Grants: what each word allows."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pynamodb.attributes import UnicodeAttribute

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
    set_passwords,
    sign,
    sign_in,
    sms,
    store,
    write,
)
from kernel.queues import Queue
from kernel.tables import Table

ORDERS = Queue("orders")
IMAGES = Folder("images")


class ShopTable(Table):
    name: ClassVar[str] = "shops"
    city = UnicodeAttribute(hash_key=True)


@pytest.mark.parametrize(
    ("grant", "text", "service", "actions", "resource"),
    [
        (read(ShopTable), "read(shops)", "dynamodb", ("GetItem", "BatchGetItem", "Query"), ShopTable),
        (
            write(ShopTable),
            "write(shops)",
            "dynamodb",
            ("PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem", "BatchWriteItem"),
            ShopTable,
        ),
        (append(ShopTable), "append(shops)", "dynamodb", ("PutItem",), ShopTable),
        (send(ORDERS), "send(orders)", "sqs", ("SendMessageBatch", "GetQueueUrl"), ORDERS),
        (fetch(IMAGES), "fetch(images)", "s3", ("GetObject",), IMAGES),
        (
            store(IMAGES),
            "store(images)",
            "s3",
            ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload"),
            IMAGES,
        ),
        (remove(IMAGES), "remove(images)", "s3", ("DeleteObject",), IMAGES),
        (encrypt(), "encrypt()", "kms", ("Encrypt",), None),
        (decrypt(), "decrypt()", "kms", ("Decrypt",), None),
        (certify(), "certify()", "kms", ("Sign",), None),
        (check_certificate(), "check_certificate()", "kms", ("Verify",), None),
        (sign_in(), "sign_in()", "cognito-idp", ("AdminInitiateAuth",), None),
        (enroll(), "enroll()", "cognito-idp", ("AdminCreateUser", "AdminSetUserPassword"), None),
        (set_passwords(), "set_passwords()", "cognito-idp", ("AdminSetUserPassword",), None),
        (sign(), "sign()", "secretsmanager", ("GetSecretValue",), None),
        (sms(), "sms()", "secretsmanager", ("GetSecretValue",), None),
    ],
)
def test_a_grant_names_its_actions_and_its_resource(grant, text, service, actions, resource):
    assert grant.text == text
    assert (grant.service, grant.actions, grant.resource) == (service, actions, resource)


def test_equal_grants_are_one():
    assert len({read(ShopTable), read(ShopTable), write(ShopTable), send(ORDERS), send(Queue("orders"))}) == 3
    assert len({fetch(IMAGES), fetch(Folder("images")), fetch(Folder("exports")), store(IMAGES)}) == 3
