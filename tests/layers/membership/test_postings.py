"""Committing: which cancelled transactions are planned anew, and on which day everything of one operation stands."""

import pytest

from kernel import aws
from membership import postings
from membership.api import Done
from membership.ledger import Kind, entry
from membership.managers import Manager
from membership.postings import on_shift, post
from membership.repeats import MOMENT, Claim, Contended
from tests.conftest import NOW

CASHIER = Manager("21", 21, 12, 3, "")
CLAIM = Claim("21#same#x", "x", MOMENT, NOW)


def cancelled(*codes):
    return aws.AwsError(
        "dynamodb",
        "TransactWriteItems",
        "TransactionCanceledException",
        {"CancellationReasons": [{"Code": code} for code in codes]},
    )


@pytest.mark.parametrize(
    ("problem", "raised"),
    [
        (cancelled("None", "TransactionConflict"), Contended),
        (cancelled("ThrottlingError", "TransactionConflict", "None"), Contended),
        (cancelled("ProvisionedThroughputExceeded"), Contended),
        (cancelled("ValidationError", "None"), aws.AwsError),
        (cancelled("TransactionConflict", "ItemCollectionSizeLimitExceeded"), aws.AwsError),
        (cancelled(), aws.AwsError),
        (aws.AwsError("dynamodb", "TransactWriteItems", "AccessDeniedException", {}), aws.AwsError),
    ],
)
def test_only_what_waits_for_others_is_planned_anew(monkeypatch, environment, problem, raised):
    def refuse(*writes):
        raise problem

    monkeypatch.setattr(postings, "commit", refuse)
    with pytest.raises(raised):
        post(CLAIM, Done(""), on_shift(CASHIER, NOW, spent=1))


def test_an_operation_stands_on_one_day(environment):
    # A second before midnight in Shanghai, however late it is written.
    evening = NOW.replace(hour=15, minute=59, second=59)

    row = entry(CASHIER, Kind.OPENING, "card#1", [], at=evening, user_id=7).row
    shift = on_shift(CASHIER, evening, spent=1)

    assert (row.merchant_day, row.at) == ("12#20240128", evening)
    assert shift.key["shift"] == {"S": "12#3#20240128"}


def test_shifts_of_merchants_own_accounts_are_apart():
    assert [postings.shift(merchant, None, "20240128") for merchant in (12, 13)] == ["12#0#20240128", "13#0#20240128"]
