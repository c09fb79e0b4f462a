"""Which money of a card is spent first, and which comes back: plain rules without tables (contract, X7, M3.7-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from membership.ledger import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

# Usage records: nothing of the gift spent, some of it spent, all used up and cash-back due, cashed back (contract).
UNTOUCHED, TOUCHED, DUE, CASHED_BACK = 1, 2, 3, 5
# Ours, beyond the contract's: the recharge was refunded; such a lot is not shown.
TAKEN_BACK = 9
# Every payment reads the open lots of its card, so they stay few enough for one request.
MOST_OPEN = 500
# A transaction has room for 100 writes: seven of a payment or a refund, two for each lot that moves between its places.
# A payment touches no more lots than can all be moved back at once when it is undone.
MOST_TOUCHED = 45


def take(held: Sequence[Part], cents: int) -> list[Part] | None:
    """Return what to take from lots (oldest first) for a payment, None when they hold too little.

    The principal of all lots goes before any gift, the oldest lot first in both.
    """
    if sum(part.principal + part.gift for part in held) < cents:
        return None
    left = cents
    taken = {part.lot_id: [0, 0] for part in held}
    for kind in (0, 1):
        for part in held:
            amount = min(left, part[kind + 1])
            taken[part.lot_id][kind] = amount
            left -= amount
    return [Part(lot_id, *amounts) for lot_id, amounts in taken.items() if any(amounts)]


def share(principal: int, gift: int, returned_principal: int, returned_gift: int, cents: int) -> tuple[int, int]:
    """Return principal and gift of a partial refund, in the proportion in which the order moved them.

    Rounded so that the parts of all refunds of an order add up to what it moved, to the cent.
    """
    total = principal + gift
    back = returned_principal + returned_gift + cents
    # Half a cent goes to the principal, which is the customer's own money.
    upto = (back * principal * 2 + total) // (total * 2)
    of_principal = min(max(upto - returned_principal, cents - (gift - returned_gift), 0), cents)
    return of_principal, cents - of_principal


def withdrawn(principal: int, gift: int, returned_principal: int, returned_gift: int, cents: int) -> int:
    """Return how much of a recharge's gift goes when so much of its principal is paid back: in proportion.

    Rounded so that nothing of the gift stays when all of the principal has gone.
    """
    # Half a cent stays with the customer.
    upto = ((returned_principal + cents) * gift * 2 + principal - 1) // (principal * 2)
    return upto - returned_gift


def give_back(parts: Sequence[Part], returned_principal: int, returned_gift: int, back: tuple[int, int]) -> list[Part]:
    """Return which lots get how much of a refund: what was taken last comes back first.

    `parts` are in the order they were taken; so much of them was returned before.
    """
    skip = [returned_principal, returned_gift]
    left = list(back)
    given = []
    for part in reversed(parts):
        amounts = []
        for kind in (0, 1):
            held = part[kind + 1]
            already = min(skip[kind], held)
            skip[kind] -= already
            amount = min(left[kind], held - already)
            left[kind] -= amount
            amounts.append(amount)
        if any(amounts):
            given.append(Part(part.lot_id, *amounts))
    return given


def status_of(principal: int, gift: int, brought_gift: int) -> int:
    """Return the status of a lot that holds so much of what it brought."""
    if principal == 0 and gift == 0:
        return DUE
    return UNTOUCHED if gift == brought_gift else TOUCHED
