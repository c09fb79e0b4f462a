"""What is in the bucket of the platform's files, and what may happen to an export while it is written."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from chatbot.tables import ExportTable
from kernel import aws
from kernel.tables import Delete, commit
from tests.functions.chatbot.examples import PARTITION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Cloud


class StoredFile(NamedTuple):
    key: str
    version: str
    body: bytes


def stored_files(cloud: Cloud) -> list[StoredFile]:
    """Return all versions of all files, those that a delete marker hides as well."""
    s3 = cloud.client("s3")
    found = s3.list_object_versions(Bucket="files")
    assert not found.get("DeleteMarkers"), "files are removed for good"
    return [
        StoredFile(
            one["Key"],
            one["VersionId"],
            s3.get_object(Bucket="files", Key=one["Key"], VersionId=one["VersionId"])["Body"].read(),
        )
        for one in found.get("Versions", [])
    ]


def uploads(cloud: Cloud, *, parts: bool = False) -> list[str]:
    """Return the keys of the files that are begun and not finished, or only of those that hold something."""
    s3 = cloud.client("s3")
    found = s3.list_multipart_uploads(Bucket="files").get("Uploads", [])
    return [
        upload["Key"]
        for upload in found
        if not parts or s3.list_parts(Bucket="files", Key=upload["Key"], UploadId=upload["UploadId"]).get("Parts")
    ]


def drop_exports() -> None:
    """Take away the rows of the channel's exports, as an erasure does that comes in between."""
    for row in ExportTable.query(PARTITION, consistent=True).rows:
        commit(Delete(ExportTable, row.own_key()))


@contextmanager
def after(action: str, happens: Callable[[], Any]) -> Iterator[None]:
    """Let something happen right after the first call of this action inside the block."""
    left = [happens]

    def observe(call: aws.Call) -> None:
        if call.action == action and left:
            left.pop()()

    aws.observers.append(observe)
    try:
        yield
    finally:
        aws.observers.remove(observe)
    assert not left, f"{action} was not called"


def after_put(happens: Callable[[], Any]) -> Any:
    """Let something happen right after a file was stored whole."""
    return after("PutObject", happens)
