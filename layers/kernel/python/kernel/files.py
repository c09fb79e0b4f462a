"""Files in the platform's bucket: pictures that are served, exports that are fetched with a signed link.

S3 speaks REST, so requests are signed here and sent over the kernel's connections ("Authenticating Requests (AWS
Signature Version 4)", S3 API Reference); observers see them like every other call.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from kernel import aws, clock, wire
from kernel.settings import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

LINK_SECONDS = 3600
# S3 takes no smaller part but the last.
PART_BYTES = 5 * 1024 * 1024
_ATTEMPTS = 4
_MAY_BE_MISSING = ("AccessDenied", "NoSuchKey")
# Another write of the same file was going on at the same time.
_OVERTAKEN = "ConditionalRequestConflict"
_TIMEOUT = 20.0
_UNSIGNED = "UNSIGNED-PAYLOAD"
_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Folder:
    """A part of the bucket: everything of a system under `{name}/{system}/`."""

    name: str

    def physical_name(self) -> str:
        """Return how the keys of the folder's files begin."""
        return f"{self.name}/{settings().system}"

    def key(self, path: str) -> str:
        """Return the key of a file in this folder."""
        return f"{self.physical_name()}/{path}"


class File(NamedTuple):
    """A stored file."""

    data: bytes
    content_type: str


class FileRefused(RuntimeError):
    """The store did not do what was asked; `status` and `code` are its answer's."""

    def __init__(self, action: str, status: int, code: str) -> None:
        super().__init__(f"s3.{action}: {status} {code}")
        self.status, self.code = status, code


class FileExists(FileRefused):
    """There is a file already where only a new one was to be stored."""


def put(folder: Folder, path: str, data: bytes, content_type: str, *, only_new: bool = False) -> str:
    """Store a file and return its version; with `only_new` raises FileExists when there is one, whatever it holds.

    That one may be of this very call, whose first answer was lost: who has to know compares what it holds.
    """
    headers = {"content-type": content_type}
    if only_new:
        headers["if-none-match"] = "*"
    reply = _call("PutObject", "PUT", folder.key(path), {}, data, headers)
    return reply.headers.get("x-amz-version-id") or ""


def get(folder: Folder, path: str, *, span: tuple[int, int] | None = None) -> File | None:
    """Return a file, None when there is none; with `span` only its bytes from the first to before the second."""
    headers = {"range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
    try:
        reply = _call("GetObject", "GET", folder.key(path), {}, headers=headers)
    except FileRefused as problem:
        # Who may not list the bucket is not told that a file is missing.
        if problem.status == 404 or (problem.status == 403 and problem.code in _MAY_BE_MISSING):
            return None
        raise
    return File(reply.body, reply.headers.get("content-type") or "application/octet-stream")


def remove(folder: Folder, path: str, version: str = "") -> None:
    """Remove a file, or with `version` all that is left of that version; one that is not there is fine."""
    _call("DeleteObject", "DELETE", folder.key(path), {"versionId": version} if version else {})


def link(folder: Folder, path: str, *, seconds: int = LINK_SECONDS) -> str:
    """Return a link that lets anybody fetch the file for so many seconds; it says nothing about the file's being there.

    Made from the function's own credentials, so nothing is called (S3 API Reference, query string authentication);
    observers see it all the same, because whoever follows it does so by the function's right.
    """
    _noted("GetObject", folder.key(path))
    return _presigned("GET", folder.key(path), {}, seconds)


def upload_link(folder: Folder, path: str, size: int, *, seconds: int = LINK_SECONDS) -> str:
    """Return a link to which anybody may PUT the file for so many seconds, with exactly so many bytes."""
    _noted("PutObject", folder.key(path))
    return _presigned("PUT", folder.key(path), {"content-length": str(size)}, seconds)


def _presigned(method: str, key: str, headers: dict[str, str], seconds: int) -> str:
    url, resource = _place(key)
    headers = {**headers, "host": urlsplit(url).netloc}
    stamp = clock.now().strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{settings().region}/s3/aws4_request"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": ";".join(sorted(headers)),
    }
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        query["X-Amz-Security-Token"] = token
    text = _query(query)
    signature = aws.signed(method, resource, text, headers, _UNSIGNED, stamp, scope)
    return f"{url}?{text}&X-Amz-Signature={signature}"


