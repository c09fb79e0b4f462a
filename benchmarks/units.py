"""What calls would consume at DynamoDB, from the sizes of their rows: the embedded cloud counts each row as one unit.

"Read and write operations" and "DynamoDB item sizes and formats", Amazon DynamoDB Developer Guide: 1 KB a write unit,
4 KB a read unit, half of it for reads that need not be consistent, twice for what is part of a transaction; an index
that holds all attributes takes a unit more for each KB that changes in it, two when its key changes.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.aws import Call
    from kernel.tables import Item, Table

_SET = re.compile(r"(#\d+) = ([^,]+?)(?=, #|$| REMOVE| ADD| DELETE)")
_ADD = re.compile(r"(#\d+) (:\d+)")
_NUMBER_BYTES = 8


class Units:
    """Follows the rows of tables through their calls and adds up what they consume."""

    def __init__(self, tables: Iterable[type[Table]]) -> None:
        """Follow rows of these tables, which are empty at first."""
        self._keys: dict[str, list[str]] = {}
        self._index_keys: dict[str, list[set[str]]] = {}
        for table in tables:
            name = table.physical_name()
            self._keys[name] = [key.attr_name for key in (*table.keys(),) if key is not None]
            indexes = table.indexes().values()
            self._index_keys[name] = [{key.attr_name for key in index.Meta.attributes.values()} for index in indexes]
        self._rows: dict[tuple[str, ...], dict[str, int]] = {}

    def add(self, calls: Iterable[Call]) -> tuple[float, float]:
        """Return the read and write units of these calls."""
        read = written = 0.0
        for call in calls:
            # What was refused is charged as well, but changes no row, and is rare.
            if call.service == "dynamodb" and "__type" not in call.answer:
                more_read, more_written = self._of(call.action, call.payload, call.answer)
                read += more_read
                written += more_written
        return read, written

    def _of(self, action: str, request: dict[str, Any], answer: dict[str, Any]) -> tuple[float, float]:
        match action:
            case "GetItem":
                size = self._size(request["TableName"], request["Key"])
                return _read(size, consistent=bool(request.get("ConsistentRead"))), 0
            case "BatchGetItem":
                return sum(
                    _read(self._size(name, key), consistent=bool(wanted.get("ConsistentRead")))
                    for name, wanted in request["RequestItems"].items()
                    for key in wanted["Keys"]
                ), 0
            case "Query":
                return _read(self._read_by(request, answer), consistent=bool(request.get("ConsistentRead"))), 0
            case "PutItem" | "UpdateItem" | "DeleteItem":
                return 0, self._write(action.removesuffix("Item"), request)
            case "TransactWriteItems":
                writes = [next(iter(one.items())) for one in request["TransactItems"]]
                return 0, sum(self._write(verb, write, times=2) for verb, write in writes)
            case "BatchWriteItem":
                return 0, sum(
                    self._write(verb.removesuffix("Request"), {"TableName": name, **write})
                    for name, writes in request["RequestItems"].items()
                    for one in writes
                    for verb, write in one.items()
                )
        raise ValueError(action)

    def _place(self, name: str, item: Item) -> tuple[str, ...]:
        return (name, *(str(next(iter(item[key].values()))) for key in self._keys[name]))

    def _size(self, name: str, key: Item) -> int:
        return sum(self._rows.get(self._place(name, key), {}).values())

    def _read_by(self, request: dict[str, Any], answer: dict[str, Any]) -> int:
        """Return the bytes a Query read: whole rows, whatever it shows of them."""
        name = request["TableName"]
        first = self._keys[name][0]
        total = 0
        for item in answer["Items"]:
            # A projection leaves the partition out, which the condition names first.
            known = {first: request["ExpressionAttributeValues"][":0"], **item}
            total += self._size(name, known)
        return total

    def _write(self, verb: str, write: dict[str, Any], times: int = 1) -> float:
        name = write["TableName"]
        place = self._place(name, write["Item"] if verb == "Put" else write["Key"])
        before = self._rows.get(place, {})
        if verb == "ConditionCheck":
            return times * _kilobytes(sum(before.values()))
        after: dict[str, int] = {}
        changed: set[str] = set(before)
        if verb == "Put":
            after = {attribute: _bytes(attribute, value) for attribute, value in write["Item"].items()}
            changed |= set(after)
        elif verb == "Update":
            sets = self._sets(write)
            changed = set(sets)
            after = before | {key: _bytes(key, value) for key, value in write["Key"].items()} | sets
        self._rows[place] = after
        units = times * float(max(_kilobytes(sum(before.values())), _kilobytes(sum(after.values()))))
        for keys in self._index_keys[name]:
            moved = 2 if before and after and changed & keys else 1
            units += moved * max(_kilobytes(sum(before.values())), _kilobytes(sum(after.values())))
        return units

    def _sets(self, write: dict[str, Any]) -> dict[str, int]:
        """Return the sizes of the attributes that an update sets; what it adds up is a number."""
        values = write.get("ExpressionAttributeValues", {})
        names = write["ExpressionAttributeNames"]
        found = _SET.findall(write["UpdateExpression"].removeprefix("SET "))
        added = _ADD.findall(write["UpdateExpression"].partition("ADD ")[2])
        return {names[short]: len(names[short]) + _NUMBER_BYTES for short, _ in added} | {
            names[short]: _bytes(names[short], values[value.strip()])
            if value.strip() in values
            else len(names[short]) + _NUMBER_BYTES
            for short, value in found
        }


def _kilobytes(size: int) -> int:
    return max(1, math.ceil(size / 1024))


def _read(size: int, *, consistent: bool) -> float:
    return max(1, math.ceil(size / 4096)) * (1.0 if consistent else 0.5)


def _bytes(name: str, value: dict[str, Any]) -> int:
    """Return the bytes that count of an attribute."""
    (kind, content), *_ = value.items()
    if kind == "S":
        return len(name) + len(str(content).encode())
    if kind == "N":
        return len(name) + len(str(content)) // 2 + 2
    if kind == "B":
        return len(name) + len(content) * 3 // 4
    if kind in ("BOOL", "NULL"):
        return len(name) + 1
    return len(name) + len(json.dumps(content, ensure_ascii=False).encode())
