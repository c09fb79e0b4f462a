"""Lists of 100,000 recharges and 20,000 customers: exact, and as many requests as with 1,000, on any page."""

import contextlib
import io
import json
import os
import random
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from functions.membership.list_recharges import list_recharges
from functions.membership.pack_list import pack_list
from functions.membership.request_packing import request_packing
from functions.membership.search_users import search_users
from infra.discovery import declarations
from kernel import aws, clock, list_search, queues, running, settings, wire
from kernel.listings import PACKING, ListHeadTable, listed
from kernel.operations import event_of
from kernel.tables import Put, schema, write_all
from local.cloud import Cloud, free_port
from membership import listings
from membership.api import iso_utc
from membership.tables import CustomerTable
from tests.shops import CASHIER, IMAGE, MERCHANT, OWNER, furnish, signed_in

FEW, MANY, CUSTOMERS = 1_000, 100_000, 20_000
STORES = (3, 3, 3, 4, 5)
NICKNAMES = ("哈哈", "路遥😴😴", "Anna", "淡水鱼", None)
BEGUN = datetime(2019, 12, 20, tzinfo=UTC)


class Recharge(NamedTuple):
    """A recharge, and the row that has to come out."""

    at: datetime
    store: int
    phone: str
    nickname: str
    recharge: int
    send: int
    row: dict


def recharges():
    """Return recharges over four years, the oldest first, with several in the same millisecond."""
    chance = random.Random(2020)
    people = [(f"1{chance.randrange(10**10):010d}", chance.choice(NICKNAMES)) for _ in range(CUSTOMERS)]
    made = []
    for number in range(1, MANY + 1):
        at = BEGUN + timedelta(seconds=number // 3 * 1300, milliseconds=number % 7)
        user_id = chance.randrange(CUSTOMERS)
        phone, nickname = people[user_id]
        store, recharge, send = chance.choice(STORES), chance.randrange(1, 10**6), chance.randrange(10**5)
        row = {
            "id": number, "membershipCardId": 4, "title": "外婆味道活动卡", "cardNo": 7919121400000 + user_id,
            "userId": user_id + 1, "nickname": nickname, "phone": phone, "memberEventId": None, "eventName": None,
            "rechargeMoney": recharge, "sendMoney": send, "type": 2, "storeId": store, "storeName": "外婆味道南屏店",
            "explain": "余额充值", "orderNo": 71019122000000 + number, "image": IMAGE,
        }  # fmt: skip
        made.append(Recharge(at, store, phone, nickname or "", recharge, send, row))
    made.sort(key=lambda one: (one.at, one.row["id"]))
    return made, people


def rows_of(made):
    for one in made:
        yield listed(
            listings.own_book(listings.RECHARGES, MERCHANT, one.store),
            one.row["id"],
            one.at,
            one.row,
            wider=listings.merchant_book(listings.RECHARGES, MERCHANT),
            phone=one.phone,
            words=one.nickname,
            amounts=(one.recharge, one.send),
        )


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """The embedded cloud, in a process of its own, with the tables, the bucket and the queue of the lists."""
    before, send = dict(os.environ), wire.send
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), free_port(), free_port())
    cloud.start()
    # The embedded DynamoDB looks at every row of a book, however few are asked for.
    wire.send = lambda *what, **how: send(*what, **how | {"timeout": 60})
    try:
        os.environ.update(
            cloud.clients_environment() | {"SYSTEM": "membership", "STAGE": "volume", "FILES_BUCKET": "files"}
        )
        forget()
        dynamodb = cloud.dynamodb()
        for table in declarations("membership").tables:
            dynamodb.create_table(TableName=table.physical_name(), **schema(table))
        cloud._client("s3").create_bucket(Bucket="files")
        cloud._client("sqs").create_queue(
            QueueName=PACKING.physical_name(), Attributes={"FifoQueue": "true", "VisibilityTimeout": "900"}
        )
        furnish()
        yield cloud
    finally:
        wire.send = send
        for connection in wire._kept.__dict__.pop("open", {}).values():
            connection.close()
        cloud.stop()
        os.environ.clear()
        os.environ.update(before)
        forget()


