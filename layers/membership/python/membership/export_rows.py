"""The rows of exports: each list's columns under their headings, the oldest row first."""

from __future__ import annotations

import base64
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from kernel import clock
from kernel.listings import ListedTable, place_of
from kernel.tables import plain, rows_of
from membership import closings, listings
from membership.api import SHANGHAI, local
from membership.tables import CustomerTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from kernel.spreadsheets import Value
    from membership.exports import Order

CLOSINGS = "closings"
# Rows of one request; DynamoDB ends each at 1 MiB, which is more than these.
_AT_ONCE = 2000
_CUSTOMERS_AT_ONCE = 100


class Column(NamedTuple):
    """A column: its heading, which value of a row it shows, and whether that is cents."""

    heading: str
    name: str
    money: bool = False


_ABOUT = (
    Column("会员卡编号", "membershipCardId"),
    Column("会员卡", "title"),
    Column("卡号", "cardNo"),
    Column("客户编号", "userId"),
    Column("昵称", "nickname"),
    Column("手机号", "phone"),
    Column("门店编号", "storeId"),
    Column("门店", "storeName"),
)
_FIRST = (Column("编号", "id"), Column("时间", "created"))
COLUMNS = {
    listings.RECHARGES: (
        *_FIRST,
        Column("订单号", "orderNo"),
        *_ABOUT,
        Column("充值金额", "rechargeMoney", money=True),
        Column("赠送金额", "sendMoney", money=True),
        Column("活动编号", "memberEventId"),
        Column("活动", "eventName"),
        Column("类型", "type"),
        Column("说明", "explain"),
        Column("凭证", "image"),
    ),
    listings.EXPENSES: (
        *_FIRST,
        Column("订单号", "orderNo"),
        *_ABOUT,
        Column("消费金额", "expenseMoney", money=True),
        Column("类型", "type"),
        Column("说明", "explain"),
    ),
    listings.REFUNDS: (*_FIRST, *_ABOUT, Column("退款金额", "money", money=True), Column("说明", "explain")),
    listings.INVOICES: (
        *_FIRST,
        *_ABOUT,
        Column("开票金额", "amount", money=True),
        Column("备注", "summary"),
        Column("发票图片", "image"),
    ),
    listings.CUSTOMERS: (
        Column("客户编号", "userId"),
        Column("首次开卡时间", "created"),
        Column("手机号", "phone"),
        Column("昵称", "nickname"),
        Column("头像", "avatar"),
    ),
    CLOSINGS: (
        Column("编号", "id"),
        Column("日期", "day"),
        Column("门店编号", "store_id"),
        Column("门店", "store_name"),
        Column("账号编号", "manager_id"),
        Column("应有现金", "expected", money=True),
        Column("实点现金", "counted", money=True),
        Column("差额", "difference", money=True),
        Column("充值", "recharged", money=True),
        Column("赠送", "gifted", money=True),
        Column("消费", "spent", money=True),
        Column("消费退款", "spending_returned", money=True),
        Column("充值退款", "recharge_returned", money=True),
        Column("收回赠送", "gift_withdrawn", money=True),
        Column("返现", "cashed_back", money=True),
        Column("开票", "invoiced", money=True),
        Column("赠券", "coupons_given"),
        Column("核销", "coupons_redeemed"),
        Column("收回券", "coupons_withdrawn"),
        Column("笔数", "operations"),
        Column("交班时间", "created"),
    ),
}


def headings(order: Order) -> list[Value]:
    """Return the first line of a file."""
    return [column.heading for column in COLUMNS[order.list]]


def rows(merchant_id: int, order: Order) -> Iterator[list[Value]]:
    """Yield the rows of a list, the oldest first."""
    columns = COLUMNS[order.list]
    for row in _contents(merchant_id, order):
        yield [_value(row.get(column.name), money=column.money) for column in columns]


def _value(value: Any, *, money: bool) -> Value:
    return Decimal(value).scaleb(-2) if money and value is not None else value


def _contents(merchant_id: int, order: Order) -> Iterable[dict[str, Any]]:
    if order.list == CLOSINGS:
        return map(
            closings.content,
            closings.closings(merchant_id, order.store, _day_at(order.start), _day_at(order.end)),
        )
    if order.list == listings.CUSTOMERS:
        return _customers(merchant_id, _listed(listings.customers_book(merchant_id).name, order))
    if order.store is not None:
        return _listed(listings.own_book(order.list, merchant_id, order.store), order)
    return _listed(listings.merchant_book(order.list, merchant_id), order, wider=True)


def _listed(book: str, order: Order, *, wider: bool = False) -> Iterator[dict[str, Any]]:
    """Yield what stands in a book; rows only pass through, so they are read as they are stored."""
    items = ListedTable.every_item(
        book,
        # The numbers of rows begin with 1.
        ListedTable.place.between(place_of(order.start, 0), place_of(order.end + 1, 0)),
        index=type(ListedTable.by_wider) if wider else None,
        fields=[ListedTable.content, ListedTable.at],
        limit=_AT_ONCE,
        consistent=not wider,
    )
    for item in items:
        content: dict[str, Any] = ListedTable.content.deserialize(base64.b64decode(item["content"]["B"]))
        content["created"] = local(datetime.fromisoformat(item["at"]["S"]))
        yield content


def _customers(merchant_id: int, listed: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield customers with the names and pictures that they have now."""
    fields = (CustomerTable.phone, CustomerTable.nickname, CustomerTable.avatar)
    while some := list(islice(listed, _CUSTOMERS_AT_ONCE)):
        keys = [CustomerTable.key(merchant_id, row["phone"]) for row in some]
        now = {row["phone"]: row for row in map(plain, rows_of(CustomerTable, keys, fields))}
        for row in some:
            yield row | now.get(row["phone"], {})


def _day_at(at: int) -> date:
    return clock.from_millis(at).astimezone(SHANGHAI).date()
