"""Customers' cards with money on them: what has to have happened before what a test is about."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from functions.membership.add_invoice import add_invoice
from functions.membership.confirm_cash_back import confirm_cash_back
from functions.membership.open_card import open_card
from functions.membership.recharge_card import recharge_card
from functions.membership.refund_expense import refund_expense
from functions.membership.refund_recharge import refund_recharge
from functions.membership.spend_from_card import spend_from_card
from kernel import aws, clock, running, secrets
from kernel.listings import ListedTable
from kernel.tables import Put, commit
from membership import sms_codes
from membership.tables import SmsCodeTable
from tests.shops import ACTIVITY, CASHIER, EVENT_200, IMAGE, PASSWORD, PHONE, STORED_VALUE, Shop, customer, furnish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Cloud

CODE = "123456"
# The operations answer at this moment while the clock stands still.
TIME = 1706424089006
DONE = {"errCode": 0, "result": 0, "time": TIME}


def open_shop(cloud: Cloud, *products: int) -> Till:
    """Return the cashier of store 3 with customer 7, who has these cards."""
    furnish()
    customer()
    till = Till(cloud)
    for product in products:
        till.opened(product)
    _forget_keys()
    return till


def _forget_keys() -> None:
    # Each operation is a process of its own that reads the key by itself.
    secrets.signing_key.cache_clear()


@contextmanager
def overtaken(action: str, work: Callable[[], Any]) -> Iterator[None]:
    """Let somebody else work right after the first `action` that an operation asks of AWS inside the block."""
    done = False

    def overtake(call: aws.Call) -> None:
        nonlocal done
        if call.action != action or done:
            return
        done = True
        interrupted, running._current = running._current, None
        work()
        running._current = interrupted

    aws.observers.append(overtake)
    try:
        yield
    finally:
        aws.observers.remove(overtake)
    assert done, f"{action} was never asked"


@contextmanager
def transactions() -> Iterator[list[int]]:
    """Collect how many writes each transaction inside the block has."""
    sizes: list[int] = []

    def note(call: aws.Call) -> None:
        if call.action == "TransactWriteItems":
            sizes.append(len(call.payload["TransactItems"]))

    aws.observers.append(note)
    try:
        yield sizes
    finally:
        aws.observers.remove(note)


class Till(Shop):
    """A manager at work: what he does here succeeds, and orders are returned by their numbers."""

    def __init__(self, cloud: Cloud, manager_id: int = CASHIER, phone: str = PHONE) -> None:
        super().__init__(cloud, manager_id)
        self.phone = phone

    def opened(self, product: int = STORED_VALUE, **more: Any) -> None:
        self.data(open_card, phone=self.phone, membershipCardId=product, **more)

    def recharged(
        self,
        recharge: float | str = 200,
        send: float | str = 200,
        event: int | None = EVENT_200,
        product: int = ACTIVITY,
    ) -> int:
        chosen = {} if event is None else {"eventId": event}
        self.data(recharge_card, phone=self.phone, cardId=product, recharge=recharge, send=send, image=IMAGE, **chosen)
        return self._last_order("710")

    def stored(self, recharge: float | str = 100, send: float | str = 0) -> int:
        return self.recharged(recharge, send, None, STORED_VALUE)

    def spent(self, expense: float | str, product: int = ACTIVITY) -> int:
        self.data(spend_from_card, phone=self.phone, cardId=product, expense=expense, password=PASSWORD)
        return self._last_order("711")

    def refunded(self, order_no: int, **more: Any) -> None:
        self.data(refund_expense, orderNo=order_no, code=self.code(), **more)

    def paid_back(self, order_no: int, **more: Any) -> None:
        self.data(refund_recharge, orderNo=order_no, code=self.code(), **more)

    def cashed_back(self, number: int) -> None:
        self.data(confirm_cash_back, storeMemberEventId=number)

    def invoiced(self, product: int, amount: float | str) -> None:
        self.data(add_invoice, userId=7, cardId=product, amount=amount, image=IMAGE)

    def code(self) -> str:
        """Return a new SMS code of the manager, as if it had been sent."""
        digest = sms_codes._digest(self.manager_id, CODE)
        expires = clock.now() + timedelta(minutes=5)
        commit(Put(SmsCodeTable(manager_id=self.manager_id, code_digest=digest, expires=expires)))
        _forget_keys()
        return CODE

    def rows(self, table: str, *names: str) -> list[Any]:
        """Return the rows of a table as plain numbers and texts, or some columns of them."""
        found = [{name: _plain(value) for name, value in row.items()} for row in self.cloud.rows(table)]
        return [tuple(row.get(name) for name in names) for row in found] if names else found

    def listed(self, kind: str) -> list[Any]:
        """Return the content of the rows of a list, the oldest first."""
        rows = sorted(self.cloud.rows("listed"), key=lambda row: row["place"])
        return [ListedTable.content.deserialize(bytes(row["content"])) for row in rows if row["book"].startswith(kind)]

    def balance(self, product: int = ACTIVITY) -> tuple[int, int]:
        """Return principal and gift of a card."""
        principal, gift = self.card(product, "principal", "gift")
        return principal, gift

    def card(self, product: int = ACTIVITY, *names: str) -> Any:
        """Return a card's row as the table holds it, or some of its numbers."""
        row = next(row for row in self.rows("cards") if row["product_id"] == product)
        return tuple(row[name] for name in names) if names else row

    def lots(self) -> list[tuple[str, int, int, int, int]]:
        """Return the lots: where each stands, its number, principal, gift and status."""
        rows = sorted(self.cloud.rows("lots"), key=lambda row: row["id"])
        return [
            (row["place"].partition("#")[2], *(int(row[name]) for name in ("id", "principal", "gift", "status")))
            for row in rows
        ]

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the entries of a kind, without what is different every time."""
        rows = sorted(self.rows("entries"), key=lambda row: row["entry_id"])
        return [
            {name: value for name, value in row.items() if name not in ("entry_id", "digest")}
            | {"moves": json.loads(row["moves"])}
            for row in rows
            if row["kind"] == kind
        ]

    def _last_order(self, prefix: str) -> int:
        return max(int(row["order_no"]) for row in self.cloud.rows("orders") if str(row["order_no"]).startswith(prefix))


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value
