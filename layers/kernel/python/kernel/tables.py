"""Tables: declared with PynamoDB's attributes, indexes and expressions, moved over the kernel's own transport.

A subclass of `Table` is the only declaration of its table: infra reads keys, indexes and TTL from it, tests
create it from the same class. Why not `pynamodb.models.Model`: docs/decisions/0001-own-aws-transport.md.
"""

from __future__ import annotations

import base64
import json
import random
import time
import zlib
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from pynamodb.attributes import Attribute, AttributeContainer, NumberAttribute, TTLAttribute
from pynamodb.expressions.update import Update as UpdateExpression
from pynamodb.indexes import GlobalSecondaryIndex

from kernel import aws, clock
from kernel.errors import Conflict
from kernel.ids import ordered_id
from kernel.settings import resource_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from pynamodb.expressions.condition import Condition
    from pynamodb.expressions.update import Action

Item = dict[str, dict[str, Any]]
T = TypeVar("T")
PAGE = 100
_TRANSACTION_ATTEMPTS = 6
_BATCH_GET = 100
_BATCH_WRITE = 25
_BATCH_WRITE_ATTEMPTS = 8


class UtcTime(Attribute[datetime]):
    """A time, kept as text in UTC with milliseconds, so that text order is time order."""

    attr_type = "S"

    def serialize(self, value: datetime) -> str:
        """Return `2024-01-28T06:04:25.693Z`."""
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def deserialize(self, value: str) -> datetime:
        """Return the time with its zone."""
        return datetime.fromisoformat(value)


class WholeNumber(Attribute[int]):
    """A number without decimals: an id, a count, cents."""

    attr_type = "N"

    def serialize(self, value: int) -> str:
        """Return the digits."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{value!r} is no whole number")
        return str(value)

    def deserialize(self, value: str) -> int:
        """Return the number."""
        return int(value)


class CompressedJson(Attribute[Any]):
    """Any JSON value, deflated: Flex messages shrink to a fifth, and an item holds at most 400 KB."""

    attr_type = "B"

    def serialize(self, value: Any) -> bytes:
        """Return the deflated UTF-8 text."""
        return zlib.compress(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())

    def deserialize(self, value: bytes) -> Any:
        """Return the value as it was given."""
        return json.loads(zlib.decompress(value))


class Version(NumberAttribute):
    """Counts the changes of a row; `replace` refuses a row that somebody else changed meanwhile."""


class ConditionFailed(Conflict):
    """The table refused a write; `index` says which of the committed writes."""

    def __init__(self, index: int) -> None:
        super().__init__("changed by somebody else meanwhile, or already there")
        self.index = index


class Page(NamedTuple, Generic[T]):
    """Rows and the key to go on with, None on the last page."""

    rows: list[T]
    last_key: Item | None


def _wire_value(value: dict[str, Any]) -> dict[str, Any]:
    """Write bytes inside an attribute value as base64, as DynamoDB's JSON protocol wants them."""
    (kind, content), *_ = value.items()
    if kind == "B":
        return {"B": base64.b64encode(content).decode()}
    if kind == "BS":
        return {"BS": [base64.b64encode(inner).decode() for inner in content]}
    if kind == "M":
        return {"M": {name: _wire_value(inner) for name, inner in content.items()}}
    if kind == "L":
        return {"L": [_wire_value(inner) for inner in content]}
    return value


def _stored_value(value: dict[str, Any]) -> dict[str, Any]:
    """Read base64 inside an attribute value as bytes."""
    (kind, content), *_ = value.items()
    if kind == "B":
        return {"B": base64.b64decode(content)}
    if kind == "BS":
        return {"BS": [base64.b64decode(inner) for inner in content]}
    if kind == "M":
        return {"M": {name: _stored_value(inner) for name, inner in content.items()}}
    if kind == "L":
        return {"L": [_stored_value(inner) for inner in content]}
    return value


