"""Files: stored and fetched through the kernel's own requests, with botocore as the judge of their signatures."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

import boto3
import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel import aws, clock, files, wire
from kernel import settings as kernel_settings
from kernel.files import PART_BYTES, File, FileExists, FileRefused, Folder, Upload
from tests.layers.kernel.test_wire import Server, answers, closes, cuts

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = Folder("images")
EXPORTS = Folder("exports")
NOW = datetime(2024, 1, 28, 6, 4, 25, tzinfo=UTC)
KERNEL = Path(files.__file__).parent.parent
ODD = "測試 a+b&c=d/~e%20(f)'g*!.png"


@pytest.fixture
def bucket(environment: str) -> Iterator[Any]:
    """The bucket, empty, and a client that looks at it from outside."""
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("s3", endpoint_url=environment, region_name="us-east-1")
    client.create_bucket(Bucket="files")
    client.put_bucket_versioning(Bucket="files", VersioningConfiguration={"Status": "Enabled"})
    yield client
    client.close()


@pytest.fixture
def server(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A store that does what the test says."""
    with Server() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before the repetitions, each as long as chance could make it."""
    made: list[float] = []
    monkeypatch.setattr(files, "time", SimpleNamespace(sleep=made.append, time=files.time.time))
    monkeypatch.setattr(files, "random", SimpleNamespace(uniform=lambda low, high: high))
    return made


@pytest.fixture
def seen() -> Iterator[list[aws.Call]]:
    calls: list[aws.Call] = []
    aws.observers.append(calls.append)
    yield calls
    aws.observers.remove(calls.append)


def refuses(code: str, status: int) -> Any:
    return answers(f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode(), status)


# ---- whole files


def test_a_folder_is_the_systems_own(environment):
    assert IMAGES.physical_name() == "images/chatbot"
    assert IMAGES.key("a/b.png") == "images/chatbot/a/b.png"


def test_what_is_stored_is_fetched(bucket):
    version = files.put(IMAGES, "a/b.png", b"\x89PNG\x00\xff", "image/png")

    assert files.get(IMAGES, "a/b.png") == File(b"\x89PNG\x00\xff", "image/png")
    stored = bucket.get_object(Bucket="files", Key="images/chatbot/a/b.png")
    assert (stored["Body"].read(), stored["ContentType"], stored["VersionId"]) == (
        b"\x89PNG\x00\xff",
        "image/png",
        version,
    )


def test_a_part_of_a_file_is_fetched(bucket):
    files.put(IMAGES, "a.bin", b"0123456789", "application/octet-stream")

    found = [files.get(IMAGES, "a.bin", span=span) for span in ((0, 1), (3, 7), (8, 100))]

    assert [file and file.data for file in found] == [b"0", b"3456", b"89"]
    assert files.get(IMAGES, "b.bin", span=(0, 1)) is None


def test_a_file_may_be_empty_and_be_replaced(bucket):
    first = files.put(IMAGES, "a.png", b"", "image/png")
    assert files.get(IMAGES, "a.png") == File(b"", "image/png")

    second = files.put(IMAGES, "a.png", b"new", "image/jpeg")

    assert files.get(IMAGES, "a.png") == File(b"new", "image/jpeg")
    assert first != second


def test_only_a_new_file_is_stored(bucket):
    first = files.put(IMAGES, "a.png", b"first", "image/png", only_new=True)

    with pytest.raises(FileExists, match=r"^s3\.PutObject: 412 PreconditionFailed$"):
        files.put(IMAGES, "a.png", b"second", "image/png", only_new=True)

    assert files.get(IMAGES, "a.png") == File(b"first", "image/png")
    left = bucket.list_object_versions(Bucket="files")["Versions"]
    assert [version["VersionId"] for version in left] == [first]


def test_any_path_is_a_file_of_its_own(bucket):
    files.put(IMAGES, ODD, b"odd", "image/png")

    assert files.get(IMAGES, ODD) == File(b"odd", "image/png")
    (found,) = bucket.list_objects_v2(Bucket="files")["Contents"]
    assert found["Key"] == f"images/chatbot/{ODD}"


def test_there_is_no_file_where_none_was_stored(bucket):
    files.put(EXPORTS, "a.png", b"other folder", "image/png")

    assert files.get(IMAGES, "a.png") is None


def test_a_removed_file_is_gone_and_may_be_removed_again(bucket):
    files.put(IMAGES, "a.png", b"x", "image/png")

    files.remove(IMAGES, "a.png")
    files.remove(IMAGES, "a.png")

    assert files.get(IMAGES, "a.png") is None
    # Its version is still there: it can be restored for as long as the bucket keeps it.
    assert len(bucket.list_object_versions(Bucket="files")["Versions"]) == 1


def test_a_removed_version_is_gone_for_good(bucket):
    kept = files.put(EXPORTS, "a.csv", b"1", "text/csv")
    gone = files.put(EXPORTS, "a.csv", b"2", "text/csv")

    files.remove(EXPORTS, "a.csv", gone)

    left = bucket.list_object_versions(Bucket="files")
    assert [version["VersionId"] for version in left["Versions"]] == [kept]
    assert "DeleteMarkers" not in left
    assert files.get(EXPORTS, "a.csv") == File(b"1", "text/csv")


# ---- links


def test_a_link_lets_anybody_fetch_the_file(bucket):
    files.put(IMAGES, ODD, b"\x89PNG", "image/png")

    reply = wire.send("GET", files.link(IMAGES, ODD), {})

    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"\x89PNG", "image/png")


def test_a_link_knows_nothing_of_the_file_and_counts_as_its_reading(environment, seen):
    assert files.link(IMAGES, "missing").startswith(f"{environment}/files/images/chatbot/missing?")
    assert [(call.action, call.payload) for call in seen] == [("GetObject", {"Key": "images/chatbot/missing"})]


PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
    # No name of a file begins or ends a folder, and clients make their own of dots alone.
    lambda path: not path.startswith("/") and not {"", ".", ".."} & set(path.split("/"))
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=PATHS,
    seconds=st.integers(1, 604800),
    token=st.none() | st.just("FwoGZXIvYXdzEJr//////////w=="),
    region=st.sampled_from(["us-east-1", "ap-northeast-1"]),
    at_aws=st.booleans(),
)
def test_a_link_is_signed_as_botocore_signs_it(environment, path, seconds, token, region, at_aws):
    names = {"AWS_SESSION_TOKEN": token or "", "AWS_REGION": region}
    with patch.dict(os.environ, names), clock.frozen(NOW):
        if at_aws:
            del os.environ["AWS_ENDPOINT_URL"]
        kernel_settings.settings.cache_clear()
        link = files.link(EXPORTS, path, seconds=seconds)
    kernel_settings.settings.cache_clear()

    client = boto3.client(
        "s3",
        region_name=region,
        endpoint_url=None if at_aws else environment,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        aws_session_token=token,
        config=Config(
            signature_version="s3v4",
            ignore_configured_endpoint_urls=True,
            s3={"addressing_style": "virtual" if at_aws else "path", "us_east_1_regional_endpoint": "regional"},
        ),
    )
    with patch.object(botocore.auth, "get_current_datetime", lambda: NOW):
        expected = client.generate_presigned_url(
            "get_object", Params={"Bucket": "files", "Key": f"exports/chatbot/{path}"}, ExpiresIn=seconds
        )
    client.close()
    assert urlsplit(link)[:3] == urlsplit(expected)[:3]
    assert dict(parse_qsl(urlsplit(link).query)) == dict(parse_qsl(urlsplit(expected).query))


def test_an_upload_link_takes_the_file(bucket):
    link = files.upload_link(IMAGES, ODD, 4)

    assert wire.send("PUT", link, {}, b"data").status == 200
    assert files.get(IMAGES, ODD).data == b"data"


def test_an_upload_link_is_signed_with_the_size_and_counts_as_a_store(environment, seen):
    with clock.frozen(NOW):
        link = files.upload_link(IMAGES, ODD, 4, seconds=60)

    config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=environment, config=config)
    with patch.object(botocore.auth, "get_current_datetime", lambda: NOW):
        wanted = {"Bucket": "files", "Key": f"images/chatbot/{ODD}", "ContentLength": 4}
        expected = client.generate_presigned_url("put_object", Params=wanted, ExpiresIn=60)
    client.close()
    assert urlsplit(link)[:3] == urlsplit(expected)[:3]
    assert dict(parse_qsl(urlsplit(link).query)) == dict(parse_qsl(urlsplit(expected).query))
    assert [(call.action, call.payload) for call in seen] == [("PutObject", {"Key": f"images/chatbot/{ODD}"})]


# ---- signatures


@pytest.mark.parametrize("token", [None, "FwoGZXIvYXdzEJr//////////w=="])
@pytest.mark.parametrize(
    ("does", "method", "query"),
    [
        (lambda: files.put(IMAGES, ODD, b"data", "image/png"), "PUT", ""),
        (lambda: files.put(IMAGES, ODD, b"data", "image/png", only_new=True), "PUT", ""),
        (lambda: files.get(IMAGES, ODD), "GET", ""),
        (lambda: files.remove(IMAGES, ODD), "DELETE", ""),
        (lambda: files.remove(IMAGES, ODD, "v/1+="), "DELETE", "versionId=v%2F1%2B%3D"),
        (lambda: files.start_upload(IMAGES, ODD, "text/csv"), "POST", "uploads="),
        (lambda: files.add_part(IMAGES, Upload(ODD, "u/1"), b"data"), "PUT", "partNumber=1&uploadId=u%2F1"),
        (lambda: files.finish_upload(IMAGES, Upload(ODD, "u", ('"e"',))), "POST", "uploadId=u"),
        (lambda: files.abort_upload(IMAGES, Upload(ODD, "u")), "DELETE", "uploadId=u"),
    ],
    ids=["put", "put new", "get", "remove", "remove version", "start", "part", "finish", "abort"],
)
def test_a_request_is_signed_as_botocore_signs_it(server, monkeypatch, token, does, method, query):
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    server.script = [answers(b"<UploadId>u</UploadId>", ETag='"e"')]

    does()

    (request,) = server.requests
    verb, target, _ = request.line.split(" ")
    assert (verb, target.partition("?")[2]) == (method, query)
    headers = {name.lower(): value for name, value in request.headers.items()}
    moment = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    told = {name: headers[name] for name in ("content-type", "if-none-match") if name in headers}
    again = AWSRequest(verb, server.url + target, headers=told, data=request.body)
    with patch.object(botocore.auth, "get_current_datetime", lambda: moment):
        botocore.auth.S3SigV4Auth(Credentials("testing", "testing", token), "s3", "us-east-1").add_auth(again)
    signed = {name.lower(): value for name, value in again.headers.items()}
    assert {name: headers[name] for name in signed} == signed


def test_at_aws_the_bucket_is_in_the_host(environment, monkeypatch):
    asked: list[tuple[str, str, str]] = []

    def send(method: str, url: str, headers: dict[str, str], *_: Any, **__: Any) -> wire.Reply:
        asked.append((method, url, headers["host"]))
        return wire.Reply(200, http_headers(), b"")

    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setattr(wire, "send", send)

    files.get(IMAGES, "a b.png")

    host = "files.s3.us-east-1.amazonaws.com"
    assert asked == [("GET", f"https://{host}/images/chatbot/a%20b.png", host)]


def http_headers() -> Any:
    import http.client

    return http.client.parse_headers(io.BytesIO(b"Content-Type: image/png\r\n\r\n"))


# ---- files in parts


def test_a_file_is_stored_part_by_part(bucket):
    first, last = b"a" * PART_BYTES, b"the end"

    upload = files.start_upload(EXPORTS, "a.csv", "text/csv")
    upload = files.add_part(EXPORTS, upload, first)
    assert files.get(EXPORTS, "a.csv") is None
    upload = files.add_part(EXPORTS, upload, last)
    version = files.finish_upload(EXPORTS, upload)

    assert files.get(EXPORTS, "a.csv") == File(first + last, "text/csv")
    assert bucket.head_object(Bucket="files", Key="exports/chatbot/a.csv")["VersionId"] == version


def test_a_repeated_part_replaces_itself(bucket):
    upload = files.start_upload(EXPORTS, "a.csv", "text/csv")

    files.add_part(EXPORTS, upload, b"lost with its writer")
    upload = files.add_part(EXPORTS, upload, b"kept")
    files.finish_upload(EXPORTS, upload)

    assert files.get(EXPORTS, "a.csv") == File(b"kept", "text/csv")


def test_another_process_goes_on_with_it(bucket, environment):
    upload = files.add_part(EXPORTS, files.start_upload(EXPORTS, "a.csv", "text/csv"), b"a" * PART_BYTES)
    program = (
        "import json, sys; from kernel import files; folder = files.Folder('exports');"
        "upload = files.Upload(*json.load(sys.stdin));"
        "files.finish_upload(folder, files.add_part(folder, upload, b'from elsewhere'))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(upload),
        env={**os.environ, "PYTHONPATH": str(KERNEL)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert files.get(EXPORTS, "a.csv") == File(b"a" * PART_BYTES + b"from elsewhere", "text/csv")


def test_a_file_given_up_leaves_nothing(bucket):
    upload = files.add_part(EXPORTS, files.start_upload(EXPORTS, "a.csv", "text/csv"), b"x")

    files.abort_upload(EXPORTS, upload)

    assert "Uploads" not in bucket.list_multipart_uploads(Bucket="files")
    assert files.get(EXPORTS, "a.csv") is None


def test_small_parts_are_refused_by_the_store(bucket):
    upload = files.start_upload(EXPORTS, "a.csv", "text/csv")
    upload = files.add_part(EXPORTS, files.add_part(EXPORTS, upload, b"small"), b"small")

    with pytest.raises(FileRefused, match=r"^s3\.CompleteMultipartUpload: 400 EntityTooSmall$"):
        files.finish_upload(EXPORTS, upload)


def test_a_file_that_is_refused_after_all_was_not_made(server, pauses):
    # S3 answers 200 and goes on writing while it puts the parts together.
    server.script = [refuses("InternalError", 200)]

    with pytest.raises(FileRefused, match=r"^s3\.CompleteMultipartUpload: 200 InternalError$"):
        files.finish_upload(EXPORTS, Upload("a.csv", "u", ('"1"', '"2"')))

    assert server.requests[0].body == (
        b"<CompleteMultipartUpload>"
        b'<Part><PartNumber>1</PartNumber><ETag>"1"</ETag></Part><Part><PartNumber>2</PartNumber><ETag>"2"</ETag></Part>'
        b"</CompleteMultipartUpload>"
    )


# ---- troubles


@pytest.mark.parametrize("trouble", [refuses("SlowDown", 503), refuses("Busy", 429), answers(b"", 500), closes, cuts])
def test_a_trouble_that_passes_is_not_noticed(server, pauses, seen, trouble):
    server.script = [trouble, trouble, answers(b"data", Content_Type="image/png")]

    assert files.get(IMAGES, "a.png") == File(b"data", "image/png")

    assert len(pauses) <= 2
    assert pauses == [0.1, 0.2][: len(pauses)]
    assert len({request.line for request in server.requests}) == 1
    assert [call.action for call in seen] == ["GetObject"]


def test_a_trouble_that_stays_rises(server, pauses, seen):
    server.script = [refuses("SlowDown", 503)] * 5

    with pytest.raises(FileRefused, match=r"^s3\.PutObject: 503 SlowDown$") as raised:
        files.put(IMAGES, "a.png", b"x", "image/png")

    assert raised.value.status == 503
    assert (len(server.requests), pauses) == (4, [0.1, 0.2, 0.4])
    assert [request.body for request in server.requests] == [b"x"] * 4
    assert [call.action for call in seen] == ["PutObject"]


def test_a_store_out_of_reach_rises(environment, monkeypatch, pauses):
    with Server() as gone:
        url = gone.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)

    with pytest.raises(wire.Unreachable):
        files.get(IMAGES, "a.png")

    assert len(pauses) == 3


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "InvalidRequest"), (301, "")])
def test_a_refusal_is_not_repeated(server, pauses, status, code):
    server.script = [refuses(code, status)]

    with pytest.raises(FileRefused) as raised:
        files.remove(IMAGES, "a.png")

    assert str(raised.value) == f"s3.DeleteObject: {status} {code}"
    assert (len(server.requests), pauses) == (1, [])


def test_a_write_at_the_same_time_passes(server, pauses):
    server.script = [refuses("ConditionalRequestConflict", 409), refuses("PreconditionFailed", 412)]

    with pytest.raises(FileExists):
        files.put(IMAGES, "a.png", b"x", "image/png", only_new=True)

    assert [request.headers["If-None-Match"] for request in server.requests] == ["*", "*"]


@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchKey"), (403, "AccessDenied"), (403, "NoSuchKey")])
def test_a_file_that_may_be_missing_is(server, status, code):
    server.script = [refuses(code, status)]

    assert files.get(IMAGES, "a.png") is None


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "RequestTimeTooSkewed", "SignatureDoesNotMatch", ""])
def test_whoever_is_not_let_in_is_not_told_that_a_file_is_missing(server, pauses, code):
    server.script = [refuses(code, 403)]

    with pytest.raises(FileRefused, match=f"^s3.GetObject: 403 {code}$") as raised:
        files.get(IMAGES, "a.png")

    assert (raised.value.status, raised.value.code) == (403, code)


def test_a_missing_bucket_is_no_missing_file_to_a_writer(bucket, monkeypatch):
    monkeypatch.setenv("FILES_BUCKET", "elsewhere")
    kernel_settings.settings.cache_clear()

    with pytest.raises(FileRefused, match="NoSuchBucket"):
        files.put(IMAGES, "a.png", b"x", "image/png")


def test_observers_see_every_call_with_its_key(bucket, seen):
    files.put(IMAGES, "a.png", b"x", "image/png")
    files.get(IMAGES, "a.png")
    files.get(IMAGES, "missing.png")
    files.remove(IMAGES, "a.png")
    upload = files.add_part(EXPORTS, files.start_upload(EXPORTS, "a.csv", "text/csv"), b"x")
    files.finish_upload(EXPORTS, upload)
    files.abort_upload(EXPORTS, files.start_upload(EXPORTS, "b.csv", "text/csv"))

    assert [(call.service, call.action, call.payload["Key"].rpartition("/")[2]) for call in seen] == [
        ("s3", "PutObject", "a.png"),
        ("s3", "GetObject", "a.png"),
        ("s3", "GetObject", "missing.png"),
        ("s3", "DeleteObject", "a.png"),
        ("s3", "CreateMultipartUpload", "a.csv"),
        ("s3", "UploadPart", "a.csv"),
        ("s3", "CompleteMultipartUpload", "a.csv"),
        ("s3", "CreateMultipartUpload", "b.csv"),
        ("s3", "AbortMultipartUpload", "b.csv"),
    ]


def test_no_refusal_quotes_a_credential(server, pauses, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session-token")
    server.script = [refuses("ExpiredToken", 400)]

    with pytest.raises(FileRefused) as raised:
        files.get(IMAGES, "a.png")

    assert "the-session-token" not in repr(raised.value)