def forget():
    for kept in (settings.settings, running.logger, queues._url):
        kept.cache_clear()


@pytest.fixture(scope="module")
def manager(emulator):
    """The token of the account of store 3."""
    return signed_in(CASHIER)


@pytest.fixture(scope="module")
def owner(emulator):
    """The token of the merchant's account."""
    return signed_in(OWNER)


def call(operation, token, **fields):
    """Call an operation; return its answer, the actions of AWS that it took, and its milliseconds of CPU."""
    list_search._kept.clear()
    actions = []

    def note(made):
        actions.append(made.action)

    aws.observers.append(note)
    begun = time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            body = json.loads(operation(event_of(operation, {"token": token, **fields}), None)["body"])
    finally:
        aws.observers.remove(note)
    assert body["errCode"] == 0, body
    return body, Counter(actions), (time.process_time() - begun) * 1000


def work(emulator):
    """Let the worker pack what searches asked for; return the books and the seconds of CPU they took."""
    sqs = emulator._client("sqs")
    url = sqs.get_queue_url(QueueName=PACKING.physical_name())["QueueUrl"]
    books, begun = [], time.process_time()
    while True:
        messages = sqs.receive_message(QueueUrl=url, AttributeNames=["All"]).get("Messages", [])
        if not messages:
            return books, time.process_time() - begun
        for message in messages:
            record = {"messageId": "1", "receiptHandle": "1", "body": message["Body"]}
            with contextlib.redirect_stdout(io.StringIO()):
                assert pack_list({"Records": [record]}, None) == {"batchItemFailures": []}
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            books.append(json.loads(message["Body"])["name"])


def expected(made, phone="", keywords="", startTime=None, endTime=None, pageNum=1, pageSize=14):
    """Return the ids and times of a page, the number of rows and their sums, by looking at every row."""
    found = [
        one
        for one in made
        if phone in one.phone
        and (not keywords or keywords in one.phone or keywords in one.nickname.casefold())
        and (startTime is None or clock.millis(one.at) >= startTime)
        and (endTime is None or clock.millis(one.at) <= endTime)
    ]
    page = found[::-1][(pageNum - 1) * pageSize : pageNum * pageSize]
    sums = sum(one.recharge for one in found), sum(one.send for one in found)
    return [(one.row["id"], iso_utc(one.at)) for one in page], len(found), *(round(total / 100, 2) for total in sums)


def told(body):
    data = body["data"]
    rows = [(row["id"], row["created"]) for row in data["chargeReVo"]]
    return rows, body["total"], data["totalChargeMoney"], data["totalSendMoney"]


