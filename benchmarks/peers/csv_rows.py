"""The chat-history CSV out of DynamoDB's answers by usual means; every way writes the same bytes."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer
from pynamodb.attributes import JSONAttribute, UnicodeAttribute
from pynamodb.models import Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAMES = (
    "user_id", "user_name", "user_picture", "account_type", "account_status", "node_id", "tags", "follow_time",
    "access_time", "created_at",
)  # fmt: skip


class User(Model):
    """A row of the user list; its times stay text."""

    class Meta:
        """Where it would be."""

        table_name = "userlist"
        region = "us-east-1"

    adm_acc_id = UnicodeAttribute(hash_key=True)
    usrid_acstm = UnicodeAttribute(range_key=True)
    user_id = UnicodeAttribute()
    user_name = UnicodeAttribute()
    user_picture = UnicodeAttribute()
    account_type = UnicodeAttribute()
    account_status = UnicodeAttribute()
    node_id = UnicodeAttribute()
    tags = JSONAttribute()
    follow_time = UnicodeAttribute()
    access_time = UnicodeAttribute()
    created_at = UnicodeAttribute()


def _tags(tags: list[dict[str, str]]) -> str:
    shown = [{"name": tag["name"], "color": tag["color"]} for tag in tags]
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def _time(stored: str) -> str:
    return stored.replace("T", " ").removesuffix("Z")


def _cells(row: dict[str, Any]) -> list[str]:
    plain = [row[name] for name in NAMES[:6]]
    return [*plain, _tags(row["tags"]), *(_time(row[name]) for name in NAMES[7:])]


def by_csv_writer(pages: Iterable[bytes]) -> Iterator[str]:
    """Take the attributes out of the parsed answers, and let the csv module write them."""
    for page in pages:
        rows = ({name: item[name]["S"] for name in NAMES} for item in json.loads(page))
        yield _written(_cells({**row, "tags": json.loads(row["tags"])}) for row in rows)


def by_boto3_types(pages: Iterable[bytes]) -> Iterator[str]:
    """Turn each row into plain values as boto3's Table does."""
    read = TypeDeserializer().deserialize
    for page in pages:
        rows = ({name: read(value) for name, value in item.items()} for item in json.loads(page))
        yield _written(_cells({**row, "tags": json.loads(row["tags"])}) for row in rows)


def by_models(pages: Iterable[bytes]) -> Iterator[str]:
    """Make a PynamoDB model of each row."""
    for page in pages:
        users = (User.from_raw_data(item) for item in json.loads(page))
        yield _written(_cells({name: getattr(user, name) for name in NAMES}) for user in users)


def _written(rows: Iterable[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
