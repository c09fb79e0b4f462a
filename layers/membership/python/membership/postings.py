"""Committing a money operation: its claim, its balances, its entry and its reports, all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kernel import aws
from kernel.errors import Fault
from kernel.tables import Change, ConditionFailed, Write, commit
from membership.api import Done, day_of
from membership.repeats import Claim, Contended
from membership.tables import RepeatTable, ShiftTable

if TYPE_CHECKING:
    from datetime import datetime

    from membership.managers import Manager

# Why DynamoDB cancels a transaction that may be carried out a moment later.
_BUSY = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}


class Step(NamedTuple):
    """One write, and the fault that it means when the table refuses it; without one the plan is made anew."""

    write: Write
    otherwise: Fault | None = None


def post(claim: Claim, answer: Done, *steps: Step | Write) -> Done:
    """Write everything in one transaction with the claim and return the answer.

    Raises Repeated when the same request was carried out meanwhile, Contended when the plan is out of date.
    """
    guarded = [step if isinstance(step, Step) else Step(step) for step in steps]
    try:
        commit(claim.put(answer), *(step.write for step in guarded))
    except ConditionFailed as refused:
        # Whatever the table complained of first, a repetition is told from the claim.
        claim.check(RepeatTable.find(claim.key))
        if refused.index and (fault := guarded[refused.index - 1].otherwise) is not None:
            raise fault from None
        raise Contended from None
    except aws.AwsError as problem:
        reasons = {reason.get("Code", "None") for reason in problem.answer.get("CancellationReasons", [])} - {"None"}
        if reasons and reasons <= _BUSY:
            raise Contended from None
        raise
    return answer


def alone(step: Step) -> None:
    """Write one step by itself, such as a proven password whose payment is refused for another reason."""
    try:
        commit(step.write)
    except ConditionFailed:
        raise step.otherwise or Contended from None


def on_shift(manager: Manager, now: datetime, **done: int) -> Change:
    """Return the write that adds to what a manager did that day at his store; the names are those of `ShiftTable`."""
    actions = [getattr(ShiftTable, name).add(amount) for name, amount in done.items()]
    actions += [ShiftTable.operations.add(1), ShiftTable.merchant_id.set(manager.merchant_id)]
    key = ShiftTable.key(shift(manager.merchant_id, manager.store_id, day_of(now)), manager.manager_id)
    return Change(ShiftTable, key, actions)


def shift(merchant_id: int, store_id: int | None, day: str) -> str:
    """Return the key of what was done at a store on a day; store 0 stands for a merchant's own accounts."""
    return f"{merchant_id}#{store_id or 0}#{day}"