def queries(made):
    """Return what is looked for, with pages at the front, far behind and past the end."""
    middle, later = clock.millis(made[len(made) // 3].at), clock.millis(made[len(made) // 2].at)
    last = len(made) // 14
    return [
        {},
        {"pageNum": last // 2},
        {"pageNum": last},
        {"pageNum": 3, "pageSize": 100},
        {"phone": "7"},
        {"phone": "7", "pageNum": last // 3},
        {"phone": "88"},
        {"phone": made[7].phone},
        {"keywords": "哈哈", "pageNum": 5},
        {"keywords": "anna", "phone": "1"},
        {"startTime": middle, "endTime": later},
        {"startTime": middle, "endTime": later, "pageNum": last // 8},
        {"startTime": middle, "phone": "0"},
        {"endTime": later, "keywords": "路遥"},
    ]


def check(token, made):
    """Compare every query with looking at every row; return the requests of each, and the median and most ms of CPU."""
    requests, times = [], []
    for query in queries(made):
        body, actions, elapsed = call(list_recharges, token, **query)
        assert told(body) == expected(made, **query), query
        requests.append(actions)
        times.append(round(elapsed))
    return requests, (sorted(times)[len(times) // 2], max(times))


def test_100000_recharges_take_as_many_requests_as_1000(emulator, manager, owner, capfd):
    made, _ = recharges()
    old, rest = made[:FEW], made[FEW:]
    # What is being written just now is never packed.
    now = clock.now()
    fresh = [made[0]._replace(at=now, store=3, row={**made[0].row, "id": MANY + 1, "storeId": 3})]

    def own(made):
        return [one for one in made if one.store == 3]

    figures = {}
    write_all(rows_of(old), at_once=4)
    requests = {}
    for name, history in (("few", [*old, *fresh]), ("many", [*made, *fresh])):
        if name == "few":
            write_all(rows_of(fresh))
        else:
            begun = time.perf_counter()
            write_all(rows_of(rest), at_once=4)
            figures["rows written a second"] = round(len(rest) / (time.perf_counter() - begun))
        if name == "few":
            # Whoever meets a long list that is not packed gets it all the same, and asks for its packing.
            for token, seen in ((manager, own(history)), (owner, history)):
                assert told(call(list_recharges, token)[0]) == expected(seen)
            books, seconds = work(emulator)
            assert sorted(books) == ["recharges#merchant#12", "recharges#store#3"]
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                request_packing({}, None)
            books, seconds = work(emulator)
            assert len(books) == 17
        figures[f"CPU s of packing, {name}"] = round(seconds, 1)
        for who, token, seen in (("store", manager, own(history)), ("merchant", owner, history)):
            requests[name, who], figures[f"CPU ms of a search, {who}, {name}"] = check(token, seen)

    # Session, manager and head; the rows that are not packed; the packed list or its keys; the rows of the page.
    store = Counter(GetItem=3, Query=1, GetObject=1, BatchGetItem=1)
    for who, most in (("store", store), ("merchant", store + Counter(Query=1))):
        for name in ("few", "many"):
            # A page that nothing is on, or only what is not packed, needs no rows fetched by key.
            assert all(used <= most for used in requests[name, who])
            assert sum(used == most for used in requests[name, who]) >= len(requests[name, who]) - 3
        deep = [most] * 3
        assert requests["many", who][:3] == requests["few", who][:3] == deep
    head = ListHeadTable.find("recharges#merchant#12")
    assert head.rows == MANY
    figures["bytes a search reads"] = head.searched
    page = call(list_recharges, owner, pageNum=3000)
    assert told(page[0]) == expected([*made, *fresh], pageNum=3000)
    assert page[1] == requests["few", "merchant"][0]
    with capfd.disabled():
        sys.stdout.write(f"\n{figures}\n")


def test_20000_customers_are_found_by_any_part_of_their_number(emulator, manager):
    _, people = recharges()
    at = clock.now() - timedelta(hours=1)
    book = listings.merchant_book(listings.CUSTOMERS, MERCHANT)
    numbered = dict(enumerate(dict.fromkeys(phone for phone, _ in people), start=1))
    nicknames = dict(people)
    write_all(
        (
            write
            for user_id, phone in numbered.items()
            for write in (
                listed(book, user_id, at, {"userId": user_id, "phone": phone}, phone=phone),
                Put(CustomerTable(merchant_id=MERCHANT, phone=phone, user_id=user_id, nickname=nicknames[phone])),
            )
        ),
        at_once=4,
    )
    call(search_users, manager)
    assert work(emulator)[0] == [book]

    used = []
    for query in ({}, {"pageNum": 1000}, {"phone": "138"}, {"phone": "5", "pageNum": 700}, {"phone": numbered[9]}):
        body, actions, _ = call(search_users, manager, **query)
        found = [(user_id, phone) for user_id, phone in numbered.items() if query.get("phone", "") in phone]
        begin = (query.get("pageNum", 1) - 1) * 14
        assert [(row["userId"], row["phone"]) for row in body["data"]] == found[begin : begin + 14]
        assert all(row["nickname"] == nicknames[row["phone"]] for row in body["data"])
        assert body["total"] == len(found)
        used.append(actions)
    assert used == [Counter(GetItem=3, Query=1, GetObject=1, BatchGetItem=2)] * len(used)
