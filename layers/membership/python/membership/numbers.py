"""Order and card numbers as the contract spells them (identifiers): a prefix, the hour in Shanghai, a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel import numbering
from membership.api import SHANGHAI

if TYPE_CHECKING:
    from datetime import datetime

RECHARGE = "710"
EXPENSE = "711"
CARD = "79"
# The examples' sequences have three digits; the 900 of an hour that have are followed by four.
_FIRST = 100


def order_no(kind: str, moment: datetime) -> int:
    """Return the next order number; recharges and expenses share one sequence an hour."""
    return _numbered(kind, "orders", moment)


def card_no(moment: datetime) -> int:
    """Return the next card number."""
    return _numbered(CARD, "card-numbers", moment)


def next_id(kind: str) -> int:
    """Return the next id of a kind of thing, such as `users`; ids count from 1 over all merchants."""
    return numbering.take(kind)


def _numbered(prefix: str, sequence: str, moment: datetime) -> int:
    hour = moment.astimezone(SHANGHAI).strftime("%y%m%d%H")
    return int(f"{prefix}{hour}{numbering.take(f'{sequence}#{hour}') + _FIRST - 1}")