def plain(item: Item) -> dict[str, Any]:
    """Return a raw row with plain values, for rows that only pass through; numbers stay text, sets become lists."""

    def value(typed: dict[str, Any]) -> Any:
        (kind, content), *_ = typed.items()
        if kind == "M":
            return {name: value(inner) for name, inner in content.items()}
        if kind == "L":
            return [value(inner) for inner in content]
        return None if kind == "NULL" else content

    return {name: value(typed) for name, typed in item.items()}


class _Expressions:
    """The placeholders that the expressions of one request share."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def of(self, expression: Condition | UpdateExpression | None) -> str | None:
        return None if expression is None else expression.serialize(self.names, self.values)

    def into(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.names:
            request["ExpressionAttributeNames"] = {short: name for name, short in self.names.items()}
        if self.values:
            request["ExpressionAttributeValues"] = {short: _wire_value(value) for short, value in self.values.items()}
        return {name: value for name, value in request.items() if value is not None}


class Table(AttributeContainer):
    """A row of a table. Subclasses name the table (`name`) and declare its attributes."""

    name: ClassVar[str]

    def __init__(self, _user_instantiated: bool = True, **attributes: Any) -> None:
        super().__init__(_user_instantiated, **attributes)

    @classmethod
    def physical_name(cls) -> str:
        """Return the name of the table in this stage and system."""
        return resource_name(cls.name)

    @classmethod
    def keys(cls) -> tuple[Attribute[Any], Attribute[Any] | None]:
        """Return the attributes that are the hash key and the range key."""
        attributes = cls.get_attributes().values()
        hash_key = next(attribute for attribute in attributes if attribute.is_hash_key)
        return hash_key, next((attribute for attribute in attributes if attribute.is_range_key), None)

    @classmethod
    def indexes(cls) -> dict[str, type[GlobalSecondaryIndex[Any]]]:
        """Return the indexes by name."""
        found = (value for value in vars(cls).values() if isinstance(value, GlobalSecondaryIndex))
        return {index.Meta.index_name: type(index) for index in found}

    @classmethod
    def ttl_attribute(cls) -> str | None:
        """Return the attribute that holds the time to live, if there is one."""
        found = (a.attr_name for a in cls.get_attributes().values() if isinstance(a, TTLAttribute))
        return next(found, None)

    @classmethod
    def key(cls, hash_key: Any, range_key: Any = None) -> Item:
        """Return the key of a row as DynamoDB writes it."""
        first, second = cls.keys()
        item = {first.attr_name: _wire_value({first.attr_type: first.serialize(hash_key)})}
        if second is not None:
            item[second.attr_name] = _wire_value({second.attr_type: second.serialize(range_key)})
        return item

    def own_key(self) -> Item:
        """Return the key of this row."""
        values = (getattr(self, self._python_name(key)) for key in self.keys() if key is not None)
        return self.key(*values)

    @classmethod
    def _python_name(cls, attribute: Attribute[Any]) -> str:
        return next(name for name, known in cls.get_attributes().items() if known is attribute)

    @classmethod
    def of_item(cls, item: Item) -> Self:
        """Return the row that a raw item holds."""
        return cls._instantiate({name: _stored_value(value) for name, value in item.items()})

    def item(self) -> Item:
        """Return this row as DynamoDB writes it."""
        return {name: _wire_value(value) for name, value in self._container_serialize().items()}

    @classmethod
    def find(cls, hash_key: Any, range_key: Any = None, *, consistent: bool = True) -> Self | None:
        """Return the row with this key, or None."""
        answer = _dynamodb(
            "GetItem",
            TableName=cls.physical_name(),
            Key=cls.key(hash_key, range_key),
            ConsistentRead=consistent,
        )
        return cls.of_item(answer["Item"]) if answer.get("Item") else None

    @classmethod
    def query_items(
        cls,
        hash_key: Any,
        range_condition: Condition | None = None,
        *,
        index: type[GlobalSecondaryIndex[Any]] | None = None,
        fields: Sequence[Attribute[Any]] = (),
        limit: int = PAGE,
        after: Item | None = None,
        newest_first: bool = False,
        consistent: bool = False,
    ) -> Page[Item]:
        """Return one page of raw rows, for rows that only pass through; `fields` names what is read."""
        keys = index.Meta.attributes.values() if index else cls.get_attributes().values()
        first = next(attribute for attribute in keys if attribute.is_hash_key)
        condition = first == hash_key
        if range_condition is not None:
            condition = condition & range_condition
        expressions = _Expressions()
        request: dict[str, Any] = {
            "TableName": cls.physical_name(),
            "IndexName": index.Meta.index_name if index else None,
            "KeyConditionExpression": expressions.of(condition),
            "Limit": limit,
            "ExclusiveStartKey": after,
            "ScanIndexForward": not newest_first,
            "ConsistentRead": consistent or None,
        }
        if fields:
            for field in fields:
                expressions.names.setdefault(field.attr_name, f"#{len(expressions.names)}")
            request["ProjectionExpression"] = ",".join(expressions.names[f.attr_name] for f in fields)
        answer = _dynamodb("Query", **expressions.into(request))
        return Page(answer["Items"], answer.get("LastEvaluatedKey"))

    @classmethod
    def every_item(cls, hash_key: Any, range_condition: Condition | None = None, **how: Any) -> Iterator[Item]:
        """Yield all raw rows page by page, for work on a whole partition; lists for callers are pages."""
        after: Item | None = None
        while True:
            page = cls.query_items(hash_key, range_condition, after=after, **how)
            yield from page.rows
            after = page.last_key
            if after is None:
                return

    @classmethod
    def query(cls, hash_key: Any, range_condition: Condition | None = None, **how: Any) -> Page[Self]:
        """Return one page of rows; takes what `query_items` takes."""
        page = cls.query_items(hash_key, range_condition, **how)
        return Page([cls.of_item(item) for item in page.rows], page.last_key)


class Put(NamedTuple):
    """Write a whole row, when `condition` holds for the row that is there."""

    row: Table
    condition: Condition | None = None


class Change(NamedTuple):
    """Change attributes of one row, making it when it is missing."""

    table: type[Table]
    key: Item
    actions: Sequence[Action]
    condition: Condition | None = None


class Delete(NamedTuple):
    """Remove one row."""

    table: type[Table]
    key: Item
    condition: Condition | None = None


class Check(NamedTuple):
    """Let the other writes happen only when `condition` holds for this row."""

    table: type[Table]
    key: Item
    condition: Condition


Write = Put | Change | Delete | Check


def create(row: Table) -> Put:
    """Put a row that must not be there yet."""
    first, _ = row.keys()
    return Put(_stamped(row, new=True), first.does_not_exist())


def replace(row: Table) -> Put:
    """Put a row that was read before and that nobody may have changed since; needs a `Version` attribute."""
    name, attribute = next((n, a) for n, a in row.get_attributes().items() if isinstance(a, Version))
    seen = getattr(row, name)
    return Put(_stamped(row, new=seen is None), attribute.does_not_exist() if seen is None else attribute == seen)


def _stamped(row: Table, *, new: bool) -> Table:
    attributes = row.get_attributes()
    for name, attribute in attributes.items():
        if isinstance(attribute, Version):
            setattr(row, name, (getattr(row, name) or 0) + 1)
    if new and "created_at" in attributes and getattr(row, "created_at", None) is None:
        setattr(row, "created_at", clock.now())  # noqa: B010  only some tables declare it
    if "updated_at" in attributes:
        setattr(row, "updated_at", clock.now())  # noqa: B010
    return row


def commit(*writes: Write) -> None:
    """Do all writes or none of them, in one request; `ConditionFailed.index` names the write that was refused."""
    if len(writes) == 1 and not isinstance(writes[0], Check):
        verb, request = _request(writes[0])
        try:
            _dynamodb(f"{verb}Item", **request)
        except aws.AwsError as error:
            if error.code == "ConditionalCheckFailedException":
                raise ConditionFailed(0) from None
            raise
        return
    requests = []
    for write in writes:
        verb, request = _request(write)
        requests.append({verb: request})
    # The token makes the transport's own retries safe: DynamoDB carries a repeated token out once.
    token = ordered_id()
    for attempt in range(1, _TRANSACTION_ATTEMPTS + 1):
        try:
            _dynamodb("TransactWriteItems", TransactItems=requests, ClientRequestToken=token)
            return
        except aws.AwsError as error:
            if error.code != "TransactionCanceledException":
                raise
            codes = [reason.get("Code") for reason in error.answer.get("CancellationReasons", [])]
            if "ConditionalCheckFailed" in codes:
                raise ConditionFailed(codes.index("ConditionalCheckFailed")) from None
            if attempt == _TRANSACTION_ATTEMPTS or not {"TransactionConflict", "ThrottlingError"} & set(codes):
                raise
        token = ordered_id()
        time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311  jitter, not a secret


def changed(write: Change) -> Any:
    """Change one row and return it as it is afterwards, such as a counter that was advanced."""
    _, request = _request(write)
    try:
        answer = _dynamodb("UpdateItem", **request, ReturnValues="ALL_NEW")
    except aws.AwsError as error:
        if error.code == "ConditionalCheckFailedException":
            raise ConditionFailed(0) from None
        raise
    return write.table.of_item(answer["Attributes"])


def _request(write: Write) -> tuple[str, dict[str, Any]]:
    expressions = _Expressions()
    request: dict[str, Any] = {}
    if isinstance(write, Put):
        verb = "Put"
        request["TableName"] = write.row.physical_name()
        request["Item"] = write.row.item()
    else:
        request["TableName"] = write.table.physical_name()
        request["Key"] = write.key
        verb = {Change: "Update", Delete: "Delete", Check: "ConditionCheck"}[type(write)]
        if isinstance(write, Change):
            request["UpdateExpression"] = expressions.of(UpdateExpression(*write.actions))
    request["ConditionExpression"] = expressions.of(write.condition)
    return verb, expressions.into(request)


def write_all(writes: Iterable[Put | Delete], *, at_once: int = 1) -> None:
    """Do many plain puts and deletes, 25 a request: each by itself and without condition, so repeatable at will.

    With `at_once` so many requests are under way at the same time, in no order.
    """
    batches = _batches(writes)
    if at_once == 1:
        for batch in batches:
            _batch_write(batch)
        return
    for _ in _writers(at_once).map(_batch_write, batches):
        pass


@cache
def _writers(count: int) -> ThreadPoolExecutor:
    """Return threads that live as long as the function does, with their connections."""
    from concurrent.futures import ThreadPoolExecutor  # only few functions write that much

    return ThreadPoolExecutor(count, thread_name_prefix="write")


def _batches(writes: Iterable[Put | Delete]) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    batch: list[tuple[str, dict[str, Any]]] = []
    for write in writes:
        if isinstance(write, Put):
            batch.append((write.row.physical_name(), {"PutRequest": {"Item": write.row.item()}}))
        else:
            batch.append((write.table.physical_name(), {"DeleteRequest": {"Key": write.key}}))
        if len(batch) == _BATCH_WRITE:
            yield batch
            batch = []
    if batch:
        yield batch


def _batch_write(batch: list[tuple[str, dict[str, Any]]]) -> None:
    requests: dict[str, list[dict[str, Any]]] = {}
    for name, request in batch:
        requests.setdefault(name, []).append(request)
    for attempt in range(1, _BATCH_WRITE_ATTEMPTS + 1):
        requests = _dynamodb("BatchWriteItem", RequestItems=requests).get("UnprocessedItems") or {}
        if not requests:
            return
        time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311  jitter, not a secret
    raise aws.AwsError("dynamodb", "BatchWriteItem", "UnprocessedItems", {})


def fetch(*wanted: tuple[type[Table], Item]) -> list[Any]:
    """Read rows of several tables by key in one request, consistently.

    The answers keep the order; None stands for a row that is not there.
    """
    requests: dict[str, Any] = {}
    for table, key in wanted:
        keys = requests.setdefault(table.physical_name(), {"Keys": [], "ConsistentRead": True})["Keys"]
        if key not in keys:
            keys.append(key)
    found = _batch_get(requests)

    def row(table: type[Table], key: Item) -> Table | None:
        for item in found[table.physical_name()]:
            if all(item[name] == value for name, value in key.items()):
                return table.of_item(item)
        return None

    return [row(table, key) for table, key in wanted]


def rows_of(table: type[Table], keys: Sequence[Item], fields: Sequence[Attribute[Any]] = ()) -> list[Item]:
    """Return the raw rows of one table that the keys name and that are there, in no order, a hundred a request."""
    found: list[Item] = []
    for start in range(0, len(keys), _BATCH_GET):
        request: dict[str, Any] = {"Keys": list(keys[start : start + _BATCH_GET]), "ConsistentRead": True}
        if fields:
            names = {f"#{place}": field.attr_name for place, field in enumerate(fields)}
            request |= {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names}
        found += _batch_get({table.physical_name(): request})[table.physical_name()]
    return found


def existing_keys(table: type[Table], keys: Sequence[Item]) -> list[Item]:
    """Return those of the keys that have a row, a hundred a request."""
    first, second = table.keys()
    names = {f"#{place}": key.attr_name for place, key in enumerate((first, second)) if key is not None}
    found: list[Item] = []
    for start in range(0, len(keys), _BATCH_GET):
        request = {
            "Keys": list(keys[start : start + _BATCH_GET]),
            "ConsistentRead": True,
            "ProjectionExpression": ",".join(names),
            "ExpressionAttributeNames": names,
        }
        found += _batch_get({table.physical_name(): request})[table.physical_name()]
    return found


def _batch_get(requests: dict[str, Any]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {name: [] for name in requests}
    for attempt in range(1, aws.ATTEMPTS + 1):
        answer = _dynamodb("BatchGetItem", RequestItems=requests)
        for name, items in answer["Responses"].items():
            found[name] += items
        requests = answer.get("UnprocessedKeys") or {}
        if not requests:
            return found
        time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311  jitter, not a secret
    raise aws.AwsError("dynamodb", "BatchGetItem", "UnprocessedKeys", {})


def _dynamodb(action: str, **request: Any) -> dict[str, Any]:
    return aws.call("dynamodb", action, {**request, "ReturnConsumedCapacity": "TOTAL"})


def schema(table: type[Table]) -> dict[str, Any]:
    """Return what `CreateTable` needs, from the declaration; infra and tests make tables with it."""
    first, second = table.keys()
    attributes = {key.attr_name: key.attr_type for key in (first, second) if key is not None}

    def key_schema(keys: Iterable[Attribute[Any]]) -> list[dict[str, str]]:
        found = list(keys)
        parts = [(key, "HASH") for key in found if key.is_hash_key]
        parts += [(key, "RANGE") for key in found if key.is_range_key]
        attributes.update({key.attr_name: key.attr_type for key, _ in parts})
        return [{"AttributeName": key.attr_name, "KeyType": kind} for key, kind in parts]

    description: dict[str, Any] = {
        "KeySchema": key_schema(key for key in (first, second) if key is not None),
        "BillingMode": "PAY_PER_REQUEST",
    }
    indexes: list[Mapping[str, Any]] = []
    for name, index in table.indexes().items():
        projection: dict[str, Any] = {"ProjectionType": index.Meta.projection.projection_type}
        if index.Meta.projection.non_key_attributes:
            projection["NonKeyAttributes"] = index.Meta.projection.non_key_attributes
        keys = key_schema(index.Meta.attributes.values())
        indexes.append({"IndexName": name, "KeySchema": keys, "Projection": projection})
    if indexes:
        description["GlobalSecondaryIndexes"] = indexes
    description["AttributeDefinitions"] = [
        {"AttributeName": name, "AttributeType": kind} for name, kind in sorted(attributes.items())
    ]
    return description
