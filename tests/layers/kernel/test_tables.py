"""Tables from their declaration to the rows that come back: keys, expressions, transactions, batches, versions."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynamodb.attributes import (
    BinaryAttribute,
    BinarySetAttribute,
    BooleanAttribute,
    JSONAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    NumberSetAttribute,
    TTLAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)
from pynamodb.exceptions import AttributeNullError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, IncludeProjection, KeysOnlyProjection

from kernel import aws, clock, tables, wire
from kernel.errors import Conflict
from kernel.tables import (
    Change,
    Check,
    CompressedJson,
    ConditionFailed,
    Delete,
    Page,
    Put,
    Table,
    UtcTime,
    Version,
    WholeNumber,
    changed,
    commit,
    create,
    existing_keys,
    fetch,
    plain,
    replace,
    rows_of,
    schema,
    write_all,
)
from tests.layers.kernel.test_wire import Server, answers

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2024, 1, 28, 6, 4, 25, 693000, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


class BySeat(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-seat"
        projection = IncludeProjection(["holder"])

    seat = NumberAttribute(hash_key=True)
    sold_at = UtcTime(range_key=True, attr_name="soldAt")


class ByHolder(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-holder"
        projection = AllProjection()

    holder = UnicodeAttribute(hash_key=True)


class TicketTable(Table):
    name: ClassVar[str] = "tickets"
    event = UnicodeAttribute(hash_key=True, attr_name="eventId")
    number = NumberAttribute(range_key=True)
    holder = UnicodeAttribute(null=True)
    seat = NumberAttribute(null=True)
    sold_at = UtcTime(null=True, attr_name="soldAt")
    notes = CompressedJson(null=True)
    expires = TTLAttribute(null=True)
    version = Version(null=True)
    created_at = UtcTime(null=True)
    updated_at = UtcTime(null=True)
    by_seat = BySeat()
    by_holder = ByHolder()


class ByCode(GlobalSecondaryIndex[Any]):
    class Meta:
        index_name = "by-code"
        projection = KeysOnlyProjection()

    code = BinaryAttribute(hash_key=True, legacy_encoding=False)


class CodeTable(Table):
    name: ClassVar[str] = "codes"
    code = BinaryAttribute(hash_key=True, legacy_encoding=False)
    used = NumberAttribute(null=True)
    by_code = ByCode()


class Stamp(MapAttribute[str, Any]):
    at = UtcTime()
    what = CompressedJson(null=True, attr_name="w")
    raw = BinaryAttribute(legacy_encoding=False, null=True)
    inner = MapAttribute[str, Any](null=True)


class EverythingTable(Table):
    name: ClassVar[str] = "everything"
    key_text = UnicodeAttribute(hash_key=True)
    text = UnicodeAttribute(null=True, attr_name="t")
    number = NumberAttribute(null=True)
    yes = BooleanAttribute(null=True)
    raw = BinaryAttribute(null=True, legacy_encoding=False)
    texts = UnicodeSetAttribute()
    numbers = NumberSetAttribute()
    raws = BinarySetAttribute(legacy_encoding=False)
    as_text = JSONAttribute(null=True)
    deflated = CompressedJson(null=True)
    at = UtcTime(null=True)
    until = TTLAttribute(null=True)
    stamp = Stamp(null=True)
    anything = MapAttribute[str, Any](null=True)
    times = ListAttribute(of=UtcTime, null=True)
    stamps = ListAttribute(of=Stamp, null=True)
    jsons = ListAttribute(of=CompressedJson, null=True)
    mixed = ListAttribute[Any](null=True)


DECLARED = (TicketTable, CodeTable, EverythingTable)


@pytest.fixture
def store(environment: str) -> Iterator[Any]:
    """The tables, made from their declarations, empty; the time stands still."""
    assert wire.send("POST", f"{environment}/moto-api/reset", {}).status == 200
    client = boto3.client("dynamodb", endpoint_url=environment, region_name="us-east-1")
    for table in DECLARED:
        client.create_table(TableName=table.physical_name(), **schema(table))
    with clock.frozen(NOW):
        yield client
    client.close()


@pytest.fixture
def calls() -> Iterator[list[aws.Call]]:
    seen: list[aws.Call] = []
    aws.observers.append(seen.append)
    yield seen
    aws.observers.remove(seen.append)


@pytest.fixture
def server(environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A DynamoDB that does what the test says."""
    with Server() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before repetitions, each as long as chance could make it."""
    made: list[float] = []
    monkeypatch.setattr(tables, "time", SimpleNamespace(sleep=made.append))
    monkeypatch.setattr(tables, "random", SimpleNamespace(uniform=lambda low, high: high))
    monkeypatch.setattr(aws, "random", SimpleNamespace(uniform=lambda low, high: 0))
    return made


def ticket(number: int, **values: Any) -> TicketTable:
    return TicketTable(event="E1", number=number, **values)


def stored(client: Any, table: type[Table] = TicketTable) -> list[dict[str, Any]]:
    items = client.scan(TableName=table.physical_name())["Items"]
    return sorted(items, key=lambda item: json.dumps(item, default=repr))


def values_of(row: Table | None) -> dict[str, Any] | None:
    return None if row is None else row.attribute_values


# ---- declaration


def test_schema_has_keys_indexes_and_their_attributes():
    assert schema(TicketTable) == {
        "KeySchema": [
            {"AttributeName": "eventId", "KeyType": "HASH"},
            {"AttributeName": "number", "KeyType": "RANGE"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-seat",
                "KeySchema": [
                    {"AttributeName": "seat", "KeyType": "HASH"},
                    {"AttributeName": "soldAt", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["holder"]},
            },
            {
                "IndexName": "by-holder",
                "KeySchema": [{"AttributeName": "holder", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            },
        ],
        "AttributeDefinitions": [
            {"AttributeName": "eventId", "AttributeType": "S"},
            {"AttributeName": "holder", "AttributeType": "S"},
            {"AttributeName": "number", "AttributeType": "N"},
            {"AttributeName": "seat", "AttributeType": "N"},
            {"AttributeName": "soldAt", "AttributeType": "S"},
        ],
    }


def test_schema_of_a_table_without_range_key_or_with_keys_only():
    assert schema(EverythingTable) == {
        "KeySchema": [{"AttributeName": "key_text", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "key_text", "AttributeType": "S"}],
    }
    assert schema(CodeTable)["GlobalSecondaryIndexes"] == [
        {
            "IndexName": "by-code",
            "KeySchema": [{"AttributeName": "code", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ]
    assert schema(CodeTable)["AttributeDefinitions"] == [{"AttributeName": "code", "AttributeType": "B"}]


def test_a_declaration_tells_its_keys_indexes_and_time_to_live():
    first, second = TicketTable.keys()
    assert second is not None
    assert (first.attr_name, second.attr_name) == ("eventId", "number")
    assert EverythingTable.keys()[1] is None
    assert TicketTable.indexes() == {"by-seat": BySeat, "by-holder": ByHolder}
    assert EverythingTable.indexes() == {}
    assert [table.ttl_attribute() for table in DECLARED] == ["expires", None, "until"]


def test_the_name_comes_from_stage_and_system(environment):
    assert TicketTable.physical_name() == "citypass-test-chatbot-tickets"


def test_keys_are_written_as_dynamodb_wants_them():
    assert TicketTable.key("E1", 7) == {"eventId": {"S": "E1"}, "number": {"N": "7"}}
    assert CodeTable.key(b"\x00\xff") == {"code": {"B": "AP8="}}
    assert ticket(7, holder="A").own_key() == TicketTable.key("E1", 7)
    assert CodeTable(code=b"\x00\xff").own_key() == CodeTable.key(b"\x00\xff")


def test_unknown_attributes_are_refused():
    with pytest.raises(ValueError, match="Attribute colour specified does not exist"):
        TicketTable(colour="red")


def test_a_missing_attribute_is_refused_before_anything_is_sent(store, calls):
    with pytest.raises(AttributeNullError, match="number"):
        commit(Put(TicketTable(event="E1")))

    assert calls == []


# ---- values


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOW, "2024-01-28T06:04:25.693Z"),
        (NOW.replace(microsecond=693999), "2024-01-28T06:04:25.693Z"),
        (NOW.replace(microsecond=0), "2024-01-28T06:04:25.000Z"),
        (datetime(2024, 1, 28, 14, 4, 25, 693000, tzinfo=timezone(timedelta(hours=8))), "2024-01-28T06:04:25.693Z"),
    ],
)
def test_times_are_kept_in_utc_with_milliseconds(moment, text):
    assert UtcTime().serialize(moment) == text
    assert UtcTime().deserialize(text) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert UtcTime().deserialize(text).utcoffset() == timedelta(0)


def moments(zone: Any = UTC) -> st.SearchStrategy[datetime]:
    return st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)).map(
        lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=zone)
    )


@settings(deadline=None)
@given(moments(), moments(timezone(timedelta(hours=-9, minutes=30))))
def test_text_order_is_time_order(one, other):
    written = UtcTime().serialize(one), UtcTime().serialize(other)
    assert (written[0] < written[1], written[0] == written[1]) == (one < other, one == other)


texts = st.text(max_size=30)
whole = st.integers(-(10**37), 10**37)
fractions = st.floats(-1e30, 1e30).filter(lambda value: value == 0 or abs(value) > 1e-30)
json_values = st.recursive(
    st.none() | st.booleans() | whole | fractions | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
json_containers = st.lists(json_values, max_size=3) | st.dictionaries(texts, json_values, max_size=3)
sets = (
    st.sets(texts, min_size=1, max_size=3)
    | st.sets(whole, min_size=1, max_size=3)
    | st.sets(st.binary(max_size=9), min_size=1, max_size=3)
)
raw_values = st.recursive(
    st.none() | st.booleans() | whole | fractions | texts | st.binary(max_size=20) | sets,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
raw_maps = st.dictionaries(st.from_regex(r"[b-z]{1,5}", fullmatch=True), raw_values, max_size=4)
stamps = st.fixed_dictionaries(
    {"at": moments()},
    optional={"what": json_containers, "raw": st.binary(max_size=20), "inner": raw_maps},
)
rows = st.fixed_dictionaries(
    {},
    optional={
        "text": texts,
        "number": whole | fractions,
        "yes": st.booleans(),
        "raw": st.binary(max_size=50),
        "texts": st.sets(texts, min_size=1, max_size=4),
        "numbers": st.sets(whole | fractions, min_size=1, max_size=4),
        "raws": st.sets(st.binary(max_size=9), min_size=1, max_size=4),
        "as_text": json_containers | texts | whole,
        "deflated": json_containers | texts | whole | st.booleans(),
        "at": moments(),
        "until": moments().map(lambda at: at.replace(microsecond=0)),
        "stamp": stamps,
        "anything": raw_maps,
        "times": st.lists(moments(), max_size=3),
        "stamps": st.lists(stamps, max_size=3),
        "jsons": st.lists(json_containers, max_size=3),
        "mixed": st.lists(raw_values, max_size=4),
    },
)


def unwrapped(value: Any) -> Any:
    """Return maps as plain dicts."""
    if isinstance(value, MapAttribute):
        return {name: unwrapped(inner) for name, inner in value.attribute_values.items()}
    if isinstance(value, dict):
        return {name: unwrapped(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [unwrapped(inner) for inner in value]
    return value


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows)
def test_every_value_comes_back_from_the_wire_as_it_was(values):
    row = EverythingTable(key_text="k", **values)
    item = json.loads(json.dumps(row.item()))

    back = EverythingTable.of_item(item)

    assert unwrapped(dict(back.attribute_values)) == {"key_text": "k", **values}
    assert back.item().keys() == item.keys()


def test_every_value_comes_back_from_the_table_as_it_was(store):
    values = {
        "text": "測試 👪",
        "number": 12.5,
        "yes": False,
        "raw": b"\x00\xff",
        "texts": {"a", "b"},
        "numbers": {1, 2.5},
        "raws": {b"\x00", b"\xff\xfe"},
        "as_text": {"a": [1, None]},
        "deflated": [{"漢": "字"}] * 50,
        "at": NOW,
        "until": NOW.replace(microsecond=0),
        "stamp": {"at": NOW, "what": [1], "raw": b"\xff", "inner": {"b": b"\xff", "n": None}},
        "anything": {"b": b"x", "s": {b"1", b"2"}, "n": None, "l": [1, b"2", {"q": {1, 2}}]},
        "times": [NOW, LATER],
        "stamps": [{"at": LATER, "raw": b"\x01"}, {"at": NOW, "what": {"a": None}}],
        "jsons": [{"a": 1}, []],
        "mixed": [1, "a", None, [b"c"], {"d": True}, {"x", "y"}],
    }
    commit(Put(EverythingTable(key_text="k", **values)))

    found = EverythingTable.find("k")

    assert found is not None
    assert unwrapped(dict(found.attribute_values)) == {"key_text": "k", **values}
    (item,) = stored(store, EverythingTable)
    assert item["at"] == {"S": "2024-01-28T06:04:25.693Z"}
    assert item["until"] == {"N": "1706421865"}
    assert item["raws"]["BS"] in ([b"\x00", b"\xff\xfe"], [b"\xff\xfe", b"\x00"])
    assert json.loads(zlib.decompress(item["deflated"]["B"])) == [{"漢": "字"}] * 50
    assert item["stamp"]["M"]["w"] == {"B": zlib.compress(b"[1]")}


def test_deflated_json_is_small_and_readable():
    written = CompressedJson().serialize({"text": "漢字" * 500})

    assert len(written) < 60
    assert zlib.decompress(written).decode() == '{"text":"' + "漢字" * 500 + '"}'


def test_null_and_missing_attributes_read_as_none():
    row = EverythingTable.of_item({"key_text": {"S": "k"}, "t": {"NULL": True}})

    assert (row.text, row.number, row.stamp) == (None, None, None)


def test_plain_values_of_a_raw_row():
    item = {
        "s": {"S": "a"},
        "n": {"N": "1.50"},
        "t": {"BOOL": True},
        "z": {"NULL": True},
        "b": {"B": "AP8="},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1"]},
        "m": {"M": {"x": {"L": [{"N": "1"}, {"NULL": True}, {"M": {}}]}}},
    }
    assert plain(item) == {
        "s": "a",
        "n": "1.50",
        "t": True,
        "z": None,
        "b": "AP8=",
        "ss": ["a", "b"],
        "ns": ["1"],
        "m": {"x": ["1", None, {}]},
    }
    assert plain({}) == {}


# ---- reading


def test_finds_a_row_consistently_unless_told_otherwise(store, calls):
    commit(Put(ticket(1, holder="A")))
    calls.clear()

    found = TicketTable.find("E1", 1)
    TicketTable.find("E1", 1, consistent=False)

    assert values_of(found) == {"event": "E1", "number": 1, "holder": "A"}
    assert [(call.action, call.payload["ConsistentRead"]) for call in calls] == [("GetItem", True), ("GetItem", False)]
    assert calls[0].payload == {
        "TableName": "citypass-test-chatbot-tickets",
        "Key": {"eventId": {"S": "E1"}, "number": {"N": "1"}},
        "ConsistentRead": True,
        "ReturnConsumedCapacity": "TOTAL",
    }


def test_finds_nothing_where_nothing_is(store):
    assert TicketTable.find("E1", 1) is None
    assert CodeTable.find(b"\xff") is None


def test_finds_by_a_binary_key(store):
    commit(Put(CodeTable(code=b"\xff", used=1)))

    assert values_of(CodeTable.find(b"\xff")) == {"code": b"\xff", "used": 1}
    assert [row.used for row in CodeTable.query(b"\xff").rows] == [1]


def numbers(page: Page[TicketTable]) -> list[float]:
    return [row.number for row in page.rows]


def test_pages_follow_each_other(store, calls):
    commit(*(Put(ticket(number)) for number in range(5)))
    calls.clear()

    first = TicketTable.query("E1", limit=2)
    second = TicketTable.query("E1", limit=2, after=first.last_key)
    third = TicketTable.query("E1", limit=2, after=second.last_key)

    assert [numbers(page) for page in (first, second, third)] == [[0, 1], [2, 3], [4]]
    assert (first.last_key, third.last_key) == (TicketTable.key("E1", 1), None)
    assert calls[1].payload == {
        "TableName": "citypass-test-chatbot-tickets",
        "KeyConditionExpression": "#0 = :0",
        "Limit": 2,
        "ExclusiveStartKey": TicketTable.key("E1", 1),
        "ScanIndexForward": True,
        "ExpressionAttributeNames": {"#0": "eventId"},
        "ExpressionAttributeValues": {":0": {"S": "E1"}},
        "ReturnConsumedCapacity": "TOTAL",
    }


def test_a_page_is_bounded_without_being_asked(store):
    client_items = [{"PutRequest": {"Item": ticket(number).item()}} for number in range(101)]
    for start in range(0, 101, 25):
        store.batch_write_item(RequestItems={TicketTable.physical_name(): client_items[start : start + 25]})

    page = TicketTable.query("E1")

    assert (len(page.rows), page.last_key) == (100, TicketTable.key("E1", 99))


def test_the_newest_come_first_when_asked(store):
    commit(*(Put(ticket(number)) for number in range(5)))

    page = TicketTable.query("E1", limit=2, newest_first=True)

    assert (numbers(page), page.last_key) == ([4, 3], TicketTable.key("E1", 3))
    assert numbers(TicketTable.query("E1", after=page.last_key, newest_first=True)) == [2, 1, 0]


def test_a_range_can_be_asked_for(store):
    commit(*(Put(ticket(number)) for number in range(5)))

    assert numbers(TicketTable.query("E1", TicketTable.number.between(1, 3))) == [1, 2, 3]
    assert numbers(TicketTable.query("E1", TicketTable.number > 3)) == [4]
    assert numbers(TicketTable.query("E2")) == []


def test_an_index_is_asked_by_its_own_keys(store, calls):
    commit(
        Put(ticket(1, seat=7, sold_at=NOW, holder="A", notes=[1])),
        Put(ticket(2, seat=7, sold_at=LATER, holder="B")),
        Put(ticket(3, seat=8, sold_at=NOW, holder="A")),
        Put(ticket(4, holder="A")),
    )
    calls.clear()

    page = TicketTable.query(7, index=BySeat, newest_first=True)
    later = TicketTable.query(7, BySeat.sold_at > NOW, index=BySeat)

    assert [row.holder for row in page.rows] == ["B", "A"]
    assert [row.notes for row in page.rows] == [None, None]
    assert numbers(later) == [2]
    assert sorted(numbers(TicketTable.query("A", index=ByHolder))) == [1, 3, 4]
    assert calls[1].payload == {
        "TableName": "citypass-test-chatbot-tickets",
        "IndexName": "by-seat",
        "KeyConditionExpression": "(#0 = :0 AND #1 > :1)",
        "Limit": 100,
        "ScanIndexForward": True,
        "ExpressionAttributeNames": {"#0": "seat", "#1": "soldAt"},
        "ExpressionAttributeValues": {":0": {"N": "7"}, ":1": {"S": "2024-01-28T06:04:25.693Z"}},
        "ReturnConsumedCapacity": "TOTAL",
    }


def test_pages_of_an_index_follow_each_other(store):
    commit(*(Put(ticket(number, seat=7, sold_at=NOW + timedelta(seconds=number))) for number in range(3)))

    first = TicketTable.query(7, index=BySeat, limit=2)
    second = TicketTable.query(7, index=BySeat, limit=2, after=first.last_key)

    assert (numbers(first), numbers(second)) == ([0, 1], [2])
    assert first.last_key == {
        **TicketTable.key("E1", 1),
        "seat": {"N": "7"},
        "soldAt": {"S": "2024-01-28T06:04:26.693Z"},
    }


def test_raw_rows_hold_only_the_fields_that_were_asked_for(store, calls):
    commit(Put(ticket(1, holder="A", seat=7, notes={"a": 1})), Put(ticket(2)))
    calls.clear()

    page = TicketTable.query_items(
        "E1", TicketTable.number > 0, fields=[TicketTable.holder, TicketTable.event, TicketTable.notes], consistent=True
    )

    notes = base64.b64encode(zlib.compress(b'{"a":1}')).decode()
    assert page == Page(
        [{"eventId": {"S": "E1"}, "holder": {"S": "A"}, "notes": {"B": notes}}, {"eventId": {"S": "E1"}}], None
    )
    assert calls[0].payload["ProjectionExpression"] == "#2,#0,#3"
    assert calls[0].payload["ExpressionAttributeNames"] == {
        "#0": "eventId",
        "#1": "number",
        "#2": "holder",
        "#3": "notes",
    }
    assert calls[0].payload["ConsistentRead"] is True


def test_every_row_of_a_partition_comes_page_by_page(store, calls):
    commit(*(Put(ticket(number, holder="A")) for number in range(5)), Put(TicketTable(event="E2", number=9)))
    calls.clear()

    rows = TicketTable.every_item("E1", TicketTable.number > 0, fields=[TicketTable.number], limit=3)

    assert calls == []
    assert next(rows) == {"number": {"N": "1"}}
    assert len(calls) == 1
    assert list(rows) == [{"number": {"N": str(number)}} for number in (2, 3, 4)]
    assert [call.payload.get("ExclusiveStartKey") for call in calls] == [None, TicketTable.key("E1", 3)]
    assert list(TicketTable.every_item("E3")) == []


def test_rows_of_several_tables_come_in_one_request_and_in_order(store, calls):
    commit(Put(ticket(1)), Put(ticket(2)), Put(CodeTable(code=b"\xff", used=3)))
    calls.clear()
    second, first = (TicketTable, TicketTable.key("E1", 2)), (TicketTable, TicketTable.key("E1", 1))
    missing, code = (TicketTable, TicketTable.key("E1", 9)), (CodeTable, CodeTable.key(b"\xff"))

    found = fetch(second, missing, code, first, second, (CodeTable, CodeTable.key(b"\x00")))

    assert [values_of(row) for row in found] == [
        {"event": "E1", "number": 2},
        None,
        {"code": b"\xff", "used": 3},
        {"event": "E1", "number": 1},
        {"event": "E1", "number": 2},
        None,
    ]
    (call,) = calls
    assert call.action == "BatchGetItem"
    assert call.payload == {
        "RequestItems": {
            "citypass-test-chatbot-tickets": {"Keys": [second[1], missing[1], first[1]], "ConsistentRead": True},
            "citypass-test-chatbot-codes": {
                "Keys": [CodeTable.key(b"\xff"), CodeTable.key(b"\x00")],
                "ConsistentRead": True,
            },
        },
        "ReturnConsumedCapacity": "TOTAL",
    }


def test_existing_keys_are_asked_for_in_hundreds(store, calls):
    for start in range(0, 230, 50):
        puts = [{"PutRequest": {"Item": ticket(number, holder="A").item()}} for number in range(start, start + 50, 2)]
        store.batch_write_item(RequestItems={TicketTable.physical_name(): puts})

    found = existing_keys(TicketTable, [TicketTable.key("E1", number) for number in range(230)])

    expected = [TicketTable.key("E1", number) for number in range(0, 230, 2)]
    assert sorted(found, key=lambda key: int(key["number"]["N"])) == expected
    requests = [call.payload["RequestItems"]["citypass-test-chatbot-tickets"] for call in calls]
    assert [len(request["Keys"]) for request in requests] == [100, 100, 30]
    assert {name: value for name, value in requests[0].items() if name != "Keys"} == {
        "ConsistentRead": True,
        "ProjectionExpression": "#0,#1",
        "ExpressionAttributeNames": {"#0": "eventId", "#1": "number"},
    }


def test_no_keys_need_no_request(environment, calls):
    assert existing_keys(TicketTable, []) == []
    assert calls == []


def test_what_a_batch_left_out_is_asked_for_again(server, pauses):
    one, two, three = (TicketTable.key("E1", number) for number in (1, 2, 3))
    name = "citypass-test-chatbot-tickets"
    left = {name: {"Keys": [two, three], "ConsistentRead": True}}
    still = {name: {"Keys": [three], "ConsistentRead": True}}
    server.script = [
        answers({"Responses": {name: [ticket(1).item()]}, "UnprocessedKeys": left}),
        answers({"Responses": {}, "UnprocessedKeys": still}),
        answers({"Responses": {name: [ticket(3).item()]}, "UnprocessedKeys": {}}),
    ]

    found = fetch((TicketTable, one), (TicketTable, two), (TicketTable, three))

    assert [values_of(row) for row in found] == [{"event": "E1", "number": 1}, None, {"event": "E1", "number": 3}]
    asked = [json.loads(request.body)["RequestItems"] for request in server.requests]
    assert asked == [{name: {"Keys": [one, two, three], "ConsistentRead": True}}, left, still]
    assert pauses == [0.1, 0.2]


def test_a_batch_that_never_ends_is_given_up(server, pauses):
    key = TicketTable.key("E1", 1)
    left = {"citypass-test-chatbot-tickets": {"Keys": [key]}}
    server.script = [answers({"Responses": {}, "UnprocessedKeys": left})] * 9

    with pytest.raises(aws.AwsError, match=r"^dynamodb.BatchGetItem: UnprocessedKeys: $"):
        fetch((TicketTable, key))

    assert len(server.requests) == len(pauses) == 4


@pytest.fixture
def many(store: Any) -> None:
    """A hundred and twenty tickets, every second of two hundred and forty."""
    write_all(Put(ticket(number, holder="A", seat=number)) for number in range(0, 240, 2))


def test_raw_rows_are_asked_for_in_hundreds(store, many, calls):
    calls.clear()
    keys = [TicketTable.key("E1", number) for number in range(230)]

    found = rows_of(TicketTable, keys, [TicketTable.number, TicketTable.sold_at, TicketTable.holder])

    assert sorted(found, key=lambda row: int(row["number"]["N"])) == [
        {"number": {"N": str(number)}, "holder": {"S": "A"}} for number in range(0, 230, 2)
    ]
    requests = [call.payload["RequestItems"]["citypass-test-chatbot-tickets"] for call in calls]
    assert [(call.action, len(request["Keys"])) for call, request in zip(calls, requests, strict=True)] == [
        ("BatchGetItem", 100),
        ("BatchGetItem", 100),
        ("BatchGetItem", 30),
    ]
    assert {name: value for name, value in requests[0].items() if name != "Keys"} == {
        "ConsistentRead": True,
        "ProjectionExpression": "#0,#1,#2",
        "ExpressionAttributeNames": {"#0": "number", "#1": "soldAt", "#2": "holder"},
    }


def test_raw_rows_are_whole_without_fields(store):
    row = ticket(1, holder="A")
    commit(Put(row))

    assert rows_of(TicketTable, [TicketTable.key("E1", 1), TicketTable.key("E1", 2)]) == [row.item()]


def test_no_raw_rows_need_no_request(environment, calls):
    assert rows_of(TicketTable, []) == []
    assert calls == []


def test_raw_rows_that_were_left_out_are_asked_for_again(server, pauses):
    one, two = (TicketTable.key("E1", number) for number in (1, 2))
    name = "citypass-test-chatbot-tickets"
    left = {name: {"Keys": [two], "ConsistentRead": True}}
    server.script = [
        answers({"Responses": {name: [ticket(1).item()]}, "UnprocessedKeys": left}),
        answers({"Responses": {name: [ticket(2).item()]}}),
    ]

    assert rows_of(TicketTable, [one, two]) == [ticket(1).item(), ticket(2).item()]

    assert json.loads(server.requests[1].body)["RequestItems"] == left


# ---- writing


def test_many_rows_are_written_and_deleted_twenty_five_at_a_time(store, calls):
    write_all(Put(ticket(number, holder="A")) for number in range(30))
    assert [number_of_writes(call) for call in calls] == [25, 5]
    calls.clear()

    deletes = [Delete(TicketTable, TicketTable.key("E1", number)) for number in range(28)]
    write_all([*deletes, Put(ticket(28, holder="B")), Put(CodeTable(code=b"\xff", used=3))])

    assert [(call.action, number_of_writes(call)) for call in calls] == [("BatchWriteItem", 25), ("BatchWriteItem", 5)]
    rest = [ticket(28, holder="B").item(), ticket(29, holder="A").item()]
    assert stored(store) == sorted(rest, key=lambda item: json.dumps(item, default=repr))
    assert [item["used"] for item in stored(store, CodeTable)] == [{"N": "3"}]


def number_of_writes(call: aws.Call) -> int:
    return sum(map(len, call.payload["RequestItems"].values()))


def test_writing_many_again_changes_nothing(store):
    writes = [Put(ticket(1, holder="A")), Delete(TicketTable, TicketTable.key("E1", 2))]

    write_all(writes)
    write_all(writes)

    assert stored(store) == [ticket(1, holder="A").item()]


@pytest.mark.parametrize("count", [0, 25, 50])
def test_full_batches_leave_no_empty_one(store, calls, count):
    write_all(Put(ticket(number)) for number in range(count))

    assert [number_of_writes(call) for call in calls] == [25] * (count // 25)


def test_what_a_batch_did_not_write_is_written_again(server, pauses):
    name, other = "citypass-test-chatbot-tickets", "citypass-test-chatbot-codes"
    puts = [{"PutRequest": {"Item": ticket(number).item()}} for number in (1, 2)]
    delete = {"DeleteRequest": {"Key": CodeTable.key(b"\xff")}}
    left = {name: puts[1:], other: [delete]}
    server.script = [
        answers({"UnprocessedItems": left}),
        answers({"UnprocessedItems": {other: [delete]}}),
        answers({"UnprocessedItems": {}}),
    ]

    write_all([Put(ticket(1)), Delete(CodeTable, CodeTable.key(b"\xff")), Put(ticket(2))])

    asked = [json.loads(request.body)["RequestItems"] for request in server.requests]
    assert asked == [{name: puts, other: [delete]}, left, {other: [delete]}]
    assert pauses == [0.1, 0.2]


def test_a_batch_that_is_never_written_is_given_up(server, pauses):
    left = {"citypass-test-chatbot-tickets": [{"PutRequest": {"Item": ticket(1).item()}}]}
    server.script = [answers({"UnprocessedItems": left})] * 9

    with pytest.raises(aws.AwsError, match=r"^dynamodb.BatchWriteItem: UnprocessedItems: $"):
        write_all([Put(ticket(1))])

    assert len(server.requests) == len(pauses) == 8


def test_create_stamps_a_new_row_and_refuses_a_second(store):
    row = ticket(1, holder="A")
    commit(create(row))

    assert (row.version, row.created_at, row.updated_at) == (1, NOW, NOW)
    before = stored(store)
    assert before == [
        {
            "eventId": {"S": "E1"},
            "number": {"N": "1"},
            "holder": {"S": "A"},
            "version": {"N": "1"},
            "created_at": {"S": "2024-01-28T06:04:25.693Z"},
            "updated_at": {"S": "2024-01-28T06:04:25.693Z"},
        }
    ]
    with clock.frozen(LATER), pytest.raises(ConditionFailed) as raised:
        commit(create(ticket(1, holder="B")))

    assert raised.value.index == 0
    assert isinstance(raised.value, Conflict)
    assert raised.value.message == "changed by somebody else meanwhile, or already there"
    assert stored(store) == before


def test_create_keeps_a_time_that_is_given_and_needs_none(store):
    commit(create(ticket(1, created_at=LATER)), create(CodeTable(code=b"1")))

    found = TicketTable.find("E1", 1)
    assert found is not None
    assert (found.created_at, found.updated_at) == (LATER, NOW)
    assert values_of(CodeTable.find(b"1")) == {"code": b"1"}


def test_replace_lets_one_of_two_writers_win(store):
    commit(create(ticket(1, holder="A")))
    mine, yours = TicketTable.find("E1", 1), TicketTable.find("E1", 1)
    assert mine is not None
    assert yours is not None
    mine.holder, yours.holder = "mine", "yours"
    with clock.frozen(LATER):
        commit(replace(mine))
        with pytest.raises(ConditionFailed):
            commit(replace(yours))

    found = TicketTable.find("E1", 1)
    assert found is not None
    assert (found.holder, found.version, found.created_at, found.updated_at) == ("mine", 2, NOW, LATER)


def test_replace_of_a_row_that_was_never_stored_makes_it_once(store):
    commit(replace(ticket(1, holder="mine")))
    with pytest.raises(ConditionFailed):
        commit(replace(ticket(1, holder="yours")))

    found = TicketTable.find("E1", 1)
    assert found is not None
    assert (found.holder, found.version, found.created_at) == ("mine", 1, NOW)


def test_replace_of_a_row_that_is_gone_is_refused(store):
    commit(create(ticket(1)))
    row = TicketTable.find("E1", 1)
    assert row is not None
    commit(Delete(TicketTable, row.own_key()))

    with pytest.raises(ConditionFailed):
        commit(replace(row))

    assert stored(store) == []


def test_put_writes_the_whole_row_under_its_condition(store):
    commit(Put(ticket(1, holder="A", seat=7)))
    commit(Put(ticket(1, holder="B"), TicketTable.holder == "A"))
    with pytest.raises(ConditionFailed):
        commit(Put(ticket(1, holder="C"), TicketTable.holder == "A"))

    assert stored(store) == [{"eventId": {"S": "E1"}, "number": {"N": "1"}, "holder": {"S": "B"}}]


def test_change_sets_removes_counts_and_makes_a_missing_row(store, calls):
    key = TicketTable.key("E1", 1)
    commit(Change(TicketTable, key, [TicketTable.holder.set("A"), TicketTable.notes.set([1]), TicketTable.seat.set(7)]))
    commit(
        Change(
            TicketTable,
            key,
            [
                TicketTable.holder.remove(),
                TicketTable.seat.add(1),
                TicketTable.sold_at.set(NOW),
                TicketTable.version.set((TicketTable.version | 0) + 1),
            ],
            (TicketTable.holder == "A") & (TicketTable.notes == [1]),
        )
    )

    assert values_of(TicketTable.find("E1", 1)) == {
        "event": "E1",
        "number": 1,
        "seat": 8,
        "sold_at": NOW,
        "notes": [1],
        "version": 1,
    }
    deflated = base64.b64encode(zlib.compress(b"[1]")).decode()
    assert calls[1].payload == {
        "TableName": "citypass-test-chatbot-tickets",
        "Key": key,
        "UpdateExpression": "SET #0 = :0, #1 = if_not_exists (#1, :1) + :2 REMOVE #2 ADD #3 :3",
        "ConditionExpression": "(#2 = :4 AND #4 = :5)",
        "ExpressionAttributeNames": {"#0": "soldAt", "#1": "version", "#2": "holder", "#3": "seat", "#4": "notes"},
        "ExpressionAttributeValues": {
            ":0": {"S": "2024-01-28T06:04:25.693Z"},
            ":1": {"N": "0"},
            ":2": {"N": "1"},
            ":3": {"N": "1"},
            ":4": {"S": "A"},
            ":5": {"B": deflated},
        },
        "ReturnConsumedCapacity": "TOTAL",
    }


def test_a_change_whose_condition_fails_changes_nothing(store):
    commit(Put(ticket(1, holder="A")))
    before = stored(store)

    with pytest.raises(ConditionFailed):
        commit(Change(TicketTable, TicketTable.key("E1", 1), [TicketTable.holder.set("B")], TicketTable.seat.exists()))

    assert stored(store) == before


def test_delete_removes_one_row_under_its_condition(store):
    commit(Put(ticket(1, holder="A")), Put(ticket(2)))
    key = TicketTable.key("E1", 1)

    with pytest.raises(ConditionFailed):
        commit(Delete(TicketTable, key, TicketTable.holder == "B"))
    assert len(stored(store)) == 2
    commit(Delete(TicketTable, key, TicketTable.holder == "A"))
    commit(Delete(TicketTable, key))

    assert stored(store) == [{"eventId": {"S": "E1"}, "number": {"N": "2"}}]


def test_all_writes_happen_or_none(store, calls):
    commit(Put(ticket(1, holder="A")), Put(ticket(2, holder="A")))
    before = stored(store), stored(store, CodeTable)
    writes = [
        Check(TicketTable, TicketTable.key("E1", 1), TicketTable.holder == "A"),
        create(CodeTable(code=b"1")),
        Delete(TicketTable, TicketTable.key("E1", 2)),
        Change(TicketTable, TicketTable.key("E1", 3), [TicketTable.holder.set("C")]),
    ]

    with pytest.raises(ConditionFailed) as raised:
        commit(*writes, Check(TicketTable, TicketTable.key("E1", 9), TicketTable.holder.exists()))
    assert raised.value.index == 4
    assert (stored(store), stored(store, CodeTable)) == before

    calls.clear()
    commit(*writes)
    assert [list(write) for write in calls[0].payload["TransactItems"]] == [
        ["ConditionCheck"],
        ["Put"],
        ["Delete"],
        ["Update"],
    ]
    assert [(row.number, row.holder) for row in TicketTable.query("E1").rows] == [(1, "A"), (3, "C")]
    assert [row["code"] for row in stored(store, CodeTable)] == [{"B": b"1"}]


@pytest.mark.parametrize("place", range(4))
def test_the_refused_write_is_named(store, place):
    commit(create(ticket(place)))

    with pytest.raises(ConditionFailed) as raised:
        commit(*(create(ticket(number)) for number in range(4)))

    assert raised.value.index == place
    assert [row.number for row in TicketTable.query("E1").rows] == [place]


def test_a_check_alone_is_a_transaction(store, calls):
    key = TicketTable.key("E1", 1)
    with pytest.raises(ConditionFailed) as raised:
        commit(Check(TicketTable, key, TicketTable.event.exists()))
    assert raised.value.index == 0

    commit(Put(ticket(1)))
    commit(Check(TicketTable, key, TicketTable.event.exists()))

    assert [call.action for call in calls] == ["TransactWriteItems", "PutItem", "TransactWriteItems"]


def test_one_write_needs_no_transaction(store, calls):
    commit(create(ticket(1)))
    commit(Change(TicketTable, TicketTable.key("E1", 1), [TicketTable.holder.set("A")]))
    commit(Delete(TicketTable, TicketTable.key("E1", 1)))

    assert [call.action for call in calls] == ["PutItem", "UpdateItem", "DeleteItem"]


def canceled(*codes: str) -> Any:
    reasons = [{"Code": code} for code in codes]
    kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    return answers({"__type": kind, "Message": "Transaction cancelled", "CancellationReasons": reasons}, 400)


def tokens(server: Server) -> list[str]:
    return [json.loads(request.body)["ClientRequestToken"] for request in server.requests]


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError"])
def test_a_transaction_in_the_way_of_another_is_tried_again(server, pauses, code):
    server.script = [canceled("None", code), canceled(code, "None"), answers({})]

    commit(Put(ticket(1)), Put(ticket(2)))

    assert len(set(tokens(server))) == 3
    assert len({json.dumps(json.loads(r.body)["TransactItems"]) for r in server.requests}) == 1
    assert pauses == [0.04, 0.08]


def test_a_lost_answer_repeats_the_transaction_under_its_token(server, pauses):
    server.script = [answers(b"", 503), answers({})]

    commit(Put(ticket(1)), Put(ticket(2)))

    assert len(server.requests) == 2
    assert len(set(tokens(server))) == 1
    assert pauses == []


def test_a_transaction_that_is_always_in_the_way_is_given_up(server, pauses):
    server.script = [canceled("None", "TransactionConflict")] * 9

    with pytest.raises(aws.AwsError) as raised:
        commit(Put(ticket(1)), Put(ticket(2)))

    assert raised.value.code == "TransactionCanceledException"
    assert len(server.requests) == 6
    assert pauses == [0.04, 0.08, 0.16, 0.32, 0.64]


def test_a_failed_condition_counts_more_than_a_conflict(server, pauses):
    server.script = [canceled("TransactionConflict", "None", "ConditionalCheckFailed", "ConditionalCheckFailed")]

    with pytest.raises(ConditionFailed) as raised:
        commit(*(Put(ticket(number)) for number in range(4)))

    assert (raised.value.index, pauses) == (2, [])


@pytest.mark.parametrize("answer", [canceled("None", "ValidationError"), canceled()])
def test_a_transaction_that_cannot_succeed_is_not_repeated(server, pauses, answer):
    server.script = [answer]

    with pytest.raises(aws.AwsError) as raised:
        commit(Put(ticket(1)), Put(ticket(2)))

    assert (raised.value.code, pauses) == ("TransactionCanceledException", [])


@pytest.mark.parametrize("writes", [1, 2])
def test_other_refusals_rise(server, pauses, writes):
    server.script = [answers({"__type": "ResourceNotFoundException", "message": "no table"}, 400)]

    with pytest.raises(aws.AwsError, match="ResourceNotFoundException: no table"):
        commit(*(Put(ticket(number)) for number in range(writes)))

    assert pauses == []


def test_a_single_write_in_the_way_of_a_transaction_is_tried_again(server, pauses):
    server.script = [answers({"__type": "TransactionConflictException"}, 400), answers({})]

    commit(Put(ticket(1)))

    assert len(server.requests) == 2


# ---- counting


def test_a_changed_row_comes_back_as_it_is_afterwards(store, calls):
    key = TicketTable.key("E1", 1)

    first = changed(Change(TicketTable, key, [TicketTable.seat.add(5), TicketTable.sold_at.set(NOW)]))
    second = changed(Change(TicketTable, key, [TicketTable.seat.add(-2)], TicketTable.seat >= 2))

    assert isinstance(first, TicketTable)
    assert (first.seat, first.sold_at, second.seat, second.sold_at) == (5, NOW, 3, NOW)
    assert [call.action for call in calls] == ["UpdateItem", "UpdateItem"]
    assert values_of(TicketTable.find("E1", 1)) == values_of(second)


def test_a_change_that_is_refused_brings_no_row(store):
    commit(Put(ticket(1, seat=1)))
    before = stored(store)

    with pytest.raises(ConditionFailed) as raised:
        changed(Change(TicketTable, TicketTable.key("E1", 1), [TicketTable.seat.add(-2)], TicketTable.seat >= 2))

    assert raised.value.index == 0
    assert stored(store) == before


def test_another_refusal_of_a_change_rises(server, pauses):
    server.script = [answers({"__type": "ResourceNotFoundException", "message": "no table"}, 400)]

    with pytest.raises(aws.AwsError, match="ResourceNotFoundException"):
        changed(Change(TicketTable, TicketTable.key("E1", 1), [TicketTable.seat.add(1)]))


@pytest.mark.parametrize("number", [0, -1, 7919121420122, 2**53, -(10**37)])
def test_whole_numbers_come_back_as_they_were(number):
    text = WholeNumber().serialize(number)

    assert text == str(number)
    assert WholeNumber().deserialize(text) == number
    assert type(WholeNumber().deserialize(text)) is int


@pytest.mark.parametrize("value", [1.0, 1.5, "1", True, False, None])
def test_nothing_else_is_a_whole_number(value):
    with pytest.raises(TypeError) as raised:
        WholeNumber().serialize(value)

    assert str(raised.value) == f"{value!r} is no whole number"
