"""Daily closings: what a manager counted in the drawer against what the day's operations say should be there.

The figures are those of the shift at the moment of the closing. Whatever is done after it is not hidden by it: the
back office's report sets the shift as it is now beside what was closed. A shift is closed at most 20 times, which
bounds what a page of a list or of the report reads.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from kernel import clock
from kernel.catalogues import Listing
from kernel.errors import Flaw, Invalid
from kernel.ids import ordered_id
from kernel.signed import seal, unseal
from kernel.tables import create, fetch
from membership.api import SHANGHAI, Done, OnceRequest, PageRequest, View, local
from membership.cards import own_store_key
from membership.faults import Missing, Refused
from membership.money import Amount, Money
from membership.postings import post, shift
from membership.tables import ClosingTable, RepeatTable, ShiftTable, StoreTable, closing_book

if TYPE_CHECKING:
    from collections.abc import Iterator

    from membership.api import Paged
    from membership.managers import Manager
    from membership.repeats import Claim

# How long ago a day may be that is closed, and how many days a list holds.
MOST_DAYS = 31
# So many closings of an account's day at its store, because lists and reports read all of them.
MOST_OF_A_SHIFT = 20
_AT_ONCE = 1000
_DAY = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}\Z")
# What stands for a store where a merchant's own accounts work.
_NO_STORE = 0


def _day(value: Any) -> Any:
    # Nothing but a day: Python reads weeks, too, and pydantic takes numbers and times for days.
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or not _DAY.match(value):
        raise ValueError("must be a day such as 2020-04-30")
    return date.fromisoformat(value)


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
# A store in a query, or 0.
StoreNumber = Annotated[int, Field(ge=0, le=2**53)]


class CloseDay(OnceRequest):
    """What was counted in the drawer at the end of a day; it is today's when no day is named."""

    counted: Amount
    day: Annotated[Day | None, Field(description="At most 31 days ago")] = None


class ListClosings(PageRequest):
    """Which closings are looked for: those of the last 31 days, or of 31 others at most."""

    start_day: Day | None = None
    end_day: Day | None = None


class FiguresView(View):
    """What a manager did at a store on a day."""

    recharged: Money
    gifted: Money
    spent: Money
    spending_returned: Money
    recharge_returned: Money
    gift_withdrawn: Money
    cashed_back: Money
    invoiced: Money
    coupons_given: int
    coupons_redeemed: int
    coupons_withdrawn: int
    operations: int


FIGURES = tuple(FiguresView.model_fields)


class ClosingView(FiguresView):
    """A closing: `difference` is what was counted beyond the cash that the figures let expect."""

    id: str
    day: str
    store_id: int | None
    store_name: str | None
    manager_id: int
    expected: Money
    counted: Money
    difference: Money
    created: str


class ReportLine(View):
    """A manager's day at a store: the figures as they are now, and at his last closing.

    `expected` is the cash that should have been there at the closing, or now when it is open; `late` is what the cash
    of operations after the closing adds to it. `closings` counts the corrections, too.
    """

    day: str
    store_id: int | None
    store_name: str | None
    manager_id: int
    state: Literal["open", "closed"]
    now: FiguresView
    closed: FiguresView | None
    expected: Money
    counted: Money | None
    difference: Money | None
    late: Money | None
    closings: int
    closed_at: str | None


def close(manager: Manager, request: CloseDay, claim: Claim) -> Done:
    """Write down a closing; another one of the same day corrects it and leaves it as it is, up to 20 of a shift."""
    day = _closable(request.day)
    repeat, done, store = fetch(
        (RepeatTable, claim.row_key),
        (ShiftTable, ShiftTable.key(_shift(manager.merchant_id, manager.store_id, day), manager.manager_id)),
        (StoreTable, own_store_key(manager)),
    )
    claim.check(repeat)
    if _made(manager, day) >= MOST_OF_A_SHIFT:
        raise Refused(f"同一天最多交班 {MOST_OF_A_SHIFT} 次")
    figures = _figures(done)
    row = ClosingTable(
        book=closing_book(manager.merchant_id, manager.store_id),
        place=f"{day:%Y%m%d}#{ordered_id()}",
        merchant_id=manager.merchant_id,
        store_id=manager.store_id,
        store_name=None if store is None else store.store_name,
        manager_id=manager.manager_id,
        expected=expected_cash(figures),
        counted=request.counted,
        figures=figures,
        created_at=clock.now(),
    )
    return post(claim, Done("交班成功", content(row)), create(row))


def shown(answer: Done) -> ClosingView:
    """Return the closing that was written down, now or when it was asked for first."""
    return ClosingView(**answer.data)


def listed(manager: Manager, request: ListClosings) -> Paged[list[ClosingView]]:
    """Return a page of the closings of the account's store, or of all stores of its merchant; the newest first."""
    start, end = _period(request.start_day, request.end_day)
    rows = list(closings(manager.merchant_id, manager.store_id, start, end, newest_first=True))
    first = (request.number - 1) * request.size
    views = [ClosingView(**content(row)) for row in rows[first : first + request.size]]
    return request.page(views, len(rows))


def closings(
    merchant_id: int, store_id: int | None, start: date, end: date, *, newest_first: bool = False
) -> Iterator[ClosingTable]:
    """Yield the closings of days at a store, or at all of a merchant's stores; in the order of days, then of time."""
    days = ClosingTable.place.between(f"{start:%Y%m%d}#", f"{end:%Y%m%d}#~")
    how: dict[str, Any] = {"limit": _AT_ONCE, "newest_first": newest_first}
    if store_id is None:
        items = ClosingTable.every_item(merchant_id, days, index=type(ClosingTable.by_merchant), **how)
    else:
        items = ClosingTable.every_item(closing_book(merchant_id, store_id), days, consistent=True, **how)
    return map(ClosingTable.of_item, items)