class Upload(NamedTuple):
    """A file that is stored part by part; JSON all through, so that somebody else may go on with it."""

    path: str
    upload_id: str
    parts: tuple[str, ...] = ()


def start_upload(folder: Folder, path: str, content_type: str) -> Upload:
    """Begin a file; what is not finished within a day is thrown away."""
    reply = _call(
        "CreateMultipartUpload", "POST", folder.key(path), {"uploads": ""}, b"", {"content-type": content_type}
    )
    return Upload(path, _element(reply.body, "UploadId"))


def add_part(folder: Folder, upload: Upload, data: bytes) -> Upload:
    """Store the next part, of at least 5 MiB unless it is the last; a repeated part replaces itself."""
    query = {"partNumber": str(len(upload.parts) + 1), "uploadId": upload.upload_id}
    reply = _call("UploadPart", "PUT", folder.key(upload.path), query, data)
    return upload._replace(parts=(*upload.parts, reply.headers["etag"]))


def finish_upload(folder: Folder, upload: Upload) -> str:
    """Make the file of its parts and return its version."""
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(upload.parts, 1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    reply = _call("CompleteMultipartUpload", "POST", folder.key(upload.path), {"uploadId": upload.upload_id}, body)
    if b"<Error>" in reply.body:
        # It answers 200 before it knows.
        raise FileRefused("CompleteMultipartUpload", 200, _element(reply.body, "Code"))
    return reply.headers.get("x-amz-version-id") or ""


def abort_upload(folder: Folder, upload: Upload) -> None:
    """Throw away the parts of a file that will not be finished."""
    _call("AbortMultipartUpload", "DELETE", folder.key(upload.path), {"uploadId": upload.upload_id})


def _element(body: bytes, name: str) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>".encode(), body)
    return found[1].decode() if found else ""


def _query(values: Mapping[str, str]) -> str:
    return urlencode(sorted(values.items()), quote_via=quote, safe="-_.~")


def _place(key: str) -> tuple[str, str]:
    """Return the address of a file and its path there: with a bucket in the host at AWS, in the path elsewhere."""
    bucket, path = settings().files_bucket, "/" + quote(key, safe="/-_.~")
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        return f"{endpoint.rstrip('/')}/{bucket}{path}", f"/{bucket}{path}"
    return f"https://{bucket}.s3.{settings().region}.amazonaws.com{path}", path


def _call(
    action: str,
    method: str,
    key: str,
    query: Mapping[str, str],
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> wire.Reply:
    url, path = _place(key)
    text = _query(query)
    digest = hashlib.sha256(body).hexdigest() if body else _NOTHING
    plain = {**(headers or {}), "host": urlsplit(url).netloc, "x-amz-content-sha256": digest}
    for attempt in range(1, _ATTEMPTS + 1):
        ready = aws.authorized("s3", method, path, text, plain, digest, region=settings().region, seconds=time.time())
        try:
            reply = wire.send(method, f"{url}?{text}" if text else url, ready, body, timeout=_TIMEOUT)
        except wire.Unreachable:
            if attempt == _ATTEMPTS:
                raise
        else:
            code = _element(reply.body, "Code") if reply.status >= 300 else ""
            passes = reply.status >= 500 or reply.status == 429 or code == _OVERTAKEN
            if not passes or attempt == _ATTEMPTS:
                _noted(action, key)
                if reply.status >= 300:
                    raise (FileExists if reply.status == 412 else FileRefused)(action, reply.status, code)
                return reply
        time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311  jitter, not a secret
    raise AssertionError("the last attempt answers or raises")


def _noted(action: str, key: str) -> None:
    for observe in aws.observers:
        observe(aws.Call("s3", action, {"Key": key}, {}))
