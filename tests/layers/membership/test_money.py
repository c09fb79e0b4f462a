"""Cents and yuan: nothing is lost between the text of a request, the numbers inside and the text of an answer."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from kernel.envelopes import json_text
from membership.api import Body
from membership.money import LARGEST, MARK, Amount, Money, PositiveAmount, cents_of, with_amounts, yuan

CENTS = st.integers(-LARGEST, LARGEST)


class Asked(Body):
    amount: Amount = 0
    price: PositiveAmount = 1


class Said(BaseModel):
    amount: Money
    text: str = ""


@settings(deadline=None)
@given(CENTS)
def test_every_amount_comes_back_from_its_text(cents):
    assert cents_of(yuan(cents)) == cents


@settings(deadline=None)
@given(CENTS)
def test_an_answer_holds_a_number_of_two_decimals(cents):
    text = with_amounts(json_text(Said(amount=cents)))

    assert text == f'{{"amount":{yuan(cents)},"text":""}}'
    assert json.loads(text, parse_float=Decimal)["amount"] * 100 == cents


@settings(deadline=None)
@given(st.integers(0, LARGEST))
def test_a_json_number_is_exact(cents):
    # JSON readers make a binary float of 0.07, whose shortest text is 0.07 again.
    number = json.loads(yuan(cents))

    assert Asked.model_validate({"amount": number}).amount == cents


@settings(deadline=None)
@given(st.text())
def test_what_comes_in_as_text_is_never_taken_for_an_amount(text):
    class Named(Body):
        name: str = ""

    name = Named.model_validate({"name": f"{MARK}{text}"}).name
    answer = with_amounts(json_text(Said(amount=0, text=name)))

    assert json.loads(answer)["text"] == name


@pytest.mark.parametrize(
    ("given_amount", "cents"),
    [
        (200, 20000), ("200", 20000), ("200.00", 20000), (200.0, 20000), (0.07, 7), ("0.1", 10), (" 1.5 ", 150),
        (Decimal("3.14"), 314), (0.29, 29), (1.1, 110), ("1000000000.00", 100000000000),
    ],
)  # fmt: skip
def test_spellings_of_an_amount(given_amount, cents):
    assert cents_of(given_amount) == cents


@pytest.mark.parametrize(
    "amount",
    ["1.001", 0.001, "1e3", 1e22, 1e-7, "１", "0x10", "1,000", "1.", ".5", "+1", "", "NaN", "Infinity", float("nan"),
     True, None, [], {}, "12345678901", "1\n2"],
)  # fmt: skip
def test_what_is_no_amount(amount):
    with pytest.raises(ValueError, match="amount"):
        cents_of(amount)


@pytest.mark.parametrize(
    "fields", [{"amount": -1}, {"amount": "-0.01"}, {"price": 0}, {"price": "0.00"}, {"amount": LARGEST // 100 + 1}]
)
def test_amounts_out_of_bounds(fields):
    with pytest.raises(ValidationError):
        Asked.model_validate(fields)


def test_the_schema_says_number():
    assert Asked.model_json_schema()["properties"]["price"]["type"] == "number"
    assert Said.model_json_schema(mode="serialization")["properties"]["amount"]["type"] == "number"
