"""A merchant with its stores, accounts, cards, events and coupons, under the ids that the contract's examples use."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kernel import aws, clock
from kernel.tables import Put, commit, write_all
from membership import managers
from membership.tables import (
    CouponTable,
    CustomerTable,
    EventTable,
    ManagerNameTable,
    ManagerTable,
    MerchantTable,
    ProductTable,
    SessionTable,
    StoreTable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kernel.operations import Operation
    from tests.conftest import Answer, Cloud

MERCHANT, OTHER_MERCHANT = 12, 13
# The store 3 of the examples, its account, and the account of the whole merchant.
STORE, CASHIER, OWNER = 3, 21, 19
OTHER_CASHIER = 31
STORED_VALUE, ACTIVITY = 3, 4
PHONE = "13800000007"
PASSWORD = hashlib.md5(b"000007").hexdigest().upper()
# M3.4-3: an activity card takes both kinds of events, any other only those of status 1.
EVENT_200, EVENT_COUPONS = 9, 43
IMAGE = "https://liyuquan.cn/static/avatar"
# Every documented operation; a right is the path without its base.
RIGHTS = [
    "manage/v3/store/list", "manage/v3/card/store_card", "manage/v3/userCard/add", "manage/v3/cardEvent/all_event",
    "manage/v3/userCard/charge", "manage/v3/userCard/expense", "manage/v3/turnover/refund", "manage/ask/code",
    "manage/v3/turnover/refund_charge", "manage/v3/cardEvent/detail", "manage/v3/turnover/record_list",
    "manage/v3/turnover/expense_list", "manage/v3/turnover/refund_list", "manage/v3/userCard/user_card",
    "manage/v3/userCard/user_card_detail", "manage/v3/userCard/card_status", "manage/tool/scan",
    "manage/v3/coupon/use", "manage/v3/coupon/forUser", "manage/v3/coupon/xcx_list", "manage/v3/invoice/list",
    "manage/v3/invoice/add", "manage/v3/card/card_detail", "manage/v3/invoice/all_list",
    "manage/v3/closing/add", "manage/v3/closing/list",
]  # fmt: skip


def furnish(merchant_id: int = MERCHANT) -> None:
    """Write the merchant of the examples, or another one with ids a thousand higher."""
    more = 0 if merchant_id == MERCHANT else 1000
    at = datetime(2019, 12, 13, 6, 34, 24, tzinfo=UTC)
    stamps: dict[str, Any] = {"created_at": at, "updated_at": at, "version": 1}
    rows: list[Any] = [
        MerchantTable(id=merchant_id, merchant_name="外婆味道", admin_id=OWNER + more, **stamps),
        ProductTable(
            merchant_id=merchant_id, id=STORED_VALUE + more, title="外婆味道储值卡", colour="#34988E",
            logo="/item/191213/b711eb02-ceb0-4f52-b141-a45eb4f813dc.jpeg", store_ids=[3 + more, 4 + more],
            event_ids=[EVENT_COUPONS + more], admin_id=OWNER + more, type=10, summary="储值卡", **stamps,
        ),
        ProductTable(
            merchant_id=merchant_id, id=ACTIVITY + more, title="外婆味道活动卡", colour="#E43B19",
            logo="/item/191213/747d5de2-5415-4c70-812f-e1a87ff27184.jpeg", store_ids=[3 + more, 4 + more],
            event_ids=[EVENT_200 + more, EVENT_COUPONS + more], admin_id=OWNER + more, type=11,
            summary="<p>活动卡活动卡</p>", **stamps,
        ),
        EventTable(
            merchant_id=merchant_id, id=EVENT_200 + more, title="充200 送200 返200", summary="充200 送200 返200",
            recharge=20000, gift=20000, admin_id=OWNER + more, type=1, status=10, **stamps,
        ),
        EventTable(
            merchant_id=merchant_id, id=EVENT_COUPONS + more, title="充100 送2 张50元优惠券",
            summary="充100 送2 张50元优惠券", recharge=10000, gift=0, target_id=2 + more, quantity=2,
            admin_id=OWNER + more, type=2, status=1, **stamps,
        ),
        CouponTable(
            merchant_id=merchant_id, id=1 + more, title="20 元优惠券", summary="使用说明，简介",
            logo="/item/200212/a1f46021-dcd2-44d0-802a-66aad94bbd23.png", store_ids=[5 + more, 4 + more, 3 + more],
            admin_id=OWNER + more, date=datetime(2030, 2, 28, 16, tzinfo=UTC), **stamps,
        ),
        CouponTable(
            merchant_id=merchant_id, id=2 + more, title="50 元优惠券", summary="使用",
            store_ids=[4 + more, 3 + more], admin_id=OWNER + more, date=datetime(2030, 4, 29, 16, tzinfo=UTC), **stamps,
        ),
    ]  # fmt: skip
    for store_id, name, admin_id in (
        (3, "外婆味道南屏店", CASHIER),
        (4, "外婆味道吾悦店", 22),
        (5, "外婆味道大观店", 23),
    ):
        rows.append(
            StoreTable(
                merchant_id=merchant_id, id=store_id + more, store_name=name, address="南屏街", phone="123456666666",
                area="云南,昆明市,五华区", linkman="小明", admin_id=admin_id + more, **stamps,
            )
        )  # fmt: skip
        rows += _account(admin_id + more, merchant_id, store_id + more, f"cashier{admin_id + more}", stamps)
    rows += _account(OWNER + more, merchant_id, None, f"owner{OWNER + more}", stamps)
    rows += _account(OTHER_CASHIER + more, merchant_id, STORE + more, f"cashier{OTHER_CASHIER + more}", stamps)
    write_all(Put(row) for row in rows)


def _account(
    manager_id: int, merchant_id: int, store_id: int | None, username: str, stamps: dict[str, Any]
) -> list[Any]:
    row = ManagerTable(
        id=manager_id, merchant_id=merchant_id, store_id=store_id, username=username, phone=f"139{manager_id:08d}",
        menus=["permission", "appUser"], permissions=list(RIGHTS), **stamps,
    )  # fmt: skip
    return [row, ManagerNameTable(username=username, manager_id=manager_id)]


def signed_in(manager_id: int = CASHIER) -> str:
    """Return the token of a new session, without the sign-in."""
    token = str(uuid.uuid4())
    now = clock.now()
    row = SessionTable(
        token_digest=managers.token_digest(token),
        manager_id=manager_id,
        generation=1,
        client=1,
        used_at=now,
        expires=now + timedelta(days=7),
    )
    commit(Put(row))
    return token


def customer(user_id: int = 7, phone: str = PHONE, nickname: str | None = "哈哈", merchant_id: int = MERCHANT) -> None:
    """Write a customer without cards."""
    commit(Put(CustomerTable(merchant_id=merchant_id, phone=phone, user_id=user_id, nickname=nickname)))


class Shop:
    """Somebody who is signed in and calls operations, each request with an Idempotency-Key of its own."""

    def __init__(self, cloud: Cloud, manager_id: int = CASHIER) -> None:
        self.cloud = cloud
        self.manager_id = manager_id
        self.token = signed_in(manager_id)

    def call(self, operation: Operation, *, key: str | None = None, **fields: Any) -> Answer:
        headers = {"Idempotency-Key": key or str(uuid.uuid4())} if key != "" else {}
        return self.cloud.call(operation, {"token": self.token, **fields}, headers=headers, caller="")

    def data(self, operation: Operation, **fields: Any) -> Any:
        """Call an operation that has to succeed and return its data."""
        answer = self.call(operation, **fields)
        assert answer.body["errCode"] == 0, answer.body
        return answer.body.get("data")

    def refused(self, operation: Operation, **fields: Any) -> tuple[int, str]:
        """Call an operation that has to be refused and return errCode and msg; nothing may have been written."""
        before = self.cloud.everything()
        answer = self.call(operation, **fields)
        assert answer.status == 200
        assert answer.body["errCode"] != 0, answer.body
        assert {**self.cloud.everything(), "rates": [], "counters": []} == {**before, "rates": [], "counters": []}
        return answer.body["errCode"], answer.body["msg"]


def prolongs(shop: Shop, *operations: Operation) -> None:
    """Call each operation some hours after the one before: every use of a session is noted again by then."""
    for hours, operation in enumerate(operations, start=1):
        with clock.frozen(clock.now() + timedelta(hours=hours)):
            shop.call(operation)
            digest = managers.token_digest(shop.token)
            row = next(row for row in shop.cloud.rows("sessions") if row["token_digest"] == digest)
            assert row["used_at"] == SessionTable.used_at.serialize(clock.now())


@contextmanager
def calls_made() -> Iterator[list[str]]:
    """Collect the names of the AWS calls inside the block."""
    made: list[str] = []

    def note(call: aws.Call) -> None:
        made.append(call.action)

    aws.observers.append(note)
    try:
        yield made
    finally:
        aws.observers.remove(note)


def office(
    cloud: Cloud,
    operation: Operation,
    body: Any = None,
    *,
    path: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    groups: Iterable[str] = (str(MERCHANT),),
) -> Any:
    """Let the back office's person 0001 call an operation that has to succeed, and return its data."""
    answer = cloud.call(operation, body, path=path, query=query, groups=groups)
    assert (answer.status, answer.body["errCode"], answer.body["result"]) == (200, 0, 0), answer.body
    return answer.body["data"]


def office_refused(
    cloud: Cloud,
    operation: Operation,
    body: Any = None,
    *,
    path: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    groups: Iterable[str] = (str(MERCHANT),),
) -> tuple[int, int, str]:
    """Let the back office call what has to be refused and return status, errCode and msg; nothing may be written."""
    before = cloud.everything()
    answer = cloud.call(operation, body, path=path, query=query, groups=groups)
    assert answer.status >= 400, answer.body
    assert answer.body.keys() == {"errCode", "result", "msg", "time"}
    assert {**cloud.everything(), "counters": []} == {**before, "counters": []}
    return answer.status, answer.body["errCode"], answer.body["msg"]
