"""Coupons that far more people want to redeem than there are pieces, all at the same time."""

import contextlib
import io
import json
import multiprocessing
import os
import sys
import time
from collections import Counter

import pytest

from functions.membership.give_coupon import give_coupon
from functions.membership.redeem_coupon import redeem_coupon
from infra.discovery import declarations
from kernel import clock, running, settings, wire
from kernel.operations import event_of
from kernel.tables import Put, commit, schema, write_all
from local.cloud import Cloud, free_port
from membership.api import day_of
from membership.postings import shift
from membership.tables import CouponTable, CouponUseTable, CustomerTable, EntryTable, HoldingTable, ShiftTable
from tests.shops import MERCHANT, furnish, signed_in

COUPON = 1
# Two managers of the same store, and one of each of the others.
MANAGERS = (21, 31, 22, 23)
CUSTOMERS, PIECES, ATTEMPTS = 200, 5, 50
# As on Lambda, a process carries out one request at a time.
AT_ONCE = 16


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """The embedded DynamoDB, in a process of its own."""
    before = dict(os.environ)
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), free_port(), free_port())
    cloud.start()
    try:
        os.environ.update(cloud.clients_environment() | {"SYSTEM": "membership"})
        yield cloud
    finally:
        for connection in wire._kept.__dict__.pop("open", {}).values():
            connection.close()
        cloud.stop()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def tokens(emulator, request):
    """A furnished merchant in tables of its own, and the tokens of its managers."""
    os.environ["STAGE"] = request.node.name.replace("_", "-")[:40]
    forget()
    dynamodb = emulator.dynamodb()
    for table in declarations("membership").tables:
        dynamodb.create_table(TableName=table.physical_name(), **schema(table))
    furnish()
    yield [signed_in(manager_id) for manager_id in MANAGERS]
    forget()


def forget():
    settings.settings.cache_clear()
    running.logger.cache_clear()


def per_person(most):
    coupon = CouponTable.find(MERCHANT, COUPON)
    coupon.per_person = most
    commit(Put(coupon))


def give(token, customers, pieces):
    """Give every customer some pieces; return the numbers of their holdings."""
    phones = [f"138{number:08d}" for number in range(1, customers + 1)]
    write_all(
        Put(CustomerTable(merchant_id=MERCHANT, phone=phone, user_id=user_id))
        for user_id, phone in enumerate(phones, start=1)
    )
    for phone in phones:
        fields = {"phone": phone, "couponId": COUPON, "quantity": pieces}
        assert call(give_coupon, token, f"gift to {phone}", **fields)["errCode"] == 0
    return [row.num for row in holdings()]


def call(operation, token, key, **fields):
    event = event_of(operation, {"token": token, **fields})
    event["headers"]["Idempotency-Key"] = key
    with contextlib.redirect_stdout(io.StringIO()):
        return json.loads(operation(event, None)["body"])


def redeem(attempt):
    """Try to redeem; return the key and the snapshot of the redemption, or its refusal."""
    token, key, num = attempt
    body = call(redeem_coupon, token, key, num=num)
    return key, body["data"]["detail"] if body["errCode"] == 0 else (body["errCode"], body["msg"])


def stampede(attempts):
    """Carry out the attempts (token, key, num) in many processes, and return what each came to."""
    with multiprocessing.get_context("fork").Pool(AT_ONCE, _start) as pool:
        outcomes = list(pool.imap_unordered(redeem, attempts))
        pool.close()
        pool.join()
    return outcomes


def _start():
    # The connections that were open are the parent's.
    wire._kept.__dict__.clear()


def holdings():
    items = HoldingTable.every_item(MERCHANT, index=type(HoldingTable.by_merchant), limit=1000)
    return list(map(HoldingTable.of_item, items))


def entries(kind):
    subjects = (EntryTable.query(f"holding#{row.num}", limit=1000).rows for row in holdings())
    return [entry for rows in subjects for entry in rows if entry.kind == kind]


def snapshots(num):
    return sorted(json.loads(use.detail)["quantity"] for use in CouponUseTable.query(num, limit=1000).rows)


def today():
    return day_of(clock.now())


def on_shifts(first_day):
    """Return how many coupons the shifts say were redeemed since the day of the run, which may end on the next."""
    shifts = [shift(MERCHANT, store, day) for store in (3, 4, 5) for day in {first_day, today()}]
    return sum(row.coupons_redeemed for key in shifts for row in ShiftTable.query(key).rows)


def test_10000_attempts_at_1000_pieces_redeem_1000(tokens, capfd):
    nums = give(tokens[0], CUSTOMERS, PIECES)
    # Those at one holding come together, which is where they can get in each other's way.
    attempts = [(tokens[number % len(tokens)], f"{num}, {number}", num) for num in nums for number in range(ATTEMPTS)]

    day, begun = today(), time.perf_counter()
    outcomes = stampede(attempts)
    seconds = time.perf_counter() - begun

    answers = Counter("redeemed" if isinstance(said, str) else said for _, said in outcomes)
    assert answers == {"redeemed": 1000, (1, "优惠券已用完"): 9000}
    assert {(row.quantity, row.redeemed, row.given, row.entries) for row in holdings()} == {
        (0, PIECES, PIECES, 1 + PIECES)
    }
    assert len(holdings()) == CUSTOMERS
    assert all(snapshots(num) == [1, 2, 3, 4, 5] for num in nums)
    redeemed = entries("coupon_use")
    assert len(redeemed) == 1000
    assert {tuple(map(tuple, entry.moves)) for entry in redeemed} == {(("coupon_held", "coupon_redeemed", 1),)}
    assert sum(entry.moves[0][2] for entry in entries("coupon_gift")) == 1000
    assert CouponTable.find(MERCHANT, COUPON).given == 1000
    assert on_shifts(day) == 1000
    with capfd.disabled():
        sys.stdout.write(f"\n{len(attempts)} attempts at redeeming: {round(len(attempts) / seconds)} a second\n")


def test_nobody_redeems_more_than_his_share_however_often_he_asks(tokens):
    per_person(3)
    nums = give(tokens[0], 20, 10)
    # Every request arrives twice.
    attempts = [(tokens[0], f"{num}, {number}", num) for num in nums for number in range(25) for _ in range(2)]

    day = today()
    outcomes = stampede(attempts)

    refused = [said for _, said in outcomes if not isinstance(said, str)]
    assert Counter(refused) == {(1, "此优惠券每人限用 3 张"): 20 * 22 * 2}
    redeemed = Counter((key, said) for key, said in outcomes if isinstance(said, str))
    assert list(redeemed.values()) == [2] * 60
    assert {(row.quantity, row.redeemed, row.given) for row in holdings()} == {(7, 3, 10)}
    assert all(snapshots(num) == [8, 9, 10] for num in nums)
    assert len(entries("coupon_use")) == on_shifts(day) == 60