def report(merchant_id: int, day: date | None, store_id: int | None, limit: int, cursor: str) -> Listing[ReportLine]:
    """Return what a merchant's managers did on a day and how they closed it, for `limit` stores at once."""
    day = day or _today()
    if store_id is None:
        stores, following = _stores(merchant_id, limit, cursor)
    else:
        stores, following = _store(merchant_id, store_id), None
    lines = [line for number, name in stores.items() for line in _report(merchant_id, number, name, day)]
    return Listing(items=lines, cursor=following)


def content(row: ClosingTable) -> dict[str, Any]:
    """Return a closing as it is listed."""
    day, _, closing_id = row.place.partition("#")
    return {
        "id": closing_id,
        "day": f"{day[:4]}-{day[4:6]}-{day[6:]}",
        "store_id": row.store_id,
        "store_name": row.store_name,
        "manager_id": row.manager_id,
        "expected": row.expected,
        "counted": row.counted,
        "difference": row.counted - row.expected,
        **row.figures,
        "created": local(row.created_at),
    }


def expected_cash(figures: dict[str, int]) -> int:
    """Return the cash that a shift should have brought into the drawer, below zero when more was paid out."""
    return figures["recharged"] - figures["recharge_returned"] - figures["cashed_back"]


def _made(manager: Manager, day: date) -> int:
    """Return how many closings of a day the account has made; those of this very moment are not among them."""
    rows = ClosingTable.every_item(
        closing_book(manager.merchant_id, manager.store_id),
        ClosingTable.place.startswith(f"{day:%Y%m%d}#"),
        fields=[ClosingTable.manager_id],
        limit=_AT_ONCE,
        consistent=True,
    )
    return sum(int(row["manager_id"]["N"]) == manager.manager_id for row in rows)


def _figures(row: ShiftTable | None) -> dict[str, int]:
    return {name: 0 if row is None else getattr(row, name) for name in FIGURES}


def _shift(merchant_id: int, store_id: int | None, day: date) -> str:
    return shift(merchant_id, store_id, f"{day:%Y%m%d}")


def _today() -> date:
    return clock.now().astimezone(SHANGHAI).date()


def _closable(day: date | None) -> date:
    today = _today()
    if day is None:
        return today
    if day > today:
        raise Refused("不能为以后的日期交班")
    if today - day > timedelta(days=MOST_DAYS):
        raise Refused(f"只能为最近 {MOST_DAYS} 天交班")
    return day


def _period(start: date | None, end: date | None) -> tuple[date, date]:
    """Return the first and the last day that are asked for."""
    more = timedelta(days=MOST_DAYS - 1)
    if end is None:
        end = _today() if start is None else start + more
    if start is None:
        start = end - more
    if not timedelta(0) <= end - start <= more:
        raise Invalid([Flaw("endDay", f"must be one of the {MOST_DAYS} days from startDay on")])
    return start, end


def _store(merchant_id: int, store_id: int) -> dict[int, str | None]:
    """Return one store and its name."""
    if store_id == _NO_STORE:
        return {_NO_STORE: None}
    store = StoreTable.find(merchant_id, store_id)
    if store is None:
        raise Missing("门店不存在")
    return {store_id: store.store_name}


def _stores(merchant_id: int, limit: int, cursor: str) -> tuple[dict[int, str | None], str | None]:
    """Return some stores of a merchant and their names, and before the first what his own accounts did."""
    purpose = f"closings#{merchant_id}"
    after = unseal(purpose, cursor, "cursor") if cursor else None
    page = StoreTable.query(merchant_id, limit=limit, after=after)
    found: dict[int, str | None] = {} if cursor else {_NO_STORE: None}
    found |= {store.id: store.store_name for store in page.rows}
    return found, None if page.last_key is None else seal(purpose, page.last_key)


def _report(merchant_id: int, store_id: int, store_name: str | None, day: date) -> Iterator[ReportLine]:
    items = ShiftTable.every_item(_shift(merchant_id, store_id, day), consistent=True)
    shifts = {row.manager_id: row for row in map(ShiftTable.of_item, items)}
    made: dict[int, list[ClosingTable]] = {}
    for row in closings(merchant_id, store_id, day, day):
        made.setdefault(row.manager_id, []).append(row)
    for manager_id in sorted({*shifts, *made}):
        now = _figures(shifts.get(manager_id))
        mine = made.get(manager_id, [])
        yield ReportLine(
            day=day.isoformat(),
            store_id=store_id or None,
            store_name=store_name,
            manager_id=manager_id,
            now=FiguresView(**now),
            closings=len(mine),
            **_compared(expected_cash(now), mine[-1] if mine else None),
        )


def _compared(expected: int, last: ClosingTable | None) -> dict[str, Any]:
    """Return what the last closing said, and how far the cash that is expected has moved since."""
    if last is None:
        nothing = dict.fromkeys(("closed", "counted", "difference", "late", "closed_at"))
        return {"state": "open", "expected": expected, **nothing}
    return {
        "state": "closed",
        "closed": FiguresView(**last.figures),
        "expected": last.expected,
        "counted": last.counted,
        "difference": last.counted - last.expected,
        "late": expected - last.expected,
        "closed_at": local(last.created_at),
    }
